//! Messages where the interrupt controller is a GICv3: its translation service, for all instances of
//! the machine.
#![allow(unsafe_code, reason = "tables that hardware reads")]

use core::ptr::NonNull;

use heapless::Vec;
use maize_abi::PAGE_SIZE;
use maize_arch_aarch64::gic::its::{self, INSTANCES, ItsParts, Lpis, Tables, Target};
use maize_arch_aarch64::gic::{Gic, GicError, GicV3};
use maize_arch_aarch64::space::direct;
use maize_devicetree::{Gic as Description, MAX_REDISTRIBUTORS, Range};
use maize_hal::{Frame, FrameRange};
use maize_pci::Ecam;
use maize_pci::bus::PciRoot;

use crate::{Board, mapping};

/// Most devices on the bus.
const MAX_DEVICES: usize = 32;

/// Sets the translation service up, if there is one: for the instances on `cores`, the first of
/// which this runs on, and the devices on `bus`. Takes memory from the front of a range of `free`.
/// Returns where the tables are.
///
/// # Safety
/// `free` is RAM in the direct map that nothing uses. Called once in a machine.
///
/// # Errors
/// [`GicError`].
pub(crate) unsafe fn set_up(
    board: &mut Board,
    free: &mut [FrameRange],
    cores: &[u64],
    bus: Ecam,
) -> Result<Option<u64>, GicError> {
    let Description::V3 { redistributors, its: Some(service), .. } = &board.description.gic else {
        return Ok(None);
    };
    let Gic::V3(gic, lpis) = &mut board.gic else { return Ok(None) };
    let (tables, memory) = take(free).ok_or(GicError::NoMemory)?;
    let map = |range: &Range| mapping::device(range.start, range.len as usize);
    let registers = map(service).ok_or(GicError::NotReady)?;
    let mut mapped: Vec<(NonNull<u8>, u64), MAX_REDISTRIBUTORS> = Vec::new();
    let mut physical: Vec<u64, MAX_REDISTRIBUTORS> = Vec::new();
    for region in redistributors {
        // As many as the description holds.
        let _ = mapped.push((map(region).ok_or(GicError::NotReady)?, region.len));
        let _ = physical.push(region.start);
    }
    let mut targets: Vec<Target, { INSTANCES as usize }> = Vec::new();
    for core in cores.iter().take(targets.capacity()) {
        let target = GicV3::target(&mapped, &physical, *core);
        let _ = targets.push(target.ok_or(GicError::NoRedistributor(*core))?);
    }
    let root = PciRoot::new(bus);
    let number = |at: maize_pci::bus::DeviceFunction| {
        u32::from(at.bus) << 8 | u32::from(at.device) << 3 | u32::from(at.function)
    };
    let devices: Vec<u32, MAX_DEVICES> = bus
        .buses()
        .flat_map(|bus| root.enumerate_bus(bus))
        .map(|(at, _)| number(at))
        .take(MAX_DEVICES)
        .collect();
    let parts = ItsParts { registers, tables, memory, targets: &targets, devices: &devices };
    // SAFETY: the device tree says that these are a service's registers; the memory was just taken.
    unsafe { its::set_up(&parts)? };
    // SAFETY: these are its tables.
    unsafe { gic.enable_lpis(tables, 0) };
    *lpis = Some(Lpis::new(service.start, 0));
    Ok(Some(tables.start()))
}

/// Takes the messages that the machine's first instance has set aside for a sibling, the machine's
/// instance `index`; its tables are at `start`.
///
/// # Safety
/// The tables are what [`set_up`] has returned.
pub(crate) unsafe fn join(board: &mut Board, start: u64, index: u16) {
    let Description::V3 { its: Some(service), .. } = &board.description.gic else { return };
    let found = Tables::new(start).filter(|_| start != 0);
    if let (Gic::V3(gic, lpis), Some(tables)) = (&mut board.gic, found) {
        // SAFETY: the caller's.
        unsafe { gic.enable_lpis(tables, index.into()) };
        *lpis = Some(Lpis::new(service.start, index.into()));
    }
}

/// Takes memory for the tables.
fn take(free: &mut [FrameRange]) -> Option<(Tables, NonNull<u8>)> {
    const ALIGNMENT: u64 = 16;
    let frames = Tables::LEN.div_ceil(PAGE_SIZE as u64);
    free.iter_mut().find_map(|range| {
        let start = range.start.0.checked_next_multiple_of(ALIGNMENT)?;
        let end = start.checked_add(frames).filter(|end| *end <= range.end.0)?;
        // What is before is less than 64 KiB, and lost.
        range.start = Frame(end);
        let start = Frame(start).address();
        Some((Tables::new(start)?, NonNull::new(direct(start))?))
    })
}
