//! A whole fabric as one value.

use std::collections::VecDeque;
use std::sync::Arc;

use maize_coherence::model::Names;
use maize_coherence::{
    Access, Action, Event, Failure, NodeId, ObjectId, PageKey, Sibling, Sink, Time, WireSize,
};

use crate::{Op, Program, Setup, Subject};

/// A message on a link, with the page's content as it was when it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packet<M> {
    /// The page's number.
    pub page: PageKey,
    /// What it says.
    pub message: M,
    /// The content.
    pub data: Option<u8>,
}

/// A node's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Thread {
    /// Between accesses.
    Idle,
    /// In a fault.
    Waiting(Op),
    /// Woken from a fault, about to try again.
    Woken(Op),
}

/// One step of the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A node's thread begins an access; the clock reads high or low.
    Begin(u8, Op, u8),
    /// A woken thread tries again.
    Retry(u8, u8),
    /// The oldest message of a link arrives.
    Deliver(u8, u8, u8),
    /// A hold ends.
    Expire(u8, u8),
    /// A node asks for a frame back.
    Evict(u8, u8),
    /// The home has written a page back.
    WrittenBack(u8, u8),
    /// The home gives a page to a node that has not asked for it, if it can.
    Give(u8, u8),
    /// That node hears that the page is on its way.
    Expect(u8, u8),
    /// The home moves a page into the window, if it has it.
    Promote(u8),
    /// Everybody is to leave the window.
    Retreat(u8),
    /// A mapping of a window frame goes unused.
    Idle(u8, u8),
    /// The home orders a discard.
    Discard(u8),
    /// A member applies it.
    Apply(u8, u8),
    /// A node stops.
    Crash(u8),
    /// A node learns of the crash; what it has not received is lost.
    Learn(u8),
    /// A node and the one that has crashed, which runs again, get to know each other.
    Meet(u8),
}

/// What an instance has of a page: its mapping, and if it is its node's lead the frame's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Frame {
    content: Option<u8>,
    mapped: Option<Access>,
    timer: bool,
    writing_back: bool,
    in_window: bool,
    generation: u8,
}

/// Content that was never written.
const INITIAL: u8 = 0;
/// Content that a later write has replaced.
const STALE: u8 = 1;
/// The last write's content.
const LATEST: u8 = 2;

/// A fabric.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World<P: Subject> {
    machines: Vec<Arc<P>>,
    /// Instances per node; the first of each is its lead.
    siblings: u8,
    links: Vec<VecDeque<Packet<P::Message>>>,
    frames: Vec<Frame>,
    threads: Vec<Thread>,
    /// Accesses that remain (free programs) or the next one's place (litmus).
    counts: Vec<u8>,
    /// What litmus loads saw.
    pub seen: Vec<Vec<u8>>,
    /// Per page, the lives (one bit each) in which it was written.
    written: Vec<u8>,
    /// Per page, the life and content in the home's backing store.
    stored: Vec<Option<(u8, u8)>>,
    window: Vec<Option<(u8, u8)>>,
    /// Content that was put aside: the frame it is meant for, its life, and itself.
    stashes: VecDeque<(u8, u8, u8)>,
    generation: Vec<u8>,
    applied: Vec<u8>,
    evictions: u8,
    discards: u8,
    gifts: u8,
    /// Nodes that are yet to hear of pages that were given to them: who, page and life.
    expecting: Vec<(u8, u8, u8)>,
    /// Whether a hold ends although no access retires: one that was begun for a gift.
    holds_end: bool,
    promotions: u8,
    retreats: u8,
    idles: u8,
    crashed: Option<u8>,
    learned: Vec<bool>,
    /// Who has met the node that crashed since it runs again.
    met: Vec<bool>,
    /// Per thread that knows of the crash, the nodes (one bit each) that have had its page mapped
    /// ever since its access, or its knowledge, began.
    holders: Vec<u8>,
    /// What went wrong.
    pub violation: Option<&'static str>,
}

struct Effects<M>(Vec<Action<M>>);

impl<M> Sink<M> for Effects<M> {
    fn push(&mut self, action: Action<M>) {
        self.0.push(action);
    }
}

const OBJECT: ObjectId = ObjectId(1);

/// The message that brings a page to a node that may not have asked for it.
const GIFT: &str = "Gift";

