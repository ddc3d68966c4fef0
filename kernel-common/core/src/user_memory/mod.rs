//! The one door to user memory.
//!
//! The kernel never follows a user pointer: it looks the address up in the program's space as the
//! processor would, obtains the page, and copies through the machine's view of physical memory. A
//! page may be on another instance, so every access can wait.

mod results;

use maize_abi::pte::Access;
use maize_abi::{Errno, PAGE_SIZE};
use maize_hal::{Arch, Frame};
use maize_mm::{FaultError, FaultOutcome, NeedPage, ObjectId, Resolved, Sharing, SpaceId};

use crate::futex::FutexKey;
use crate::handle::Handle;
use crate::lifecycle::finish_steps;
use crate::state::State;
use crate::thread::Current;

pub(crate) use results::UserRange;

/// Bytes copied between two turns of the rest of the kernel.
const COPY_STEP: usize = 256 * 1024;

/// What one step has found.
enum Step<T> {
    Done(T),
    Need(NeedPage),
}

impl<A: Arch> State<A> {
    /// Where a byte of user memory is, if it is here.
    fn locate(
        &mut self,
        space: SpaceId,
        va: u64,
        access: Access,
    ) -> Result<Step<(Frame, usize)>, Errno> {
        match self.memory.resolve(&mut self.arch, space, va, access) {
            Ok(Resolved::At(frame, offset)) => Ok(Step::Done((frame, offset))),
            Ok(Resolved::NeedPage(need)) => Ok(Step::Need(need)),
            Err(FaultError::OutOfMemory) => Err(Errno::ENOMEM),
            Err(_) => Err(Errno::EFAULT),
        }
    }

    /// Copies what is here into `out`; returns how much, and what is missing for the rest.
    fn copy_in(
        &mut self,
        space: SpaceId,
        va: u64,
        out: &mut [u8],
    ) -> Result<(usize, Option<NeedPage>), Errno> {
        let mut done = 0;
        while done < out.len().min(COPY_STEP) {
            let at = va.checked_add(done as u64).ok_or(Errno::EFAULT)?;
            let (frame, offset) = match self.locate(space, at, Access::READ)? {
                Step::Done(place) => place,
                Step::Need(need) => return Ok((done, Some(need))),
            };
            let len = (PAGE_SIZE - offset).min(out.len() - done);
            self.arch.read(frame, offset, &mut out[done..done + len]);
            done += len;
        }
        Ok((done, None))
    }

    fn copy_out(
        &mut self,
        space: SpaceId,
        va: u64,
        bytes: &[u8],
    ) -> Result<(usize, Option<NeedPage>), Errno> {
        let mut done = 0;
        while done < bytes.len().min(COPY_STEP) {
            let at = va.checked_add(done as u64).ok_or(Errno::EFAULT)?;
            let (frame, offset) = match self.locate(space, at, Access::WRITE)? {
                Step::Done(place) => place,
                Step::Need(need) => return Ok((done, Some(need))),
            };
            let len = (PAGE_SIZE - offset).min(bytes.len() - done);
            self.arch.write(frame, offset, &bytes[done..done + len]);
            done += len;
        }
        Ok((done, None))
    }

    /// The aligned word at `va` if its page is here, without waiting.
    pub(crate) fn peek_u32(&mut self, current: Current, va: u64) -> Option<u32> {
        let space = self.thread_space(current.tid)?;
        match self.locate(space, va, Access::READ) {
            Ok(Step::Done((frame, offset))) if va.is_multiple_of(4) => {
                let mut word = [0; 4];
                self.arch.read(frame, offset, &mut word);
                Some(u32::from_le_bytes(word))
            }
            _ => None,
        }
    }

    /// The first page of a range whose area is not known, or not known to allow the access.
    fn first_unknown(&self, space: SpaceId, va: u64, len: u64, access: Access) -> Option<u64> {
        let page = PAGE_SIZE as u64;
        let end = va.checked_add(len)?;
        let mut at = va;
        while at < end {
            let area = self.memory.area(space, at);
            let area = area.filter(|area| area.effective().contains(access));
            match area {
                // No further than there are areas.
                Some(area) => at = area.end,
                None => return Some(at & !(page - 1)),
            }
        }
        None
    }

