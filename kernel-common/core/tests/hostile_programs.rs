//! Damaged programs: each is refused by name, or what is to be mapped for it makes sense.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use maize_core::loader::elf::{self, ElfError, HEAD_LEN, Program};
use maize_core::loader::script;
use proptest::prelude::*;
use proptest::sample::Index;

const PAGE: u64 = 4096;
const END: u64 = 0x7fff_ffff_f000;

/// The program that runs this test.
fn real_program() -> Vec<u8> {
    std::fs::read(std::env::current_exe().unwrap()).unwrap()
}

fn machine(file: &[u8]) -> u16 {
    u16::from_le_bytes([file[18], file[19]])
}

/// Reads a program as `execve` does, from a buffer that starts at an odd address.
fn read(file: &[u8], file_len: u64, machine: u16) -> Result<Program, ElfError> {
    let start = &file[..file.len().min(HEAD_LEN)];
    let mut buffer = vec![0; start.len() + 2];
    let odd = 1 - buffer.as_ptr().addr() % 2;
    buffer[odd..odd + start.len()].copy_from_slice(start);
    let head = &buffer[odd..odd + start.len()];
    let (at, len) = elf::header_range(head, machine)?;
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(file.len());
    let table = &file[at..at.saturating_add(len).min(file.len())];
    elf::parse(head, table, file_len, machine, END)
}

/// What the code that maps a program relies on.
fn is_sane(program: &Program, file_len: u64) {
    assert!(!program.segments.is_empty());
    assert!(program.entry < END && program.headers < END);
    let mut end = 0;
    for segment in &program.segments {
        for address in [segment.start, segment.offset, segment.file_end, segment.end] {
            assert!(address.is_multiple_of(PAGE), "{segment:x?}");
        }
        assert!(end <= segment.start && segment.start < segment.end, "{segment:x?}");
        assert!(
            segment.start <= segment.file_end && segment.file_end <= segment.end,
            "{segment:x?}"
        );
        assert!(segment.zero_from <= segment.end && segment.end <= END, "{segment:x?}");
        let mapped = segment.file_end - segment.start;
        assert!(mapped == 0 || segment.offset + mapped < file_len + PAGE, "{segment:x?}");
        end = segment.end;
    }
    assert!(program.end <= end && end - program.end < PAGE);
}

#[test]
fn a_real_program_is_laid_out() {
    let file = real_program();
    let program = read(&file, file.len() as u64, machine(&file)).unwrap();
    is_sane(&program, file.len() as u64);
    assert!(program.segments.len() >= 2);
    let entry = program.segments.iter().find(|s| (s.start..s.end).contains(&program.entry));
    assert!(entry.is_some_and(|s| s.access.contains(maize_abi::pte::Access::EXECUTE)));
    let other = machine(&file) ^ 1;
    assert_eq!(read(&file, file.len() as u64, other), Err(ElfError::WrongMachine(machine(&file))));
}

#[test]
fn every_cut_is_refused_or_sane() {
    let file = real_program();
    for len in (0..600).chain([4095, 4096, 4097, 8191, 8192]) {
        if let Ok(program) = read(&file[..len], len as u64, machine(&file)) {
            is_sane(&program, len as u64);
        }
    }
    assert_eq!(read(&file[..63], 63, machine(&file)), Err(ElfError::NotElf));
}

/// A value that a field may be changed to.
fn nasty() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..64u32, -2..3i64).prop_map(|(bit, off)| (1u64 << bit).wrapping_add_signed(off)),
        (0..20u64).prop_map(|n| n * PAGE),
        (0..20u64).prop_map(|n| END - n * PAGE),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// Fields of the header and the program headers, and single bytes, replaced in a real program.
    #[test]
    fn damaged_programs_are_refused_or_sane(
        fields in prop::collection::vec((any::<Index>(), nasty(), 0..4u8), 0..4),
        bytes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
    ) {
        thread_local! { static FILE: Vec<u8> = real_program(); }
        let mut file = FILE.with(|file| file[..HEAD_LEN].to_vec());
        let file_len = FILE.with(Vec::len) as u64;
        let machine = machine(&file);
        let table = 64 + 56 * usize::from(file[56]);
        for (at, value, width) in fields {
            let width = 1 << width;
            let at = at.index(table / width) * width;
            file[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        for (at, byte) in bytes {
            let at = at.index(table);
            file[at] = byte;
        }
        if let Ok(program) = read(&file, file_len, machine) {
            is_sane(&program, file_len);
        }
    }

    #[test]
    fn noise_is_no_program(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&noise, noise.len() as u64, 62).is_err());
        let mut script = b"#!".to_vec();
        script.extend(&noise);
        if let Some(interpreter) = script::parse(&script) {
            prop_assert!(!interpreter.path.is_empty());
            prop_assert!(!interpreter.path.iter().any(|b| matches!(b, 0 | b'\n' | b' ' | b'\t')));
        }
    }
}