impl<P: Subject> World<P> {
    /// A fabric that has done nothing.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        let n = setup.instances();
        let pages = usize::from(setup.pages);
        let machines = (0..n as u8)
            .map(|instance| {
                let mut machine = P::build(setup, instance);
                machine.take_out(setup.mutation);
                Arc::new(machine)
            })
            .collect();
        Self {
            machines,
            siblings: setup.siblings as u8,
            links: vec![VecDeque::new(); n * n],
            frames: vec![Frame::default(); n * pages],
            threads: vec![Thread::Idle; n],
            counts: match &setup.program {
                Program::Any(counts) => counts.clone(),
                Program::Litmus(_) => vec![0; n],
            },
            seen: vec![vec![]; n],
            written: vec![0; pages],
            stored: vec![None; pages],
            window: vec![None; pages],
            stashes: VecDeque::new(),
            generation: vec![0; pages],
            applied: vec![0; n * pages],
            evictions: setup.evictions,
            discards: setup.discards,
            gifts: setup.gifts,
            expecting: Vec::new(),
            holds_end: setup.gifts > 0,
            promotions: setup.promotions,
            retreats: setup.promotions,
            idles: 2 * setup.promotions,
            crashed: None,
            learned: vec![false; n],
            met: vec![false; n],
            holders: vec![0; n],
            violation: None,
        }
    }

    /// The state of a node's copy.
    #[must_use]
    pub fn state_name(&self, node: u8, page: u8) -> &'static str {
        self.machines[usize::from(node)].state_name(self.key(node, page))
    }

    /// The next message of a link.
    #[must_use]
    pub fn oldest(&self, from: u8, to: u8) -> Option<&Packet<P::Message>> {
        self.links[usize::from(from) * self.instances() + usize::from(to)].front()
    }

    /// What a step left behind, for reading a counter-example.
    #[must_use]
    pub fn describe(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for node in (0..self.instances() as u8).filter(|&node| self.is_alive(node)) {
            for page in 0..self.written.len() as u8 {
                let frame = &self.frames[self.at(node, page)];
                let thread = self.threads[usize::from(node)];
                let _ = writeln!(text, "  i{node} {thread:?} {frame:?}");
            }
            let _ = writeln!(text, "     {:?}", self.machines[usize::from(node)]);
        }
        for (link, packets) in self.links.iter().enumerate() {
            let (from, to) = (link / self.instances(), link % self.instances());
            for packet in packets {
                let _ = writeln!(text, "  i{from} -> i{to} {:?} {:?}", packet.message, packet.data);
            }
        }
        if let Some(violation) = self.violation {
            let _ = writeln!(text, "  {violation}");
        }
        text
    }

    /// How many instances there are.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.threads.len()
    }

    fn is_alive(&self, node: u8) -> bool {
        self.crashed != Some(node) || self.is_back()
    }

    /// Whether the node that crashed runs again.
    fn is_back(&self) -> bool {
        self.met.contains(&true)
    }

    /// Whether what a node sends to another one now arrives.
    fn are_linked(&self, from: u8, to: u8) -> bool {
        match self.crashed {
            Some(dead) if dead == to => self.met[usize::from(from)],
            Some(dead) if dead == from => self.met[usize::from(to)],
            _ => true,
        }
    }

    /// The lead of an instance's node.
    fn lead(&self, instance: u8) -> u8 {
        instance - instance % self.siblings
    }

    /// The instances of an instance's node.
    fn domain(&self, instance: u8) -> std::ops::Range<u8> {
        let lead = self.lead(instance);
        lead..lead + self.siblings
    }

    /// Where the content of an instance's node is.
    fn frame(&self, instance: u8, page: u8) -> usize {
        self.at(self.lead(instance), page)
    }

    /// Whether any instance of a node maps a page.
    fn is_mapped_in(&self, instance: u8, page: u8) -> bool {
        self.domain(instance).any(|i| self.frames[self.at(i, page)].mapped.is_some())
    }

    /// What an instance hears when it learns of the crash.
    #[must_use]
    pub fn news(&self, instance: u8) -> &'static str {
        let inside = self.crashed.is_some_and(|dead| self.lead(dead) == self.lead(instance));
        if inside && self.siblings > 1 { "sibling's death" } else { "death" }
    }

    fn at(&self, node: u8, page: u8) -> usize {
        usize::from(node) * self.written.len() + usize::from(page)
    }

    fn key(&self, node: u8, page: u8) -> PageKey {
        let generation = u32::from(self.applied[self.at(node, page)]);
        PageKey { object: OBJECT, generation, index: u32::from(page) }
    }

    /// A page under the name that it came by: what was given to a node may be of a life that the node
    /// has yet to hear of.
    fn held(&self, node: u8, page: u8) -> PageKey {
        let generation = u32::from(self.frames[self.at(node, page)].generation);
        PageKey { generation, ..self.key(node, page) }
    }

    /// The clock of a node as one of the allowed readings.
    fn clock(&mut self, reading: u8) -> Time {
        let mut top = 0;
        self.stamps(&mut |stamp| top = top.max(*stamp));
        Time(match reading {
            0 => 0,
            1 => top + 1,
            _ => top,
        })
    }

    fn stamps(&mut self, f: &mut dyn FnMut(&mut u64)) {
        for machine in &mut self.machines {
            Arc::make_mut(machine).stamps(f);
        }
        for packet in self.links.iter_mut().flatten() {
            P::message_stamps(&mut packet.message, f);
        }
    }

    fn versions(&mut self, page: u32, f: &mut dyn FnMut(&mut u32)) {
        for machine in &mut self.machines {
            Arc::make_mut(machine).versions(&mut |key, version| {
                if key.index == page {
                    f(version);
                }
            });
        }
        for packet in self.links.iter_mut().flatten().filter(|p| p.page.index == page) {
            P::message_versions(&mut packet.message, f);
        }
    }

    /// Every step that is possible now.
    pub fn steps(&self, setup: &Setup, steps: &mut Vec<Step>) {
        let readings = if P::CLOCKS { setup.clock_readings } else { 1 };
        let n = setup.instances() as u8;
        for node in (0..n).filter(|&node| self.is_alive(node)) {
            match self.threads[usize::from(node)] {
                Thread::Waiting(_) => {}
                Thread::Woken(_) => steps.extend((0..readings).map(|r| Step::Retry(node, r))),
                Thread::Idle => self.begins(setup, node, readings, steps),
            }
            for from in (0..n).filter(|&from| from != node) {
                if !self.links[usize::from(from) * usize::from(n) + usize::from(node)].is_empty() {
                    steps.extend((0..readings).map(|r| Step::Deliver(from, node, r)));
                }
            }
            for page in 0..setup.pages {
                let frame = &self.frames[self.at(node, page)];
                if frame.timer && setup.short_holds {
                    steps.push(Step::Expire(node, page));
                }
                let evictable =
                    frame.content.is_some() || (frame.mapped.is_some() && node != self.lead(node));
                if self.evictions > 0 && evictable {
                    steps.push(Step::Evict(node, page));
                }
                if frame.in_window && self.idles > 0 {
                    steps.push(Step::Idle(node, page));
                }
                if frame.writing_back {
                    steps.push(Step::WrittenBack(node, page));
                }
                let page_at = usize::from(page);
                if self.applied[self.at(node, page)] < self.generation[page_at] {
                    steps.push(Step::Apply(node, page));
                }
            }
            if self.may_learn(node) {
                steps.push(Step::Learn(node));
            }
            if setup.returns && self.may_meet(node) {
                steps.push(Step::Meet(node));
            }
        }
        for &(node, page, _) in self.expecting.iter().filter(|(node, ..)| self.is_alive(*node)) {
            steps.push(Step::Expect(node, page));
        }
        if self.gifts > 0 && self.is_alive(0) {
            let others = (0..n).filter(|&node| node != self.lead(0) && node == self.lead(node));
            for node in others.filter(|&node| self.is_alive(node)) {
                steps.extend((0..setup.pages).map(|page| Step::Give(node, page)));
            }
        }
        if self.promotions > 0 && self.is_alive(0) {
            steps.extend((0..setup.pages).map(Step::Promote));
        }
        if self.retreats > self.promotions && self.is_alive(0) {
            steps.extend((0..setup.pages).map(Step::Retreat));
        }
        if self.discards > 0 {
            steps.extend((0..setup.pages).map(Step::Discard));
        }
        if self.crashed.is_none() {
            steps.extend(setup.crashes.iter().map(|&node| Step::Crash(node)));
        }
    }

    /// Whether an instance can hear of the crash now: a node's death is told to others only after
    /// its surviving siblings know of it.
    fn may_learn(&self, instance: u8) -> bool {
        let Some(dead) = self.crashed else { return false };
        let told = self.domain(dead).all(|i| i == dead || self.learned[usize::from(i)]);
        !self.learned[usize::from(instance)] && (told || self.lead(dead) == self.lead(instance))
    }

    /// Whether a node can get to know the one that crashed and runs again.
    fn may_meet(&self, node: u8) -> bool {
        let (dead, node_at) = (self.crashed, usize::from(node));
        dead.is_some_and(|dead| dead != node) && self.learned[node_at] && !self.met[node_at]
    }

    /// Whether a node may use pages: all others know it.
    fn is_known(&self, node: u8) -> bool {
        let others = (0..self.threads.len() as u8).filter(|&other| other != node);
        self.crashed != Some(node) || others.into_iter().all(|other| self.met[usize::from(other)])
    }

    fn begins(&self, setup: &Setup, node: u8, readings: u8, steps: &mut Vec<Step>) {
        if !self.is_known(node) {
            return;
        }
        let count = self.counts[usize::from(node)];
        let mut begin = |op| steps.extend((0..readings).map(|r| Step::Begin(node, op, r)));
        match &setup.program {
            Program::Any(_) if count > 0 => {
                for page in 0..setup.pages {
                    begin(Op::Read(page));
                    begin(Op::Write(page));
                }
            }
            Program::Any(_) => {}
            Program::Litmus(threads) => {
                if let Some(&op) = threads[usize::from(node)].get(usize::from(count)) {
                    begin(op);
                }
            }
        }
    }

    /// Whether a step is the threads' free choice rather than the fabric's duty.
    #[must_use]
    pub fn is_free(step: Step) -> bool {
        matches!(
            step,
            Step::Begin(..)
                | Step::Evict(..)
                | Step::Discard(_)
                | Step::Crash(_)
                | Step::Meet(_)
                | Step::Give(..)
                | Step::Expect(..)
                | Step::Promote(_)
                | Step::Retreat(_)
                | Step::Idle(..)
        )
    }

    /// Whether no access and no write-back is under way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        (0..self.threads.len())
            .all(|node| !self.is_alive(node as u8) || self.threads[node] == Thread::Idle)
    }

    /// Whether a litmus program has ended.
    #[must_use]
    pub fn has_ended(&self, setup: &Setup) -> bool {
        let Program::Litmus(threads) = &setup.program else { return false };
        self.is_quiet() && threads.iter().zip(&self.counts).all(|(t, &c)| t.len() == usize::from(c))
    }

    /// The fabric after a step, in normal form; `None` if the step changes nothing.
    #[must_use]
    pub fn after(&self, setup: &Setup, step: Step) -> Option<Self> {
        let mut next = self.clone();
        next.take(setup, step);
        if let Step::Begin(_, _, reading) | Step::Retry(_, reading) | Step::Deliver(_, _, reading) =
            step
            && reading > 0
        {
            // Only a step that reads the clock has several outcomes.
            let mut low = self.clone();
            low.take(setup, step.with_reading(0));
            if low == next {
                return None;
            }
        }
        next.normalise();
        next.check();
        (next != *self).then_some(next)
    }

    fn take(&mut self, setup: &Setup, step: Step) {
        match step {
            Step::Begin(node, op, reading) => {
                let count = &mut self.counts[usize::from(node)];
                match setup.program {
                    Program::Any(_) => *count -= 1,
                    Program::Litmus(_) => *count += 1,
                }
                self.access(node, op, reading);
            }
            Step::Retry(node, reading) => {
                if let Thread::Woken(op) = self.threads[usize::from(node)] {
                    self.access(node, op, reading);
                }
            }
            Step::Deliver(from, to, reading) => {
                let n = self.threads.len();
                let link = usize::from(from) * n + usize::from(to);
                let Some(packet) = self.links[link].pop_front() else { return };
                if packet.message.name() == GIFT {
                    // The news of a page comes before the page, or never.
                    let news = (to, packet.page.index as u8, packet.page.generation as u8);
                    self.expecting.retain(|expected| *expected != news);
                }
                let now = self.clock(reading);
                let event = Event::Message {
                    from: self.sender(from, &packet.message),
                    page: packet.page,
                    message: packet.message,
                };
                self.event(to, now, event, packet.data);
            }
            Step::Expire(node, page) => {
                let at = self.at(node, page);
                self.frames[at].timer = false;
                let page = self.held(node, page);
                self.event(node, Time(u64::MAX), Event::Expire { page }, None);
            }
            Step::Evict(node, page) => {
                self.evictions -= 1;
                self.event(node, Time(0), Event::Evict { page: self.key(node, page) }, None);
            }
            Step::WrittenBack(node, page) => {
                let at = self.at(node, page);
                self.frames[at].writing_back = false;
                let page = self.key(node, page);
                self.event(node, Time(0), Event::WrittenBack { page }, None);
            }
            Step::Give(node, page) => {
                self.gifts -= 1;
                let (key, link) = (self.key(0, page), usize::from(node));
                let before = self.links[link].len();
                let to = NodeId(u16::from(node / self.siblings));
                self.event(0, Time(0), Event::Give { page: key, to }, None);
                if self.links[link].len() > before {
                    self.expecting.push((node, page, key.generation as u8));
                    self.expecting.sort_unstable();
                }
            }
            Step::Expect(node, page) => {
                let found = self.expecting.iter().position(|(n, p, _)| (*n, *p) == (node, page));
                let Some((.., life)) = found.map(|found| self.expecting.remove(found)) else {
                    return;
                };
                let key = PageKey { generation: u32::from(life), ..self.key(node, page) };
                self.event(node, Time(0), Event::Expect { page: key }, None);
            }
            Step::Promote(page) => {
                self.promotions -= 1;
                self.event(0, Time(0), Event::Promote { page: self.key(0, page) }, None);
            }
            Step::Retreat(page) => {
                self.retreats -= 1;
                self.event(0, Time(0), Event::Retreat { page: self.key(0, page) }, None);
            }
            Step::Idle(node, page) => {
                self.idles -= 1;
                self.event(node, Time(0), Event::Idle { page: self.key(node, page) }, None);
            }
            Step::Discard(page) => {
                self.discards -= 1;
                self.generation[usize::from(page)] += 1;
            }
            Step::Apply(node, page) => {
                let at = self.at(node, page);
                self.applied[at] = self.generation[usize::from(page)];
                let event = Event::Discard {
                    object: OBJECT,
                    generation: u32::from(self.applied[at]),
                    first: u32::from(page),
                    count: 1,
                };
                self.event(node, Time(0), event, None);
            }
            Step::Crash(node) => {
                self.crashed = Some(node);
                self.expecting.retain(|(to, ..)| *to != node);
                let n = self.threads.len();
                for from in 0..n {
                    self.links[from * n + usize::from(node)].clear();
                }
                for page in 0..self.written.len() as u8 {
                    let at = self.at(node, page);
                    // Memory outlives its instance: siblings may still map it.
                    let Frame { content, generation, .. } = self.frames[at];
                    let kept = Frame { content, generation, ..Frame::default() };
                    self.frames[at] = if self.siblings > 1 { kept } else { Frame::default() };
                    self.stashes.retain(|(frame, ..)| usize::from(*frame) != at);
                }
                if node != self.lead(node) {
                    // Other nodes do not know of it, and need not.
                    for other in 0..n {
                        self.learned[other] = self.lead(other as u8) != self.lead(node);
                    }
                }
            }
            Step::Learn(node) => {
                let Some(dead) = self.crashed else { return };
                let n = self.threads.len();
                self.links[usize::from(dead) * n + usize::from(node)].clear();
                self.expecting.retain(|(to, ..)| dead != 0 || *to != node);
                self.learned[usize::from(node)] = true;
                if let Thread::Waiting(op) | Thread::Woken(op) = self.threads[usize::from(node)] {
                    self.note_holders(node, op.page());
                }
                let event = if self.siblings > 1 && self.lead(dead) == self.lead(node) {
                    Event::SiblingDied { sibling: NodeId(u16::from(dead % self.siblings)) }
                } else {
                    Event::Died { node: NodeId(u16::from(dead / self.siblings)) }
                };
                self.event(node, Time(0), event, None);
            }
            Step::Meet(node) => {
                let Some(dead) = self.crashed else { return };
                let (back, other) = (usize::from(dead), usize::from(node));
                if !self.is_back() {
                    let mut machine = P::alone(setup, dead);
                    machine.take_out(setup.mutation);
                    self.machines[back] = Arc::new(machine);
                    self.threads[back] = Thread::Idle;
                    self.learned[back] = true;
                }
                self.met[other] = true;
                Arc::make_mut(&mut self.machines[back]).join(NodeId(u16::from(node)), 0);
                Arc::make_mut(&mut self.machines[other]).join(NodeId(u16::from(dead)), 1);
            }
        }
    }

    /// The address of a message's sender, as the receiver knows it.
    fn sender(&self, from: u8, message: &P::Message) -> NodeId {
        let number = if message.is_inside() { from % self.siblings } else { from / self.siblings };
        NodeId(u16::from(number))
    }

    /// Whether nobody is left in the page's former life.
    fn begins_new_life(&self, page: u8) -> bool {
        (0..self.threads.len() as u8).all(|node| {
            !self.is_alive(node)
                || self.applied[self.at(node, page)] == self.generation[usize::from(page)]
        })
    }

    fn access(&mut self, node: u8, op: Op, reading: u8) {
        let page = op.page();
        let at = self.at(node, page);
        if self.frames[at].mapped >= Some(op.access()) {
            self.threads[usize::from(node)] = Thread::Idle;
            self.retire(node, op);
            let page = self.held(node, page);
            self.event(node, Time(0), Event::Retired { page }, None);
        } else {
            self.threads[usize::from(node)] = Thread::Waiting(op);
            if self.learned[usize::from(node)] {
                self.note_holders(node, page);
            }
            let now = self.clock(reading);
            let event = Event::Fault { page: self.key(node, page), access: op.access() };
            self.event(node, now, event, None);
        }
    }

    fn note_holders(&mut self, node: u8, page: u8) {
        let generation = self.applied[self.at(node, page)];
        self.holders[usize::from(node)] = (0..self.threads.len() as u8)
            .filter(|&other| self.is_alive(other))
            .filter(|&other| {
                let frame = &self.frames[self.at(other, page)];
                frame.mapped.is_some() && frame.generation == generation
            })
            .fold(0, |set, other| set | 1 << other);
    }

    fn retire(&mut self, node: u8, op: Op) {
        let at = self.at(node, op.page());
        self.frames[at].timer = false;
        let frame = self.frames[at];
        let content = if frame.in_window {
            let window = self.window[usize::from(op.page())];
            window.filter(|(life, _)| *life == frame.generation).map(|(_, content)| content)
        } else {
            self.shown(node, op.page())
        };
        match op {
            Op::Read(_) => {
                self.seen[usize::from(node)].push(content.unwrap_or(STALE));
            }
            Op::Write(page) => {
                let generation = self.frames[at].generation;
                self.written[usize::from(page)] |= 1 << generation;
                self.age(page, generation);
                if frame.in_window {
                    self.window[usize::from(page)] = Some((generation, LATEST));
                } else {
                    let frame = self.frame(node, page);
                    self.frames[frame].content = Some(LATEST);
                }
            }
        }
    }

    /// What an instance's mapping of its node's frame shows; nothing if the frame is another's now.
    fn shown(&self, instance: u8, page: u8) -> Option<u8> {
        let frame = self.frames[self.frame(instance, page)];
        let same = frame.generation == self.frames[self.at(instance, page)].generation;
        frame.content.filter(|_| same)
    }

    /// What was the latest content of a page is stale from now on.
    fn age(&mut self, page: u8, generation: u8) {
        let age = |content: &mut u8| {
            if *content == LATEST || *content == INITIAL {
                *content = STALE;
            }
        };
        let pages = self.written.len();
        for frame in self.frames.iter_mut().skip(usize::from(page)).step_by(pages) {
            if frame.generation == generation {
                frame.content.as_mut().map(age);
            }
        }
        for (frame, life, content) in &mut self.stashes {
            if usize::from(*frame) % pages == usize::from(page) && *life == generation {
                age(content);
            }
        }
        for packet in self.links.iter_mut().flatten() {
            if packet.page.index == u32::from(page)
                && packet.page.generation == u32::from(generation)
            {
                packet.data.as_mut().map(age);
            }
        }
        for (life, content) in [&mut self.stored, &mut self.window]
            .into_iter()
            .filter_map(|kept| kept[usize::from(page)].as_mut())
        {
            if *life == generation {
                age(content);
            }
        }
    }

    fn event(&mut self, node: u8, now: Time, event: Event<P::Message>, data: Option<u8>) {
        let mut effects = Effects(Vec::new());
        Arc::make_mut(&mut self.machines[usize::from(node)]).handle(now, event, &mut effects);
        for action in effects.0 {
            self.act(node, action, data);
        }
    }

    fn act(&mut self, node: u8, action: Action<P::Message>, data: Option<u8>) {
        let n = self.threads.len();
        match action {
            Action::Send { to, page, message } => {
                let at = self.frame(node, page.index as u8);
                let data = if message.carries_page() {
                    if self.frames[at].content.is_none() {
                        self.violation = Some("a message carries a page that is not there");
                    }
                    self.frames[at].content
                } else {
                    None
                };
                let to = if message.is_inside() {
                    self.lead(node) + to.0 as u8
                } else {
                    to.0 as u8 * self.siblings
                };
                if self.are_linked(node, to) {
                    let packet = Packet { page, message, data };
                    self.links[usize::from(node) * n + usize::from(to)].push_back(packet);
                }
            }
            Action::Fill { page } => {
                let at = self.at(node, page.index as u8);
                let at_home = P::home().of(page) == NodeId(u16::from(node / self.siblings));
                let stored = self.stored[page.index as usize]
                    .filter(|(life, _)| at_home && u32::from(*life) == page.generation);
                let written = self.written[page.index as usize] & (1 << page.generation) != 0;
                let initial = if written { STALE } else { INITIAL };
                self.frames[at].content = Some(stored.map_or(initial, |(_, content)| content));
                self.frames[at].generation = page.generation as u8;
            }
            Action::Install { page } => self.install(node, page, data),
            Action::Stash { page } => {
                let frame = self.at(node, page.index as u8) as u8;
                let content = data.unwrap_or(STALE);
                self.stashes.push_back((frame, page.generation as u8, content));
            }
            Action::InstallStashed { page } => {
                let at = self.at(node, page.index as u8);
                let first = self.stashes.iter().position(|(frame, ..)| usize::from(*frame) == at);
                let stash = first.and_then(|first| self.stashes.remove(first));
                self.install(node, page, stash.map(|(.., content)| content));
            }
            Action::Adopt { page } => {
                let at = self.at(node, page.index as u8);
                let frame = self.frames[self.frame(node, page.index as u8)];
                if frame.content.is_none() || u32::from(frame.generation) != page.generation {
                    self.violation = Some("a frame that is not there is adopted");
                }
                self.frames[at].generation = page.generation as u8;
            }
            Action::Map { page, access } => {
                let at = self.at(node, page.index as u8);
                if self.shown(node, page.index as u8).is_none() {
                    self.violation = Some("a page without a frame is mapped");
                }
                self.frames[at].mapped = Some(access);
                self.frames[at].in_window = false;
            }
            Action::MapWindow { page } => {
                let at = self.at(node, page.index as u8);
                self.frames[at].mapped = Some(Access::Write);
                self.frames[at].in_window = true;
                self.frames[at].generation = page.generation as u8;
                if self.window[page.index as usize].map(|(life, _)| u32::from(life))
                    != Some(page.generation)
                {
                    self.violation = Some("a window frame that is not there is mapped");
                }
            }
            Action::ToWindow { page } => {
                let at = self.at(node, page.index as u8);
                let content = self.frames[at].content.take().unwrap_or(STALE);
                self.window[page.index as usize] = Some((page.generation as u8, content));
            }
            Action::FromWindow { page } => {
                let at = self.at(node, page.index as u8);
                let content = self.window[page.index as usize].take();
                self.frames[at].content = content.map(|(_, content)| content);
                self.frames[at].generation = page.generation as u8;
            }
            Action::Hot { .. } => {}
            Action::Unmap { page } => {
                let at = self.at(node, page.index as u8);
                self.frames[at].mapped = None;
                self.frames[at].in_window = false;
                for (holders, thread) in self.holders.iter_mut().zip(&self.threads) {
                    if let Thread::Waiting(op) | Thread::Woken(op) = thread
                        && u32::from(op.page()) == page.index
                    {
                        *holders &= !(1 << node);
                    }
                }
            }
            Action::Release { page } => self.release(node, page),
            Action::Wake { page, access } => {
                if let Thread::Waiting(op) = self.threads[usize::from(node)]
                    && u32::from(op.page()) == page.index
                    && op.access() <= access
                {
                    self.threads[usize::from(node)] = Thread::Woken(op);
                }
            }
            Action::Timer { page, .. } => {
                let at = self.at(node, page.index as u8);
                self.frames[at].timer = true;
            }
            Action::WriteBack { page } => {
                let at = self.at(node, page.index as u8);
                self.frames[at].writing_back = true;
                let life = page.generation as u8;
                self.stored[page.index as usize] = self.frames[at].content.map(|c| (life, c));
            }
            Action::Kept { .. } => {}
            Action::Fail { page, failure } => self.fail(node, page, failure),
        }
    }

    fn install(&mut self, node: u8, page: PageKey, content: Option<u8>) {
        let at = self.at(node, page.index as u8);
        if self.is_mapped_in(node, page.index as u8) {
            self.violation = Some("content is installed under a mapping");
        }
        if content.is_none() {
            self.violation = Some("content is installed from a message without any");
        }
        self.frames[at].content = content;
        self.frames[at].generation = page.generation as u8;
    }

    fn release(&mut self, node: u8, page: PageKey) {
        let at = self.at(node, page.index as u8);
        if node != self.lead(node) {
            if self.frames[at].mapped.is_some() {
                self.violation = Some("a frame is forgotten while it is mapped");
            }
            return;
        }
        self.frames[at].content = None;
        if self.is_mapped_in(node, page.index as u8) {
            self.violation = Some("a mapped frame is freed");
        }
        let n = self.threads.len();
        let named = self.domain(node).any(|sibling| {
            let link = &self.links[usize::from(node) * n + usize::from(sibling)];
            link.iter().any(|p| p.page.index == page.index && P::names_frame(&p.message))
        });
        if named {
            self.violation = Some("a message names a frame that is freed");
        }
    }

    fn fail(&mut self, node: u8, page: PageKey, failure: Failure) {
        let thread = &mut self.threads[usize::from(node)];
        let (Thread::Waiting(op) | Thread::Woken(op)) = *thread else { return };
        if u32::from(op.page()) != page.index {
            return;
        }
        match failure {
            // The address is looked up again when the discard has been applied here.
            Failure::Stale => *thread = Thread::Woken(op),
            Failure::Lost | Failure::HomeDied => {
                *thread = Thread::Idle;
                if self.crashed.is_none() {
                    self.violation = Some("no copy answered a fetch of a page that is in use");
                } else if failure == Failure::Lost && self.holders[usize::from(node)] != 0 {
                    self.violation = Some("a page was given up that a survivor has mapped");
                } else if failure == Failure::Lost && P::LOSS_IS_FINAL && self.is_on_its_way(page) {
                    self.violation = Some("a page was given up that is on its way to a survivor");
                }
            }
        }
    }

    /// Whether the last content of a page is in a message between survivors.
    fn is_on_its_way(&self, page: PageKey) -> bool {
        let n = self.threads.len();
        let links = self.links.iter().enumerate();
        let links = links.filter(|(link, _)| self.are_linked((link / n) as u8, (link % n) as u8));
        let packets = links.flat_map(|(_, link)| link).filter(|packet| packet.page == page);
        packets.filter_map(|packet| packet.data).any(|content| content != STALE)
    }

    /// States that differ only in the distances between stamps, or in the end of a hold, are one.
    fn normalise(&mut self) {
        for (holders, thread) in self.holders.iter_mut().zip(&self.threads) {
            if *thread == Thread::Idle {
                *holders = 0;
            }
        }
        for machine in &mut self.machines {
            Arc::make_mut(machine).holds(&mut |until| *until = Time(1));
        }
        if !P::CLOCKS {
            return;
        }
        for page in 0..self.written.len() as u32 {
            let mut ranks = vec![0];
            self.versions(page, &mut |version| ranks.push(*version));
            ranks.sort_unstable();
            ranks.dedup();
            self.versions(page, &mut |version| {
                *version = ranks.binary_search(version).unwrap_or(0) as u32;
            });
        }
        let mut ranks = vec![0];
        self.stamps(&mut |stamp| ranks.push(*stamp));
        ranks.sort_unstable();
        ranks.dedup();
        // Twice the rank: a new stamp fits between any two.
        self.stamps(&mut |stamp| {
            *stamp = 2 * ranks.binary_search(stamp).unwrap_or(0) as u64;
        });
    }

    /// The invariants that need no history.
    fn check(&mut self) {
        let pages = self.written.len();
        let n = self.threads.len();
        for page in 0..pages {
            let generation = self.generation[page];
            let mapped: Vec<(u8, Frame)> = (0..n as u8)
                .filter(|&instance| self.is_alive(instance))
                .map(|instance| (instance, self.frames[self.at(instance, page as u8)]))
                .filter(|(_, frame)| frame.mapped.is_some() && frame.generation == generation)
                .collect();
            let private = mapped.iter().filter(|(_, f)| !f.in_window).count();
            let torn = private > 0 && private < mapped.len();
            let writes = |f: &Frame| f.mapped == Some(Access::Write) && !f.in_window;
            // Siblings may write beside each other: they map one frame.
            let beside = mapped.iter().filter(|(_, f)| writes(f)).any(|&(writer, _)| {
                mapped.iter().any(|&(other, _)| self.lead(other) != self.lead(writer))
            });
            if torn || beside {
                self.violation = Some("a writer beside another writer or a reader");
            }
            let window = self.window[page].filter(|(life, _)| *life == generation);
            let stale = |(instance, f): &(u8, Frame)| {
                let content = if f.in_window {
                    window.map(|(_, content)| content)
                } else {
                    self.shown(*instance, page as u8)
                };
                content.is_none_or(|content| content == STALE)
            };
            if mapped.iter().any(stale) {
                self.violation = Some("a stale copy can be read");
            }
        }
        let moving = self.links.iter().any(|link| !link.is_empty())
            || self.threads.iter().any(|t| matches!(t, Thread::Woken(_)))
            || self.frames.iter().any(|f| f.writing_back || self.holds_end && f.timer)
            || (0..n as u8).any(|node| self.is_alive(node) && self.may_learn(node))
            || (0..pages as u8).any(|page| !self.begins_new_life(page));
        if !moving && !self.is_quiet() {
            self.violation = Some("an access waits and nothing moves");
        }
    }

    /// The fabric with its nodes, or the siblings of its only node, under other names.
    #[must_use]
    pub fn renamed(&self, to: &[u8]) -> Self {
        let n = self.threads.len();
        let pages = self.written.len();
        let rename = |node: Sibling| {
            NodeId(u16::from(to.get(usize::from(node.0)).copied().unwrap_or(node.0 as u8)))
        };
        let same = |node: NodeId| node;
        let names: Names<'_> = if self.siblings == 1 {
            Names { node: &rename, sibling: &same }
        } else {
            Names { node: &same, sibling: &rename }
        };
        let mut out = self.clone();
        for (frame, ..) in &mut out.stashes {
            let (old, page) = (usize::from(*frame) / pages, usize::from(*frame) % pages);
            *frame = to[old] * pages as u8 + page as u8;
        }
        for old in 0..n {
            let new = usize::from(to[old]);
            out.machines[new] = Arc::clone(&self.machines[old]);
            Arc::make_mut(&mut out.machines[new]).rename(&names);
            out.threads[new] = self.threads[old];
            out.counts[new] = self.counts[old];
            out.seen[new].clone_from(&self.seen[old]);
            out.learned[new] = self.learned[old];
            out.met[new] = self.met[old];
            out.holders[new] =
                (0..n).fold(0, |set, other| set | (self.holders[old] >> other & 1) << to[other]);
            for page in 0..pages {
                out.frames[new * pages + page] = self.frames[old * pages + page];
                out.applied[new * pages + page] = self.applied[old * pages + page];
            }
            for (other, &other_new) in to.iter().enumerate() {
                let link = &mut out.links[new * n + usize::from(other_new)];
                link.clone_from(&self.links[old * n + other]);
                for packet in link {
                    P::rename_message(&mut packet.message, &names);
                }
            }
        }
        for (node, ..) in &mut out.expecting {
            *node = to[usize::from(*node)];
        }
        out.expecting.sort_unstable();
        out.crashed = self.crashed.map(|node| to[usize::from(node)]);
        out
    }
}

