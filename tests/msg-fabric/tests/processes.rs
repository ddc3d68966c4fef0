//! Two processes over one memfd, each with a mapping of its own; one is killed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

use std::{
    env,
    os::fd::{AsFd, AsRawFd},
    path::Path,
    process::{self, Child, Command, Stdio},
    thread,
};

use maize_hal::Nanos;
use maize_link::{Cause, Event, News, Outgoing};
use maize_msg_fabric::{Clock, Next, create_window, dying_after, enter, run};
use maize_window::HostWindow;
use maize_wire::{Class, InstanceId, Kind, checksum::Coverage};

const WINDOW: &str = "MAIZE_TEST_WINDOW";
const KIND: Kind = Kind(77);

/// Silence after which a peer is given up, in milliseconds: long enough for a busy host.
const DEAD_AFTER: u64 = 5_000;

/// Longest time for anything, on a busy host.
const LIMIT: Nanos = Nanos::from_millis(300_000);

/// Answers after which the child is killed.
const ANSWERS: u64 = 2_000;

/// The far side, when this test runs as the child: answers each number with its successor.
#[test]
fn child() {
    let Ok(path) = env::var(WINDOW) else { return };
    let window = HostWindow::open(Path::new(&path)).unwrap();
    let clock = Clock::start();
    let config = dying_after(Nanos::from_millis(DEAD_AFTER));
    let mut fabric = enter(&window, InstanceId(1), clock, config).unwrap();
    run(&mut fabric, clock, &mut |_| {}, |fabric, now, event| {
        if let Some((from, Event::Message(_))) = event {
            let number = u64::from_le_bytes(*fabric.body().first_chunk().unwrap()) + 1;
            let contents = &number.to_le_bytes();
            let answer = Outgoing { class: Class::Normal, kind: KIND, contents, page: None };
            fabric.send(now, from, answer).unwrap();
        }
        // No doorbells between processes here: poll.
        if event.is_none() {
            thread::yield_now();
        }
        if now > LIMIT { Next::Done } else { Next::Again }
    });
}

/// A child that does not outlive the test, however that ends.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_answers_until_it_is_killed() {
    let window = create_window(2, 8 << 20, Coverage::All).unwrap();
    let path = format!("/proc/{}/fd/{}", process::id(), window.as_fd().as_raw_fd());
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(WINDOW, path)
        .stdout(Stdio::null())
        .spawn()
        .map(Mortal);
    let mut child = Some(child.unwrap());
    let clock = Clock::start();
    let config = dying_after(Nanos::from_millis(DEAD_AFTER));
    let mut fabric = enter(&window, InstanceId(0), clock, config).unwrap();
    let (mut answers, mut dead) = (0u64, false);
    run(&mut fabric, clock, &mut |_| {}, |fabric, now, event| {
        assert!(now < LIMIT, "{answers} answers");
        let next = match event {
            Some((_, Event::News(News::Up))) => 0,
            Some((_, Event::Message(_))) => {
                let number = u64::from_le_bytes(*fabric.body().first_chunk().unwrap());
                assert_eq!(number, answers + 1);
                answers = number;
                number
            }
            Some((_, Event::News(News::Down(cause)))) => {
                assert!(cause == Cause::Silent && child.is_none(), "{cause}");
                dead = true;
                return Next::Wait;
            }
            _ => {
                thread::yield_now();
                return if dead { Next::Done } else { Next::Again };
            }
        };
        if answers == ANSWERS {
            child = None;
        }
        let contents = &next.to_le_bytes();
        let ask = Outgoing { class: Class::Normal, kind: KIND, contents, page: None };
        fabric.send(now, InstanceId(1), ask).unwrap();
        Next::Again
    });
    // By how long this side has listened, whatever time has passed on a busy host.
    let silence = fabric.silence(InstanceId(1)).unwrap();
    let step = config.link.life.longest_step;
    assert!(silence < Nanos::from_millis(DEAD_AFTER) + step, "declared dead after {silence:?}");
}
