//! What a device tree says about a machine, as one checked value.
//!
//! [`MachineDescription::parse`] is a pure function of bytes: it needs no heap (it runs before
//! there is one), touches no device and gives a named [`DeviceTreeError`] for everything that it
//! does not accept. What it returns satisfies, whatever the bytes:
//!
//! - no range wraps or ends above [`ADDRESS_LIMIT`]; none is empty;
//! - ranges of memory ascend and do not overlap, and the initial RAM disk lies inside one of them;
//! - the ECAM window holds the configuration space of every bus it is said to have.
//!
//! The parser below is `dtoolkit`, not `fdt` 0.1.5: that one unwraps while it walks, so a bad tree
//! ends the kernel without a word about what is wrong, and it last changed in 2023. `dtoolkit`
//! validates the whole structure before it lends the first node.
#![no_std]
#![forbid(unsafe_code)]

mod error;
mod interrupts;
mod memory;
mod nodes;
mod pci;
mod reader;

use dtoolkit::fdt::Fdt;
use dtoolkit::{Node, Property};
use heapless::Vec;

pub use error::DeviceTreeError;
pub use interrupts::{Gic, GicV2m, MAX_REDISTRIBUTORS, TimerInterrupt};
pub use memory::{MAX_FREE_RANGES, MAX_MEMORY_RANGES, MAX_RESERVED_RANGES};
pub use pci::{MAX_WINDOWS, Pcie, PcieWindow, WindowKind};

use nodes::Nodes;
use reader::{children_named, first_reg, property_str};

/// First physical address that a description does not speak of: the kernel maps memory and devices
/// at constant distances, each in 2^46 bytes of virtual addresses.
pub const ADDRESS_LIMIT: u64 = 1 << 46;

/// Most processors that a description holds.
pub const MAX_CPUS: usize = 64;

/// Physical addresses `start..start + len`; `len` is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

impl Range {
    /// The first address after the range.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start + self.len
    }

    /// Whether every byte of `other` lies in this range.
    #[must_use]
    pub const fn contains(&self, other: &Range) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    /// Whether the two have a byte in common.
    #[must_use]
    pub const fn overlaps(&self, other: &Range) -> bool {
        self.start < other.end() && other.start < self.end()
    }
}

/// The instruction by which the firmware is called (PSCI, SMCCC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PsciConduit {
    /// `hvc #0`.
    Hvc,
    /// `smc #0`.
    Smc,
}

/// A PL011.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uart {
    /// Its registers.
    pub registers: Range,
}

/// A machine, as far as the kernel needs to know it. Strings and byte strings are the tree's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineDescription<'a> {
    /// RAM, ascending.
    pub memory: Vec<Range, MAX_MEMORY_RANGES>,
    /// Memory that must not be used: reservations of the tree's header and `/reserved-memory`.
    pub reserved: Vec<Range, MAX_RESERVED_RANGES>,
    /// `MPIDR` affinity of each processor, in the tree's order.
    pub cpus: Vec<u64, MAX_CPUS>,
    /// How the firmware is called; `None` if there is none.
    pub psci: Option<PsciConduit>,
    /// The interrupt controller.
    pub gic: Gic,
    /// The virtual timer's interrupt.
    pub timer: TimerInterrupt,
    /// The PCI Express root, if there is one.
    pub pcie: Option<Pcie>,
    /// The console: what `/chosen/stdout-path` names, else the first PL011.
    pub uart: Option<Uart>,
    /// The initial RAM disk.
    pub initrd: Option<Range>,
    /// The kernel's command line, empty if there is none.
    pub bootargs: &'a str,
    /// Random bytes from the machine, possibly none.
    pub rng_seed: &'a [u8],
}

/// Bytes of a device tree's header that [`total_size`] reads.
pub const SIZE_HEADER_LEN: usize = 8;

