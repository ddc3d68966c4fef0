//! `inotify`.

use maize_abi::Errno;
use maize_abi::file::o;
use maize_hal::Arch;

use super::super::{Call, CallResult};
use super::open::install_new;

pub(super) fn init<A: Arch>(call: Call<'_, A>, has_flags: bool) -> CallResult {
    let flags = if has_flags { call.uint(0) } else { 0 };
    if flags & !(o::O_CLOEXEC | o::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    install_new(call, flags & o::O_CLOEXEC != 0, |vfs, env, caller| {
        vfs.make_watches(env, caller, flags)
    })
}

pub(super) async fn add<A: Arch>(call: Call<'_, A>) -> CallResult {
    let file = call.file(0)?;
    let path = call.path(1).await?.path;
    call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| {
            vfs.add_watch(env, caller, file, &path, call.uint(2))
        })
    })
}

pub(super) fn remove<A: Arch>(call: Call<'_, A>) -> CallResult {
    let file = call.file(0)?;
    call.k.with(|s| s.files.vfs.remove_watch(file, call.int(1))).map(|()| 0)
}
