//! The kernel's address space, wherever it is needed.

use core::ptr::NonNull;

use maize_arch_aarch64::space::Space;
use spin::{Mutex, MutexGuard, Once};

static SPACE: Once<Mutex<Space>> = Once::new();

/// Makes `space` the one that [`lock`] gives.
pub(crate) fn set(space: Space) {
    SPACE.call_once(|| Mutex::new(space));
}

/// The kernel's space; `None` before bring-up.
#[must_use]
pub(crate) fn lock() -> Option<MutexGuard<'static, Space>> {
    SPACE.get().and_then(Mutex::try_lock)
}

/// Maps `len` bytes of device registers at physical address `address` for good.
#[must_use]
pub(crate) fn device(address: u64, len: usize) -> Option<NonNull<u8>> {
    lock()?.map_device(address, len as u64).ok()
}

/// Maps `len` bytes of memory at physical address `address` that is not RAM of this machine,
/// write-back cacheable and for good.
#[must_use]
pub(crate) fn memory(address: u64, len: usize) -> Option<NonNull<u8>> {
    lock()?.map_memory(address, len as u64).ok()
}
