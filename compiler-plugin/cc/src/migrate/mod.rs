//! Makes an optimised program able to move.
//!
//! Each call that may be on the stack when its thread moves becomes an `invoke`: its landing pad
//! stores the frame's live values into a record and goes on to the caller ([`save`]). A poll's is in a
//! function of its own, which the poll jumps to. One cold clone per function enters it again at any such call ([`resume`]). Locals whose address is taken
//! live on a data stack with the same addresses everywhere ([`data_stack`]), functions whose
//! address is taken have one address everywhere ([`slots`]), and so has all data ([`place`]). Frames
//! that a `longjmp` may go back to are told by their place on that stack ([`anchor`]).
//!
//! It works in three steps, with a clean-up by LLVM's own passes before the last: [`prepare`],
//! [`split`], [`CLEAN_UP`], [`finish`].

pub mod anchor;
pub mod data_stack;
pub mod liveness;
pub mod place;
pub mod polls;
pub mod reach;
mod recursion;
pub mod resume;
pub mod save;
pub mod sites;
pub mod slots;

use std::collections::HashMap;

use maize_llvm::{CallConvention, Linkage, Machine, Module, Opcode, Place, TypeKind, Value};
use maize_xisa_metadata::address::{
    ANCHORED_SITES, JUMP_FUNCTION, MIGRATE_FUNCTION, POLL_FUNCTION, RECORD_FUNCTION, REQUEST_WORD,
    RESUME_TABLE, SET_JUMP_FUNCTION, SIGNAL_POINT_FUNCTION, UNWIND_FUNCTION,
};
use maize_xisa_metadata::{Function, Polls, Site};

use crate::CompileError;
use data_stack::Wanted;
pub use save::PollForm;

/// LLVM's passes between the two steps.
pub const CLEAN_UP: &str = "function(unreachableblockelim,mem2reg,simplifycfg)";

/// Attributes that do not hold for a function, or a call of it, that a thread may leave in the
/// middle: it reads and writes memory, and may unwind.
const UNSOUND: [&str; 9] = [
    "nounwind",
    "memory",
    "willreturn",
    "nosync",
    "nofree",
    "noreturn",
    "nocallback",
    "mustprogress",
    // The second return is a resumption of its own.
    "returns_twice",
];

/// What the first step found.
#[derive(Debug, Default)]
pub struct Split {
    /// Functions with sites.
    pub functions: Vec<Function>,
    /// Functions that may be on the stack without a record.
    pub transparent: Vec<String>,
    /// Sites.
    pub sites: Vec<Site>,
    /// Polls that were placed.
    pub polls: usize,
    /// Locals that were moved to the data stack.
    pub locals_moved: usize,
}

/// The functions of the runtime that generated code calls.
pub struct Runtime<'m> {
    pub(crate) poll: Value<'m>,
    pub(crate) migrate: Value<'m>,
    pub(crate) signal_point: Value<'m>,
    pub(crate) set_jump: Value<'m>,
    pub(crate) jump: Value<'m>,
    pub(crate) record: Value<'m>,
    pub(crate) unwind_next: Value<'m>,
    pub(crate) request: Value<'m>,
    pub(crate) personality: Value<'m>,
}

impl<'m> Runtime<'m> {
    fn declare(module: &'m Module) -> Self {
        let void = module.void_type();
        let (word, pointer) = (module.int_type(32), module.pointer_type());
        let poll = module.declare(POLL_FUNCTION, void.function(&[]));
        poll.set_convention(CallConvention::PreserveAll);
        let migrate = module.declare(MIGRATE_FUNCTION, void.function(&[]));
        let signal_point = module.declare(SIGNAL_POINT_FUNCTION, void.function(&[]));
        let set_jump = word.function(&[pointer, pointer, pointer]);
        let set_jump = module.declare(SET_JUMP_FUNCTION, set_jump);
        let jump = module.declare(JUMP_FUNCTION, void.function(&[pointer, word]));
        let record = module.declare(RECORD_FUNCTION, pointer.function(&[word, word]));
        record.add_attribute(Place::Function, "nounwind", 0);
        let unwind_next = module.declare(UNWIND_FUNCTION, void.function(&[]));
        unwind_next.add_attribute(Place::Function, "nounwind", 0);
        unwind_next.add_attribute(Place::Function, "noreturn", 0);
        let request = module
            .variable(REQUEST_WORD)
            .unwrap_or_else(|| module.add_variable(REQUEST_WORD, word));
        request.set_local();
        let personality = module.declare("__maize_personality", word.function(&[]));
        let points = [poll, migrate, signal_point, set_jump, jump];
        for function in points.into_iter().chain([record, unwind_next, personality]) {
            function.set_local();
        }
        Self {
            poll,
            migrate,
            signal_point,
            set_jump,
            jump,
            record,
            unwind_next,
            request,
            personality,
        }
    }

