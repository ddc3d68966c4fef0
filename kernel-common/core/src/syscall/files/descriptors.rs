//! Descriptors: closing, duplicating, flags.

use maize_abi::Errno;
use maize_abi::file::{fcntl as f, o};
use maize_hal::Arch;
use maize_vfs::{Descriptor, FileId, NR_OPEN};

use super::super::{Call, CallResult};
use super::locks;
use crate::state::State;
use crate::thread::Current;

impl<A: Arch> State<A> {
    /// Closes what a descriptor stood for that is in no table any more.
    fn close_removed(&mut self, current: Current, file: FileId) {
        let (vfs, mut env) = self.split_files();
        vfs.close_descriptor(&mut env, current.pid.0, file);
    }

    /// Gives the file of `old` the number `new`, closing what had it.
    fn duplicate_to(
        &mut self,
        current: Current,
        old: i32,
        new: i32,
        close_on_exec: bool,
    ) -> CallResult {
        let limit = self.descriptor_limit(current).min(NR_OPEN as u64);
        let file = self.file_of(current, old)?;
        if u64::try_from(new).map_or(true, |new| new >= limit) {
            return Err(Errno::EBADF);
        }
        self.files.vfs.hold(file)?;
        let replaced =
            self.descriptors_mut(current)?.replace(new, Descriptor { file, close_on_exec });
        if let Some(replaced) = replaced {
            self.close_removed(current, replaced);
        }
        Ok(new as u64)
    }

    /// Gives the file of `old` the lowest free number from `from` on.
    fn duplicate(
        &mut self,
        current: Current,
        old: i32,
        from: usize,
        close_on_exec: bool,
    ) -> CallResult {
        let file = self.file_of(current, old)?;
        self.descriptors(current)?.lowest_free(from, self.descriptor_limit(current))?;
        self.files.vfs.hold(file)?;
        let limit = self.descriptor_limit(current);
        let descriptor = Descriptor { file, close_on_exec };
        let fd = self.descriptors_mut(current)?.install(from, limit, descriptor)?;
        Ok(fd as u64)
    }
}

/// Succeeds if the first argument is an open descriptor: there is nothing to be brought anywhere.
pub(super) fn check<A: Arch>(call: Call<'_, A>) -> CallResult {
    call.file(0)?;
    Ok(0)
}

/// Succeeds if the first argument is a file that is kept somewhere, where it always is already.
pub(super) fn sync<A: Arch>(call: Call<'_, A>) -> CallResult {
    let file = call.file(0)?;
    call.k.with(|s| s.files.vfs.check_kept(file))?;
    Ok(0)
}

pub(super) fn close<A: Arch>(call: Call<'_, A>) -> CallResult {
    let current = call.current;
    call.k.with(|s| {
        let file = s.descriptors_mut(current)?.remove(call.int(0))?;
        s.close_removed(current, file);
        Ok(0)
    })
}

pub(super) fn close_range<A: Arch>(call: Call<'_, A>) -> CallResult {
    const CLOSE_RANGE_UNSHARE: u32 = 2;
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    let current = call.current;
    let (first, last, flags) = (call.uint(0), call.uint(1), call.uint(2));
    if first > last || flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    call.k.with(|s| {
        if flags & CLOSE_RANGE_UNSHARE != 0 {
            s.unshare_descriptors(current)?;
        }
        let table = s.descriptors_mut(current)?;
        let fds: alloc::vec::Vec<i32> = table
            .iter()
            .map(|(fd, _)| fd)
            .filter(|fd| (first..=last).contains(&(*fd as u32)))
            .collect();
        for fd in fds {
            if flags & CLOSE_RANGE_CLOEXEC != 0 {
                s.descriptors_mut(current)?.set_close_on_exec(fd, true)?;
            } else {
                let file = s.descriptors_mut(current)?.remove(fd)?;
                s.close_removed(current, file);
            }
        }
        Ok(0)
    })
}

pub(super) fn dup<A: Arch>(call: Call<'_, A>) -> CallResult {
    call.k.with(|s| s.duplicate(call.current, call.int(0), 0, false))
}

pub(super) fn dup2<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (old, new) = (call.int(0), call.int(1));
    call.k.with(|s| {
        if old == new {
            return s.file_of(call.current, old).map(|_| new as u64);
        }
        s.duplicate_to(call.current, old, new, false)
    })
}

pub(super) fn dup3<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (old, new, flags) = (call.int(0), call.int(1), call.uint(2));
    if old == new || flags & !o::O_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    call.k.with(|s| s.duplicate_to(call.current, old, new, flags & o::O_CLOEXEC != 0))
}

pub(super) async fn fcntl<A: Arch>(call: Call<'_, A>) -> CallResult {
    let current = call.current;
    let (fd, command, argument) = (call.int(0), call.uint(1), call.args[2]);
    let file = call.file(0)?;
    let allowed_on_place =
        matches!(command, f::F_DUPFD | f::F_DUPFD_CLOEXEC | f::F_GETFD | f::F_SETFD | f::F_GETFL);
    if !allowed_on_place && call.k.with(|s| s.files.vfs.is_place(file)) {
        return Err(Errno::EBADF);
    }
    match command {
        f::F_DUPFD | f::F_DUPFD_CLOEXEC => call.k.with(|s| {
            if argument >= s.descriptor_limit(current) {
                return Err(Errno::EINVAL);
            }
            s.duplicate(current, fd, argument as usize, command == f::F_DUPFD_CLOEXEC)
        }),
        f::F_GETFD => call.k.with(|s| {
            let descriptor = s.descriptors(current)?.get(fd)?;
            Ok(if descriptor.close_on_exec { f::FD_CLOEXEC } else { 0 })
        }),
        f::F_SETFD => call.k.with(|s| {
            let close_on_exec = argument & f::FD_CLOEXEC != 0;
            s.descriptors_mut(current)?.set_close_on_exec(fd, close_on_exec)?;
            Ok(0)
        }),
        f::F_GETFL => call.k.with(|s| s.files.vfs.status(file).map(u64::from)),
        f::F_SETFL => {
            let settable = o::O_APPEND | o::O_NONBLOCK | o::O_NOATIME | o::O_ASYNC;
            call.k.with(|s| s.files.vfs.set_status(file, argument as u32, settable))?;
            Ok(0)
        }
        f::F_SETPIPE_SZ => {
            let size = u64::from(argument as u32);
            call.k.with(|s| s.files.vfs.set_pipe_capacity(file, size)).map(|size| size as u64)
        }
        f::F_GETPIPE_SZ => call.k.with(|s| s.files.vfs.pipe_capacity(file)).map(|size| size as u64),
        f::F_ADD_SEALS => call.k.with(|s| s.files.vfs.add_seals(file, argument as u32)).map(|()| 0),
        f::F_GET_SEALS => call.k.with(|s| s.files.vfs.seals(file)).map(u64::from),
        // Nobody is ever sent SIGIO.
        f::F_SETOWN | f::F_GETOWN => Ok(0),
        f::F_GETLK | f::F_OFD_GETLK => locks::query(call, file, command == f::F_OFD_GETLK).await,
        f::F_SETLK | f::F_SETLKW | f::F_OFD_SETLK | f::F_OFD_SETLKW => {
            let by_file = matches!(command, f::F_OFD_SETLK | f::F_OFD_SETLKW);
            let waits = matches!(command, f::F_SETLKW | f::F_OFD_SETLKW);
            locks::set(call, file, by_file, waits).await
        }
        _ => Err(Errno::EINVAL),
    }
}
