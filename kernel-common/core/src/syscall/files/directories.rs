//! Directories: reading them, and where a process stands.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::{push_dirent, push_dirent64};
use maize_hal::Arch;
use maize_vfs::{At, DirEntry};

use super::super::{Call, CallResult};

/// Bytes of entries that one call gives at most.
const LISTING: u64 = 32 * 1024;
/// Entries that one call gives at most.
const ENTRIES: usize = 1024;

pub(super) async fn getdents<A: Arch>(call: Call<'_, A>, wide: bool) -> CallResult {
    let current = call.current;
    let [_, address, len, ..] = call.args;
    let file = call.file(0)?;
    let limit = u64::from(len as u32).min(LISTING) as usize;
    let listed = call.k.with_writable(current, [(address, limit as u64)], |s| {
        let mut bytes = Vec::new();
        let mut refused = false;
        let mut push = |entry: &DirEntry| {
            let fields = (entry.ino, entry.next, entry.mode);
            let fits = if wide {
                push_dirent64(&mut bytes, limit, fields, &entry.name)
            } else {
                push_dirent(&mut bytes, limit, fields, &entry.name)
            };
            refused |= !fits;
            fits
        };
        s.with_files(current, |vfs, env, _| vfs.read_dir(env, file, ENTRIES, &mut push))?;
        if bytes.is_empty() && refused {
            return Err(Errno::EINVAL);
        }
        s.write_now(current, address, &bytes)?;
        Ok(bytes.len() as u64)
    });
    listed.await
}

pub(super) async fn getcwd<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [address, len, ..] = call.args;
    let mut path = call
        .k
        .with(|s| s.with_files(call.current, |vfs, _, caller| vfs.working_directory(caller)))?;
    path.push(0);
    if path.len() as u64 > len {
        return Err(Errno::ERANGE);
    }
    call.k.write_user(call.current, address, &path).await?;
    Ok(path.len() as u64)
}

/// Changes what part of a process's view.
#[derive(Clone, Copy)]
enum Part {
    Directory,
    Root,
}

fn go<A: Arch>(call: Call<'_, A>, part: Part, node: maize_vfs::Node) -> CallResult {
    let current = call.current;
    call.k.with(|s| {
        s.change_view(current, |vfs, env, view| match part {
            Part::Directory => vfs.set_directory(env, view, node),
            Part::Root => vfs.set_root(env, view, node),
        })
    })?;
    Ok(0)
}

async fn find<A: Arch>(call: Call<'_, A>) -> Result<maize_vfs::Node, Errno> {
    let path = call.path(0).await?.path;
    call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| {
            vfs.find_directory(env, caller, At::Cwd, &path)
        })
    })
}

pub(super) async fn chdir<A: Arch>(call: Call<'_, A>) -> CallResult {
    go(call, Part::Directory, find(call).await?)
}

pub(super) async fn chroot<A: Arch>(call: Call<'_, A>) -> CallResult {
    go(call, Part::Root, find(call).await?)
}

pub(super) fn fchdir<A: Arch>(call: Call<'_, A>) -> CallResult {
    let file = call.file(0)?;
    let node = call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| vfs.open_directory(env, caller, file))
    })?;
    go(call, Part::Directory, node)
}
