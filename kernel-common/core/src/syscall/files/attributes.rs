//! What is known of a file besides its bytes.

use maize_abi::file::{STATX_LEN, at, encode_statx};
use maize_abi::isa::Stat;
use maize_abi::{Errno, Sysno};
use maize_hal::{Arch, Nanos};
use maize_vfs::{At, Caller, Follow, Io, SetTime, Target, Vfs};

use super::super::{Call, CallResult};
use super::PathArgument;
use crate::files::Env;
use crate::group::forget_cut;
use crate::state::State;

const fn follow(flags: u32) -> Follow {
    if flags & at::AT_SYMLINK_NOFOLLOW != 0 { Follow::No } else { Follow::Yes }
}

impl PathArgument {
    /// What the call is about: with `AT_EMPTY_PATH` an empty path stands for the descriptor's file.
    fn target(&self, flags: u32) -> Target<'_> {
        if self.path.is_empty() && flags & at::AT_EMPTY_PATH != 0 {
            return match self.at {
                At::File(file) => Target::File(file),
                At::Cwd => Target::Cwd,
            };
        }
        Target::Path(self.at, &self.path, follow(flags))
    }
}

/// Runs an operation on the file that a path names.
fn on<A: Arch, R>(
    call: Call<'_, A>,
    f: impl FnOnce(&mut Vfs, &mut Env<'_, A>, &Caller<'_>) -> Result<R, Errno>,
) -> Result<R, Errno> {
    call.k.with(|s| s.with_files(call.current, f))
}

/// A path relative to a descriptor, which may be a null pointer where an empty path may be.
async fn path_or_empty<A: Arch>(
    call: Call<'_, A>,
    n: usize,
    flags: u32,
) -> Result<PathArgument, Errno> {
    if call.args[n + 1] == 0 && flags & at::AT_EMPTY_PATH != 0 {
        let at = call.k.with(|s| s.at(call.current, call.int(n), b""))?;
        return Ok(PathArgument { at, path: alloc::vec::Vec::new() });
    }
    call.path_at(n).await
}

fn check_flags(flags: u32, known: u32) -> Result<(), Errno> {
    if flags & !known != 0 { Err(Errno::EINVAL) } else { Ok(()) }
}

fn has_access<A: Arch>(call: Call<'_, A>, target: Target<'_>, mode: u32) -> CallResult {
    on(call, |vfs, env, caller| vfs.access(env, caller, target, mode))?;
    Ok(0)
}

pub(super) async fn access<A: Arch>(call: Call<'_, A>) -> CallResult {
    has_access(call, call.path(0).await?.target(0), call.uint(1))
}

pub(super) async fn faccessat<A: Arch>(call: Call<'_, A>, has_flags: bool) -> CallResult {
    let flags = if has_flags { call.uint(3) } else { 0 };
    check_flags(flags, at::AT_EACCESS | at::AT_SYMLINK_NOFOLLOW | at::AT_EMPTY_PATH)?;
    has_access(call, path_or_empty(call, 0, flags).await?.target(flags), call.uint(2))
}

fn stat_of<A: Arch>(call: Call<'_, A>, target: Target<'_>) -> Result<Stat, Errno> {
    on(call, |vfs, env, caller| vfs.stat(env, caller, target))
}

async fn export<A: Arch>(call: Call<'_, A>, stat: &Stat, address: u64) -> CallResult {
    let mut bytes = [0; 144];
    let len = call.isa.encode_stat(stat, &mut bytes);
    call.k.write_user(call.current, address, &bytes[..len]).await?;
    Ok(0)
}

pub(super) async fn stat<A: Arch>(call: Call<'_, A>, follows: bool) -> CallResult {
    let flags = if follows { 0 } else { at::AT_SYMLINK_NOFOLLOW };
    let stat = stat_of(call, call.path(0).await?.target(flags))?;
    export(call, &stat, call.args[1]).await
}

pub(super) async fn fstat<A: Arch>(call: Call<'_, A>) -> CallResult {
    let stat = stat_of(call, Target::File(call.file(0)?))?;
    export(call, &stat, call.args[1]).await
}

pub(super) async fn newfstatat<A: Arch>(call: Call<'_, A>) -> CallResult {
    let flags = call.uint(3);
    check_flags(flags, at::AT_SYMLINK_NOFOLLOW | at::AT_NO_AUTOMOUNT | at::AT_EMPTY_PATH)?;
    let stat = stat_of(call, path_or_empty(call, 0, flags).await?.target(flags))?;
    export(call, &stat, call.args[2]).await
}

