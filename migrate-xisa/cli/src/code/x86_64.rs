//! x86_64, by `iced-x86`.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, InstructionInfoFactory, Mnemonic, OpAccess, OpKind,
    Register as R,
};

use super::{Base, Effect, Instruction, Memory, Register};

pub(super) const RAX: Register = 0;
pub(super) const RSI: Register = 6;
pub(super) const RDI: Register = 7;

pub(super) fn is_kept(register: Register) -> bool {
    matches!(register, 3 | 5 | 12..=15)
}

fn general(register: R) -> Option<Register> {
    let full = register.full_register();
    full.is_gpr64().then(|| u8::try_from(full.number()).unwrap_or(0))
}

fn base(register: R) -> Base {
    match register {
        R::RSP | R::RBP => Base::Stack(u8::try_from(register.number()).unwrap_or(0)),
        other => general(other).map_or(Base::Other, Base::Register),
    }
}

pub(super) fn decode(address: u64, bytes: &[u8]) -> Vec<Instruction> {
    let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
    let mut factory = InstructionInfoFactory::new();
    let mut decoded = Vec::new();
    while decoder.can_decode() {
        let instruction = decoder.decode();
        decoded.push(Instruction {
            address: instruction.ip(),
            length: instruction.len() as u64,
            effects: effects(&instruction, &mut factory),
            moves_only: moves_only(&instruction),
        });
    }
    decoded
}

fn moves_only(instruction: &iced_x86::Instruction) -> bool {
    let mnemonic = instruction.mnemonic();
    let moves = matches!(
        mnemonic,
        Mnemonic::Mov
            | Mnemonic::Movzx
            | Mnemonic::Movsx
            | Mnemonic::Movsxd
            | Mnemonic::Movaps
            | Mnemonic::Movups
            | Mnemonic::Movapd
            | Mnemonic::Movss
            | Mnemonic::Movsd
            | Mnemonic::Movq
            | Mnemonic::Movd
    );
    let memory = (0..instruction.op_count()).any(|n| instruction.op_kind(n) == OpKind::Memory);
    moves && (!memory || matches!(base(instruction.memory_base()), Base::Stack(_)))
}

fn memory(instruction: &iced_x86::Instruction) -> Memory {
    let scale_is_one = instruction.memory_index_scale() == 1;
    Memory {
        base: base(instruction.memory_base()),
        index: general(instruction.memory_index()).filter(|_| scale_is_one),
        offset: instruction.memory_displacement64().cast_signed(),
        bytes: u32::try_from(instruction.memory_size().size()).unwrap_or(0),
    }
}

fn effects(
    instruction: &iced_x86::Instruction,
    factory: &mut InstructionInfoFactory,
) -> Vec<Effect> {
    let near = matches!(instruction.op_kind(0), OpKind::NearBranch64);
    let target = near.then(|| instruction.near_branch_target());
    match instruction.flow_control() {
        FlowControl::Call | FlowControl::IndirectCall => return vec![Effect::Call(target)],
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => {
            return vec![Effect::Jump(target)];
        }
        FlowControl::Return => return vec![Effect::Return],
        FlowControl::ConditionalBranch => return vec![Effect::Branch],
        FlowControl::Exception => return vec![Effect::Trap],
        _ => {}
    }
    if instruction.code() == Code::INVALID {
        return vec![Effect::Trap];
    }
    let to = instruction.op0_register();
    let on_stack_pointer = instruction.op0_kind() == OpKind::Register && to == R::RSP;
    match instruction.mnemonic() {
        Mnemonic::Nop | Mnemonic::Endbr64 | Mnemonic::Pop | Mnemonic::Leave => {
            return vec![Effect::Teardown];
        }
        Mnemonic::Add | Mnemonic::Sub | Mnemonic::Lea if on_stack_pointer => {
            return vec![Effect::Teardown];
        }
        Mnemonic::Mov if on_stack_pointer => return vec![Effect::Teardown],
        _ => {}
    }
    simple(instruction).unwrap_or_else(|| other(instruction, factory))
}

/// What a plain move does.
fn simple(instruction: &iced_x86::Instruction) -> Option<Vec<Effect>> {
    let to =
        general(instruction.op0_register()).filter(|_| instruction.op0_kind() == OpKind::Register);
    let from = instruction.op1_kind();
    match (instruction.mnemonic(), to) {
        (Mnemonic::Xor, Some(to)) if instruction.op0_register() == instruction.op1_register() => {
            Some(vec![Effect::Set(to, 0)])
        }
        (Mnemonic::Lea, Some(to)) => {
            let at = memory(instruction);
            match at.base {
                Base::Register(base) if instruction.memory_index() == R::None => {
                    Some(vec![Effect::Add(to, base, at.offset)])
                }
                _ => None,
            }
        }
        (Mnemonic::Mov, Some(to)) if from == OpKind::Register => {
            let from = general(instruction.op1_register())?;
            match instruction.op0_register() {
                register if register.is_gpr64() => Some(vec![Effect::Add(to, from, 0)]),
                register if register.is_gpr32() => Some(vec![Effect::Lower(to, from)]),
                _ => None,
            }
        }
        (Mnemonic::Mov, Some(to)) if from == OpKind::Memory => {
            let wide = instruction.op0_register().is_gpr64();
            wide.then(|| vec![Effect::Load(to, memory(instruction))])
        }
        (Mnemonic::Mov, Some(to)) if instruction.try_immediate(1).is_ok() => {
            Some(vec![Effect::Set(to, instruction.immediate(1))])
        }
        _ => None,
    }
}

fn other(instruction: &iced_x86::Instruction, factory: &mut InstructionInfoFactory) -> Vec<Effect> {
    let info = factory.info(instruction);
    let mut effects = Vec::new();
    let writes = |access| {
        matches!(
            access,
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
        )
    };
    if info.used_memory().iter().any(|used| writes(used.access())) {
        let from = (instruction.op1_kind() == OpKind::Register)
            .then(|| instruction.op1_register())
            .and_then(general)
            .filter(|_| instruction.mnemonic() == Mnemonic::Mov);
        effects.push(Effect::Store(from, memory(instruction)));
    }
    let changed: Vec<_> = info
        .used_registers()
        .iter()
        .filter(|used| writes(used.access()))
        .filter_map(|used| general(used.register()))
        .collect();
    if !changed.is_empty() || effects.is_empty() {
        effects.push(Effect::Other(changed));
    }
    effects
}