    /// The object and byte offset behind `va` if stores there are shared.
    fn shared_location(&self, space: SpaceId, va: u64) -> Option<(ObjectId, u64)> {
        let area = self.memory.area(space, va)?;
        let at = area.index(va) * PAGE_SIZE as u64 + va % PAGE_SIZE as u64;
        (area.sharing == Sharing::Shared).then_some((area.object, at))
    }

    fn first_missing(
        &mut self,
        space: SpaceId,
        va: u64,
        len: u64,
        access: Access,
    ) -> Result<Option<NeedPage>, Errno> {
        let end = va.checked_add(len).ok_or(Errno::EFAULT)?;
        let mut at = va;
        while at < end {
            if let Step::Need(need) = self.locate(space, at, access)? {
                return Ok(Some(need));
            }
            at = (at & !(PAGE_SIZE as u64 - 1)) + PAGE_SIZE as u64;
        }
        Ok(None)
    }
}

impl<A: Arch> Handle<A> {
    fn space_of(&self, current: Current) -> Result<SpaceId, Errno> {
        self.with(|s| s.thread_space(current.tid)).ok_or(Errno::EFAULT)
    }

    /// Makes a page accessible after a fault of user code.
    ///
    /// # Errors
    /// Why the program may not access it.
    pub(crate) async fn resolve_fault(
        &self,
        current: Current,
        va: u64,
        access: Access,
    ) -> Result<(), FaultError> {
        loop {
            let space = self.with(|s| s.thread_space(current.tid)).ok_or(FaultError::NoMapping)?;
            let (outcome, settled) = self.with(|s| {
                let settled = s.memory.is_settled(space);
                (s.memory.fault(&mut s.arch, space, va, access), settled)
            });
            match outcome {
                Ok(FaultOutcome::Done) => return Ok(()),
                Ok(FaultOutcome::NeedPage(need)) => {
                    self.with(|s| s.bound_prefetch(space, va, need));
                    self.obtain(current, need).await?;
                }
                // Another thread's operation is under way, and may be about to map the place.
                Err(FaultError::NoMapping | FaultError::Denied) if !settled => {
                    let _ = finish_steps(self, current, space).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What an access to a range has found. `None` if it is to be tried again: in a replica of a space
    /// an area may be there that this instance has not heard of.
    async fn known<T>(
        &self,
        current: Current,
        found: Result<T, Errno>,
        va: u64,
        len: u64,
        access: Access,
    ) -> Result<Option<T>, Errno> {
        let error = match found {
            Ok(found) => return Ok(Some(found)),
            Err(error) => error,
        };
        let unknown = self.with(|s| {
            let guest = s.threads.get(&current.tid)?.guest?;
            Some((guest.key, s.first_unknown(guest.space, va, len, access)?))
        });
        let Some((key, at)) = unknown.filter(|_| error == Errno::EFAULT) else { return Err(error) };
        match self.fetch_area(current, key, at, access).await {
            Ok(()) => Ok(None),
            Err(_) => Err(error),
        }
    }

    async fn need(&self, current: Current, need: NeedPage) -> Result<(), Errno> {
        self.obtain(current, need).await.map_err(|_| Errno::EFAULT)
    }

    /// Copies from the caller's memory at `va`.
    ///
    /// # Errors
    /// `EFAULT`; part of `out` may have been filled.
    pub(crate) async fn read_user(
        &self,
        current: Current,
        va: u64,
        out: &mut [u8],
    ) -> Result<(), Errno> {
        let space = self.space_of(current)?;
        let mut done = 0;
        while done < out.len() {
            let at = va.checked_add(done as u64).ok_or(Errno::EFAULT)?;
            let copied = self.with(|s| s.copy_in(space, at, &mut out[done..]));
            let rest = (out.len() - done) as u64;
            let Some((n, missing)) = self.known(current, copied, at, rest, Access::READ).await?
            else {
                continue;
            };
            done += n;
            match missing {
                Some(need) => self.need(current, need).await?,
                None if done < out.len() => self.yield_now(current.task).await,
                None => {}
            }
        }
        Ok(())
    }

    /// Copies to the caller's memory at `va`.
    ///
    /// # Errors
    /// `EFAULT`; part of the range may have been written.
    pub(crate) async fn write_user(
        &self,
        current: Current,
        va: u64,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        let space = self.space_of(current)?;
        self.write_space(current, space, va, bytes).await
    }

    /// As [`Self::write_user`], for a space that is not yet the caller's.
    pub(crate) async fn write_space(
        &self,
        current: Current,
        space: SpaceId,
        va: u64,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        let mut done = 0;
        while done < bytes.len() {
            let at = va.checked_add(done as u64).ok_or(Errno::EFAULT)?;
            let copied = self.with(|s| s.copy_out(space, at, &bytes[done..]));
            let rest = (bytes.len() - done) as u64;
            let Some((n, missing)) = self.known(current, copied, at, rest, Access::WRITE).await?
            else {
                continue;
            };
            done += n;
            match missing {
                Some(need) => self.need(current, need).await?,
                None if done < bytes.len() => self.yield_now(current.task).await,
                None => {}
            }
        }
        Ok(())
    }

    /// Reads `N` 8-byte words.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(crate) async fn read_words<const N: usize>(
        &self,
        current: Current,
        va: u64,
    ) -> Result<[u64; N], Errno> {
        let mut bytes = [[0; 8]; N];
        self.read_user(current, va, bytes.as_flattened_mut()).await?;
        Ok(bytes.map(u64::from_le_bytes))
    }

    /// Reads an aligned 4-byte word.
    ///
    /// # Errors
    /// `EINVAL` if it is not aligned, `EFAULT`.
    pub(crate) async fn read_u32(&self, current: Current, va: u64) -> Result<u32, Errno> {
        if !va.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; 4];
        self.read_user(current, va, &mut bytes).await?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Replaces an aligned word if it is `old`, atomically with user code; returns what it was.
    ///
    /// # Errors
    /// `EINVAL` if it is not aligned, `EFAULT`.
    pub(crate) async fn compare_exchange_u32(
        &self,
        current: Current,
        va: u64,
        old: u32,
        new: u32,
    ) -> Result<u32, Errno> {
        if !va.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let space = self.space_of(current)?;
        loop {
            let step = self.with(|s| {
                Ok::<_, Errno>(match s.locate(space, va, Access::WRITE)? {
                    Step::Done((frame, offset)) => {
                        Step::Done(s.arch.compare_exchange_u32(frame, offset, old, new))
                    }
                    Step::Need(need) => Step::Need(need),
                })
            })?;
            match step {
                Step::Done(found) => return Ok(found),
                Step::Need(need) => self.need(current, need).await?,
            }
        }
    }

    /// Reads a zero-ended string into `out`; returns its length. A longer string is cut.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(crate) async fn read_user_string(
        &self,
        current: Current,
        va: u64,
        out: &mut [u8],
    ) -> Result<usize, Errno> {
        let mut done = 0;
        while done < out.len() {
            let at = va.checked_add(done as u64).ok_or(Errno::EFAULT)?;
            // Never past a page's end: what follows the string need not be mapped.
            let in_page = PAGE_SIZE - (at % PAGE_SIZE as u64) as usize;
            let end = out.len().min(done + in_page);
            self.read_user(current, at, &mut out[done..end]).await?;
            if let Some(zero) = out[done..end].iter().position(|b| *b == 0) {
                return Ok(done + zero);
            }
            done = end;
        }
        Ok(done)
    }

    /// Reads a path.
    ///
    /// # Errors
    /// `EFAULT`, `ENAMETOOLONG`.
    pub(crate) async fn read_path(
        &self,
        current: Current,
        va: u64,
    ) -> Result<alloc::vec::Vec<u8>, Errno> {
        let mut path = alloc::vec![0; maize_abi::file::PATH_MAX];
        let len = self.read_user_string(current, va, &mut path).await?;
        if len == path.len() {
            return Err(Errno::ENAMETOOLONG);
        }
        path.truncate(len);
        Ok(path)
    }

    /// What a futex at `va` is called.
    ///
    /// # Errors
    /// `EINVAL` if it is not aligned, `EFAULT`.
    pub(crate) async fn futex_key(
        &self,
        current: Current,
        va: u64,
        private: bool,
    ) -> Result<FutexKey, Errno> {
        if !va.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let space = self.space_of(current)?;
        if private {
            if va >= self.with(|s| s.user_end()) {
                return Err(Errno::EFAULT);
            }
            return Ok(FutexKey::Private(space, va));
        }
        // The word must be there for its object to be known.
        self.read_u32(current, va).await?;
        let shared = self.with(|s| s.shared_location(space, va));
        Ok(shared.map_or(FutexKey::Private(space, va), |(object, at)| FutexKey::Shared(object, at)))
    }
}
