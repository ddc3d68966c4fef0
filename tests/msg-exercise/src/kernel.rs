//! An exercise on a kernel's own links: what the exercise kernels of the boards do in place of
//! running programs.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use maize_hal::{Arch, HostEvent, HostIo, Interrupts, Nanos};
use maize_hostlink::KernelMessage;
use maize_link::{Event, Glance, Idle, LinkStats, Message, Outgoing, SendError};
use maize_platform::fabric::{self, MachineLinks};
use maize_platform::siblings::Siblings;
use maize_platform::{ByteStream, End, HostLink, Machine, end, flush, give_up, orders};
use maize_window::Mapping;
use maize_wire::{InstanceId, PAGE_WORDS};

use crate::bench::{FAR, NEAR, far, near};
use crate::{Exchange, Exercise, Next, Outcome, Station, Traffic};

impl Traffic for MachineLinks {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is measured is the links, not calls of them")]
    fn glance(&mut self, now: Nanos) -> Glance {
        MachineLinks::glance(self, now)
    }

    fn poll(&mut self, now: Nanos) -> Option<(InstanceId, Event)> {
        MachineLinks::poll(self, now)
    }

    #[inline]
    fn message(&self) -> Message {
        MachineLinks::message(self)
    }

    #[inline]
    fn body(&self) -> &[u8] {
        MachineLinks::body(self)
    }

    #[inline]
    fn copy_page(&mut self, now: Nanos, into: &mut [u64; PAGE_WORDS]) -> bool {
        MachineLinks::copy_page(self, now, into)
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is measured is the links, not calls of them")]
    fn send(
        &mut self,
        now: Nanos,
        to: InstanceId,
        message: Outgoing<'_>,
    ) -> Result<u32, SendError> {
        MachineLinks::send(self, now, to, message)
    }

    fn stats(&self, peer: InstanceId) -> Option<LinkStats> {
        MachineLinks::stats(self, peer)
    }
}

/// A kernel without a core: processor, links and host link.
struct Bare<A, S> {
    arch: A,
    links: MachineLinks,
    link: HostLink<S>,
    /// What the timer is set to.
    armed: Nanos,
    /// Whether the host link may have something.
    host: bool,
    /// Whether siblings are being started or stopped.
    busy: bool,
    ended: bool,
    siblings: Option<Siblings>,
}

impl<A: Arch, S: ByteStream> Bare<A, S> {
    /// Tells the launcher what the links have to tell, and hears what it says.
    fn serve_host(&mut self) {
        if core::mem::take(&mut self.host) {
            while let Some(event) = HostIo::poll(&mut self.link) {
                self.ended |= event == HostEvent::Shutdown;
            }
        }
        let now = self.arch.now();
        self.busy = orders::serve(&mut self.links, &mut self.link, self.siblings.as_mut(), now);
        // What came through another instance raises no interrupt of the device.
        self.host |= self.link.has_events();
        self.busy |= self.host;
    }

    fn take(&mut self, interrupts: Interrupts) {
        if interrupts.contains(Interrupts::TIMER) {
            self.armed = Nanos::NEVER;
        }
        if interrupts.contains(Interrupts::DOORBELL) {
            self.links.heard_doorbell();
        }
        self.host |= interrupts.contains(Interrupts::HOST);
    }

    /// Polls the links until the launcher asks the instance to end.
    fn serve(&mut self) {
        while !self.is_ended() {
            let now = self.arch.now();
            while self.links.poll(now).is_some() {}
            self.rest(now);
        }
    }

    /// Goes on for a moment before the end, where one instance passes on what another tells.
    fn pass_on_the_last(&mut self) {
        /// An instance that passes on waits longer than those that have something to say.
        const PATIENCE: (Nanos, Nanos) = (Nanos::from_millis(100), Nanos::from_millis(300));
        let time = match (self.link.through(), &self.siblings) {
            (Some(_), _) => PATIENCE.0,
            (None, Some(_)) => PATIENCE.1,
            (None, None) => return,
        };
        let until = self.arch.now() + time;
        while self.arch.now() < until {
            let now = self.arch.now();
            while self.links.poll(now).is_some() {}
            self.links.notify();
            self.serve_host();
            let interrupts = self.arch.poll_interrupts();
            self.take(interrupts);
        }
    }

