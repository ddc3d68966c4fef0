//! The figures' code between two threads that share a memfd: every phase comes to its end, and the
//! figures hang together.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::thread::{self, Thread};
use std::time::Duration;

use maize_hal::Nanos;
use maize_link::{Idle, Life};
use maize_msg_exercise::bench::{FAR, NEAR, far, near};
use maize_msg_exercise::{BenchRequest, Station};
use maize_msg_fabric::{Clock, HostFabric, create_window, dying_after, enter};
use maize_window::{HostWindow, Mapping, Window, WindowHeader};
use maize_wire::{InstanceId, checksum::Coverage};

/// A thread of the host as an instance.
struct Host<'a> {
    fabric: HostFabric<'a>,
    window: Mapping<'a>,
    clock: Clock,
    peer: Thread,
}

impl<'a> Host<'a> {
    fn new(window: &'a HostWindow, me: InstanceId, clock: Clock, peer: Thread) -> Host<'a> {
        // A busy host may keep a thread waiting for seconds.
        let config = dying_after(Nanos::from_millis(60_000));
        let fabric = enter(window, me, clock, config).unwrap();
        let mut host = Host { fabric, window: window.window(), clock, peer };
        let other = if me == NEAR { FAR } else { NEAR };
        while !matches!(host.fabric.life(other), Some(Life::Up { .. })) {
            host.fabric.poll(clock.now());
            thread::yield_now();
        }
        host
    }
}

impl<'a> Station for Host<'a> {
    type Traffic = HostFabric<'a>;
    type Memory = Mapping<'a>;

    fn traffic(&mut self) -> &mut HostFabric<'a> {
        &mut self.fabric
    }

    fn now(&mut self) -> Nanos {
        self.clock.now()
    }

    fn notify(&mut self) {
        self.fabric.notify(&mut |_| self.peer.unpark());
    }

    fn ring(&mut self, _: InstanceId) {
        self.peer.unpark();
    }

    fn idle(&mut self, now: Nanos) -> Idle {
        self.fabric.idle(now)
    }

    fn set_poll_for(&mut self, time: Nanos) {
        self.fabric.set_poll_for(time);
    }

    fn sleep(&mut self, until: Nanos) {
        thread::park_timeout(Duration::from_nanos(until.since(self.clock.now()).0));
        self.fabric.heard_doorbell();
    }

    fn memory(&self, _: InstanceId) -> Option<Mapping<'a>> {
        let header = WindowHeader::read(&self.window).ok()?;
        self.window.part(header.layout.frames())
    }

    fn is_ended(&mut self) -> bool {
        false
    }
}

#[test]
fn figures_come_of_every_phase() {
    let request = BenchRequest {
        batches: 20,
        batch: 20,
        doorbells: 50,
        messages: 20_000,
        pages: 2_000,
        poll_ns: 20_000,
    };
    let window = create_window(2, 16 << 20, Coverage::Control).unwrap();
    let again = window.again().unwrap();
    let clock = Clock::start();
    let outcome = thread::scope(|scope| {
        let this = thread::current();
        let answers = scope.spawn(move || far(&mut Host::new(&again, FAR, clock, this), &request));
        let peer = answers.thread().clone();
        let outcome = near(&mut Host::new(&window, NEAR, clock, peer), &request);
        assert_eq!(answers.join().unwrap(), Ok(()));
        outcome.unwrap()
    });
    for spread in [
        outcome.bare_polled,
        outcome.line_polled,
        outcome.bare_doorbell,
        outcome.link_polled,
        outcome.link_doorbell,
    ] {
        assert!(spread.min_ps > 0 && spread.min_ps <= spread.median_ps, "{outcome:?}");
        assert!(spread.median_ps <= spread.p99_ps, "{outcome:?}");
    }
    assert_eq!((outcome.messages.count, outcome.messages.bytes), (20_000, 20_000 * 64));
    assert_eq!((outcome.pages.count, outcome.pages.bytes), (2_000, 2_000 * 4096));
    assert_eq!((outcome.bare_pages.count, outcome.bare_pages.bytes), (2_000, 2_000 * 4096));
    assert!(outcome.messages.ns > 0 && outcome.pages.ns > 0 && outcome.bare_pages.ns > 0);
}
