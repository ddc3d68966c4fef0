//! Figures of the link between two instances, beside a ping-pong on two bare words of the memory
//! that it lies in.
//!
//! [`near`] measures and [`far`] answers. A phase begins when the one has asked for it and the other
//! has said that it is ready.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use maize_hal::Nanos;
use maize_link::{Event, Glance, Idle, Message, Outgoing, Seen, SendError};
use maize_window::Window;
use maize_wire::{Class, InstanceId, Kind, PAGE_WORDS};

use crate::{BenchOutcome, BenchRequest, Rate, Spread, Station, Traffic, floor};

const START: Kind = Kind(104);
const READY: Kind = Kind(105);
const PING: Kind = Kind(106);
const STREAM: Kind = Kind(107);
const DONE: Kind = Kind(108);

/// Who measures.
pub const NEAR: InstanceId = InstanceId(0);
/// Who answers.
pub const FAR: InstanceId = InstanceId(1);

/// The words of the bare ping-pong: one of each side.
const WORD: [usize; 2] = [0, 8];
/// How long the other side may take for anything.
const PATIENCE: Nanos = Nanos::from_millis(10_000);
/// Sleep at the most, where a doorbell is expected: one can be lost to the peer's death only.
const NAP: Nanos = Nanos::from_millis(200);
/// Polls between two looks at the clock, which is needed for heartbeats only.
const POLLS: u32 = 128;
/// Messages sent before the doorbell is looked after.
const BURST: u32 = 32;
/// Bytes of a small message.
const SMALL: usize = 64;

/// What is done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    BarePolled,
    LinePolled,
    BareDoorbell,
    LinkPolled,
    LinkDoorbell,
    Messages,
    BarePages,
    Pages,
}

impl Phase {
    const ALL: [Phase; 8] = [
        Phase::BarePolled,
        Phase::LinePolled,
        Phase::BareDoorbell,
        Phase::LinkPolled,
        Phase::LinkDoorbell,
        Phase::Messages,
        Phase::BarePages,
        Phase::Pages,
    ];
}

/// Everything is measured in so many slices, and each figure takes its turn in each of them: a host's
/// speed changes within a second, and what is compared should have met the same.
const SLICES: u32 = 10;

/// What is done, with a number of its own, and in which slice.
fn phases() -> impl Iterator<Item = (u64, u32, Phase)> {
    let phases = (0..SLICES).flat_map(|slice| Phase::ALL.map(|phase| (slice, phase)));
    (1..).zip(phases).map(|(number, (slice, phase))| (number, slice, phase))
}

/// A slice's part of what is to be measured.
fn slice_of(request: &BenchRequest, slice: u32) -> BenchRequest {
    let (slice, slices) = (u64::from(slice), u64::from(SLICES));
    let part = |count: u64| count * (slice + 1) / slices - count * slice / slices;
    let few = |count: u32| part(u64::from(count)) as u32;
    BenchRequest {
        batches: few(request.batches),
        doorbells: few(request.doorbells),
        messages: part(request.messages),
        pages: part(request.pages),
        ..*request
    }
}

/// A station, and the time as it was read last.
struct Side<'a, S: Station> {
    station: &'a mut S,
    peer: InstanceId,
    now: Nanos,
    polls: u32,
}

