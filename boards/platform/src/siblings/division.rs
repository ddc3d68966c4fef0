//! From a machine's RAM and cores to its instances: what is the same on every board.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use maize_hal::{Frame, FrameRange};
use maize_hostlink::BootRecord;
use maize_window::LayoutError;

use super::partition::{self, Needs, PartitionError};
use super::start::{Cores, SiblingParts};
use super::{
    BootBlock, LocalWindow, Membership, PLATFORM_WORDS, SharedError, SharedMemory, Siblings,
    of_machine, shared_frames, window_len,
};

/// A machine, as far as its division depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divisible {
    /// Bytes of RAM in all.
    pub ram: u64,
    /// The first instance's image, whole frames.
    pub image: FrameRange,
    /// Frames that an instance needs beside its image before it can map anything.
    pub tables: u64,
    /// Images and what instances share end at or below this frame.
    pub limit: Frame,
    /// The cores that can run, as interrupts name them: first the one that this runs on.
    pub cores: Vec<u64>,
    /// Virtual minus physical address of the direct map, modulo 2^64.
    pub offset: u64,
}

/// Why a machine cannot host its instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DivisionError {
    /// It has fewer cores than instances.
    Cores {
        /// Instances.
        instances: usize,
        /// Cores.
        cores: usize,
    },
    /// Its memory cannot be divided.
    Partition(PartitionError),
    /// There is no window of so many instances.
    Layout(LayoutError),
    /// What the instances share cannot be used.
    Shared(SharedError),
}

impl fmt::Display for DivisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cores { instances, cores } => {
                write!(f, "{instances} instances are to run on {cores} cores")
            }
            Self::Partition(error) => error.fmt(f),
            Self::Layout(error) => error.fmt(f),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for DivisionError {}

/// What the first instance knows of its machine once that is divided.
#[derive(Debug)]
pub struct Division {
    shared: SharedMemory,
    image: FrameRange,
    numbers: Vec<u16>,
    cores: Vec<u64>,
    shares: Vec<Vec<FrameRange>>,
    slots: Vec<FrameRange>,
}

impl Division {
    /// Divides `free` between the instances that `record` names for this machine, and publishes
    /// their window. `None` if there is only one.
    ///
    /// # Safety
    /// `free` is RAM that nothing uses, mapped cacheable and writable in the direct map for good.
    ///
    /// # Errors
    /// [`DivisionError`].
    pub unsafe fn new(
        machine: Divisible,
        free: &[FrameRange],
        record: &BootRecord,
    ) -> Result<Option<Division>, DivisionError> {
        let numbers = of_machine(record);
        let (instances, fabric) = (numbers.len(), record.instances.len());
        if instances < 2 {
            return Ok(None);
        }
        let mut cores = machine.cores;
        if cores.len() < instances {
            return Err(DivisionError::Cores { instances, cores: cores.len() });
        }
        cores.truncate(instances);
        let window = window_len(fabric, machine.ram).map_err(DivisionError::Layout)?;
        let needs = Needs {
            instances,
            shared: shared_frames(window),
            slot: machine.image.len() + machine.tables,
            limit: machine.limit,
        };
        let partition = partition::divide(free, &needs).map_err(DivisionError::Partition)?;
        // SAFETY: the caller's; the partition gives these frames to nobody.
        let shared = unsafe { SharedMemory::new(partition.shared, machine.offset) };
        let shared = shared.map_err(DivisionError::Shared)?;
        shared.publish(fabric, record.fabric).map_err(DivisionError::Shared)?;
        Ok(Some(Division {
            shared,
            image: machine.image,
            numbers,
            cores,
            shares: partition.shares,
            slots: partition.slots,
        }))
    }

    /// The first instance's own memory.
    #[must_use]
    pub fn share(&self) -> &[FrameRange] {
        self.shares.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// The cores of the machine's instances, in order.
    #[must_use]
    pub fn cores(&self) -> &[u64] {
        &self.cores
    }

    /// The window of this machine's instances; `bell` as for [`LocalWindow::new`].
    #[must_use]
    pub fn window(&self, bell: Box<dyn Fn(u64)>) -> LocalWindow {
        let all: Vec<FrameRange> = self.shares.iter().flatten().copied().collect();
        let others = partition::of_others(&all, self.share());
        LocalWindow { others, ..LocalWindow::new(&self.shared, &self.numbers, &self.cores, bell) }
    }

    /// Joins the machine's instances as their first, and takes hold of the others, all of them off.
    /// `firmware` is the address of firmware's description of the machine and what the board adds;
    /// `load` writes a pristine image to a physical address in a slot.
    #[must_use]
    pub fn siblings(
        self,
        firmware: (u64, [u64; PLATFORM_WORDS]),
        load: Box<dyn Fn(u64)>,
        cores: Box<dyn Cores>,
    ) -> Siblings {
        super::join(Membership {
            control: self.shared.control(),
            index: 0,
            number: self.numbers.first().copied().unwrap_or_default(),
            incarnation: 1,
            numbers: self.numbers.iter().copied().collect(),
        });
        Siblings::new(SiblingParts {
            shared: self.shared,
            firmware,
            image: self.image,
            numbers: self.numbers,
            machine_cores: self.cores,
            shares: self.shares,
            slots: self.slots,
            load,
            cores,
        })
    }
}

impl BootBlock {
    /// Joins the machine's instances as the one that this block is for, which has `record`.
    ///
    /// # Safety
    /// The block is from the machine's first instance; physical address `p` of RAM is mapped
    /// cacheable and writable at `p + offset` (modulo 2^64) for good.
    ///
    /// # Errors
    /// [`SharedError`].
    pub unsafe fn join(
        &self,
        record: &BootRecord,
        offset: u64,
        bell: Box<dyn Fn(u64)>,
    ) -> Result<LocalWindow, SharedError> {
        // SAFETY: the caller's: the first instance has set this memory aside for it.
        let shared = unsafe { SharedMemory::new(self.shared, offset)? };
        let numbers = of_machine(record);
        super::join(Membership {
            control: shared.control(),
            index: self.index,
            number: self.number,
            incarnation: self.restarts + 1,
            numbers: numbers.iter().copied().collect(),
        });
        let others = self.others.to_vec();
        Ok(LocalWindow { others, ..LocalWindow::new(&shared, &numbers, &self.cores, bell) })
    }
}
