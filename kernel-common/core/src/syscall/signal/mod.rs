//! Signal system calls.

use maize_abi::signal::{
    ALTSTACK_LEN, AltStack, Restored, SIGACTION_LEN, SIGINFO_LEN, SavedFpu, SigAction, Signal,
    SignalSet,
};
use maize_abi::{Errno, Isa};
use maize_hal::{Arch, FpuState, Nanos};

mod send;

pub(super) use send::{kill, rt_sigqueueinfo, rt_tgsigqueueinfo, send_to_file, tgkill, tkill};

use super::{Call, CallResult};
use crate::homes::News;
use crate::ids::{Pid, Tid};
use crate::state::State;
use crate::wait::{Interruptible, WaitKey, Woken};

/// Bytes of the kernel's `sigset_t`; every call that takes a set is told this length.
const SIGSET_LEN: u64 = 8;

pub(super) fn check_len(len: u64) -> Result<(), Errno> {
    if len == SIGSET_LEN { Ok(()) } else { Err(Errno::EINVAL) }
}

pub(super) async fn read_set<A: Arch>(call: Call<'_, A>, at: u64) -> Result<SignalSet, Errno> {
    let [word] = call.k.read_words::<1>(call.current, at).await?;
    Ok(SignalSet(word))
}

pub(super) async fn rt_sigaction<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, new, old, len, ..] = call.args;
    check_len(len)?;
    let signal = Signal::new(u64::from(call.uint(0))).ok_or(Errno::EINVAL)?;
    let index = usize::from(signal.number()) - 1;
    let mut action = None;
    if new != 0 {
        let mut bytes = [0; SIGACTION_LEN];
        call.k.read_user(call.current, new, &mut bytes).await?;
        let mut wanted = SigAction::from_bytes(&bytes);
        wanted.mask = wanted.mask.blockable();
        if signal == Signal::SIGKILL || signal == Signal::SIGSTOP {
            return Err(Errno::EINVAL);
        }
        action = Some(wanted);
    }
    if old != 0 {
        let before = call.k.with(|s| s.processes.get(&call.current.pid).map(|p| p.actions[index]));
        let before = before.ok_or(Errno::ESRCH)?;
        call.k.write_user(call.current, old, &before.to_bytes()).await?;
    }
    if let Some(action) = action {
        call.k.with(|s| s.set_action(call.current.pid, signal, action));
    }
    Ok(0)
}

impl<A: Arch> State<A> {
    fn set_action(&mut self, pid: Pid, signal: Signal, action: SigAction) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.actions[usize::from(signal.number()) - 1] = action;
        // What the registry decides by.
        const LOOKED_AT: [Signal; 3] = [Signal::SIGCHLD, Signal::SIGTTIN, Signal::SIGTTOU];
        if let (Some(registry), true) = (process.seat.registry, LOOKED_AT.contains(&signal)) {
            let SigAction { handler, flags, .. } = action;
            self.tell_news(registry, pid, News::Action { signal: signal.number(), handler, flags });
        }
        // A pending signal that is now ignored is gone, blocked or not.
        if Self::is_ignored(&action, signal) {
            self.discard_everywhere(pid, SignalSet::of(signal));
        }
    }

    fn set_mask(&mut self, tid: Tid, mask: SignalSet) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.mask = mask.blockable();
        }
    }

    fn mask(&self, tid: Tid) -> SignalSet {
        self.threads.get(&tid).map_or(SignalSet::EMPTY, |t| t.mask)
    }

    /// Sets a mask for the duration of one call; what was there comes back when the call's
    /// signals have been taken.
    pub(crate) fn set_temporary_mask(&mut self, tid: Tid, mask: SignalSet) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.saved_mask.get_or_insert(thread.mask);
            thread.mask = mask.blockable();
            if let Some(home) = thread.guest.map(|guest| guest.home) {
                // Signals find the thread there.
                let pid = thread.process;
                self.tell_news(home, pid, News::Masked { tid: tid.0, mask: mask.0 });
            }
        }
    }
}

