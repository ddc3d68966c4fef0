//! Page tables made by hand.

use maize_abi::isa::Isa;
use maize_abi::isa::aarch64::Aarch64;
use maize_abi::pte::{Access, LEVELS, PteFormat};
use maize_arch_aarch64::Machine;
use maize_hal::{Frame, FrameRange, PhysMemory, Tlb};

/// Frames to take from.
pub(crate) struct Supply(
    /// What is left.
    pub(crate) FrameRange,
);

impl Supply {
    /// A zeroed frame.
    pub(crate) fn take(&mut self, machine: &mut Machine) -> Frame {
        assert!(!self.0.is_empty(), "out of frames");
        let frame = self.0.start;
        self.0.start = Frame(frame.0 + 1);
        machine.zero_frame(frame);
        frame
    }
}

/// A user space.
pub(crate) struct UserSpace {
    /// Its root table.
    pub(crate) root: Frame,
}

impl UserSpace {
    /// An empty space.
    pub(crate) fn new(machine: &mut Machine, supply: &mut Supply) -> UserSpace {
        let root = supply.take(machine);
        machine.init_root(root);
        UserSpace { root }
    }

    /// Maps a page, over what was there.
    pub(crate) fn map(
        &self,
        machine: &mut Machine,
        supply: &mut Supply,
        va: u64,
        frame: Frame,
        access: Access,
    ) {
        let pte = Aarch64::PTE;
        let mut table = self.root;
        for level in 0..LEVELS - 1 {
            let index = PteFormat::index(level, va);
            table = match pte.decode_table(machine.read_entry(table, index)) {
                Some(next) => Frame::containing(next),
                None => {
                    let next = supply.take(machine);
                    machine.write_entry(table, index, pte.encode_table(next.address()));
                    next
                }
            };
        }
        let entry = pte.encode_leaf(frame.address(), access);
        machine.write_entry(table, PteFormat::index(LEVELS - 1, va), entry);
    }
}
