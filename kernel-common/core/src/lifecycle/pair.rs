//! Programs that exist for the other instruction set as well.

use alloc::vec;
use alloc::vec::Vec;

use maize_abi::migration::{
    BUILD_ID_NOTE, PRIVATE, PROGRAM_DATA, REQUEST_PAGE, RESUME_NOTE, find_note,
};
use maize_abi::pte::Access;
use maize_abi::{Isa, IsaKind, PAGE_SIZE};
use maize_hal::Arch;

use crate::files::ProgramFile;
use crate::loader::elf::{self, Program, Segment};
use crate::state::State;
use crate::thread::Current;

const PAGE: u64 = PAGE_SIZE as u64;

/// Most bytes of notes that are looked at.
const NOTES_LEN: u64 = PAGE;

/// Where threads of a program go on that come from another instruction set, and what members of the
/// other one map where code is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Where threads go on: on this instance's instruction set, and on the other.
    resume: [(IsaKind, u64); 2],
    /// What the other instruction set's file has in [`PRIVATE`].
    segments: Vec<Segment>,
    /// The other file in the root image: start and length.
    image: (u64, u64),
}

impl Pair {
    /// Where a thread goes on that comes to `isa`.
    pub(crate) fn resume(&self, isa: IsaKind) -> Option<u64> {
        self.resume.iter().find(|(kind, _)| *kind == isa).map(|(_, address)| *address)
    }

    /// The segment of the other file at an address in [`PRIVATE`], and where the file is.
    pub(crate) fn private(&self, address: u64) -> Option<(&Segment, (u64, u64))> {
        let segment = self.segments.iter().find(|s| (s.start..s.end).contains(&address))?;
        Some((segment, self.image))
    }
}

/// What a program may do in a segment: nothing private to an instruction set is written.
pub(super) fn access_in_pair(segment: &Segment) -> Access {
    if PRIVATE.contains(&segment.start) { segment.access & !Access::WRITE } else { segment.access }
}

/// A program's path on another instruction set.
fn companion(path: &[u8], from: IsaKind, to: IsaKind) -> Option<Vec<u8>> {
    let stem = path.strip_suffix(from.name().as_bytes())?.strip_suffix(b".")?;
    Some([stem, b".", to.name().as_bytes()].concat())
}

/// Whether both files have the same beyond what is private: addresses and rights. That the bytes are
/// the same follows from the build id.
fn agree(one: &Program, other: &Program) -> bool {
    let shared = |program: &Program| {
        let beyond = program.segments.iter().filter(|s| s.start >= PROGRAM_DATA);
        beyond.map(|s| (s.start, s.zero_from, s.end, s.access.bits())).collect::<Vec<_>>()
    };
    shared(one) == shared(other)
}

/// Whether all that lies below the data is private or the request page.
fn is_divided(program: &Program) -> bool {
    program.segments.iter().all(|segment| {
        let whole = segment.start..segment.end;
        segment.start >= PROGRAM_DATA
            || segment.start >= PRIVATE.start && segment.end <= PRIVATE.end
            || whole == (REQUEST_PAGE..REQUEST_PAGE + PAGE)
    })
}

impl<A: Arch> State<A> {
    /// If the program exists for the other instruction set: the pair.
    pub(super) fn find_pair(
        &mut self,
        current: Current,
        file: &ProgramFile,
        program: &Program,
    ) -> Option<Pair> {
        let own = <A::Isa as Isa>::KIND;
        let other = IsaKind::ALL.into_iter().find(|kind| *kind != own)?;
        let path = companion(&file.path, own, other)?;
        let found = self.open_program(current, None, &path, false).ok()?;
        let pair = self.pair_of((own, file, program), (other, &found));
        if pair.is_none() {
            let path = alloc::string::String::from_utf8_lossy(&path);
            log::warn!("{path} is not of the same link: threads stay on {}", own.name());
        }
        self.close_program(found);
        pair
    }

    fn pair_of(
        &mut self,
        (own, file, program): (IsaKind, &ProgramFile, &Program),
        (other, found): (IsaKind, &ProgramFile),
    ) -> Option<Pair> {
        let mut head = vec![0; elf::HEAD_LEN];
        let len = self.read_program(found, 0, &mut head).ok()?;
        head.truncate(len);
        let machine = other.elf_machine();
        let (at, len) = elf::header_range(&head, machine).ok()?;
        let mut table = vec![0; len];
        let read = self.read_program(found, at, &mut table).ok()?;
        let companion =
            elf::parse(&head, table.get(..read)?, found.len, machine, other.user_end()).ok()?;
        let (build, resume) = self.notes(file, program)?;
        let (other_build, other_resume) = self.notes(found, &companion)?;
        let divided = [program, &companion].into_iter().all(is_divided);
        if build != other_build || !divided || !agree(program, &companion) {
            return None;
        }
        for (file, program) in [(file, program), (found, &companion)] {
            let private = program.segments.iter().filter(|s| PRIVATE.contains(&s.start));
            for segment in private {
                if !self.is_plain(file, segment) {
                    return None;
                }
            }
        }
        let image = self.memory.pristine_image(found.object)?;
        let private = |segment: &Segment| PRIVATE.contains(&segment.start);
        let segments = companion.segments.into_iter().filter(private).collect();
        Some(Pair { resume: [(own, resume), (other, other_resume)], segments, image })
    }

    /// Build id, and where threads go on that come from elsewhere.
    fn notes(&mut self, file: &ProgramFile, program: &Program) -> Option<(Vec<u8>, u64)> {
        let (offset, len) = program.notes?;
        let mut notes = vec![0; len.min(NOTES_LEN) as usize];
        let read = self.read_program(file, offset, &mut notes).ok()?;
        let notes = notes.get(..read)?;
        let build = find_note(notes, BUILD_ID_NOTE).filter(|id| !id.is_empty())?.to_vec();
        let resume = u64::from_le_bytes(find_note(notes, RESUME_NOTE)?.try_into().ok()?);
        PRIVATE.contains(&resume).then_some((build, resume))
    }

    /// Whether a segment is what the file has, with nothing behind it in its last page: it is mapped as
    /// it is.
    fn is_plain(&mut self, file: &ProgramFile, segment: &Segment) -> bool {
        if segment.file_end != segment.end {
            return false;
        }
        let rest = segment.file_end - segment.zero_from;
        let at = segment.offset + (segment.zero_from - segment.start);
        let mut bytes = vec![0; rest as usize];
        let read = self.read_program(file, at, &mut bytes);
        read.is_ok_and(|len| bytes.iter().take(len).all(|byte| *byte == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_companion_has_the_other_suffix() {
        let path = |path: &str| companion(path.as_bytes(), IsaKind::X86_64, IsaKind::Aarch64);
        assert_eq!(path("/bin/a.x86_64").as_deref(), Some(&b"/bin/a.aarch64"[..]));
        assert_eq!(path("/bin/a"), None);
        assert_eq!(path("/bin/ax86_64"), None);
    }
}
