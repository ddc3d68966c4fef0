//! Pipes as ways between files: `splice`, `tee`, `vmsplice`.

use maize_abi::Errno;
use maize_abi::file::{MAX_RW_COUNT, o, poll as p, seek};
use maize_abi::signal::SignalSet;
use maize_hal::Arch;
use maize_vfs::{FileId, Io, Place, Stop};

use super::super::{Call, CallResult};
use super::segments::Segments;
use super::stream::{read_all, write_all};
use super::transfer::Offset;
use crate::state::State;

/// To move pages rather than copy them, and that more comes soon: there is nothing that they would
/// change.
const SPLICE_F_MOVE: u32 = 1;
const SPLICE_F_NONBLOCK: u32 = 2;
const SPLICE_F_MORE: u32 = 4;
const SPLICE_F_GIFT: u32 = 8;

/// Whether a call may wait, by its flags.
fn waits(flags: u32) -> Result<bool, Errno> {
    if flags & !(SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(flags & SPLICE_F_NONBLOCK == 0)
}

impl<A: Arch> Call<'_, A> {
    /// Repeats a step that moves bytes, told how many were moved before, until there are `len` or the
    /// next would have to wait. Only the first waits, if that is allowed.
    async fn move_bytes(
        &self,
        len: u64,
        waits: bool,
        mut step: impl FnMut(&mut State<A>, u64) -> Io<usize>,
    ) -> CallResult {
        let mut done = 0;
        while done < len {
            let moved = self.wait_until(Errno::ERESTARTSYS, |s, _| match step(s, done) {
                Err(Stop::Wait { .. }) if !waits || done > 0 => Err(Errno::EAGAIN.into()),
                Err(Stop::BrokenPipe) if done > 0 => Err(Errno::EPIPE.into()),
                result => result,
            });
            match moved.await {
                Ok(0) => break,
                Ok(count) => done += count as u64,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
            if self.k.with(|s| s.must_exit(self.current.tid)) {
                break;
            }
            self.k.yield_now(self.current.task).await;
        }
        Ok(done)
    }

    /// Whether one of two files never waits.
    fn is_nonblocking(&self, files: [FileId; 2]) -> Result<bool, Errno> {
        self.k.with(|s| {
            let status = s.files.vfs.status(files[0])? | s.files.vfs.status(files[1])?;
            Ok(status & o::O_NONBLOCK != 0)
        })
    }
}

/// The offset at `address`, of a file that has bytes at places.
async fn offset<A: Arch>(call: Call<'_, A>, file: FileId, address: u64) -> Result<Offset, Errno> {
    if address != 0 && call.k.with(|s| s.files.vfs.is_pipe(file)) {
        return Err(Errno::ESPIPE);
    }
    let offset = Offset::read(call, address).await?;
    if offset.is_given() {
        let position = call.k.with(|s| {
            let here = seek::SEEK_CUR;
            s.with_files(call.current, |vfs, env, _| vfs.seek(env, file, 0, here))
        });
        position.map_err(|_| Errno::EINVAL)?;
    }
    Ok(offset)
}

pub(super) async fn splice<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, from_offset, _, to_offset, len, _] = call.args;
    if len == 0 {
        return Ok(0);
    }
    let mut waits = waits(call.uint(5))?;
    let (from, to) = (call.file(0)?, call.file(2)?);
    let from_at = offset(call, from, from_offset).await?;
    let to_at = offset(call, to, to_offset).await?;
    let (by_pipes, appends) = call.k.with(|s| {
        let vfs = &s.files.vfs;
        vfs.check_splice(from, to, false)?;
        let appends = vfs.status(to)? & o::O_APPEND != 0;
        Ok::<_, Errno>((vfs.is_pipe(from) && vfs.is_pipe(to), appends))
    })?;
    if appends {
        return Err(Errno::EINVAL);
    }
    if by_pipes {
        waits &= !call.is_nonblocking([from, to])?;
    }
    let len = len.min(MAX_RW_COUNT);
    let step = |s: &mut State<A>, done| {
        let (from, to) = ((from, from_at.place(done)), (to, to_at.place(done)));
        s.with_files(call.current, |vfs, env, caller| vfs.splice(env, caller, from, to, len - done))
    };
    let done = call.move_bytes(len, waits, step).await?;
    from_at.store(call, done).await?;
    to_at.store(call, done).await?;
    Ok(done)
}

pub(super) async fn tee<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, _, len, _, ..] = call.args;
    let waits = waits(call.uint(3))?;
    if len == 0 {
        return Ok(0);
    }
    let (from, to) = (call.file(0)?, call.file(1)?);
    call.k.with(|s| s.files.vfs.check_splice(from, to, true))?;
    let waits = waits && !call.is_nonblocking([from, to])?;
    // One step: a second would copy the same again.
    let copied = call.wait_until(Errno::ERESTARTSYS, |s, _| {
        let copied =
            s.with_files(call.current, |vfs, env, caller| vfs.tee(env, caller, from, to, len));
        match copied {
            Err(Stop::Wait { .. }) if !waits => Err(Errno::EAGAIN.into()),
            result => result,
        }
    });
    copied.await.map(|count| count as u64)
}

/// Memory and a pipe: bytes are copied, so what a program does with its memory afterwards changes nothing.
pub(super) async fn vmsplice<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, array, count, ..] = call.args;
    let waits = waits(call.uint(3))?;
    let file = call.file(0)?;
    let writes = call.k.with(|s| {
        if !s.files.vfs.is_pipe(file) {
            return Err(Errno::EBADF);
        }
        Ok(s.files.vfs.status(file)? & o::O_ACCMODE != o::O_RDONLY)
    })?;
    let mut segments = Segments::read(call, array, count).await?;
    if segments.left() == 0 {
        return Ok(0);
    }
    if !writes {
        let ready = call.k.with(|s| s.files.vfs.poll(file, SignalSet::EMPTY))?;
        if !waits && ready & (p::POLLIN | p::POLLHUP) == 0 {
            return Err(Errno::EAGAIN);
        }
        return read_all(call, file, Place::Position, segments).await;
    }
    // As much as there is room for, and no more.
    let room = call.wait_until(Errno::ERESTARTSYS, |s, _| match s.files.vfs.splice_room(file) {
        Err(Stop::Wait { .. }) if !waits => Err(Errno::EAGAIN.into()),
        result => result,
    });
    segments.truncate(room.await? as u64);
    write_all(call, file, Place::Position, segments).await
}
