//! Waiting: what a task waits for, and how its wait ends.
//!
//! A wait is registered in the same step that found nothing to do, so an event cannot fall between
//! the check and the wait. Every wait ends by an event, a deadline, or (if it is interruptible) a
//! signal; what the event made possible is checked again by who waited.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use maize_abi::Errno;
use maize_hal::{Arch, Nanos};
use maize_mm::{ObjectId, SpaceId};
use maize_wire::InstanceId;

use crate::executor::{TaskId, TaskQueue};
use crate::fabric::RequestId;
use crate::handle::Handle;
use crate::ids::{Pid, Tid};
use crate::semaphores::Turn;
use crate::timer::{TimerAction, TimerKey};

/// Something that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum WaitKey {
    /// A file, pipe or terminal may have become ready.
    File(maize_vfs::WaitKey),
    /// A child of this process has changed its state.
    Child(Pid),
    /// This process has left its parent's memory (`vfork`).
    Released(Pid),
    /// A thread of this process has ended.
    ThreadExit(Pid),
    /// A signal has become pending for this thread (`rt_sigtimedwait`).
    Signal(Tid),
    /// This thread was taken out of a futex queue.
    Futex(Tid),
    /// The terminal's foreground or a stopped process has changed.
    Continued(Pid),
    /// There is memory to be freed in the background.
    MemoryFreed,
    /// A peer has answered a request, or is gone.
    Answer(InstanceId, RequestId),
    /// A page that another instance had has come, or is lost.
    Page(ObjectId, u64),
    /// A change of this shared space has ended.
    Turn(SpaceId),
    /// A thread of this process has stopped because the process leaves, or need not.
    Parked(Pid),
    /// This process has left, or stays.
    Unparked(Pid),
    /// A peer has come.
    Peers,
    /// A message was sent to this queue or received from it, or it has changed or is gone.
    Messages(i32),
    /// Operations on semaphores that waited are carried out, or cannot be.
    Semaphores(Turn),
    /// The futexes of this page of a space have come back from the instance that they were lent to.
    Futexes(SpaceId, u64),
}

impl WaitKey {
    /// How many kinds there are.
    const KINDS: usize = 16;

    const fn kind(&self) -> usize {
        match self {
            WaitKey::File(_) => 0,
            WaitKey::Child(_) => 1,
            WaitKey::Released(_) => 2,
            WaitKey::ThreadExit(_) => 3,
            WaitKey::Signal(_) => 4,
            WaitKey::Futex(_) => 5,
            WaitKey::Continued(_) => 6,
            WaitKey::MemoryFreed => 7,
            WaitKey::Answer(..) => 8,
            WaitKey::Page(..) => 9,
            WaitKey::Turn(_) => 10,
            WaitKey::Parked(_) | WaitKey::Unparked(_) => 11,
            WaitKey::Peers => 12,
            WaitKey::Messages(_) => 13,
            WaitKey::Futexes(..) => 14,
            WaitKey::Semaphores(_) => 15,
        }
    }

    /// Whether what is waited for is part of an access to memory, and so comes soon.
    const fn is_of_access(&self) -> bool {
        matches!(self, WaitKey::Page(..) | WaitKey::Answer(..) | WaitKey::Turn(_))
    }
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// One of the events happened.
    Event,
    /// The deadline passed.
    TimedOut,
    /// A signal is to be handled.
    Interrupted,
}

/// Which signals end a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruptible {
    /// Any that the thread does not block.
    BySignals,
    /// Only one that ends the process.
    ByKill,
    /// Whatever brings a thread home that runs somewhere else: signals, a stop, another place.
    ByRecall,
    /// None: what is waited for is certain to come.
    Not,
}

/// A wait. Most are for one thing, and take no memory but their places in the maps.
#[derive(Debug)]
struct Wait {
    first: Option<WaitKey>,
    others: Vec<WaitKey>,
    /// Its place among the waits for the same key.
    turn: u64,
    timer: Option<TimerKey>,
    by: Interruptible,
    woken: Option<Woken>,
}

impl Wait {
    fn keys(&self) -> impl Iterator<Item = &WaitKey> {
        self.first.iter().chain(&self.others)
    }
}

/// Who waits for what.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// The wait that has begun last, if it has not ended: what is part of an access or a call mostly does
    /// before another begins. It is in neither map.
    newest: Option<(TaskId, Wait)>,
    /// Who waits for a key, in the order in which the waits began.
    by_key: BTreeMap<(WaitKey, u64), TaskId>,
    /// How many of these keys are of each kind.
    kinds: [u32; WaitKey::KINDS],
    by_task: BTreeMap<TaskId, Wait>,
    turns: u64,
}

