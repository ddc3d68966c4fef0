//! Taking signals before a thread returns to user mode.

use alloc::boxed::Box;

use maize_abi::signal::{
    AltStack, DefaultAction, Delivery, SigAction, SigInfo, Signal, SignalFrame, SignalSet, sa,
    si_code,
};
use maize_abi::{AnyRegs, Errno, Isa, Sysno};
use maize_hal::{Arch, Nanos};

use crate::handle::Handle;
use crate::state::State;
use crate::thread::Current;
use crate::wait::{Interruptible, WaitKey};

/// What is to be done about a signal that was taken.
enum Taken {
    Nothing,
    /// A handler is to run with these registers once the frame is written.
    Handler {
        frame: SignalFrame,
        regs: Box<AnyRegs>,
        mask: SignalSet,
        altstack: AltStack,
    },
    /// Look again.
    Again,
    /// Wait until the process is continued.
    Stopped,
}

/// Takes all signals that are to be taken now. When it returns, the thread either has to exit or
/// can go to user mode with its registers as they are.
pub(crate) async fn deliver<A: Arch>(k: &Handle<A>, current: Current) {
    loop {
        match k.with(|s| s.take_signal(current)) {
            Taken::Again => {}
            Taken::Stopped if k.with(|s| s.is_leaving(current.tid)) => {
                k.with(|s| s.finish_interrupted_call(current));
                return;
            }
            Taken::Stopped => {
                let key = [WaitKey::Continued(current.pid)];
                k.wait_for(current.task, &key, Nanos::NEVER, Interruptible::ByKill).await;
                if k.with(|s| s.must_exit(current.tid)) {
                    return;
                }
            }
            Taken::Handler { frame, regs, mask, altstack } => {
                let written = k.write_user(current, frame.address, &frame.bytes).await;
                k.with(|s| match (written, s.threads.get_mut(&current.tid)) {
                    (Ok(()), Some(thread)) => {
                        thread.regs = *regs;
                        thread.mask = mask;
                        thread.altstack = altstack;
                        thread.saved_mask = None;
                    }
                    // No stack for the frame: SIGSEGV, which itself finds no stack and kills.
                    _ => s.bad_stack(current),
                });
            }
            Taken::Nothing => {
                k.with(|s| s.finish_interrupted_call(current));
                return;
            }
        }
    }
}

impl<A: Arch> State<A> {
    fn take_signal(&mut self, current: Current) -> Taken {
        if self.must_exit(current.tid) {
            return Taken::Nothing;
        }
        let (Some(thread), Some(process)) =
            (self.threads.get(&current.tid), self.processes.get(&current.pid))
        else {
            return Taken::Nothing;
        };
        if process.stopped {
            return Taken::Stopped;
        }
        let wanted = SignalSet(!thread.mask.0);
        let Some(info) = self.take_pending(current, wanted) else { return Taken::Nothing };
        let (Some(thread), Some(process)) =
            (self.threads.get(&current.tid), self.processes.get_mut(&current.pid))
        else {
            return Taken::Nothing;
        };
        let slot = &mut process.actions[usize::from(info.signal.number()) - 1];
        let action = *slot;
        match action.handler {
            SigAction::SIG_IGN => Taken::Again,
            SigAction::SIG_DFL => self.default_action(current, info),
            // The kernel's way back from a handler is code of this instance's instruction set.
            _ if thread.isa() != <A::Isa as Isa>::KIND && action.flags & sa::SA_RESTORER == 0 => {
                log::error!("thread {} has no way to run a handler where it is", current.tid);
                self.begin_group_exit(current.pid, u32::from(Signal::SIGSEGV.number()));
                Taken::Nothing
            }
            _ => {
                if action.flags & sa::SA_RESETHAND != 0 {
                    *slot = SigAction::default();
                }
                self.enter_handler(current, info, action)
            }
        }
    }

