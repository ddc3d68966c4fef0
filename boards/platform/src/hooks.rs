//! What shared code needs from the board it runs on, wherever it is called from.

use core::ops::Range;
use core::ptr::NonNull;

use spin::Once;

/// How an instance ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order: the machine's status is success.
    Done,
    /// After a panic: the machine's status is failure.
    Failed,
}

/// A board's functions. They are called from panics too, so they must not allocate, wait for a
/// lock, or panic.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// Writes to the debug console and returns when it has them.
    pub console: fn(&[u8]),
    /// Maps `len` bytes of device registers at a physical address, for good. `None` if there is no
    /// room. A second call for the same range gives the same mapping or another.
    pub map_device: fn(u64, usize) -> Option<NonNull<u8>>,
    /// Maps `len` bytes of memory that is not this machine's RAM, write-back cacheable, for good.
    /// `None` if there is no room.
    pub map_memory: fn(u64, usize) -> Option<NonNull<u8>>,
    /// The addresses of the kernel's stack.
    pub stack: fn() -> Range<usize>,
    /// The address of a frame record of a function called from here.
    pub frame_pointer: fn() -> usize,
    /// Ends the instance.
    pub end: fn(End) -> !,
}

static HOOKS: Once<Hooks> = Once::new();

/// Makes `hooks` the board's. Only the first call counts.
pub fn install(hooks: Hooks) {
    HOOKS.call_once(|| hooks);
}

/// The board's functions, once installed.
#[must_use]
pub fn hooks() -> Option<&'static Hooks> {
    HOOKS.get()
}

/// Ends the instance. Without hooks nothing can be told to anyone, and the core only stops.
pub fn end(how: End) -> ! {
    crate::console::flush();
    if let Some(hooks) = hooks() {
        (hooks.end)(how)
    }
    loop {
        core::hint::spin_loop();
    }
}
