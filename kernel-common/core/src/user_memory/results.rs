//! Places for results.
//!
//! A call whose effect cannot be taken back first makes the places ready that its results go to. The
//! step that has the effect looks again, and writes without waiting.

use maize_abi::Errno;
use maize_abi::pte::Access;
use maize_hal::Arch;
use maize_mm::SpaceId;

use crate::handle::Handle;
use crate::state::State;
use crate::thread::Current;

/// A range of user memory: its first byte, its length.
pub(crate) type UserRange = (u64, u64);

impl<A: Arch> State<A> {
    /// Writes `bytes` if every page of the range is here and may be written, without waiting.
    /// For the export of a call whose range was held by [`Handle::hold_writable`] in this step.
    pub(crate) fn try_write(
        &mut self,
        space: SpaceId,
        va: u64,
        bytes: &[u8],
    ) -> Result<bool, Errno> {
        if let Some(_need) = self.first_missing(space, va, bytes.len() as u64, Access::WRITE)? {
            return Ok(false);
        }
        let mut done = 0;
        while done < bytes.len() {
            let (n, _) = self.copy_out(space, va + done as u64, &bytes[done..])?;
            done += n;
        }
        Ok(true)
    }

    /// Whether every page of a range is here and may be written in this step. It is not if the home of
    /// the space has to be asked first what is there, as [`Handle::hold_writable`] does.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(crate) fn is_writable_now(
        &mut self,
        current: Current,
        va: u64,
        len: u64,
    ) -> Result<bool, Errno> {
        let space = self.thread_space(current.tid).ok_or(Errno::EFAULT)?;
        match self.first_missing(space, va, len, Access::WRITE) {
            Ok(missing) => Ok(missing.is_none()),
            Err(errno) => {
                let guest = self.threads.get(&current.tid).is_some_and(|t| t.guest.is_some());
                let unknown = guest
                    && errno == Errno::EFAULT
                    && self.first_unknown(space, va, len, Access::WRITE).is_some();
                if unknown { Ok(false) } else { Err(errno) }
            }
        }
    }

    /// Whether all ranges are.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(crate) fn are_writable_now(
        &mut self,
        current: Current,
        ranges: &[UserRange],
    ) -> Result<bool, Errno> {
        for (va, len) in ranges {
            if !self.is_writable_now(current, *va, *len)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes to a range that [`Self::is_writable_now`].
    ///
    /// # Errors
    /// `EFAULT`.
    pub(crate) fn write_now(
        &mut self,
        current: Current,
        va: u64,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        let space = self.thread_space(current.tid).ok_or(Errno::EFAULT)?;
        let whole = self.try_write(space, va, bytes)?;
        if whole { Ok(()) } else { Err(Errno::EFAULT) }
    }
}

impl<A: Arch> Handle<A> {
    /// Makes every page of a range writable for the kernel in this step, so that results can be
    /// exported there without waiting after an effect.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(crate) async fn hold_writable(
        &self,
        current: Current,
        va: u64,
        len: u64,
    ) -> Result<(), Errno> {
        let space = self.space_of(current)?;
        loop {
            let missing = self.with(|s| s.first_missing(space, va, len, Access::WRITE));
            match self.known(current, missing, va, len, Access::WRITE).await? {
                Some(Some(need)) => self.need(current, need).await?,
                Some(None) => return Ok(()),
                None => {}
            }
        }
    }

    /// Makes ranges ready to be written to, as [`Self::hold_writable`] does one.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(crate) async fn hold_all_writable(
        &self,
        current: Current,
        ranges: &[UserRange],
    ) -> Result<(), Errno> {
        for (va, len) in ranges {
            self.hold_writable(current, *va, *len).await?;
        }
        Ok(())
    }

    /// Runs an effect once ranges are writable, which it then writes to by
    /// [`State::write_now`]: what it does is done only if its results can be exported.
    ///
    /// # Errors
    /// `EFAULT`, and the effect's.
    pub(crate) async fn with_writable<T, const N: usize>(
        &self,
        current: Current,
        ranges: [UserRange; N],
        mut effect: impl FnMut(&mut State<A>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        loop {
            self.hold_all_writable(current, &ranges).await?;
            let done = self.with(|s| match s.are_writable_now(current, &ranges)? {
                true => effect(s).map(Some),
                false => Ok(None),
            })?;
            if let Some(result) = done {
                return Ok(result);
            }
        }
    }
}
