//! An instance among others: links, messages, requests, pages.

pub(crate) mod message;
mod pages;
mod request;
mod root;
mod serve;
mod trace;
mod transport;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use maize_abi::{Isa, IsaKind};
use maize_hal::{Arch, FrameRange, Nanos};
use maize_wire::{Class, InstanceId, Kind, Page as Content};

pub(crate) use message::RequestId;
pub(crate) use pages::Pages;
pub use pages::WindowFrames;
pub(crate) use request::{Answer, Asked, PeerDied, Serving, Start};
pub use transport::{Arrival, LinkTransport, PageWords, Refused, Transport};

use crate::kernel::Kernel;
use crate::migrate::{Balance, Placement};
use crate::state::State;
use message::{Hello, Message, VERSION};

/// How pages are kept coherent between instances. All of a fabric need the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coherence {
    /// One ordering point per page, its object's home.
    #[default]
    Directory,
    /// The published Popcorn protocol.
    Voting,
}

/// How an instance takes part in a fabric.
#[derive(Clone, Debug, Default)]
pub struct FabricSettings {
    /// How pages are kept coherent.
    pub coherence: Coherence,
    /// Where new threads go.
    pub placement: Placement,
    /// Where processes go when they load a program.
    pub homes: Placement,
    /// If not 0: at every n-th trap that reaches its home, a process is moved to a random other one.
    pub move_processes_every: u32,
    /// If not 0: a thread is moved to a random other core of its mask at every n-th trap that reaches its
    /// home.
    pub migrate_every: u32,
    /// If not 0: threads are moved from crowded instances to idle ones, by loads that are measured
    /// this often.
    pub balance_every: Nanos,
    /// Pages that are fetched ahead at the most: 0 to 8.
    pub prefetch: u8,
    /// The machine of each instance: those of one machine map each other's frames. One that is not
    /// listed has a machine to itself.
    pub machines: Vec<u16>,
    /// RAM of this machine that is other instances'.
    pub borrowed: Vec<FrameRange>,
    /// Frames that another machine sees, too, for pages that ping-pong; `None` if they are not to move
    /// there. There may be two machines at the most.
    pub window: Option<WindowFrames>,
}

/// A message that waits for room on a link.
struct Parcel {
    kind: (Class, Kind),
    body: Vec<u8>,
    content: Option<Box<Content>>,
}

/// A peer whose link is up.
#[derive(Default)]
struct Peer {
    /// How often it had been started before.
    restarts: u32,
    /// It has said what it is.
    greeted: bool,
    /// Its instruction set, once it is known and if it can be worked with.
    isa: Option<IsaKind>,
    /// When its monotonic clock was zero.
    boot_time: Nanos,
    waiting: VecDeque<Parcel>,
}

/// Messages that may wait for one peer. What can be asked at once bounds them far below; a peer for
/// which more wait has stopped taking messages.
const MOST_WAITING: usize = 65_536;

/// What an instance knows of its fabric.
pub(crate) struct Fabric {
    transport: Option<Box<dyn Transport>>,
    /// Whether the transport keeps a trace.
    traced: bool,
    pub(crate) me: InstanceId,
    peers: BTreeMap<InstanceId, Peer>,
    /// A page's content on its way that has arrived, or left: it need not be allocated and zeroed again.
    spare: Option<Box<Content>>,
    /// Where bodies of messages are written.
    body: Vec<u8>,
    /// A link has refused a message since the last look at those that wait.
    refused: bool,
    pub(crate) asked: Asked,
    pub(crate) serving: Serving,
    pub(crate) pages: Pages,
    pub(crate) settings: FabricSettings,
    /// What tells this instance's root from others, once it was looked at.
    root: Option<u64>,
    /// Counts traps for [`FabricSettings::migrate_every`].
    pub(crate) traps: u32,
    /// The core that the next thread is placed on, among those that threads may be placed on.
    pub(crate) next_place: u32,
    pub(crate) balance: Balance,
}

