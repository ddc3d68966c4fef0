//! `fork`, `vfork`, `clone`, `clone3`, `exit`, `exit_group`, `set_tid_address`.

use maize_abi::Errno;
use maize_abi::signal::Signal;
use maize_hal::Arch;

use super::{Call, CallResult};
use crate::lifecycle::{self, CloneArgs, flag};

/// The byte of `clone`'s flags that holds the exit signal.
const CSIGNAL: u64 = 0xff;

const SIGCHLD: u64 = Signal::SIGCHLD.number() as u64;

pub(super) async fn fork<A: Arch>(call: Call<'_, A>) -> CallResult {
    let args = CloneArgs { exit_signal: SIGCHLD, ..CloneArgs::default() };
    lifecycle::clone(call.k, call.current, args).await
}

pub(super) async fn vfork<A: Arch>(call: Call<'_, A>) -> CallResult {
    let flags = flag::CLONE_VM | flag::CLONE_VFORK;
    let args = CloneArgs { flags, exit_signal: SIGCHLD, ..CloneArgs::default() };
    lifecycle::clone(call.k, call.current, args).await
}

pub(super) async fn clone<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [flags, stack, parent_tid, fourth, fifth, _] = call.args;
    // x86_64 has the child's tid before the thread pointer, the generic order the reverse.
    let (child_tid, tls) =
        if call.isa.clone_tls_last() { (fourth, fifth) } else { (fifth, fourth) };
    let both = flag::CLONE_PIDFD | flag::CLONE_PARENT_SETTID;
    if flags & both == both {
        // Both would be written to one place.
        return Err(Errno::EINVAL);
    }
    let args = CloneArgs {
        flags: flags & 0xffff_ffff & !CSIGNAL,
        exit_signal: flags & CSIGNAL,
        stack,
        parent_tid,
        child_tid,
        tls,
        pidfd: parent_tid,
    };
    lifecycle::clone(call.k, call.current, args).await
}

/// Words of `struct clone_args` in its first version, and in the largest known.
const CLONE_ARGS_MIN: u64 = 64;
const CLONE_ARGS_MAX: u64 = 88;

pub(super) async fn clone3<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [address, size, ..] = call.args;
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    if size < CLONE_ARGS_MIN {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; 4096];
    let len = size as usize;
    call.k.read_user(call.current, address, &mut bytes[..len]).await?;
    if bytes[CLONE_ARGS_MAX as usize..].iter().any(|b| *b != 0) {
        return Err(Errno::E2BIG);
    }
    let word = |n: usize| {
        let mut w = [0; 8];
        w.copy_from_slice(&bytes[8 * n..8 * n + 8]);
        u64::from_le_bytes(w)
    };
    let (stack, stack_size) = (word(5), word(6));
    if (stack == 0) != (stack_size == 0) || word(4) & !CSIGNAL != 0 {
        return Err(Errno::EINVAL);
    }
    // `set_tid` needs namespaces, `cgroup` control groups.
    if word(8) != 0 || word(9) != 0 || word(10) != 0 {
        return Err(Errno::EINVAL);
    }
    let args = CloneArgs {
        flags: word(0),
        exit_signal: word(4),
        stack: stack.wrapping_add(stack_size),
        parent_tid: word(3),
        child_tid: word(2),
        tls: word(7),
        pidfd: word(1),
    };
    if args.flags & CSIGNAL != 0 {
        return Err(Errno::EINVAL);
    }
    lifecycle::clone(call.k, call.current, args).await
}

pub(super) fn exit<A: Arch>(call: Call<'_, A>) -> CallResult {
    let status = lifecycle::exited(call.int(0));
    call.k.with(|s| {
        if let Some(thread) = s.threads.get_mut(&call.current.tid) {
            thread.exiting = Some(status);
        }
    });
    Ok(0)
}

pub(super) fn exit_group<A: Arch>(call: Call<'_, A>) -> CallResult {
    let status = lifecycle::exited(call.int(0));
    call.k.with(|s| s.begin_group_exit(call.current.pid, status));
    Ok(0)
}

pub(super) fn set_tid_address<A: Arch>(call: Call<'_, A>) -> CallResult {
    call.k.with(|s| {
        if let Some(thread) = s.threads.get_mut(&call.current.tid) {
            thread.clear_child_tid = call.args[0];
        }
    });
    Ok(u64::from(call.current.tid.0))
}
