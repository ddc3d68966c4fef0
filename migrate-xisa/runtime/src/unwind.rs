//! Goes outwards from frame to frame, through the pads that save them.
//!
//! Soundness: tables are those that the linker put into this program; registers are those of a frame
//! that is on the stack, so what the tables say about it holds.

use crate::arch::{self, Kept, Registers};
use crate::cfi::Tables;
use crate::known::Known;
use crate::{fatal, top};

unsafe extern "C" {
    static __maize_unwind_index: u8;
    static __maize_unwind_index_end: u8;
    static __maize_unwind_tables: u8;
    static __maize_unwind_tables_end: u8;
    static __maize_pad_tables_end: u8;
    static __maize_text_start: u8;
    static __maize_text_end: u8;
}

fn bytes(start: &'static u8, end: &'static u8) -> &'static [u8] {
    let (start, end) = (&raw const *start, &raw const *end);
    let length = end as usize - start as usize;
    // SAFETY: the linker's symbols enclose a loaded section that nothing writes.
    unsafe { core::slice::from_raw_parts(start, length) }
}

/// What is known of the frame of the call at `pc`, from the tables if it was not looked up of late.
fn look_up(pc: u64) -> Option<&'static Known> {
    top::calls().look_up(pc, || read_tables(pc))
}

fn read_tables(pc: u64) -> Option<Known> {
    // SAFETY: these are addresses of sections of this program.
    let (index, frames) = unsafe {
        (
            bytes(&__maize_unwind_index, &__maize_unwind_index_end),
            bytes(&__maize_unwind_tables, &__maize_unwind_tables_end),
        )
    };
    let (index_at, frames_at) = (index.as_ptr() as u64, frames.as_ptr() as u64);
    let frame = Tables { index, index_at, frames, frames_at }.look_up(pc)?;
    let pad = match frame.pads {
        Some(table) => {
            let length = (&raw const __maize_pad_tables_end as u64).checked_sub(table)?;
            // SAFETY: the linker's symbol is the end of the section that the table lies in.
            let table = unsafe { core::slice::from_raw_parts(table as *const u8, length as usize) };
            let pad = crate::lsda::landing_pad(table, pc - frame.start)?;
            if pad == 0 { 0 } else { frame.start + pad }
        }
        None => 0,
    };
    Known::new(pc, pad, &frame)
}

/// What is known of the frame that a call is to come back to.
fn look_up_call(registers: &Kept) -> &'static Known {
    let pc = registers.pc();
    // The call is the instruction before; nothing may come after it.
    if !is_program(pc - 1) {
        fatal("a frame that is not the program's is in the way");
    }
    let Some(frame) = look_up(pc - 1) else { fatal("a frame has no unwind table") };
    frame
}

/// Goes on from a pad, whose frame [`go_on`] has entered.
pub(crate) fn go_on_in_caller() -> ! {
    // SAFETY: who entered the pad has written it, and nothing else runs on the thread in between.
    go_outwards(unsafe { top::caller().assume_init_mut() })
}

/// Goes on in the pad of a frame whose registers are all known, or of one outside of it.
pub(crate) fn go_on(registers: &mut Registers) -> ! {
    let caller = top::caller().write(registers.kept());
    let frame = look_up_call(caller);
    step(caller, frame);
    if frame.pad() == 0 {
        go_outwards(caller)
    }
    registers.set_pc(frame.pad());
    registers.set_sp(registers.sp() + frame.arguments());
    // SAFETY: these are the frame's registers at its call, and the pad is that call's.
    unsafe { arch::maize_install(registers) }
}

/// Goes on in the next pad outwards, or where the runtime entered the program. The registers are those that
/// [`go_on_in_caller`] will find.
fn go_outwards(registers: &mut Kept) -> ! {
    let entered = &raw const arch::maize_entered as u64;
    let unwound = &raw const arch::maize_unwound as u64;
    loop {
        if registers.pc() == entered {
            registers.set_pc(unwound);
            // SAFETY: these are the registers of `maize_enter` after its call.
            unsafe { arch::maize_install_kept(registers) }
        }
        let frame = look_up_call(registers);
        if frame.pad() != 0 {
            // Where the pad goes on is known now: it need not be looked up again.
            let mut own = registers.clone();
            step(registers, frame);
            own.set_pc(frame.pad());
            own.set_sp(own.sp() + frame.arguments());
            // SAFETY: these are the frame's registers at its call, and the pad is that call's.
            unsafe { arch::maize_install_kept(&raw const own) }
        }
        step(registers, frame);
    }
}

/// Whether an address is in the program's code.
pub(crate) fn is_program(pc: u64) -> bool {
    let (start, end) = (&raw const __maize_text_start as u64, &raw const __maize_text_end as u64);
    (start..end).contains(&pc)
}

/// Goes on in the frames outside of one that was interrupted anywhere: it has no pad there.
pub(crate) fn go_on_from(registers: &Registers) -> ! {
    let Some(frame) = look_up(registers.pc()) else { fatal("a frame has no unwind table") };
    let caller = top::caller().write(registers.kept());
    step(caller, frame);
    go_outwards(caller)
}

/// Makes the registers those of the caller.
fn step(registers: &mut Kept, frame: &Known) {
    let (register, distance) = frame.address();
    let Some(base) = registers.of_dwarf(register).map(|place| *place) else {
        fatal("a frame's address is in a register that is not saved");
    };
    let cfa = base.wrapping_add_signed(distance);
    for (register, at) in frame.saved() {
        // SAFETY: the table says that the frame saved the register there.
        let value = unsafe { (cfa.wrapping_add_signed(at) as *const u64).read() };
        if let Some(place) = registers.of_dwarf(register) {
            *place = value;
        }
    }
    let Some(pc) = registers.of_dwarf(frame.return_address()).map(|place| *place) else {
        fatal("a return address is in a register that is not saved");
    };
    registers.set_pc(pc);
    registers.set_sp(cfa);
}
