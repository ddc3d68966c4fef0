//! Numbered messages with contents that follow from their numbers, and the book-keeping that
//! finds any that is lost, doubled, reordered or changed. It knows nothing of links: what it
//! expects it counts for itself.
#![allow(dead_code, reason = "each test file uses another part of it")]

use std::collections::BTreeMap;

use maize_hal::Nanos;
use maize_link::{Event, Message, News, Outgoing, SendError};
use maize_simnet::SimFabric;
use maize_wire::{Class, InstanceId, Kind, PAGE_WORDS};

pub(crate) const KIND: Kind = Kind(40);

/// What one message carries.
pub(crate) struct Sample {
    pub(crate) contents: Vec<u8>,
    pub(crate) page: Option<Box<[u64; PAGE_WORDS]>>,
}

/// The message with this number from `from` to `to`: of any length, sometimes with a page.
pub(crate) fn sample(from: InstanceId, to: InstanceId, class: Class, number: u32) -> Sample {
    let seed = u64::from(number) << 32
        | u64::from(from.0) << 20
        | u64::from(to.0) << 8
        | class.index() as u64;
    let mut rng = fastrand::Rng::with_seed(seed);
    let shape = rng.u8(..);
    let length = match (class, shape) {
        (Class::Bulk, 0..=40) => rng.usize(4065..20_000),
        (_, 0..=200) => rng.usize(0..200),
        _ => rng.usize(0..=4064),
    };
    let page = length <= 200 && shape.is_multiple_of(4);
    let mut contents = vec![0; length];
    rng.fill(&mut contents);
    Sample { contents, page: page.then(|| Box::new(std::array::from_fn(|_| rng.u64(..)))) }
}

type Route = (InstanceId, InstanceId, Class);

/// What was sent and received on every route, in the present session.
#[derive(Default)]
pub(crate) struct Book {
    sent: BTreeMap<Route, u32>,
    received: BTreeMap<Route, u32>,
    pub(crate) total: u64,
    pub(crate) news: Vec<(Nanos, InstanceId, InstanceId, News)>,
}

impl Book {
    /// Sends the next message of a route. `false` if it was turned away.
    pub(crate) fn send(
        &mut self,
        (from, fabric): (InstanceId, &mut SimFabric),
        now: Nanos,
        to: InstanceId,
        class: Class,
    ) -> Result<bool, SendError> {
        let number = self.sent.entry((from, to, class)).or_default();
        let Sample { contents, page } = sample(from, to, class, *number);
        let message = Outgoing { class, kind: KIND, contents: &contents, page: page.as_deref() };
        match fabric.send(now, to, message) {
            Ok(sequence) => {
                assert_eq!(sequence, *number);
                *number += 1;
                Ok(true)
            }
            Err(SendError::Full) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes an event into account. Returns the message, if it is one.
    pub(crate) fn event(
        &mut self,
        me: InstanceId,
        fabric: &mut SimFabric,
        now: Nanos,
        (peer, event): (InstanceId, Event),
    ) -> Option<Message> {
        match event {
            Event::Message(message) => {
                self.check(me, fabric, now, peer, &message);
                Some(message)
            }
            Event::News(news) => {
                self.news.push((now, me, peer, news));
                if news == News::Up {
                    for class in Class::ALL {
                        self.sent.insert((me, peer, class), 0);
                        self.received.insert((peer, me, class), 0);
                    }
                }
                None
            }
            Event::Room(_) => None,
        }
    }

    fn check(
        &mut self,
        me: InstanceId,
        fabric: &mut SimFabric,
        now: Nanos,
        from: InstanceId,
        message: &Message,
    ) {
        let due = self.received.entry((from, me, message.class)).or_default();
        let expected = sample(from, me, message.class, *due);
        assert_eq!(message.kind, KIND);
        assert_eq!(fabric.body(), expected.contents, "message {due} from {from} to {me}");
        assert_eq!(message.has_page, expected.page.is_some());
        let mut page = [0; PAGE_WORDS];
        assert_eq!(fabric.copy_page(now, &mut page), message.has_page);
        assert!(expected.page.is_none_or(|expected| *expected == page));
        *due += 1;
        self.total += 1;
    }

    pub(crate) fn sent(&self, route: Route) -> u32 {
        self.sent.get(&route).copied().unwrap_or(0)
    }

    pub(crate) fn received(&self, route: Route) -> u32 {
        self.received.get(&route).copied().unwrap_or(0)
    }

    /// The news of that sort, for `me` about `peer`.
    pub(crate) fn news_of(
        &self,
        me: u16,
        peer: u16,
        sort: impl Fn(&News) -> bool,
    ) -> Option<Nanos> {
        let about = (InstanceId(me), InstanceId(peer));
        self.news
            .iter()
            .find(|(_, of, peer, news)| (*of, *peer) == about && sort(news))
            .map(|(at, ..)| *at)
    }
}
