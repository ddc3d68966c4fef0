//! An emulated machine with a [`Memory`], and user accesses that fault as on hardware.
#![allow(dead_code, reason = "each test file uses its part")]

use maize_abi::pte::{Access, PteFormat};
use maize_abi::{Isa, isa::aarch64::Aarch64, isa::x86_64::X86_64};
use maize_arch_host::EmulatedMemory;
use maize_hal::{Frame, FrameRange};
use maize_mm::{
    Budget, FaultError, FaultOutcome, Frames, Layout, MapError, MapRequest, Memory, Placement,
    SpaceId,
};

pub(crate) const PAGE: u64 = 4096;
pub(crate) const RW: Access = Access::READ.union(Access::WRITE);

pub(crate) const LAYOUT: Layout =
    Layout { lowest: 0x1_0000, end: 0x7fff_ffff_f000, mmap_top: 0x7fff_f000_0000 };

/// Both formats of page-table entries.
pub(crate) const FORMATS: [PteFormat; 2] = [X86_64::PTE, Aarch64::PTE];

/// What the image has at byte `at`.
pub(crate) fn image_byte(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

pub(crate) struct Machine {
    pub(crate) hw: EmulatedMemory,
    pub(crate) memory: Memory,
    /// Spent per step of a long operation.
    pub(crate) budget: u32,
}

impl Machine {
    /// A machine with `frames` frames of which `reserve` are the kernel's, and an image of 64 KiB.
    pub(crate) fn new(format: PteFormat, frames: u64, reserve: u64) -> Machine {
        let range = FrameRange { start: Frame(0x100), end: Frame(0x100 + frames) };
        let image: Vec<u8> = (0..0x1_0000).map(image_byte).collect();
        let frames = Frames::new(&[range], &[], reserve);
        Machine {
            hw: EmulatedMemory::new(format, range),
            memory: Memory::new(1, format, frames, Box::new(image)),
            budget: 64,
        }
    }

    pub(crate) fn space(&mut self) -> SpaceId {
        self.memory.create_space(&mut self.hw, LAYOUT).unwrap()
    }

    /// Finishes what was begun on `space`, in steps.
    pub(crate) fn finish(&mut self, space: SpaceId) {
        while !self.memory.advance(&mut self.hw, space, &mut Budget::new(self.budget)).is_done() {
            assert_eq!(self.hw.violation(), None);
        }
        assert_eq!(self.hw.violation(), None);
    }

    pub(crate) fn map(&mut self, space: SpaceId, request: &MapRequest) -> Result<u64, MapError> {
        let result = self.memory.map(&mut self.hw, space, request);
        self.finish(space);
        result
    }

    /// Anonymous private memory at exactly `at`.
    pub(crate) fn map_at(&mut self, space: SpaceId, at: u64, pages: u64, access: Access) {
        let request = MapRequest::anonymous(Placement::Fixed(at), pages * PAGE, access);
        assert_eq!(self.map(space, &request), Ok(at));
    }

    pub(crate) fn unmap(&mut self, space: SpaceId, at: u64, len: u64) -> Result<(), MapError> {
        let result = self.memory.unmap(&mut self.hw, space, at, len);
        self.finish(space);
        result
    }

    pub(crate) fn protect(
        &mut self,
        space: SpaceId,
        (at, len): (u64, u64),
        access: Access,
    ) -> Result<(), MapError> {
        let result = self.memory.protect(&mut self.hw, space, at, len, access);
        self.finish(space);
        result
    }

    pub(crate) fn fork(&mut self, space: SpaceId) -> SpaceId {
        let child = self.memory.fork_space(&mut self.hw, space).unwrap();
        self.finish(space);
        child
    }

    pub(crate) fn exit(&mut self, space: SpaceId) {
        self.memory.destroy_space(space);
        self.settle();
    }

    /// Does all background work, in steps.
    pub(crate) fn settle(&mut self) {
        while !self.memory.run_background(&mut self.hw, &mut Budget::new(self.budget)).is_done() {
            assert_eq!(self.hw.violation(), None);
        }
    }

    fn fault(&mut self, space: SpaceId, va: u64, access: Access) -> Result<(), FaultError> {
        match self.memory.fault(&mut self.hw, space, va, access)? {
            FaultOutcome::Done => Ok(()),
            need @ FaultOutcome::NeedPage(_) => unreachable!("{need:?} on one instance"),
        }
    }

    /// Reads as the program does; faults are handled until it succeeds or may not.
    pub(crate) fn load(&mut self, space: SpaceId, va: u64) -> Result<u64, FaultError> {
        let root = self.memory.root(space).map_err(|_| FaultError::NoMapping)?;
        let mut word = [0; 8];
        for _ in 0..2 {
            match self.hw.load(root, va, &mut word) {
                Ok(()) => return Ok(u64::from_le_bytes(word)),
                Err(fault) => self.fault(space, fault.address, fault.access)?,
            }
        }
        assert_eq!(self.hw.load(root, va, &mut word), Ok(()), "faults again after being handled");
        Ok(u64::from_le_bytes(word))
    }

    /// Writes as the program does.
    pub(crate) fn store(&mut self, space: SpaceId, va: u64, value: u64) -> Result<(), FaultError> {
        let root = self.memory.root(space).map_err(|_| FaultError::NoMapping)?;
        let word = value.to_le_bytes();
        for _ in 0..2 {
            match self.hw.store(root, va, &word) {
                Ok(()) => return Ok(()),
                Err(fault) => self.fault(space, fault.address, fault.access)?,
            }
        }
        assert_eq!(self.hw.store(root, va, &word), Ok(()), "faults again after being handled");
        Ok(())
    }

    /// Fetches as the program does.
    pub(crate) fn fetch(&mut self, space: SpaceId, va: u64) -> Result<u32, FaultError> {
        let root = self.memory.root(space).map_err(|_| FaultError::NoMapping)?;
        let mut word = [0; 4];
        if let Err(fault) = self.hw.fetch(root, va, &mut word) {
            self.fault(space, fault.address, fault.access)?;
            assert_eq!(self.hw.fetch(root, va, &mut word), Ok(()));
        }
        Ok(u32::from_le_bytes(word))
    }

    /// Frames in use.
    pub(crate) fn used(&self) -> u64 {
        let usage = self.memory.usage();
        usage.total - usage.free
    }
}
