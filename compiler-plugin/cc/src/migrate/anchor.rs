//! Frames that a `longjmp` may go back to.
//!
//! A buffer of `setjmp` must mean the same frame wherever its thread is, so it names the frame by its
//! *anchor*: the lowest address of its locals on the data stack. Every record of such a function
//! begins with the anchor. Below its locals the frame has room for one record per `setjmp`, which is
//! filled when it is called, as a landing pad would fill it. A `longjmp` is then a move that stays
//! where it is: all frames are saved, the records above the anchor's are dropped, and that site is
//! resumed from the frame's own record, with the jump's value as its result.

use maize_llvm::{Builder, Module, Value};
use maize_xisa_metadata::record;

use super::Runtime;
use super::data_stack::Frame;
use super::sites::Found;
use crate::CompileError;

/// Argument of the call that is the frame's anchor.
const ANCHOR: u32 = 1;
/// Argument of the call that is where the frame is saved.
const RECORD: u32 = 2;

/// Calls of `setjmp` in a function.
pub(crate) fn set_jumps<'m>(runtime: &Runtime<'m>, function: Value<'m>) -> Vec<Value<'m>> {
    let calls = function.instructions().into_iter();
    calls.filter(|i| i.is_call() && i.callee() == Some(runtime.set_jump)).collect()
}

/// A frame's anchor.
pub(crate) struct Anchor<'m> {
    /// The lowest address of its locals.
    pub(crate) address: Value<'m>,
    /// Where the frame's top has been lowered for its locals.
    lowered: Value<'m>,
}

impl<'m> Anchor<'m> {
    /// The anchor of a frame, given to its calls of `setjmp`.
    pub(crate) fn of(
        module: &'m Module,
        frame: &Frame<'m>,
        set_jumps: &[Value<'m>],
    ) -> Option<Self> {
        let (address, lowered) = (frame.base?, frame.lowered?);
        for call in set_jumps {
            call.set_operand(ANCHOR, address);
            // Its distance is known once the sites are.
            let record = Builder::before(module, *call).offset(address, -1);
            call.set_operand(RECORD, record);
        }
        (!set_jumps.is_empty()).then_some(Self { address, lowered })
    }

    /// Makes room for the records of a function's `setjmp` sites, and fills each before its call.
    ///
    /// # Errors
    /// [`CompileError::Internal`] if a call has been changed since.
    pub(crate) fn save_at(
        &self,
        module: &'m Module,
        runtime: &Runtime<'m>,
        sites: &[Found<'m>],
    ) -> Result<(), CompileError> {
        let changed = || CompileError::Internal("a call of setjmp has been changed".to_owned());
        let mut below = 0_i64;
        for site in sites.iter().filter(|site| site.call.callee() == Some(runtime.set_jump)) {
            below += i64::from(site.bytes);
            let place = site.call.operand(RECORD).ok_or_else(changed)?;
            if place.operand(1).and_then(Value::integer) != Some(-1) {
                return Err(changed());
            }
            place.set_operand(1, module.i64(-below));
            let builder = Builder::before(module, site.call);
            let word = |offset: usize| builder.offset(place, offset as i64);
            builder.store(module.i64(0), word(record::PARENT));
            builder.store(module.i32(site.number), word(record::SITE));
            builder.store(module.i32(site.bytes), word(record::SIZE));
            for (value, offset) in &site.saved {
                let store = builder.store(*value, builder.offset(place, i64::from(*offset)));
                store.set_alignment(store.alignment().clamp(1, u64::from(record::ALIGNMENT)));
            }
        }
        let builder = Builder::after(module, self.lowered);
        let top = self.lowered.operand(1).ok_or_else(changed)?;
        builder.store(builder.offset(self.address, -below), top);
        Ok(())
    }
}