/// Looks for the file that a call on extended attributes is about. No file has any.
pub(super) async fn extended<A: Arch>(call: Call<'_, A>, sysno: Sysno) -> Result<(), Errno> {
    use Sysno as N;
    match sysno {
        N::Fgetxattr | N::Fsetxattr | N::Flistxattr | N::Fremovexattr => call.file(0).map(|_| ()),
        N::Lgetxattr | N::Lsetxattr | N::Llistxattr | N::Lremovexattr => {
            stat_of(call, call.path(0).await?.target(at::AT_SYMLINK_NOFOLLOW)).map(|_| ())
        }
        _ => stat_of(call, call.path(0).await?.target(0)).map(|_| ()),
    }
}

pub(super) async fn statx<A: Arch>(call: Call<'_, A>) -> CallResult {
    /// Reserved for a longer structure.
    const STATX_RESERVED: u32 = 0x8000_0000;
    let flags = call.uint(2);
    let known = at::AT_SYMLINK_NOFOLLOW | at::AT_NO_AUTOMOUNT | at::AT_EMPTY_PATH;
    check_flags(flags, known | at::AT_STATX_SYNC_TYPE)?;
    if call.uint(3) & STATX_RESERVED != 0
        || flags & at::AT_STATX_SYNC_TYPE == at::AT_STATX_SYNC_TYPE
    {
        return Err(Errno::EINVAL);
    }
    let stat = stat_of(call, path_or_empty(call, 0, flags).await?.target(flags))?;
    let bytes: [u8; STATX_LEN] = encode_statx(&stat);
    call.k.write_user(call.current, call.args[4], &bytes).await?;
    Ok(0)
}

async fn show_statfs<A: Arch>(call: Call<'_, A>, target: Target<'_>) -> CallResult {
    let statfs = on(call, |vfs, env, caller| vfs.statfs(env, caller, target))?;
    call.k.write_user(call.current, call.args[1], &statfs.to_bytes()).await?;
    Ok(0)
}

pub(super) async fn statfs<A: Arch>(call: Call<'_, A>) -> CallResult {
    show_statfs(call, call.path(0).await?.target(0)).await
}

pub(super) async fn fstatfs<A: Arch>(call: Call<'_, A>) -> CallResult {
    show_statfs(call, Target::File(call.file(0)?)).await
}

fn set_mode<A: Arch>(call: Call<'_, A>, target: Target<'_>, mode: u32) -> CallResult {
    on(call, |vfs, env, caller| vfs.chmod(env, caller, target, mode))?;
    Ok(0)
}

pub(super) async fn chmod<A: Arch>(call: Call<'_, A>) -> CallResult {
    set_mode(call, call.path(0).await?.target(0), call.uint(1))
}

pub(super) fn fchmod<A: Arch>(call: Call<'_, A>) -> CallResult {
    set_mode(call, Target::File(call.file(0)?), call.uint(1))
}

pub(super) async fn fchmodat<A: Arch>(call: Call<'_, A>) -> CallResult {
    set_mode(call, call.path_at(0).await?.target(0), call.uint(2))
}

fn set_owner<A: Arch>(call: Call<'_, A>, target: Target<'_>, first: usize) -> CallResult {
    let id = |n: usize| Some(call.uint(n)).filter(|id| *id != u32::MAX);
    on(call, |vfs, env, caller| vfs.chown(env, caller, target, (id(first), id(first + 1))))?;
    Ok(0)
}

pub(super) async fn chown<A: Arch>(call: Call<'_, A>, follows: bool) -> CallResult {
    let flags = if follows { 0 } else { at::AT_SYMLINK_NOFOLLOW };
    set_owner(call, call.path(0).await?.target(flags), 1)
}

pub(super) fn fchown<A: Arch>(call: Call<'_, A>) -> CallResult {
    set_owner(call, Target::File(call.file(0)?), 1)
}

pub(super) async fn fchownat<A: Arch>(call: Call<'_, A>) -> CallResult {
    let flags = call.uint(4);
    check_flags(flags, at::AT_SYMLINK_NOFOLLOW | at::AT_EMPTY_PATH)?;
    set_owner(call, path_or_empty(call, 0, flags).await?.target(flags), 2)
}

fn set_times<A: Arch>(
    call: Call<'_, A>,
    target: Target<'_>,
    times: (SetTime, SetTime),
) -> CallResult {
    on(call, |vfs, env, caller| vfs.set_times(env, caller, target, times))?;
    Ok(0)
}

/// A time of two words, of which the second counts `unit` nanoseconds each. Times before 1970 are
/// not kept: they become its first moment.
fn time([seconds, rest]: [u64; 2], unit: u64) -> Result<SetTime, Errno> {
    if rest >= Nanos::SECOND.0 / unit {
        return Err(Errno::EINVAL);
    }
    let seconds = u64::try_from(seconds as i64).unwrap_or(0);
    Ok(SetTime::At(Nanos(seconds.saturating_mul(Nanos::SECOND.0).saturating_add(rest * unit))))
}

