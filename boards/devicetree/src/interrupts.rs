//! The interrupt controller and the timer's interrupt.

use dtoolkit::Node;
use dtoolkit::fdt::FdtNode;
use heapless::Vec;

use crate::nodes::Nodes;
use crate::reader::{compatible, first_reg, property_u32, regs};
use crate::{DeviceTreeError, Range};

/// Most redistributor regions of a GICv3.
pub const MAX_REDISTRIBUTORS: usize = 4;

/// An Arm generic interrupt controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gic {
    /// Version 2 (or a compatible version 1).
    V2 {
        /// The distributor's registers.
        distributor: Range,
        /// The processor interface's registers.
        cpu_interface: Range,
        /// The frame that turns writes into shared peripheral interrupts.
        v2m: Option<GicV2m>,
    },
    /// Version 3 or 4.
    V3 {
        /// The distributor's registers.
        distributor: Range,
        /// The redistributors' registers.
        redistributors: Vec<Range, MAX_REDISTRIBUTORS>,
        /// The interrupt translation service's registers.
        its: Option<Range>,
    },
}

/// A GICv2m frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GicV2m {
    /// Its registers.
    pub registers: Range,
    /// Number of the first shared peripheral interrupt it owns (an interrupt number, 32 and up);
    /// `None`: its own register tells.
    pub base_spi: Option<u32>,
    /// How many it owns.
    pub spi_count: Option<u32>,
}

/// An interrupt of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerInterrupt {
    /// Its interrupt number at the controller, 16 to 31: it is private to each processor.
    pub number: u32,
}

pub(crate) fn gic(nodes: &Nodes<'_>) -> Result<Gic, DeviceTreeError> {
    const REG: &str = "interrupt controller reg";
    if let Some(node) = nodes.gic_v2 {
        let mut regs = regs(node, REG)?;
        let mut next = || regs.next().ok_or(DeviceTreeError::Missing(REG))?;
        return Ok(Gic::V2 { distributor: next()?, cpu_interface: next()?, v2m: v2m(node)? });
    }
    let node = nodes.gic_v3.ok_or(DeviceTreeError::Missing("interrupt controller"))?;
    let count = property_u32(node, "#redistributor-regions")?.unwrap_or(1);
    let mut regs = regs(node, REG)?;
    let mut next = || regs.next().ok_or(DeviceTreeError::Missing(REG))?;
    let distributor = next()?;
    let mut redistributors = Vec::new();
    for _ in 0..count {
        redistributors.push(next()?).map_err(|_| DeviceTreeError::TooMany("redistributors"))?;
    }
    let its = match compatible(node, &["arm,gic-v3-its"]) {
        Some(its) => Some(first_reg(its, "ITS reg")?),
        None => None,
    };
    Ok(Gic::V3 { distributor, redistributors, its })
}

fn v2m(gic: FdtNode<'_>) -> Result<Option<GicV2m>, DeviceTreeError> {
    let Some(node) = compatible(gic, &["arm,gic-v2m-frame"]) else {
        return Ok(None);
    };
    Ok(Some(GicV2m {
        registers: first_reg(node, "GICv2m reg")?,
        base_spi: property_u32(node, "arm,msi-base-spi")?,
        spi_count: property_u32(node, "arm,msi-num-spis")?,
    }))
}

pub(crate) fn timer(nodes: &Nodes<'_>) -> Result<TimerInterrupt, DeviceTreeError> {
    const WHAT: &str = "timer interrupts";
    /// Of each interrupt: kind, number, flags.
    const CELLS: usize = 3;
    /// Secure, physical, virtual, hypervisor.
    const VIRTUAL: usize = 2;
    const PRIVATE: u32 = 1;
    let node = nodes.timer.ok_or(DeviceTreeError::Missing("timer"))?;
    let property = node.property("interrupts").ok_or(DeviceTreeError::Missing(WHAT))?;
    let mut all = dtoolkit::Property::as_prop_encoded_array(&property, [1; CELLS])
        .map_err(|_| DeviceTreeError::Malformed(WHAT))?;
    let [kind, number, _flags] = all.nth(VIRTUAL).ok_or(DeviceTreeError::Missing(WHAT))?;
    let cell = |c: dtoolkit::Cells<'_>| c.as_ref().first().map_or(0, |c| c.get());
    match (cell(kind), cell(number)) {
        (PRIVATE, n @ 0..=15) => Ok(TimerInterrupt { number: n + 16 }),
        _ => Err(DeviceTreeError::Malformed(WHAT)),
    }
}
