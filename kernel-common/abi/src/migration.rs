//! What the kernels and the runtime of a program for several instruction sets agree on.
//!
//! Such a program is one static ELF file per instruction set, `NAME.x86_64` and `NAME.aarch64`, with
//! the same build id. Its data have the same addresses in each; what lies below is of one instruction
//! set: code, tables, and the page of the migration-request word.

use core::ops::Range;

/// Addresses at which each instruction set has its own content, from its own file. Nothing there is
/// writable while a kernel carries the program's threads.
pub const PRIVATE: Range<u64> = 0x40_0000..REQUEST_PAGE;

/// A page that each instance has its own of, read-only to the program: 32-bit words.
pub const REQUEST_PAGE: u64 = 0x0fff_f000;

/// Offset of the word that is not zero while the running thread is asked to move, or has asked for itself
/// by [`ASK`].
pub const REQUESTED: u64 = 0;

/// Offset of the word that is not zero if the kernel carries threads between instruction sets.
pub const CARRIED: u64 = 4;

/// First address of the program's constants and data, which are the same everywhere.
pub const PROGRAM_DATA: u64 = 0x1000_0000;

/// System call of a thread whose frames are saved: go on where it is asked to be.
///
/// Arguments: the thread pointer, the floating-point environment in the form of `MXCSR`, the first
/// byte of its saved frames and the first behind them, the top of its data stack, and the stack
/// pointer that it goes on with. The third to the fifth only say which pages it needs at once, and may
/// be anything. If the thread moves it does not return: the thread goes on at the other instruction
/// set's [`RESUME_NOTE`], with that stack and thread pointer, and the environment in the register of a
/// call's result. It can take signals from then on. If nobody asks any more, it returns 0. No call of
/// Linux has this number on any instruction set.
pub const LEAVE: u64 = 0x4d41;

/// System call of a thread that has, or has no longer, something to do at its next migration point besides
/// moving: a signal's handler to be called. Its argument, 1 or 0, becomes part of what [`REQUESTED`] says
/// while it runs. No call of Linux has this number on any instruction set.
pub const ASK: u64 = 0x4d42;

/// Owner and type of the ELF note that says, in 8 bytes, where threads that come from another
/// instruction set go on.
pub const RESUME_NOTE: (&[u8], u32) = (b"Maize\0", 1);

/// Owner and type of the note with the build id.
pub const BUILD_ID_NOTE: (&[u8], u32) = (b"GNU\0", 3);

/// The description of the first note of that owner and type, in the bytes of a `PT_NOTE` segment
/// whose notes are aligned to 4 bytes.
#[must_use]
pub fn find_note<'b>(mut notes: &'b [u8], (owner, kind): (&[u8], u32)) -> Option<&'b [u8]> {
    loop {
        let (header, rest) = notes.split_first_chunk::<12>()?;
        let word = |at: usize| {
            let bytes = header.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes))
        };
        let (name_len, desc_len) = (word(0)? as usize, word(4)? as usize);
        let desc_at = name_len.checked_next_multiple_of(4)?;
        let end = desc_at.checked_add(desc_len)?;
        let (name, desc) = (rest.get(..name_len)?, rest.get(desc_at..end)?);
        if name == owner && word(8)? == kind {
            return Some(desc);
        }
        notes = rest.get(end.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn note(owner: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [owner.len() as u32, desc.len() as u32, kind] {
            note.extend_from_slice(&word.to_le_bytes());
        }
        for part in [owner, desc] {
            note.extend_from_slice(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn notes_are_found_by_owner_and_type() {
        let mut notes = note(b"GNU\0", 1, &[9; 5]);
        notes.extend(note(b"GNU\0", 3, &[7; 16]));
        notes.extend(note(b"Maize\0", 1, &[1; 8]));
        assert_eq!(find_note(&notes, BUILD_ID_NOTE), Some(&[7; 16][..]));
        assert_eq!(find_note(&notes, RESUME_NOTE), Some(&[1; 8][..]));
        assert_eq!(find_note(&notes, (b"Maize\0", 2)), None);
    }

    #[test]
    fn damaged_notes_are_none() {
        let whole = note(b"Maize\0", 1, &[1; 8]);
        for len in 0..whole.len() {
            assert_eq!(find_note(&whole[..len], RESUME_NOTE), None);
        }
        for at in [0, 4] {
            let mut long = whole.clone();
            long[at..at + 4].copy_from_slice(&[0xff; 4]);
            assert_eq!(find_note(&long, RESUME_NOTE), None);
        }
    }
}
