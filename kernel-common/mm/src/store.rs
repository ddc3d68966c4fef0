//! Objects as a file system reads and writes them.

use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access;
use maize_hal::{PhysMemory, Tlb};

use crate::object::{Found, ImageRange, PageCopy, Role};
use crate::{Memory, NeedPage, ObjectId, PageStore, StoreError};

const PAGE: u64 = PAGE_SIZE as u64;

/// The most bytes an object can hold.
const MAX_LEN: u64 = i64::MAX as u64 & !(PAGE - 1);

/// A short-lived view of [`Memory`] as a [`PageStore`].
pub struct Store<'a, H> {
    memory: &'a mut Memory,
    hw: &'a mut H,
}

impl<'a, H: PhysMemory + Tlb> Store<'a, H> {
    pub(crate) fn new(memory: &'a mut Memory, hw: &'a mut H) -> Store<'a, H> {
        Store { memory, hw }
    }

    /// The memory behind it.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        self.memory
    }

    /// The machine behind it.
    #[must_use]
    pub const fn machine(&self) -> &H {
        self.hw
    }

    /// The machine behind it, to be used.
    pub const fn machine_mut(&mut self) -> &mut H {
        self.hw
    }

    /// [`Memory::tend_heap`].
    pub fn tend_heap(&mut self) {
        self.memory.tend_heap();
    }

    /// The copy of a page that holds bytes, if it was touched.
    fn copy(&self, object: ObjectId, index: u64) -> Option<PageCopy> {
        match self.memory.objects.find(object, index) {
            Found::Here(_, copy) => Some(copy),
            _ => None,
        }
    }

    /// # Errors
    /// [`StoreError::Elsewhere`] for the first of the pages that bytes `range` are in which may not be
    /// accessed here so.
    fn check(&self, object: ObjectId, range: Range<u64>, access: Access) -> Result<(), StoreError> {
        let pages =
            if range.is_empty() { 0..0 } else { range.start / PAGE..range.end.div_ceil(PAGE) };
        for index in pages {
            let here = match self.memory.objects.find(object, index) {
                Found::Elsewhere(_) => false,
                Found::Here(_, copy) => copy.rights.contains(access),
                Found::Zero | Found::Untouched(_) | Found::PastEnd => true,
            };
            if !here {
                return Err(StoreError::Elsewhere(NeedPage { object, index, access }));
            }
        }
        Ok(())
    }

    /// As [`Self::check`] of writing the page that is cut in two by `len`, if one is.
    fn check_end(&self, object: ObjectId, len: u64) -> Result<(), StoreError> {
        let end = len.next_multiple_of(PAGE);
        self.check(object, len..end, Access::WRITE)
    }

    /// Zeroes `range` of bytes, within one page, where the page was touched.
    fn zero(&mut self, object: ObjectId, range: Range<u64>) {
        let index = range.start / PAGE;
        if let Some(copy) = self.copy(object, index) {
            let len = (range.end - range.start) as usize;
            self.hw.zero(copy.frame, (range.start % PAGE) as usize, len);
            self.memory.objects.mark_dirty(object, index);
        }
    }

    fn set_len(&mut self, object: ObjectId, len: u64) {
        if let Some(Role::File { len: old, image }) =
            self.memory.objects.get_mut(object).map(|o| &mut o.role)
        {
            *old = len;
            if let Some(image) = image {
                image.len = image.len.min(len);
            }
        }
    }

    /// Takes a file's pages from `first` on away, everywhere.
    fn cut(&mut self, object: ObjectId, first: u64) {
        // With the file's end go the private copies of what was behind it.
        let mut todo = alloc::vec![object];
        while let Some(id) = todo.pop() {
            self.memory.note_cut(id, first);
            let Some(object) = self.memory.objects.get(id) else { continue };
            todo.extend(&object.children);
            let mapped: alloc::vec::Vec<_> = object
                .mappings
                .iter()
                .filter(|&(&(_, start, _), &pages)| start + pages > first)
                .map(|(&(space, start, va), &pages)| {
                    let skipped = first.saturating_sub(start);
                    (space, va + skipped * PAGE..va + pages * PAGE)
                })
                .collect();
            for (space, range) in mapped {
                self.memory.unload_all(self.hw, space, range);
            }
            self.memory.objects.drop_pages_from(id, first);
        }
    }
}

