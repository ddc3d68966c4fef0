//! What the link costs in instructions, for `callgrind`: two fabrics in one thread, so that a count
//! is exact and the same on a busy machine.
//!
//! ```text
//! cargo build --release -p maize-msg-fabric --bin msg-count
//! valgrind --tool=callgrind --toggle-collect='msg_count::measured_*' \
//!     --callgrind-out-file=/dev/null target/release/msg-count round-trip 10000
//! ```
//!
//! The collected instructions divided by the rounds are what one round costs, both sides together:
//!
//! | round | |
//! |---|---|
//! | `round-trip` | 8 bytes there and back: 2 sends, 2 polls that find a message, 2 notifications |
//! | `empty-poll` | a poll of each side that finds nothing |
//! | `message` | 64 bytes one way, which fill two slots: send, notification, poll |
//! | `page` | a page one way: send, notification, poll, copy |
//! | `waiting-page` | the same to a peer that is behind: each page has waited for room |

use std::{env, hint::black_box, io, process::ExitCode};

use maize_hal::Nanos;
use maize_link::{Event, FabricConfig, Life, Outgoing};
use maize_msg_fabric::{Clock, HostFabric, create_window, enter};
use maize_wire::{Class, InstanceId, Kind, PAGE_WORDS, Page, checksum::Coverage};

const KIND: Kind = Kind(32);
const NEAR: InstanceId = InstanceId(0);
const FAR: InstanceId = InstanceId(1);
const WINDOW_BYTES: u64 = 16 << 20;
const NOW: Nanos = Nanos(1);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (Some(what), Some(rounds)) = (arguments.first(), arguments.get(1)) else {
        eprintln!("msg-count round-trip|empty-poll|message|page|waiting-page ROUNDS");
        return ExitCode::FAILURE;
    };
    let measured: fn(&mut Pair<'_>, u64) -> u64 = match what.as_str() {
        "round-trip" => measured_round_trips,
        "empty-poll" => measured_empty_polls,
        "message" => measured_messages,
        "page" => measured_pages,
        "waiting-page" => measured_waiting_pages,
        _ => return ExitCode::FAILURE,
    };
    match rounds.parse().map_err(io::Error::other).and_then(|rounds| run(measured, rounds)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Pair<'a> {
    near: HostFabric<'a>,
    far: HostFabric<'a>,
    page: Box<Page>,
}

fn run(measured: fn(&mut Pair<'_>, u64) -> u64, rounds: u64) -> io::Result<()> {
    let window = create_window(2, WINDOW_BYTES, Coverage::Off)?;
    let again = window.again()?;
    let config = FabricConfig { beat_every: Nanos::SECOND, ..FabricConfig::default() };
    let near = enter(&window, NEAR, Clock::start(), config)?;
    let far = enter(&again, FAR, Clock::start(), config)?;
    let mut pair = Pair { near, far, page: Box::new(Page::ZERO) };
    let up = |life: Option<Life>| matches!(life, Some(Life::Up { .. }));
    // Each beat looks at the peer, and a session needs a few looks of both.
    for beat in 0..8 {
        let now = Nanos(Nanos::SECOND.0 * beat);
        while pair.near.poll(now).is_some() || pair.far.poll(now).is_some() {}
    }
    if !up(pair.near.life(FAR)) || !up(pair.far.life(NEAR)) {
        return Err(io::Error::other("the two did not find each other"));
    }
    if measured(&mut pair, rounds) == rounds {
        Ok(())
    } else {
        Err(io::Error::other("not every round ended as it should"))
    }
}

fn send(fabric: &mut HostFabric<'_>, to: InstanceId, number: u64, page: Option<&Page>) {
    send_words(fabric, to, &[number], page);
}

fn send_words(fabric: &mut HostFabric<'_>, to: InstanceId, words: &[u64], page: Option<&Page>) {
    let contents = bytemuck::cast_slice(words);
    let page = page.map(|page| &page.0);
    let message = Outgoing { class: Class::Normal, kind: KIND, contents, page };
    // One that is refused is missed by the receiver.
    let _ = fabric.send(NOW, to, message);
    fabric.notify(&mut |_| {});
}

fn receive(fabric: &mut HostFabric<'_>) -> Option<u64> {
    let Some((_, Event::Message(_))) = fabric.poll(NOW) else { return None };
    fabric.body().first_chunk().map(|body| u64::from_le_bytes(*body))
}

#[inline(never)]
fn measured_round_trips(pair: &mut Pair<'_>, rounds: u64) -> u64 {
    let mut whole = 0;
    for round in 0..rounds {
        send(&mut pair.near, FAR, round, None);
        if let Some(number) = receive(&mut pair.far) {
            send(&mut pair.far, NEAR, number, None);
        }
        whole += u64::from(receive(&mut pair.near) == Some(round));
    }
    whole
}

#[inline(never)]
fn measured_empty_polls(pair: &mut Pair<'_>, rounds: u64) -> u64 {
    let mut whole = 0;
    for _ in 0..rounds {
        whole += u64::from(pair.near.poll(NOW).is_none() && pair.far.poll(NOW).is_none());
    }
    whole
}

#[inline(never)]
fn measured_messages(pair: &mut Pair<'_>, rounds: u64) -> u64 {
    let mut words = [0; 8];
    let mut whole = 0;
    for round in 0..rounds {
        words[0] = round;
        send_words(&mut pair.near, FAR, &words, None);
        whole += u64::from(receive(&mut pair.far) == Some(round));
    }
    whole
}

#[inline(never)]
fn measured_pages(pair: &mut Pair<'_>, rounds: u64) -> u64 {
    let mut copy = [0; PAGE_WORDS];
    let mut whole = 0;
    for round in 0..rounds {
        pair.page.0[PAGE_WORDS - 1] = round;
        send(&mut pair.near, FAR, round, Some(&pair.page));
        let came = receive(&mut pair.far) == Some(round) && pair.far.copy_page(NOW, &mut copy);
        whole += u64::from(came && black_box(&copy)[PAGE_WORDS - 1] == round);
    }
    whole
}

#[inline(never)]
fn measured_waiting_pages(pair: &mut Pair<'_>, rounds: u64) -> u64 {
    /// More than the ring takes of a class, and fewer than also wait.
    const BEHIND: u64 = 40;
    let mut copy = [0; PAGE_WORDS];
    let (mut sent, mut whole) = (0, 0);
    for round in 0..rounds {
        while sent < rounds && sent < round + BEHIND {
            send(&mut pair.near, FAR, sent, Some(&pair.page));
            sent += 1;
        }
        // What waits is sent when its sender polls.
        whole += u64::from(pair.near.poll(NOW).is_none());
        let came = receive(&mut pair.far) == Some(round) && pair.far.copy_page(NOW, &mut copy);
        whole -= u64::from(!came);
    }
    whole
}