impl Fabric {
    /// An instance alone.
    pub(crate) fn alone(me: InstanceId) -> Fabric {
        Fabric {
            transport: None,
            traced: false,
            me,
            peers: BTreeMap::new(),
            spare: None,
            body: Vec::new(),
            refused: false,
            asked: Asked::default(),
            serving: Serving::default(),
            pages: Pages::new(me, &FabricSettings::default()),
            settings: FabricSettings::default(),
            root: None,
            traps: 0,
            next_place: 0,
            balance: Balance::default(),
        }
    }

    /// Room for a page's content, with anything in it.
    pub(crate) fn take_spare(&mut self) -> Box<Content> {
        self.spare.take().unwrap_or_else(|| Box::new(Content::ZERO))
    }

    /// Content that is not needed any more.
    pub(crate) fn give_spare(&mut self, content: Option<Box<Content>>) {
        if content.is_some() {
            self.spare = content;
        }
    }

    /// Whether there may be peers.
    pub(crate) const fn is_joined(&self) -> bool {
        self.transport.is_some()
    }

    /// Whether a peer can be worked with.
    pub(crate) fn is_usable(&self, peer: InstanceId) -> bool {
        self.isa_of_peer(peer).is_some()
    }

    /// The instruction set of a peer that can be worked with.
    pub(crate) fn isa_of_peer(&self, peer: InstanceId) -> Option<IsaKind> {
        self.peers.get(&peer)?.isa
    }

    /// How many peers have said what they are.
    pub(crate) fn greeted(&self) -> usize {
        self.peers.values().filter(|peer| peer.greeted).count()
    }

    /// The peers that can be worked with.
    pub(crate) fn usable_peers(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.peers.iter().filter(|(_, peer)| peer.isa.is_some()).map(|(id, _)| *id)
    }

    /// What is under way between this instance and others, line by line.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (id, peer) in &self.peers {
            let (isa, waiting) = (peer.isa, peer.waiting.len());
            lines.push(format!("{id}: {isa:?}, {waiting} messages wait for room"));
        }
        lines.extend(self.asked.unanswered().map(|(to, id)| format!("{to} was asked {id:?}")));
        lines.extend(self.serving.unanswered().map(|(from, n)| format!("{from} has asked {n:?}")));
        self.pages.describe(&mut lines);
        lines
    }

    /// Whether all that was posted has been handed to the links.
    pub(crate) fn is_flushed(&self) -> bool {
        self.peers.values().all(|peer| peer.waiting.is_empty())
    }
}

impl<A: Arch> Kernel<A> {
    /// Links the instance to others. To be called before its program is spawned.
    pub fn join(&mut self, transport: Box<dyn Transport>, settings: FabricSettings) {
        self.handle.with(|s| {
            let me = s.fabric.me;
            s.fabric.pages = Pages::new(me, &settings);
            let mut borrowed = settings.borrowed.clone();
            if let Some(window) = settings.window {
                borrowed.push(window.all);
                s.memory.frames().share_window(window.of(me.0));
            }
            s.memory.frames().borrow_from(borrowed);
            s.fabric.settings = settings;
            s.look_at_root();
            s.fabric.traced = transport.is_traced();
            s.fabric.transport = Some(transport);
            s.fabric.body = alloc::vec![0; message::MOST];
            s.begin_balancing();
        });
    }

    /// The peers that this instance can work with now.
    #[must_use]
    pub fn peers(&self) -> Vec<u16> {
        self.handle.with(|s| s.fabric.usable_peers().map(|peer| peer.0).collect())
    }
}

impl<A: Arch> State<A> {
    /// Finds out what tells this instance's root from others, if that is not known yet. It takes as long as
    /// there are files.
    pub(crate) fn look_at_root(&mut self) {
        if self.fabric.root.is_none() {
            self.fabric.root = Some(root::fingerprint(&self.image, &self.hidden));
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            version: VERSION,
            machine: <A::Isa as Isa>::ELF_MACHINE,
            fpu_len: self.arch.fpu_len() as u32,
            root: self.fabric.root.unwrap_or(0),
            voting: self.fabric.settings.coherence == Coherence::Voting,
            boot_time: self.arch.boot_time().0,
        }
    }

