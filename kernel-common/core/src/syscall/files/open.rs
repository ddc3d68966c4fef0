//! Opening and making files.

use maize_abi::IsaKind;
use maize_abi::file::o;
use maize_abi::{Errno, file};
use maize_hal::Arch;
use maize_vfs::{Caller, Descriptor, FileId, NR_OPEN, OpenHow, Vfs};

use super::super::{Call, CallResult};
use super::PathArgument;
use crate::files::Env;
use crate::group::forget_cut;
use crate::process::rlimit;
use crate::state::State;
use crate::thread::Current;

impl<A: Arch> State<A> {
    /// `RLIMIT_NOFILE`.
    pub(super) fn descriptor_limit(&self, current: Current) -> u64 {
        let process = self.processes.get(&current.pid);
        process.map_or(0, |process| process.limits[rlimit::RLIMIT_NOFILE].soft)
    }

    /// Gives a new file a descriptor; without room for one the file is closed again.
    pub(crate) fn install_file(
        &mut self,
        current: Current,
        file: FileId,
        close_on_exec: bool,
    ) -> CallResult {
        let limit = self.descriptor_limit(current);
        let descriptor = Descriptor { file, close_on_exec };
        let installed =
            self.descriptors_mut(current).and_then(|table| table.install(0, limit, descriptor));
        match installed {
            Ok(fd) => Ok(fd as u64),
            Err(errno) => {
                self.release_file(file);
                Err(errno)
            }
        }
    }

    /// Drops a holder of a file.
    pub(crate) fn release_file(&mut self, file: FileId) {
        let (vfs, mut env) = self.split_files();
        vfs.release(&mut env, file);
    }

    /// # Errors
    /// `EMFILE` if no descriptor is free: to be known before a file is made.
    pub(crate) fn check_descriptor_room(&self, current: Current) -> Result<(), Errno> {
        let limit = self.descriptor_limit(current);
        self.descriptors(current)?.lowest_free(0, limit).map(|_| ())
    }
}

/// What the flags of `open` mean on this instruction set.
pub(super) fn how(isa: IsaKind, flags: u32, mode: u32) -> OpenHow {
    let isa = isa.open_flags();
    let own = isa.o_directory | isa.o_nofollow | isa.o_direct | isa.o_largefile;
    let known = o::O_ACCMODE
        | o::O_CREAT
        | o::O_EXCL
        | o::O_NOCTTY
        | o::O_TRUNC
        | o::O_APPEND
        | o::O_NONBLOCK
        | o::O_SYNC
        | o::O_ASYNC
        | o::O_NOATIME
        | o::O_PATH
        | o::O_TMPFILE_BIT;
    OpenHow {
        flags: flags & known & !own,
        directory: flags & isa.o_directory != 0,
        nofollow: flags & isa.o_nofollow != 0,
        // As Linux, a 64-bit program's files are all large.
        shown: flags & (own & !isa.o_largefile) | isa.o_largefile,
        mode: mode & file::s::PERMISSIONS,
    }
}

async fn open_at<A: Arch>(
    call: Call<'_, A>,
    PathArgument { at, path }: PathArgument,
    flags: u32,
    mode: u32,
) -> CallResult {
    let current = call.current;
    let how = how(call.isa, flags, mode);
    let (file, cut) = call.k.with(|s| {
        s.check_descriptor_room(current)?;
        s.begin_cut();
        let file = s.with_files(current, |vfs, env, caller| vfs.open(env, caller, at, &path, how));
        let cut = s.cut_pages(current);
        file.map(|file| (file, cut))
    })?;
    forget_cut(call.k, current, cut).await;
    let opened = call.wait_until(Errno::ERESTARTSYS, |s, _| s.files.vfs.finish_open(file)).await;
    call.k.with(|s| match opened {
        Ok(()) => s.install_file(current, file, flags & o::O_CLOEXEC != 0),
        Err(errno) => {
            s.release_file(file);
            Err(errno)
        }
    })
}

pub(super) async fn open<A: Arch>(call: Call<'_, A>) -> CallResult {
    open_at(call, call.path(0).await?, call.uint(1), call.uint(2)).await
}

pub(super) async fn openat<A: Arch>(call: Call<'_, A>) -> CallResult {
    open_at(call, call.path_at(0).await?, call.uint(2), call.uint(3)).await
}

pub(super) async fn creat<A: Arch>(call: Call<'_, A>) -> CallResult {
    let flags = o::O_CREAT | o::O_WRONLY | o::O_TRUNC;
    open_at(call, call.path(0).await?, flags, call.uint(1)).await
}

