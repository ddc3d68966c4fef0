//! What has the same address in each file: data and its bytes, symbols, slots.

use std::collections::{BTreeMap, BTreeSet};

use maize_xisa_metadata::address::{SHARED_SECTIONS, SLOT_SECTION, SLOT_SUFFIX, TLS_TEMPLATE};

use super::{Property, Report};
use crate::code::{self, Effect};
use crate::elf::{Elf, ElfError, Section, Symbol};

/// Checks shared sections and symbols.
///
/// # Errors
/// [`ElfError::NoSection`] if a file has slots' symbols but no slots.
pub fn check(first: &Elf, second: &Elf, report: &mut Report) -> Result<(), ElfError> {
    for name in SHARED_SECTIONS {
        match (first.sections.get(name), second.sections.get(name)) {
            (None, None) => {}
            (Some(a), Some(b)) => {
                report.data_bytes += a.size;
                if let Some(difference) = difference(a, b) {
                    report.find(Property::Data, None, format!("{name}: {difference}"));
                }
            }
            _ => {
                let text = format!("{name} is in one file only");
                report.find(Property::Data, None, text);
            }
        }
    }
    symbols(first, second, report);
    for elf in [first, second] {
        slots(elf, report)?;
        thread_locals(elf, report);
    }
    Ok(())
}

fn difference(a: &Section, b: &Section) -> Option<String> {
    if a.address != b.address {
        return Some(format!("at {:#x} and at {:#x}", a.address, b.address));
    }
    if a.size != b.size {
        return Some(format!("{} and {} bytes", a.size, b.size));
    }
    let at = a.bytes.iter().zip(&b.bytes).position(|(x, y)| x != y)?;
    Some(format!("another byte at {:#x}", a.address + at as u64))
}

fn shared_symbols(elf: &Elf) -> BTreeMap<&str, &Symbol> {
    let shared = |section: &str| SHARED_SECTIONS.contains(&section) || section == SLOT_SECTION;
    let symbols = elf.symbols.iter().filter(|(_, symbol)| shared(&symbol.section));
    symbols.map(|(name, symbol)| (name.as_str(), symbol)).collect()
}

fn symbols(first: &Elf, second: &Elf, report: &mut Report) {
    let (a, b) = (shared_symbols(first), shared_symbols(second));
    report.symbols = a.len();
    let names: BTreeSet<_> = a.keys().chain(b.keys()).copied().collect();
    for name in names {
        match (a.get(name), b.get(name)) {
            (Some(x), Some(y)) if x.address != y.address => {
                let text = format!("{name} is at {:#x} and at {:#x}", x.address, y.address);
                report.find(Property::Symbols, None, text);
            }
            (Some(x), Some(y)) if x.size != y.size && x.section != SLOT_SECTION => {
                let text = format!("{name} has {} and {} bytes", x.size, y.size);
                report.find(Property::Symbols, None, text);
            }
            (Some(_), Some(_)) => {}
            _ => report.find(Property::Symbols, None, format!("{name} is in one file only")),
        }
    }
}

/// Each slot is a jump to the function that it is named for.
fn slots(elf: &Elf, report: &mut Report) -> Result<(), ElfError> {
    let slots = elf.symbols.iter().filter(|(_, symbol)| symbol.section == SLOT_SECTION);
    for (name, slot) in slots {
        let Some(function) = name.strip_suffix(SLOT_SUFFIX) else { continue };
        let code = elf.section(SLOT_SECTION)?.from(slot.address).unwrap_or_default();
        let jump = code::decode(elf.isa, slot.address, code.get(..16).unwrap_or(code));
        let target = jump
            .iter()
            .find(|instruction| instruction.effects != [Effect::Teardown])
            .and_then(|instruction| match instruction.effects[..] {
                [Effect::Jump(target)] => target,
                _ => None,
            });
        let wanted = elf.symbols.get(function).map(|symbol| symbol.address);
        if target.is_none() || target != wanted {
            let text = format!("the slot of {function} does not lead to it");
            report.find(Property::Slots, Some(elf.isa), text);
        }
    }
    Ok(())
}

fn thread_locals(elf: &Elf, report: &mut Report) {
    let wanted = elf.program.thread_locals.bytes;
    let found = elf.symbols.get(TLS_TEMPLATE).map_or(0, |symbol| symbol.size);
    if wanted != found {
        let text = format!("{wanted} bytes by the metadata, {found} in the file");
        report.find(Property::ThreadLocals, Some(elf.isa), text);
    }
}
