//! Several instances in one machine.
//!
//! The machine's first instance divides the RAM ([`partition`]), loads an image into each slot,
//! writes each sibling's [`BootBlock`] and starts its core; how a core is started is the board's
//! ([`Cores`]). All of them reach the [shared memory](SharedMemory): the window of their links, and
//! a page by which they know of each other's starts and ends ([`control`]).
#![allow(unsafe_code, reason = "shared memory and images lie at addresses that boards vouch for")]

mod boot_block;
pub mod control;
mod division;
mod membership;
pub mod partition;
mod start;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ptr::NonNull;

use maize_abi::PAGE_SIZE;
use maize_hal::{Frame, FrameRange};
use maize_hostlink::BootRecord;
use maize_hostlink::boot::Action;
use maize_window::{
    Doorbell, HeaderError, Layout, LayoutError, MAX_INSTANCES, MIN_INSTANCES, MapError, Mapping,
    Window, WindowHeader,
};
use maize_wire::checksum::Coverage;
use maize_wire::{InstanceId, PAGE_WORDS};

pub use boot_block::{BootBlock, BootBlockError, MAGIC as BOOT_BLOCK_MAGIC, PLATFORM_WORDS};
pub use control::Control;
pub use division::{Divisible, Division, DivisionError};
pub(crate) use membership::ConsoleTurn;
pub use membership::{Membership, borrow_from, has_stopped, join, leave, membership, must_stop};
pub use start::{Cores, SiblingNews, Siblings};

/// Frames behind the window: the control page, and a boot block for each instance.
const PAGES: u64 = 1 + partition::MAX_SIBLINGS as u64;

/// Bytes of the window for a fabric of `instances`, in a machine with `ram` bytes: a sixteenth of
/// them, unless the rings do not fit that or need less.
///
/// # Errors
/// [`LayoutError`] if there is no window of so many instances.
pub fn window_len(instances: usize, ram: u64) -> Result<u64, LayoutError> {
    const LEAST: u64 = 2 << 20;
    const MOST: u64 = 64 << 20;
    if !(MIN_INSTANCES..=MAX_INSTANCES).contains(&instances) {
        return Err(LayoutError::Instances(instances));
    }
    let mut len = LEAST;
    loop {
        let layout = Layout::new(instances, len);
        let comfortable = |layout: &Layout| layout.ring_slots() == maize_window::MAX_RING_SLOTS;
        match layout {
            Ok(layout) if comfortable(&layout) || 2 * len > ram / 16 || len >= MOST => {
                return Ok(len);
            }
            Err(error) if len >= MOST => return Err(error),
            _ => len *= 2,
        }
    }
}

/// Frames of the shared memory whose window has `window` bytes.
#[must_use]
pub const fn shared_frames(window: u64) -> u64 {
    window / PAGE_SIZE as u64 + PAGES
}

/// The numbers of the instances that share a machine with the one that `record` is for, in order.
#[must_use]
pub fn of_machine(record: &BootRecord) -> Vec<u16> {
    let machine = record.instances.get(usize::from(record.instance)).map(|own| own.machine);
    let numbered = (0_u16..).zip(&record.instances);
    numbered.filter(|(_, other)| Some(other.machine) == machine).map(|(number, _)| number).collect()
}

/// The record of a sibling with this number, from that of its machine's first instance.
#[must_use]
pub fn record_of(record: BootRecord, number: u16) -> BootRecord {
    BootRecord { instance: number, action: Action::Serve, ..record }
}

/// Why the shared memory cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedError {
    /// It is no memory that can be reached word by word.
    Map(MapError),
    /// It is smaller than its page and blocks.
    Small,
    /// The window's header cannot be written or read.
    Header(HeaderError),
    /// The window has no such layout.
    Layout(LayoutError),
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(error) => error.fmt(f),
            Self::Small => f.write_str("the memory that instances share is too small"),
            Self::Header(error) => error.fmt(f),
            Self::Layout(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SharedError {}

/// What the instances of a machine share.
#[derive(Clone, Copy)]
pub struct SharedMemory {
    window: Mapping<'static>,
    pages: Mapping<'static>,
    frames: FrameRange,
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("frames", &self.frames).finish_non_exhaustive()
    }
}

