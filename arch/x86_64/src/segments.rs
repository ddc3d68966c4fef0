//! Segments, the task state and the interrupt descriptor table.
#![allow(unsafe_code, reason = "descriptor tables")]

use core::cell::UnsafeCell;

use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::model_specific::{Efer, EferFlags, LStar, Msr, SFMask};
use x86_64::registers::rflags::RFlags;
use x86_64::structures::gdt::SegmentSelector;
use x86_64::structures::gdt::{Descriptor, DescriptorFlags, GlobalDescriptorTable};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

/// A value that the processor and the entry code read; Rust writes it during set-up only, or
/// before the one processor can look.
#[repr(transparent)]
pub(crate) struct Shared<T>(UnsafeCell<T>);

// SAFETY: the image belongs to one processor, and no handler runs Rust code beside the kernel.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) const fn new(value: T) -> Shared<T> {
        Shared(UnsafeCell::new(value))
    }

    pub(crate) const fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// The task state. `enter_user` sets its ring-0 stack each time.
#[unsafe(no_mangle)]
static MAIZE_TSS: Shared<TaskStateSegment> = Shared::new(TaskStateSegment::new());

static IDT: Shared<InterruptDescriptorTable> = Shared::new(InterruptDescriptorTable::new());

static GDT: Shared<GlobalDescriptorTable<16>> = Shared::new(GlobalDescriptorTable::empty());

/// Stacks for what may interrupt the kernel anywhere, the instruction after `syscall` included:
/// double fault, NMI, machine check.
const STACKS: usize = 3;
const STACK_LEN: usize = 16 * 1024;

#[repr(C, align(16))]
struct EmergencyStacks([[u8; STACK_LEN]; STACKS]);

static STACK_MEMORY: Shared<EmergencyStacks> =
    Shared::new(EmergencyStacks([[0; STACK_LEN]; STACKS]));

/// Selectors as Linux has them: programs see theirs in signal frames.
pub(crate) const KERNEL_CODE: u16 = 0x10;
const SYSRET_BASE: u64 = 0x23;

/// Bytes between two stubs of the entry code.
const STUB_LEN: u64 = 16;

unsafe extern "C" {
    static trap_stubs: u8;
    static syscall_entry: u8;
}

/// Loads the descriptor tables and sets up the `syscall` instruction.
///
/// # Safety
/// Called once, before user code runs or interrupts are let in.
pub(crate) unsafe fn load() {
    // SAFETY: nothing else runs or looks at these statics before this function has loaded them, and
    // afterwards only the processor and the entry code do. The stubs follow each other at
    // `STUB_LEN`, and take what the processor pushes for their vector.
    unsafe {
        let tss = MAIZE_TSS.get();
        for index in 0..STACKS {
            let top = STACK_MEMORY.get().cast::<[u8; STACK_LEN]>().add(index + 1);
            (*tss).interrupt_stack_table[index] = VirtAddr::from_ptr(top);
        }

        let gdt = &mut *GDT.get();
        let unused = Descriptor::UserSegment(0);
        for descriptor in [
            unused,
            Descriptor::kernel_code_segment(),
            Descriptor::UserSegment(DescriptorFlags::KERNEL_DATA.bits()),
            unused,
            Descriptor::user_data_segment(),
            Descriptor::user_code_segment(),
            unused,
        ] {
            gdt.append(descriptor);
        }
        let task = gdt.append(Descriptor::tss_segment_unchecked(tss));
        (*GDT.get()).load_unsafe();
        CS::set_reg(SegmentSelector(KERNEL_CODE));
        let null = SegmentSelector::NULL;
        SS::set_reg(null);
        DS::set_reg(null);
        ES::set_reg(null);
        FS::set_reg(null);
        GS::set_reg(null);
        load_tss(task);

        fill_idt(&mut *IDT.get());
        (*IDT.get()).load_unsafe();

        LStar::write(VirtAddr::from_ptr(&raw const syscall_entry));
        // `syscall` loads 0x10 and 0x18; `sysret` loads 0x33 and 0x2b.
        const STAR: u32 = 0xc000_0081;
        Msr::new(STAR).write(SYSRET_BASE << 48 | u64::from(KERNEL_CODE) << 32);
        SFMask::write(RFlags::from_bits_truncate(0x25_7fd5));
        Efer::update(|efer| *efer |= EferFlags::SYSTEM_CALL_EXTENSIONS);
    }
}

/// # Safety
/// The table is not in use.
unsafe fn fill_idt(idt: &mut InterruptDescriptorTable) {
    let stub = |vector: u64| VirtAddr::from_ptr(&raw const trap_stubs) + vector * STUB_LEN;
    // SAFETY: every stub saves what its handler changes and returns as the processor expects.
    unsafe {
        macro_rules! exceptions {
            ($($vector:literal $field:ident)*) => {
                $( idt.$field.set_handler_addr(stub($vector)); )*
            };
        }
        exceptions! {
            0 divide_error 1 debug 5 bound_range_exceeded 6 invalid_opcode
            7 device_not_available 10 invalid_tss 11 segment_not_present 12 stack_segment_fault
            13 general_protection_fault 14 page_fault 16 x87_floating_point 17 alignment_check
            19 simd_floating_point 21 cp_protection_exception
        }
        // Programs may raise these two by instruction.
        idt.breakpoint.set_handler_addr(stub(3)).set_privilege_level(PrivilegeLevel::Ring3);
        idt.overflow.set_handler_addr(stub(4)).set_privilege_level(PrivilegeLevel::Ring3);
        idt.double_fault.set_handler_addr(stub(8)).set_stack_index(0);
        idt.non_maskable_interrupt.set_handler_addr(stub(2)).set_stack_index(1);
        idt.machine_check.set_handler_addr(stub(18)).set_stack_index(2);
        for vector in 32..=255_u8 {
            idt[vector].set_handler_addr(stub(vector.into()));
        }
    }
}
