//! From the entry code to the instance.
#![allow(unsafe_code, reason = "gives memory away")]

use alloc::boxed::Box;
use core::fmt::Display;

use log::{LevelFilter, info};
use maize_abi::PAGE_SIZE;
use maize_arch_aarch64::entry::{BootInfo, keep_image};
use maize_arch_aarch64::firmware;
use maize_arch_aarch64::layout::DIRECT_BASE;
use maize_arch_aarch64::{Machine, Parts, boot_clock, counter};
use maize_hal::{FrameRange, Nanos};
use maize_platform::fabric;
use maize_platform::siblings::{BootBlock, Division, of_machine, record_of};
use maize_platform::{ByteStream, HostLink, Unconnected, boot_record, console, memory, virtio};

use crate::pci::{GicMessages, apertures, first_bus};
use crate::siblings::{Told, bell, divisible, siblings};
use crate::{Board, bring_up, hooks, translations};

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
    // SAFETY: the caller's: nothing was written yet.
    unsafe { keep_image() }
    hooks::install(&boot);
    console::log_to_console(LevelFilter::Info);
    // SAFETY: the caller's.
    let mut board = needed(unsafe { bring_up(boot) });
    match board.block.take() {
        // SAFETY: just brought up.
        None => life(unsafe { first(board) }),
        // SAFETY: just brought up.
        Some(block) => life(unsafe { sibling(board, &block) }),
    }
}

/// Readies the machine's first instance, which starts the others.
///
/// # Safety
/// `board` is what bring-up has found; called once.
unsafe fn first(mut board: Board) -> Virt {
    let boot = board.boot;
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
    needed(unsafe { memory::open_heap(&mut free, DIRECT_BASE) });
    let record = needed(boot_record::find(board.initrd));
    // SAFETY: as above, less the early heap.
    let division = needed(unsafe { Division::new(divisible(&board), &free, &record) });
    let mut own = division.as_ref().map_or(&free[..], Division::share).to_vec();
    let ram = match &division {
        Some(_) => bytes(&own),
        None => board.description.memory.iter().map(|range| range.len).sum(),
    };
    let Some(pcie) = board.description.pcie.clone() else {
        fail(&"the device tree has no PCI bus")
    };
    let Some(ecam) = first_bus(&pcie) else { fail(&"the configuration space cannot be mapped") };
    let affinity = [firmware::affinity()];
    let cores = division.as_ref().map_or(&affinity[..], Division::cores);
    // SAFETY: as above, less what the partition has taken.
    let tables = needed(unsafe { translations::set_up(&mut board, &mut own, cores, ecam) });
    // SAFETY: as above, less the tables.
    let free = needed(unsafe { memory::divide(&own, DIRECT_BASE) });
    let bells = board.gic.bells();
    let local = division.as_ref().map(|division| division.window(bell(bells)));
    let mut siblings = division.map(|division| {
        let told = Told { entered_at: boot.entered_at, tables: tables.unwrap_or(0) };
        siblings(division, &board, bells, &told)
    });
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
    let mut apertures = apertures(&pcie);
    let device = virtio::open_console(ecam, &mut apertures, &mut GicMessages(&mut machine));
    let stream: Box<dyn ByteStream> = Box::new(needed(device));
    let mut link = HostLink::new(stream, record.instance);
    let device = needed(fabric::find_device(&record, ecam, &mut apertures));
    let pci = device.map(|device| {
        // SAFETY: just found in this machine; only this instance opens it as the first.
        needed(unsafe { fabric::open_device(&device, 0, &mut GicMessages(&mut machine)) })
    });
    if let Some(siblings) = &mut siblings {
        siblings.share_device(device);
        siblings.start_all(&|| clock.nanos(counter()));
    }
    link.phase("memory", mapped);
    link.phase("link", clock.nanos(counter()));
    let initrd = board.initrd;
    maize_platform::Machine { arch: machine, free, ram, initrd, record, link, pci, local, siblings }
}

/// Readies another instance of the machine.
///
/// # Safety
/// As [`first`].
unsafe fn sibling(mut board: Board, block: &BootBlock) -> Virt {
    let Told { entered_at, tables } = Told::by(block);
    // Its clock is the first instance's: processors of a machine have one counter.
    let clock = needed(boot_clock(&BootInfo { entered_at, ..board.boot }));
    // SAFETY: the first instance's word.
    unsafe { translations::join(&mut board, tables, block.index) };
    let ram = bytes(&board.free);
    let mut free = board.free.clone();
    // SAFETY: bring-up has mapped what it calls free, and it is this instance's alone.
    let free = needed(unsafe {
        memory::open_heap(&mut free, DIRECT_BASE).and_then(|()| memory::divide(&free, DIRECT_BASE))
    });
    let record = record_of(needed(boot_record::find(board.initrd)), block.number);
    // The first instance has a message for its host link and one for its doorbell, the others have
    // one each.
    board.gic.skip_messages(1 + u32::from(block.index));
    let bells = board.gic.bells();
    // SAFETY: all RAM but the images is in the direct map, and the block is the first instance's.
    let local = Some(needed(unsafe { block.join(&record, DIRECT_BASE, bell(bells)) }));
    let parts = Parts {
        boot: board.boot,
        gic: board.gic,
        timer_interrupt: board.description.timer.number,
        clock,
        boot_time: Nanos(record.wall_clock_ns),
        seed: block.seed(&record.entropy, board.boot.entered_at),
    };
    // SAFETY: the frames in `free` are in the direct map and the core's alone; this is the only
    // `Machine` of this processor.
    let mut arch = needed(unsafe { Machine::new(parts) });
    let pci = block.device.map(|device| {
        let mut messages = GicMessages(&mut arch);
        // SAFETY: found by the first instance; this instance has its own vector.
        needed(unsafe { fabric::open_device(&device, block.index, &mut messages) })
    });
    let stream: Box<dyn ByteStream> = Box::new(Unconnected);
    let through = of_machine(&record).first().copied().unwrap_or_default();
    let link = HostLink::relayed(stream, block.number, through);
    let initrd = board.initrd;
    maize_platform::Machine { arch, free, ram, initrd, record, link, pci, local, siblings: None }
}

fn bytes(ranges: &[FrameRange]) -> u64 {
    ranges.iter().map(|range| range.len() * PAGE_SIZE as u64).sum()
}
