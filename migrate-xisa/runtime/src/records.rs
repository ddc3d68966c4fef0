//! A thread's records in memory, while they are saved.
//!
//! Pads save the innermost frame first, but the records are a stack whose top is the innermost: what
//! one move saves is turned around once all of it is there.
//!
//! Soundness: the thread block and the records are the thread's own memory, and nobody else looks at
//! them while it saves; sizes come from pads that the compiler made and are held against the room.

use maize_xisa_metadata::record;

/// What lies at the thread pointer: see `maize_xisa_metadata::address::thread_block`.
#[derive(Debug)]
#[repr(C)]
pub struct ThreadBlock {
    /// Its own address.
    pub this: u64,
    /// Top of the data stack.
    pub data_stack: u64,
    /// The innermost record that has not been entered, or zero.
    pub record_head: u64,
    /// First free byte above the records.
    pub record_top: u64,
    /// End of what is being saved, while something is; else zero.
    pub saving: u64,
    /// First byte that records must not reach.
    pub record_limit: u64,
    /// First byte of the records' memory.
    pub record_base: u64,
    /// The runtime's memory for this thread, zero for the first.
    pub native: u64,
}

const _: () =
    assert!(size_of::<ThreadBlock>() == maize_xisa_metadata::address::thread_block::BYTES as usize);

/// There is no room for another record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl ThreadBlock {
    /// Begins a record and gives its address.
    ///
    /// # Errors
    /// [`Full`] if there is no room for it, twice: turning around takes as much again.
    ///
    /// # Safety
    /// From `record_base` to `record_limit` there is memory of this thread alone.
    pub unsafe fn begin_record(&mut self, site: u32, bytes: u32) -> Result<u64, Full> {
        let start = if self.saving == 0 { self.record_top } else { self.saving };
        let end = start + u64::from(bytes);
        if end + (end - self.record_top) > self.record_limit || bytes < record::HEADER_BYTES {
            return Err(Full);
        }
        self.saving = end;
        let at = start as *mut u8;
        // SAFETY: the header lies in memory of the caller's promise.
        unsafe {
            at.add(record::PARENT).cast::<u64>().write(0);
            at.add(record::SITE).cast::<u32>().write(site);
            at.add(record::SIZE).cast::<u32>().write(bytes);
        }
        Ok(start)
    }

    /// Turns what was saved around and puts it on top of the records.
    ///
    /// # Safety
    /// As for [`Self::begin_record`], which made everything from the top on.
    pub unsafe fn finish(&mut self) {
        if self.saving == 0 {
            return;
        }
        let bytes = self.saving - self.record_top;
        let (mut from, mut to) = (self.record_top, self.saving + bytes);
        let mut inner: *mut u64 = &mut self.record_head;
        let old_head = self.record_head;
        while from < self.saving {
            // SAFETY: each record says its own size; the copies end where `begin_record` left room.
            unsafe {
                let size = u64::from((from as *const u8).add(record::SIZE).cast::<u32>().read());
                to -= size;
                core::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, size as usize);
                inner.write(to - bytes);
                inner = (to as *mut u8).add(record::PARENT).cast();
                from += size;
            }
        }
        // SAFETY: `inner` is the outermost record's field, or the head if nothing was saved.
        unsafe {
            inner.write(old_head);
            let (reversed, top) = (self.saving as *const u8, self.record_top as *mut u8);
            core::ptr::copy_nonoverlapping(reversed, top, bytes as usize);
        }
        self.record_top += bytes;
        self.saving = 0;
    }

    /// Takes the innermost record off, if there is one: its address and its site. Its bytes stay
    /// until the next record is begun.
    ///
    /// # Safety
    /// The head is zero or a record that [`Self::finish`] left, or that came from another instance.
    pub unsafe fn pop(&mut self) -> Option<(u64, u32)> {
        let head = self.record_head;
        if head == 0 {
            return None;
        }
        // SAFETY: the caller's promise.
        let (parent, site) = unsafe {
            let at = head as *const u8;
            let site = at.add(record::SITE).cast::<u32>().read();
            (at.add(record::PARENT).cast::<u64>().read(), site)
        };
        self.record_head = parent;
        self.record_top = head;
        Some((head, site))
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn records_come_off_innermost_first_over_two_moves() {
        let mut memory = vec![0_u128; 64];
        let base = memory.as_mut_ptr() as u64;
        let mut block = ThreadBlock {
            this: 0,
            data_stack: 0,
            record_head: 0,
            record_top: base,
            saving: 0,
            record_limit: base + 1024,
            record_base: base,
            native: 0,
        };
        // SAFETY: the memory is the vector's, and lives until the end.
        unsafe {
            for (site, bytes) in [(3, 32), (2, 32), (1, 32)] {
                let at = block.begin_record(site, bytes).unwrap();
                (at as *mut u8).add(bytes as usize - 1).write(site as u8);
            }
            block.finish();
            assert_eq!(block.record_top, base + 96);
            assert_eq!(block.pop(), Some((base + 64, 3)));
            assert_eq!(((base + 95) as *const u8).read(), 3);
            for site in [5, 4] {
                block.begin_record(site, 16).unwrap();
            }
            block.finish();
            let sites = [(); 5].map(|()| block.pop().map(|(_, site)| site));
            assert_eq!(sites, [Some(5), Some(4), Some(2), Some(1), None]);
            assert_eq!((block.record_top, block.record_head), (base, 0));
            assert_eq!(block.begin_record(1, 528), Err(Full));
        }
    }
}
