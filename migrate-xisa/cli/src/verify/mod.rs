//! Proves from two files that a move between them loses nothing, or names what breaks it.
//!
//! - Shared data has the same addresses, sizes and bytes; shared symbols the same addresses
//!   ([`shared`]).
//! - The metadata is of one link and the same in both files, value by value ([`agree`]).
//! - Every call that may be on the stack when a thread moves has a landing pad, or nothing is left to
//!   do after it but to return ([`calls`]).
//! - Every pad begins a record of a site of its own function with that site's size, and stores
//!   exactly the bytes of the site's values ([`pads`]).
//! - Unwind tables cover every function that may be on the stack, and the index finds them
//!   ([`coverage`]).

pub mod agree;
pub mod calls;
pub mod coverage;
pub mod pads;
pub mod shared;

use std::collections::BTreeSet;

use maize_xisa_metadata::Isa;
use maize_xisa_metadata::address::{
    JUMP_FUNCTION, MIGRATE_FUNCTION, OUTLINED_POLL_SUFFIX, POLL_FUNCTION, RESUME_SUFFIX,
    SET_JUMP_FUNCTION, SLOT_SUFFIX,
};
use serde::Serialize;

use crate::elf::{Elf, ElfError};
use crate::unwind::Tables;

/// What property does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Property {
    /// The files are of one program for two instruction sets.
    Pair,
    /// They come from one link.
    BuildId,
    /// Shared sections and their bytes.
    Data,
    /// Shared symbols.
    Symbols,
    /// Slots lead to their functions.
    Slots,
    /// Sites and their values.
    Sites,
    /// Thread-local variables.
    ThreadLocals,
    /// Calls have their pads.
    Calls,
    /// Pads store their records.
    Pads,
    /// Unwind tables.
    Unwind,
}

/// Something that breaks a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What does not hold.
    pub property: Property,
    /// In which file, if in one.
    #[serde(serialize_with = "isa_name")]
    pub isa: Option<Isa>,
    /// What was found.
    pub text: String,
}

fn isa_name<S: serde::Serializer>(isa: &Option<Isa>, to: S) -> Result<S::Ok, S::Error> {
    isa.map(Isa::name).serialize(to)
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Shared symbols.
    pub symbols: usize,
    /// Bytes of shared data.
    pub data_bytes: u64,
    /// Sites.
    pub sites: usize,
    /// Calls with a pad, in both files.
    pub calls_with_pad: usize,
    /// Calls after which only a return is left, in both files.
    pub calls_that_return: usize,
    /// Calls of code that never moves, in both files.
    pub native_calls: usize,
    /// Pads that store what their site says, in both files.
    pub pads: usize,
    /// What breaks a move.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn find(&mut self, property: Property, isa: Option<Isa>, text: String) {
        self.findings.push(Finding { property, isa, text });
    }
}

/// Functions that may be on the stack when a thread moves, by symbol: what they may be called by.
pub(crate) struct MayMove {
    names: BTreeSet<String>,
    /// Whether one of them may be called through a pointer.
    pub(crate) by_pointer: bool,
}

impl MayMove {
    fn of(elf: &Elf) -> Self {
        let program = &elf.program;
        let functions = program.functions.iter().map(|function| &function.name);
        let mut names: BTreeSet<String> = functions.chain(&program.transparent).cloned().collect();
        let by_pointer =
            names.iter().any(|name| elf.symbols.contains_key(&format!("{name}{SLOT_SUFFIX}")));
        let of_runtime = [POLL_FUNCTION, MIGRATE_FUNCTION, SET_JUMP_FUNCTION, JUMP_FUNCTION];
        names.extend(of_runtime.map(str::to_owned));
        Self { names, by_pointer }
    }

    /// Whether the function at a symbol is one: itself, by its slot, or what was made of one.
    pub(crate) fn contains(&self, symbol: &str) -> bool {
        let function = symbol.strip_suffix(SLOT_SUFFIX).unwrap_or_else(|| original(symbol));
        self.names.contains(function)
    }
}

/// The function of a symbol: itself, or what it is the resume clone or an outlined poll of.
pub(crate) fn original(symbol: &str) -> &str {
    outlined_poll(symbol).map_or(symbol.strip_suffix(RESUME_SUFFIX).unwrap_or(symbol), |(f, _)| f)
}

/// The function and the site whose outlined poll a symbol is, if it is one.
pub(crate) fn outlined_poll(symbol: &str) -> Option<(&str, u32)> {
    let (function, site) = symbol.strip_suffix(OUTLINED_POLL_SUFFIX)?.rsplit_once('.')?;
    Some((function, site.parse().ok()?))
}

/// Verifies a program's two files against each other.
///
/// # Errors
/// [`ElfError`] if a file lacks what cannot be looked at without.
pub fn verify(first: &Elf, second: &Elf) -> Result<Report, ElfError> {
    let mut report = Report::default();
    if first.isa == second.isa {
        let text = format!("both files are for {}", first.isa);
        report.find(Property::Pair, None, text);
    }
    agree::check(first, second, &mut report);
    shared::check(first, second, &mut report)?;
    for elf in [first, second] {
        let tables = Tables::read(elf)?;
        let may_move = MayMove::of(elf);
        let code = calls::Code::of(elf)?;
        coverage::check(elf, &tables, &mut report)?;
        calls::check(elf, &code, &tables, &may_move, &mut report);
        pads::check(elf, &code, &tables, &mut report);
    }
    Ok(report)
}