pub(super) async fn utimensat<A: Arch>(call: Call<'_, A>) -> CallResult {
    const UTIME_NOW: u64 = 0x3fff_ffff;
    const UTIME_OMIT: u64 = 0x3fff_fffe;
    let flags = call.uint(3);
    check_flags(flags, at::AT_SYMLINK_NOFOLLOW | at::AT_EMPTY_PATH)?;
    let mut times = (SetTime::Now, SetTime::Now);
    if call.args[2] != 0 {
        let [a, b, c, d] = call.k.read_words::<4>(call.current, call.args[2]).await?;
        let one = |pair: [u64; 2]| match pair[1] {
            UTIME_NOW => Ok(SetTime::Now),
            UTIME_OMIT => Ok(SetTime::Keep),
            _ => time(pair, 1),
        };
        times = (one([a, b])?, one([c, d])?);
    }
    if times == (SetTime::Keep, SetTime::Keep) {
        return Ok(0);
    }
    // A null path stands for the descriptor's file, which is how `futimens` calls.
    if call.args[1] == 0 && call.int(0) != at::AT_FDCWD {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        return set_times(call, Target::File(call.file(0)?), times);
    }
    set_times(call, path_or_empty(call, 0, flags).await?.target(flags), times)
}

/// The times of a `struct timeval` pair at argument `n`.
async fn timevals<A: Arch>(call: Call<'_, A>, n: usize) -> Result<(SetTime, SetTime), Errno> {
    if call.args[n] == 0 {
        return Ok((SetTime::Now, SetTime::Now));
    }
    let [a, b, c, d] = call.k.read_words::<4>(call.current, call.args[n]).await?;
    Ok((time([a, b], 1_000)?, time([c, d], 1_000)?))
}

pub(super) async fn utimes<A: Arch>(call: Call<'_, A>) -> CallResult {
    let times = timevals(call, 1).await?;
    set_times(call, call.path(0).await?.target(0), times)
}

pub(super) async fn futimesat<A: Arch>(call: Call<'_, A>) -> CallResult {
    let times = timevals(call, 2).await?;
    if call.args[1] == 0 {
        return set_times(call, Target::File(call.file(0)?), times);
    }
    set_times(call, call.path_at(0).await?.target(0), times)
}

pub(super) async fn utime<A: Arch>(call: Call<'_, A>) -> CallResult {
    let mut times = (SetTime::Now, SetTime::Now);
    if call.args[1] != 0 {
        let [access, modification] = call.k.read_words::<2>(call.current, call.args[1]).await?;
        times = (time([access, 0], 1)?, time([modification, 0], 1)?);
    }
    set_times(call, call.path(0).await?.target(0), times)
}

async fn set_len<A: Arch>(call: Call<'_, A>, target: Target<'_>) -> CallResult {
    let len = call.args[1] as i64;
    cutting(call, |vfs, env, caller| vfs.truncate(env, caller, target, len)).await?;
    Ok(0)
}

/// Runs an operation that may make a file shorter: what it has lost is gone from all instances when it
/// returns.
async fn cutting<A: Arch>(
    call: Call<'_, A>,
    mut f: impl FnMut(&mut Vfs, &mut Env<'_, A>, &Caller<'_>) -> Io<()>,
) -> Result<(), Errno> {
    let (k, current) = (call.k, call.current);
    let step = |s: &mut State<A>, _| {
        s.begin_cut();
        let done = s.with_files(current, &mut f);
        let cut = s.cut_pages(current);
        done.map(|()| cut)
    };
    let cut = call.wait_until(Errno::ERESTARTSYS, step).await?;
    forget_cut(k, current, cut).await;
    Ok(())
}

pub(super) async fn truncate<A: Arch>(call: Call<'_, A>) -> CallResult {
    set_len(call, call.path(0).await?.target(0)).await
}

pub(super) async fn ftruncate<A: Arch>(call: Call<'_, A>) -> CallResult {
    set_len(call, Target::File(call.file(0)?)).await
}

pub(super) async fn fallocate<A: Arch>(call: Call<'_, A>) -> CallResult {
    const FALLOC_FL_KEEP_SIZE: u32 = 1;
    let (file, mode) = (call.file(0)?, call.uint(1));
    if mode & !FALLOC_FL_KEEP_SIZE != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let range = (call.args[2] as i64, call.args[3] as i64);
    let keep = mode != 0;
    cutting(call, |vfs, env, caller| vfs.allocate(env, caller, file, range, keep)).await?;
    Ok(0)
}

pub(super) fn umask<A: Arch>(call: Call<'_, A>) -> CallResult {
    let mask = call.uint(0) & 0o777;
    call.k.with(|s| {
        s.change_view(call.current, |_, _, view| {
            u64::from(core::mem::replace(&mut view.umask, mask))
        })
    })
}