    fn rest(&mut self, now: Nanos) {
        self.links.notify();
        self.serve_host();
        match self.links.idle(now) {
            Idle::Sleep(until) if !self.ended && !self.busy => self.sleep(until),
            _ => {
                let interrupts = self.arch.poll_interrupts();
                self.take(interrupts);
            }
        }
    }

    fn exchange(&mut self, mut exchange: Exchange) -> Outcome {
        while !self.is_ended() {
            let now = self.arch.now();
            match exchange.step(&mut self.links, now) {
                Next::Done => break,
                Next::Again => {
                    self.links.notify();
                    self.serve_host();
                    let interrupts = self.arch.poll_interrupts();
                    self.take(interrupts);
                }
                Next::Wait(_) => self.rest(now),
            }
        }
        self.links.notify();
        Outcome::Exchange(exchange.outcome())
    }
}

impl<A: Arch, S: ByteStream> Station for Bare<A, S> {
    type Traffic = MachineLinks;
    type Memory = Mapping<'static>;

    #[inline]
    fn traffic(&mut self) -> &mut MachineLinks {
        &mut self.links
    }

    #[inline]
    fn now(&mut self) -> Nanos {
        self.arch.now()
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is measured is the links, not calls of them")]
    fn notify(&mut self) {
        self.links.notify();
    }

    fn ring(&mut self, peer: InstanceId) {
        self.links.ring(peer);
    }

    fn idle(&mut self, now: Nanos) -> Idle {
        self.links.idle(now)
    }

    fn set_poll_for(&mut self, time: Nanos) {
        self.links.set_poll_for(time);
    }

    fn sleep(&mut self, until: Nanos) {
        if until != self.armed {
            self.armed = until;
            self.arch.set_timer(until);
        }
        let interrupts = self.arch.wait_for_interrupt();
        self.take(interrupts);
    }

    fn memory(&self, peer: InstanceId) -> Option<Mapping<'static>> {
        self.links.page_frames(peer)
    }

    fn is_ended(&mut self) -> bool {
        self.serve_host();
        self.ended
    }
}

/// Runs the exercise of the boot record, tells what came of it, and serves until it is asked to end.
pub fn run<A: Arch, S: ByteStream + 'static>(machine: Machine<A, S>) -> ! {
    let Machine { mut arch, record, mut link, pci, local, siblings, .. } = machine;
    let exercise = match postcard::from_bytes(&record.exercise) {
        Ok(exercise) => exercise,
        Err(error) => give_up(&mut link, || arch.now(), &format!("exercise: {error}")),
    };
    let links = match fabric::join(&mut arch, &record, pci, local) {
        Ok(Some(joined)) => joined.links,
        Ok(None) => give_up(&mut link, || arch.now(), &"there is nobody to exercise with"),
        Err(error) => give_up(&mut link, || arch.now(), &error),
    };
    let mut bare = Bare {
        arch,
        links,
        link,
        armed: Nanos::NEVER,
        host: true,
        busy: false,
        ended: false,
        siblings,
    };
    bare.serve_host();
    let me = bare.links.me();
    let outcome = match exercise {
        Exercise::Serve => None,
        Exercise::Exchange(request) => {
            let peers: Vec<_> = bare.links.peers().collect();
            let exchange = Exchange::new(request, me, peers, bare.arch.now());
            Some(bare.exchange(exchange))
        }
        Exercise::Bench(request) => match me {
            NEAR => Some(match near(&mut bare, &request) {
                Ok(figures) => Outcome::Bench(Box::new(figures)),
                Err(error) => Outcome::Failed(error),
            }),
            FAR => far(&mut bare, &request).err().map(Outcome::Failed),
            _ => None,
        },
    };
    bare.links.set_poll_for(Nanos(record.poll_ns));
    if let Some(outcome) = outcome {
        match postcard::to_allocvec(&outcome) {
            Ok(bytes) => bare.link.tell(&KernelMessage::Exercise { bytes }),
            Err(error) => log::error!("the outcome cannot be told: {error}"),
        }
    }
    bare.serve();
    bare.pass_on_the_last();
    bare.links.leave(bare.arch.now());
    flush(&mut bare.link, || bare.arch.now());
    end(End::Done)
}
