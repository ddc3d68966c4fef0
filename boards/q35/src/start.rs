//! From the entry code to the instance.
#![allow(unsafe_code, reason = "gives memory away")]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::Display;

use log::info;
use maize_abi::PAGE_SIZE;
use maize_arch_x86_64::layout::DIRECT_MAP;
use maize_arch_x86_64::paging::map_device;
use maize_arch_x86_64::timebase::counter;
use maize_arch_x86_64::{BootInfo, Messages, Parts, X86, keep_image};
use maize_firmware::EcamRange;
use maize_hal::{FrameRange, Interrupts, Nanos};
use maize_pci::{Apertures, Ecam, Msi, MsiError, MsiMessage};
use maize_platform::fabric;
use maize_platform::siblings::{BootBlock, Division, of_machine, record_of};
use maize_platform::{ByteStream, HostLink, Machine, Unconnected, boot_record, memory, virtio};

use crate::bring_up::{boot_block, bring_up, local_apic, start_clocks};
use crate::hooks::{open, open_sibling};
use crate::siblings::{bell, divisible, rates, siblings};

/// Firmware of this board assigns all BARs.
const NO_APERTURES: Apertures = Apertures { low: None, high: None };

/// What cannot be done without ends the instance, by name.
fn needed<T, E: Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::panic, reason = "there is no one to return to")]
fn fail(error: &dyn Display) -> ! {
    panic!("{error}")
}

