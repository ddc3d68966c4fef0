//! RAM, reservations and the initial RAM disk.

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};
use heapless::Vec;

use crate::nodes::Nodes;
use crate::reader::{range, regs};
use crate::{DeviceTreeError, MachineDescription, Range};

const PAGE: u64 = 4096;

/// Most separate ranges of RAM that a description holds.
pub const MAX_MEMORY_RANGES: usize = 16;

/// Most pieces that [`MachineDescription::free_memory`] finds.
pub const MAX_FREE_RANGES: usize = MAX_MEMORY_RANGES + MAX_RESERVED_RANGES + 8;

/// Most reservations that a description holds.
pub const MAX_RESERVED_RANGES: usize = 32;

pub(crate) fn ranges(nodes: &Nodes<'_>) -> Result<Vec<Range, MAX_MEMORY_RANGES>, DeviceTreeError> {
    let mut memory = Vec::new();
    for node in &nodes.memory {
        for reg in regs(*node, "memory reg")? {
            memory.push(reg?).map_err(|_| DeviceTreeError::TooMany("ranges of memory"))?;
        }
    }
    memory.sort_unstable();
    for pair in memory.windows(2) {
        if let [a, b] = pair
            && a.overlaps(b)
        {
            return Err(DeviceTreeError::MemoryOverlaps(*a, *b));
        }
    }
    if memory.is_empty() { Err(DeviceTreeError::Missing("memory")) } else { Ok(memory) }
}

pub(crate) fn reserved(
    fdt: Fdt<'_>,
    nodes: &Nodes<'_>,
) -> Result<Vec<Range, MAX_RESERVED_RANGES>, DeviceTreeError> {
    let mut reserved = Vec::new();
    let mut add = |range: Range| {
        reserved.push(range).map_err(|_| DeviceTreeError::TooMany("memory reservations"))
    };
    for reservation in fdt.memory_reservations() {
        add(range("memory reservation", reservation.address(), reservation.size())?)?;
    }
    if let Some(node) = nodes.reserved_memory {
        for child in node.children() {
            for reg in regs(child, "reserved-memory reg")? {
                add(reg?)?;
            }
        }
    }
    Ok(reserved)
}

pub(crate) fn initrd(chosen: FdtNode<'_>) -> Result<Option<Range>, DeviceTreeError> {
    let start = address(chosen, "linux,initrd-start")?;
    let end = address(chosen, "linux,initrd-end")?;
    match (start, end) {
        (None, None) => Ok(None),
        // An empty one is how a boot loader says that there is none.
        (Some(start), Some(end)) if start == end => Ok(None),
        (Some(start), Some(end)) => {
            range("initial RAM disk", start, end.wrapping_sub(start)).map(Some)
        }
        (Some(_), None) => Err(DeviceTreeError::Missing("linux,initrd-end")),
        (None, Some(_)) => Err(DeviceTreeError::Missing("linux,initrd-start")),
    }
}

/// An address of one or two cells.
fn address(node: FdtNode<'_>, name: &'static str) -> Result<Option<u64>, DeviceTreeError> {
    let Some(property) = node.property(name) else {
        return Ok(None);
    };
    let short = property.value_as::<u32>().map(u64::from);
    short
        .or_else(|_| property.value_as::<u64>())
        .map(Some)
        .map_err(|_| DeviceTreeError::Malformed(name))
}

impl MachineDescription<'_> {
    /// RAM that neither a reservation, nor the initial RAM disk, nor `occupied` has a byte of: whole
    /// 4 KiB pages, ascending.
    ///
    /// # Errors
    /// [`DeviceTreeError::TooMany`] if that is more than [`MAX_FREE_RANGES`] pieces.
    pub fn free_memory(
        &self,
        occupied: &[Range],
    ) -> Result<Vec<Range, MAX_FREE_RANGES>, DeviceTreeError> {
        let occupied = || occupied.iter().chain(&self.reserved).chain(&self.initrd);
        let mut free = Vec::new();
        for memory in &self.memory {
            let mut at = memory.start.next_multiple_of(PAGE);
            let end = memory.end() / PAGE * PAGE;
            while at < end {
                // The lowest of what occupies anything from here on.
                let next = occupied().filter(|o| o.end() > at).min_by_key(|o| o.start);
                let (stop, resume) = next.map_or((end, end), |o| {
                    (o.start / PAGE * PAGE, o.end().next_multiple_of(PAGE))
                });
                let stop = stop.min(end);
                if stop > at {
                    free.push(Range { start: at, len: stop - at })
                        .map_err(|_| DeviceTreeError::TooMany("pieces of free memory"))?;
                }
                at = resume;
            }
        }
        Ok(free)
    }
}
