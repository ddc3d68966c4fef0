//! Reading, writing, positioning.

use alloc::vec;

use maize_abi::Errno;
use maize_hal::Arch;
use maize_vfs::{FileId, Flow, Io, Patience, Place, Stop};

use super::super::{Call, CallResult};
use super::segments::{STEP, Segments};
use super::{messages, receive, signals};

fn place(offset: u64) -> Result<Place, Errno> {
    if i64::try_from(offset).is_err() { Err(Errno::EINVAL) } else { Ok(Place::Byte(offset)) }
}

pub(super) async fn read<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, address, len, ..] = call.args;
    let file = call.file(0)?;
    read_all(call, file, Place::Position, Segments::one(call, address, len)?).await
}

pub(super) async fn write<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, address, len, ..] = call.args;
    write_all(call, call.file(0)?, Place::Position, Segments::one(call, address, len)?).await
}

pub(super) async fn pread<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, address, len, offset, ..] = call.args;
    let place = place(offset)?;
    read_all(call, call.file(0)?, place, Segments::one(call, address, len)?).await
}

pub(super) async fn pwrite<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, address, len, offset, ..] = call.args;
    let place = place(offset)?;
    write_all(call, call.file(0)?, place, Segments::one(call, address, len)?).await
}

pub(super) async fn readv<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, array, count, ..] = call.args;
    let file = call.file(0)?;
    read_all(call, file, Place::Position, Segments::read(call, array, count).await?).await
}

pub(super) async fn writev<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, array, count, ..] = call.args;
    let file = call.file(0)?;
    write_all(call, file, Place::Position, Segments::read(call, array, count).await?).await
}

/// Where `preadv` and its kin read or write: the second kind takes flags, none of which is known,
/// and the position for offset -1.
fn vector_place<A: Arch>(call: Call<'_, A>, has_flags: bool) -> Result<Place, Errno> {
    if has_flags && call.uint(5) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if has_flags && call.args[3] == u64::MAX { Ok(Place::Position) } else { place(call.args[3]) }
}

pub(super) async fn preadv<A: Arch>(call: Call<'_, A>, has_flags: bool) -> CallResult {
    let [_, array, count, ..] = call.args;
    let (place, file) = (vector_place(call, has_flags)?, call.file(0)?);
    read_all(call, file, place, Segments::read(call, array, count).await?).await
}

pub(super) async fn pwritev<A: Arch>(call: Call<'_, A>, has_flags: bool) -> CallResult {
    let [_, array, count, ..] = call.args;
    let (place, file) = (vector_place(call, has_flags)?, call.file(0)?);
    write_all(call, file, place, Segments::read(call, array, count).await?).await
}

pub(super) fn lseek<A: Arch>(call: Call<'_, A>) -> CallResult {
    let file = call.file(0)?;
    let (offset, whence) = (call.args[1] as i64, call.uint(2));
    call.k.with(|s| s.with_files(call.current, |vfs, env, _| vfs.seek(env, file, offset, whence)))
}

fn moved(place: Place, done: u64) -> Place {
    match place {
        Place::Position => Place::Position,
        Place::Byte(byte) => Place::Byte(byte.saturating_add(done)),
    }
}

/// What one step of a read has come to.
enum Step {
    Got(usize),
    /// Memory that was ready is not any more.
    Lost,
}

/// Reads into user memory until that is full, the file has no more, or (once something was read)
/// it would have to wait.
pub(super) async fn read_all<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
    place: Place,
    mut segments: Segments,
) -> CallResult {
    let current = call.current;
    if place == Place::Position && call.k.with(|s| s.files.vfs.wanted_signals(file)).is_some() {
        return signals::read(call, file, segments).await;
    }
    if place == Place::Position && call.k.with(|s| s.files.vfs.is_socket(file)) {
        return receive::read(call, file, segments).await;
    }
    let mut done = 0;
    let mut buffer = vec![];
    loop {
        let at = moved(place, done);
        let (flow, expected) =
            call.k.with(|s| s.with_files(current, |vfs, env, _| vfs.expected(env, file, at)))?;
        if done > 0 && (segments.left() == 0 || flow == Flow::WhileThere && expected == 0) {
            return Ok(done);
        }
        let wanted = segments.left().min(STEP as u64).min(expected.max(1)) as usize;
        let count = match segments.hold(call, wanted).await {
            Ok(count) => count,
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        };
        buffer.resize(count, 0);
        let step = call
            .wait_until(Errno::ERESTARTSYS, |s, patience| {
                if !segments.are_ready(s, current, count)? {
                    return Ok(Step::Lost);
                }
                let result = s.with_files(current, |vfs, env, caller| {
                    vfs.read(env, caller, file, at, &mut buffer[..count], patience)
                });
                match result {
                    Ok(got) => {
                        segments.put(s, current, &buffer[..got])?;
                        Ok(Step::Got(got))
                    }
                    Err(Stop::Wait { .. }) if done > 0 => Ok(Step::Got(0)),
                    Err(stop) => Err(stop),
                }
            })
            .await;
        match step {
            Ok(Step::Lost) => {}
            Ok(Step::Got(got)) => {
                done += got as u64;
                if got < count || flow == Flow::Once {
                    return Ok(done);
                }
                if segments.left() == 0 || call.k.with(|s| s.must_exit(current.tid)) {
                    return Ok(done);
                }
                call.k.yield_now(current.task).await;
            }
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        }
    }
}

/// Writes from user memory until all is written; a signal or an error ends it early.
pub(super) async fn write_all<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
    place: Place,
    mut segments: Segments,
) -> CallResult {
    let current = call.current;
    if place == Place::Position && call.k.with(|s| s.files.vfs.is_socket(file)) {
        return messages::write(call, file, segments).await;
    }
    let mut done = 0;
    let mut buffer = vec![];
    loop {
        let wanted = segments.left().min(STEP as u64) as usize;
        buffer.resize(wanted, 0);
        let count = match segments.get(call, &mut buffer).await {
            Ok(count) => count,
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        };
        match write_once(call, file, moved(place, done), &buffer[..count]).await {
            Ok(written) => {
                done += written as u64;
                segments.advance(written);
                if segments.left() == 0
                    || written == 0
                    || count < wanted && written == count
                    || call.k.with(|s| s.must_exit(current.tid))
                {
                    return Ok(done);
                }
                call.k.yield_now(current.task).await;
            }
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        }
    }
}

async fn write_once<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
    place: Place,
    bytes: &[u8],
) -> Result<usize, Errno> {
    call.wait_until(Errno::ERESTARTSYS, |s, _| -> Io<usize> {
        s.with_files(call.current, |vfs, env, caller| vfs.write(env, caller, file, place, bytes))
    })
    .await
}

/// Reads into a buffer of the kernel without waiting, for copies from file to file.
pub(super) fn read_into<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
    place: Place,
    out: &mut [u8],
) -> Io<usize> {
    call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| {
            vfs.read(env, caller, file, place, out, Patience::Left)
        })
    })
}

/// Writes all of a buffer of the kernel, waiting where needed. Returns how much was written before
/// an error or signal, if anything was.
pub(super) async fn write_from<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
    place: Place,
    bytes: &[u8],
) -> Result<usize, Errno> {
    let mut done = 0;
    while done < bytes.len() {
        match write_once(call, file, moved(place, done as u64), &bytes[done..]).await {
            Ok(0) => break,
            Ok(written) => done += written,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}
