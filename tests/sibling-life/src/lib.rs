//! What instances of one machine do in place of running programs, when it is tested that they start,
//! ring each other, stop and start again.
//!
//! The boot record's `exercise` names the scenario. Each instance has a cache line in the window's
//! page frames that only it writes. The machine's first instance ends the machine: with success
//! only if all went well.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use maize_hal::{Arch, Interrupts, Nanos};
use maize_platform::siblings::{
    Control, LocalWindow, SiblingNews, Siblings, membership, must_stop,
};
use maize_platform::{ByteStream, End, Machine, end};
use maize_window::{Doorbell, Mapping, Window, WindowHeader};

/// All instances ring all others, in rounds.
pub const MEET: &[u8] = b"meet";
/// The second instance is stopped, panics and hangs, and is started again each time.
pub const AGAIN: &[u8] = b"again";

/// Rounds of [`MEET`].
const ROUNDS: u64 = 20;

/// Longest wait for anything.
const PATIENCE: Nanos = Nanos::from_millis(60_000);

/// Time between an instance's beats.
const BEAT: Nanos = Nanos::from_millis(10);

/// Words of an instance's line.
const ROUND: usize = 0;
const BEATS: usize = 1;
const ORDER: usize = 2;
const INCARNATION: usize = 3;

/// Values of the first instance's [`ORDER`].
const PANIC: u64 = 1;
const HANG: u64 = 2;

/// As the image has it; each incarnation must find it so.
static PRISTINE: AtomicU64 = AtomicU64::new(0x5eed);
/// As above, of what the image does not hold.
static ZERO: AtomicU64 = AtomicU64::new(0);

struct Actor<A> {
    arch: A,
    local: LocalWindow,
    lines: Mapping<'static>,
    me: usize,
}

/// Lives as an instance of the machine, by the scenario in the boot record.
#[expect(clippy::panic, reason = "a test that fails says so on the console")]
pub fn life<A: Arch, S: ByteStream>(machine: Machine<A, S>) -> ! {
    let Machine { arch, ram, record, local, siblings, .. } = machine;
    let (Some(local), Some(member)) = (local, membership()) else {
        panic!("there is only one instance");
    };
    let Ok(header) = WindowHeader::read(&local.window) else { panic!("no window") };
    let Some(lines) = local.window.part(header.layout.frames()) else { panic!("no frames") };
    let pristine = PRISTINE.swap(1, Ordering::Relaxed);
    let zero = ZERO.swap(1, Ordering::Relaxed);
    assert_eq!((pristine, zero), (0x5eed, 0), "the image was used before");
    let me = usize::from(member.index);
    log::info!(
        "instance {} is here, start {}, {} MiB",
        member.number,
        member.incarnation,
        ram >> 20
    );
    // From here on it may be stopped, or the machine turned off, at any time.
    log::logger().flush();
    let actor = Actor { arch, local, lines, me };
    actor.write(INCARNATION, member.incarnation.into());
    match (&record.exercise[..], siblings) {
        (MEET, _) => actor.meet(),
        (AGAIN, None) => actor.obey(),
        (AGAIN, Some(siblings)) => actor.command(siblings, member.control),
        _ => panic!("no such scenario"),
    }
}

impl<A: Arch> Actor<A> {
    fn read(&self, index: usize, word: usize) -> u64 {
        self.lines.load_acquire(8 * index + word)
    }

    fn write(&self, word: usize, value: u64) {
        self.lines.store_release(8 * self.me + word, value);
    }

    fn ring_all(&mut self) {
        let instances: Vec<_> = self.local.instances.clone();
        for (index, instance) in instances.into_iter().enumerate() {
            if index != self.me {
                self.local.ring(instance);
            }
        }
    }

    /// Nothing but a doorbell ends the wait for a round: one that is lost is noticed.
    fn meet(mut self) -> ! {
        let count = self.local.instances.len();
        for round in 1..=ROUNDS {
            self.write(ROUND, round);
            self.ring_all();
            self.arch.set_timer(self.arch.now() + PATIENCE);
            while let Some(late) = (0..count).find(|index| self.read(*index, ROUND) < round) {
                let seen = self.arch.wait_for_interrupt();
                assert!(!seen.contains(Interrupts::TIMER), "round {round} waits for {late}");
            }
            if round == ROUNDS - 1 {
                log::info!("met {} others", count - 1);
                log::logger().flush();
            }
        }
        if self.me == 0 {
            end(End::Done)
        }
        loop {
            self.arch.wait_for_interrupt();
        }
    }