impl<S: Station> Side<'_, S> {
    fn tick(&mut self) -> Nanos {
        self.now = self.station.now();
        self.now
    }

    /// One poll of the links; a message of the peer, if there is one.
    #[inline]
    fn poll(&mut self) -> Option<Message> {
        self.polls = self.polls.wrapping_add(1);
        if self.polls.is_multiple_of(POLLS) {
            self.tick();
        }
        match self.station.traffic().glance(self.now) {
            Glance::Nothing => None,
            Glance::Message(Seen { peer, .. }) => {
                (peer == self.peer).then(|| self.station.traffic().message())
            }
            Glance::Other => self.poll_other(),
        }
    }

    #[cold]
    #[inline(never)]
    fn poll_other(&mut self) -> Option<Message> {
        match self.station.traffic().poll(self.now)? {
            (peer, Event::Message(message)) if peer == self.peer => Some(message),
            _ => None,
        }
    }

    #[inline]
    fn number(&mut self) -> u64 {
        // Aligned, as every body of a single frame is.
        let number = self.station.traffic().body().get(..8);
        number
            .and_then(|number| bytemuck::try_from_bytes(number).ok())
            .map_or(0, |n| u64::from_le(*n))
    }

    /// Polls for a message of that kind until it comes.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is measured is the links, not calls of them")]
    fn spin_for(&mut self, kind: Kind) -> Result<u64, String> {
        self.polls = self.polls.wrapping_add(1);
        if self.polls.is_multiple_of(POLLS) {
            self.tick();
        }
        let patience = self.now + PATIENCE;
        loop {
            let now = self.now;
            for _ in 0..POLLS {
                match self.station.traffic().glance(now) {
                    Glance::Nothing => {}
                    Glance::Message(seen) if (seen.peer == self.peer) & (seen.kind == kind) => {
                        return Ok(u64::from_le(seen.first));
                    }
                    Glance::Message(seen) => return Err(unexpected(seen.kind)),
                    Glance::Other => match self.poll_other() {
                        None => {}
                        Some(message) if message.kind == kind => return Ok(self.number()),
                        Some(message) => return Err(unexpected(message.kind)),
                    },
                }
            }
            if self.tick() > patience {
                return Err(silent());
            }
        }
    }

    /// Waits for a message of that kind, asleep if the links say so.
    fn sleep_for(&mut self, kind: Kind) -> Result<u64, String> {
        let patience = self.tick() + PATIENCE;
        loop {
            while let Some(event) = self.station.traffic().poll(self.now) {
                match event {
                    (peer, Event::Message(message)) if peer == self.peer => {
                        return if message.kind == kind {
                            Ok(self.number())
                        } else {
                            Err(unexpected(message.kind))
                        };
                    }
                    _ => {}
                }
            }
            self.station.notify();
            if let Idle::Sleep(until) = self.station.idle(self.now) {
                self.station.sleep(until);
            }
            if self.tick() > patience {
                return Err(silent());
            }
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is measured is the links, not calls of them")]
    fn send(&mut self, kind: Kind, contents: &[u8]) -> Result<(), String> {
        let message = Outgoing { class: Class::Normal, kind, contents, page: None };
        let sent = self.station.traffic().send(self.now, self.peer, message);
        self.station.notify();
        sent.map(|_| ()).map_err(|error| error.to_string())
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is measured is the links, not calls of them")]
    fn send_number(&mut self, kind: Kind, number: u64) -> Result<(), String> {
        // Aligned, as a body should be.
        self.send(kind, bytemuck::bytes_of(&number.to_le()))
    }

    fn doorbells(&mut self) -> u64 {
        self.station.traffic().stats(self.peer).map_or(0, |stats| stats.doorbells)
    }
}

#[cold]
#[inline(never)]
fn unexpected(kind: Kind) -> String {
    alloc::format!("a message of kind {} in the wrong phase", kind.0)
}

fn silent() -> String {
    "the peer does not answer".into()
}

/// Measures: what instance 0 does once the links are up.
///
/// # Errors
/// Why there are no figures.
pub fn near<S: Station>(station: &mut S, request: &BenchRequest) -> Result<BenchOutcome, String> {
    let now = station.now();
    let mut side = Side { station, peer: FAR, now, polls: 0 };
    let mut outcome = BenchOutcome::default();
    let [mut bare_polled, mut line_polled, mut bare_doorbell] = [const { Vec::new() }; 3];
    let [mut link_polled, mut link_doorbell] = [const { Vec::new() }; 2];
    for (number, slice, phase) in phases() {
        let request = &slice_of(request, slice);
        let memory = bare_memory(&mut side)?;
        memory.store_release(WORD[0], 0);
        floor::clear_lines(&memory, 0);
        side.station.set_poll_for(poll_for(phase, request));
        side.send_number(START, number)?;
        if side.sleep_for(READY)? != number {
            return Err("the peer is in another phase".into());
        }
        match phase {
            Phase::BarePolled => {
                batches(&mut side, request, &mut bare_polled, |side, round| {
                    memory.store_release(WORD[0], round);
                    spin_on(side, &memory, WORD[1], round)
                })?;
            }
            Phase::LinePolled => {
                batches(&mut side, request, &mut line_polled, |side, round| {
                    floor::send_line(&memory, 0, round);
                    same(line_from(side, &memory, 1, round)?, round)
                })?;
            }
            Phase::BareDoorbell => {
                singles(&mut side, request, &mut bare_doorbell, |side, round| {
                    memory.store_release(WORD[0], round);
                    side.station.ring(FAR);
                    sleep_on(side, &memory, WORD[1], round)
                })?;
            }
            Phase::LinkPolled => {
                batches(&mut side, request, &mut link_polled, |side, round| {
                    side.send_number(PING, round)?;
                    same(side.spin_for(PING)?, round)
                })?;
            }
            Phase::LinkDoorbell => {
                singles(&mut side, request, &mut link_doorbell, |side, round| {
                    side.send_number(PING, round)?;
                    same(side.sleep_for(PING)?, round)
                })?;
            }
            Phase::Messages => outcome.messages += stream(&mut side, request.messages, None)?,
            Phase::BarePages => outcome.bare_pages += copy_in(&mut side, &memory, request.pages)?,
            Phase::Pages => {
                outcome.pages += stream(&mut side, request.pages, Some(&numbered_page()))?;
            }
        }
    }
    Ok(BenchOutcome {
        bare_polled: Spread::of(&mut bare_polled),
        line_polled: Spread::of(&mut line_polled),
        bare_doorbell: Spread::of(&mut bare_doorbell),
        link_polled: Spread::of(&mut link_polled),
        link_doorbell: Spread::of(&mut link_doorbell),
        ..outcome
    })
}

/// Answers: what instance 1 does once the links are up, until the last phase is over.
///
/// # Errors
/// Why it has stopped answering.
pub fn far<S: Station>(station: &mut S, request: &BenchRequest) -> Result<(), String> {
    let now = station.now();
    let mut side = Side { station, peer: NEAR, now, polls: 0 };
    for (number, slice, phase) in phases() {
        let request = &slice_of(request, slice);
        if side.sleep_for(START)? != number {
            return Err("the peer is in another phase".into());
        }
        let memory = bare_memory(&mut side)?;
        memory.store_release(WORD[1], 0);
        floor::clear_lines(&memory, 1);
        side.station.set_poll_for(poll_for(phase, request));
        side.send_number(READY, number)?;
        let polled = u64::from(request.batches) * u64::from(request.batch);
        match phase {
            Phase::BarePolled => (1..=polled).try_for_each(|round| {
                spin_on(&mut side, &memory, WORD[0], round)?;
                memory.store_release(WORD[1], round);
                Ok::<_, String>(())
            })?,
            Phase::LinePolled => (1..=polled).try_for_each(|round| {
                let number = line_from(&mut side, &memory, 0, round)?;
                floor::send_line(&memory, 1, number);
                Ok::<_, String>(())
            })?,
            Phase::BareDoorbell => (1..=u64::from(request.doorbells)).try_for_each(|round| {
                sleep_on(&mut side, &memory, WORD[0], round)?;
                memory.store_release(WORD[1], round);
                side.station.ring(NEAR);
                Ok::<_, String>(())
            })?,
            Phase::LinkPolled => echo(&mut side, polled)?,
            Phase::LinkDoorbell => (0..request.doorbells).try_for_each(|_| {
                let number = side.sleep_for(PING)?;
                side.send_number(PING, number)
            })?,
            Phase::Messages => drain(&mut side, request.messages)?,
            Phase::BarePages => copy_out(&mut side, &memory, request.pages)?,
            Phase::Pages => drain(&mut side, request.pages)?,
        }
    }
    Ok(())
}

/// Sends as many numbers back as come, polling for them.
#[inline(never)]
fn echo<S: Station>(side: &mut Side<'_, S>, count: u64) -> Result<(), String> {
    (0..count).try_for_each(|_| {
        let number = side.spin_for(PING)?;
        side.send_number(PING, number)
    })
}

/// Where nothing but doorbells is to wake anybody, nobody polls.
fn poll_for(phase: Phase, request: &BenchRequest) -> Nanos {
    match phase {
        Phase::LinkDoorbell | Phase::BareDoorbell => Nanos(0),
        _ => Nanos(request.poll_ns),
    }
}

fn bare_memory<S: Station>(side: &mut Side<'_, S>) -> Result<S::Memory, String> {
    let memory = side.station.memory(side.peer).filter(|memory| memory.words() >= floor::WORDS);
    memory.ok_or_else(|| "there is too little memory to spare".into())
}

fn same(found: u64, expected: u64) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(alloc::format!("number {found} came back for {expected}"))
    }
}

