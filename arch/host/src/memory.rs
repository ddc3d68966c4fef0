//! Emulated physical memory.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::PteFormat;
use maize_hal::{Frame, FrameRange, PhysMemory, Tlb};

use crate::mmu::{Mmu, Violation};

/// Physical memory of one machine, with the MMU through which the programs of one core see it.
#[derive(Debug)]
pub struct EmulatedMemory {
    pub(crate) ram: Rc<RefCell<Ram>>,
    pub(crate) mmu: Mmu,
    /// Frames that user code has used since that was last asked for.
    used: HashSet<Frame>,
}

/// The bytes of physical memory.
#[derive(Debug)]
pub(crate) struct Ram {
    first: Frame,
    bytes: Vec<u8>,
    /// Frames whose bytes changed after they were made visible to instruction fetch.
    pub(crate) unsynced: HashSet<Frame>,
}

impl Ram {
    /// Where byte `offset` of `frame` is.
    fn at(&self, frame: Frame, offset: usize, len: usize) -> usize {
        assert!(offset + len <= PAGE_SIZE, "{len} bytes at {offset} leave the frame");
        let start = frame.0.checked_sub(self.first.0).map(|n| n as usize * PAGE_SIZE);
        match start.filter(|start| start + PAGE_SIZE <= self.bytes.len()) {
            Some(start) => start + offset,
            None => unreachable!("{frame:?} is not in memory"),
        }
    }

    pub(crate) fn part(&self, frame: Frame, offset: usize, len: usize) -> &[u8] {
        let at = self.at(frame, offset, len);
        &self.bytes[at..at + len]
    }

    pub(crate) fn part_mut(&mut self, frame: Frame, offset: usize, len: usize) -> &mut [u8] {
        let at = self.at(frame, offset, len);
        &mut self.bytes[at..at + len]
    }

    pub(crate) fn entry(&self, table: Frame, index: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(self.part(table, index * 8, 8));
        u64::from_le_bytes(word)
    }
}

impl EmulatedMemory {
    /// A machine with the frames of `range`, whose page tables have entries of `format`. Its bytes
    /// are not zero: nothing clears a real machine's memory either.
    #[must_use]
    pub fn new(format: PteFormat, range: FrameRange) -> EmulatedMemory {
        let bytes = vec![0xa5; range.len() as usize * PAGE_SIZE];
        let unsynced = (range.start.0..range.end.0).map(Frame).collect();
        let ram = Ram { first: range.start, bytes, unsynced };
        EmulatedMemory {
            ram: Rc::new(RefCell::new(ram)),
            mmu: Mmu::new(format),
            used: HashSet::new(),
        }
    }

    /// A core whose page tables have entries of `format`, in a machine that sees the same memory.
    #[must_use]
    pub fn core_of(&self, format: PteFormat) -> EmulatedMemory {
        EmulatedMemory { ram: self.ram.clone(), mmu: Mmu::new(format), used: HashSet::new() }
    }

    /// Frames that user code on this core has used since the last call.
    pub fn take_used(&mut self) -> HashSet<Frame> {
        std::mem::take(&mut self.used)
    }

    pub(crate) fn uses(&mut self, frame: Frame) {
        self.used.insert(frame);
    }

    /// All frames of the machine.
    #[must_use]
    pub fn frames(&self) -> FrameRange {
        let ram = self.ram.borrow();
        let count = (ram.bytes.len() / PAGE_SIZE) as u64;
        FrameRange { start: ram.first, end: Frame(ram.first.0 + count) }
    }
}

impl PhysMemory for EmulatedMemory {
    fn read(&self, frame: Frame, offset: usize, out: &mut [u8]) {
        out.copy_from_slice(self.ram.borrow().part(frame, offset, out.len()));
    }

    fn write(&mut self, frame: Frame, offset: usize, bytes: &[u8]) {
        let mut ram = self.ram.borrow_mut();
        ram.part_mut(frame, offset, bytes.len()).copy_from_slice(bytes);
        ram.unsynced.insert(frame);
    }

    fn zero(&mut self, frame: Frame, offset: usize, len: usize) {
        let mut ram = self.ram.borrow_mut();
        ram.part_mut(frame, offset, len).fill(0);
        ram.unsynced.insert(frame);
    }

    fn copy_frame(&mut self, to: Frame, from: Frame) {
        let mut ram = self.ram.borrow_mut();
        let from = ram.at(from, 0, PAGE_SIZE);
        let to_start = ram.at(to, 0, PAGE_SIZE);
        ram.bytes.copy_within(from..from + PAGE_SIZE, to_start);
        ram.unsynced.insert(to);
    }

    fn read_entry(&self, table: Frame, index: usize) -> u64 {
        self.ram.borrow().entry(table, index)
    }

    fn write_entry(&mut self, table: Frame, index: usize, entry: u64) {
        self.ram.borrow_mut().part_mut(table, index * 8, 8).copy_from_slice(&entry.to_le_bytes());
    }

    fn compare_exchange_u32(&mut self, frame: Frame, offset: usize, old: u32, new: u32) -> u32 {
        let mut ram = self.ram.borrow_mut();
        let bytes = ram.part_mut(frame, offset, 4);
        let mut word = [0; 4];
        word.copy_from_slice(bytes);
        let found = u32::from_le_bytes(word);
        if found == old {
            bytes.copy_from_slice(&new.to_le_bytes());
        }
        found
    }

    fn sync_instructions(&mut self, frame: Frame) {
        self.ram.borrow_mut().unsynced.remove(&frame);
    }
}

impl Tlb for EmulatedMemory {
    fn init_root(&mut self, root: Frame) {
        let zero = self.ram.borrow().part(root, 0, PAGE_SIZE).iter().all(|&byte| byte == 0);
        assert!(zero, "the root {root:?} is not zeroed");
        assert!(!self.mmu.knows(root), "{}", Violation::Reused { root });
    }

    fn flush_page(&mut self, root: Frame, va: u64) {
        self.mmu.flush_page(root, va);
    }

    fn flush_space(&mut self, root: Frame) {
        self.mmu.flush_space(root);
    }
}
