//! The other instances of this machine.
#![allow(unsafe_code, reason = "memory that the partition gives away")]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use maize_arch_x86_64::clock::Clock;
use maize_arch_x86_64::layout::DIRECT_MAP;
use maize_arch_x86_64::paging::{self, MapError, direct, map_device};
use maize_arch_x86_64::startup::{PAGE, Processor};
use maize_arch_x86_64::timebase::{Rates, counter};
use maize_arch_x86_64::{BootInfo, Commands, image, load_image};
use maize_firmware::{FirmwareError, PhysRange};
use maize_hal::{Frame, FrameRange};
use maize_hostlink::BootRecord;
use maize_platform::siblings::partition::{self, Needs, PartitionError};
use maize_platform::siblings::{
    self, BootBlock, Cores, LocalWindow, Membership, PLATFORM_WORDS, SharedError, SharedMemory,
    SiblingParts, Siblings, of_machine, shared_frames, window_len,
};

use crate::Board;

/// Pages that processors start from, one for each instance: below 1 MiB, above where boot loaders
/// keep what they tell the kernel.
const STARTUP: PhysRange =
    PhysRange { start: 0x8000, end: 0x8000 + partition::MAX_SIBLINGS as u64 * PAGE };

/// Images, tables and boot blocks lie where the entry code's own tables reach.
const LIMIT: Frame = Frame::containing(1 << 32);

/// Why the siblings cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SiblingsError {
    /// The machine has fewer cores than instances.
    Cores { instances: usize, cores: usize },
    /// Its memory cannot be divided.
    Partition(PartitionError),
    /// What the instances share cannot be used.
    Shared(SharedError),
    /// Low memory is not there, or used.
    Low(FirmwareError),
    /// Low memory cannot be mapped.
    Map(MapError),
}

impl fmt::Display for SiblingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cores { instances, cores } => {
                write!(f, "{instances} instances are to run on {cores} cores")
            }
            Self::Partition(error) => error.fmt(f),
            Self::Shared(error) => error.fmt(f),
            Self::Low(error) => error.fmt(f),
            Self::Map(error) => error.fmt(f),
        }
    }
}

impl From<SharedError> for SiblingsError {
    fn from(error: SharedError) -> SiblingsError {
        SiblingsError::Shared(error)
    }
}

/// What the first instance has of the machine once it was divided.
pub(crate) struct Division {
    shared: SharedMemory,
    numbers: Vec<u16>,
    cores: Vec<u64>,
    shares: Vec<Vec<FrameRange>>,
    slots: Vec<FrameRange>,
    image: FrameRange,
}

impl Division {
    /// Divides `free` between the instances that `record` names for this machine; `None` if there
    /// is only one.
    pub(crate) fn new(
        boot: &BootInfo,
        board: &Board,
        own_core: u32,
        free: &[FrameRange],
        record: &BootRecord,
    ) -> Result<Option<Division>, SiblingsError> {
        let numbers = of_machine(record);
        let (instances, cores) = (numbers.len(), board.tables.cores.len());
        if instances < 2 {
            return Ok(None);
        }
        if cores < instances {
            return Err(SiblingsError::Cores { instances, cores });
        }
        let layout = SiblingsError::from_layout;
        let window = window_len(record.instances.len(), board.ram).map_err(layout)?;
        let parts = image();
        let image_frames = (parts.end - parts.text).div_ceil(PAGE);
        let end = free.iter().map(|range| range.end.address()).max().unwrap_or(0);
        let needs = Needs {
            instances,
            shared: shared_frames(window),
            slot: image_frames + paging::tables_len(end) / PAGE,
            limit: LIMIT,
        };
        let partition = partition::divide(free, &needs).map_err(SiblingsError::Partition)?;
        // SAFETY: the partition gives this memory to nobody else, and it is in the direct map.
        let shared = unsafe { SharedMemory::new(partition.shared, DIRECT_MAP)? };
        shared.publish(record.instances.len(), record.fabric)?;
        let start = Frame::containing(boot.image);
        Ok(Some(Division {
            shared,
            cores: machine_cores(board, own_core, instances),
            numbers,
            shares: partition.shares,
            slots: partition.slots,
            image: FrameRange { start, end: Frame(start.0 + image_frames) },
        }))
    }

