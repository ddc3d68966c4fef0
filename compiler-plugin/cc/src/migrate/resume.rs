//! Clones that enter a function again at any of its sites.
//!
//! `f.resume(record, result)` goes to the site that the record names, with the record's values in
//! place and, if the site's call returned something, that result from the buffer. It runs the
//! function to its end and leaves what it returns in the same buffer. The values are put into slots
//! first and become registers again by `mem2reg`.

use std::collections::{BTreeSet, HashMap};

use maize_llvm::{Block, Builder, Linkage, Module, Opcode, Place, TypeKind, Value};
use maize_xisa_metadata::address::RESUME_SUFFIX;
use maize_xisa_metadata::record;

use super::Runtime;
use super::save::{self, Saved};
use super::sites::Found;
use crate::CompileError;

/// Start of the names of what stands for an argument before it is loaded from a record.
pub(crate) const MISSING: &str = "missing.";

/// Bytes of the buffer of a result: no calling convention returns as much without memory of the
/// caller's.
pub(crate) const RESULT_BYTES: u64 = 64;
/// Alignment of that buffer.
pub(crate) const MOST_RESULT_ALIGNMENT: u64 = 16;

/// At how many sites a value may be restored and still be a register of the clone. One more place that a
/// value comes from is one more phi wherever its paths meet: a function with hundreds of sites and values
/// had more of those than instructions, and they took LLVM longer than everything else. Such values stay
/// in their slots, where code generation would have put most of them.
const MOST_RESTORES: usize = 16;

/// The section that clones are put in.
pub const SECTION: &str = ".text.maize_resume";

struct Clone<'m> {
    module: &'m Module,
    function: Value<'m>,
    record: Value<'m>,
    result: Value<'m>,
    entry: Block<'m>,
    /// From the original's values to the clone's.
    values: HashMap<Value<'m>, Value<'m>>,
    /// One per value that a site needs.
    slots: HashMap<Value<'m>, Value<'m>>,
    /// Where each site's call has returned: its result is stored there.
    returned: HashMap<Value<'m>, Block<'m>>,
}

/// Makes the clone of a function, whose sites' blocks have been split but not yet converted.
///
/// # Errors
/// [`CompileError::Internal`] if the clone lacks what the original has.
pub(crate) fn clone<'m>(
    module: &'m Module,
    runtime: &Runtime<'m>,
    original: Value<'m>,
    sites: &[Found<'m>],
) -> Result<Value<'m>, CompileError> {
    let pointer = module.pointer_type();
    let name = format!("{}{RESUME_SUFFIX}", original.name());
    let function = module.add_function(&name, module.void_type().function(&[pointer, pointer]));
    let [record, result] = function.arguments()[..] else {
        return Err(CompileError::Internal(format!("{name} has not two parameters")));
    };
    let entry = function.append_block("entry");
    let needed = needed(sites);
    let values = copy_body(module, original, function, entry, sites, &needed);
    let mut clone = Clone {
        module,
        function,
        record,
        result,
        entry,
        values,
        slots: HashMap::new(),
        returned: HashMap::new(),
    };
    clone.set_up();
    clone.return_by_buffer();
    clone.make_slots(sites, &needed);
    clone.split_after_calls(sites)?;
    for value in &needed {
        clone.demote(*value)?;
    }
    clone.dispatch(sites)?;
    for site in sites {
        let call = clone.value(site.call)?;
        let rest = clone.returned.get(&site.call).copied().ok_or_else(missing)?;
        save::convert(module, runtime, function, site, call, rest, &|value| match clone
            .slots
            .get(&value)
        {
            Some(slot) => Saved::Slot(*slot),
            None => Saved::Value(value),
        })?;
    }
    Ok(function)
}

fn missing() -> CompileError {
    CompileError::Internal("a clone lacks a value of its original".to_owned())
}