impl Waits {
    fn begin(
        &mut self,
        task: TaskId,
        keys: &[WaitKey],
        timer: Option<TimerKey>,
        by: Interruptible,
    ) {
        let turn = self.turns;
        self.turns += 1;
        let (first, others) = match keys {
            [] => (None, Vec::new()),
            [first, others @ ..] => (Some(*first), others.to_vec()),
        };
        let wait = Wait { first, others, turn, timer, by, woken: None };
        if let Some((older, wait)) = self.newest.replace((task, wait))
            && older != task
        {
            for key in wait.keys() {
                self.by_key.insert((*key, wait.turn), older);
                self.kinds[key.kind()] += 1;
            }
            self.by_task.insert(older, wait);
        }
    }

    /// Removes the wait of `task` and returns its timer and how it ended.
    fn end(&mut self, task: TaskId) -> Option<(Option<TimerKey>, Option<Woken>)> {
        if let Some((_, wait)) = self.newest.take_if(|(newest, _)| *newest == task) {
            return Some((wait.timer, wait.woken));
        }
        let wait = self.by_task.remove(&task)?;
        for key in wait.keys() {
            self.by_key.remove(&(*key, wait.turn));
            self.kinds[key.kind()] -= 1;
        }
        Some((wait.timer, wait.woken))
    }

    /// Ends the waits for `key`, and has the tasks polled.
    pub(crate) fn wake(&mut self, key: WaitKey, tasks: &mut TaskQueue) {
        if self.kinds[key.kind()] != 0 {
            for (_, task) in self.by_key.range((key, 0)..=(key, u64::MAX)) {
                if let Some(wait) = self.by_task.get_mut(task)
                    && wait.woken.is_none()
                {
                    wait.woken = Some(Woken::Event);
                    tasks.wake(*task);
                }
            }
        }
        if let Some((task, wait)) = &mut self.newest
            && wait.woken.is_none()
            && wait.keys().any(|known| *known == key)
        {
            wait.woken = Some(Woken::Event);
            tasks.wake(*task);
        }
    }

    fn of_task(&self, task: TaskId) -> Option<&Wait> {
        match &self.newest {
            Some((newest, wait)) if *newest == task => Some(wait),
            _ => self.by_task.get(&task),
        }
    }

    /// Ends the wait of `task`. False if it does not wait or its wait has ended already.
    pub(crate) fn finish(&mut self, task: TaskId, how: Woken) -> bool {
        let wait = match &mut self.newest {
            Some((newest, wait)) if *newest == task => Some(wait),
            _ => self.by_task.get_mut(&task),
        };
        match wait {
            Some(wait) if wait.woken.is_none() => {
                wait.woken = Some(how);
                true
            }
            _ => false,
        }
    }

    /// What may interrupt the wait of `task`, if it waits.
    pub(crate) fn interruptible(&self, task: TaskId) -> Option<Interruptible> {
        self.of_task(task).map(|wait| wait.by)
    }

    /// What `task` waits for, as text; `None` if it does not wait.
    pub(crate) fn describe(&self, task: TaskId) -> Option<String> {
        let wait = self.of_task(task)?;
        let Wait { timer, by, woken, .. } = wait;
        let keys: Vec<_> = wait.keys().collect();
        let deadline = if timer.is_some() { " with a deadline" } else { "" };
        let woken = woken.map_or(String::new(), |how| format!(", ended by {how:?}"));
        Some(format!("waits for {keys:?}{deadline}, interruptible {by:?}{woken}"))
    }

    /// What may interrupt the wait of `task`, if it waits and has not been woken.
    pub(crate) fn sleep(&self, task: TaskId) -> Option<Interruptible> {
        self.of_task(task).filter(|wait| wait.woken.is_none()).map(|wait| wait.by)
    }

    /// Whether `task` waits.
    pub(crate) fn is_waiting(&self, task: TaskId) -> bool {
        self.of_task(task).is_some()
    }
}

/// A wait in progress.
struct WaitFuture<'a, A: Arch> {
    handle: &'a Handle<A>,
    task: TaskId,
    keys: &'a [WaitKey],
    deadline: Nanos,
    by: Interruptible,
    begun: bool,
}

