//! Damaged sections and states: every one is read or refused by name, and none panics.
//!
//! A usual run tries as many inputs as CI has time for;
//! `MAIZE_MUTATIONS=1000000 cargo test --release -p maize-xisa-metadata --test mutations` a million.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail so")]

use maize_xisa_metadata::container::{Kind, seal_payload};
use maize_xisa_metadata::fpu::Fpu;
use maize_xisa_metadata::{
    BuildId, Callee, Function, Isa, LiveValue, Location, Polls, Program, Signals, Site,
    ThreadLocals, ThreadState, ValueType,
};
use proptest::test_runner::{Config, TestRunner};

fn program() -> Program {
    let site = |function: u32, values: u32| Site {
        function,
        callee: Callee::Direct("next".to_owned()),
        location: Some(Location { line: 10 + values, column: 3 }),
        result: vec![ValueType::Integer(32)],
        record_bytes: 16 + 16 * values,
        values: (1..=values)
            .map(|n| LiveValue {
                offset: 16 * n,
                kind: ValueType::Integers { lanes: 2, bits: 64 },
                name: format!("v{n}"),
            })
            .collect(),
        recomputed: values,
    };
    Program {
        build_id: BuildId([9; 16]),
        polls: Polls::Calls,
        thread_locals: ThreadLocals { bytes: 8, alignment: 8 },
        functions: ["f", "g"].map(|name| Function { name: name.to_owned(), file: None }).to_vec(),
        transparent: vec!["t".to_owned()],
        sites: (0..12).map(|n| site(n % 2, n)).collect(),
    }
}

fn state() -> ThreadState {
    let mut records = Vec::new();
    let mut parent = 0_u64;
    for site in 1..=12_u32 {
        let address = 0x10_0000 + records.len() as u64;
        let size = 16 * site;
        records.extend(parent.to_le_bytes());
        records.extend(site.to_le_bytes());
        records.extend(size.to_le_bytes());
        records.resize(records.len() + size as usize - 16, site as u8);
        parent = address;
    }
    ThreadState {
        build_id: program().build_id,
        source: Isa::Aarch64,
        thread: 1,
        thread_pointer: 0x20_0000,
        data_stack: 0x1f_0000,
        record_head: parent,
        record_base: 0x10_0000,
        records,
        fpu: Fpu::default(),
        signals: Signals::default(),
    }
}

/// Changes to a payload: a byte replaced, removed, or put in; the checksum is made right again so
/// that the payload's own checks are reached.
fn damaged(kind: Kind, sealed: &[u8], changes: &[(u16, u8, u8)]) -> Vec<u8> {
    let mut payload = sealed[24..].to_vec();
    for &(at, how, byte) in changes {
        let at = usize::from(at) % (payload.len() + 1);
        match how % 4 {
            0 if at < payload.len() => drop(payload.remove(at)),
            1 => payload.insert(at, byte),
            2 => payload.truncate(at.max(1)),
            _ if at < payload.len() => payload[at] = byte,
            _ => {}
        }
    }
    seal_payload(kind, &payload)
}

#[test]
fn damaged_input_is_refused_by_name() {
    let cases = std::env::var("MAIZE_MUTATIONS").ok().and_then(|n| n.parse().ok());
    damage(cases.unwrap_or(4_000));
}

#[test]
#[ignore = "takes some minutes"]
fn a_million_damaged_inputs_are_refused_by_name() {
    damage(1_000_000);
}

fn damage(cases: u32) {
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let (section, saved, whole) = (program().seal(), state().seal(), program());
    let (read, refused) = (std::cell::Cell::new(0_u32), std::cell::Cell::new(0_u32));
    let count = |ok: bool| if ok { &read } else { &refused }.update(|n| n + 1);
    let strategy = (
        proptest::collection::vec(proptest::arbitrary::any::<(u16, u8, u8)>(), 1..6),
        proptest::arbitrary::any::<u16>(),
    );
    runner
        .run(&strategy, |(changes, raw)| {
            let program = Program::read(&damaged(Kind::Program, &section, &changes));
            count(program.is_ok());
            if let Err(error) = program {
                assert!(!error.to_string().is_empty());
            }
            match ThreadState::read(&damaged(Kind::ThreadState, &saved, &changes)) {
                Ok(state) => {
                    count(true);
                    drop(state.frames_of(&whole).map_err(|error| error.to_string()));
                }
                Err(error) => {
                    count(false);
                    assert!(!error.to_string().is_empty());
                }
            }
            // Damage that the checksum must see.
            let mut bytes = section.clone();
            let at = usize::from(raw) % bytes.len();
            bytes[at] ^= changes[0].2 | 1;
            assert!(Program::read(&bytes).is_err());
            assert!(Program::read(&section[..at]).is_err());
            Ok(())
        })
        .unwrap();
    assert!(read.get() > 0 && refused.get() > 0, "{} read, {} refused", read.get(), refused.get());
}