    /// The functions in which a thread may leave its frames.
    pub(crate) fn points(&self) -> [Value<'m>; 5] {
        [self.poll, self.migrate, self.signal_point, self.set_jump, self.jump]
    }
}

/// Prepares an optimised program for its polls.
///
/// # Errors
/// [`CompileError::Llvm`] if LLVM lacks a pass.
pub fn prepare(module: &mut Module, machine: &Machine, polls: Polls) -> Result<(), CompileError> {
    if polls == Polls::Loops {
        polls::mark_small_loops(module);
        module.run_passes(polls::UNROLL, machine)?;
    }
    Ok(())
}

/// Splits every function that may be on the stack when a thread moves.
///
/// # Errors
/// [`CompileError::Content`] for a frame that no record can hold.
pub fn split(
    module: &Module,
    machine: &Machine,
    (polls, form): (Polls, PollForm),
) -> Result<Split, CompileError> {
    let runtime = Runtime::declare(module);
    for alias in module.aliases() {
        if let Some(aliasee) = alias.aliasee() {
            alias.replace_with(aliasee);
        }
    }
    let mut split = Split::default();
    let defined: Vec<_> = module.functions().into_iter().filter(|f| !f.is_declaration()).collect();
    split.polls = polls::place(module, &runtime, &defined, polls);
    let reach = reach::Reach::of(&runtime, &defined);
    let mut frames = HashMap::new();
    for function in &defined {
        if reach.may_migrate(*function) {
            weaken(*function);
            let set_jumps = anchor::set_jumps(&runtime, *function);
            let wanted = if set_jumps.is_empty() { Wanted::Locals } else { Wanted::Always };
            let frame = data_stack::move_locals(module, machine, *function, wanted)?;
            split.locals_moved += frame.moved;
            let anchor = anchor::Anchor::of(module, &frame, &set_jumps);
            frames.extend(anchor.map(|anchor| (*function, anchor)));
        }
    }
    runtime.points().into_iter().for_each(weaken);
    let mut anchored = vec![module.i8(0)];
    let mut clones = vec![module.zero(module.pointer_type())];
    for function in &defined {
        if !reach.may_migrate(*function) {
            continue;
        }
        let returned = function.value_type().returned();
        if returned.kind() != TypeKind::Void && machine.size(returned) > resume::RESULT_BYTES {
            let what = format!("a result of type {returned} does not fit its buffer");
            return Err(CompileError::Content { path: function.name().into(), what });
        }
        let anchor = frames.get(function);
        let found = sites::find(machine, &reach, *function, anchor.map(|a| a.address), &mut split)?;
        if found.is_empty() {
            split.transparent.push(function.name());
            continue;
        }
        if let Some(anchor) = anchor {
            anchor.save_at(module, &runtime, &found)?;
        }
        let clone = resume::clone(module, &runtime, *function, &found)?;
        save::convert_function(module, &runtime, *function, clone, (&found, form))?;
        clones.resize(clones.len() + found.len(), clone);
        anchored.resize(clones.len(), module.i8(u8::from(anchor.is_some())));
    }
    for (name, kind, elements) in [
        (RESUME_TABLE, module.pointer_type(), &clones),
        (ANCHORED_SITES, module.int_type(8), &anchored),
    ] {
        let table = module.add_constant(name, module.array(kind, elements));
        table.set_section(".rodata.resume_table");
        table.set_local();
    }
    Ok(split)
}

/// Checks the clones and gives functions and data their sections.
///
/// # Errors
/// [`CompileError::Internal`] if a value that a clone needs is in no record.
pub fn finish(module: &Module, machine: &Machine) -> Result<(), CompileError> {
    for function in module.functions() {
        for instruction in function.instructions() {
            if instruction.is(Opcode::LLVMFreeze)
                && instruction.name().starts_with(resume::MISSING)
                && !instruction.is_unused()
            {
                let name = function.name();
                return Err(CompileError::Internal(format!("{name}: an argument is in no record")));
            }
        }
    }
    slots::add(module);
    place::data(module, machine);
    Ok(())
}

/// Takes away what does not hold for a function that a thread may leave in its middle.
fn weaken(function: Value<'_>) {
    function.remove_attributes(Place::Function, &UNSOUND);
    for number in 0..function.arguments().len() as u32 {
        let facts = ["readnone", "readonly", "writeonly", "captures"];
        function.remove_attributes(Place::Parameter(number), &facts);
    }
    if !function.is_declaration() {
        function.add_attribute(Place::Function, "uwtable", 1);
        if function.linkage() == Linkage::LLVMAvailableExternallyLinkage {
            function.set_linkage(Linkage::LLVMInternalLinkage);
        }
    }
}
