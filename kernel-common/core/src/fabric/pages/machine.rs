//! The page protocol's agent, whichever policy it runs.

use alloc::vec::Vec;

use maize_coherence::directory::{self, Directory};
use maize_coherence::voting::{self, Voting};
use maize_coherence::{
    Access, Action, Agent, Config, Event, Failure, Home, NodeId, Nodes, ObjectId, PageKey, Policy,
    Time, WireSize,
};
use maize_hal::Nanos;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::Coherence;

/// How long a page that arrived is kept at the most although others ask for it: the thread that it
/// came for may have to wait for the processor, on a host whose cores are not all this machine's.
const HOLD: Nanos = Nanos::from_millis(2);

/// Something for the agent.
pub(crate) enum Happened<'a> {
    Fault { page: PageKey, access: Access },
    Message { from: NodeId, page: PageKey, bytes: &'a [u8] },
    Died(NodeId),
    Retired(PageKey),
    Expire(PageKey),
    Discard { object: ObjectId, generation: u32, first: u32, count: u32 },
}

/// Something that the agent wants done.
#[derive(Debug)]
pub(crate) enum Deed {
    Send { to: NodeId, page: PageKey, bytes: Vec<u8>, content: bool },
    Fill(PageKey),
    Install(PageKey),
    Map(PageKey, Access),
    Unmap(PageKey),
    Release(PageKey),
    Wake(PageKey),
    Timer(PageKey, Nanos),
    Fail(PageKey, Failure),
}

/// Bytes that are no message of the policy.
#[derive(Debug)]
pub(crate) struct NoMessage;

/// An agent.
#[derive(Debug)]
pub(crate) enum Machine {
    Directory(Agent<Directory<1>>),
    Voting(Agent<Voting<1>>),
}

macro_rules! each {
    ($machine:expr, $agent:ident => $body:expr) => {
        match $machine {
            Machine::Directory($agent) => $body,
            Machine::Voting($agent) => $body,
        }
    };
}

impl Machine {
    /// The agent of node `me`, alone.
    pub(crate) fn new(policy: Coherence, me: NodeId) -> Machine {
        let config = Config { node: me, home: Home::At(me), hold_ns: HOLD.0 };
        let members = Nodes::only(me);
        match policy {
            Coherence::Directory => Machine::Directory(Agent::new(config, members)),
            Coherence::Voting => Machine::Voting(Agent::new(config, members)),
        }
    }

    pub(crate) fn join(&mut self, node: NodeId) {
        each!(self, agent => agent.join(node));
    }

    pub(crate) fn attach(&mut self, object: ObjectId, home: NodeId) {
        each!(self, agent => agent.attach(object, Home::At(home)));
    }

    pub(crate) fn detach(&mut self, object: ObjectId) {
        each!(self, agent => agent.detach(object));
    }

    pub(crate) fn adopt(&mut self, page: PageKey) {
        each!(self, agent => agent.adopt(page));
    }

    pub(crate) fn generation(&self, object: ObjectId, index: u32) -> u32 {
        each!(self, agent => agent.generation(object, index))
    }

    /// Whether a message asks for something that can wait, rather than ending what is under way.
    pub(crate) fn is_request(&self, bytes: &[u8]) -> bool {
        match self {
            Machine::Directory(_) => postcard::from_bytes::<directory::Message<1>>(bytes)
                .is_ok_and(|message| {
                    use directory::Body;
                    matches!(message.body, Body::GetS { .. } | Body::GetM { .. } | Body::Put { .. })
                }),
            Machine::Voting(_) => {
                postcard::from_bytes::<voting::Message<1>>(bytes).is_ok_and(|message| {
                    use voting::Message;
                    matches!(
                        message,
                        Message::Fetch { .. } | Message::FetchWrite | Message::Invalid { .. }
                    )
                })
            }
        }
    }

    /// Whether a home can go on with its own requests while those of others wait.
    pub(crate) const fn orders_requests(&self) -> bool {
        matches!(self, Machine::Directory(_))
    }

    pub(crate) fn handle(
        &mut self,
        now: Nanos,
        happened: Happened<'_>,
    ) -> Result<Vec<Deed>, NoMessage> {
        each!(self, agent => drive(agent, now, happened))
    }
}

fn drive<P: Policy<1>>(
    agent: &mut Agent<P, 1>,
    now: Nanos,
    happened: Happened<'_>,
) -> Result<Vec<Deed>, NoMessage>
where
    P::Message: Serialize + DeserializeOwned,
{
    let event = match happened {
        Happened::Fault { page, access } => Event::Fault { page, access },
        Happened::Message { from, page, bytes } => {
            let message = postcard::from_bytes(bytes).map_err(|_| NoMessage)?;
            Event::Message { from, page, message }
        }
        Happened::Died(node) => Event::Died { node },
        Happened::Retired(page) => Event::Retired { page },
        Happened::Expire(page) => Event::Expire { page },
        Happened::Discard { object, generation, first, count } => {
            Event::Discard { object, generation, first, count }
        }
    };
    let mut actions: Vec<Action<P::Message>> = Vec::new();
    agent.handle(Time(now.0), event, &mut actions);
    Ok(actions.into_iter().filter_map(deed).collect())
}

/// `None` for what concerns the window and evictions, which nothing here asks for.
fn deed<M: Serialize + WireSize>(action: Action<M>) -> Option<Deed> {
    Some(match action {
        Action::Send { to, page, message } => {
            let content = message.carries_page();
            Deed::Send { to, page, bytes: postcard::to_allocvec(&message).ok()?, content }
        }
        Action::Fill { page } => Deed::Fill(page),
        Action::Install { page } => Deed::Install(page),
        Action::Map { page, access } => Deed::Map(page, access),
        Action::Unmap { page } => Deed::Unmap(page),
        Action::Release { page } => Deed::Release(page),
        Action::Wake { page, .. } => Deed::Wake(page),
        Action::Timer { page, at } => Deed::Timer(page, Nanos(at.0)),
        Action::Fail { page, failure } => Deed::Fail(page, failure),
        // Inside a node and for the window: nothing here asks for them yet.
        Action::Stash { .. }
        | Action::InstallStashed { .. }
        | Action::Adopt { .. }
        | Action::WriteBack { .. }
        | Action::MapWindow { .. }
        | Action::ToWindow { .. }
        | Action::FromWindow { .. }
        | Action::Hot { .. }
        | Action::Kept { .. } => return None,
    })
}