/// Size in bytes of the tree that begins with `header`, so that the rest can be made readable.
///
/// # Errors
/// [`DeviceTreeError::NotADeviceTree`] without the magic number, [`DeviceTreeError::TooLarge`] over
/// the 2 MiB that the arm64 boot protocol allows.
pub fn total_size(header: [u8; SIZE_HEADER_LEN]) -> Result<usize, DeviceTreeError> {
    const MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];
    const LIMIT: u32 = 2 << 20;
    let [m0, m1, m2, m3, s0, s1, s2, s3] = header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(DeviceTreeError::NotADeviceTree);
    }
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    if size > LIMIT {
        return Err(DeviceTreeError::TooLarge(size));
    }
    Ok(size as usize)
}

impl<'a> MachineDescription<'a> {
    /// Reads a device tree; `bytes` is exactly the tree.
    ///
    /// # Errors
    /// What is missing, malformed or more than a description holds.
    pub fn parse(bytes: &'a [u8]) -> Result<MachineDescription<'a>, DeviceTreeError> {
        let fdt = Fdt::new(bytes)?;
        let nodes = Nodes::find(fdt.root())?;
        let memory = memory::ranges(&nodes)?;
        let chosen = nodes.chosen;
        let initrd = match chosen {
            Some(chosen) => memory::initrd(chosen)?,
            None => None,
        };
        if let Some(initrd) = initrd
            && !memory.iter().any(|m| m.contains(&initrd))
        {
            return Err(DeviceTreeError::InitrdOutsideMemory(initrd));
        }
        Ok(MachineDescription {
            reserved: memory::reserved(fdt, &nodes)?,
            cpus: cpus(&nodes)?,
            psci: psci(&nodes)?,
            gic: interrupts::gic(&nodes)?,
            timer: interrupts::timer(&nodes)?,
            pcie: pci::root_complex(&nodes)?,
            uart: uart(fdt, &nodes)?,
            initrd,
            bootargs: chosen.map_or(Ok(None), |c| property_str(c, "bootargs"))?.unwrap_or_default(),
            rng_seed: chosen
                .and_then(|c| c.property("rng-seed"))
                .and_then(|p| p.value_as::<&[u8]>().ok())
                .unwrap_or_default(),
            memory,
        })
    }
}

fn cpus(nodes: &Nodes<'_>) -> Result<Vec<u64, MAX_CPUS>, DeviceTreeError> {
    let node = nodes.cpus.ok_or(DeviceTreeError::Missing("/cpus"))?;
    let mut cpus = Vec::new();
    for cpu in children_named(node, "cpu") {
        let mpidr = reader::cpu_reg(cpu)?;
        cpus.push(mpidr).map_err(|_| DeviceTreeError::TooMany("processors"))?;
    }
    if cpus.is_empty() { Err(DeviceTreeError::Missing("/cpus/cpu")) } else { Ok(cpus) }
}

fn psci(nodes: &Nodes<'_>) -> Result<Option<PsciConduit>, DeviceTreeError> {
    let Some(node) = nodes.psci else {
        return Ok(None);
    };
    match property_str(node, "method")? {
        Some("hvc") => Ok(Some(PsciConduit::Hvc)),
        Some("smc") => Ok(Some(PsciConduit::Smc)),
        Some(_) => Err(DeviceTreeError::Malformed("/psci method")),
        None => Err(DeviceTreeError::Missing("/psci method")),
    }
}

fn uart(fdt: Fdt<'_>, nodes: &Nodes<'_>) -> Result<Option<Uart>, DeviceTreeError> {
    const PL011: &[&str] = &["arm,pl011"];
    let named = match nodes.chosen {
        Some(chosen) => property_str(chosen, "stdout-path")?,
        None => None,
    };
    // What follows a colon are line settings, which the firmware has made.
    let named = named
        .and_then(|path| path.split(':').next())
        .and_then(|path| fdt.find_node(path))
        .filter(|node| reader::is_compatible(*node, PL011));
    match named.or(nodes.uart) {
        Some(node) => Ok(Some(Uart { registers: first_reg(node, "uart reg")? })),
        None => Ok(None),
    }
}
