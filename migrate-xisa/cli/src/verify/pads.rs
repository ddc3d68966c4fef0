//! Landing pads: each begins the record of one site and stores that site's values.
//!
//! A pad is followed from its first instruction to the runtime's call that ends it. Registers and
//! places on the native stack are tracked as far as they hold a number or an address in the record.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use maize_xisa_metadata::address::{RECORD_FUNCTION, UNWIND_FUNCTION};
use maize_xisa_metadata::{Callee, Site};

use super::calls::Code;
use super::{Property, Report, original, outlined_poll};
use crate::code::{self, Base, Effect, Memory, Register};
use crate::elf::Elf;
use crate::unwind::Tables;

/// Most instructions of a pad.
const MOST_STEPS: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Number(u64),
    /// An address so many bytes into the record.
    Record(i64),
}

/// What a pad does.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pad {
    site: u32,
    size: u32,
    /// Bytes of the record that it writes.
    written: BTreeSet<u32>,
}

/// Checks every pad of a file.
pub(crate) fn check(elf: &Elf, code: &Code, tables: &Tables, report: &mut Report) {
    let mut seen: BTreeSet<(u32, String)> = BTreeSet::new();
    for (address, calls) in calls_by_pad(code, tables) {
        let function = code.function_of(address).unwrap_or("?").to_owned();
        let found = follow(elf, code, address).and_then(|pad| {
            judge(elf, &function, &pad)?;
            calls.iter().try_for_each(|call| judge_call(elf, code, *call, pad.site))?;
            Ok(pad.site)
        });
        match found {
            Ok(site) => {
                report.pads += 1;
                // A poll's site is in its function if it is in the poll's own.
                let of_poll = outlined_poll(&function).filter(|(_, number)| *number == site);
                let owner = of_poll.map(|(owner, _)| owner.to_owned()).unwrap_or(function);
                seen.insert((site, owner));
            }
            Err(text) => {
                let text = format!("the pad at {address:#x} in {function} {text}");
                report.find(Property::Pads, Some(elf.isa), text);
            }
        }
    }
    for (number, site) in elf.program.numbered_sites() {
        let name = elf.program.function_of(site).map_or("?", |f| f.name.as_str());
        // A clone has no pad for a site that is not reached after any other, such as a poll at entry.
        if !seen.contains(&(number, name.to_owned())) {
            let text = format!("no pad of {name} saves site {number}");
            report.find(Property::Pads, Some(elf.isa), text);
        }
    }
}

/// The calls that each pad of the file is for.
fn calls_by_pad(code: &Code, tables: &Tables) -> BTreeMap<u64, Vec<Option<u64>>> {
    let mut calls: BTreeMap<u64, Vec<Option<u64>>> = BTreeMap::new();
    for instruction in code.instructions() {
        let [Effect::Call(target)] = instruction.effects[..] else { continue };
        let pad = tables.at(instruction.address).and_then(|e| e.pad_of(instruction.address));
        if let Some(pad) = pad {
            calls.entry(pad).or_default().push(target);
        }
    }
    calls
}

/// Whether a call is the one that the site of its pad names.
fn judge_call(elf: &Elf, code: &Code, target: Option<u64>, number: u32) -> Result<(), String> {
    let wanted = elf.program.site(number).map(|site| &site.callee);
    let called = target.and_then(|target| code.name_at(target)).unwrap_or("a pointer");
    let same = match (wanted, target) {
        (Some(Callee::Indirect), None) => true,
        (Some(Callee::Direct(name)), Some(target)) => {
            elf.symbols.get(name).is_some_and(|symbol| symbol.address == target)
        }
        _ => false,
    };
    if same {
        Ok(())
    } else {
        Err(format!("saves site {number}, which is not the call of {called} that it is for"))
    }
}

fn judge(elf: &Elf, function: &str, pad: &Pad) -> Result<(), String> {
    let number = pad.site;
    let Some(site) = elf.program.site(number) else {
        return Err(format!("saves site {number}, which does not exist"));
    };
    let owner = elf.program.function_of(site).map_or("?", |f| f.name.as_str());
    if owner != original(function) {
        return Err(format!("saves site {number}, which is of {owner}"));
    }
    if pad.size != site.record_bytes {
        return Err(format!("begins a record of {} bytes, not {}", pad.size, site.record_bytes));
    }
    let wanted = value_bytes(site);
    if let Some(more) = pad.written.difference(&wanted).next() {
        return Err(format!("writes byte {more} of its record, where site {number} has no value"));
    }
    if let Some(missing) = wanted.difference(&pad.written).next() {
        return Err(format!("does not write byte {missing} of its record (site {number})"));
    }
    Ok(())
}

