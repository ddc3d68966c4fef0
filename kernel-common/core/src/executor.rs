//! Tasks on one core.
//!
//! A task is a future: the whole life of a thread, or a service of the kernel. Tasks are woken by
//! id, not by [`core::task::Waker`]: what a task waits for is plain data in the kernel's state
//! (see [`crate::wait`]), which a simulator can look at and a run from the same seed repeats.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// A task's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskId(u64);

pub(crate) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Which tasks are to be polled, and those that have not started: the part of the executor that
/// tasks themselves reach.
#[derive(Default)]
pub(crate) struct TaskQueue {
    next: u64,
    ready: VecDeque<TaskId>,
    spawned: VecDeque<(TaskId, TaskFuture)>,
}

impl TaskQueue {
    /// Reserves a name for a task that [`Self::spawn`] starts.
    pub(crate) fn reserve(&mut self) -> TaskId {
        let id = TaskId(self.next);
        self.next += 1;
        id
    }

    /// Starts a task.
    pub(crate) fn spawn(&mut self, id: TaskId, future: TaskFuture) {
        self.spawned.push_back((id, future));
        self.ready.push_back(id);
    }

    /// Has the task polled. Waking twice polls twice, which a waiting task must bear anyway.
    pub(crate) fn wake(&mut self, id: TaskId) {
        self.ready.push_back(id);
    }

    /// Whether a task waits to be polled.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next task to poll, and the tasks that have started since the last call.
    pub(crate) fn take(&mut self) -> (Option<TaskId>, Option<VecDeque<(TaskId, TaskFuture)>>) {
        let spawned = (!self.spawned.is_empty()).then(|| core::mem::take(&mut self.spawned));
        (self.ready.pop_front(), spawned)
    }
}

/// The tasks themselves.
#[derive(Default)]
pub(crate) struct Executor {
    tasks: BTreeMap<TaskId, TaskFuture>,
}

impl Executor {
    /// Takes in tasks that have started.
    pub(crate) fn adopt(&mut self, spawned: VecDeque<(TaskId, TaskFuture)>) {
        self.tasks.extend(spawned);
    }

    /// Polls a task. A late wake may name a task that has ended; that does nothing.
    pub(crate) fn poll(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(()) = task.as_mut().poll(&mut context) {
                self.tasks.remove(&id);
            }
        }
    }

    /// How many tasks have not ended.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }
}