impl SharedMemory {
    /// The shared memory in `frames`.
    ///
    /// # Safety
    /// Physical address `p` in `frames` is RAM, mapped cacheable and writable at `p + offset`
    /// (modulo 2^64) for good, and every instance reaches it by this type only.
    ///
    /// # Errors
    /// [`SharedError`].
    pub unsafe fn new(frames: FrameRange, offset: u64) -> Result<SharedMemory, SharedError> {
        let window_frames = frames.len().checked_sub(PAGES).ok_or(SharedError::Small)?;
        let map = |start: Frame, count: u64| {
            let start = NonNull::new(start.address().wrapping_add(offset) as *mut u8);
            // SAFETY: the caller's; all access is by the mapping's atomics.
            unsafe { Mapping::new(start.ok_or(SharedError::Small)?, count as usize * PAGE_SIZE) }
                .map_err(SharedError::Map)
        };
        let window = map(frames.start, window_frames)?;
        let pages = map(Frame(frames.start.0 + window_frames), PAGES)?;
        Ok(SharedMemory { window, pages, frames })
    }

    /// Clears the memory and publishes the header of a window for `instances` instances.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn publish(&self, instances: usize, fabric: u64) -> Result<(), SharedError> {
        self.window.clear();
        self.pages.clear();
        let bytes = self.window.words() as u64 * 8;
        let layout = Layout::new(instances, bytes).map_err(SharedError::Layout)?;
        let header = WindowHeader { layout, coverage: Coverage::Off, fabric };
        header.publish(&self.window).map_err(SharedError::Header)
    }

    /// The control page.
    #[must_use]
    pub fn control(&self) -> Control<Mapping<'static>> {
        Control::new(self.pages)
    }

    /// Physical address of the boot block of instance `index`.
    #[must_use]
    pub fn block_address(&self, index: u16) -> u64 {
        let first = self.frames.end.0 - PAGES + 1;
        Frame(first + u64::from(index)).address()
    }

    /// Writes the boot block of instance `index`.
    pub fn write_block(&self, block: &BootBlock) {
        let at = (1 + usize::from(block.index)) * PAGE_WORDS;
        if at + PAGE_WORDS <= self.pages.words() {
            self.pages.copy_in(at, &block.to_words());
            self.pages.fence();
        }
    }
}

/// How instances of one machine are linked.
pub struct LocalWindow {
    /// The window, for all instances of the fabric: sections of those elsewhere are not used.
    pub window: Mapping<'static>,
    /// The instances of this machine, in order; the first is the machine's first instance.
    pub instances: Vec<InstanceId>,
    /// RAM that is the other instances', all of it in this one's direct map.
    pub others: Vec<FrameRange>,
    cores: Vec<u64>,
    bell: Box<dyn Fn(u64)>,
}

impl fmt::Debug for LocalWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalWindow").field("instances", &self.instances).finish_non_exhaustive()
    }
}

impl LocalWindow {
    /// The window of `shared`, between `instances` on `cores`; `bell` interrupts a core so that its
    /// instance sees `maize_hal::Interrupts::DOORBELL`.
    #[must_use]
    pub fn new(
        shared: &SharedMemory,
        instances: &[u16],
        cores: &[u64],
        bell: Box<dyn Fn(u64)>,
    ) -> LocalWindow {
        let instances = instances.iter().map(|number| InstanceId(*number)).collect();
        let (window, cores) = (shared.window, cores.to_vec());
        LocalWindow { window, instances, others: Vec::new(), cores, bell }
    }
}

