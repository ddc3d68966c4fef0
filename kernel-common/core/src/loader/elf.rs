//! What is to be mapped for an ELF program.
//!
//! goblin reads the headers; whether they make sense is decided here, before anything is mapped.

use alloc::vec::Vec;
use core::fmt;

use goblin::elf::program_header::{
    PF_R, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_NOTE, PT_PHDR,
};
use goblin::elf::{Elf, Header};
use goblin::elf64::header::{
    EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, ELFMAG, ET_DYN, ET_EXEC, SIZEOF_EHDR,
};
use goblin::elf64::program_header::{ProgramHeader, SIZEOF_PHDR};
use maize_abi::file::PATH_MAX;
use maize_abi::pte::Access;
use maize_abi::{Errno, PAGE_SIZE};

/// Why a file is not a program that can run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// Not an ELF file, or one cut off in its header.
    NotElf,
    /// 32-bit or big-endian.
    WrongClass,
    /// For this `e_machine`.
    WrongMachine(u16),
    /// Neither `ET_EXEC` nor `ET_DYN`.
    WrongType(u16),
    /// The program headers are of another size, too many, or not in the file.
    BadProgramHeaders,
    /// The path of the program's interpreter is too long, cut off or not ended by a zero byte.
    BadInterpreter,
    /// A segment's sizes, offset or address do not go together.
    BadSegment,
    /// Segments are out of order or share a page.
    Overlap,
    /// A segment lies outside user space.
    OutOfRange,
    /// Nothing to load.
    Empty,
}

impl ElfError {
    /// Linux's error number.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            ElfError::OutOfRange => Errno::ENOMEM,
            ElfError::BadSegment | ElfError::Overlap => Errno::EINVAL,
            _ => Errno::ENOEXEC,
        }
    }
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            ElfError::NotElf => "not an ELF file",
            ElfError::WrongClass => "not a 64-bit little-endian ELF file",
            ElfError::WrongMachine(machine) => {
                return write!(f, "ELF file for machine {machine}, not for this instance's");
            }
            ElfError::WrongType(kind) => return write!(f, "ELF file of type {kind} cannot run"),
            ElfError::BadProgramHeaders => "malformed program headers",
            ElfError::BadInterpreter => "malformed path of an interpreter",
            ElfError::BadSegment => "malformed segment",
            ElfError::Overlap => "segments overlap",
            ElfError::OutOfRange => "segment outside user space",
            ElfError::Empty => "no segment to load",
        };
        f.write_str(text)
    }
}

impl core::error::Error for ElfError {}

/// A range to map. Addresses are the file's own; a position-independent program adds its bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First virtual address, a multiple of the page size.
    pub start: u64,
    /// Offset in the file of the byte at `start`, a multiple of the page size.
    pub offset: u64,
    /// End of the pages that come from the file, a multiple of the page size.
    pub file_end: u64,
    /// First address that reads as zero although it may lie in a page of the file.
    pub zero_from: u64,
    /// End of the segment, rounded up to the page size.
    pub end: u64,
    /// What the program may do with it.
    pub access: Access,
}

/// A program that can be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it starts.
    pub entry: u64,
    /// Whether it runs at any address.
    pub position_independent: bool,
    /// In the order of their addresses, no two on one page.
    pub segments: Vec<Segment>,
    /// Address of the program headers once mapped, for `AT_PHDR`; 0 if no segment has them.
    pub headers: u64,
    /// Number of program headers.
    pub header_count: u16,
    /// Offset in the file and length of the first segment of notes.
    pub notes: Option<(u64, u64)>,
    /// Offset in the file and length of the path of the program that is to start it, if it is linked
    /// dynamically: see [`interpreter`].
    pub interpreter: Option<(u64, usize)>,
    /// Whether it wants an executable stack.
    pub executable_stack: bool,
    /// End of the last segment, not rounded: where the heap may start.
    pub end: u64,
}

/// Program headers that a file may have: they must lie in its first page or just behind.
const MAX_PROGRAM_HEADERS: u16 = 128;

/// Bytes of the file's start that [`parse`] needs at most.
pub const HEAD_LEN: usize = 2 * PAGE_SIZE;

/// Where a program's headers are if not at its very start: read this range and pass it to
/// [`parse`].
///
/// # Errors
/// [`ElfError`] if the header says that it is no program for `machine`.
pub fn header_range(head: &[u8], machine: u16) -> Result<(u64, usize), ElfError> {
    let header = header(head, machine)?;
    Ok((header.e_phoff, usize::from(header.e_phnum) * SIZEOF_PHDR))
}

