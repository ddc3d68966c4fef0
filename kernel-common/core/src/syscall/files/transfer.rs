//! Copies from file to file: `sendfile`, `copy_file_range`.

use alloc::vec;

use maize_abi::Errno;
use maize_abi::file::{MAX_RW_COUNT, s};
use maize_hal::Arch;
use maize_vfs::{FileId, Place, Stop, Target};

use super::super::{Call, CallResult};
use super::segments::STEP;
use super::stream::{read_into, write_from};
use crate::wait::WaitKey;

/// An offset in user memory that a copy starts at and leaves behind its last byte.
#[derive(Clone, Copy)]
pub(super) struct Offset {
    address: u64,
    start: Option<u64>,
}

impl Offset {
    /// Reads it; a null pointer is the file's own position.
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` if it is below 0.
    pub(super) async fn read<A: Arch>(call: Call<'_, A>, address: u64) -> Result<Offset, Errno> {
        if address == 0 {
            return Ok(Offset { address, start: None });
        }
        let [start] = call.k.read_words::<1>(call.current, address).await?;
        if i64::try_from(start).is_err() {
            return Err(Errno::EINVAL);
        }
        call.k.hold_writable(call.current, address, 8).await?;
        Ok(Offset { address, start: Some(start) })
    }

    /// Whether the program has given one.
    pub(super) const fn is_given(self) -> bool {
        self.start.is_some()
    }

    /// Where the copy goes on after `done` bytes.
    pub(super) fn place(self, done: u64) -> Place {
        self.start.map_or(Place::Position, |start| Place::Byte(start.saturating_add(done)))
    }

    /// Leaves it behind `done` bytes.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(super) async fn store<A: Arch>(self, call: Call<'_, A>, done: u64) -> Result<(), Errno> {
        let Some(start) = self.start else { return Ok(()) };
        call.k.write_user(call.current, self.address, &(start + done).to_le_bytes()).await
    }
}

fn file_type<A: Arch>(call: Call<'_, A>, file: FileId) -> Result<u32, Errno> {
    let stat = call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| vfs.stat(env, caller, Target::File(file)))
    })?;
    Ok(stat.mode & s::S_IFMT)
}

/// Copies `len` bytes. What was read and could not be written goes back by way of the position.
async fn copy<A: Arch>(
    call: Call<'_, A>,
    (from, from_at): (FileId, Offset),
    (to, to_at): (FileId, Offset),
    len: u64,
) -> CallResult {
    let mut done = 0;
    let mut buffer = vec![0; STEP.min(len as usize)];
    while done < len {
        let count = (len - done).min(STEP as u64) as usize;
        let got = match read_into(call, from, from_at.place(done), &mut buffer[..count]) {
            Ok(0) => break,
            Ok(got) => got,
            Err(Stop::Wait { .. }) if done > 0 => break,
            Err(Stop::Wait { key, .. }) => {
                call.k.wait_event(call.current.task, &[WaitKey::File(key)]).await?;
                continue;
            }
            Err(Stop::Page(need)) if call.k.obtain(call.current, need).await.is_ok() => continue,
            Err(_) if done > 0 => break,
            Err(stop) => return Err(call.failed(stop)),
        };
        let written = write_from(call, to, to_at.place(done), &buffer[..got]).await;
        let kept = *written.as_ref().unwrap_or(&0);
        if kept < got && from_at.start.is_none() {
            let back = -((got - kept) as i64);
            let current = maize_abi::file::seek::SEEK_CUR;
            // A pipe cannot take bytes back: they are lost, as after a write error on Linux.
            let _ = call.k.with(|s| {
                s.with_files(call.current, |vfs, env, _| vfs.seek(env, from, back, current))
            });
        }
        done += kept as u64;
        match written {
            Ok(_) if kept < got => break,
            Ok(_) => call.k.yield_now(call.current.task).await,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
        if call.k.with(|s| s.must_exit(call.current.tid)) {
            break;
        }
    }
    from_at.store(call, done).await?;
    to_at.store(call, done).await?;
    Ok(done)
}

pub(super) async fn sendfile<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, _, offset, count, ..] = call.args;
    let (to, from) = (call.file(0)?, call.file(1)?);
    if !matches!(file_type(call, from)?, s::S_IFREG | s::S_IFCHR) {
        return Err(Errno::EINVAL);
    }
    let appends = call.k.with(|s| s.files.vfs.status(to))? & maize_abi::file::o::O_APPEND != 0;
    if appends {
        return Err(Errno::EINVAL);
    }
    let from_at = Offset::read(call, offset).await?;
    let to_at = Offset { address: 0, start: None };
    copy(call, (from, from_at), (to, to_at), count.min(MAX_RW_COUNT)).await
}

pub(super) async fn copy_file_range<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, from_offset, _, to_offset, len, _] = call.args;
    if call.uint(5) != 0 {
        return Err(Errno::EINVAL);
    }
    let (from, to) = (call.file(0)?, call.file(2)?);
    for file in [from, to] {
        match file_type(call, file)? {
            s::S_IFREG => {}
            s::S_IFDIR => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
    }
    if call.k.with(|s| s.files.vfs.status(to))? & maize_abi::file::o::O_APPEND != 0 {
        return Err(Errno::EBADF);
    }
    let from_at = Offset::read(call, from_offset).await?;
    let to_at = Offset::read(call, to_offset).await?;
    let same = call
        .k
        .with(|s| Ok::<_, Errno>(s.files.vfs.identity(from)? == s.files.vfs.identity(to)?))?;
    if same && overlaps(call, (from, from_at), (to, to_at), len)? {
        return Err(Errno::EINVAL);
    }
    copy(call, (from, from_at), (to, to_at), len.min(MAX_RW_COUNT)).await
}

/// Whether two ranges of one file overlap.
fn overlaps<A: Arch>(
    call: Call<'_, A>,
    (from, from_at): (FileId, Offset),
    (to, to_at): (FileId, Offset),
    len: u64,
) -> Result<bool, Errno> {
    let start = |file, offset: Offset| match offset.start {
        Some(start) => Ok(start),
        None => call.k.with(|s| {
            let current = maize_abi::file::seek::SEEK_CUR;
            s.with_files(call.current, |vfs, env, _| vfs.seek(env, file, 0, current))
        }),
    };
    let (a, b) = (start(from, from_at)?, start(to, to_at)?);
    Ok(a < b.saturating_add(len) && b < a.saturating_add(len))
}