impl Step {
    fn with_reading(self, reading: u8) -> Self {
        match self {
            Self::Begin(node, op, _) => Self::Begin(node, op, reading),
            Self::Retry(node, _) => Self::Retry(node, reading),
            Self::Deliver(from, to, _) => Self::Deliver(from, to, reading),
            other => other,
        }
    }
}

impl std::str::FromStr for Step {
    type Err = ();

    /// Reads a step as its `Debug` form prints it.
    fn from_str(line: &str) -> Result<Self, ()> {
        let (name, rest) = line.trim().split_once('(').ok_or(())?;
        let numbers: Vec<u8> = rest
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect();
        let number = |at: usize| numbers.get(at).copied().ok_or(());
        Ok(match name {
            "Begin" if rest.contains("Read") => {
                Self::Begin(number(0)?, Op::Read(number(1)?), number(2)?)
            }
            "Begin" => Self::Begin(number(0)?, Op::Write(number(1)?), number(2)?),
            "Retry" => Self::Retry(number(0)?, number(1)?),
            "Deliver" => Self::Deliver(number(0)?, number(1)?, number(2)?),
            "Expire" => Self::Expire(number(0)?, number(1)?),
            "Evict" => Self::Evict(number(0)?, number(1)?),
            "WrittenBack" => Self::WrittenBack(number(0)?, number(1)?),
            "Give" => Self::Give(number(0)?, number(1)?),
            "Expect" => Self::Expect(number(0)?, number(1)?),
            "Promote" => Self::Promote(number(0)?),
            "Retreat" => Self::Retreat(number(0)?),
            "Idle" => Self::Idle(number(0)?, number(1)?),
            "Discard" => Self::Discard(number(0)?),
            "Apply" => Self::Apply(number(0)?, number(1)?),
            "Crash" => Self::Crash(number(0)?),
            "Learn" => Self::Learn(number(0)?),
            "Meet" => Self::Meet(number(0)?),
            _ => return Err(()),
        })
    }
}
