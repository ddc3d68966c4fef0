//! The PCI Express root complex.

use dtoolkit::fdt::FdtNode;
use dtoolkit::{Node, Property};
use heapless::Vec;

use crate::nodes::Nodes;
use crate::reader::{first_reg, range};
use crate::{DeviceTreeError, Range};

/// Most windows of a root complex.
pub const MAX_WINDOWS: usize = 8;

/// Bytes of one bus's configuration space.
const BUS_LEN: u64 = 1 << 20;

/// A root complex with a memory-mapped configuration space (ECAM).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pcie {
    /// Configuration space, 1 MiB for each bus from [`Self::first_bus`] on.
    pub ecam: Range,
    /// The first bus.
    pub first_bus: u8,
    /// The last bus.
    pub last_bus: u8,
    /// What the processor reaches of the PCI address spaces.
    pub windows: Vec<PcieWindow, MAX_WINDOWS>,
    /// Whether devices' accesses to memory are coherent with the caches.
    pub dma_coherent: bool,
}

/// One window into a PCI address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcieWindow {
    /// Which space.
    pub kind: WindowKind,
    /// First address in that space.
    pub pci: u64,
    /// Where the processor sees it.
    pub cpu: Range,
}

/// A PCI address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// Ports.
    Io,
    /// Memory, for 32-bit base address registers.
    Memory32,
    /// Memory, for 64-bit base address registers.
    Memory64,
}

pub(crate) fn root_complex(nodes: &Nodes<'_>) -> Result<Option<Pcie>, DeviceTreeError> {
    let Some(node) = nodes.pcie else {
        return Ok(None);
    };
    let ecam = first_reg(node, "pcie reg")?;
    let (first_bus, last_bus) = buses(node)?;
    let needed = (u64::from(last_bus) - u64::from(first_bus) + 1) * BUS_LEN;
    if ecam.len < needed {
        return Err(DeviceTreeError::EcamTooSmall(ecam.len, needed));
    }
    Ok(Some(Pcie {
        ecam,
        first_bus,
        last_bus,
        windows: windows(node)?,
        dma_coherent: node.property("dma-coherent").is_some(),
    }))
}

fn buses(node: FdtNode<'_>) -> Result<(u8, u8), DeviceTreeError> {
    const NAME: &str = "bus-range";
    let Some(property) = node.property(NAME) else {
        return Ok((0, 255));
    };
    let [first, last] =
        property.value_as::<[u32; 2]>().map_err(|_| DeviceTreeError::Malformed(NAME))?;
    match (u8::try_from(first), u8::try_from(last)) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err(DeviceTreeError::Malformed(NAME)),
    }
}

fn windows(node: FdtNode<'_>) -> Result<Vec<PcieWindow, MAX_WINDOWS>, DeviceTreeError> {
    const WHAT: &str = "pcie ranges";
    let malformed = |_| DeviceTreeError::Malformed(WHAT);
    let property = node.property("ranges").ok_or(DeviceTreeError::Missing(WHAT))?;
    // PCI: flags and a 64-bit address; processor: a 64-bit address; length: 64 bits.
    let ranges = property
        .as_prop_encoded_array([1, 2, 2, 2])
        .map_err(|_| DeviceTreeError::Malformed(WHAT))?;
    let mut windows = Vec::new();
    for [flags, pci, cpu, len] in ranges {
        use dtoolkit::ToCellInt;
        // Bits 24 and 25 of the flags: the space.
        let kind = match flags.to_int::<u32>().map_err(malformed)? >> 24 & 3 {
            1 => WindowKind::Io,
            2 => WindowKind::Memory32,
            3 => WindowKind::Memory64,
            _ => return Err(DeviceTreeError::Malformed(WHAT)),
        };
        let pci = pci.to_int::<u64>().map_err(malformed)?;
        let cpu = range(
            WHAT,
            cpu.to_int::<u64>().map_err(malformed)?,
            len.to_int::<u64>().map_err(malformed)?,
        )?;
        range(WHAT, pci, cpu.len)?;
        windows
            .push(PcieWindow { kind, pci, cpu })
            .map_err(|_| DeviceTreeError::TooMany("pcie ranges"))?;
    }
    Ok(windows)
}
