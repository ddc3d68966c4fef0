//! The page protocol's machine for the objects of one home, whichever policy it runs.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use maize_coherence::adaptive::{Adaptive, Tuning};
use maize_coherence::directory::{self, Directory};
use maize_coherence::shared::{Ahead, Domain, Message, Shared};
use maize_coherence::voting::{self, Voting};
use maize_coherence::{
    Access, Action, Agent, Config, Event, Failure, Home, Machine as _, NodeId, Nodes, ObjectId,
    PageKey, Policy, Sink, Time, WireSize,
};
use maize_hal::{Frame, Nanos};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::Coherence;

/// How long a page that arrived is kept at the most although others ask for it: the thread that it
/// came for may have to wait for the processor, on a host whose cores are not all this machine's.
const HOLD: Nanos = Nanos::from_millis(2);

/// Something for the machine.
pub(crate) enum Happened<'a> {
    Fault {
        page: PageKey,
        access: Access,
    },
    Message {
        from: NodeId,
        page: PageKey,
        bytes: &'a [u8],
        frames: &'a [Frame],
        nature: Nature,
    },
    Died(NodeId),
    SiblingDied(NodeId),
    Retired(PageKey),
    Expire(PageKey),
    /// At the home: a page goes to a node that has not asked for it.
    Give(PageKey, NodeId),
    /// The page is on its way although nobody here has asked for it.
    Expect(PageKey),
    /// At the home: a page is better in the window.
    Hot(PageKey),
    /// The page is not needed here any more.
    Evict(PageKey),
    Discard {
        object: ObjectId,
        generation: u32,
        first: u32,
        count: u32,
    },
    /// As `Discard`, where whoever else maps frames of the range has to confirm that elsewhere.
    Renew {
        object: ObjectId,
        generation: u32,
        first: u32,
        count: u32,
    },
    /// Siblings are to lose their mappings of a page.
    Recall(PageKey),
    /// This instance's mapping of a window frame was not used for a while.
    Idle(PageKey),
    /// At the home: everybody is to leave the window with a page.
    Retreat(PageKey),
}

/// Something that the machine wants done.
#[derive(Debug)]
pub(crate) enum Deed {
    Send {
        to: NodeId,
        page: PageKey,
        bytes: Vec<u8>,
        brings: Brings,
    },
    /// Answer a sibling with frames to map: the page's, and those of the neighbours named.
    Lend {
        to: NodeId,
        page: PageKey,
        access: Access,
        window: bool,
        ahead: Ahead,
    },
    Fill(PageKey),
    Install(PageKey),
    Stash(PageKey),
    InstallStashed(PageKey),
    /// A page's frame is another instance's.
    Adopt(PageKey, Frame),
    Map(PageKey, Access),
    Unmap(PageKey),
    Release(PageKey),
    Wake(PageKey),
    Timer(PageKey, Nanos),
    Fail(PageKey, Failure),
    /// A page is in a frame of the window.
    Locate(PageKey, Frame),
    MapWindow(PageKey),
    ToWindow(PageKey),
    FromWindow(PageKey),
}

/// What goes along with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brings {
    Nothing,
    /// The page's content.
    Content,
    /// The number of the window frame that the page is in.
    Place,
}

/// Bytes of the longest message of a policy.
const MESSAGE: usize = 128;

/// Bytes that are no message of the policy.
#[derive(Debug)]
pub(crate) struct NoMessage;

/// Who takes part, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) policy: Coherence,
    pub(crate) me: NodeId,
    /// Whose objects it is about.
    pub(crate) home: NodeId,
    /// Who speaks for this machine about them.
    pub(crate) lead: NodeId,
    /// Instances of this machine.
    pub(crate) siblings: Nodes,
    /// Those that speak for theirs.
    pub(crate) leads: Nodes,
    /// Pages that come along with one that is asked for, at the most.
    pub(crate) prefetch: u8,
    /// Whether pages may move into the window.
    pub(crate) promotes: bool,
}

/// The layers: sharing inside a machine, over prefetch, over a policy between machines.
type Layers<P> = Shared<Adaptive<P>>;

