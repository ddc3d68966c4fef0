//! Following and steering a run from another thread: what tests of failing machines and the
//! benchmarks of the fabric do.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use maize_hostlink::{KernelMessage, LauncherMessage};
use maize_window::HostWindow;
use rustix::event::EventfdFlags;

use crate::run::{RunConfig, RunError, RunOutcome, run};
use crate::workspace::Workspace;

/// What a session is asked from outside.
#[derive(Clone, Debug)]
pub enum Order {
    /// Stop a machine's process until it is resumed.
    Hold(usize),
    /// Let it run, once nobody waits for its stop.
    Release(usize),
    /// End a machine's process at once, and do not start it again.
    Kill(usize),
    /// End a machine's process, if it has not ended, and start it again under the same number.
    Restart(usize),
    /// Send a message to an instance.
    Tell(u16, LauncherMessage),
    /// End the run.
    Dismiss,
}

/// What happened in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A machine's process was started.
    Started {
        /// Which machine.
        machine: usize,
        /// Number of the process.
        process: u32,
    },
    /// A machine has ended.
    Ended {
        /// Which machine.
        machine: usize,
        /// How, for a person.
        how: String,
    },
    /// An instance said something.
    Said {
        /// Which instance.
        instance: u16,
        /// What.
        message: KernelMessage,
    },
    /// An instance was told that an incarnation of a peer is stopped.
    ToldStopped {
        /// Which instance.
        instance: u16,
        /// Of which peer.
        peer: u16,
        /// In which incarnation.
        epoch: u32,
    },
}

/// The session's end.
#[derive(Debug)]
pub struct Remote {
    orders: Receiver<Order>,
    waker: Arc<OwnedFd>,
    events: Sender<(Instant, Event)>,
    /// Until it is known whether there is a window.
    windows: Option<Sender<HostWindow>>,
}

impl Remote {
    /// Readable when there are orders.
    pub(crate) fn waits_for(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }

    /// The orders that have come. That nobody can give any more is an order to end.
    pub(crate) fn take(&self) -> Vec<Order> {
        let mut count = [0; 8];
        // Whatever it was, the orders are looked for.
        let _ = rustix::io::read(&*self.waker, &mut count);
        let mut orders = Vec::new();
        loop {
            match self.orders.try_recv() {
                Ok(order) => orders.push(order),
                Err(std::sync::mpsc::TryRecvError::Empty) => return orders,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                    orders.push(Order::Dismiss);
                    return orders;
                }
            }
        }
    }

    /// Tells what happened; that nobody listens is no error.
    pub(crate) fn tell(&self, event: Event) {
        let _ = self.events.send((Instant::now(), event));
    }

    /// Gives a mapping of the window away, or tells that there is none.
    pub(crate) fn give_window(&mut self, window: Option<HostWindow>) {
        if let (Some(windows), Some(window)) = (self.windows.take(), window) {
            let _ = windows.send(window);
        }
    }
}

/// A run in a thread of its own. Dropping it ends the run.
#[derive(Debug)]
pub struct Live {
    orders: Option<Sender<Order>>,
    waker: Arc<OwnedFd>,
    events: Receiver<(Instant, Event)>,
    windows: Receiver<HostWindow>,
    thread: Option<JoinHandle<Result<RunOutcome, RunError>>>,
    seen: Vec<(Instant, Event)>,
}

impl Live {
    /// Starts a run.
    pub fn start(mut config: RunConfig, workspace: &Workspace) -> io::Result<Self> {
        let (orders, orders_taken) = channel();
        let (events_told, events) = channel();
        let (windows_given, windows) = channel();
        let waker = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let waker = Arc::new(waker);
        config.remote = Some(Remote {
            orders: orders_taken,
            waker: Arc::clone(&waker),
            events: events_told,
            windows: Some(windows_given),
        });
        let workspace = workspace.clone();
        let thread = std::thread::Builder::new()
            .name("maize-run".to_owned())
            .spawn(move || run(config, &workspace))?;
        let (orders, thread, seen) = (Some(orders), Some(thread), Vec::new());
        Ok(Self { orders, waker, events, windows, thread, seen })
    }

    /// Gives an order. A run that has ended takes none, without error.
    pub fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
        }
        self.wake();
    }

    fn wake(&self) {
        // It can only fail when the count is full, and then the session is awake.
        let _ = rustix::io::write(&*self.waker, &1u64.to_ne_bytes());
    }

    /// The window between the machines: once, when there is one.
    pub fn window(&self, limit: Duration) -> Option<HostWindow> {
        self.windows.recv_timeout(limit).ok()
    }

    /// Waits for the next event until `limit` has passed.
    pub fn next(&mut self, limit: Duration) -> Option<(Instant, Event)> {
        let event = self.events.recv_timeout(limit).ok()?;
        self.seen.push(event.clone());
        Some(event)
    }

    /// Follows the run until `done` says so of what has happened since this was called, or the limit
    /// has passed, or the run has ended; whether it was the first.
    pub fn wait_until(&mut self, limit: Duration, mut done: impl FnMut(&Event) -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    let found = done(&event.1);
                    self.seen.push(event);
                    if found {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Everything that has been taken note of so far.
    #[must_use]
    pub fn seen(&self) -> &[(Instant, Event)] {
        &self.seen
    }

    /// Waits for the end of the run, which ends by itself or was dismissed.
    pub fn outcome(mut self) -> Result<RunOutcome, RunError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Err(RunError::Silent),
        }
    }

    /// Ends the run.
    pub fn dismiss(self) -> Result<RunOutcome, RunError> {
        self.order(Order::Dismiss);
        self.outcome()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.orders = None;
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
