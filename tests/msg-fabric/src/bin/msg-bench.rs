//! Figures of the link between two threads, beside a bare ping-pong on two words of the same
//! window in the same run.

use std::{io, thread, time::Instant};

use maize_hal::Nanos;
use maize_link::{Event, FabricConfig, Outgoing, SendError};
use maize_msg_fabric::{Clock, Doorbells, HostFabric, Next, create_window, enter, run};
use maize_window::{HostWindow, Window};
use maize_wire::{Class, InstanceId, Kind, PAGE_WORDS, checksum::Coverage};

const KIND: Kind = Kind(32);
const NEAR: InstanceId = InstanceId(0);
const FAR: InstanceId = InstanceId(1);
const WINDOW_BYTES: u64 = 16 << 20;
/// Round trips that are timed together: a single one is close to the clock's own cost.
const BATCH: u64 = 500;
const BATCHES: usize = 400;

fn main() -> io::Result<()> {
    println!("{:44} {:>10} {:>10} {:>10}", "round trip, ns", "min", "median", "p99");
    let mut medians = Vec::new();
    for _ in 0..2 {
        medians.push(row("bare, two words", &mut bare_round_trips()?));
        for coverage in [Coverage::Off, Coverage::Control] {
            let name = format!("link, polled, 8 bytes, checksums {coverage:?}");
            medians.push(row(&name, &mut link_round_trips(coverage)?));
        }
    }
    for run in medians.chunks(3) {
        let [bare, off, control] = run else { continue };
        println!(
            "link / bare: without checksums min {:.2} median {:.2}; with min {:.2} median {:.2}",
            off.0 / bare.0,
            off.1 / bare.1,
            control.0 / bare.0,
            control.1 / bare.1
        );
    }
    for poll_for in [0, 50_000] {
        let rate = stream(&[7; 64], None, 400_000, Nanos(poll_for))?;
        println!(
            "64-byte messages, poll for {} µs: {:.2} M/s, {:.4} doorbells/message",
            poll_for / 1000,
            rate.messages_a_second / 1e6,
            rate.doorbells_a_message
        );
        let rate = stream(&[7; 16], Some(&[3; PAGE_WORDS]), 60_000, Nanos(poll_for))?;
        println!(
            "4 KiB pages, poll for {} µs: {:.2} GB/s, {:.4} doorbells/page",
            poll_for / 1000,
            rate.messages_a_second * 4096.0 / 1e9,
            rate.doorbells_a_message
        );
    }
    Ok(())
}

/// Prints a row of nanoseconds; returns minimum and median.
fn row(name: &str, samples: &mut [f64]) -> (f64, f64) {
    samples.sort_by(f64::total_cmp);
    let at = |part: usize| samples.get(samples.len() * part / 100).copied().unwrap_or(f64::NAN);
    println!("{name:44} {:10.1} {:10.1} {:10.1}", at(0), at(50), at(99));
    (at(0), at(50))
}

/// Times batches of round trips.
fn time_batches(mut round_trip: impl FnMut(u64)) -> Vec<f64> {
    (0..BATCHES)
        .map(|batch| {
            let start = Instant::now();
            for round in 0..BATCH {
                round_trip(batch as u64 * BATCH + round + 1);
            }
            start.elapsed().as_nanos() as f64 / BATCH as f64
        })
        .collect()
}

fn bare_round_trips() -> io::Result<Vec<f64>> {
    let near = HostWindow::create("maize-bench", 4096)?;
    let far = near.again()?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let window = far.window();
            for round in 1..=BATCH * BATCHES as u64 {
                while window.load_acquire(0) != round {
                    std::hint::spin_loop();
                }
                window.store_release(8, round);
            }
        });
        let window = near.window();
        Ok(time_batches(|round| {
            window.store_release(0, round);
            while window.load_acquire(8) != round {
                std::hint::spin_loop();
            }
        }))
    })
}

/// A fabric, and a clock that is read once in a while only: `now` needs no better resolution than
/// heartbeats do.
struct Spinner<'a> {
    fabric: HostFabric<'a>,
    clock: Clock,
    now: Nanos,
    polls: u32,
}

impl<'a> Spinner<'a> {
    fn enter(window: &'a HostWindow, me: InstanceId, config: FabricConfig) -> io::Result<Self> {
        let clock = Clock::start();
        let fabric = enter(window, me, clock, config)?;
        Ok(Spinner { fabric, clock, now: clock.now(), polls: 0 })
    }

    fn poll(&mut self) -> Option<Event> {
        self.polls = self.polls.wrapping_add(1);
        if self.polls.is_multiple_of(64) {
            self.now = self.clock.now();
        }
        self.fabric.poll(self.now).map(|(_, event)| event)
    }