/// A machine.
#[derive(Debug)]
pub(crate) enum Machine {
    Directory(Layers<Directory<1>>),
    Voting(Layers<Voting<1>>),
}

macro_rules! each {
    ($machine:expr, $layers:ident => $body:expr) => {
        match $machine {
            Machine::Directory($layers) => $body,
            Machine::Voting($layers) => $body,
        }
    };
}

fn layers<P: Policy<1>>(part: Part) -> Layers<P> {
    let hold_ns = HOLD.0;
    let config = Config { node: part.me, home: Home::At(part.home), hold_ns };
    let usual = Tuning::default();
    let hot_misses = if part.promotes { usual.hot_misses } else { 0 };
    let tuning = Tuning { prefetch_pages: part.prefetch.into(), hot_misses, ..usual };
    let domain = Domain { sibling: part.me, lead: part.lead, ahead: part.prefetch, hold_ns };
    let machine = Adaptive::new(Agent::new(config, part.leads), tuning);
    Shared::new(machine, domain, part.siblings)
}

impl Machine {
    pub(crate) fn new(part: Part) -> Machine {
        match part.policy {
            Coherence::Directory => Machine::Directory(layers(part)),
            Coherence::Voting => Machine::Voting(layers(part)),
        }
    }

    /// Another instance of this machine is there.
    pub(crate) fn join_sibling(&mut self, sibling: NodeId) {
        each!(self, layers => layers.join(sibling));
    }

    /// One that speaks for another machine is there.
    pub(crate) fn join(&mut self, node: NodeId, restarts: u32) {
        each!(self, layers => layers.machine_mut().agent_mut().join(node, restarts));
    }

    pub(crate) fn detach(&mut self, object: ObjectId) {
        each!(self, layers => {
            layers.machine_mut().detach(object);
            layers.detach(object);
        });
    }

    pub(crate) fn adopt(&mut self, page: PageKey) {
        each!(self, layers => layers.machine_mut().agent_mut().adopt(page));
    }

    /// Lets neighbours be fetched ahead up to this index of an object.
    pub(crate) fn bound(&mut self, object: ObjectId, end: u32) {
        each!(self, layers => layers.machine_mut().bound(object, end));
    }

    /// How many more pages may move into the window.
    pub(crate) fn set_window_room(&mut self, frames: u32) {
        each!(self, layers => layers.machine_mut().set_window_room(frames));
    }

    pub(crate) fn generation(&self, object: ObjectId, index: u32) -> u32 {
        each!(self, layers => {
            let agent = layers.machine().agent();
            agent.generation(object, index).max(layers.generation(object, index))
        })
    }

    /// At the home: whether nothing is noted of a page, which may begin in any life.
    pub(crate) fn may_begin(&self, page: PageKey) -> bool {
        each!(self, layers => layers.machine().agent().may_begin(page))
    }

    /// Pages of a range that siblings map, by index.
    pub(crate) fn lent(&self, object: ObjectId, first: u32, count: u32) -> Vec<u32> {
        each!(self, layers => layers.lent(object, first, count).collect())
    }

    /// Siblings that wait for a page.
    pub(crate) fn asking(&self, page: PageKey) -> Nodes {
        each!(self, layers => layers.asking(page))
    }

    /// The pages of which something is under way, and what is noted of them.
    pub(crate) fn busy(&self) -> Vec<(PageKey, String)> {
        each!(self, layers => {
            let agent = layers.machine().agent().busy();
            let agent = agent.map(|(page, record)| (page, format!("{record:?}")));
            agent.chain(layers.busy().map(|(page, noted)| (page, format!("{noted:?}")))).collect()
        })
    }

    /// What kind of message it is.
    pub(crate) fn nature(&self, bytes: &[u8]) -> Nature {
        match self {
            Machine::Directory(_) => nature::<directory::Message<1>>(bytes, |message| {
                use directory::Body;
                match message.body {
                    Body::GetS { .. } | Body::GetM { .. } | Body::Put { .. } => Nature::Request,
                    Body::Hot => Nature::Hot,
                    _ => Nature::Other,
                }
            }),
            Machine::Voting(_) => nature::<voting::Message<1>>(bytes, |message| {
                use voting::Message;
                match message {
                    Message::Fetch { .. } | Message::FetchWrite | Message::Invalid { .. } => {
                        Nature::Request
                    }
                    Message::Hot => Nature::Hot,
                    _ => Nature::Other,
                }
            }),
        }
    }

