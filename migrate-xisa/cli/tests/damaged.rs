//! Damaged files: every one is read, verified or refused by name, and none panics.
//!
//! A usual run tries as many as CI has time for, `./maize test --long metadata` a million, and
//! `MAIZE_MUTATIONS=N cargo test --release -p migrate-xisa --test damaged` as many as it says.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail so")]

use maize_xisa_metadata::{
    BuildId, Callee, Function, LiveValue, Polls, Program, SECTION, Site, ThreadLocals, ValueType,
};
use migrate_xisa::inspect::{Wanted, json, text};
use migrate_xisa::verify::verify;
use migrate_xisa::{Elf, diff};
use object::write::{Object, StandardSegment, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};
use proptest::test_runner::{Config, TestRunner};

fn program() -> Program {
    Program {
        build_id: BuildId([3; 16]),
        polls: Polls::Loops,
        thread_locals: ThreadLocals { bytes: 0, alignment: 16 },
        functions: vec![Function { name: "walk".to_owned(), file: None }],
        transparent: Vec::new(),
        sites: vec![Site {
            function: 0,
            callee: Callee::Direct("__maize_poll".to_owned()),
            location: None,
            result: Vec::new(),
            record_bytes: 32,
            values: vec![LiveValue { offset: 16, kind: ValueType::Pointer, name: "p".to_owned() }],
            recomputed: 0,
        }],
    }
}

/// An unwind table of one function at an offset of its own section: a common entry, then a
/// function's, with a table of landing pads.
fn unwind_tables() -> Vec<u8> {
    let common =
        [20, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'L', b'R', 0, 1, 0x78, 16, 2, 0, 0, 0x0c, 7, 8, 0, 0];
    let function = [
        36, 0, 0, 0, 28, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x40,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    [&common[..], &function[..], &[0; 4]].concat()
}

/// A file with a section of each kind that is looked at. Addresses are those of a relocatable file:
/// the linker's part is played below.
fn file(architecture: Architecture) -> Vec<u8> {
    let mut object = Object::new(BinaryFormat::Elf, architecture, Endianness::Little);
    let sections: [(&str, SectionKind, Vec<u8>); 6] = [
        (".text.program", SectionKind::Text, vec![0x90; 64]),
        (".eh_frame", SectionKind::ReadOnlyData, unwind_tables()),
        (
            ".eh_frame_hdr",
            SectionKind::ReadOnlyData,
            vec![1, 0x1b, 3, 0x3b, 0, 0, 0, 0, 1, 0, 0, 0],
        ),
        (".gcc_except_table", SectionKind::ReadOnlyData, vec![0xff, 0xff, 1, 4, 1, 4, 32, 0]),
        (".maize.rodata", SectionKind::ReadOnlyData, vec![7; 32]),
        (SECTION, SectionKind::Other, program().seal()),
    ];
    let segment = object.segment_name(StandardSegment::Data).to_vec();
    for (name, kind, bytes) in sections {
        let id = object.add_section(segment.clone(), name.as_bytes().to_vec(), kind);
        object.append_section_data(id, &bytes, 8);
        if kind == SectionKind::Text {
            for (symbol, value, size) in
                [("walk", 0, 64), ("__maize_text_start", 0, 0), ("__maize_text_end", 64, 0)]
            {
                object.add_symbol(Symbol {
                    name: symbol.as_bytes().to_vec(),
                    value,
                    size,
                    kind: SymbolKind::Text,
                    scope: SymbolScope::Linkage,
                    weak: false,
                    section: SymbolSection::Section(id),
                    flags: SymbolFlags::None,
                });
            }
        }
    }
    let mut bytes = object.write().unwrap();
    give_addresses(&mut bytes);
    bytes
}

/// Gives every section with contents an address and puts symbols there, as a linker would.
fn give_addresses(bytes: &mut [u8]) {
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let table = word(bytes, 40) as usize;
    let count = usize::from(u16::from_le_bytes([bytes[60], bytes[61]]));
    let header = |index: usize| table + 64 * index;
    for index in 1..count {
        let (kind, flags) = (bytes[header(index) + 4], bytes[header(index) + 8]);
        if kind == 1 && flags & 2 != 0 {
            let address = 0x1000 * index as u64;
            bytes[header(index) + 16..header(index) + 24].copy_from_slice(&address.to_le_bytes());
        }
        if kind == 2 {
            let (start, size) = (word(bytes, header(index) + 24), word(bytes, header(index) + 32));
            for symbol in (start..start + size).step_by(24).map(|at| at as usize) {
                let section = u16::from_le_bytes([bytes[symbol + 6], bytes[symbol + 7]]);
                let value = word(bytes, symbol + 8) + 0x1000 * u64::from(section);
                bytes[symbol + 8..symbol + 16].copy_from_slice(&value.to_le_bytes());
            }
        }
    }
}

#[test]
fn damaged_files_are_refused_by_name() {
    let cases = std::env::var("MAIZE_MUTATIONS").ok().and_then(|n| n.parse().ok());
    damage(cases.unwrap_or(3_000));
}

#[test]
#[ignore = "takes some minutes"]
fn a_million_damaged_files_are_refused_by_name() {
    damage(1_000_000);
}

fn damage(cases: u32) {
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let sound = file(Architecture::X86_64);
    let other = Elf::read(&file(Architecture::Aarch64)).unwrap();
    let report = verify(&Elf::read(&sound).unwrap(), &other).unwrap();
    assert_eq!(report.sites, 1, "{report:#?}");
    let metadata = sound.windows(8).position(|bytes| bytes == b"MAIZEXIS").unwrap();
    let counts = [const { std::cell::Cell::new(0_u32) }; 3];
    let change = proptest::arbitrary::any::<(u16, u8)>();
    runner
        .run(&proptest::collection::vec(change, 1..5), |changes| {
            let mut bytes = sound.clone();
            for (at, byte) in changes {
                // The metadata's own checks are tried elsewhere: here its checksum would end it.
                let at = usize::from(at) % (bytes.len() + 64);
                match at.checked_sub(bytes.len()) {
                    Some(cut) => bytes.truncate(bytes.len().saturating_sub(cut * 7)),
                    None if at >= metadata && at < metadata + program().seal().len() => {}
                    None => bytes[at] = byte,
                }
                if bytes.is_empty() {
                    break;
                }
            }
            let which = match Elf::read(&bytes) {
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    0
                }
                Ok(elf) => {
                    assert!(!text(&elf, &Wanted::default()).is_empty());
                    assert!(json(&elf, &Wanted::default()).is_ok());
                    assert!(diff::lines(&elf.program, &other.program).is_empty());
                    match verify(&elf, &other) {
                        Err(error) => {
                            assert!(!error.to_string().is_empty());
                            1
                        }
                        Ok(report) => {
                            assert!(!report.findings.is_empty());
                            2
                        }
                    }
                }
            };
            counts[which].update(|count| count + 1);
            Ok(())
        })
        .unwrap();
    assert!(counts.iter().all(|count| count.get() > 0), "{counts:?}");
}
