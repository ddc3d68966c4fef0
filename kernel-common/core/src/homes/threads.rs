//! Whose a thread is, wherever the home of its process is.

use alloc::collections::BTreeMap;

use maize_abi::Errno;
use maize_hal::{Arch, Nanos};
use maize_wire::InstanceId;

use crate::fabric::message::{AskThread, Message, TellThread};
use crate::handle::Handle;
use crate::ids::{Pid, Tid};
use crate::process::Life;
use crate::state::State;
use crate::thread::Current;
use crate::wait::{Interruptible, WaitKey, Woken};

/// Why nothing is known of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoThread {
    /// No process has it.
    Nowhere,
    /// A signal has come while a process was on its way that may have it.
    Interrupted,
}

impl From<NoThread> for Errno {
    fn from(no_thread: NoThread) -> Errno {
        match no_thread {
            NoThread::Nowhere => Errno::ESRCH,
            NoThread::Interrupted => Errno::ERESTARTNOINTR,
        }
    }
}

/// Processes that live elsewhere, each with its home; none while it is on its way.
type Away = BTreeMap<Pid, Option<InstanceId>>;

impl<A: Arch> State<A> {
    fn processes_away(&self, group: Option<Pid>) -> Away {
        let away = self.processes.iter().filter(|(pid, process)| {
            group.is_none_or(|group| group == **pid) && !matches!(process.life, Life::Zombie(_))
        });
        away.filter_map(|(pid, process)| match &process.seat {
            seat if seat.held.is_some() => Some((*pid, None)),
            seat => seat.away.map(|home| (*pid, Some(home))),
        })
        .collect()
    }

    /// The registry asks whose a thread is.
    pub(crate) fn tell_thread(&mut self, from: InstanceId, ask: AskThread) {
        let thread = self.threads.get(&Tid(ask.tid)).filter(|thread| thread.guest.is_none());
        let process = thread.map(|thread| thread.process).filter(|pid| {
            self.processes.get(pid).is_some_and(|process| process.seat.registry == Some(from))
        });
        let told = TellThread { id: ask.id, process: process.map(|pid| pid.0) };
        self.answer(from, ask.id, told.into());
    }
}

impl<A: Arch> Handle<A> {
    /// At the registry: the process that has a thread. With `group` only that process is looked at.
    ///
    /// # Errors
    /// [`NoThread`].
    pub(crate) async fn process_of_thread(
        &self,
        current: Current,
        group: Option<Pid>,
        tid: Tid,
    ) -> Result<Pid, NoThread> {
        let wanted = |pid: &Pid| group.is_none_or(|group| group == *pid);
        loop {
            if let Some(pid) = self.with(|s| s.threads.get(&tid).map(|thread| thread.process)) {
                return Some(pid).filter(wanted).ok_or(NoThread::Nowhere);
            }
            let away = self.with(|s| s.processes_away(group));
            if let Some((pid, _)) = away.iter().find(|(_, home)| home.is_none()) {
                let keys = [WaitKey::Unparked(*pid)];
                let by = Interruptible::BySignals;
                if self.wait_for(current.task, &keys, Nanos::NEVER, by).await == Woken::Interrupted
                {
                    return Err(NoThread::Interrupted);
                }
                continue;
            }
            let mut homes: alloc::vec::Vec<InstanceId> = away.values().copied().flatten().collect();
            homes.sort_unstable();
            homes.dedup();
            for home in homes {
                let id = self
                    .with(|s| s.ask(home, current.tid.0, |id| AskThread { id, tid: tid.0 }.into()));
                let told = self.answer(current.task, home, id, Interruptible::Not).await;
                // What a home says of a process that is not there is not heeded. One that is gone has
                // no threads.
                if let Ok(Message::TellThread(TellThread { process: Some(pid), .. })) =
                    told.as_deref()
                    && away.get(&Pid(*pid)) == Some(&Some(home))
                {
                    return Some(Pid(*pid)).filter(wanted).ok_or(NoThread::Nowhere);
                }
            }
            // A process that has moved meanwhile may have had it where nobody was asked.
            if self.with(|s| s.processes_away(group)) == away
                && !self.with(|s| s.threads.contains_key(&tid))
            {
                return Err(NoThread::Nowhere);
            }
        }
    }
}