    /// Whether a home can go on with its own requests while those of others wait.
    pub(crate) const fn orders_requests(&self) -> bool {
        matches!(self, Machine::Directory(_))
    }

    /// At the home: whether a page can go to a node that has not asked for it.
    pub(crate) fn may_be_given(&self, page: PageKey, to: NodeId) -> bool {
        let Machine::Directory(layers) = self else { return false };
        let record = layers.machine().agent().record(page);
        record.is_some_and(|record| record.may_be_given(to))
    }

    /// At the home: whether the page is in the window, and a node maps it there.
    pub(crate) fn is_used_in_window(&self, page: PageKey, by: NodeId) -> bool {
        let Machine::Directory(layers) = self else { return false };
        let record = layers.machine().agent().record(page);
        record.is_some_and(|record| record.is_used_in_window(by))
    }

    /// At the home, of a page that is about to go to a node that has not asked for it: whether it does that so
    /// often that it is better in the window.
    pub(crate) fn is_given_often(&mut self, now: Nanos, page: PageKey) -> bool {
        each!(self, layers => layers.machine_mut().is_given_often(Time(now.0), page))
    }

    pub(crate) fn handle(
        &mut self,
        now: Nanos,
        happened: Happened<'_>,
        deeds: &mut Vec<Deed>,
    ) -> Result<(), NoMessage> {
        each!(self, layers => drive(layers, now, happened, deeds))
    }
}

/// Kinds of messages that are treated differently before their machine sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// An instance of this machine wants to map a page.
    Query,
    /// Another machine asks for something that can wait, rather than ending what is under way.
    Request,
    /// A mapping inside this machine is wanted back or is gone. A lead waits for that, whatever has
    /// become of the page meanwhile.
    Shootdown,
    /// A page is better in the window.
    Hot,
    /// Anything else, or no message.
    Other,
}

impl Nature {
    /// Whether it asks for something that can wait.
    pub(crate) const fn is_request(self) -> bool {
        matches!(self, Nature::Query | Nature::Request)
    }
}

fn nature<M: DeserializeOwned>(bytes: &[u8], of: impl Fn(M) -> Nature) -> Nature {
    match postcard::from_bytes::<Message<M>>(bytes) {
        Ok(Message::Outside(message)) => of(message),
        Ok(Message::Query { .. }) => Nature::Query,
        Ok(Message::Revoke { .. } | Message::Revoked) => Nature::Shootdown,
        _ => Nature::Other,
    }
}

/// The message that lends frames.
pub(crate) fn mapping(access: Access, window: bool, ahead: Ahead) -> Vec<u8> {
    let message = Message::<()>::Mapping { access, window, ahead };
    postcard::to_allocvec(&message).unwrap_or_default()
}

/// The message that there is nothing to lend.
pub(crate) fn no_mapping() -> Vec<u8> {
    postcard::to_allocvec(&Message::<()>::Failed { failure: Failure::Lost }).unwrap_or_default()
}

/// Frames that a message lends: of its page, and of neighbours.
#[derive(Clone, Copy)]
struct Lent<'a> {
    page: PageKey,
    ahead: Ahead,
    frames: &'a [Frame],
}

impl Lent<'_> {
    fn frame_of(&self, page: PageKey) -> Option<Frame> {
        let later = page.index.checked_sub(self.page.index)?;
        let place = match later.checked_sub(1) {
            None => 0,
            Some(bit) => {
                let before = self.ahead.pages & !u8::MAX.checked_shl(bit)?;
                1 + before.count_ones() as usize
            }
        };
        self.frames.get(place).copied()
    }
}

