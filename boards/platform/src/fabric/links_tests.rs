use super::*;
use alloc::boxed::Box;
use alloc::vec;
use core::cell::RefCell;
use core::sync::atomic::AtomicU64;

use maize_link::{Cause, Entrance, News};
use maize_window::{Mapping, PeerLine, WindowHeader};
use maize_wire::checksum::Coverage;
use maize_wire::{Class, Kind};

use alloc::rc::Rc;

const BYTES: u64 = 512 << 10;

type TestLinks = Links<Mapping<'static>, Box<dyn FnMut(InstanceId)>>;

/// Two instances in one thread, on a clock of their own, and who was rung.
struct Pair {
    window: Mapping<'static>,
    header: WindowHeader,
    links: [TestLinks; 2],
    now: Nanos,
    rung: Rc<RefCell<Vec<InstanceId>>>,
}

impl Pair {
    fn new() -> Pair {
        let words: Vec<AtomicU64> = (0..BYTES / 8).map(|_| AtomicU64::new(0)).collect();
        let window = Mapping::from_words(Vec::leak(words));
        let layout = Layout::new(2, BYTES).unwrap();
        let header = WindowHeader { layout, coverage: Coverage::Control, fabric: 9 };
        header.publish(&window).unwrap();
        let rung: Rc<RefCell<Vec<InstanceId>>> = Rc::default();
        let links = [0, 1].map(|me| {
            let entrance = Entrance { window, peers: vec![InstanceId(1 - me)] };
            let config = LinksConfig {
                me: InstanceId(me),
                fabric: FabricConfig { poll_for: Nanos(0), ..FabricConfig::default() },
                trace: false,
                debugged: false,
            };
            let rung = rung.clone();
            let bell: Box<dyn FnMut(InstanceId)> =
                Box::new(move |peer| rung.borrow_mut().push(peer));
            let reached = [Reached { entrance, header, between_machines: true }];
            Links::enter(&config, &reached, bell, Nanos(0)).unwrap()
        });
        Pair { window, header, links, now: Nanos(0), rung }
    }

    /// Both get their turns; what each has to say, in order.
    fn run(&mut self, turns: usize, step: Nanos) -> [Vec<Event>; 2] {
        let mut events = [Vec::new(), Vec::new()];
        for _ in 0..turns {
            self.now = self.now + step;
            for (links, events) in self.links.iter_mut().zip(&mut events) {
                while let Some((_, event)) = links.poll(self.now) {
                    events.push(event);
                }
                links.notify();
            }
        }
        events
    }

    fn reports(&mut self, of: usize) -> Vec<KernelMessage> {
        core::iter::from_fn(|| self.links[of].take_report()).collect()
    }
}

fn message(contents: &[u8]) -> Outgoing<'_> {
    Outgoing { class: Class::Normal, kind: Kind(40), contents, page: None }
}

#[test]
fn a_peer_is_up_once_its_window_is_tested() {
    let mut pair = Pair::new();
    let early = pair.links[0].send(Nanos(0), InstanceId(1), message(b"early"));
    assert_eq!(early, Err(SendError::NotUp));
    let events = pair.run(20_000, Nanos(2_000));
    assert_eq!(events, [[Event::News(News::Up)], [Event::News(News::Up)]]);
    assert!(pair.links.iter().all(|links| links.all_ready() && links.refusal().is_none()));
    assert_eq!(pair.reports(0), [KernelMessage::PeerUp { peer: 1, epoch: 1 }]);
    pair.links[0].send(pair.now, InstanceId(1), message(b"now")).unwrap();
    let [none, events] = pair.run(1, Nanos(1_000));
    assert!(none.is_empty() && matches!(events[..], [Event::Message(_)]));
    assert_eq!(pair.links[1].body(), b"now");
    assert!(pair.rung.borrow().contains(&InstanceId(1)));
    // Both read one clock: the offset is as small as its error.
    assert!(pair.links.iter().all(Links::clocks_measured));
}