/// Values that some site saves, computes again or has as its result.
fn needed<'m>(sites: &[Found<'m>]) -> BTreeSet<Value<'m>> {
    let mut needed = BTreeSet::new();
    for site in sites {
        needed.extend(site.saved.iter().map(|(value, _)| *value));
        needed.extend(&site.recomputed);
        if site.call.kind().kind() != TypeKind::Void && !site.call.is_unused() {
            needed.insert(site.call);
        }
    }
    needed
}

fn copy_body<'m>(
    module: &'m Module,
    original: Value<'m>,
    function: Value<'m>,
    entry: Block<'m>,
    sites: &[Found<'m>],
    needed: &BTreeSet<Value<'m>>,
) -> HashMap<Value<'m>, Value<'m>> {
    let builder = Builder::at_end(module, entry);
    let arguments = original.arguments();
    let stand_ins: Vec<_> = arguments
        .iter()
        .map(|argument| {
            let stand_in = builder.frozen_poison(argument.kind());
            stand_in.set_name(&format!("{MISSING}{}", argument.name()));
            stand_in
        })
        .collect();
    let mut asked: Vec<_> = needed.iter().copied().filter(|value| !value.is_argument()).collect();
    asked.extend(sites.iter().map(|site| site.call));
    asked.extend(sites.iter().map(|site| site.rest.as_value()));
    let found = original.clone_body(function, &stand_ins, &asked);
    asked.into_iter().zip(found).chain(arguments.into_iter().zip(stand_ins)).collect()
}

