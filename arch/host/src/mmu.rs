//! The emulated MMU: page-table walks, a TLB without bound, and checked accesses of user code.

use std::collections::HashMap;
use std::fmt;

use maize_abi::pte::{Access, LEVELS, Leaf, PteFormat};
use maize_abi::{PAGE_SHIFT, PAGE_SIZE};
use maize_hal::{Frame, PageFault};

use crate::EmulatedMemory;
use crate::memory::Ram;

/// A contract that the kernel broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The tables have changed and the translation cached for `va` was not flushed.
    Stale {
        /// The space.
        root: Frame,
        /// The page.
        va: u64,
    },
    /// A root was used again while translations of its former space were cached.
    Reused {
        /// The space.
        root: Frame,
    },
    /// A fetch from a frame whose bytes were not made visible to instruction fetch.
    NotSynced {
        /// The frame.
        frame: Frame,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Stale { root, va } => {
                write!(f, "stale translation of {va:#x} in {root:?}: a flush is missing")
            }
            Violation::Reused { root } => write!(f, "{root:?} was reused without a flush"),
            Violation::NotSynced { frame } => {
                write!(f, "fetch from {frame:?}, which was not synchronised")
            }
        }
    }
}

/// What a walk found: the page, and the tables on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Translation {
    leaf: Leaf,
    path: [Frame; LEVELS as usize],
}

/// The MMU of one core.
#[derive(Debug)]
pub(crate) struct Mmu {
    format: PteFormat,
    /// Per space and page number. Nothing is ever evicted: what may be cached is.
    tlb: HashMap<Frame, HashMap<u64, Translation>>,
}

impl Mmu {
    pub(crate) fn new(format: PteFormat) -> Mmu {
        Mmu { format, tlb: HashMap::new() }
    }

    pub(crate) fn knows(&self, root: Frame) -> bool {
        self.tlb.get(&root).is_some_and(|space| !space.is_empty())
    }

    pub(crate) fn flush_page(&mut self, root: Frame, va: u64) {
        if let Some(space) = self.tlb.get_mut(&root) {
            space.remove(&(va >> PAGE_SHIFT));
        }
    }

    pub(crate) fn flush_space(&mut self, root: Frame) {
        self.tlb.remove(&root);
    }

    fn walk(&self, ram: &Ram, root: Frame, va: u64) -> Option<Translation> {
        let mut path = [root; LEVELS as usize];
        for level in 0..LEVELS as usize - 1 {
            let entry = ram.entry(path[level], PteFormat::index(level as u32, va));
            path[level + 1] = Frame::containing(self.format.decode_table(entry)?);
        }
        let last = LEVELS as usize - 1;
        let entry = ram.entry(path[last], PteFormat::index(last as u32, va));
        Some(Translation { leaf: self.format.decode_leaf(entry)?, path })
    }

    /// Translates as a core does: from the TLB if it has the page, else from the tables.
    fn translate(
        &mut self,
        ram: &Ram,
        root: Frame,
        va: u64,
        access: Access,
    ) -> Result<Option<Frame>, Violation> {
        let page = va >> PAGE_SHIFT;
        let walked = self.walk(ram, root, va);
        let cached = self.tlb.get(&root).and_then(|space| space.get(&page));
        if cached.is_some_and(|&cached| Some(cached) != walked) {
            return Err(Violation::Stale { root, va });
        }
        let Some(found) = walked else { return Ok(None) };
        self.tlb.entry(root).or_default().insert(page, found);
        let frame = Frame::containing(found.leaf.address);
        Ok(found.leaf.access.contains(access).then_some(frame))
    }

    fn first_stale(&self, ram: &Ram) -> Option<Violation> {
        self.tlb.iter().find_map(|(&root, space)| {
            space.iter().find_map(|(&page, &cached)| {
                let va = page << PAGE_SHIFT;
                let stale = self.walk(ram, root, va) != Some(cached);
                stale.then_some(Violation::Stale { root, va })
            })
        })
    }
}

impl EmulatedMemory {
    /// Reads as user code in the space of `root` does. Up to a fault, bytes are read.
    ///
    /// # Errors
    /// The page fault that the processor would raise.
    ///
    /// # Panics
    /// If the kernel broke a contract: see [`Violation`].
    pub fn load(&mut self, root: Frame, va: u64, out: &mut [u8]) -> Result<(), PageFault> {
        let mut done = 0;
        while done < out.len() {
            let (frame, offset, len) =
                self.user_part(root, va + done as u64, out.len() - done, Access::READ)?;
            out[done..done + len].copy_from_slice(self.ram.borrow().part(frame, offset, len));
            done += len;
        }
        Ok(())
    }

    /// Writes as user code does. Up to a fault, bytes are written.
    ///
    /// # Errors
    /// The page fault that the processor would raise.
    ///
    /// # Panics
    /// If the kernel broke a contract: see [`Violation`].
    pub fn store(&mut self, root: Frame, va: u64, bytes: &[u8]) -> Result<(), PageFault> {
        let mut done = 0;
        while done < bytes.len() {
            let (frame, offset, len) =
                self.user_part(root, va + done as u64, bytes.len() - done, Access::WRITE)?;
            self.ram
                .borrow_mut()
                .part_mut(frame, offset, len)
                .copy_from_slice(&bytes[done..done + len]);
            done += len;
        }
        Ok(())
    }

