//! Unwind tables cover every function that may be on the stack, and the index finds them.

use maize_xisa_metadata::address::RESUME_SUFFIX;

use super::{Property, Report, outlined_poll};
use crate::elf::{Elf, ElfError};
use crate::unwind::Tables;

/// Checks a file's unwind tables.
///
/// # Errors
/// [`ElfError`] if it has none.
pub fn check(elf: &Elf, tables: &Tables, report: &mut Report) -> Result<(), ElfError> {
    let program = &elf.program;
    let functions = program
        .functions
        .iter()
        .flat_map(|function| [function.name.clone(), format!("{}{RESUME_SUFFIX}", function.name)]);
    let polls = elf.symbols.keys().filter(|name| outlined_poll(name).is_some());
    for name in functions.chain(program.transparent.iter().cloned()).chain(polls.cloned()) {
        let Some(symbol) = elf.symbols.get(&name) else {
            let text = format!("{name} is in the metadata, but not in the file");
            report.find(Property::Unwind, Some(elf.isa), text);
            continue;
        };
        let covered = tables
            .at(symbol.address)
            .is_some_and(|entry| entry.end >= symbol.address.saturating_add(symbol.size));
        if !covered {
            let text = format!("no unwind table covers {name}");
            report.find(Property::Unwind, Some(elf.isa), text);
        }
    }
    index(elf, tables, report)
}

/// The index, by which unwinding finds tables: 32-bit pairs, ascending, one for each table.
fn index(elf: &Elf, tables: &Tables, report: &mut Report) -> Result<(), ElfError> {
    let section = elf.section(".eh_frame_hdr")?;
    let word = |at: usize| {
        let bytes: [u8; 4] = section.bytes.get(at..at + 4)?.try_into().ok()?;
        Some(i64::from(i32::from_le_bytes(bytes)))
    };
    let known = section.bytes.get(..4) == Some(&[1, 0x1b, 0x03, 0x3b]);
    let count = word(8).and_then(|count| usize::try_from(count).ok());
    let mut starts = Vec::new();
    if let Some(count) = count.filter(|_| known) {
        for pair in 0..count.min(section.bytes.len()) {
            let Some(start) = word(12 + 8 * pair) else { break };
            starts.push(section.address.wrapping_add_signed(start));
        }
    }
    let wanted: Vec<_> = tables.0.iter().map(|entry| entry.start).collect();
    if starts != wanted {
        let text = format!("the index has {} of {} unwind tables", starts.len(), wanted.len());
        report.find(Property::Unwind, Some(elf.isa), text);
    }
    Ok(())
}
