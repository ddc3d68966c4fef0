//! Scripted programs: a small instruction encoding of the emulated processor, and its assembler.
//!
//! Scripts are real programs to the kernel: ELF files whose instructions are fetched through the
//! page tables. Only their encoding is the emulator's own, 16 bytes an instruction, so that one
//! script runs under either instruction set's registers and system-call numbers.

use std::collections::HashMap;

use maize_abi::migration::{BUILD_ID_NOTE, PROGRAM_DATA, REQUEST_PAGE, RESUME_NOTE};
use maize_abi::{Isa, Sysno};

use crate::regs::Reg;

/// Bytes of an instruction.
pub(crate) const INSTRUCTION_LEN: u64 = 16;

macro_rules! operations {
    ($($name:ident)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Op { $($name,)* }

        impl Op {
            const ALL: &'static [Op] = &[$(Op::$name,)*];
        }
    };
}

operations! {
    Nop Imm Move Add AddImm Sub And Mul Shift
    Load8 Load32 Load64 Store8 Store32 Store64
    Equal NotEqual Less Jump Call CallReg Return
    FetchAdd32 CompareSwap32
    SetFpu GetFpu SetTls GetTls
    Syscall Break
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Instruction {
    pub(crate) op: Op,
    pub(crate) d: Reg,
    pub(crate) a: Reg,
    pub(crate) b: Reg,
    pub(crate) imm: u64,
}

impl Instruction {
    fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        // The first byte is never 0, so zeroed memory is no program.
        bytes[0] = self.op as u8 + 1;
        bytes[1..4].copy_from_slice(&[self.d.encode(), self.a.encode(), self.b.encode()]);
        bytes[8..].copy_from_slice(&self.imm.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; 16]) -> Option<Instruction> {
        let op = *Op::ALL.get(usize::from(bytes[0].checked_sub(1)?))?;
        let mut imm = [0; 8];
        imm.copy_from_slice(&bytes[8..]);
        Some(Instruction {
            op,
            d: Reg::decode(bytes[1])?,
            a: Reg::decode(bytes[2])?,
            b: Reg::decode(bytes[3])?,
            imm: u64::from_le_bytes(imm),
        })
    }
}

/// An address in a script that is known when the script is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(usize);

/// Puts a script together.
#[derive(Debug, Default)]
pub struct Script {
    code: Vec<Instruction>,
    data: Vec<u8>,
    places: HashMap<Place, usize>,
    next_place: usize,
    /// Instructions whose immediate is a place.
    jumps: Vec<(usize, Place)>,
    /// Instructions whose immediate is a system call's number.
    calls: Vec<(usize, Sysno)>,
    /// Where threads go on that come from another instruction set, if the script is for several.
    resume: Option<Place>,
}

/// Where a script's code is mapped.
pub const CODE: u64 = 0x40_0000;

/// Where a script's data is mapped: writable, zero beyond what the script put there.
pub const DATA: u64 = 0x80_0000;

/// The same for a script for several instruction sets.
const SHARED_DATA: u64 = PROGRAM_DATA + 0x1_0000;

/// Bytes of zeros behind the data.
const ZEROS: u64 = 1 << 20;

impl Script {
    /// An empty script.
    #[must_use]
    pub fn new() -> Script {
        Script::default()
    }

    /// An empty script for several instruction sets: its files are a pair.
    ///
    /// It sees to it itself that threads leave at their migration points; those that come go on at the
    /// place given here, with nothing but their thread pointer.
    #[must_use]
    pub fn for_several() -> (Script, Place) {
        let mut script = Script::new();
        let resume = script.place();
        script.resume = Some(resume);
        (script, resume)
    }

    /// Where its data is mapped.
    #[must_use]
    pub fn data_start(&self) -> u64 {
        if self.resume.is_some() { SHARED_DATA } else { DATA }
    }

    fn push(&mut self, op: Op, d: Reg, a: Reg, b: Reg, imm: u64) -> &mut Script {
        self.code.push(Instruction { op, d, a, b, imm });
        self
    }

    /// Puts bytes into the data and returns their address, aligned to 16.
    pub fn data(&mut self, bytes: &[u8]) -> u64 {
        self.data.resize(self.data.len().next_multiple_of(16), 0);
        let at = self.data_start() + self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        at
    }

