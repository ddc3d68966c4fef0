//! aarch64: the few instructions that matter here, from the architecture's encoding tables.

use super::{Base, Effect, Instruction, Memory, Register};

const SP: u32 = 31;
const FP: u32 = 29;
const LENGTH: usize = 4;

/// Bits of an instruction.
fn bits(word: u32, from: u32, count: u32) -> u32 {
    word >> from & ((1 << count) - 1)
}

fn signed(value: u32, count: u32) -> i64 {
    i64::from((value << (32 - count)).cast_signed() >> (32 - count))
}

fn register(number: u32) -> Register {
    u8::try_from(number).unwrap_or(31)
}

fn base(number: u32) -> Base {
    match number {
        SP | FP => Base::Stack(register(number)),
        other => Base::Register(register(other)),
    }
}

pub(super) fn decode(address: u64, bytes: &[u8]) -> Vec<Instruction> {
    let mut decoded = Vec::new();
    for (word, at) in bytes.chunks_exact(LENGTH).zip((address..).step_by(LENGTH)) {
        let word = word.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        let effects = effects(word, at);
        decoded.push(Instruction {
            address: at,
            length: LENGTH as u64,
            moves_only: moves_only(word, &effects),
            effects,
        });
    }
    decoded
}

fn moves_only(word: u32, effects: &[Effect]) -> bool {
    let on_stack = |memory: &Memory| matches!(memory.base, Base::Stack(_));
    let fp_move = bits(word, 10, 22) & !(3 << 12) == 0x1e20_4000 >> 10;
    fp_move
        || effects.iter().all(|effect| match effect {
            Effect::Add(_, _, 0) | Effect::Lower(..) => true,
            Effect::Load(_, memory) | Effect::Store(_, memory) => on_stack(memory),
            _ => false,
        })
}

fn effects(word: u32, at: u64) -> Vec<Effect> {
    let to = register(bits(word, 0, 5));
    let relative = |offset: i64| Some(at.wrapping_add_signed(offset * 4));
    if word >> 26 == 0b10_0101 {
        return vec![Effect::Call(relative(signed(bits(word, 0, 26), 26)))];
    }
    if word >> 26 == 0b00_0101 {
        return vec![Effect::Jump(relative(signed(bits(word, 0, 26), 26)))];
    }
    match word & 0xffff_fc1f {
        0xd63f_0000 => return vec![Effect::Call(None)],
        0xd61f_0000 => return vec![Effect::Jump(None)],
        0xd65f_0000 => return vec![Effect::Return],
        _ => {}
    }
    // Conditional branches: B.cond, CBZ, TBZ.
    if word >> 24 == 0x54 || word & 0x7e00_0000 == 0x3400_0000 || word & 0x7e00_0000 == 0x3600_0000
    {
        return vec![Effect::Branch];
    }
    // BRK, UDF; NOP and other hints.
    if word & 0xffe0_001f == 0xd420_0000 || word >> 16 == 0 {
        return vec![Effect::Trap];
    }
    if word & 0xffff_f01f == 0xd503_201f {
        return vec![Effect::Teardown];
    }
    data(word, to).or_else(|| memory(word)).unwrap_or_else(|| vec![Effect::Other(vec![to])])
}