    fn default_action(&mut self, current: Current, info: SigInfo) -> Taken {
        match info.signal.default_action() {
            DefaultAction::Ignore | DefaultAction::Continue => Taken::Again,
            DefaultAction::Terminate => {
                self.begin_group_exit(current.pid, u32::from(info.signal.number()));
                Taken::Nothing
            }
            DefaultAction::Core => {
                self.report_fatal(current, info);
                self.begin_group_exit(current.pid, u32::from(info.signal.number()));
                Taken::Nothing
            }
            DefaultAction::Stop => {
                // Nobody could continue an orphaned group that its own terminal stopped.
                if info.signal != Signal::SIGSTOP && self.is_orphaned_group(current.pid) {
                    return Taken::Again;
                }
                let Some(process) = self.processes.get_mut(&current.pid) else {
                    return Taken::Nothing;
                };
                process.stopped = true;
                process.unreported.stopped = Some(info.signal.number());
                process.unreported.continued = false;
                let parent = process.parent;
                let status = i32::from(info.signal.number());
                self.notify_parent(current.pid, parent, si_code::CLD_STOPPED, status);
                self.interrupt_all(current.pid);
                Taken::Stopped
            }
        }
    }

    fn enter_handler(&mut self, current: Current, info: SigInfo, action: SigAction) -> Taken {
        self.settle_interrupted_call(current, Some(&action));
        self.sync_fpu(current.tid);
        let trampoline = self.processes.get(&current.pid).map_or(0, |p| p.trampoline);
        let Some(thread) = self.threads.get_mut(&current.tid) else { return Taken::Nothing };
        let mut regs = thread.regs;
        let wants_altstack = action.flags & sa::SA_ONSTACK != 0;
        let (stack_top, altstack_flags) = match thread.altstack {
            stack if stack.flags & AltStack::SS_DISABLE != 0 => (regs.sp(), AltStack::SS_DISABLE),
            _ if thread.on_altstack() => (regs.sp(), AltStack::SS_ONSTACK),
            stack if wants_altstack => (stack.sp.wrapping_add(stack.size), 0),
            _ => (regs.sp(), 0),
        };
        let autodisarm = thread.altstack.flags & AltStack::SS_AUTODISARM;
        let delivery = Delivery {
            info,
            action,
            mask: thread.saved_mask.unwrap_or(thread.mask),
            altstack: AltStack { flags: altstack_flags | autodisarm, ..thread.altstack },
            stack_top,
            trampoline,
            fpu: thread.fpu.bytes(),
        };
        let frame = regs.push_signal_frame(&delivery);
        let mut mask = thread.mask.union(action.mask);
        if action.flags & sa::SA_NODEFER == 0 {
            mask.insert(info.signal);
        }
        let altstack = if autodisarm != 0 { AltStack::NONE } else { thread.altstack };
        Taken::Handler { frame, regs: Box::new(regs), mask: mask.blockable(), altstack }
    }

    /// Decides what becomes of a call that a signal met, now that a handler runs (`action`) or
    /// none does.
    fn settle_interrupted_call(&mut self, current: Current, action: Option<&SigAction>) {
        let Some(thread) = self.threads.get_mut(&current.tid) else { return };
        let Some(call) = thread.interrupted_call.take() else { return };
        let restarts = match (call.how, action) {
            (Errno::ERESTARTNOINTR, _) | (_, None) => true,
            (Errno::ERESTARTSYS, Some(action)) => action.flags & sa::SA_RESTART != 0,
            _ => false,
        };
        if !restarts {
            thread.restart = None;
            thread.regs.set_syscall_result(Errno::EINTR.to_register());
            return;
        }
        let number = if call.how == Errno::ERESTART_RESTARTBLOCK {
            thread.isa().number_of(Sysno::RestartSyscall).unwrap_or(u64::MAX)
        } else {
            call.number
        };
        thread.regs.rewind_syscall(number, call.arg0);
    }

    /// No handler runs: an interrupted call is restarted, a mask that was set aside comes back.
    fn finish_interrupted_call(&mut self, current: Current) {
        self.settle_interrupted_call(current, None);
        if let Some(thread) = self.threads.get_mut(&current.tid)
            && let Some(mask) = thread.saved_mask.take()
        {
            thread.mask = mask;
        }
    }

    /// A handler's frame cannot be written: the process ends by SIGSEGV unless that has a handler
    /// on another stack.
    pub(crate) fn bad_stack(&mut self, current: Current) {
        let Some(thread) = self.threads.get(&current.tid) else { return };
        let has_other_stack =
            thread.altstack.flags & AltStack::SS_DISABLE == 0 && !thread.on_altstack();
        let Some(process) = self.processes.get_mut(&current.pid) else { return };
        let action = &mut process.actions[usize::from(Signal::SIGSEGV.number()) - 1];
        if !has_other_stack || action.flags & sa::SA_ONSTACK == 0 {
            *action = SigAction::default();
        }
        self.force_signal(current.tid, SigInfo::from_kernel(Signal::SIGSEGV));
    }
}