#[test]
fn clocks_are_measured_anew_after_a_pause() {
    const PAUSE: Nanos = Nanos::from_millis(600);
    const DRIFT: u64 = 7_000_000;
    let mut pair = Pair::new();
    pair.run(20_000, Nanos(2_000));
    let ahead = |pair: &Pair| pair.links[0].clock_ahead(InstanceId(1)).unwrap().unsigned_abs();
    assert!(ahead(&pair) < 10_000, "{} ns", ahead(&pair));
    // Instance 0 was not let run for a while. Meanwhile the other's clock went its own way.
    pair.now = pair.now + PAUSE;
    while pair.links[0].poll(pair.now).is_some() {}
    assert!(!pair.links[0].clocks_measured());
    for _ in 0..20_000 {
        pair.now = pair.now + Nanos(2_000);
        for (links, later) in pair.links.iter_mut().zip([0, DRIFT]) {
            assert_eq!(links.poll(pair.now + Nanos(later)), None);
            links.notify();
        }
    }
    assert!(pair.links[0].clocks_measured());
    assert!(ahead(&pair).abs_diff(DRIFT) < 10_000, "{} ns", ahead(&pair));
}

#[test]
fn a_window_that_loses_additions_is_refused() {
    let mut pair = Pair::new();
    // In the middle of the test somebody takes something away from the sum.
    pair.run(40, Nanos(2_000));
    let layout = pair.header.layout;
    let cell = layout.pair_cell(InstanceId(0), InstanceId(1)).unwrap();
    pair.window.fetch_add(cell.start, u64::MAX);
    pair.run(20_000, Nanos(2_000));
    let refusals = pair.links.iter().filter_map(Links::refusal);
    let lost = |error: &JoinError| {
        matches!(error, JoinError::Refused { refusal: Refusal::AdditionsLost { .. }, .. })
    };
    assert!(refusals.filter(lost).count() >= 1);
    assert!(!pair.links[0].is_ready(InstanceId(1)));
}

#[test]
fn who_was_given_up_joins_again() {
    let mut pair = Pair::new();
    pair.run(20_000, Nanos(2_000));
    // Garbage in the ring of instance 1: instance 0 gives it up, and says why.
    let ring = pair.header.layout.ring(InstanceId(1), InstanceId(0)).unwrap();
    for word in 0..ring.words {
        pair.window.store(ring.start + word, 0xdead_beef_0bad_cafe);
    }
    pair.reports(0);
    let [mine, others] = pair.run(5_000, Nanos(200_000));
    assert!(matches!(mine[0], Event::News(News::Down(Cause::Corrupt(_)))), "{mine:?}");
    assert!(matches!(others[0], Event::News(News::Fenced(_))), "{others:?}");
    assert!(mine.contains(&Event::News(News::Up)) && others.contains(&Event::News(News::Up)));
    assert_eq!(pair.links[1].epoch().get(), 2);
    let reports = pair.reports(0);
    let down = |report: &KernelMessage| match report {
        KernelMessage::PeerDown { peer: 1, epoch: 1, cause, awaits_stop: true } => {
            cause.starts_with("corrupt: stamp")
        }
        _ => false,
    };
    assert!(reports.iter().any(down), "{reports:?}");
    assert!(reports.contains(&KernelMessage::PeerUp { peer: 1, epoch: 2 }), "{reports:?}");
    let counted = pair.links[0].counts();
    assert!(counted.contains(&("link.1.corruptions".into(), 1)), "{counted:?}");
}

#[test]
fn a_peer_that_speaks_too_early_is_refused() {
    let mut pair = Pair::new();
    // Instance 1 is made to believe that the test is over; this side's is not.
    pair.run(3, Nanos(2_000));
    let state = &mut pair.links[1];
    assert!(!state.is_ready(InstanceId(0)));
    state.fabric.set_gate(InstanceId(0), Gate::Open);
    state.fabric.send(pair.now, InstanceId(0), message(b"too early")).unwrap();
    let [mine, _] = pair.run(2, Nanos(2_000));
    assert!(!mine.iter().any(|event| matches!(event, Event::Message(_))), "{mine:?}");
    assert!(!pair.links[0].is_ready(InstanceId(1)));
    let line = pair.header.layout.peer_line(InstanceId(0), InstanceId(1), PeerLine::Attachment);
    assert_eq!(pair.window.load(line.unwrap().start), 0, "this side has left the session");
}