/// Moves and additions.
fn data(word: u32, to: Register) -> Option<Vec<Effect>> {
    let from = bits(word, 5, 5);
    let wide = word >> 31 == 1;
    // MOVN, MOVZ, MOVK.
    if word & 0x1f80_0000 == 0x1280_0000 {
        let shift = 16 * bits(word, 21, 2);
        let value = u64::from(bits(word, 5, 16)) << shift;
        let mask = if wide { u64::MAX } else { u64::from(u32::MAX) };
        return match bits(word, 29, 2) {
            0 => Some(vec![Effect::Set(to, !value & mask)]),
            2 => Some(vec![Effect::Set(to, value)]),
            3 => Some(vec![Effect::SetPart(to, value, 0xffff << shift)]),
            _ => None,
        };
    }
    // ORR (immediate) with the zero register: a number made of repeated ones.
    if word & 0x7f80_03e0 == 0x3200_03e0 {
        return Some(vec![Effect::Set(to, repeated_ones(word)?)]);
    }
    // ADD and SUB (immediate), 64-bit.
    if word & 0xbf80_0000 == 0x9100_0000 {
        let shift = 12 * bits(word, 22, 1);
        let value = i64::from(bits(word, 10, 12)) << shift;
        let value = if bits(word, 30, 1) == 1 { -value } else { value };
        if u32::from(to) == SP {
            return Some(vec![Effect::Teardown]);
        }
        return match base(from) {
            Base::Register(from) => Some(vec![Effect::Add(to, from, value)]),
            _ => None,
        };
    }
    // ORR (register) with the zero register: a move.
    if word & 0xffe0_ffe0 == 0xaa00_03e0 {
        return Some(vec![Effect::Add(to, register(bits(word, 16, 5)), 0)]);
    }
    if word & 0xffe0_ffe0 == 0x2a00_03e0 {
        return Some(match bits(word, 16, 5) {
            SP => vec![Effect::Set(to, 0)],
            from => vec![Effect::Lower(to, register(from))],
        });
    }
    None
}

/// The number of a logical immediate.
fn repeated_ones(word: u32) -> Option<u64> {
    let (n, rotate, ones) = (bits(word, 22, 1), bits(word, 16, 6), bits(word, 10, 6));
    let length = 31 - (n << 6 | (!ones & 0x3f)).leading_zeros().min(31);
    let size = 1_u32.checked_shl(length).filter(|size| (2..=64).contains(size))?;
    let (rotate, ones) = (rotate & (size - 1), (ones & (size - 1)) + 1);
    let element = if ones >= 64 { u64::MAX } else { (1 << ones) - 1 };
    let mask = if size == 64 { u64::MAX } else { (1 << size) - 1 };
    let element = match rotate {
        0 => element,
        rotate => (element >> rotate | element << (size - rotate)) & mask,
    };
    let value = (0..64 / size).fold(0, |value, at| value | element << (at * size));
    Some(if word >> 31 == 1 { value } else { value & u64::from(u32::MAX) })
}

/// Loads and stores of one register or two.
fn memory(word: u32) -> Option<Vec<Effect>> {
    let (first, from) = (bits(word, 0, 5), bits(word, 5, 5));
    let vector = bits(word, 26, 1) == 1;
    let at = |offset: i64, bytes: u32| Memory { base: base(from), index: None, offset, bytes };
    // Pairs: signed offset, and before or after the address changes.
    if word & 0x3a00_0000 == 0x2800_0000 {
        let opc = bits(word, 30, 2);
        let size = match (vector, opc) {
            (true, opc) => 4 << opc,
            (false, 0) => 4,
            (false, _) => 8,
        };
        let load = bits(word, 22, 1) == 1;
        let changes_base = bits(word, 23, 2) & 1 == 1;
        if load && from == SP {
            return Some(vec![Effect::Teardown]);
        }
        let offset = signed(bits(word, 15, 7), 7) * i64::from(size);
        let offset = if bits(word, 23, 2) == 1 { 0 } else { offset };
        let mut effects = Vec::new();
        for (number, offset) in [(first, offset), (bits(word, 10, 5), offset + i64::from(size))] {
            effects.push(one(number, at(offset, size), vector, load, size));
        }
        if changes_base {
            effects.push(Effect::Other(vec![register(from)]));
        }
        return Some(effects);
    }
    if word & 0x3a00_0000 != 0x3800_0000 {
        return None;
    }
    let (size, opc) = (bits(word, 30, 2), bits(word, 22, 2));
    let (bytes, load) = match (vector, opc) {
        (true, 2 | 3) => (16, opc == 3),
        (_, opc) => (1 << size, opc != 0),
    };
    let memory = if bits(word, 24, 1) == 1 {
        at(i64::from(bits(word, 10, 12)) * i64::from(bytes), bytes)
    } else if bits(word, 21, 1) == 1 && bits(word, 10, 2) == 2 {
        // Plus a register: known only if it is not shifted.
        let plain = bits(word, 12, 1) == 0 && bits(word, 13, 3) == 3;
        let index = register(bits(word, 16, 5));
        Memory {
            index: Some(index).filter(|_| plain),
            ..at(if plain { 0 } else { i64::MIN }, bytes)
        }
    } else if bits(word, 21, 1) == 0 {
        if load && from == SP && bits(word, 10, 2) != 0 {
            return Some(vec![Effect::Teardown]);
        }
        let after = bits(word, 10, 2) == 1;
        at(if after { 0 } else { signed(bits(word, 12, 9), 9) }, bytes)
    } else {
        return None;
    };
    if load && memory.base == Base::Stack(register(SP)) && !vector && first >= 19 {
        return Some(vec![Effect::Teardown]);
    }
    Some(vec![one(first, memory, vector, load, bytes)])
}