    /// The monotonic and the wall clock of a peer. `None` if they were not compared with this
    /// instance's.
    pub(crate) fn clocks_of(&self, peer: InstanceId) -> Option<(Nanos, Nanos)> {
        let ahead = self.fabric.transport.as_ref()?.clock_ahead(peer)?;
        let now = Nanos(self.now().0.saturating_add_signed(ahead));
        Some((now, self.fabric.peers.get(&peer)?.boot_time + now))
    }

    /// As [`State::send`].
    pub(crate) fn post(
        &mut self,
        to: InstanceId,
        message: Message,
        content: Option<Box<Content>>,
    ) -> bool {
        self.send(to, &message, content)
    }

    /// Sends a message, or lets it wait for room. False if the peer is not there.
    pub(crate) fn send(
        &mut self,
        to: InstanceId,
        message: &Message,
        content: Option<Box<Content>>,
    ) -> bool {
        let greeting = matches!(message, Message::Hello(_));
        let now = self.now();
        let Fabric { transport: Some(transport), peers, refused, spare, body, .. } =
            &mut self.fabric
        else {
            return false;
        };
        let Some(peer) = peers.get_mut(&to) else { return false };
        // Who has not said yet what it is hears first what this instance is, and knows it by then.
        if peer.greeted && peer.isa.is_none() && !greeting {
            return false;
        }
        let Some(body) = message.encode(body) else {
            log::error!("a message to {to} is too long: {message:?}");
            return false;
        };
        let kind = message.kind();
        self.stats.fabric.sent(kind.1, body.len(), content.is_some());
        let first = peer.waiting.is_empty();
        if first {
            let page = content.as_ref().map(|page| &page.0);
            match transport.send(now, to, kind, body, page) {
                Ok(()) => {
                    *spare = content.or(spare.take());
                    return true;
                }
                Err(Refused::Full) => *refused = true,
                // The news of its end is on the way.
                Err(Refused::Gone) => return true,
            }
        }
        peer.waiting.push_back(Parcel { kind, body: body.to_vec(), content });
        if peer.waiting.len() > MOST_WAITING {
            log::error!("{to} takes no messages");
            self.distrust(to);
            return false;
        }
        if !first {
            self.send_waiting(to);
        }
        true
    }

    /// Hands what waits to the links, as far as they have room.
    fn send_waiting(&mut self, to: InstanceId) {
        let now = self.now();
        let Fabric { transport: Some(transport), peers, refused, spare, .. } = &mut self.fabric
        else {
            return;
        };
        let Some(peer) = peers.get_mut(&to) else { return };
        while let Some(parcel) = peer.waiting.front() {
            let content = parcel.content.as_ref().map(|page| &page.0);
            match transport.send(now, to, parcel.kind, &parcel.body, content) {
                Ok(()) => {
                    let sent = peer.waiting.pop_front();
                    if let Some(content) = sent.and_then(|parcel| parcel.content) {
                        *spare = Some(content);
                    }
                }
                Err(Refused::Full) => {
                    *refused = true;
                    return;
                }
                // The news of its end is on the way.
                Err(Refused::Gone) => {
                    peer.waiting.clear();
                    return;
                }
            }
        }
    }

    /// Closes the link to a peer that broke the rules.
    pub(crate) fn distrust(&mut self, peer: InstanceId) {
        log::error!("{peer} sent what no instance sends: its link is closed");
        self.stats.fabric.malformed += 1;
        let now = self.now();
        if let Some(transport) = self.fabric.transport.as_mut() {
            transport.close(now, peer);
        }
        self.peer_down(peer);
    }
}
