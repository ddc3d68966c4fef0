//! Checked access to nodes and properties.

use dtoolkit::fdt::FdtNode;
use dtoolkit::standard::{NodeStandard, Reg};
use dtoolkit::{Node, Property};

use crate::{ADDRESS_LIMIT, DeviceTreeError, Range};

/// A range that neither wraps nor is empty nor leaves the addresses that the kernel maps.
pub(crate) fn range(what: &'static str, start: u64, len: u64) -> Result<Range, DeviceTreeError> {
    match start.checked_add(len) {
        Some(end) if len > 0 && end <= ADDRESS_LIMIT => Ok(Range { start, len }),
        _ => Err(DeviceTreeError::BadRange { what, start, len }),
    }
}

/// Whether the node is in use and compatible with one of `names`.
pub(crate) fn is_compatible(node: FdtNode<'_>, names: &[&str]) -> bool {
    is_enabled(node) && names.iter().any(|name| node.is_compatible(name))
}

/// The first child of `parent` in use that is compatible with one of `names`.
pub(crate) fn compatible<'a>(parent: FdtNode<'a>, names: &[&str]) -> Option<FdtNode<'a>> {
    parent.children().find(|node| is_compatible(*node, names))
}

pub(crate) fn is_enabled(node: FdtNode<'_>) -> bool {
    match property_str(node, "status") {
        Ok(None | Some("okay" | "ok")) => true,
        Ok(Some(_)) | Err(_) => false,
    }
}

/// Children of `parent` named `name`, whatever their unit address.
pub(crate) fn children_named<'a>(
    parent: FdtNode<'a>,
    name: &'static str,
) -> impl Iterator<Item = FdtNode<'a>> {
    parent.children().filter(move |node| node.name_without_address() == name)
}

/// A string property's value.
pub(crate) fn property_str<'a>(
    node: FdtNode<'a>,
    name: &'static str,
) -> Result<Option<&'a str>, DeviceTreeError> {
    match node.property(name) {
        Some(p) => p.value_as::<&str>().map(Some).map_err(|_| DeviceTreeError::Malformed(name)),
        None => Ok(None),
    }
}

/// A one-cell property's value.
pub(crate) fn property_u32(
    node: FdtNode<'_>,
    name: &'static str,
) -> Result<Option<u32>, DeviceTreeError> {
    match node.property(name) {
        Some(p) => p.value_as::<u32>().map(Some).map_err(|_| DeviceTreeError::Malformed(name)),
        None => Ok(None),
    }
}

/// The ranges of a node's `reg`; none if it has no `reg`.
pub(crate) fn regs<'a>(
    node: FdtNode<'a>,
    what: &'static str,
) -> Result<impl Iterator<Item = Result<Range, DeviceTreeError>> + 'a, DeviceTreeError> {
    let regs = node.reg().map_err(|_| DeviceTreeError::Malformed(what))?;
    Ok(regs.into_iter().flatten().map(move |reg: Reg<'a>| {
        let start = reg.address::<u64>().map_err(|_| DeviceTreeError::Malformed(what))?;
        let len = reg.size::<u64>().map_err(|_| DeviceTreeError::Malformed(what))?;
        range(what, start, len)
    }))
}

/// The first range of a node's `reg`.
pub(crate) fn first_reg(node: FdtNode<'_>, what: &'static str) -> Result<Range, DeviceTreeError> {
    regs(node, what)?.next().ok_or(DeviceTreeError::Missing(what))?
}

/// A processor's `reg`: its `MPIDR` affinity, one or two cells and no size.
pub(crate) fn cpu_reg(node: FdtNode<'_>) -> Result<u64, DeviceTreeError> {
    const WHAT: &str = "/cpus/cpu reg";
    let mut regs = node
        .reg()
        .map_err(|_| DeviceTreeError::Malformed(WHAT))?
        .ok_or(DeviceTreeError::Missing(WHAT))?;
    let reg = regs.next().ok_or(DeviceTreeError::Missing(WHAT))?;
    reg.address::<u64>().map_err(|_| DeviceTreeError::Malformed(WHAT))
}