/// Boot steps and the counts at their ends.
type Phases = Vec<(&'static str, u64)>;

/// A machine of this board, whichever of its instances runs on it.
pub type Q35 = Machine<X86, Box<dyn ByteStream>>;

/// Brings the machine up, and leaves it to `life`.
///
/// # Safety
/// Called first of all, once, with what the entry code passed.
pub unsafe fn start(boot: &BootInfo, life: fn(Q35) -> !) -> ! {
    // SAFETY: the caller's: nothing was written yet, and the boot tables are in use.
    let block = unsafe {
        keep_image();
        boot_block(boot)
    };
    // SAFETY: the caller's.
    unsafe {
        match block {
            Ok(None) => open(),
            _ => open_sibling(),
        }
    }
    match needed(block) {
        // SAFETY: the caller's.
        None => life(unsafe { first(boot) }),
        // SAFETY: the caller's.
        Some(block) => life(unsafe { sibling(boot, &block) }),
    }
}

/// Brings up the machine's first instance, which starts the others.
///
/// # Safety
/// As [`start`], once this processor was taken over.
unsafe fn first(boot: &BootInfo) -> Q35 {
    // SAFETY: the caller's.
    let board = needed(unsafe { bring_up(boot, None) });
    let mapped = counter();
    let mut free = board.free.clone();
    // SAFETY: bring-up has mapped what it calls free, and nothing else uses it.
    needed(unsafe { memory::open_heap(&mut free, DIRECT_MAP) });
    let mut phases = Phases::new();
    phases.push(("memory", mapped));
    let Some((mut apic, calibration)) = start_clocks(&board.tables) else {
        fail(&"there is no local APIC or nothing to measure its timer by")
    };
    let record = needed(boot_record::find(board.initrd));
    // SAFETY: as above, less the early heap.
    let division = unsafe { Division::new(divisible(boot, &board, apic.id()), &free, &record) };
    let division = needed(division);
    let own = division.as_ref().map_or(&free[..], Division::share);
    let ram = division.as_ref().map_or(board.ram, |_| bytes(own));
    // SAFETY: as above, less what the early heap and the partition have taken.
    let own = needed(unsafe { memory::divide(own, DIRECT_MAP) });
    phases.push(("record", counter()));
    let Some(ecam) = board.tables.ecam else { fail(&"the ACPI tables name no PCI bus") };
    let ecam = needed(map_ecam(&ecam));
    let mut messages = Messages::new(&apic);
    let mut apertures = NO_APERTURES;
    let device = virtio::open_console(ecam, &mut apertures, &mut ApicMessages(&mut messages));
    let stream: Box<dyn ByteStream> = Box::new(needed(device));
    let mut link = HostLink::new(stream, record.instance);
    let device = needed(fabric::find_device(&record, ecam, &mut apertures));
    let pci = device.map(|device| {
        // SAFETY: just found in this machine; only this instance opens it as the first.
        needed(unsafe { fabric::open_device(&device, 0, &mut ApicMessages(&mut messages)) })
    });
    phases.push(("link", counter()));
    let Some(rates) = calibration.finish(boot.entered_at, &mut apic) else {
        fail(&"the processor's counters make no sense together")
    };
    phases.push(("clock", counter()));
    info!(
        "image at {:#x}; {} cores; counter {} kHz, timer {} kHz",
        boot.image,
        board.tables.cores.len(),
        rates.clock.rate() / 1000,
        rates.timer / 1000,
    );
    let commands = apic.commands();
    let local = division.as_ref().map(|division| division.window(bell(commands)));
    let siblings = division.map(|division| {
        let mut siblings = needed(siblings(division, boot, &board, rates, commands));
        siblings.share_device(device);
        siblings.start_all(&|| rates.clock.at(counter()));
        siblings
    });
    if siblings.is_some() {
        phases.push(("siblings", counter()));
    }
    for (name, at) in phases {
        link.phase(name, rates.clock.at(at));
    }
    let boot_time = Nanos(record.wall_clock_ns);
    let seed = record.entropy;
    // SAFETY: the kernel's tables are in place, and the frames in `own` are the core's alone.
    let arch = unsafe { X86::new(Parts { local_apic: apic, rates, boot_time, messages, seed }) };
    Machine { arch, free: own, ram, initrd: board.initrd, record, link, pci, local, siblings }
}

/// Brings up another instance of the machine.
///
/// # Safety
/// As [`start`], once this processor was taken over.
unsafe fn sibling(boot: &BootInfo, block: &BootBlock) -> Q35 {
    // SAFETY: the caller's.
    let board = needed(unsafe { bring_up(boot, Some(block)) });
    let ram = bytes(&board.free);
    let mut free = board.free.clone();
    // SAFETY: bring-up has mapped what it calls free, and it is this instance's alone.
    let free = needed(unsafe {
        memory::open_heap(&mut free, DIRECT_MAP).and_then(|()| memory::divide(&free, DIRECT_MAP))
    });
    let Some(apic) = local_apic(&board.tables) else { fail(&"there is no local APIC") };
    let record = record_of(needed(boot_record::find(board.initrd)), block.number);
    // SAFETY: all RAM but the images is in the direct map, and the block is the first instance's.
    let local = unsafe { block.join(&record, DIRECT_MAP, bell(apic.commands())) };
    let mut messages = Messages::new(&apic);
    let pci = block.device.map(|device| {
        let mut messages = ApicMessages(&mut messages);
        // SAFETY: found by the first instance; this instance has its own vector.
        needed(unsafe { fabric::open_device(&device, block.index, &mut messages) })
    });
    let stream: Box<dyn ByteStream> = Box::new(Unconnected);
    let through = of_machine(&record).first().copied().unwrap_or_default();
    let link = HostLink::relayed(stream, block.number, through);
    let boot_time = Nanos(record.wall_clock_ns);
    let seed = block.seed(&record.entropy, boot.entered_at);
    let parts = Parts { local_apic: apic, rates: rates(block), boot_time, messages, seed };
    // SAFETY: the kernel's tables are in place, and the frames in `free` are the core's alone.
    let arch = unsafe { X86::new(parts) };
    Machine {
        arch,
        free,
        ram,
        initrd: board.initrd,
        record,
        link,
        pci,
        local: Some(needed(local)),
        siblings: None,
    }
}

fn bytes(ranges: &[FrameRange]) -> u64 {
    ranges.iter().map(|range| range.len() * PAGE_SIZE as u64).sum()
}

/// Maps the configuration space of the first bus: the launcher puts every device there.
fn map_ecam(range: &EcamRange) -> Result<Ecam, &'static str> {
    const BUS_LEN: usize = 1 << 20;
    let base = map_device(range.address, BUS_LEN);
    let base = base.map_err(|_| "the configuration space cannot be mapped")?;
    // SAFETY: the ACPI tables say that this is configuration space; it was just mapped for good.
    let ecam = unsafe { Ecam::new(base, range.first_bus, 1) };
    ecam.map_err(|_| "the ACPI tables name a PCI bus that cannot be")
}

/// The local APIC as the one that gives out message interrupts.
struct ApicMessages<'a>(&'a mut Messages);

impl Msi for ApicMessages<'_> {
    fn allocate(&mut self, raises: Interrupts) -> Result<MsiMessage, MsiError> {
        let message = self.0.allocate(raises).ok_or(MsiError::Exhausted)?;
        Ok(MsiMessage { address: message.address, data: message.data })
    }
}
