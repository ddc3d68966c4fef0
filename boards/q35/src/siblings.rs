//! The other instances of this machine: how their processors are started and stopped.
#![allow(unsafe_code, reason = "memory that the partition gives away")]

use alloc::boxed::Box;
use alloc::vec::Vec;

use maize_arch_x86_64::clock::Clock;
use maize_arch_x86_64::layout::DIRECT_MAP;
use maize_arch_x86_64::paging::{self, direct, map_device};
use maize_arch_x86_64::startup::{PAGE, Processor};
use maize_arch_x86_64::timebase::{Rates, counter};
use maize_arch_x86_64::{BootInfo, Commands, image, load_image};
use maize_firmware::{FirmwareError, PhysRange};
use maize_hal::{Frame, FrameRange};
use maize_platform::siblings::partition::MAX_SIBLINGS;
use maize_platform::siblings::{BootBlock, Cores, Divisible, Division, Siblings};

use crate::{Board, BringUpError};

/// Pages that processors start from, one for each instance: below 1 MiB, above where boot loaders
/// keep what they tell the kernel.
const STARTUP: PhysRange = PhysRange { start: 0x8000, end: 0x8000 + MAX_SIBLINGS as u64 * PAGE };

/// Images, tables and boot blocks lie where the entry code's own tables reach.
const LIMIT: Frame = Frame::containing(1 << 32);

/// The machine as one to be divided, from the processor whose local APIC has the id `own`.
pub(crate) fn divisible(boot: &BootInfo, board: &Board, own: u32) -> Divisible {
    let parts = image();
    let start = Frame::containing(boot.image);
    let end = board.free.iter().map(|range| range.end.address()).max().unwrap_or(0);
    let others = board.tables.cores.iter().copied().filter(|core| *core != own);
    Divisible {
        ram: board.ram,
        image: FrameRange { start, end: Frame(start.0 + (parts.end - parts.text).div_ceil(PAGE)) },
        tables: paging::tables_len(end) / PAGE,
        limit: LIMIT,
        cores: core::iter::once(own).chain(others).map(u64::from).collect(),
        offset: DIRECT_MAP,
    }
}

/// Takes hold of the machine's other processors. They are told what the first has measured of the
/// clocks: their counters are one.
pub(crate) fn siblings(
    division: Division,
    boot: &BootInfo,
    board: &Board,
    rates: Rates,
    commands: Commands,
) -> Result<Siblings, BringUpError> {
    let clocks = [rates.clock.origin(), rates.clock.rate(), rates.timer, 0];
    let cores = Processors::new(boot, board, division.cores(), rates.clock, commands)?;
    // SAFETY: slots are RAM in the direct map, writable there and nobody else's; an image is loaded
    // only while nothing runs there.
    let load = |physical| unsafe { load_image(direct(physical)) };
    Ok(division.siblings((boot.start_info, clocks), Box::new(load), Box::new(cores)))
}

/// The clocks of a sibling.
pub(crate) fn rates(block: &BootBlock) -> Rates {
    let [origin, rate, timer, _] = block.platform;
    Rates { clock: Clock::new(origin, rate), timer }
}

/// Interrupts a processor, by the id of its local APIC.
pub(crate) fn bell(commands: Commands) -> Box<dyn Fn(u64)> {
    Box::new(move |core| commands.ring(core as u32))
}

/// The other processors of the machine.
struct Processors {
    clock: Clock,
    commands: Commands,
    /// By the place of their instances in the machine, without the first.
    processors: Vec<Processor>,
}

impl Processors {
    fn new(
        boot: &BootInfo,
        board: &Board,
        cores: &[u64],
        clock: Clock,
        commands: Commands,
    ) -> Result<Processors, BringUpError> {
        let usable = board.memory.free(&[])?;
        let told = (STARTUP.start..STARTUP.end).contains(&boot.start_info);
        if told || !usable.iter().any(|range| range.contains(&STARTUP)) {
            let (start, len) = (STARTUP.start, STARTUP.len());
            return Err(FirmwareError::Range { what: "low memory for siblings", start, len }.into());
        }
        let pages = map_device(STARTUP.start, STARTUP.len() as usize)?;
        let processors = cores.iter().enumerate().skip(1).map(|(index, core)| {
            let number = STARTUP.start / PAGE + index as u64;
            // SAFETY: the page is inside the mapping and free RAM, was just checked, and each
            // index has its own.
            unsafe { Processor::new(*core as u32, number as u8, pages.add(index * PAGE as usize)) }
        });
        Ok(Processors { clock, commands, processors: processors.collect() })
    }

    fn find(&mut self, index: u16) -> Option<&mut Processor> {
        self.processors.get_mut(usize::from(index).checked_sub(1)?)
    }
}

impl Cores for Processors {
    fn start(&mut self, index: u16, _: u64, image: u64, block: u64) {
        let (now, commands) = (self.clock.at(counter()), self.commands);
        if let Some(processor) = self.find(index) {
            // Both are below `LIMIT`.
            processor.begin_start(image as u32, block as u32, commands, now);
        }
    }

    fn stop(&mut self, index: u16, _: u64) {
        let (now, commands) = (self.clock.at(counter()), self.commands);
        if let Some(processor) = self.find(index) {
            processor.begin_stop(commands, now);
        }
    }

    fn poll(&mut self, index: u16, _: u64) -> bool {
        let (now, commands) = (self.clock.at(counter()), self.commands);
        self.find(index).is_some_and(|processor| processor.poll(commands, now))
    }
}
