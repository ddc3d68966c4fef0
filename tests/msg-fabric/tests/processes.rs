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
use maize_link::{Cause, Event, FabricConfig, News, Outgoing};
use maize_msg_fabric::{Clock, Next, create_window, enter, run};
use maize_window::HostWindow;
use maize_wire::{Class, InstanceId, Kind, checksum::Coverage};

const WINDOW: &str = "MAIZE_TEST_WINDOW";
const KIND: Kind = Kind(77);

/// The far side, when this test runs as the child: answers each number with its successor.
#[test]
fn child() {
    let Ok(path) = env::var(WINDOW) else { return };
    let window = HostWindow::open(Path::new(&path)).unwrap();
    let clock = Clock::start();
    let mut fabric = enter(&window, InstanceId(1), clock, FabricConfig::default()).unwrap();
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
        if now > Nanos::from_millis(60_000) { Next::Done } else { Next::Again }
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
    let mut fabric = enter(&window, InstanceId(0), clock, FabricConfig::default()).unwrap();
    let (mut answers, mut killed, mut dead) = (0u64, None, None);
    run(&mut fabric, clock, &mut |_| {}, |fabric, now, event| {
        assert!(now < Nanos::from_millis(60_000), "{answers} answers, killed {killed:?}");
        let next = match event {
            Some((_, Event::News(News::Up))) => 0,
            Some((_, Event::Message(_))) => {
                let number = u64::from_le_bytes(*fabric.body().first_chunk().unwrap());
                assert_eq!(number, answers + 1);
                answers = number;
                number
            }
            Some((_, Event::News(News::Down(cause)))) => {
                assert_eq!(cause, Cause::Silent);
                dead = Some(now);
                return Next::Wait;
            }
            _ => {
                thread::yield_now();
                return if dead.is_some() { Next::Done } else { Next::Again };
            }
        };
        if answers == 5_000 && child.is_some() {
            child = None;
            killed = Some(clock.now());
        }
        let contents = &next.to_le_bytes();
        let ask = Outgoing { class: Class::Normal, kind: KIND, contents, page: None };
        fabric.send(now, InstanceId(1), ask).unwrap();
        Next::Again
    });
    let took = dead.unwrap().since(killed.unwrap());
    assert!(took < Nanos::from_millis(2_500), "declared dead after {took:?}");
}
