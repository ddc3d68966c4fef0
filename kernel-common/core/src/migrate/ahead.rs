//! Pages that a thread needs first on the instruction set that it has come to.
//!
//! It is going to write its block, what it keeps below its records, the pages above and below its
//! innermost record, and the top of its data stack, one after the other. They are asked for together,
//! and nothing of the thread runs before they are there: what it needs later it asks for itself.

use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access;
use maize_hal::Arch;
use maize_mm::{FaultError, NeedPage, Resolved};

use crate::handle::Handle;
use crate::ids::Tid;
use crate::state::State;
use crate::thread::Current;

/// Most pages that are asked for.
pub(crate) const MOST: usize = 8;

/// Most of them with records: the rest is needed only when the frames above have returned.
const RECORD_PAGES: usize = 4;

/// Bytes of the data stack that it is likely to use first: of what it calls, and of its own frame.
const STACK_BELOW: u64 = 1024;
/// As above.
const STACK_ABOVE: u64 = 2048;

/// The pages of a thread with this block, these records and this top of its data stack.
pub(super) fn pages(block: u64, records: Range<u64>, stack: u64) -> Vec<u64> {
    let page = PAGE_SIZE as u64;
    let of = |address: u64| address & !(page - 1);
    let mut pages = Vec::new();
    let kept = records.start.checked_sub(1);
    // The first free byte is written too.
    let innermost = (0..RECORD_PAGES as u64)
        .map_while(|below| of(records.end).checked_sub(below * page))
        .take_while(|at| *at >= of(records.start));
    let locals = [stack.checked_sub(STACK_BELOW), stack.checked_add(STACK_ABOVE)];
    let first = [Some(block), kept].into_iter().flatten().map(of);
    let locals = locals.into_iter().flatten().map(of);
    for address in first.chain(innermost).chain(locals) {
        if address != 0 && !pages.contains(&address) {
            pages.push(address);
        }
    }
    pages
}

impl<A: Arch> State<A> {
    /// Looks a page up that is going to be written, and asks for it if it is elsewhere.
    fn ask_ahead(&mut self, tid: Tid, address: u64) -> Result<Option<NeedPage>, FaultError> {
        let space = self.thread_space(tid).ok_or(FaultError::NoMapping)?;
        match self.memory.resolve(&mut self.arch, space, address, Access::WRITE)? {
            Resolved::At(..) => Ok(None),
            Resolved::NeedPage(need) => {
                self.request_page(need)?;
                Ok(Some(need))
            }
        }
    }
}

impl<A: Arch> Handle<A> {
    /// Gets the pages that a thread needs first, if it has just come from another instruction set.
    /// What cannot be had is met again when the thread needs it.
    pub(crate) async fn bring_ahead(&self, current: Current) {
        let pages = self.with(|s| {
            let thread = s.threads.get_mut(&current.tid);
            thread.map(|thread| core::mem::take(&mut thread.ahead)).unwrap_or_default()
        });
        let mut needed = Vec::new();
        for address in pages {
            let mut asked = self.with(|s| s.ask_ahead(current.tid, address));
            if asked == Err(FaultError::NoMapping)
                && let Some(guest) = self.with(|s| s.threads.get(&current.tid)?.guest)
                && self.fetch_area(current, guest.key, address, Access::WRITE).await.is_ok()
            {
                asked = self.with(|s| s.ask_ahead(current.tid, address));
            }
            if let Ok(Some(need)) = asked {
                needed.push((address, need));
            }
        }
        for (address, need) in needed {
            if self.obtain(current, need).await.is_ok() {
                // It is there: the thread need not trap for it.
                let _ = self.with(|s| s.ask_ahead(current.tid, address));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_the_thread_s_innermost() {
        let found = pages(0x7010, 0x10_0000..0x10_0900, 0x9ff0);
        assert_eq!(found, [0x7000, 0xf_f000, 0x10_0000, 0x9000, 0xa000]);
        let found = pages(0x9010, 0x10_0000..0x11_0000, 0x8000);
        let records = [0x11_0000, 0x10_f000, 0x10_e000, 0x10_d000];
        assert_eq!(found[..2], [0x9000, 0xf_f000]);
        assert_eq!(found[2..6], records);
        assert_eq!(found[6..], [0x7000, 0x8000]);
    }

    #[test]
    fn whatever_is_asked_for_they_are_few() {
        for address in [0, 1, 0xfff, 0x1000, u64::MAX - 1, u64::MAX] {
            for other in [0, 0x1000, u64::MAX] {
                let found = pages(address, other..address, other);
                assert!(found.len() <= MOST, "{found:x?}");
                assert!(found.iter().all(|page| page % PAGE_SIZE as u64 == 0));
                assert!(pages(other, address..other, address).len() <= MOST);
            }
        }
    }
}