    /// A place that [`Self::here`] will set.
    pub fn place(&mut self) -> Place {
        self.next_place += 1;
        Place(self.next_place)
    }

    /// Sets a place to the next instruction.
    pub fn here(&mut self, place: Place) -> &mut Script {
        self.places.insert(place, self.code.len());
        self
    }

    /// A new place at the next instruction.
    pub fn mark(&mut self) -> Place {
        let place = self.place();
        self.here(place);
        place
    }

    /// `d = value`.
    pub fn imm(&mut self, d: Reg, value: u64) -> &mut Script {
        self.push(Op::Imm, d, d, d, value)
    }

    /// `d = address of place`.
    pub fn address(&mut self, d: Reg, place: Place) -> &mut Script {
        self.jumps.push((self.code.len(), place));
        self.push(Op::Imm, d, d, d, 0)
    }

    /// `d = a`.
    pub fn mov(&mut self, d: Reg, a: Reg) -> &mut Script {
        self.push(Op::Move, d, a, a, 0)
    }

    /// `d = a + b`.
    pub fn add(&mut self, d: Reg, a: Reg, b: Reg) -> &mut Script {
        self.push(Op::Add, d, a, b, 0)
    }

    /// `d = a + value`, wrapping.
    pub fn add_imm(&mut self, d: Reg, a: Reg, value: i64) -> &mut Script {
        self.push(Op::AddImm, d, a, a, value as u64)
    }

    /// `d = a - b`.
    pub fn sub(&mut self, d: Reg, a: Reg, b: Reg) -> &mut Script {
        self.push(Op::Sub, d, a, b, 0)
    }

    /// `d = a & mask`.
    pub fn and(&mut self, d: Reg, a: Reg, mask: u64) -> &mut Script {
        self.push(Op::And, d, a, a, mask)
    }

    /// `d = a * value`.
    pub fn mul(&mut self, d: Reg, a: Reg, value: u64) -> &mut Script {
        self.push(Op::Mul, d, a, a, value)
    }

    /// `d = a >> bits`.
    pub fn shift_right(&mut self, d: Reg, a: Reg, bits: u64) -> &mut Script {
        self.push(Op::Shift, d, a, a, bits)
    }

    /// `d = byte at a + offset`.
    pub fn load8(&mut self, d: Reg, a: Reg, offset: i64) -> &mut Script {
        self.push(Op::Load8, d, a, a, offset as u64)
    }

    /// `d = 32-bit word at a + offset`, zero-extended.
    pub fn load32(&mut self, d: Reg, a: Reg, offset: i64) -> &mut Script {
        self.push(Op::Load32, d, a, a, offset as u64)
    }

    /// `d = 64-bit word at a + offset`.
    pub fn load64(&mut self, d: Reg, a: Reg, offset: i64) -> &mut Script {
        self.push(Op::Load64, d, a, a, offset as u64)
    }

    /// `byte at a + offset = b`.
    pub fn store8(&mut self, a: Reg, offset: i64, b: Reg) -> &mut Script {
        self.push(Op::Store8, a, a, b, offset as u64)
    }

    /// `32-bit word at a + offset = b`.
    pub fn store32(&mut self, a: Reg, offset: i64, b: Reg) -> &mut Script {
        self.push(Op::Store32, a, a, b, offset as u64)
    }

    /// `64-bit word at a + offset = b`.
    pub fn store64(&mut self, a: Reg, offset: i64, b: Reg) -> &mut Script {
        self.push(Op::Store64, a, a, b, offset as u64)
    }

    /// Jumps if `a == b`.
    pub fn if_equal(&mut self, a: Reg, b: Reg, to: Place) -> &mut Script {
        self.jumps.push((self.code.len(), to));
        self.push(Op::Equal, a, a, b, 0)
    }

    /// Jumps if `a != b`.
    pub fn if_not_equal(&mut self, a: Reg, b: Reg, to: Place) -> &mut Script {
        self.jumps.push((self.code.len(), to));
        self.push(Op::NotEqual, a, a, b, 0)
    }

