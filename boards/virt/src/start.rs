//! From the entry code to the instance.
#![allow(unsafe_code, reason = "gives memory away")]

use alloc::boxed::Box;
use core::fmt::Display;

use log::{LevelFilter, info};
use maize_arch_aarch64::entry::BootInfo;
use maize_arch_aarch64::layout::DIRECT_BASE;
use maize_arch_aarch64::{Machine, Parts, boot_clock, counter};
use maize_hal::Nanos;
use maize_platform::{ByteStream, HostLink, boot_record, console, memory, virtio};

use crate::pci::{GicMessages, apertures, first_bus};
use crate::{bring_up, hooks};

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

/// A machine of this board, whichever of its instances runs on it.
pub type Virt = maize_platform::Machine<Machine, Box<dyn ByteStream>>;

/// Brings the machine up, and leaves it to `life`.
///
/// # Safety
/// Called first of all, once, with what the entry code passed.
pub unsafe fn start(boot: BootInfo, life: fn(Virt) -> !) -> ! {
    hooks::install();
    console::log_to_console(LevelFilter::Info);
    // SAFETY: the caller's.
    let board = needed(unsafe { bring_up(boot) });
    let clock = needed(boot_clock(&boot));
    let mapped = clock.nanos(counter());
    info!(
        "entered at EL{} with the image at {:#x}; {} processors, device tree read and memory \
         mapped after {} us",
        boot.level,
        boot.image,
        board.description.cpus.len(),
        mapped.0 / 1000
    );
    let mut free = board.free.clone();
    // SAFETY: bring-up has mapped what it calls free, and nothing else uses it.
    let free = needed(unsafe {
        memory::open_heap(&mut free, DIRECT_BASE).and_then(|()| memory::divide(&free, DIRECT_BASE))
    });
    let record = needed(boot_record::find(board.initrd));
    let parts = Parts {
        boot,
        gic: board.gic,
        timer_interrupt: board.description.timer.number,
        clock,
        boot_time: Nanos(record.wall_clock_ns),
        seed: record.entropy,
    };
    // SAFETY: the frames in `free` are in the direct map and the core's alone; this is the only
    // `Machine` of this processor.
    let mut machine = needed(unsafe { Machine::new(parts) });
    let Some(pcie) = &board.description.pcie else { fail(&"the device tree has no PCI bus") };
    let Some(ecam) = first_bus(pcie) else { fail(&"the configuration space cannot be mapped") };
    let mut apertures = apertures(pcie);
    let device = virtio::open_console(ecam, &mut apertures, &mut GicMessages(&mut machine));
    let stream: Box<dyn ByteStream> = Box::new(needed(device));
    let mut link = HostLink::new(stream, record.instance);
    link.phase("memory", mapped);
    link.phase("link", clock.nanos(counter()));
    life(maize_platform::Machine {
        arch: machine,
        free,
        ram: board.description.memory.iter().map(|r| r.len).sum(),
        initrd: board.initrd,
        record,
        link,
        local: None,
        siblings: None,
    })
}
