//! The pieces of user memory that a read or write is about.

use alloc::vec;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::{IOV_MAX, MAX_RW_COUNT};
use maize_hal::Arch;

use super::super::Call;
use crate::state::State;
use crate::thread::Current;

/// Bytes that are read or written in one step.
pub(super) const STEP: usize = 64 * 1024;

/// Bytes of a page.
const PAGE: u64 = maize_abi::PAGE_SIZE as u64;

fn check_range<A: Arch>(call: Call<'_, A>, address: u64, len: u64) -> Result<(), Errno> {
    let end = address.checked_add(len).ok_or(Errno::EFAULT)?;
    if end > call.k.with(|s| s.user_end()) { Err(Errno::EFAULT) } else { Ok(()) }
}

/// Pieces of user memory, used up from the front.
#[derive(Clone, Debug)]
pub(super) struct Segments {
    /// Address and length of each.
    pieces: Vec<(u64, u64)>,
    /// The piece that is in use, and how much of it is used up.
    at: (usize, u64),
    left: u64,
}

impl Segments {
    /// One piece.
    ///
    /// # Errors
    /// `EFAULT` if it reaches out of user space, however little of it would be used.
    pub(super) fn one<A: Arch>(
        call: Call<'_, A>,
        address: u64,
        len: u64,
    ) -> Result<Segments, Errno> {
        check_range(call, address, len)?;
        let len = len.min(MAX_RW_COUNT);
        Ok(Segments { pieces: vec![(address, len)], at: (0, 0), left: len })
    }

    /// The pieces of a `struct iovec` array.
    ///
    /// # Errors
    /// `EINVAL` for too many or too long pieces, `EFAULT`.
    pub(super) async fn read<A: Arch>(
        call: Call<'_, A>,
        array: u64,
        count: u64,
    ) -> Result<Segments, Errno> {
        if count > IOV_MAX {
            return Err(Errno::EINVAL);
        }
        let mut bytes = vec![0; 16 * count as usize];
        call.k.read_user(call.current, array, &mut bytes).await?;
        let (words, _) = bytes.as_chunks::<8>();
        let (mut pieces, mut left) = (Vec::with_capacity(count as usize), 0);
        for pair in words.chunks_exact(2) {
            let (address, len) = (u64::from_le_bytes(pair[0]), u64::from_le_bytes(pair[1]));
            if i64::try_from(len).is_err() {
                return Err(Errno::EINVAL);
            }
            check_range(call, address, len)?;
            let len = len.min(MAX_RW_COUNT - left);
            left += len;
            pieces.push((address, len));
        }
        Ok(Segments { pieces, at: (0, 0), left })
    }

    /// Bytes that are not used up.
    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    /// Leaves out all but the next `len` bytes.
    pub(super) fn truncate(&mut self, len: u64) {
        self.left = self.left.min(len);
    }

    /// The next `count` bytes as addresses and lengths.
    fn next(&self, count: usize) -> impl Iterator<Item = (u64, usize)> + '_ {
        let (first, used) = self.at;
        let mut count = count as u64;
        let pieces = self.pieces.iter().skip(first).enumerate();
        pieces
            .map(move |(n, (address, len))| {
                let used = if n == 0 { used } else { 0 };
                let part = (len - used).min(count);
                count -= part;
                (address.wrapping_add(used), part as usize)
            })
            .filter(|(_, len)| *len > 0)
    }

    /// Uses up `count` bytes.
    pub(super) fn advance(&mut self, count: usize) {
        let mut count = (count as u64).min(self.left);
        self.left -= count;
        while let Some((_, len)) = self.pieces.get(self.at.0) {
            let part = (len - self.at.1).min(count);
            self.at.1 += part;
            count -= part;
            if self.at.1 < *len {
                break;
            }
            self.at = (self.at.0 + 1, 0);
        }
    }

    /// Makes the next `count` bytes ready to be written to and returns how many are: fewer if the
    /// pages after them cannot be.
    ///
    /// # Errors
    /// `EFAULT` if none can.
    pub(super) async fn hold<A: Arch>(
        &self,
        call: Call<'_, A>,
        count: usize,
    ) -> Result<usize, Errno> {
        let mut held = 0;
        'pieces: for (address, len) in self.next(count) {
            if call.k.hold_writable(call.current, address, len as u64).await.is_ok() {
                held += len;
                continue;
            }
            // Part of the piece cannot be written: what lies before that can.
            let mut done = 0;
            while done < len {
                let at = address.wrapping_add(done as u64);
                let part = ((PAGE - at % PAGE) as usize).min(len - done);
                if call.k.hold_writable(call.current, at, part as u64).await.is_err() {
                    break 'pieces;
                }
                (done, held) = (done + part, held + part);
            }
        }
        if held == 0 && count > 0 { Err(Errno::EFAULT) } else { Ok(held) }
    }

    /// Whether the next `count` bytes, which were made ready, still are.
    pub(super) fn are_ready<A: Arch>(
        &self,
        s: &mut State<A>,
        current: Current,
        count: usize,
    ) -> Result<bool, Errno> {
        for (address, len) in self.next(count) {
            if !s.is_writable_now(current, address, len as u64)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes `bytes` to the next bytes, which [`Self::are_ready`] in this step, and uses them up.
    pub(super) fn put<A: Arch>(
        &mut self,
        s: &mut State<A>,
        current: Current,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        let mut rest = bytes;
        for (address, len) in self.next(bytes.len()) {
            let (part, others) = rest.split_at(len);
            s.write_now(current, address, part)?;
            rest = others;
        }
        self.advance(bytes.len());
        Ok(())
    }

    /// Reads the next bytes into `out` and returns how many could be.
    ///
    /// # Errors
    /// `EFAULT` if none can.
    pub(super) async fn get<A: Arch>(
        &self,
        call: Call<'_, A>,
        out: &mut [u8],
    ) -> Result<usize, Errno> {
        let mut got = 0;
        'pieces: for (address, len) in self.next(out.len()) {
            let piece = &mut out[got..got + len];
            if call.k.read_user(call.current, address, piece).await.is_ok() {
                got += len;
                continue;
            }
            let mut done = 0;
            while done < len {
                let at = address.wrapping_add(done as u64);
                let part = ((PAGE - at % PAGE) as usize).min(len - done);
                let piece = &mut out[got..got + part];
                if call.k.read_user(call.current, at, piece).await.is_err() {
                    break 'pieces;
                }
                (done, got) = (done + part, got + part);
            }
        }
        if got == 0 && !out.is_empty() { Err(Errno::EFAULT) } else { Ok(got) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_used_up_in_order() {
        let mut segments =
            Segments { pieces: vec![(100, 3), (7, 0), (200, 5)], at: (0, 0), left: 8 };
        let next = |s: &Segments, n| s.next(n).collect::<Vec<_>>();
        assert_eq!(next(&segments, 8), [(100, 3), (200, 5)]);
        assert_eq!(next(&segments, 4), [(100, 3), (200, 1)]);
        segments.advance(2);
        assert_eq!(next(&segments, 100), [(102, 1), (200, 5)]);
        segments.advance(3);
        assert_eq!((segments.left(), next(&segments, 2)), (3, vec![(202, 2)]));
        segments.advance(100);
        assert_eq!((segments.left(), next(&segments, 2)), (0, vec![]));
    }
}