fn header(head: &[u8], machine: u16) -> Result<Header, ElfError> {
    let bytes: &[u8; SIZEOF_EHDR] =
        head.get(..SIZEOF_EHDR).and_then(|b| b.try_into().ok()).ok_or(ElfError::NotElf)?;
    if &bytes[..4] != ELFMAG {
        return Err(ElfError::NotElf);
    }
    if bytes[EI_CLASS] != ELFCLASS64 || bytes[EI_DATA] != ELFDATA2LSB {
        return Err(ElfError::WrongClass);
    }
    // `Header::from_bytes` of goblin's elf64 would panic on a buffer that is not 8-byte aligned.
    let header = Elf::parse_header(bytes).map_err(|_| ElfError::NotElf)?;
    if header.e_machine != machine {
        return Err(ElfError::WrongMachine(header.e_machine));
    }
    if !matches!(header.e_type, ET_EXEC | ET_DYN) {
        return Err(ElfError::WrongType(header.e_type));
    }
    let sized = usize::from(header.e_phentsize) == SIZEOF_PHDR;
    if !sized || header.e_phnum == 0 || header.e_phnum > MAX_PROGRAM_HEADERS {
        return Err(ElfError::BadProgramHeaders);
    }
    Ok(header)
}

/// Decides what to map for the program whose file starts with `head`, has its program headers'
/// bytes in `table` (see [`header_range`]) and is `file_len` bytes long.
///
/// # Errors
/// [`ElfError`].
pub fn parse(
    head: &[u8],
    table: &[u8],
    file_len: u64,
    machine: u16,
    user_end: u64,
) -> Result<Program, ElfError> {
    let header = header(head, machine)?;
    let count = usize::from(header.e_phnum);
    if table.len() < count * SIZEOF_PHDR {
        return Err(ElfError::BadProgramHeaders);
    }
    let rows = table.chunks_exact(SIZEOF_PHDR).take(count);
    let mut program = Program {
        entry: header.e_entry,
        position_independent: header.e_type == ET_DYN,
        segments: Vec::new(),
        headers: 0,
        header_count: header.e_phnum,
        notes: None,
        interpreter: None,
        executable_stack: false,
        end: 0,
    };
    for row in rows {
        let ph = read_program_header(row);
        match ph.p_type {
            PT_INTERP if program.interpreter.is_none() => {
                let len = usize::try_from(ph.p_filesz).unwrap_or(usize::MAX);
                if !(2..=PATH_MAX).contains(&len) {
                    return Err(ElfError::BadInterpreter);
                }
                program.interpreter = Some((ph.p_offset, len));
            }
            PT_PHDR => program.headers = ph.p_vaddr,
            PT_NOTE if program.notes.is_none() => program.notes = Some((ph.p_offset, ph.p_filesz)),
            PT_GNU_STACK => program.executable_stack = ph.p_flags & PF_X != 0,
            PT_LOAD if ph.p_memsz > 0 => {
                let segment = segment(&ph, file_len, user_end)?;
                if program.segments.last().is_some_and(|last| last.end > segment.start) {
                    return Err(ElfError::Overlap);
                }
                let covers =
                    ph.p_offset <= header.e_phoff && header.e_phoff - ph.p_offset < ph.p_filesz;
                if covers && program.headers == 0 {
                    program.headers = ph.p_vaddr + (header.e_phoff - ph.p_offset);
                }
                program.end = ph.p_vaddr + ph.p_memsz;
                program.segments.push(segment);
            }
            _ => {}
        }
    }
    if program.segments.is_empty() {
        return Err(ElfError::Empty);
    }
    if program.entry >= user_end || program.headers >= user_end {
        return Err(ElfError::OutOfRange);
    }
    Ok(program)
}

/// The path of an interpreter, from the bytes that [`Program::interpreter`] is about.
///
/// # Errors
/// [`ElfError::BadInterpreter`] if they do not end in a zero byte.
pub fn interpreter(bytes: &[u8]) -> Result<&[u8], ElfError> {
    let Some((0, path)) = bytes.split_last() else { return Err(ElfError::BadInterpreter) };
    let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
    Ok(&path[..end])
}

fn read_program_header(row: &[u8]) -> ProgramHeader {
    let word = |at: usize| {
        let mut w = [0; 8];
        w.copy_from_slice(&row[at..at + 8]);
        u64::from_le_bytes(w)
    };
    ProgramHeader {
        p_type: word(0) as u32,
        p_flags: (word(0) >> 32) as u32,
        p_offset: word(8),
        p_vaddr: word(16),
        p_paddr: word(24),
        p_filesz: word(32),
        p_memsz: word(40),
        p_align: word(48),
    }
}

