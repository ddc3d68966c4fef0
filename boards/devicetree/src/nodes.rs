//! The nodes that a description is made from, found in one walk.
//!
//! A tree has some hundred properties under its root and a lookup walks them all: looking for one
//! node after the other took a third of the boot.

use dtoolkit::fdt::FdtNode;
use dtoolkit::{Node, Property};
use heapless::Vec;

use crate::DeviceTreeError;
use crate::reader::is_enabled;

/// Most nodes that describe memory.
const MAX_MEMORY_NODES: usize = 16;

/// Children of the root in use; of each kind the first, and every one of memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes<'a> {
    pub(crate) memory: Vec<FdtNode<'a>, MAX_MEMORY_NODES>,
    pub(crate) chosen: Option<FdtNode<'a>>,
    pub(crate) cpus: Option<FdtNode<'a>>,
    pub(crate) reserved_memory: Option<FdtNode<'a>>,
    pub(crate) psci: Option<FdtNode<'a>>,
    pub(crate) gic_v2: Option<FdtNode<'a>>,
    pub(crate) gic_v3: Option<FdtNode<'a>>,
    pub(crate) timer: Option<FdtNode<'a>>,
    pub(crate) pcie: Option<FdtNode<'a>>,
    pub(crate) uart: Option<FdtNode<'a>>,
}

impl<'a> Nodes<'a> {
    pub(crate) fn find(root: FdtNode<'a>) -> Result<Nodes<'a>, DeviceTreeError> {
        let mut nodes = Nodes::default();
        for node in root.children() {
            match node.name_without_address() {
                "chosen" => nodes.chosen = nodes.chosen.or(Some(node)),
                "cpus" => nodes.cpus = nodes.cpus.or(Some(node)),
                "reserved-memory" => nodes.reserved_memory = Some(node),
                _ => nodes.classify(node)?,
            }
        }
        Ok(nodes)
    }

    /// Sorts a node in by its properties.
    fn classify(&mut self, node: FdtNode<'a>) -> Result<(), DeviceTreeError> {
        for property in node.properties() {
            let value = property.value();
            match property.name() {
                "device_type" if value == b"memory\0" && is_enabled(node) => {
                    let full = self.memory.push(node).is_err();
                    if full {
                        return Err(DeviceTreeError::TooMany("memory nodes"));
                    }
                }
                "compatible" => {
                    for name in value.split(|byte| *byte == 0) {
                        if let Some(slot) = self.slot(name)
                            && slot.is_none()
                            && is_enabled(node)
                        {
                            *slot = Some(node);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where a node compatible with `name` belongs.
    fn slot(&mut self, name: &[u8]) -> Option<&mut Option<FdtNode<'a>>> {
        match name {
            // Version 0.1 has other function numbers; nothing that boots this kernel has it.
            b"arm,psci-1.0" | b"arm,psci-0.2" => Some(&mut self.psci),
            b"arm,cortex-a15-gic"
            | b"arm,gic-400"
            | b"arm,cortex-a7-gic"
            | b"arm,cortex-a9-gic" => Some(&mut self.gic_v2),
            b"arm,gic-v3" => Some(&mut self.gic_v3),
            b"arm,armv8-timer" => Some(&mut self.timer),
            b"pci-host-ecam-generic" => Some(&mut self.pcie),
            b"arm,pl011" => Some(&mut self.uart),
            _ => None,
        }
    }
}
