//! Making, moving and removing names.

use maize_abi::Errno;
use maize_abi::file::{at, s};
use maize_hal::Arch;
use maize_vfs::{At, Follow, MakeNode, Target};

use super::super::{Call, CallResult};
use super::PathArgument;

fn make_directory<A: Arch>(call: Call<'_, A>, to: &PathArgument, mode: u32) -> CallResult {
    call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| {
            vfs.make_directory(env, caller, to.at, &to.path, mode)
        })
    })?;
    Ok(0)
}

pub(super) async fn mkdir<A: Arch>(call: Call<'_, A>) -> CallResult {
    make_directory(call, &call.path(0).await?, call.uint(1))
}

pub(super) async fn mkdirat<A: Arch>(call: Call<'_, A>) -> CallResult {
    make_directory(call, &call.path_at(0).await?, call.uint(2))
}

fn make_node<A: Arch>(call: Call<'_, A>, to: &PathArgument, mode: u32, number: u64) -> CallResult {
    let what = match mode & s::S_IFMT {
        0 | s::S_IFREG => MakeNode::Regular,
        s::S_IFIFO => MakeNode::Fifo,
        s::S_IFSOCK => MakeNode::Socket,
        s::S_IFCHR => MakeNode::Device { number, block: false },
        s::S_IFBLK => MakeNode::Device { number, block: true },
        s::S_IFDIR => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| {
            vfs.make_node(env, caller, (to.at, &to.path), what, mode)
        })
    })?;
    Ok(0)
}

pub(super) async fn mknod<A: Arch>(call: Call<'_, A>) -> CallResult {
    make_node(call, &call.path(0).await?, call.uint(1), u64::from(call.uint(2)))
}

pub(super) async fn mknodat<A: Arch>(call: Call<'_, A>) -> CallResult {
    make_node(call, &call.path_at(0).await?, call.uint(2), u64::from(call.uint(3)))
}

/// Removes a name.
fn remove<A: Arch>(call: Call<'_, A>, of: &PathArgument, kind: Removal) -> CallResult {
    call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| match kind {
            Removal::Directory => vfs.remove_directory(env, caller, of.at, &of.path),
            Removal::Other => vfs.unlink(env, caller, of.at, &of.path),
        })
    })?;
    Ok(0)
}

#[derive(Clone, Copy)]
enum Removal {
    Directory,
    Other,
}

pub(super) async fn rmdir<A: Arch>(call: Call<'_, A>) -> CallResult {
    remove(call, &call.path(0).await?, Removal::Directory)
}

pub(super) async fn unlink<A: Arch>(call: Call<'_, A>) -> CallResult {
    remove(call, &call.path(0).await?, Removal::Other)
}

pub(super) async fn unlinkat<A: Arch>(call: Call<'_, A>) -> CallResult {
    let kind = match call.uint(2) {
        0 => Removal::Other,
        at::AT_REMOVEDIR => Removal::Directory,
        _ => return Err(Errno::EINVAL),
    };
    remove(call, &call.path_at(0).await?, kind)
}

fn make_link<A: Arch>(
    call: Call<'_, A>,
    from: &PathArgument,
    follow: Follow,
    to: &PathArgument,
) -> CallResult {
    call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| {
            vfs.link(env, caller, (from.at, &from.path, follow), (to.at, &to.path))
        })
    })?;
    Ok(0)
}

pub(super) async fn link<A: Arch>(call: Call<'_, A>) -> CallResult {
    let from = call.path(0).await?;
    make_link(call, &from, Follow::No, &call.path(1).await?)
}

pub(super) async fn linkat<A: Arch>(call: Call<'_, A>) -> CallResult {
    let flags = call.uint(4);
    if flags & !(at::AT_SYMLINK_FOLLOW | at::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let from = call.path_at(0).await?;
    let to = call.path_at(2).await?;
    if let (At::File(file), true) = (from.at, from.path.is_empty())
        && flags & at::AT_EMPTY_PATH != 0
    {
        call.k.with(|s| {
            s.with_files(call.current, |vfs, env, caller| {
                vfs.link_file(env, caller, file, (to.at, &to.path))
            })
        })?;
        return Ok(0);
    }
    let follow = if flags & at::AT_SYMLINK_FOLLOW != 0 { Follow::Yes } else { Follow::No };
    make_link(call, &from, follow, &to)
}

fn make_symlink<A: Arch>(call: Call<'_, A>, target: &[u8], to: &PathArgument) -> CallResult {
    call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| {
            vfs.make_symlink(env, caller, target, to.at, &to.path)
        })
    })?;
    Ok(0)
}

pub(super) async fn symlink<A: Arch>(call: Call<'_, A>) -> CallResult {
    let target = call.path(0).await?.path;
    make_symlink(call, &target, &call.path(1).await?)
}

pub(super) async fn symlinkat<A: Arch>(call: Call<'_, A>) -> CallResult {
    let target = call.path(0).await?.path;
    make_symlink(call, &target, &call.path_at(1).await?)
}

async fn show_link<A: Arch>(
    call: Call<'_, A>,
    of: PathArgument,
    address: u64,
    len: u64,
) -> CallResult {
    if len as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    let target = match of.at {
        At::File(file) if of.path.is_empty() => Target::File(file),
        at => Target::Path(at, &of.path, Follow::No),
    };
    let mut path = call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| vfs.read_link(env, caller, target))
    })?;
    path.truncate(len as i32 as usize);
    call.k.write_user(call.current, address, &path).await?;
    Ok(path.len() as u64)
}

pub(super) async fn readlink<A: Arch>(call: Call<'_, A>) -> CallResult {
    show_link(call, call.path(0).await?, call.args[1], call.args[2]).await
}

pub(super) async fn readlinkat<A: Arch>(call: Call<'_, A>) -> CallResult {
    show_link(call, call.path_at(0).await?, call.args[2], call.args[3]).await
}

fn change<A: Arch>(
    call: Call<'_, A>,
    from: &PathArgument,
    to: &PathArgument,
    flags: u32,
) -> CallResult {
    call.k.with(|s| {
        s.with_files(call.current, |vfs, env, caller| {
            vfs.rename(env, caller, (from.at, &from.path), (to.at, &to.path), flags)
        })
    })?;
    Ok(0)
}

pub(super) async fn rename<A: Arch>(call: Call<'_, A>) -> CallResult {
    let from = call.path(0).await?;
    change(call, &from, &call.path(1).await?, 0)
}

pub(super) async fn renameat<A: Arch>(call: Call<'_, A>, has_flags: bool) -> CallResult {
    let flags = if has_flags { call.uint(4) } else { 0 };
    let from = call.path_at(0).await?;
    change(call, &from, &call.path_at(2).await?, flags)
}