fn segment(ph: &ProgramHeader, file_len: u64, user_end: u64) -> Result<Segment, ElfError> {
    const PAGE: u64 = PAGE_SIZE as u64;
    let in_page = ph.p_vaddr % PAGE;
    let file_end = ph.p_offset.checked_add(ph.p_filesz).ok_or(ElfError::BadSegment)?;
    if ph.p_filesz > ph.p_memsz || ph.p_offset % PAGE != in_page || file_end > file_len {
        return Err(ElfError::BadSegment);
    }
    let end = ph.p_vaddr.checked_add(ph.p_memsz).ok_or(ElfError::OutOfRange)?;
    let rounded = end.checked_next_multiple_of(PAGE).ok_or(ElfError::OutOfRange)?;
    if rounded > user_end {
        return Err(ElfError::OutOfRange);
    }
    let mut access = Access::empty();
    access.set(Access::READ, ph.p_flags & PF_R != 0);
    access.set(Access::WRITE, ph.p_flags & PF_W != 0);
    access.set(Access::EXECUTE, ph.p_flags & PF_X != 0);
    let zero_from = ph.p_vaddr + ph.p_filesz;
    Ok(Segment {
        start: ph.p_vaddr - in_page,
        offset: ph.p_offset - in_page,
        file_end: if ph.p_filesz == 0 {
            ph.p_vaddr - in_page
        } else {
            zero_from.next_multiple_of(PAGE)
        },
        zero_from,
        end: rounded,
        access,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const END: u64 = 0x7fff_ffff_f000;

    fn image(edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut f = vec![0; 0x3000];
        f[..4].copy_from_slice(ELFMAG);
        f[4..7].copy_from_slice(&[2, 1, 1]);
        f[16..20].copy_from_slice(&[2, 0, 62, 0]);
        f[24..32].copy_from_slice(&0x40_1000_u64.to_le_bytes());
        f[32..40].copy_from_slice(&64_u64.to_le_bytes());
        f[54..58].copy_from_slice(&[56, 0, 2, 0]);
        let mut ph = |n: usize, flags: u32, words: [u64; 6]| {
            let at = 64 + 56 * n;
            f[at..at + 4].copy_from_slice(&PT_LOAD.to_le_bytes());
            f[at + 4..at + 8].copy_from_slice(&flags.to_le_bytes());
            for (i, w) in words.into_iter().enumerate() {
                f[at + 8 + 8 * i..at + 16 + 8 * i].copy_from_slice(&w.to_le_bytes());
            }
        };
        ph(0, PF_R | PF_X, [0, 0x40_0000, 0, 0x1234, 0x1234, 0x1000]);
        ph(1, PF_R | PF_W, [0x2010, 0x40_2010, 0, 0x100, 0x5000, 0x1000]);
        edit(&mut f);
        f
    }

    fn read(f: &[u8]) -> Result<Program, ElfError> {
        let (at, len) = header_range(f, 62)?;
        let at = usize::try_from(at).map_err(|_| ElfError::BadProgramHeaders)?;
        let table = at.checked_add(len).and_then(|end| f.get(at..end));
        parse(f, table.ok_or(ElfError::BadProgramHeaders)?, f.len() as u64, 62, END)
    }

    #[test]
    fn a_plain_program_is_laid_out() {
        let program = read(&image(|_| {})).unwrap();
        assert_eq!(program.headers, 0x40_0040);
        assert_eq!(program.end, 0x40_7010);
        assert_eq!(
            program.segments[1],
            Segment {
                start: 0x40_2000,
                offset: 0x2000,
                file_end: 0x40_3000,
                zero_from: 0x40_2110,
                end: 0x40_8000,
                access: Access::READ | Access::WRITE,
            }
        );
    }

    #[test]
    fn an_interpreter_is_named() {
        let program = read(&image(|f| {
            f[64] = 3;
            f[64 + 32..64 + 40].copy_from_slice(&12_u64.to_le_bytes());
        }));
        assert_eq!(program.unwrap().interpreter, Some((0, 12)));
        assert_eq!(interpreter(b"/lib/ld.so\0"), Ok(&b"/lib/ld.so"[..]));
        assert_eq!(interpreter(b"/lib/ld.so\0\0"), Ok(&b"/lib/ld.so"[..]));
        for cut in [&b"/lib/ld"[..], b""] {
            assert_eq!(interpreter(cut), Err(ElfError::BadInterpreter));
        }
    }

    #[test]
    fn malformed_files_are_refused_by_name() {
        let at = |at: usize, bytes: &'static [u8]| {
            read(&image(|f| f[at..at + bytes.len()].copy_from_slice(bytes)))
        };
        assert_eq!(at(0, &[0]), Err(ElfError::NotElf));
        assert_eq!(at(4, &[1]), Err(ElfError::WrongClass));
        assert_eq!(at(18, &[183]), Err(ElfError::WrongMachine(183)));
        assert_eq!(at(16, &[1]), Err(ElfError::WrongType(1)));
        assert_eq!(at(56, &[0xff, 0xff]), Err(ElfError::BadProgramHeaders));
        // As the range of a path, a segment is too long.
        assert_eq!(at(64, &[3]), Err(ElfError::BadInterpreter));
        assert_eq!(at(64 + 56 + 32, &[0xff; 8]), Err(ElfError::BadSegment));
        assert_eq!(at(64 + 56 + 16, &[0x10, 0x10, 0x40]), Err(ElfError::Overlap));
        assert_eq!(
            at(64 + 56 + 40, &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            Err(ElfError::OutOfRange)
        );
        assert_eq!(read(&image(|_| {})[..60]), Err(ElfError::NotElf));
    }
}
