//! Where the parts of a program lie, on every instruction set.
//!
//! Program data, and one jump per function whose address is taken, have the same addresses in each
//! ELF. Machine code, unwind tables and the runtime's own data are private to an instruction set
//! and may lie anywhere below [`PROGRAM_DATA`].

/// The table that finds unwind tables. It must lie below all code for the linker to sort it.
pub const UNWIND_INDEX: u64 = 0x40_0000;
/// Jumps to the functions whose address is taken; the end is [`PRIVATE_TEXT`].
pub const FUNCTION_SLOTS: u64 = 0x60_0000;
/// Bytes of one such jump, padding included.
pub const FUNCTION_SLOT_BYTES: u64 = 16;
/// Unwind tables, constants and code of one instruction set. Within a branch's reach of the slots.
pub const PRIVATE_TEXT: u64 = 0x80_0000;
/// The page of the thread's migration-request word, never shared between instances.
pub const REQUEST_PAGE: u64 = 0x0fff_f000;
/// The program's constants, then its data and its zeroed data.
pub const PROGRAM_DATA: u64 = 0x1000_0000;

/// The sections at the same addresses with the same bytes in every ELF.
pub const SHARED_SECTIONS: [&str; 3] = [".maize.rodata", ".maize.data", ".maize.bss"];
/// The section of the functions' slots: same symbols at the same addresses, other bytes.
pub const SLOT_SECTION: &str = ".maize.slots";
/// Added to a function's name for the symbol of its slot.
pub const SLOT_SUFFIX: &str = ".slot";
/// Added to a function's name for the symbol of its resume clone.
pub const RESUME_SUFFIX: &str = ".resume";

/// Ends the symbol of what a poll jumps to: its function's name, a dot, its site's number, and this.
pub const OUTLINED_POLL_SUFFIX: &str = ".poll";

/// Symbol at the start of the code that may be on the stack when a thread migrates.
pub const TEXT_START: &str = "__maize_text_start";
/// Symbol after that code.
pub const TEXT_END: &str = "__maize_text_end";
/// The table of resume clones, indexed by site.
pub const RESUME_TABLE: &str = "__maize_resume_table";
/// The function that a pad calls to begin its record: site and bytes, to the record's address.
pub const RECORD_FUNCTION: &str = "__maize_record";
/// The function that a pad ends in: goes on to the next frame.
pub const UNWIND_FUNCTION: &str = "__maize_unwind_next";
/// The function that a poll calls when its word is not zero.
pub const POLL_FUNCTION: &str = "__maize_poll";
/// A migration point that a program asks for.
pub const MIGRATE_FUNCTION: &str = "__maize_migrate";
/// A migration point where only handlers of signals are waited for: a system call's end.
pub const SIGNAL_POINT_FUNCTION: &str = "__maize_signal_point";
/// The function that says whether one waits.
pub const SIGNALLED_FUNCTION: &str = "__maize_signalled";
/// What `setjmp` becomes: a buffer, the frame's anchor, and where the frame is saved. It returns
/// once; a second time its site is resumed.
pub const SET_JUMP_FUNCTION: &str = "__maize_set_jump";
/// What `longjmp` ends in: a buffer and a value. It does not return.
pub const JUMP_FUNCTION: &str = "__maize_jump";
/// A byte per site, from site 0 on: whether its record begins with its frame's anchor.
pub const ANCHORED_SITES: &str = "__maize_anchored_sites";
/// The word that polls read.
pub const REQUEST_WORD: &str = "__maize_request";
/// Initial image of the thread-local variables.
pub const TLS_TEMPLATE: &str = "__maize_tls_template";

/// What lies at the thread pointer, before the thread-local variables.
pub mod thread_block {
    /// The thread pointer itself, as x86_64 wants it.
    pub const SELF: u32 = 0;
    /// Top of the data stack, which grows down.
    pub const DATA_STACK: u32 = 8;
    /// The innermost record that has not been resumed, or zero.
    pub const RECORD_HEAD: u32 = 16;
    /// First free byte above the records, which grow up.
    pub const RECORD_TOP: u32 = 24;
    /// Bytes before the first thread-local variable.
    pub const BYTES: u32 = 64;
}