pub(super) async fn rt_sigprocmask<A: Arch>(call: Call<'_, A>) -> CallResult {
    const SIG_BLOCK: i32 = 0;
    const SIG_UNBLOCK: i32 = 1;
    const SIG_SETMASK: i32 = 2;
    let [_, new, old, len, ..] = call.args;
    check_len(len)?;
    let before = call.k.with(|s| s.mask(call.current.tid));
    if new != 0 {
        let set = read_set(call, new).await?;
        let mask = match call.int(0) {
            SIG_BLOCK => before.union(set),
            SIG_UNBLOCK => before.difference(set),
            SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL),
        };
        call.k.with(|s| s.set_mask(call.current.tid, mask));
    }
    if old != 0 {
        call.k.write_user(call.current, old, &before.0.to_le_bytes()).await?;
    }
    Ok(0)
}

pub(super) async fn rt_sigpending<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [at, len, ..] = call.args;
    if len > SIGSET_LEN {
        return Err(Errno::EINVAL);
    }
    let pending = call.k.with(|s| {
        let mask = s.mask(call.current.tid);
        s.pending_signals(call.current).map(|pending| pending.intersection(mask))
    })?;
    let bytes = pending.0.to_le_bytes();
    call.k.write_user(call.current, at, &bytes[..len as usize]).await?;
    Ok(0)
}

pub(super) async fn rt_sigsuspend<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [at, len, ..] = call.args;
    check_len(len)?;
    let mask = read_set(call, at).await?;
    call.k.with(|s| s.set_temporary_mask(call.current.tid, mask));
    pause(call).await
}

pub(super) async fn pause<A: Arch>(call: Call<'_, A>) -> CallResult {
    let never = Nanos::NEVER;
    while call.k.wait_for(call.current.task, &[], never, Interruptible::BySignals).await
        != Woken::Interrupted
    {}
    Err(Errno::ERESTARTNOHAND)
}

pub(super) async fn rt_sigtimedwait<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [set, info_at, timeout, len, ..] = call.args;
    check_len(len)?;
    let set = read_set(call, set).await?.blockable();
    let mut deadline = Nanos::NEVER;
    if timeout != 0 {
        let span = call.k.read_timespec(call.current, timeout).await?;
        deadline = call.k.with(|s| s.now()) + span;
    }
    if info_at != 0 {
        call.k.hold_writable(call.current, info_at, SIGINFO_LEN as u64).await?;
    }
    let info = loop {
        let taken = call.k.with(|s| {
            let taken = s.take_pending(call.current, set);
            let thread = s.threads.get_mut(&call.current.tid)?;
            thread.awaited = if taken.is_some() { SignalSet::EMPTY } else { set };
            taken
        });
        if let Some(info) = taken {
            break info;
        }
        let keys = [WaitKey::Signal(call.current.tid)];
        let woken =
            call.k.wait_for(call.current.task, &keys, deadline, Interruptible::BySignals).await;
        let errno = match woken {
            Woken::Event => continue,
            Woken::TimedOut => Errno::EAGAIN,
            Woken::Interrupted => Errno::EINTR,
        };
        let came_too = call.k.with(|s| {
            let thread = s.threads.get_mut(&call.current.tid)?;
            thread.awaited = SignalSet::EMPTY;
            s.take_pending(call.current, set)
        });
        match came_too {
            Some(info) => break info,
            None => return Err(errno),
        }
    };
    if info_at != 0 {
        call.k.write_user(call.current, info_at, &info.to_bytes()).await?;
    }
    Ok(u64::from(info.signal.number()))
}

