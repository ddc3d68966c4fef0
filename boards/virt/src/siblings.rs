//! The other instances of this machine: how their processors are started and stopped.
//!
//! PSCI can start a processor, and tell whether it is off; only the processor itself can turn itself
//! off. So an instance that hangs with its interrupts masked cannot be stopped: nothing of it is
//! reused, and the machine goes on without it.
#![allow(unsafe_code, reason = "memory that the partition gives away")]

use alloc::boxed::Box;

use maize_arch_aarch64::entry::{SIBLING, image_len, load_image};
use maize_arch_aarch64::firmware;
use maize_arch_aarch64::gic::Bells;
use maize_arch_aarch64::layout::{DIRECT_BASE, PHYSICAL_LIMIT};
use maize_arch_aarch64::space::direct;
use maize_hal::{Frame, FrameRange};
use maize_platform::siblings::{BootBlock, Cores, Divisible, Division, PLATFORM_WORDS, Siblings};

use crate::Board;

const PAGE: u64 = 4096;

/// The machine as one to be divided.
pub(crate) fn divisible(board: &Board) -> Divisible {
    let own = firmware::affinity();
    let start = Frame::containing(board.boot.image);
    let others = board.description.cpus.iter().copied().filter(|cpu| *cpu != own);
    Divisible {
        ram: board.description.memory.iter().map(|range| range.len).sum(),
        image: FrameRange { start, end: Frame(start.0 + image_len().div_ceil(PAGE)) },
        // Page tables are in the image; a slot has something behind it all the same.
        tables: 1,
        limit: Frame::containing(PHYSICAL_LIMIT),
        cores: core::iter::once(own).chain(others).collect(),
        offset: DIRECT_BASE,
    }
}

/// What a sibling is told besides: the count at which the clock is zero, and where the tables of the
/// interrupt translation service are, or 0.
pub(crate) struct Told {
    pub(crate) entered_at: u64,
    pub(crate) tables: u64,
}

impl Told {
    /// From a sibling's boot block.
    pub(crate) fn by(block: &BootBlock) -> Told {
        let [entered_at, tables, ..] = block.platform;
        Told { entered_at, tables }
    }
}

/// Takes hold of the machine's other processors.
pub(crate) fn siblings(division: Division, board: &Board, bells: Bells, told: &Told) -> Siblings {
    let words: [u64; PLATFORM_WORDS] = [told.entered_at, told.tables, 0, 0];
    // SAFETY: slots are RAM in the direct map, writable there and nobody else's; an image is loaded
    // only while nothing runs there.
    let load = |physical| unsafe { load_image(direct(physical)) };
    let firmware = (board.boot.device_tree, words);
    division.siblings(firmware, Box::new(load), Box::new(Processors { bells }))
}

/// Interrupts a processor, by its affinity.
pub(crate) fn bell(bells: Bells) -> Box<dyn Fn(u64)> {
    Box::new(move |core| bells.ring(core))
}

/// The other processors of the machine, through the firmware.
struct Processors {
    bells: Bells,
}

impl Cores for Processors {
    fn start(&mut self, index: u16, core: u64, image: u64, block: u64) {
        // Who waits for it sees that it does not come.
        if let Err(error) = firmware::cpu_on(core, image, block | SIBLING) {
            log::error!("processor {core:#x} for instance {index} of this machine: {error}");
        }
    }

    fn stop(&mut self, _: u16, core: u64) {
        // It may sleep; awake, it sees that it is to stop.
        self.bells.ring(core);
    }

    fn poll(&mut self, _: u16, core: u64) -> bool {
        firmware::is_off(core)
    }
}
