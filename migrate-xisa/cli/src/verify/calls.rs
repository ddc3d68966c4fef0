//! Calls that may be on the stack when a thread moves.

use std::collections::BTreeMap;

use maize_xisa_metadata::address::{RESUME_SUFFIX, TEXT_END, TEXT_START};

use super::{MayMove, Property, Report, outlined_poll};
use crate::code::{self, Effect, Instruction};
use crate::elf::{Elf, ElfError};
use crate::unwind::Tables;

/// The code of a file that may be on the stack, decoded.
pub(crate) struct Code {
    instructions: Vec<Instruction>,
    /// Functions of the whole file by address.
    functions: BTreeMap<u64, String>,
}

impl Code {
    pub(crate) fn of(elf: &Elf) -> Result<Self, ElfError> {
        let (start, end) = (elf.address(TEXT_START)?, elf.address(TEXT_END)?);
        if end < start {
            return Err(ElfError::Text { start, end });
        }
        let section = elf.section_at(start).ok_or(ElfError::NoSymbol(TEXT_START))?;
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        let bytes = section.from(start).and_then(|bytes| bytes.get(..length));
        let bytes = bytes.ok_or(ElfError::NoSymbol(TEXT_END))?;
        let mut functions = BTreeMap::new();
        for (name, symbol) in &elf.symbols {
            // Marks such as the start of the text share an address with a function: a size tells.
            if symbol.size > 0 || !functions.contains_key(&symbol.address) {
                functions.insert(symbol.address, name.clone());
            }
        }
        let mut instructions = Vec::new();
        // Function by function: padding between them need not decode to what follows.
        let starts: Vec<u64> = functions.range(start..end).map(|(at, _)| *at).collect();
        for (at, next) in starts.iter().zip(starts.iter().skip(1).chain([&end])) {
            let from = usize::try_from(at - start).unwrap_or(usize::MAX);
            let to = usize::try_from(next - start).unwrap_or(0);
            if let Some(bytes) = bytes.get(from..to) {
                instructions.extend(code::decode(elf.isa, *at, bytes));
            }
        }
        Ok(Self { instructions, functions })
    }

    /// The function that begins at an address.
    pub(crate) fn name_at(&self, address: u64) -> Option<&str> {
        self.functions.get(&address).map(String::as_str)
    }

    /// The function that an address is in.
    pub(crate) fn function_of(&self, address: u64) -> Option<&str> {
        self.functions.range(..=address).next_back().map(|(_, name)| name.as_str())
    }

    /// Index of the instruction at an address.
    pub(crate) fn index(&self, address: u64) -> Option<usize> {
        self.instructions.binary_search_by_key(&address, |i| i.address).ok()
    }

    /// The instruction with an index.
    pub(crate) fn get(&self, index: usize) -> Option<&Instruction> {
        self.instructions.get(index)
    }

    pub(crate) fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }
}

/// Most instructions between a call and the return that ends its function.
const MOST_STEPS: usize = 200;

/// Checks every call of a file.
pub(crate) fn check(
    elf: &Elf,
    code: &Code,
    tables: &Tables,
    may_move: &MayMove,
    report: &mut Report,
) {
    for (index, instruction) in code.instructions().iter().enumerate() {
        let [Effect::Call(target)] = instruction.effects[..] else { continue };
        let callee = target.and_then(|target| code.name_at(target));
        let moves = match target {
            Some(_) => callee.is_some_and(|name| may_move.contains(name)),
            None => may_move.by_pointer,
        };
        if !moves {
            report.native_calls += 1;
            continue;
        }
        let at = instruction.address;
        let function = code.function_of(at).unwrap_or("?");
        let called = callee.unwrap_or("a pointer");
        let Some(entry) = tables.at(at) else {
            let text = format!("{function} calls {called} at {at:#x}, where no unwind table is");
            report.find(Property::Unwind, Some(elf.isa), text);
            continue;
        };
        if entry.pad_of(at).is_some() {
            report.calls_with_pad += 1;
        } else if only_returns(code, index, has_buffer(function)) {
            report.calls_that_return += 1;
        } else {
            let text = format!("{function} calls {called} at {at:#x} without a landing pad");
            report.find(Property::Calls, Some(elf.isa), text);
        }
    }
}

/// Whether a function puts a call's result into a buffer before it returns, as a clone does, or takes it
/// from one, as an outlined poll does.
fn has_buffer(function: &str) -> bool {
    function.ends_with(RESUME_SUFFIX) || outlined_poll(function).is_some()
}

/// Whether nothing is left after a call but to return.
fn only_returns(code: &Code, call: usize, has_buffer: bool) -> bool {
    let mut at = call + 1;
    for _ in 0..MOST_STEPS {
        let Some(instruction) = code.get(at) else { return false };
        at += 1;
        match instruction.effects[..] {
            [Effect::Return] => return true,
            [Effect::Jump(Some(target))] => match code.index(target) {
                Some(index) => at = index,
                None => return false,
            },
            _ if instruction.effects.iter().all(|effect| *effect == Effect::Teardown) => {}
            _ if instruction.moves_only => {}
            _ if has_buffer
                && instruction.effects.iter().all(|effect| {
                    matches!(effect, Effect::Store(..) | Effect::Other(_) | Effect::Load(..))
                }) => {}
            _ => return false,
        }
    }
    false
}
