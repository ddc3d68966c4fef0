//! One direction of a link: what one instance has stored and another will see.

use alloc::{collections::VecDeque, vec::Vec};

use maize_hal::Nanos;
use maize_link::{Leave, PeerView};
use maize_window::Presence;
use maize_wire::Session;

/// Something that an instance stores for a peer to see.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Presence(Presence),
    /// The session as the receiver sees it. Attaching empties the ring.
    Attach(Session),
    Detach(Leave),
    /// A frame, from its stamp on.
    Frame(Vec<u64>),
    /// Slots of the peer's ring that were given back, in that session (as the receiver sees it).
    Consumed(Session, usize),
}

/// What travels from one instance to another, and what has arrived.
pub(crate) struct Pipe {
    travelling: VecDeque<(Nanos, Store)>,
    /// The latest arrival; later stores never overtake.
    latest: Nanos,
    pub(crate) view: PeerView,
    pub(crate) frames: VecDeque<Vec<u64>>,
    /// Slots given back in the receiver's session and not yet taken note of.
    pub(crate) consumed: Option<(Session, usize)>,
    /// The receiver wants a doorbell with the next frame.
    pub(crate) want_frame: bool,
    /// The receiver wants a doorbell once that many slots are free.
    pub(crate) want_space: Option<usize>,
}

impl Pipe {
    pub(crate) fn new() -> Pipe {
        Pipe {
            travelling: VecDeque::new(),
            latest: Nanos(0),
            view: PeerView { presence: None, attached: None, left: Leave::Unsaid },
            frames: VecDeque::new(),
            consumed: None,
            want_frame: false,
            want_space: None,
        }
    }

    /// Sends a store on its way.
    pub(crate) fn store(&mut self, arrival: Nanos, store: Store) {
        self.latest = self.latest.max(arrival);
        self.travelling.push_back((self.latest, store));
    }

    /// When all that is on its way will have arrived.
    pub(crate) fn latest(&self) -> Nanos {
        self.latest
    }

    /// Delays all that is sent from now on until `until` at least.
    pub(crate) fn hold(&mut self, until: Nanos) {
        self.latest = self.latest.max(until);
    }

    /// Loses what has been on its way for less than the first `keep` stores.
    pub(crate) fn cut(&mut self, keep: usize) {
        self.travelling.truncate(keep);
    }

    /// How many stores are on their way.
    pub(crate) fn travelling(&self) -> usize {
        self.travelling.len()
    }

    /// When the next store arrives, of those that have not arrived by now (whether or not anybody
    /// has looked).
    pub(crate) fn next_arrival(&self, now: Nanos) -> Option<Nanos> {
        let arrived = self.travelling.partition_point(|(arrival, _)| *arrival <= now);
        self.travelling.get(arrived).map(|(arrival, _)| *arrival)
    }

    /// Whether a frame is on its way.
    pub(crate) fn has_frame_travelling(&self) -> bool {
        self.travelling.iter().any(|(_, store)| matches!(store, Store::Frame(_)))
    }

    /// Whether slots that were given back are on their way.
    pub(crate) fn has_room_travelling(&self) -> bool {
        self.travelling.iter().any(|(_, store)| matches!(store, Store::Consumed(..)))
    }

    /// Makes visible what has arrived.
    pub(crate) fn arrive(&mut self, now: Nanos) {
        while let Some((_, store)) = self.travelling.pop_front_if(|(arrival, _)| *arrival <= now) {
            match store {
                Store::Presence(presence) => self.view.presence = Some(presence),
                Store::Attach(session) => {
                    self.view.attached = Some(session);
                    self.view.left = Leave::Unsaid;
                    self.frames.clear();
                    self.consumed = Some((session, 0));
                    self.want_frame = false;
                    self.want_space = None;
                }
                Store::Detach(reason) => {
                    self.view.left = reason;
                    self.view.attached = None;
                }
                Store::Frame(frame) => self.frames.push_back(frame),
                Store::Consumed(session, slots) => match &mut self.consumed {
                    Some((current, sum)) if *current == session => *sum += slots,
                    _ => self.consumed = Some((session, slots)),
                },
            }
        }
    }
}
