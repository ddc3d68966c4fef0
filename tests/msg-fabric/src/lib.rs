//! Instances as threads or processes of the host, over one memfd: the code that runs on bare
//! metal, with the host's clock and threads in place of devices.

pub mod hostile;

use std::{
    io,
    sync::Arc,
    thread::{self, Thread},
    time::{Duration, Instant},
};

use maize_hal::Nanos;
use maize_link::{Event, FabricConfig, Idle, LifeConfig, WindowFabric};
use maize_window::{HostWindow, Layout, Mapping, WindowHeader};
use maize_wire::{InstanceId, checksum::Coverage};

/// An instance's links over a mapped window.
pub type HostFabric<'a> = WindowFabric<Mapping<'a>>;

/// Creates a window with its header, as a launcher does.
///
/// # Errors
/// What the system says; `InvalidInput` if such a window cannot be.
pub fn create_window(instances: usize, bytes: u64, coverage: Coverage) -> io::Result<HostWindow> {
    let window = HostWindow::create("maize-window", bytes)?;
    let layout = Layout::new(instances, bytes).map_err(invalid)?;
    let header = WindowHeader { layout, coverage, fabric: 1 };
    header.publish(&window.window()).map_err(invalid)?;
    Ok(window)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// Enters the fabric of a window as that instance, under the next epoch.
///
/// # Errors
/// `InvalidInput` if the window is none, or has no such instance.
pub fn enter(
    window: &HostWindow,
    me: InstanceId,
    clock: Clock,
    config: FabricConfig,
) -> io::Result<HostFabric<'_>> {
    let entered = maize_link::enter(&window.window(), me, clock.now(), config);
    entered.map(|(fabric, _)| fabric).map_err(invalid)
}

/// The host's clock, from some start on.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// The time.
    #[must_use]
    pub fn now(self) -> Nanos {
        Nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The usual settings, with the time after which a silent peer is given up. Where nobody is to die it is long: a
/// host with other work to do may keep a thread waiting for seconds.
#[must_use]
pub fn dying_after(silence: Nanos) -> FabricConfig {
    let mut config = FabricConfig::default();
    config.link.life = LifeConfig::dying_after(silence);
    config
}

/// Doorbells between threads: whom to unpark.
#[derive(Clone)]
pub struct Doorbells(Arc<Vec<Thread>>);

impl Doorbells {
    /// The doorbells of these threads, by instance.
    #[must_use]
    pub fn new(threads: Vec<Thread>) -> Doorbells {
        Doorbells(Arc::new(threads))
    }
}

impl maize_window::Doorbell for Doorbells {
    fn ring(&mut self, peer: InstanceId) {
        if let Some(thread) = self.0.get(peer.index()) {
            thread.unpark();
        }
    }
}

/// Runs an instance on this thread until `handle` is done: polls, and sleeps when it may. `handle`
/// is called with each event, and with none at the end of each round; what it says then counts.
pub fn run(
    fabric: &mut HostFabric<'_>,
    clock: Clock,
    doorbells: &mut impl maize_window::Doorbell,
    mut handle: impl FnMut(&mut HostFabric<'_>, Nanos, Option<(InstanceId, Event)>) -> Next,
) {
    loop {
        let now = clock.now();
        while let Some(event) = fabric.poll(now) {
            handle(fabric, now, Some(event));
        }
        let next = handle(fabric, now, None);
        fabric.notify(doorbells);
        match next {
            Next::Done => return,
            Next::Again => {}
            Next::Wait => match fabric.idle(now) {
                Idle::Poll => std::hint::spin_loop(),
                Idle::Sleep(until) => {
                    thread::park_timeout(Duration::from_nanos(until.since(clock.now()).0));
                    fabric.heard_doorbell();
                }
            },
        }
    }
}

/// What an instance wants to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing any more.
    Done,
    /// Go on at once: it has more to send.
    Again,
    /// Wait for something to happen.
    Wait,
}