pub(super) async fn sigaltstack<A: Arch>(call: Call<'_, A>) -> CallResult {
    /// Linux's `MINSIGSTKSZ` on x86_64; aarch64's is larger, and programs use that or more.
    const MINSIGSTKSZ: u64 = 2048;
    let [new, old, ..] = call.args;
    let mut wanted = None;
    if new != 0 {
        let mut bytes = [0; ALTSTACK_LEN];
        call.k.read_user(call.current, new, &mut bytes).await?;
        wanted = Some(AltStack::from_bytes(&bytes));
    }
    let (before, on_it) = call
        .k
        .with(|s| s.threads.get(&call.current.tid).map(|t| (t.altstack, t.on_altstack())))
        .ok_or(Errno::ESRCH)?;
    if let Some(mut stack) = wanted {
        if on_it {
            return Err(Errno::EPERM);
        }
        let mode = stack.flags & !AltStack::SS_AUTODISARM;
        if !matches!(mode, 0 | AltStack::SS_ONSTACK | AltStack::SS_DISABLE) {
            return Err(Errno::EINVAL);
        }
        if mode == AltStack::SS_DISABLE {
            stack = AltStack::NONE;
        } else if stack.size < MINSIGSTKSZ {
            return Err(Errno::ENOMEM);
        } else {
            stack.flags &= AltStack::SS_AUTODISARM;
        }
        call.k.with(|s| {
            if let Some(thread) = s.threads.get_mut(&call.current.tid) {
                thread.altstack = stack;
            }
        });
    }
    if old != 0 {
        let on_stack = if on_it { AltStack::SS_ONSTACK } else { 0 };
        let shown = AltStack { flags: before.flags | on_stack, ..before };
        call.k.write_user(call.current, old, &shown.to_bytes()).await?;
    }
    Ok(0)
}

pub(super) async fn rt_sigreturn<A: Arch>(call: Call<'_, A>) {
    if restore_frame(call).await.is_err() {
        call.k.with(|s| s.bad_stack(call.current));
    }
}

async fn restore_frame<A: Arch>(call: Call<'_, A>) -> Result<(), Errno> {
    let tid = call.current.tid;
    let is_own = call.isa == <A::Isa as Isa>::KIND;
    let (mut regs, fpu_len) = call
        .k
        .with(|s| {
            let thread = s.threads.get(&tid)?;
            // That of another instruction set is as long as where the thread comes from.
            let len = if is_own { s.arch.fpu_len() } else { thread.fpu.bytes().len() };
            Some((thread.regs, len))
        })
        .ok_or(Errno::ESRCH)?;
    let (address, len) = regs.signal_frame_extent();
    let mut frame = alloc::vec![0; len];
    call.k.read_user(call.current, address, &mut frame).await?;
    let Restored { mask, altstack, fpu } =
        regs.pop_signal_frame(&frame).map_err(|_| Errno::EFAULT)?;
    if regs.pc() >= call.isa.user_end() {
        return Err(Errno::EFAULT);
    }
    let fpu = match fpu {
        None => None,
        Some(SavedFpu::Inline(bytes)) => Some(bytes),
        Some(SavedFpu::At { address, len }) => {
            let mut bytes = alloc::vec![0; fpu_len.min(len)];
            call.k.read_user(call.current, address, &mut bytes).await?;
            Some(bytes)
        }
    };
    call.k.with(|s| {
        let state = match fpu {
            Some(bytes) if is_own => s.arch.sanitize_fpu(&bytes),
            None if is_own => s.arch.fpu_initial(),
            // It is looked at where it can be loaded; an empty one stands for the initial one.
            fpu => {
                let bytes = fpu.unwrap_or_default();
                let mut state = FpuState::zeroed(bytes.len());
                state.bytes_mut().copy_from_slice(&bytes);
                state
            }
        };
        s.run_queue.forget_fpu(tid);
        if let Some(thread) = s.threads.get_mut(&tid) {
            let on_stack_now = thread.on_altstack();
            thread.regs = regs;
            thread.set_fpu(state);
            thread.mask = mask;
            // As `sigaltstack` would, whose errors Linux ignores here too.
            let flags = altstack.flags & (AltStack::SS_AUTODISARM | AltStack::SS_DISABLE);
            if !on_stack_now || thread.altstack.flags & AltStack::SS_DISABLE != 0 {
                thread.altstack = AltStack { flags, ..altstack };
            }
        }
    });
    Ok(())
}