/// `openat2` without restrictions on how the path is resolved.
pub(super) async fn openat2<A: Arch>(call: Call<'_, A>) -> CallResult {
    const OPEN_HOW_LEN: u64 = 24;
    let [_, _, how, len, ..] = call.args;
    match len {
        0..OPEN_HOW_LEN => return Err(Errno::EINVAL),
        OPEN_HOW_LEN => {}
        _ => return Err(Errno::E2BIG),
    }
    let [flags, mode, resolve] = call.k.read_words::<3>(call.current, how).await?;
    let flags = u32::try_from(flags).map_err(|_| Errno::EINVAL)?;
    let makes = flags & (o::O_CREAT | o::O_TMPFILE_BIT) != 0;
    if mode & !u64::from(file::s::PERMISSIONS) != 0 || !makes && mode != 0 {
        return Err(Errno::EINVAL);
    }
    if resolve != 0 {
        return Err(Errno::EINVAL);
    }
    open_at(call, call.path_at(0).await?, flags, mode as u32).await
}

pub(super) async fn pipe<A: Arch>(call: Call<'_, A>, has_flags: bool) -> CallResult {
    let flags = if has_flags { call.uint(1) } else { 0 };
    let direct = call.isa.open_flags().o_direct;
    if flags & !(o::O_CLOEXEC | o::O_NONBLOCK | direct) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & direct != 0 {
        // Packets are not kept apart here, and to say so is better than to mix them.
        return Err(Errno::EOPNOTSUPP);
    }
    install_pair(call, call.args[0], flags, |vfs, env, caller| vfs.make_pipe(env, caller, flags))
        .await
}

/// Makes a file and gives it a descriptor.
pub(super) fn install_new<A: Arch>(
    call: Call<'_, A>,
    close_on_exec: bool,
    make: impl FnOnce(&mut Vfs, &mut Env<'_, A>, &Caller<'_>) -> Result<FileId, Errno>,
) -> CallResult {
    call.k.with(|s| {
        s.check_descriptor_room(call.current)?;
        let file = s.with_files(call.current, make)?;
        s.install_file(call.current, file, close_on_exec)
    })
}

/// Makes two files, gives them descriptors and puts these at an address.
pub(super) async fn install_pair<A: Arch>(
    call: Call<'_, A>,
    address: u64,
    flags: u32,
    make: impl Fn(&mut Vfs, &mut Env<'_, A>, &Caller<'_>) -> Result<(FileId, FileId), Errno>,
) -> CallResult {
    let current = call.current;
    let exported = call.k.with_writable(current, [(address, 8)], |s| {
        let limit = s.descriptor_limit(current);
        let table = s.descriptors(current)?;
        let first = table.lowest_free(0, limit)?;
        table.lowest_free(first as usize + 1, limit)?;
        let (one, other) = s.with_files(current, &make)?;
        let close_on_exec = flags & o::O_CLOEXEC != 0;
        let one = s.install_file(current, one, close_on_exec)? as u32;
        let other = s.install_file(current, other, close_on_exec)? as u32;
        let bytes = [one.to_le_bytes(), other.to_le_bytes()];
        s.write_now(current, address, bytes.as_flattened())
    });
    exported.await.map(|()| 0)
}

pub(super) fn eventfd<A: Arch>(call: Call<'_, A>, has_flags: bool) -> CallResult {
    const EFD_SEMAPHORE: u32 = 1;
    let flags = if has_flags { call.uint(1) } else { 0 };
    if flags & !(EFD_SEMAPHORE | o::O_CLOEXEC | o::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let start = (call.uint(0), flags & EFD_SEMAPHORE != 0);
    install_new(call, flags & o::O_CLOEXEC != 0, |vfs, env, caller| {
        vfs.make_counter(env, caller, start, flags)
    })
}

pub(super) async fn memfd_create<A: Arch>(call: Call<'_, A>) -> CallResult {
    const MFD_CLOEXEC: u32 = 1;
    const MFD_ALLOW_SEALING: u32 = 2;
    const NAME_MAX: usize = 249;
    let flags = call.uint(1);
    if flags & !(MFD_CLOEXEC | MFD_ALLOW_SEALING) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut name = [0; NAME_MAX + 1];
    let len = call.k.read_user_string(call.current, call.args[0], &mut name).await?;
    if len > NAME_MAX {
        return Err(Errno::EINVAL);
    }
    install_new(call, flags & MFD_CLOEXEC != 0, |vfs, env, caller| {
        vfs.make_memfd(env, caller, &name[..len], flags & MFD_ALLOW_SEALING != 0)
    })
}

const _: () = assert!(NR_OPEN < i32::MAX as usize);
