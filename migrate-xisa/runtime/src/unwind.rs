//! Goes outwards from frame to frame, through the pads that save them.
//!
//! Soundness: tables are those that the linker put into this program; registers are those of a frame
//! that is on the stack, so what the tables say about it holds.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, Pointer, Register,
    RegisterRule, UnwindContext, UnwindContextStorage, UnwindSection, UnwindTableRow,
};

use crate::arch::{self, Registers};
use crate::fatal;

type Bytes = EndianSlice<'static, LittleEndian>;

unsafe extern "C" {
    static __maize_unwind_index: u8;
    static __maize_unwind_index_end: u8;
    static __maize_unwind_tables: u8;
    static __maize_unwind_tables_end: u8;
    static __maize_pad_tables_end: u8;
    static __maize_text_start: u8;
    static __maize_text_end: u8;
}

/// Room for what a frame's table says, without a heap.
struct OnStack;

impl<T: gimli::ReaderOffset> UnwindContextStorage<T> for OnStack {
    type Rules = [(Register, RegisterRule<T>); 40];
    type Stack = [UnwindTableRow<T, Self>; 3];
}

fn bytes(start: &'static u8, end: &'static u8) -> Bytes {
    let (start, end) = (&raw const *start, &raw const *end);
    let length = end as usize - start as usize;
    // SAFETY: the linker's symbols enclose a loaded section that nothing writes.
    EndianSlice::new(unsafe { core::slice::from_raw_parts(start, length) }, LittleEndian)
}

/// What the tables say of the frame of one call.
struct Frame {
    pad: u64,
    arguments: u64,
    row: UnwindTableRow<usize, OnStack>,
    return_address: u16,
}

fn look_up(pc: u64) -> Option<Frame> {
    // SAFETY: these are addresses of sections of this program.
    let (index, tables) = unsafe {
        (
            bytes(&__maize_unwind_index, &__maize_unwind_index_end),
            bytes(&__maize_unwind_tables, &__maize_unwind_tables_end),
        )
    };
    let bases = BaseAddresses::default()
        .set_eh_frame_hdr(index.slice().as_ptr() as u64)
        .set_eh_frame(tables.slice().as_ptr() as u64);
    let index = EhFrameHdr::from(index).parse(&bases, 8).ok()?;
    let tables = EhFrame::from(tables);
    let fde = index
        .table()?
        .fde_for_address(&tables, &bases, pc, |section, bases, offset| {
            section.cie_from_offset(bases, offset)
        })
        .ok()?;
    let mut context = UnwindContext::new_in();
    let row = fde.unwind_info_for_address(&tables, &bases, &mut context, pc).ok()?.clone();
    let pad = match fde.lsda() {
        Some(Pointer::Direct(table)) => {
            let length = (&raw const __maize_pad_tables_end as u64).checked_sub(table)?;
            // SAFETY: the linker's symbol is the end of the section that the table lies in.
            let table = unsafe { core::slice::from_raw_parts(table as *const u8, length as usize) };
            let start = fde.initial_address();
            let pad = crate::lsda::landing_pad(table, pc - start)?;
            if pad == 0 { 0 } else { start + pad }
        }
        _ => 0,
    };
    Some(Frame {
        pad,
        arguments: row.saved_args_size(),
        return_address: fde.cie().return_address_register().0,
        row,
    })
}

/// Whether a frame's own pad is wanted, or its caller's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// The frame's own.
    Frame,
    /// That of the frame that called it.
    Caller,
}

/// Goes on in the next pad outwards, or where the runtime entered the program.
pub(crate) fn go_on(registers: &mut Registers, mut from: From) -> ! {
    let entered = &raw const arch::maize_entered as u64;
    let unwound = &raw const arch::maize_unwound as u64;
    loop {
        let pc = registers.pc();
        if pc == entered {
            registers.set_pc(unwound);
            // SAFETY: these are the registers of `maize_enter` after its call.
            unsafe { arch::maize_install(registers) }
        }
        // The call is the instruction before; nothing may come after it.
        if !is_program(pc - 1) {
            fatal("a frame that is not the program's is in the way");
        }
        let Some(frame) = look_up(pc - 1) else { fatal("a frame has no unwind table") };
        if from == From::Frame && frame.pad != 0 {
            registers.set_pc(frame.pad);
            registers.set_sp(registers.sp() + frame.arguments);
            // SAFETY: these are the frame's registers at its call, and the pad is that call's.
            unsafe { arch::maize_install(registers) }
        }
        from = From::Frame;
        step(registers, &frame);
    }
}

/// Whether an address is in the program's code.
pub(crate) fn is_program(pc: u64) -> bool {
    let (start, end) = (&raw const __maize_text_start as u64, &raw const __maize_text_end as u64);
    (start..end).contains(&pc)
}

/// Goes on in the frames outside of one that was interrupted anywhere: it has no pad there.
pub(crate) fn go_on_from(registers: &mut Registers) -> ! {
    let Some(frame) = look_up(registers.pc()) else { fatal("a frame has no unwind table") };
    step(registers, &frame);
    go_on(registers, From::Frame)
}

/// Makes the registers those of the caller.
fn step(registers: &mut Registers, frame: &Frame) {
    let CfaRule::RegisterAndOffset { register, offset } = *frame.row.cfa() else {
        fatal("a frame's address is not a register and an offset");
    };
    let Some(base) = registers.of_dwarf(register.0).map(|place| *place) else {
        fatal("a frame's address is in a register that is not saved");
    };
    let cfa = base.wrapping_add_signed(offset);
    for (register, rule) in frame.row.registers() {
        match *rule {
            RegisterRule::Offset(at) => {
                // SAFETY: the table says that the frame saved the register there.
                let value = unsafe { (cfa.wrapping_add_signed(at) as *const u64).read() };
                if let Some(place) = registers.of_dwarf(register.0) {
                    *place = value;
                }
            }
            RegisterRule::Undefined | RegisterRule::SameValue => {}
            _ => fatal("a register is saved in a way that is not understood"),
        }
    }
    let Some(pc) = registers.of_dwarf(frame.return_address).map(|place| *place) else {
        fatal("a return address is in a register that is not saved");
    };
    registers.set_pc(pc);
    registers.set_sp(cfa);
}