    /// Jumps if `a < b` as signed numbers.
    pub fn if_less(&mut self, a: Reg, b: Reg, to: Place) -> &mut Script {
        self.jumps.push((self.code.len(), to));
        self.push(Op::Less, a, a, b, 0)
    }

    /// Jumps.
    pub fn jump(&mut self, to: Place) -> &mut Script {
        self.jumps.push((self.code.len(), to));
        self.push(Op::Jump, Reg::Nr, Reg::Nr, Reg::Nr, 0)
    }

    /// Calls a function.
    pub fn call(&mut self, to: Place) -> &mut Script {
        self.jumps.push((self.code.len(), to));
        self.push(Op::Call, Reg::Nr, Reg::Nr, Reg::Nr, 0)
    }

    /// Calls the function at the address in `a`.
    pub fn call_reg(&mut self, a: Reg) -> &mut Script {
        self.push(Op::CallReg, a, a, a, 0)
    }

    /// Returns from a function or a signal handler.
    pub fn ret(&mut self) -> &mut Script {
        self.push(Op::Return, Reg::Nr, Reg::Nr, Reg::Nr, 0)
    }

    /// `d = 32-bit word at a; word += b`, atomically.
    pub fn fetch_add32(&mut self, d: Reg, a: Reg, b: Reg) -> &mut Script {
        self.push(Op::FetchAdd32, d, a, b, 0)
    }

    /// If the 32-bit word at `a` is `d` it becomes `b`; `d` becomes what it was. Atomic.
    pub fn compare_swap32(&mut self, d: Reg, a: Reg, b: Reg) -> &mut Script {
        self.push(Op::CompareSwap32, d, a, b, 0)
    }

    /// Puts `a` into the FPU.
    pub fn set_fpu(&mut self, a: Reg) -> &mut Script {
        self.push(Op::SetFpu, a, a, a, 0)
    }

    /// Takes into `d` what the FPU holds.
    pub fn get_fpu(&mut self, d: Reg) -> &mut Script {
        self.push(Op::GetFpu, d, d, d, 0)
    }

    /// Sets the thread pointer to `a`.
    pub fn set_tls(&mut self, a: Reg) -> &mut Script {
        self.push(Op::SetTls, a, a, a, 0)
    }

    /// `d = thread pointer`.
    pub fn get_tls(&mut self, d: Reg) -> &mut Script {
        self.push(Op::GetTls, d, d, d, 0)
    }

    /// A breakpoint.
    pub fn break_point(&mut self) -> &mut Script {
        self.push(Op::Break, Reg::Nr, Reg::Nr, Reg::Nr, 0)
    }

    /// Does nothing for `count` instructions' time.
    pub fn spin(&mut self, count: usize) -> &mut Script {
        for _ in 0..count {
            self.push(Op::Nop, Reg::Nr, Reg::Nr, Reg::Nr, 0);
        }
        self
    }

    /// A system call with the argument registers as they are.
    pub fn syscall(&mut self, call: Sysno) -> &mut Script {
        self.calls.push((self.code.len(), call));
        self.push(Op::Imm, Reg::Nr, Reg::Nr, Reg::Nr, 0);
        self.push(Op::Syscall, Reg::Nr, Reg::Nr, Reg::Nr, 0)
    }

    /// A system call with the number and argument registers as they are.
    pub fn raw_syscall(&mut self) -> &mut Script {
        self.push(Op::Syscall, Reg::Nr, Reg::Nr, Reg::Nr, 0)
    }

    /// A system call with these arguments.
    pub fn syscall_with(&mut self, call: Sysno, args: &[u64]) -> &mut Script {
        for (n, arg) in args.iter().enumerate() {
            self.imm(Reg::A(n as u8), *arg);
        }
        self.syscall(call)
    }

    /// `exit_group(status)`.
    pub fn exit(&mut self, status: u8) -> &mut Script {
        self.syscall_with(Sysno::ExitGroup, &[u64::from(status)])
    }

    /// Writes `text` to standard output.
    pub fn print(&mut self, text: &str) -> &mut Script {
        let at = self.data(text.as_bytes());
        self.syscall_with(Sysno::Write, &[1, at, text.len() as u64])
    }