/// Times batches of round trips: a single one is close to the clock's own cost. A function of its own
/// for each kind of them, so that none has to share registers with what surrounds it.
#[inline(never)]
fn batches<S: Station>(
    side: &mut Side<'_, S>,
    request: &BenchRequest,
    samples: &mut Vec<u64>,
    mut round_trip: impl FnMut(&mut Side<'_, S>, u64) -> Result<(), String>,
) -> Result<(), String> {
    let batch = u64::from(request.batch).max(1);
    for first in (0..u64::from(request.batches)).map(|number| number * batch + 1) {
        let started = side.tick();
        (first..first + batch).try_for_each(|round| round_trip(side, round))?;
        samples.push(side.tick().since(started).0 * 1000 / batch);
    }
    Ok(())
}

/// Times single round trips.
fn singles<S: Station>(
    side: &mut Side<'_, S>,
    request: &BenchRequest,
    samples: &mut Vec<u64>,
    mut round_trip: impl FnMut(&mut Side<'_, S>, u64) -> Result<(), String>,
) -> Result<(), String> {
    for round in 1..=u64::from(request.doorbells) {
        let started = side.tick();
        round_trip(side, round)?;
        samples.push(side.tick().since(started).0 * 1000);
    }
    Ok(())
}

#[inline]
fn spin_on<S: Station>(
    side: &mut Side<'_, S>,
    memory: &S::Memory,
    word: usize,
    value: u64,
) -> Result<(), String> {
    spin(side, || (memory.load_acquire(word) == value).then_some(()))
}

/// Spins for the line of that round from side `from`.
#[inline]
fn line_from<S: Station>(
    side: &mut Side<'_, S>,
    memory: &S::Memory,
    from: usize,
    round: u64,
) -> Result<u64, String> {
    let line = spin(side, || floor::receive_line(memory, from, round))?;
    line.map_err(|()| "a line is not the one that is due".into())
}

/// Copies pages into the memory as fast as they are taken out.
fn copy_in<S: Station>(
    side: &mut Side<'_, S>,
    memory: &S::Memory,
    count: u64,
) -> Result<Rate, String> {
    let page = numbered_page();
    let (started, mut taken) = (side.tick(), 0);
    for number in 0..count {
        if !floor::has_place(number, taken) {
            taken = spin(side, || {
                let taken = memory.load_acquire(WORD[1]);
                floor::has_place(number, taken).then_some(taken)
            })?;
        }
        memory.copy_in(floor::page_word(number), &page[..]);
        memory.store_release(WORD[0], number + 1);
    }
    spin_on(side, memory, WORD[1], count)?;
    let ns = side.tick().since(started).0;
    Ok(Rate { count, bytes: count * 8 * PAGE_WORDS as u64, ns, ..Rate::default() })
}

/// Copies the pages out of the memory.
fn copy_out<S: Station>(
    side: &mut Side<'_, S>,
    memory: &S::Memory,
    count: u64,
) -> Result<(), String> {
    let mut page = Box::new([0; PAGE_WORDS]);
    for number in 0..count {
        spin(side, || (memory.load_acquire(WORD[0]) > number).then_some(()))?;
        memory.copy_out(floor::page_word(number), &mut page[..]);
        if !is_numbered(&page) {
            return Err("a page was copied wrong".into());
        }
        memory.store_release(WORD[1], number + 1);
    }
    Ok(())
}

fn numbered_page() -> Box<[u64; PAGE_WORDS]> {
    let mut page = Box::new([0; PAGE_WORDS]);
    page.iter_mut().zip(1..).for_each(|(word, number)| *word = number);
    page
}

/// Looks at both ends of such a page.
fn is_numbered(page: &[u64; PAGE_WORDS]) -> bool {
    page.first() == Some(&1) && page.last() == Some(&(PAGE_WORDS as u64))
}

/// Looks for something until it is there.
#[inline]
fn spin<S: Station, T>(
    side: &mut Side<'_, S>,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    const LOOK: u32 = 1 << 22;
    let (mut spins, mut since) = (0_u32, None);
    // No hint that this is a spin loop: emulators take it for an invitation to do something else.
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        spins = spins.wrapping_add(1);
        if spins.is_multiple_of(LOOK) {
            let now = side.station.now();
            if now.since(*since.get_or_insert(now)) > PATIENCE {
                return Err(silent());
            }
        }
    }
}

fn sleep_on<S: Station>(
    side: &mut Side<'_, S>,
    memory: &S::Memory,
    word: usize,
    value: u64,
) -> Result<(), String> {
    let started = side.tick();
    let mut until = started + NAP;
    while memory.load_acquire(word) != value {
        side.station.sleep(until);
        let now = side.station.now();
        if now >= until {
            until = now + NAP;
        }
        if now.since(started) > PATIENCE {
            return Err(silent());
        }
    }
    Ok(())
}

/// Sends as fast as it is let.
fn stream<S: Station>(
    side: &mut Side<'_, S>,
    count: u64,
    page: Option<&[u64; PAGE_WORDS]>,
) -> Result<Rate, String> {
    let mut words = [0_u64; SMALL / 8];
    let rung = side.doorbells();
    let started = side.tick();
    let patience = started + PATIENCE + PATIENCE;
    let mut number = 0;
    while number < count {
        let mut full = false;
        for _ in 0..BURST {
            words[0] = number;
            let contents = bytemuck::cast_slice(&words);
            let contents = if page.is_some() { &contents[..8] } else { contents };
            let message = Outgoing { class: Class::Normal, kind: STREAM, contents, page };
            match side.station.traffic().send(side.now, side.peer, message) {
                Ok(_) => number += 1,
                Err(SendError::Full) => {
                    full = true;
                    break;
                }
                Err(error) => return Err(error.to_string()),
            }
            if number == count {
                break;
            }
        }
        side.station.notify();
        if full && !wait_for_room(side, patience)? {
            return Err(silent());
        }
    }
    let back = side.sleep_for(DONE)?;
    let ns = side.tick().since(started).0;
    let bytes = count * if page.is_some() { 8 * PAGE_WORDS as u64 } else { SMALL as u64 };
    let doorbells = side.doorbells() - rung;
    Ok(Rate { count, bytes, ns, doorbells, doorbells_back: back })
}

/// Waits until there is room for what was refused; whether patience has lasted.
fn wait_for_room<S: Station>(side: &mut Side<'_, S>, patience: Nanos) -> Result<bool, String> {
    loop {
        let now = side.tick();
        match side.station.traffic().poll(now) {
            Some((peer, Event::Room(_))) if peer == side.peer => return Ok(true),
            Some((peer, Event::Message(message))) if peer == side.peer => {
                return Err(unexpected(message.kind));
            }
            Some(_) => continue,
            None if side.now > patience => return Ok(false),
            None => {}
        }
        side.station.notify();
        if let Idle::Sleep(until) = side.station.idle(side.now) {
            side.station.sleep(until);
        }
    }
}

/// Takes all that is streamed, looks at it, and acknowledges the last.
fn drain<S: Station>(side: &mut Side<'_, S>, count: u64) -> Result<(), String> {
    let rung = side.doorbells();
    let mut page = Box::new([0; PAGE_WORDS]);
    let patience = side.tick() + PATIENCE + PATIENCE;
    let mut number = 0;
    while number < count {
        while let Some(message) = side.poll() {
            if message.kind != STREAM {
                return Err(unexpected(message.kind));
            }
            same(side.number(), number)?;
            if message.has_page {
                let copied = side.station.traffic().copy_page(side.now, &mut page);
                if !copied || !is_numbered(&page) {
                    return Err("a page has come damaged".into());
                }
            }
            number += 1;
        }
        side.station.notify();
        if number < count
            && let Idle::Sleep(until) = side.station.idle(side.now)
        {
            side.station.sleep(until);
        }
        if side.tick() > patience {
            return Err(silent());
        }
    }
    let rung = side.doorbells() - rung;
    side.send_number(DONE, rung)
}