    /// Fetches instruction bytes as user code does.
    ///
    /// # Errors
    /// The page fault that the processor would raise.
    ///
    /// # Panics
    /// If the kernel broke a contract: see [`Violation`].
    pub fn fetch(&mut self, root: Frame, va: u64, out: &mut [u8]) -> Result<(), PageFault> {
        let mut done = 0;
        while done < out.len() {
            let (frame, offset, len) =
                self.user_part(root, va + done as u64, out.len() - done, Access::EXECUTE)?;
            let unsynced = self.ram.borrow().unsynced.contains(&frame);
            assert!(!unsynced, "{}", Violation::NotSynced { frame });
            out[done..done + len].copy_from_slice(self.ram.borrow().part(frame, offset, len));
            done += len;
        }
        Ok(())
    }

    /// The first broken contract among what is cached now, whether or not it is used again.
    #[must_use]
    pub fn violation(&self) -> Option<Violation> {
        self.mmu.first_stale(&self.ram.borrow())
    }

    /// The frame and offset of `va`, and how many of `len` bytes are in the same frame.
    fn user_part(
        &mut self,
        root: Frame,
        va: u64,
        len: usize,
        access: Access,
    ) -> Result<(Frame, usize, usize), PageFault> {
        let offset = va as usize % PAGE_SIZE;
        let translated = self.mmu.translate(&self.ram.borrow(), root, va, access);
        match translated {
            Ok(Some(frame)) => {
                self.uses(frame);
                Ok((frame, offset, len.min(PAGE_SIZE - offset)))
            }
            Ok(None) => Err(PageFault { address: va, access }),
            Err(violation) => unreachable!("{violation}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use maize_abi::Isa;
    use maize_abi::isa::{aarch64::Aarch64, x86_64::X86_64};
    use maize_hal::{FrameRange, PhysMemory, Tlb};

    use super::*;

    const ROOT: Frame = Frame(100);
    const VA: u64 = 0x40_0000;

    /// A machine with one page of frame 110 at `VA`, with `access`.
    fn machine(format: PteFormat, access: Access) -> EmulatedMemory {
        let mut memory =
            EmulatedMemory::new(format, FrameRange { start: Frame(100), end: Frame(120) });
        for frame in 100..104 {
            memory.zero_frame(Frame(frame));
        }
        memory.init_root(ROOT);
        for level in 0..3 {
            let next = format.encode_table(Frame(101 + u64::from(level)).address());
            let table = Frame(100 + u64::from(level));
            memory.write_entry(table, PteFormat::index(level, VA), next);
        }
        map(&mut memory, format, Frame(110), access);
        memory
    }

    fn map(memory: &mut EmulatedMemory, format: PteFormat, frame: Frame, access: Access) {
        let entry = format.encode_leaf(frame.address(), access);
        memory.write_entry(Frame(103), PteFormat::index(3, VA), entry);
    }

    fn both(test: impl Fn(PteFormat)) {
        test(X86_64::PTE);
        test(Aarch64::PTE);
    }

    #[test]
    fn rights_are_those_of_the_entry() {
        both(|format| {
            let mut memory = machine(format, Access::READ);
            assert_eq!(memory.load(ROOT, VA, &mut [0; 8]), Ok(()));
            let fault = memory.store(ROOT, VA + 8, &[1]);
            assert_eq!(fault, Err(PageFault { address: VA + 8, access: Access::WRITE }));
            let fault = memory.fetch(ROOT, VA, &mut [0; 4]);
            assert_eq!(fault, Err(PageFault { address: VA, access: Access::EXECUTE }));
        });
    }

    #[test]
    fn an_access_over_the_end_of_a_page_faults_at_the_next() {
        both(|format| {
            let mut memory = machine(format, Access::READ | Access::WRITE);
            let fault = memory.store(ROOT, VA + 4090, &[7; 10]);
            assert_eq!(fault, Err(PageFault { address: VA + 4096, access: Access::WRITE }));
            let mut bytes = [0; 6];
            assert_eq!(memory.load(ROOT, VA + 4090, &mut bytes), Ok(()));
            assert_eq!(bytes, [7; 6]);
        });
    }

    #[test]
    fn a_changed_entry_is_fine_after_its_flush() {
        both(|format| {
            let mut memory = machine(format, Access::READ);
            assert_eq!(memory.load(ROOT, VA, &mut [0]), Ok(()));
            map(&mut memory, format, Frame(111), Access::READ);
            assert_eq!(memory.violation(), Some(Violation::Stale { root: ROOT, va: VA }));
            memory.flush_page(ROOT, VA + 5);
            assert_eq!(memory.violation(), None);
            assert_eq!(memory.load(ROOT, VA, &mut [0]), Ok(()));
        });
    }

    #[test]
    #[should_panic(expected = "stale translation of 0x400000")]
    fn a_missing_flush_is_caught() {
        let mut memory = machine(X86_64::PTE, Access::READ);
        assert_eq!(memory.load(ROOT, VA, &mut [0]), Ok(()));
        map(&mut memory, X86_64::PTE, Frame(111), Access::READ);
        let _ = memory.load(ROOT, VA, &mut [0]);
    }

    #[test]
    #[should_panic(expected = "reused without a flush")]
    fn a_root_that_is_reused_unflushed_is_caught() {
        let mut memory = machine(Aarch64::PTE, Access::READ);
        assert_eq!(memory.load(ROOT, VA, &mut [0]), Ok(()));
        memory.zero_frame(ROOT);
        memory.init_root(ROOT);
    }

    #[test]
    #[should_panic(expected = "was not synchronised")]
    fn a_fetch_of_new_code_without_synchronisation_is_caught() {
        let mut memory = machine(Aarch64::PTE, Access::READ | Access::EXECUTE);
        memory.sync_instructions(Frame(110));
        assert_eq!(memory.fetch(ROOT, VA, &mut [0; 4]), Ok(()));
        memory.write(Frame(110), 0, &[1]);
        let _ = memory.fetch(ROOT, VA, &mut [0; 4]);
    }
}
