//! Advisory locks.

use maize_abi::Errno;
use maize_abi::file::{fcntl as f, seek};
use maize_hal::Arch;
use maize_vfs::{FileId, LockKind, LockOwner, Record, Stop};

use super::super::{Call, CallResult};

/// Bytes of a `struct flock`.
const FLOCK_LEN: usize = 32;

pub(super) async fn flock<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (file, operation) = (call.file(0)?, call.uint(1));
    call.wait_until(Errno::ERESTARTSYS, |s, _| s.files.vfs.flock(file, operation)).await?;
    Ok(0)
}

/// What a `struct flock` asks for: the kind, or `None` to unlock, and the bytes.
struct Wanted {
    kind: Option<LockKind>,
    range: (u64, u64),
    bytes: [u8; FLOCK_LEN],
}

async fn read<A: Arch>(call: Call<'_, A>, file: FileId) -> Result<Wanted, Errno> {
    let mut bytes = [0; FLOCK_LEN];
    call.k.read_user(call.current, call.args[2], &mut bytes).await?;
    let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        i64::from_le_bytes(word)
    };
    let kind = match half(0) {
        f::F_RDLCK => Some(LockKind::Shared),
        f::F_WRLCK => Some(LockKind::Exclusive),
        f::F_UNLCK => None,
        _ => return Err(Errno::EINVAL),
    };
    let base = match u32::from(half(2)) {
        seek::SEEK_SET => 0,
        seek::SEEK_CUR => position(call, file)? as i64,
        seek::SEEK_END => length(call, file)?,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(word(8)).ok_or(Errno::EOVERFLOW)?;
    let len = word(16);
    // A negative length reaches back from the start; zero reaches to every end.
    let (start, end) = match len {
        0 => (start, None),
        1.. => (start, Some(start.checked_add(len).ok_or(Errno::EOVERFLOW)?)),
        _ => (start.checked_add(len).ok_or(Errno::EINVAL)?, Some(start)),
    };
    let start = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
    let end = end.map_or(u64::MAX, |end| end as u64);
    Ok(Wanted { kind, range: (start, end), bytes })
}

fn position<A: Arch>(call: Call<'_, A>, file: FileId) -> CallResult {
    call.k
        .with(|s| s.with_files(call.current, |vfs, env, _| vfs.seek(env, file, 0, seek::SEEK_CUR)))
}

fn length<A: Arch>(call: Call<'_, A>, file: FileId) -> Result<i64, Errno> {
    call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| {
            Ok(vfs.stat(env, caller, maize_vfs::Target::File(file))?.size)
        })
    })
}

fn owner<A: Arch>(call: Call<'_, A>, file: FileId, by_file: bool) -> LockOwner {
    if by_file { LockOwner::File(file) } else { LockOwner::Process(call.current.pid.0) }
}

pub(super) async fn set<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
    by_file: bool,
    waits: bool,
) -> CallResult {
    let wanted = read(call, file).await?;
    let owner = owner(call, file, by_file);
    call.wait_until(Errno::ERESTARTSYS, |s, _| {
        match s.files.vfs.lock_record(file, owner, wanted.kind, wanted.range) {
            Err(Stop::Wait { .. }) if !waits => Err(Errno::EAGAIN.into()),
            other => other,
        }
    })
    .await?;
    Ok(0)
}

pub(super) async fn query<A: Arch>(call: Call<'_, A>, file: FileId, by_file: bool) -> CallResult {
    let mut wanted = read(call, file).await?;
    let kind = wanted.kind.ok_or(Errno::EINVAL)?;
    let (start, end) = wanted.range;
    let record = Record { owner: owner(call, file, by_file), kind, start, end };
    let found = call.k.with(|s| s.files.vfs.find_obstacle(file, &record))?;
    let bytes = &mut wanted.bytes;
    match found {
        None => bytes[..2].copy_from_slice(&f::F_UNLCK.to_le_bytes()),
        Some(held) => {
            let kind = match held.kind {
                LockKind::Shared => f::F_RDLCK,
                LockKind::Exclusive => f::F_WRLCK,
            };
            let len = if held.end == u64::MAX { 0 } else { held.end - held.start };
            let pid = match held.owner {
                LockOwner::Process(pid) => pid as i32,
                LockOwner::File(_) => -1,
            };
            bytes[..2].copy_from_slice(&kind.to_le_bytes());
            bytes[2..4].copy_from_slice(&(seek::SEEK_SET as u16).to_le_bytes());
            bytes[8..16].copy_from_slice(&held.start.to_le_bytes());
            bytes[16..24].copy_from_slice(&len.to_le_bytes());
            bytes[24..28].copy_from_slice(&pid.to_le_bytes());
        }
    }
    call.k.write_user(call.current, call.args[2], bytes).await?;
    Ok(0)
}