impl<H: PhysMemory + Tlb> PageStore for Store<'_, H> {
    fn create(&mut self, len: u64) -> Result<ObjectId, StoreError> {
        if len > MAX_LEN {
            return Err(StoreError::TooLarge);
        }
        Ok(self.memory.objects.create_file(len, None))
    }

    fn create_from_image(&mut self, start: u64, len: u64) -> Result<ObjectId, StoreError> {
        let end = start.checked_add(len).ok_or(StoreError::TooLarge)?;
        if end > self.memory.image.len() || len > MAX_LEN {
            return Err(StoreError::TooLarge);
        }
        Ok(self.memory.objects.create_file(len, Some(ImageRange { start, len })))
    }

    fn len(&self, object: ObjectId) -> Result<u64, StoreError> {
        match self.memory.objects.get(object).map(|o| o.role) {
            Some(Role::File { len, .. }) => Ok(len),
            _ => Err(StoreError::NoObject),
        }
    }

    fn resident_pages(&self, object: ObjectId) -> Result<u64, StoreError> {
        self.len(object)?;
        let pages = self.memory.objects.get(object).map_or(0, |o| o.pages.len());
        Ok(pages as u64)
    }

    fn read(&mut self, object: ObjectId, at: u64, out: &mut [u8]) -> Result<usize, StoreError> {
        let len = self.len(object)?;
        let count = len.saturating_sub(at).min(out.len() as u64) as usize;
        self.check(object, at..at.saturating_add(count as u64), Access::READ)?;
        let mut done = 0;
        while done < count {
            let from = at + done as u64;
            let offset = (from % PAGE) as usize;
            let part = (PAGE_SIZE - offset).min(count - done);
            let out = &mut out[done..done + part];
            match self.copy(object, from / PAGE) {
                Some(copy) => self.hw.read(copy.frame, offset, out),
                None => self.memory.read_untouched(object, from, out),
            }
            done += part;
        }
        Ok(count)
    }

    fn write(&mut self, object: ObjectId, at: u64, bytes: &[u8]) -> Result<usize, StoreError> {
        let len = self.len(object)?;
        let end = at.checked_add(bytes.len() as u64).filter(|&end| end <= MAX_LEN);
        let end = end.ok_or(StoreError::TooLarge)?;
        self.check(object, at..end, Access::WRITE)?;
        if end > len {
            self.truncate(object, end)?;
        }
        let mut done = 0;
        while done < bytes.len() {
            let to = at + done as u64;
            let (index, offset) = (to / PAGE, (to % PAGE) as usize);
            let part = (PAGE_SIZE - offset).min(bytes.len() - done);
            let copy = match self.copy(object, index) {
                Some(copy) => copy,
                None if part == PAGE_SIZE => match self.memory.take_frame(self.hw) {
                    Ok(frame) => {
                        let copy = PageCopy { frame, rights: Access::all(), dirty: true };
                        self.memory.objects.put(object, index, copy);
                        copy
                    }
                    Err(_) => break,
                },
                None => match self.memory.fill(self.hw, object, index) {
                    Ok(copy) => copy,
                    Err(_) => break,
                },
            };
            self.hw.write(copy.frame, offset, &bytes[done..done + part]);
            self.memory.objects.mark_dirty(object, index);
            done += part;
        }
        if done < bytes.len() && end > len {
            self.truncate(object, len.max(at + done as u64))?;
        }
        if done == 0 && !bytes.is_empty() { Err(StoreError::OutOfMemory) } else { Ok(done) }
    }

    fn truncate(&mut self, object: ObjectId, len: u64) -> Result<(), StoreError> {
        let old = self.len(object)?;
        if len > MAX_LEN {
            return Err(StoreError::TooLarge);
        }
        self.check_end(object, len.min(old))?;
        if len < old {
            if !len.is_multiple_of(PAGE) {
                // The last page that stays is brought in, since the image has bytes for all of it.
                if self.copy(object, len / PAGE).is_none() && self.memory.is_imaged(object) {
                    self.memory
                        .fill(self.hw, object, len / PAGE)
                        .map_err(|_| StoreError::OutOfMemory)?;
                }
                self.zero(object, len..len.next_multiple_of(PAGE));
            }
            self.set_len(object, len);
            self.cut(object, len.div_ceil(PAGE));
        } else {
            // A program may have stored behind the end of a page that it maps.
            if !old.is_multiple_of(PAGE) {
                self.zero(object, old..old.next_multiple_of(PAGE).min(len));
            }
            self.set_len(object, len);
        }
        Ok(())
    }

    fn retain(&mut self, object: ObjectId) -> Result<(), StoreError> {
        if self.memory.objects.retain(object) { Ok(()) } else { Err(StoreError::NoObject) }
    }

    fn release(&mut self, object: ObjectId) {
        self.memory.objects.release(object);
    }
}