fn drive<P: Policy<1>>(
    layers: &mut Layers<P>,
    now: Nanos,
    happened: Happened<'_>,
    deeds: &mut Vec<Deed>,
) -> Result<(), NoMessage>
where
    P::Message: Serialize + DeserializeOwned,
{
    let mut sink = Deeds { deeds, lent: None };
    let now = Time(now.0);
    let event = match happened {
        Happened::Fault { page, access } => Event::Fault { page, access },
        Happened::Message { from, page, bytes, frames, .. } => {
            let message: Message<P::Message> =
                postcard::from_bytes(bytes).map_err(|_| NoMessage)?;
            let mut in_window = message.names_window();
            let mut count = usize::from(in_window);
            if let Message::Mapping { window, ahead, .. } = message {
                sink.lent = Some(Lent { page, ahead, frames });
                in_window = window;
                count = 1 + ahead.pages.count_ones() as usize;
            }
            if frames.len() != count {
                return Err(NoMessage);
            }
            if let (Some(frame), true) = (frames.first(), in_window) {
                sink.deeds.push(Deed::Locate(page, *frame));
            }
            Event::Message { from, page, message }
        }
        Happened::Died(node) => Event::Died { node },
        Happened::SiblingDied(sibling) => Event::SiblingDied { sibling },
        Happened::Retired(page) => Event::Retired { page },
        Happened::Expire(page) => Event::Expire { page },
        Happened::Give(page, to) => Event::Give { page, to },
        Happened::Expect(page) => Event::Expect { page },
        Happened::Evict(page) => Event::Evict { page },
        Happened::Hot(page) => Event::Hot { page },
        Happened::Idle(page) => Event::Idle { page },
        Happened::Retreat(page) => Event::Retreat { page },
        Happened::Discard { object, generation, first, count } => {
            Event::Discard { object, generation, first, count }
        }
        Happened::Renew { object, generation, first, count } => {
            layers.renew(now, (object, generation), (first, count), &mut sink);
            return Ok(());
        }
        Happened::Recall(page) => {
            layers.recall(now, page, &mut sink);
            return Ok(());
        }
    };
    layers.handle(now, event, &mut sink);
    Ok(())
}

/// Turns actions into deeds.
struct Deeds<'a> {
    deeds: &'a mut Vec<Deed>,
    lent: Option<Lent<'a>>,
}

impl<M: Serialize + WireSize> Sink<Message<M>> for Deeds<'_> {
    fn push(&mut self, action: Action<Message<M>>) {
        self.deeds.extend(deed(action, self.lent));
    }
}

/// `None` for answers to evictions, and for what only layers below ask for.
fn deed<M: Serialize + WireSize>(
    action: Action<Message<M>>,
    lent: Option<Lent<'_>>,
) -> Option<Deed> {
    Some(match action {
        Action::Send { to, page, message: Message::Mapping { access, window, ahead } } => {
            Deed::Lend { to, page, access, window, ahead }
        }
        Action::Send { to, page, message } => {
            let brings = match (message.carries_page(), message.names_window()) {
                (true, _) => Brings::Content,
                (false, true) => Brings::Place,
                (false, false) => Brings::Nothing,
            };
            let bytes = postcard::to_slice(&message, &mut [0; MESSAGE]).ok()?.to_vec();
            Deed::Send { to, page, bytes, brings }
        }
        Action::Fill { page } => Deed::Fill(page),
        Action::Install { page } => Deed::Install(page),
        Action::Stash { page } => Deed::Stash(page),
        Action::InstallStashed { page } => Deed::InstallStashed(page),
        Action::Adopt { page } => Deed::Adopt(page, lent?.frame_of(page)?),
        Action::Map { page, access } => Deed::Map(page, access),
        Action::Unmap { page } => Deed::Unmap(page),
        Action::Release { page } => Deed::Release(page),
        Action::Wake { page, .. } => Deed::Wake(page),
        Action::Timer { page, at } => Deed::Timer(page, Nanos(at.0)),
        Action::Fail { page, failure } => Deed::Fail(page, failure),
        Action::MapWindow { page } => Deed::MapWindow(page),
        Action::ToWindow { page } => Deed::ToWindow(page),
        Action::FromWindow { page } => Deed::FromWindow(page),
        Action::WriteBack { .. } | Action::Hot { .. } | Action::Kept { .. } => return None,
    })
}
