//! A peer that does what some bytes say: it speaks as it should, writes whatever it likes into its
//! own section, comes and goes. For fuzzers and property tests: whatever the bytes, the victim never
//! panics, comes to an end with each poll, and can be talked to again by an honest successor.

use std::sync::atomic::AtomicU64;

use maize_hal::Nanos;
use maize_link::{Event, FabricConfig, Life, Outgoing, WindowFabric, enter};
use maize_window::{Layout, Mapping, PeerLine, Span, Window, WindowHeader};
use maize_wire::{Class, InstanceId, Kind, PAGE_WORDS, checksum::Coverage};

const VICTIM: InstanceId = InstanceId(0);
const ATTACKER: InstanceId = InstanceId(1);
const KIND: Kind = Kind(50);
const WINDOW_BYTES: u64 = 256 << 10;

/// Steps that one script may take.
const STEPS: usize = 512;
/// Events that one round of polling may give: more than rings, fragments and news can hold.
const EVENTS: usize = 4_096;

/// What came of a script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Messages that the victim took.
    pub messages: usize,
    /// Sessions that ended as corrupt.
    pub corruptions: u64,
    /// Sessions in all.
    pub sessions: u64,
}

type Links<'a> = WindowFabric<Mapping<'a>>;

struct Play<'a> {
    window: Mapping<'a>,
    spans: Vec<Span>,
    victim: Links<'a>,
    attacker: Links<'a>,
    now: Nanos,
    played: Played,
}

/// Words of the script, little-endian; zero behind its end.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, &self.0[..0]), |(b, rest)| (*b, rest));
        self.0 = rest;
        first
    }

    fn number(&mut self, bytes: usize) -> u64 {
        (0..bytes).fold(0, |number, at| number | u64::from(self.byte()) << (8 * at))
    }
}

/// Plays a script against a victim.
///
/// # Panics
/// If the victim does what it must not: that is what is looked for.
#[must_use]
#[expect(clippy::expect_used, reason = "a window of a fixed size")]
pub fn play(script: &[u8]) -> Played {
    let words: Vec<AtomicU64> = (0..WINDOW_BYTES / 8).map(|_| AtomicU64::new(0)).collect();
    let window = Mapping::from_words(&words);
    let mut script = Script(script);
    let coverage = [Coverage::Off, Coverage::Control, Coverage::All][script.byte() as usize % 3];
    let layout = Layout::new(2, WINDOW_BYTES).expect("large enough");
    let header = WindowHeader { layout, coverage, fabric: 1 };
    header.publish(&window).expect("as large as its layout");
    let spans = [
        layout.ring(ATTACKER, VICTIM),
        layout.presence(ATTACKER),
        layout.peer_line(ATTACKER, VICTIM, PeerLine::Attachment),
        layout.peer_line(ATTACKER, VICTIM, PeerLine::Consumed),
        layout.peer_line(ATTACKER, VICTIM, PeerLine::WantFrame),
        layout.peer_line(ATTACKER, VICTIM, PeerLine::WantSpace),
    ];
    let links = |me, now| {
        let entered = enter(&window, me, now, FabricConfig::default());
        entered.map(|(fabric, _)| fabric).expect("a window with a header")
    };
    let mut play = Play {
        window,
        spans: spans.into_iter().flatten().collect(),
        victim: links(VICTIM, Nanos(0)),
        attacker: links(ATTACKER, Nanos(0)),
        now: Nanos(0),
        played: Played::default(),
    };
    play.settle();
    for _ in 0..STEPS {
        if script.0.is_empty() {
            break;
        }
        play.step(&mut script);
    }
    play.recover(&links);
    let stats = play.victim.stats(ATTACKER).unwrap_or_default();
    Played { corruptions: stats.corruptions, sessions: stats.sessions, ..play.played }
}

impl<'a> Play<'a> {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0..=2 => {
                let class = Class::ALL[script.byte() as usize % 3];
                let length = script.number(2) as usize % 9_000;
                let contents = vec![script.byte(); length];
                let page = [7; PAGE_WORDS];
                let page = (length <= 200 && script.byte().is_multiple_of(2)).then_some(&page);
                let message = Outgoing { class, kind: KIND, contents: &contents, page };
                let _ = self.attacker.send(self.now, VICTIM, message);
            }
            3 | 4 => {
                let span = self.spans[script.byte() as usize % self.spans.len()];
                let word = span.start + script.number(2) as usize % span.words;
                let kind = script.byte();
                let value = script.number(if kind.is_multiple_of(2) { 1 } else { 8 });
                let old = self.window.load(word);
                self.window.store(word, if kind & 2 == 0 { value } else { old ^ value });
            }
            5 => {
                let contents = [script.byte(); 40];
                let message =
                    Outgoing { class: Class::Normal, kind: KIND, contents: &contents, page: None };
                let _ = self.victim.send(self.now, ATTACKER, message);
            }
            6 => {
                self.now = self.now + Nanos::from_millis(script.number(1) * 8);
                if script.byte().is_multiple_of(4) {
                    let _ = self.attacker.rejoin(self.now);
                }
            }
            _ => {
                for _ in 0..64 {
                    if self.attacker.poll(self.now).is_none() {
                        break;
                    }
                }
            }
        }
        self.drain();
    }

    /// Polls the victim until it has nothing more to say.
    fn drain(&mut self) {
        for _ in 0..EVENTS {
            let Some((peer, event)) = self.victim.poll(self.now) else {
                self.victim.notify(&mut |_| {});
                let _ = self.victim.idle(self.now);
                return;
            };
            assert_eq!(peer, ATTACKER);
            if let Event::Message(message) = event {
                assert_eq!(self.victim.body().len(), message.length);
                let mut page = [0; PAGE_WORDS];
                let copied = self.victim.copy_page(self.now, &mut page);
                assert!(!copied || message.has_page);
                self.played.messages += 1;
            }
        }
        unreachable!("the victim never comes to an end");
    }

    /// Lets both look at each other for a while.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.now = self.now + Nanos::from_millis(100);
            self.drain();
            while self.attacker.poll(self.now).is_some() {}
        }
    }

    /// An honest successor of the attacker is talked to, after the victim has started anew if that
    /// is what it has to do.
    fn recover(&mut self, links: &impl Fn(InstanceId, Nanos) -> Links<'a>) {
        // What the predecessor left in its section is gone: the memory is given away anew.
        for span in &self.spans {
            if let Some(part) = self.window.part(*span) {
                part.clear();
            }
        }
        self.victim.confirm_stopped(self.now, ATTACKER);
        let _ = self.victim.rejoin(self.now);
        self.attacker = links(ATTACKER, self.now);
        for _ in 0..8 {
            // A fresh section begins with the first epoch; the victim may have barred many.
            self.settle();
            if matches!(self.victim.life(ATTACKER), Some(Life::Up { .. })) {
                return;
            }
            self.victim.confirm_stopped(self.now, ATTACKER);
            let _ = self.attacker.rejoin(self.now);
        }
    }
}
