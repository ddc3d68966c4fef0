//! The bottom of a thread: enters its program, and its records when it has moved.
//!
//! Soundness: clones and records are of one link, which the build id has said; a record is handed to
//! the clone of its own site.

use maize_xisa_metadata::record::SIGNAL_SITE;

use crate::arch::{self, Outcome};
use crate::{fatal, thread};

unsafe extern "C" {
    /// Resume clones by site.
    static __maize_resume_table: [u64; 0];
}

/// Where a resume clone finds what its callee returned, and leaves what it returns.
#[repr(C, align(16))]
struct ResultBuffer([u64; 8]);

/// What a thread starts with.
pub(crate) enum Begin {
    /// A function and its argument.
    Call(u64, u64),
    /// The records that are in its block.
    Records,
}

/// Runs a thread to its end, over as many moves as come. `moved` is called after each, when the
/// thread's frames are records.
pub(crate) fn drive(begin: Begin, moved: &mut dyn FnMut()) -> u64 {
    let mut result = ResultBuffer([0; 8]);
    if let Begin::Call(function, argument) = begin {
        // SAFETY: the function is the program's, of this type.
        let outcome = unsafe { arch::maize_enter(function, argument, 0) };
        result.0[0] = outcome.value;
        after(&outcome, &mut result, moved);
    }
    // SAFETY: what is on the records was put there by `finish`, here or on another instance.
    while let Some((record, site)) = unsafe { thread::block().pop() } {
        if site == SIGNAL_SITE {
            crate::handlers::finished(record);
            continue;
        }
        // SAFETY: the table has an entry for each site of this program.
        let clone = unsafe { *(&raw const __maize_resume_table).cast::<u64>().add(site as usize) };
        if clone == 0 {
            fatal("a record of a site that does not exist");
        }
        let buffer = &raw mut result as u64;
        // SAFETY: the clone is its site's, and takes a record and a buffer.
        let outcome = unsafe { arch::maize_enter(clone, record, buffer) };
        after(&outcome, &mut result, moved);
    }
    result.0[0]
}

fn after(outcome: &Outcome, result: &mut ResultBuffer, moved: &mut dyn FnMut()) {
    if outcome.status != 0 {
        // SAFETY: pads have just begun the records, all of them in this thread.
        unsafe { thread::block().finish() };
        match crate::jump::land() {
            Some(value) => result.0[0] = value,
            None => moved(),
        }
    }
}