    /// The first instance's own memory.
    pub(crate) fn share(&self) -> &[FrameRange] {
        self.shares.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// The window of this machine's instances.
    pub(crate) fn window(&self, commands: Commands) -> LocalWindow {
        LocalWindow::new(&self.shared, &self.numbers, &self.cores, bell(commands))
    }

    /// Joins the machine's instances as their first, and takes hold of the others.
    pub(crate) fn siblings(
        self,
        boot: &BootInfo,
        board: &Board,
        rates: Rates,
        commands: Commands,
    ) -> Result<Siblings, SiblingsError> {
        siblings::join(Membership {
            control: self.shared.control(),
            index: 0,
            number: self.numbers.first().copied().unwrap_or_default(),
            incarnation: 1,
        });
        let cores = Processors::new(boot, board, &self.cores, rates.clock, commands)?;
        Ok(Siblings::new(SiblingParts {
            shared: self.shared,
            firmware: (boot.start_info, platform_words(&rates)),
            image: self.image,
            numbers: self.numbers,
            machine_cores: self.cores,
            shares: self.shares,
            slots: self.slots,
            // SAFETY: slots are RAM in the direct map, writable there and nobody else's; an image
            // is loaded only while nothing runs there.
            load: Box::new(|physical| unsafe { load_image(direct(physical)) }),
            cores: Box::new(cores),
        }))
    }
}

impl SiblingsError {
    fn from_layout(error: maize_window::LayoutError) -> SiblingsError {
        SiblingsError::Shared(SharedError::Layout(error))
    }
}

/// A sibling's place among the instances of its machine, from its boot block.
pub(crate) fn join(
    block: &BootBlock,
    record: &BootRecord,
    commands: Commands,
) -> Result<LocalWindow, SiblingsError> {
    // SAFETY: the first instance has set this memory aside for this, and it is in the direct map.
    let shared = unsafe { SharedMemory::new(block.shared, DIRECT_MAP)? };
    siblings::join(Membership {
        control: shared.control(),
        index: block.index,
        number: block.number,
        incarnation: block.restarts + 1,
    });
    Ok(LocalWindow::new(&shared, &of_machine(record), &block.cores, bell(commands)))
}

/// What a sibling is told of the clocks.
fn platform_words(rates: &Rates) -> [u64; PLATFORM_WORDS] {
    [rates.clock.origin(), rates.clock.rate(), rates.timer, 0]
}

/// The clocks of a sibling: those that the first instance has measured. Its cores' counters are one.
pub(crate) fn rates(block: &BootBlock) -> Rates {
    let [origin, rate, timer, _] = block.platform;
    Rates { clock: Clock::new(origin, rate), timer }
}

fn bell(commands: Commands) -> Box<dyn Fn(u64)> {
    Box::new(move |core| commands.ring(core as u32))
}

/// The local APIC ids of the instances' cores: the core this runs on, then the others in the order
/// of the tables.
fn machine_cores(board: &Board, own: u32, instances: usize) -> Vec<u64> {
    let others = board.tables.cores.iter().copied().filter(|core| *core != own);
    core::iter::once(own).chain(others).map(u64::from).take(instances).collect()
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
    ) -> Result<Processors, SiblingsError> {
        let usable = board.memory.free(&[]).map_err(SiblingsError::Low)?;
        let told = (STARTUP.start..STARTUP.end).contains(&boot.start_info);
        if told || !usable.iter().any(|range| range.contains(&STARTUP)) {
            let (start, len) = (STARTUP.start, STARTUP.len());
            let error = FirmwareError::Range { what: "low memory for siblings", start, len };
            return Err(SiblingsError::Low(error));
        }
        let pages =
            map_device(STARTUP.start, STARTUP.len() as usize).map_err(SiblingsError::Map)?;
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