    /// Exits with `status` if `a != value`. Uses `S(5)`.
    pub fn expect(&mut self, a: Reg, value: u64, status: u8) -> &mut Script {
        let right = self.place();
        self.mov(Reg::S(5), a);
        self.imm(Reg::A(5), value);
        self.if_equal(Reg::S(5), Reg::A(5), right);
        self.exit(status);
        self.here(right)
    }

    /// The script as a static ELF file for instruction set `I`.
    ///
    /// # Panics
    /// If a place was used and never set, or a system call does not exist on `I`: the script is
    /// wrong.
    #[must_use]
    pub fn to_elf<I: Isa>(&self) -> Vec<u8> {
        let mut code = self.code.clone();
        for (at, place) in &self.jumps {
            let target = self.places.get(place).copied();
            assert!(target.is_some(), "{place:?} is used and never set");
            code[*at].imm = CODE + INSTRUCTION_LEN * target.unwrap_or_default() as u64;
        }
        for (at, call) in &self.calls {
            let number = I::number_of(*call);
            assert!(number.is_some(), "{} has no {}", I::NAME, call.name());
            code[*at].imm = number.unwrap_or_default();
        }
        let code: Vec<u8> = code.into_iter().flat_map(Instruction::encode).collect();
        let resume = self.resume.and_then(|place| self.places.get(&place));
        let resume = resume.map(|at| CODE + INSTRUCTION_LEN * *at as u64);
        elf::<I>(&code, &self.data, self.data_start(), resume)
    }
}

/// The notes of a script for several instruction sets: all files of a run are of one link.
fn notes(resume: u64) -> Vec<u8> {
    let mut notes = Vec::new();
    let resume = resume.to_le_bytes();
    for ((owner, kind), desc) in [(BUILD_ID_NOTE, &[7; 16][..]), (RESUME_NOTE, &resume)] {
        for word in [owner.len() as u32, desc.len() as u32, kind] {
            notes.extend_from_slice(&word.to_le_bytes());
        }
        for part in [owner, desc] {
            notes.extend_from_slice(part);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
    }
    notes
}

/// An ELF file with a text and a data segment, and with what a file for several instruction sets has.
fn elf<I: Isa>(code: &[u8], data: &[u8], data_va: u64, resume: Option<u64>) -> Vec<u8> {
    const PAGE: usize = 4096;
    const NOTES_AT: usize = 1024;
    const PT_LOAD: u32 = 1;
    const PT_NOTE: u32 = 4;
    let code_at = PAGE;
    let data_at = (code_at + code.len()).next_multiple_of(PAGE);
    let mut file = vec![0; data_at + data.len()];
    let notes = resume.map(notes).unwrap_or_default();
    file[NOTES_AT..NOTES_AT + notes.len()].copy_from_slice(&notes);
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &2_u16.to_le_bytes());
    put(18, &I::ELF_MACHINE.to_le_bytes());
    put(20, &1_u32.to_le_bytes());
    put(24, &CODE.to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    let mut segments =
        vec![(PT_LOAD, 5_u32, code_at as u64, CODE, code.len() as u64, code.len() as u64)];
    if resume.is_some() {
        segments.push((PT_LOAD, 6, 0, REQUEST_PAGE, 0, PAGE as u64));
    }
    let data_len = data.len() as u64;
    segments.push((PT_LOAD, 6, data_at as u64, data_va, data_len, data_len + ZEROS));
    if resume.is_some() {
        segments.push((PT_NOTE, 4, NOTES_AT as u64, 0, notes.len() as u64, notes.len() as u64));
    }
    for (at, half) in [(52, 64_u16), (54, 56), (56, segments.len() as u16)] {
        put(at, &half.to_le_bytes());
    }
    for (i, (kind, flags, offset, va, file_len, len)) in segments.into_iter().enumerate() {
        let at = 64 + 56 * i;
        put(at, &kind.to_le_bytes());
        put(at + 4, &flags.to_le_bytes());
        for (n, word) in [offset, va, va, file_len, len, PAGE as u64].into_iter().enumerate() {
            put(at + 8 + 8 * n, &word.to_le_bytes());
        }
    }
    put(code_at, code);
    put(data_at, data);
    file
}
