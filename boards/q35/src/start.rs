//! From the entry code to the instance.
#![allow(unsafe_code, reason = "gives memory away")]

use alloc::vec::Vec;
use core::fmt::Display;

use log::info;
use maize_arch_x86_64::layout::DIRECT_MAP;
use maize_arch_x86_64::paging::map_device;
use maize_arch_x86_64::timebase::counter;
use maize_arch_x86_64::{BootInfo, Messages, Parts, X86};
use maize_firmware::EcamRange;
use maize_hal::{Interrupts, Nanos};
use maize_pci::{Apertures, Ecam, Msi, MsiError, MsiMessage};
use maize_platform::virtio::VirtioConsole;
use maize_platform::{HostLink, Machine, boot_record, memory, virtio};

use crate::{bring_up, open, start_clocks};

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

/// Brings the machine up, and leaves it to `life`.
///
/// # Safety
/// Called first of all, once, with what the entry code passed.
pub unsafe fn start(boot: &BootInfo, life: fn(Machine<X86, VirtioConsole>) -> !) -> ! {
    // SAFETY: the caller's.
    unsafe { open() }
    // SAFETY: the caller's.
    let board = needed(unsafe { bring_up(boot) });
    let mapped = counter();
    // SAFETY: bring-up has mapped what it calls free, and nothing else uses it.
    let free = needed(unsafe { memory::divide(&board.free, DIRECT_MAP) });
    let mut phases = Phases::new();
    phases.push(("memory", mapped));
    let Some((mut apic, calibration)) = start_clocks(&board.tables) else {
        fail(&"there is no local APIC or nothing to measure its timer by")
    };
    let record = needed(boot_record::find(board.initrd));
    phases.push(("record", counter()));
    let Some(ecam) = board.tables.ecam else { fail(&"the ACPI tables name no PCI bus") };
    let ecam = needed(map_ecam(&ecam));
    let mut messages = Messages::new(&apic);
    let mut apertures = NO_APERTURES;
    let device = virtio::open_console(ecam, &mut apertures, &mut ApicMessages(&mut messages));
    let mut link = HostLink::new(needed(device), record.instance);
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
    for (name, at) in phases {
        link.phase(name, rates.clock.at(at));
    }
    let boot_time = Nanos(record.wall_clock_ns);
    let seed = record.entropy;
    // SAFETY: the kernel's tables are in place, and the frames in `free` are the core's alone.
    let arch = unsafe { X86::new(Parts { local_apic: apic, rates, boot_time, messages, seed }) };
    life(Machine { arch, free, ram: board.ram, initrd: board.initrd, record, link })
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