impl<'m> Clone<'m> {
    fn value(&self, original: Value<'m>) -> Result<Value<'m>, CompileError> {
        self.values.get(&original).copied().ok_or_else(missing)
    }

    fn set_up(&self) {
        self.function.set_linkage(Linkage::LLVMInternalLinkage);
        self.function.clear_comdat();
        self.function.set_local();
        self.function.set_section(SECTION);
        self.function.add_attribute(Place::Function, "cold", 0);
        self.function.add_attribute(Place::Function, "noinline", 0);
        let unfit = ["alwaysinline", "optsize", "minsize", "inlinehint", "allocsize", "allockind"];
        self.function.remove_attributes(Place::Function, &unfit);
    }

    fn return_by_buffer(&self) {
        for ret in self.function.instructions().into_iter().filter(|i| i.is(Opcode::LLVMRet)) {
            let (Some(value), Some(block)) = (ret.operand(0), ret.block()) else { continue };
            block.drop_terminator();
            let builder = Builder::at_end(self.module, block);
            let store = builder.store(value, self.result);
            store.set_alignment(store.alignment().clamp(1, MOST_RESULT_ALIGNMENT));
            builder.ret(None);
        }
    }

    fn make_slots(&mut self, sites: &[Found<'m>], needed: &BTreeSet<Value<'m>>) {
        let builder = Builder::at_end(self.module, self.entry);
        let restored = || {
            sites
                .iter()
                .flat_map(|s| s.saved.iter().map(|(v, _)| *v).chain(s.recomputed.iter().copied()))
        };
        let mut restores = HashMap::new();
        for value in restored() {
            *restores.entry(value).or_insert(0) += 1;
        }
        let in_order = restored().chain(sites.iter().map(|site| site.call));
        for value in in_order.filter(|value| needed.contains(value)) {
            self.slots.entry(value).or_insert_with(|| {
                let stays = restores.get(&value).is_some_and(|count| *count > MOST_RESTORES);
                // `mem2reg` takes only what is as large as its slot for one.
                let kind = if stays { value.kind().array(1) } else { value.kind() };
                builder.alloca(kind, &format!("{}.slot", value.name()))
            });
        }
    }

    fn split_after_calls(&mut self, sites: &[Found<'m>]) -> Result<(), CompileError> {
        for site in sites {
            let next = self.value(site.call)?.next().ok_or_else(missing)?;
            self.returned.insert(site.call, next.split_before());
        }
        Ok(())
    }

    /// Lets every use of a value read its slot, and its definition write it.
    fn demote(&self, original: Value<'m>) -> Result<(), CompileError> {
        let value = self.value(original)?;
        let slot = self.slots.get(&original).copied().ok_or_else(missing)?;
        let mut users: Vec<_> = value.users();
        users.sort_unstable();
        users.dedup();
        for user in users {
            if user.is(Opcode::LLVMPHI) {
                // A block that leads here more than once has one value for all its edges.
                let mut loads = HashMap::new();
                for (index, (incoming, from)) in (0..).zip(user.incoming()) {
                    if incoming == value {
                        let end = from.terminator().ok_or_else(missing)?;
                        let load = *loads.entry(from).or_insert_with(|| {
                            Builder::before(self.module, end).load(value.kind(), slot, "")
                        });
                        user.set_operand(index, load);
                    }
                }
            } else {
                let builder = Builder::before(self.module, user);
                user.replace_operand(value, builder.load(value.kind(), slot, ""));
            }
        }
        if original.is_argument() && slot.allocated_type() != value.kind() {
            // What stands for it would be stored for good, and taken for a use of it.
            return Ok(());
        }
        let builder = if let Some(returned) = self.returned.get(&original) {
            let first = returned.instructions().into_iter().next().ok_or_else(missing)?;
            Builder::before(self.module, first)
        } else if original.is_argument() {
            Builder::at_end(self.module, self.entry)
        } else if value.is(Opcode::LLVMPHI) {
            let first = value.block().and_then(Block::first_insertion).ok_or_else(missing)?;
            Builder::before(self.module, first)
        } else {
            Builder::after(self.module, value)
        };
        builder.store(value, slot);
        Ok(())
    }

    /// Goes from the entry to the site that the record names.
    fn dispatch(&self, sites: &[Found<'m>]) -> Result<(), CompileError> {
        let wrong = self.function.append_block("wrong.site");
        // A clone whose sites never return has no other code, and code of no length no unwind table
        // that is told from the next function's.
        let builder = Builder::at_end(self.module, wrong);
        builder.intrinsic("llvm.trap", &[], &[]);
        builder.unreachable();
        let mut cases = Vec::new();
        for site in sites {
            let block = self.function.append_block(&format!("resume.{}", site.number));
            self.restore(site, block)?;
            cases.push((self.module.i32(site.number), block));
        }
        let builder = Builder::at_end(self.module, self.entry);
        let number = builder.offset(self.record, record::SITE as i64);
        let number = builder.load(self.module.int_type(32), number, "site");
        builder.switch(number, wrong, &cases);
        Ok(())
    }

    fn restore(&self, site: &Found<'m>, block: Block<'m>) -> Result<(), CompileError> {
        let builder = Builder::at_end(self.module, block);
        let slot = |value: &Value<'m>| self.slots.get(value).copied().ok_or_else(missing);
        for (value, offset) in &site.saved {
            let from = builder.offset(self.record, i64::from(*offset));
            let load = builder.load(value.kind(), from, &value.name());
            load.set_alignment(load.alignment().clamp(1, u64::from(record::ALIGNMENT)));
            builder.store(load, slot(value)?);
        }
        for original in &site.recomputed {
            let copy = original.duplicate();
            copy.clear_location();
            for operand in original.operands() {
                if let Some(slot) = self.slots.get(&operand) {
                    copy.replace_operand(operand, builder.load(operand.kind(), *slot, ""));
                }
            }
            builder.insert(copy);
            builder.store(copy, slot(original)?);
        }
        if let Some(slot) = self.slots.get(&site.call) {
            let load = builder.load(site.call.kind(), self.result, "");
            load.set_alignment(load.alignment().clamp(1, MOST_RESULT_ALIGNMENT));
            builder.store(load, *slot);
        }
        let rest = Block::from_value(self.value(site.rest.as_value())?).ok_or_else(missing)?;
        builder.branch(rest);
        Ok(())
    }
}