    fn wait_until_up(&mut self, peer: InstanceId) {
        while !matches!(self.fabric.life(peer), Some(maize_link::Life::Up { .. })) {
            self.now = self.clock.now();
            self.poll();
            thread::yield_now();
        }
    }

    fn wait_for_message(&mut self) -> u64 {
        loop {
            if let Some(Event::Message(_)) = self.poll() {
                let body = self.fabric.body().first_chunk().copied().unwrap_or_default();
                return u64::from_le_bytes(body);
            }
            std::hint::spin_loop();
        }
    }

    fn send(&mut self, to: InstanceId, number: u64) {
        let contents = &number.to_le_bytes();
        let message = Outgoing { class: Class::Normal, kind: KIND, contents, page: None };
        while self.fabric.send(self.now, to, message).is_err() {
            self.poll();
        }
        self.fabric.notify(&mut |_| {});
    }
}

fn link_round_trips(coverage: Coverage) -> io::Result<Vec<f64>> {
    let near = create_window(2, WINDOW_BYTES, coverage)?;
    let far = near.again()?;
    let config = FabricConfig::default();
    thread::scope(|scope| {
        let echo = scope.spawn(|| -> io::Result<()> {
            let mut far = Spinner::enter(&far, FAR, config)?;
            far.wait_until_up(NEAR);
            for _ in 0..BATCH * BATCHES as u64 {
                let number = far.wait_for_message();
                far.send(NEAR, number);
            }
            Ok(())
        });
        let mut near = Spinner::enter(&near, NEAR, config)?;
        near.wait_until_up(FAR);
        let mut wrong = 0;
        let times = time_batches(|round| {
            near.send(FAR, round);
            wrong += u64::from(near.wait_for_message() != round);
        });
        if wrong > 0 || echo.join().is_err() {
            return Err(io::Error::other("echo is broken"));
        }
        Ok(times)
    })
}

struct Rate {
    messages_a_second: f64,
    doorbells_a_message: f64,
}

/// One-way throughput: a sender that sends as fast as it is let, and a receiver that looks at
/// every message and sleeps when it may.
fn stream(
    contents: &[u8],
    page: Option<&[u64; PAGE_WORDS]>,
    count: u64,
    poll_for: Nanos,
) -> io::Result<Rate> {
    let near = create_window(2, WINDOW_BYTES, Coverage::Off)?;
    let far = near.again()?;
    let config = FabricConfig { poll_for, ..FabricConfig::default() };
    thread::scope(|scope| {
        let sender = thread::current();
        let receiver = scope.spawn(move || -> io::Result<u64> {
            let mut fabric = enter(&far, FAR, Clock::start(), config)?;
            let mut doorbells = Doorbells::new(vec![sender, thread::current()]);
            let (mut received, mut sum) = (0, 0u64);
            let mut copy = [0; PAGE_WORDS];
            run(&mut fabric, Clock::start(), &mut doorbells, |fabric, now, event| {
                if let Some((_, Event::Message(message))) = event {
                    received += 1;
                    sum += fabric.body().len() as u64;
                    if message.has_page && fabric.copy_page(now, &mut copy) {
                        sum += copy.iter().step_by(64).sum::<u64>();
                    }
                }
                if received == count { Next::Done } else { Next::Wait }
            });
            Ok(sum)
        });
        let clock = Clock::start();
        let mut fabric = enter(&near, NEAR, clock, config)?;
        let mut doorbells = Doorbells::new(vec![thread::current(), receiver.thread().clone()]);
        let message = Outgoing { class: Class::Normal, kind: KIND, contents, page };
        let (mut sent, mut start) = (0, None);
        run(&mut fabric, clock, &mut doorbells, |fabric, now, _| {
            for _ in 0..64 {
                if sent == count {
                    break;
                }
                match fabric.send(now, FAR, message) {
                    Ok(_) => sent += 1,
                    Err(SendError::Full | SendError::NotUp) => return Next::Wait,
                    Err(error) => unreachable!("{error}"),
                }
                start.get_or_insert_with(Instant::now);
            }
            match (receiver.is_finished(), sent == count) {
                (true, _) => Next::Done,
                (false, true) => Next::Wait,
                (false, false) => Next::Again,
            }
        });
        let seconds = start.map_or(f64::NAN, |start| start.elapsed().as_secs_f64());
        let doorbells = fabric.stats(FAR).map_or(0, |stats| stats.doorbells);
        match receiver.join() {
            Ok(Ok(sum)) if sum > 0 => Ok(Rate {
                messages_a_second: count as f64 / seconds,
                doorbells_a_message: doorbells as f64 / count as f64,
            }),
            _ => Err(io::Error::other("receiver is broken")),
        }
    })
}