    /// Beats until it is told otherwise.
    #[expect(clippy::panic, reason = "asked for")]
    fn obey(mut self) -> ! {
        let first_life = self.read(self.me, INCARNATION);
        for beat in 1.. {
            self.write(BEATS, beat);
            self.pause(BEAT);
            if must_stop() {
                end(End::Done)
            }
            // Orders are for the second instance, each for one of its lives.
            match self.read(0, ORDER) {
                order if self.me != 1 || order >> 8 != first_life => {}
                order if order & 0xff == PANIC => panic!("as ordered"),
                order if order & 0xff == HANG => {
                    self.write(ORDER, order);
                    loop {
                        core::hint::spin_loop();
                    }
                }
                _ => {}
            }
        }
        end(End::Failed)
    }

    fn pause(&mut self, time: Nanos) {
        self.arch.set_timer(self.arch.now() + time);
        while !self.arch.wait_for_interrupt().contains(Interrupts::TIMER) {}
    }

    /// Waits, with the siblings' starts and stops going on, until `done` says so.
    fn until(
        &mut self,
        siblings: &mut Siblings,
        what: &str,
        mut done: impl FnMut(&Self, Option<SiblingNews>) -> bool,
    ) {
        let limit = self.arch.now() + PATIENCE;
        loop {
            let news = siblings.poll(self.arch.now());
            if done(self, news.map(|(_, news)| news)) {
                return;
            }
            assert!(self.arch.now() < limit, "waited in vain: {what}");
            if !siblings.is_busy() {
                self.pause(BEAT);
            }
        }
    }

    /// Others than the second instance go on meanwhile.
    fn others_beat(&mut self, siblings: &mut Siblings) {
        let before = self.read(2, BEATS);
        self.until(siblings, "the third goes on", |me, _| me.read(2, BEATS) > before + 5);
    }

    fn second_lives(&mut self, siblings: &mut Siblings, life: u64) {
        self.until(siblings, "the second beats", |me, _| {
            me.read(1, INCARNATION) == life && me.read(1, BEATS) > 3
        });
        log::info!("life {life} of the second");
    }

    fn command(mut self, mut siblings: Siblings, control: Control<Mapping<'static>>) -> ! {
        let [_, second, ..] = self.local.instances[..] else { end(End::Failed) };
        let siblings = &mut siblings;
        self.second_lives(siblings, 1);
        siblings.stop(second.0, self.arch.now());
        self.until(siblings, "a stop", |_, news| news == Some(SiblingNews::Stopped));
        let last = self.read(1, BEATS);
        self.others_beat(siblings);
        assert_eq!(self.read(1, BEATS), last, "it has stopped");
        log::info!("the second has stopped");
        self.restart(siblings, second.0, 2);

        self.write(ORDER, 2 << 8 | PANIC);
        self.until(siblings, "a panic", |_, _| control.ended(1) == 2);
        self.others_beat(siblings);
        self.restart(siblings, second.0, 3);

        // One that runs is stopped before it is started.
        self.restart(siblings, second.0, 4);

        // It says that it obeys, and then nothing more.
        let hang = 4 << 8 | HANG;
        self.write(ORDER, hang);
        self.until(siblings, "a hang", |me, _| me.read(1, ORDER) == hang);
        siblings.stop(second.0, self.arch.now());
        let mut how = None;
        self.until(siblings, "the end of a stop", |_, news| {
            how = how.or(news);
            how.is_some()
        });
        log::info!(
            "hung, it {}",
            how.map_or("is silent", |news| match news {
                SiblingNews::Stopped => "has stopped",
                _ => "cannot be stopped",
            })
        );
        self.others_beat(siblings);
        if how == Some(SiblingNews::Stopped) {
            self.restart(siblings, second.0, 5);
        }
        end(End::Done)
    }

    fn restart(&mut self, siblings: &mut Siblings, second: u16, life: u64) {
        siblings.start(second, self.arch.now());
        self.until(siblings, "a start", |_, news| news == Some(SiblingNews::Started));
        self.second_lives(siblings, life);
    }
}