fn value_bytes(site: &Site) -> BTreeSet<u32> {
    site.values.iter().flat_map(maize_xisa_metadata::LiveValue::range).collect()
}

#[derive(Default)]
struct State {
    registers: HashMap<Register, Known>,
    stack: HashMap<(Register, i64), Known>,
}

impl State {
    /// How far into the record a place in memory is, if it is there.
    fn in_record(&self, memory: &Memory) -> Option<i64> {
        let Base::Register(base) = memory.base else { return None };
        let index = match memory.index {
            None => 0,
            Some(index) => match self.registers.get(&index)? {
                Known::Number(number) => number.cast_signed(),
                Known::Record(_) => return None,
            },
        };
        match self.registers.get(&base)? {
            Known::Record(at) => at.checked_add(memory.offset)?.checked_add(index),
            Known::Number(_) => None,
        }
    }

    fn set(&mut self, register: Register, known: Option<Known>) {
        match known {
            Some(known) => self.registers.insert(register, known),
            None => self.registers.remove(&register),
        };
    }

    fn apply(&mut self, effect: &Effect, pad: &mut Pad) -> Result<(), String> {
        match *effect {
            Effect::Set(register, number) => self.set(register, Some(Known::Number(number))),
            Effect::SetPart(register, part, mask) => {
                let number = match self.registers.get(&register) {
                    Some(Known::Number(number)) => Some(Known::Number(number & !mask | part)),
                    _ => None,
                };
                self.set(register, number);
            }
            Effect::Add(to, from, more) => {
                let sum = self.registers.get(&from).map(|known| match *known {
                    Known::Number(number) => Known::Number(number.wrapping_add_signed(more)),
                    Known::Record(at) => Known::Record(at.wrapping_add(more)),
                });
                self.set(to, sum);
            }
            Effect::Lower(to, from) => {
                let lower = match self.registers.get(&from) {
                    Some(Known::Number(number)) => {
                        Some(Known::Number(number & u64::from(u32::MAX)))
                    }
                    _ => None,
                };
                self.set(to, lower);
            }
            Effect::Load(to, memory) => {
                let known = match memory.base {
                    Base::Stack(base) => self.stack.get(&(base, memory.offset)).copied(),
                    _ => None,
                };
                self.set(to, known);
            }
            Effect::Store(from, memory) => {
                if let Some(at) = self.in_record(&memory) {
                    let end = at.checked_add(i64::from(memory.bytes));
                    let (Ok(start), Some(Ok(end))) = (u32::try_from(at), end.map(u32::try_from))
                    else {
                        return Err(format!("writes at {at}, outside of its record"));
                    };
                    pad.written.extend(start..end);
                } else if let Base::Stack(base) = memory.base {
                    let known = from.and_then(|from| self.registers.get(&from)).copied();
                    match known {
                        Some(known) => self.stack.insert((base, memory.offset), known),
                        None => self.stack.remove(&(base, memory.offset)),
                    };
                }
            }
            Effect::Other(ref changed) => {
                for register in changed {
                    self.registers.remove(register);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn follow(elf: &Elf, code: &Code, address: u64) -> Result<Pad, String> {
    let (first, second, result) = code::argument_registers(elf.isa);
    let mut state = State::default();
    let mut pad = Pad::default();
    let mut begun = false;
    let mut at = code.index(address).ok_or("does not begin at an instruction")?;
    for _ in 0..MOST_STEPS {
        let instruction = code.get(at).ok_or("runs out of the code")?;
        at += 1;
        for effect in &instruction.effects {
            match effect {
                Effect::Call(target) => {
                    let name = target.and_then(|target| code.name_at(target)).unwrap_or("?");
                    if name == RECORD_FUNCTION && !begun {
                        let number = |register| match state.registers.get(&register) {
                            Some(Known::Number(number)) => u32::try_from(*number).ok(),
                            _ => None,
                        };
                        pad.site = number(first).ok_or("begins a record of an unknown site")?;
                        pad.size = number(second).ok_or("begins a record of an unknown size")?;
                        begun = true;
                        state.registers.retain(|r, _| code::is_kept(elf.isa, *r));
                        state.set(result, Some(Known::Record(0)));
                    } else if name == UNWIND_FUNCTION {
                        return if begun { Ok(pad) } else { Err("begins no record".to_owned()) };
                    } else {
                        return Err(format!("calls {name}"));
                    }
                }
                Effect::Jump(Some(target)) => {
                    at = code.index(*target).ok_or("jumps out of the code")?;
                }
                Effect::Jump(None) | Effect::Branch => return Err("may go two ways".to_owned()),
                Effect::Return | Effect::Trap => return Err("does not go on".to_owned()),
                other => state.apply(other, &mut pad)?,
            }
        }
    }
    Err("does not end".to_owned())
}