impl<A: Arch> Future for WaitFuture<'_, A> {
    type Output = Woken;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Woken> {
        let this = &mut *self;
        this.handle.with(|s| {
            if this.begun {
                return match s.waits.end(this.task) {
                    Some((timer, Some(how))) => {
                        if let Some(tid) = s.task_threads.get(&this.task).copied() {
                            s.skip_time(tid);
                        }
                        if let Some(timer) = timer {
                            s.timers.cancel(timer);
                        }
                        Poll::Ready(how)
                    }
                    // Polled by a late wake of an earlier wait: go on waiting.
                    Some((timer, None)) => {
                        s.waits.begin(this.task, this.keys, timer, this.by);
                        Poll::Pending
                    }
                    None => Poll::Ready(Woken::Event),
                };
            }
            if s.must_interrupt(this.task, this.by) {
                return Poll::Ready(Woken::Interrupted);
            }
            if this.deadline <= s.now() {
                return Poll::Ready(Woken::TimedOut);
            }
            let timer = (this.deadline != Nanos::NEVER)
                .then(|| s.timers.add(this.deadline, TimerAction::WakeTask(this.task)));
            s.waits.begin(this.task, this.keys, timer, this.by);
            if let Some(tid) = s.task_threads.get(&this.task).copied() {
                s.charge_system_time(tid);
                if !this.keys.iter().all(WaitKey::is_of_access) {
                    // The call may sleep for long; the pages that came for it have been used.
                    s.release_holds(tid);
                }
            }
            this.begun = true;
            Poll::Pending
        })
    }
}

/// Gives the rest of the kernel its turn.
struct YieldFuture<'a, A: Arch> {
    handle: &'a Handle<A>,
    task: TaskId,
    yielded: bool,
}

impl<A: Arch> Future for YieldFuture<'_, A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        self.handle.with(|s| s.tasks.wake(self.task));
        Poll::Pending
    }
}

impl<A: Arch> Handle<A> {
    /// Waits for one of `keys`, for `deadline`, or for a signal.
    pub(crate) async fn wait_for(
        &self,
        task: TaskId,
        keys: &[WaitKey],
        deadline: Nanos,
        by: Interruptible,
    ) -> Woken {
        WaitFuture { handle: self, task, keys, deadline, by, begun: false }.await
    }

    /// Waits for one of `keys` without a deadline.
    ///
    /// # Errors
    /// [`Errno::ERESTARTSYS`] if a signal came first.
    pub(crate) async fn wait_event(&self, task: TaskId, keys: &[WaitKey]) -> Result<(), Errno> {
        match self.wait_for(task, keys, Nanos::NEVER, Interruptible::BySignals).await {
            Woken::Interrupted => Err(Errno::ERESTARTSYS),
            Woken::Event | Woken::TimedOut => Ok(()),
        }
    }

    /// Lets everything else that is ready run once. Long work calls this between its steps.
    pub(crate) async fn yield_now(&self, task: TaskId) {
        YieldFuture { handle: self, task, yielded: false }.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken(tasks: &mut TaskQueue) -> Vec<TaskId> {
        core::iter::from_fn(|| tasks.take().0).collect()
    }

    #[test]
    fn waits_for_a_key_end_in_the_order_in_which_they_began() {
        let (mut waits, mut queue) = (Waits::default(), TaskQueue::default());
        let tasks: Vec<TaskId> = (0..4).map(|_| queue.reserve()).collect();
        let (page, peers) = (WaitKey::Child(Pid(7)), WaitKey::Peers);
        let not = Interruptible::Not;
        waits.begin(tasks[0], &[page], None, not);
        waits.begin(tasks[1], &[peers], None, not);
        waits.begin(tasks[2], &[peers, page], None, not);
        waits.begin(tasks[3], &[page], None, not);
        assert!(tasks.iter().all(|task| waits.describe(*task).is_some()));
        waits.wake(page, &mut queue);
        assert_eq!(woken(&mut queue), [tasks[0], tasks[2], tasks[3]]);
        waits.wake(page, &mut queue);
        assert_eq!(woken(&mut queue), [], "each wait ends once");
        assert_eq!([0, 1].map(|n| waits.sleep(tasks[n]).is_some()), [false, true]);
        assert!(
            waits.finish(tasks[1], Woken::TimedOut) && !waits.finish(tasks[3], Woken::TimedOut)
        );
        assert_eq!(waits.end(tasks[3]), Some((None, Some(Woken::Event))));
        assert_eq!(waits.end(tasks[1]), Some((None, Some(Woken::TimedOut))));
        assert!(waits.is_waiting(tasks[0]) && !waits.is_waiting(tasks[3]));
        for task in [tasks[0], tasks[2]] {
            assert_eq!(waits.end(task), Some((None, Some(Woken::Event))));
        }
        assert!(waits.by_key.is_empty() && waits.by_task.is_empty() && waits.kinds == [0; _]);
    }
}