impl Doorbell for LocalWindow {
    /// Interrupts the core of `peer`; nothing happens if that is not in this machine.
    fn ring(&mut self, peer: InstanceId) {
        let index = self.instances.iter().position(|instance| *instance == peer);
        if let Some(core) = index.and_then(|index| self.cores.get(index)) {
            (self.bell)(*core);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use maize_hostlink::boot::{Console, Instance, Isa, Sharing};

    #[test]
    fn windows_are_as_large_as_rings_need_and_memory_allows() {
        const MIB: u64 = 1 << 20;
        assert_eq!(window_len(1, 512 * MIB), Err(LayoutError::Instances(1)));
        assert_eq!(window_len(2, 512 * MIB), Ok(2 * MIB));
        for instances in MIN_INSTANCES..=MAX_INSTANCES {
            for ram in [64 * MIB, 512 * MIB, 8192 * MIB] {
                let len = window_len(instances, ram).unwrap();
                let layout = Layout::new(instances, len).unwrap();
                assert!(len <= (ram / 16).max(8 * MIB), "{instances} in {ram:#x}: {len:#x}");
                assert!(ram < 8192 * MIB || layout.ring_slots() == maize_window::MAX_RING_SLOTS);
            }
        }
    }

    #[test]
    fn instances_of_a_machine_are_those_of_the_record() {
        let instance = |machine| Instance { machine, isa: Isa::X86_64 };
        let mut record = BootRecord {
            action: Action::Serve,
            console: Console::Streams,
            instance: 1,
            instances: vec![instance(0), instance(7), instance(0), instance(7)],
            wall_clock_ns: 0,
            entropy: [0; 32],
            stats: false,
            fabric: 0,
            poll_ns: 0,
            dead_after_ms: 1_800,
            debugged: false,
            sharing: Sharing::default(),
            trace: false,
            exercise: Vec::new(),
        };
        assert_eq!(of_machine(&record), [1, 3]);
        record.instance = 0;
        assert_eq!(of_machine(&record), [0, 2]);
    }

    #[test]
    fn shared_memory_holds_window_and_blocks() {
        #[repr(align(4096))]
        #[expect(dead_code, reason = "reached by its address")]
        struct Pages([u8; 4096]);
        let frames = shared_frames(2 << 20);
        let memory: &mut [Pages] =
            Box::leak((0..frames).map(|_| Pages([0xff; 4096])).collect::<Vec<_>>().into());
        let base = memory.as_mut_ptr() as u64;
        // As if physical memory lay there.
        let physical = FrameRange { start: Frame(0x1000), end: Frame(0x1000 + frames) };
        let offset = base.wrapping_sub(physical.start.address());
        // SAFETY: leaked memory of that size, which nothing else reaches.
        let shared = unsafe { SharedMemory::new(physical, offset) }.unwrap();
        shared.publish(3, 77).unwrap();
        assert_eq!(WindowHeader::read(&shared.window).unwrap().fabric, 77);
        assert_eq!(shared.block_address(15), physical.end.address() - 4096);

        let rung = alloc::sync::Arc::new(core::sync::atomic::AtomicU64::new(0));
        let seen = rung.clone();
        let bell = move |core| seen.store(core, core::sync::atomic::Ordering::Relaxed);
        let mut local = LocalWindow::new(&shared, &[4, 9], &[0x100, 0x101], Box::new(bell));
        let rings = |local: &mut LocalWindow, peer| {
            rung.store(0, core::sync::atomic::Ordering::Relaxed);
            local.ring(InstanceId(peer));
            rung.load(core::sync::atomic::Ordering::Relaxed)
        };
        assert_eq!(rings(&mut local, 9), 0x101);
        assert_eq!(rings(&mut local, 5), 0, "elsewhere");
        // SAFETY: as above.
        let small =
            unsafe { SharedMemory::new(FrameRange { end: Frame(0x1003), ..physical }, offset) };
        assert_eq!(small.unwrap_err(), SharedError::Small);
    }
}