fn one(number: u32, memory: Memory, vector: bool, load: bool, bytes: u32) -> Effect {
    match (load, vector) {
        (true, false) if bytes == 8 => Effect::Load(register(number), memory),
        (true, false) => Effect::Other(vec![register(number)]),
        (true, true) => match memory.base {
            // A vector register changes no general one; on the stack it is a move.
            Base::Stack(_) => Effect::Load(register(SP), memory),
            _ => Effect::Other(Vec::new()),
        },
        (false, vector) => {
            let from = (!vector && bytes == 8 && number != SP).then(|| register(number));
            Effect::Store(from, memory)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_effect(word: u32) -> Effect {
        let decoded = decode(0x1000, &word.to_le_bytes());
        decoded[0].effects[0].clone()
    }

    #[test]
    fn instructions_mean_what_the_manual_says() {
        // bl .+8; b .-4; ret; mov w0, #37; movk w0, #1, lsl #16; mov x19, x0; add x8, x0, #16
        assert_eq!(one_effect(0x9400_0002), Effect::Call(Some(0x1008)));
        assert_eq!(one_effect(0x17ff_ffff), Effect::Jump(Some(0xffc)));
        assert_eq!(one_effect(0xd65f_03c0), Effect::Return);
        assert_eq!(one_effect(0x5280_04a0), Effect::Set(0, 37));
        assert_eq!(one_effect(0x72a0_0020), Effect::SetPart(0, 1 << 16, 0xffff << 16));
        assert_eq!(one_effect(0xaa00_03f3), Effect::Add(19, 0, 0));
        assert_eq!(one_effect(0x9100_4008), Effect::Add(8, 0, 16));
        // mov w0, #0xff00ff (orr): 0x3200 9fe0 is 0x00ff00ff.
        assert_eq!(one_effect(0x3200_9fe0), Effect::Set(0, 0x00ff_00ff));
    }

    #[test]
    fn stores_say_where_and_how_much() {
        let at = |base: u8, offset: i64, bytes: u32| Memory {
            base: if base == 31 { Base::Stack(31) } else { Base::Register(base) },
            index: None,
            offset,
            bytes,
        };
        // str x20, [x0, #16]; str q0, [x0, #32]; strb w1, [x0, #3]; stur w2, [x0, #-4]
        assert_eq!(one_effect(0xf900_0814), Effect::Store(Some(20), at(0, 16, 8)));
        assert_eq!(one_effect(0x3d80_0800), Effect::Store(None, at(0, 32, 16)));
        assert_eq!(one_effect(0x3900_0c01), Effect::Store(None, at(0, 3, 1)));
        assert_eq!(one_effect(0xb81f_c002), Effect::Store(None, at(0, -4, 4)));
        // stp x19, x20, [x0, #16] stores twice.
        let pair = decode(0, &0xa901_5013_u32.to_le_bytes());
        let both = [Effect::Store(Some(19), at(0, 16, 8)), Effect::Store(Some(20), at(0, 24, 8))];
        assert_eq!(pair[0].effects, both);
    }
}
