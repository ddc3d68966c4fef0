//! A fabric in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use maize_coherence::{
    Access, Action, Event, Failure, Home, Machine, NodeId, ObjectId, PageKey, Time, WireSize,
};

use crate::Tally;

/// What a thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Loads from a page, and compares with the oracle.
    Read(u32),
    /// Stores a new value to a page.
    Write(u32),
    /// Adds one to the value of a page, atomically.
    Increment(u32),
    /// Works without memory for some nanoseconds.
    Compute(u64),
    /// Waits until every thread with a program is here.
    Barrier,
    /// Asks for the frame of a page back.
    Evict(u32),
    /// Discards a page everywhere, and waits until every member has applied it.
    Discard(u32),
    /// Looks at a page's accessed bit: reports the page idle if no access came since the last look.
    Scan(u32),
}

/// How links and machines behave.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The least time that a message takes, in nanoseconds.
    pub latency_ns: u64,
    /// Up to so much more, at random.
    pub jitter_ns: u64,
    /// Bytes that a link moves per microsecond.
    pub bytes_per_us: u64,
    /// The least time that a message between siblings takes, in nanoseconds.
    pub inside_latency_ns: u64,
    /// Where pages are at home; must be what the machines were told.
    pub home: Home,
    /// Instances per node; the first of each is its lead.
    pub siblings: u16,
    /// Determines the run.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            latency_ns: 5_000,
            jitter_ns: 2_000,
            bytes_per_us: 2_000,
            inside_latency_ns: 1_000,
            siblings: 1,
            home: Home::At(NodeId(0)),
            seed: 1,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Happening<M> {
    Arrives { from: u16, to: u16, page: PageKey, message: M, content: Option<u64> },
    Timer { node: u16, page: PageKey },
    Runs { thread: usize },
    WrittenBack { node: u16, page: PageKey },
    Applies { node: u16, index: u32, generation: u32 },
    Learns { instance: u16, dead: u16 },
}

#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    content: Option<u64>,
    mapped: Option<Access>,
    /// The mapping is of the page's frame in the coherent window.
    in_window: bool,
    accessed: bool,
    writing_back: bool,
    generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    /// Has just faulted.
    Asks,
    Waits,
    AtBarrier,
    Discards {
        index: u32,
        generation: u32,
    },
    Ended,
}

#[derive(Debug)]
struct Thread {
    node: u16,
    program: VecDeque<Op>,
    state: State,
}

/// A fabric of machines.
#[derive(Debug)]
pub struct Sim<M: Machine> {
    machines: Vec<M>,
    settings: Settings,
    now: u64,
    order: u64,
    rng: fastrand::Rng,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: HashMap<u64, Happening<M::Message>>,
    link_free: HashMap<(u16, u16), u64>,
    frames: Vec<HashMap<u32, Frame>>,
    window: HashMap<(u32, u32), u64>,
    /// Payloads put aside, by instance and page.
    stashes: HashMap<(u16, u32), VecDeque<u64>>,
    threads: Vec<Thread>,
    /// The last value stored, by page and life.
    oracle: HashMap<(u32, u32), u64>,
    stored: HashMap<(u32, u32), u64>,
    generation: BTreeMap<u32, u32>,
    applied: Vec<BTreeMap<u32, u32>>,
    dead: Vec<bool>,
    /// What the run cost so far.
    pub tally: Tally,
}

/// The object that all pages belong to.
const OBJECT: ObjectId = ObjectId(1);

impl<M: Machine> Sim<M> {
    /// A fabric of these machines; instance `i` is the `i`-th, and each node's instances follow each
    /// other.
    pub fn new(machines: Vec<M>, settings: Settings) -> Self {
        let n = machines.len();
        Self {
            machines,
            settings,
            now: 0,
            order: 0,
            rng: fastrand::Rng::with_seed(settings.seed),
            queue: BinaryHeap::new(),
            happenings: HashMap::new(),
            link_free: HashMap::new(),
            frames: (0..n).map(|_| HashMap::new()).collect(),
            window: HashMap::new(),
            stashes: HashMap::new(),
            threads: vec![],
            oracle: HashMap::new(),
            stored: HashMap::new(),
            generation: BTreeMap::new(),
            applied: vec![BTreeMap::new(); n],
            dead: vec![false; n],
            tally: Tally::default(),
        }
    }

    /// Starts a thread on an instance.
    pub fn spawn(&mut self, node: u16, program: impl IntoIterator<Item = Op>) {
        let thread = self.threads.len();
        let program = program.into_iter().collect();
        self.threads.push(Thread { node, program, state: State::Runs });
        let at = self.now + self.rng.u64(0..1_000);
        self.later(at, Happening::Runs { thread });
    }

    /// Stops an instance now; the others learn of it after the time that detection takes. A lead's
    /// death is its node's: its siblings hear of it first, then the other nodes. Other nodes do not
    /// hear of a sibling's.
    pub fn crash(&mut self, instance: u16, detection_ns: u64) {
        self.dead[usize::from(instance)] = true;
        for thread in self.threads.iter_mut().filter(|t| t.node == instance) {
            thread.state = State::Ended;
        }
        for other in (0..self.machines.len() as u16).filter(|&other| other != instance) {
            let sibling = self.lead(other) == self.lead(instance);
            if !sibling && instance != self.lead(instance) {
                continue;
            }
            let at = self.now + if sibling { detection_ns } else { 2 * detection_ns };
            // Links are drained before a death is reported.
            let at = at.max(self.link_free.get(&(instance, other)).copied().unwrap_or(0) + 1);
            self.later(at, Happening::Learns { instance: other, dead: instance });
        }
    }

    /// The lead of an instance's node.
    fn lead(&self, instance: u16) -> u16 {
        instance - instance % self.settings.siblings
    }

    /// The frame that an instance's node has of a page.
    fn frame(&mut self, instance: u16, index: u32) -> &mut Frame {
        let lead = self.lead(instance);
        self.frames[usize::from(lead)].entry(index).or_default()
    }

    /// The machine of an instance.
    pub fn machine(&self, instance: u16) -> &M {
        &self.machines[usize::from(instance)]
    }

    /// The last value stored to a page.
    pub fn value(&self, index: u32) -> u64 {
        let generation = self.generation.get(&index).copied().unwrap_or(0);
        self.oracle.get(&(index, generation)).copied().unwrap_or(0)
    }

    /// Runs until nothing happens any more.
    ///
    /// # Errors
    ///
    /// What was wrong: a load that did not return the last store, two writers at once, a thread
    /// that waits although nothing moves, or more than `limit` happenings.
    pub fn run(&mut self, limit: u64) -> Result<(), String> {
        for _ in 0..limit {
            if !self.step()? {
                return self.ended();
            }
        }
        Err(format!("still busy after {limit} happenings"))
    }

    /// Runs until a moment of virtual time.
    ///
    /// # Errors
    ///
    /// As [`Self::run`].
    pub fn run_until(&mut self, time_ns: u64) -> Result<(), String> {
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= time_ns) {
            self.step()?;
        }
        self.now = self.now.max(time_ns);
        Ok(())
    }

    fn ended(&mut self) -> Result<(), String> {
        self.tally.ended_ns = self.now;
        match self.threads.iter().find(|t| t.state != State::Ended) {
            None => Ok(()),
            Some(t) => Err(format!(
                "the thread on n{} is {:?} before {:?} and nothing moves",
                t.node,
                t.state,
                t.program.front()
            )),
        }
    }

    fn later(&mut self, at: u64, happening: Happening<M::Message>) {
        self.order += 1;
        self.happenings.insert(self.order, happening);
        self.queue.push(Reverse((at, self.order)));
    }

    fn step(&mut self) -> Result<bool, String> {
        let Some(Reverse((at, order))) = self.queue.pop() else { return Ok(false) };
        let Some(happening) = self.happenings.remove(&order) else { return Ok(true) };
        self.now = self.now.max(at);
        match happening {
            Happening::Arrives { from, to, page, message, content } => {
                let siblings = self.settings.siblings;
                let from = if message.is_inside() { from % siblings } else { from / siblings };
                let event = Event::Message { from: NodeId(from), page, message };
                self.event(to, event, content)?;
            }
            Happening::Timer { node, page } => self.event(node, Event::Expire { page }, None)?,
            Happening::Runs { thread } => self.runs(thread)?,
            Happening::WrittenBack { node, page } => {
                if let Some(frame) = self.frames[usize::from(node)].get_mut(&page.index) {
                    frame.writing_back = false;
                }
                self.event(node, Event::WrittenBack { page }, None)?;
            }
            Happening::Applies { node, index, generation } => {
                // Two discards of a page may reach a member in either order.
                let applied = self.applied[usize::from(node)].entry(index).or_default();
                *applied = generation.max(*applied);
                let event = Event::Discard { object: OBJECT, generation, first: index, count: 1 };
                self.event(node, event, None)?;
                self.end_discards();
            }
            Happening::Learns { instance, dead } => {
                let siblings = self.settings.siblings;
                let event = if siblings > 1 && self.lead(instance) == self.lead(dead) {
                    Event::SiblingDied { sibling: NodeId(dead % siblings) }
                } else {
                    Event::Died { node: NodeId(dead / siblings) }
                };
                self.event(instance, event, None)?;
            }
        }
        Ok(true)
    }

    fn key(&self, node: u16, index: u32) -> PageKey {
        let generation = self.applied[usize::from(node)].get(&index).copied().unwrap_or(0);
        PageKey { object: OBJECT, generation, index }
    }

    fn runs(&mut self, at: usize) -> Result<(), String> {
        let thread = &mut self.threads[at];
        if thread.state == State::Ended {
            return Ok(());
        }
        thread.state = State::Runs;
        let node = thread.node;
        let Some(&op) = thread.program.front() else {
            thread.state = State::Ended;
            self.open_barrier();
            return Ok(());
        };
        match op {
            Op::Read(index) => self.access(at, index, Access::Read)?,
            Op::Write(index) | Op::Increment(index) => self.access(at, index, Access::Write)?,
            Op::Compute(ns) => self.next(at, ns),
            Op::Barrier => {
                self.threads[at].state = State::AtBarrier;
                self.open_barrier();
            }
            Op::Evict(index) => {
                self.next(at, 100);
                let frame = self.frames[usize::from(node)].get(&index);
                if frame.is_some_and(|f| f.content.is_some() || f.mapped.is_some()) {
                    self.event(node, Event::Evict { page: self.key(node, index) }, None)?;
                }
            }
            Op::Discard(index) => {
                let generation = self.generation.entry(index).or_default();
                *generation += 1;
                let generation = *generation;
                self.threads[at].state = State::Discards { index, generation };
                for node in 0..self.machines.len() as u16 {
                    let at = self.now + self.rng.u64(1_000..20_000);
                    self.later(at, Happening::Applies { node, index, generation });
                }
            }
            Op::Scan(index) => {
                self.next(at, 100);
                let frame = self.frames[usize::from(node)].entry(index).or_default();
                if !core::mem::take(&mut frame.accessed) && frame.in_window {
                    self.event(node, Event::Idle { page: self.key(node, index) }, None)?;
                }
            }
        }
        Ok(())
    }

    fn next(&mut self, thread: usize, ns: u64) {
        self.threads[thread].program.pop_front();
        self.later(self.now + ns, Happening::Runs { thread });
    }

    fn open_barrier(&mut self) {
        let open = self.threads.iter().all(|t| matches!(t.state, State::AtBarrier | State::Ended));
        if !open {
            return;
        }
        for thread in 0..self.threads.len() {
            if self.threads[thread].state == State::AtBarrier {
                self.threads[thread].state = State::Runs;
                let ns = self.rng.u64(10..500);
                self.next(thread, ns);
            }
        }
    }

    fn end_discards(&mut self) {
        for thread in 0..self.threads.len() {
            if let State::Discards { index, generation } = self.threads[thread].state {
                let all = (0..self.machines.len()).all(|node| {
                    self.dead[node] || self.applied[node].get(&index) >= Some(&generation)
                });
                if all {
                    self.threads[thread].state = State::Runs;
                    self.next(thread, 100);
                }
            }
        }
    }

    fn access(&mut self, at: usize, index: u32, access: Access) -> Result<(), String> {
        let node = self.threads[at].node;
        let key = self.key(node, index);
        let frame = self.frames[usize::from(node)].entry(index).or_default();
        if frame.mapped >= Some(access) {
            frame.accessed = true;
            self.retire(at, index)?;
            self.event(node, Event::Retired { page: key }, None)?;
            self.next(at, 20);
            return Ok(());
        }
        self.threads[at].state = State::Asks;
        if self.machines[usize::from(node)].rights(key) < Some(access) {
            match access {
                Access::Read => self.tally.read_misses += 1,
                Access::Write => self.tally.write_misses += 1,
            }
        }
        self.event(node, Event::Fault { page: key, access }, None)?;
        // As in a kernel, the thread waits only when all that followed at once is done: it goes on if the
        // page is mapped then, and otherwise nothing that came before wakes it.
        let mapped = self.frames[usize::from(node)].entry(index).or_default().mapped;
        if self.threads[at].state == State::Asks {
            if mapped >= Some(access) {
                self.threads[at].state = State::Runs;
                self.later(self.now + 200, Happening::Runs { thread: at });
            } else {
                self.threads[at].state = State::Waits;
            }
        }
        Ok(())
    }

    /// Carries the access out, and compares with the oracle.
    fn retire(&mut self, at: usize, index: u32) -> Result<(), String> {
        let thread = &self.threads[at];
        let node = thread.node;
        let op = thread.program.front().copied();
        let lead = usize::from(self.lead(node));
        let mapping = *self.frames[usize::from(node)].entry(index).or_default();
        let life = (index, mapping.generation);
        let now = self.now;
        let content = if mapping.in_window {
            self.window.entry(life).or_default()
        } else {
            let frame = self.frames[lead].entry(index).or_default();
            match frame.content.as_mut() {
                Some(content) if frame.generation == mapping.generation => content,
                _ => return Err(format!("at {now} ns i{node} uses page {index}, which is freed")),
            }
        };
        let last = self.oracle.entry(life).or_default();
        if content != last && op != Some(Op::Write(index)) {
            return Err(format!(
                "at {now} ns n{node} sees {content} in page {index}, but {last} was stored last"
            ));
        }
        match op {
            Some(Op::Write(_)) => {
                *last += 1_000_000;
                *content = *last;
            }
            Some(Op::Increment(_)) => {
                *content += 1;
                *last = *content;
            }
            _ => {}
        }
        self.tally.accesses += 1;
        Ok(())
    }

    fn event(
        &mut self,
        node: u16,
        event: Event<M::Message>,
        content: Option<u64>,
    ) -> Result<(), String> {
        if self.dead[usize::from(node)] {
            return Ok(());
        }
        let mut actions: Vec<Action<M::Message>> = Vec::new();
        self.machines[usize::from(node)].handle(Time(self.now), event, &mut actions);
        for action in actions {
            self.act(node, action, content)?;
        }
        Ok(())
    }

    fn act(
        &mut self,
        node: u16,
        action: Action<M::Message>,
        content: Option<u64>,
    ) -> Result<(), String> {
        let now = self.now;
        let at = usize::from(node);
        match action {
            Action::Send { to, page, message } => self.send(node, to.0, page, message)?,
            Action::Fill { page } => {
                let stored = self.stored.get(&(page.index, page.generation)).copied();
                let at_home = self.settings.home.of(page) == NodeId(node / self.settings.siblings);
                let frame = self.frames[at].entry(page.index).or_default();
                frame.content = Some(stored.filter(|_| at_home).unwrap_or(0));
                frame.generation = page.generation;
            }
            Action::Install { page } => self.install(node, page, content)?,
            Action::Stash { page } => {
                let stash = self.stashes.entry((node, page.index)).or_default();
                stash.extend(content);
            }
            Action::InstallStashed { page } => {
                let content =
                    self.stashes.get_mut(&(node, page.index)).and_then(VecDeque::pop_front);
                self.install(node, page, content)?;
            }
            Action::Adopt { page } => {
                let frame = *self.frame(node, page.index);
                if frame.content.is_none() || frame.generation != page.generation {
                    return Err(format!("at {now} ns i{node} adopts {page:?}, which is not there"));
                }
                self.frames[at].entry(page.index).or_default().generation = page.generation;
            }
            Action::Map { page, access } => {
                if self.frame(node, page.index).content.is_none() {
                    return Err(format!("at {now} ns n{node} maps {page:?} without a frame"));
                }
                let frame = self.frames[at].entry(page.index).or_default();
                frame.mapped = Some(access);
                frame.in_window = false;
                self.check_mappings(page)?;
            }
            Action::MapWindow { page } => {
                let frame = self.frames[at].entry(page.index).or_default();
                frame.mapped = Some(Access::Write);
                frame.in_window = true;
                frame.accessed = true;
                frame.generation = page.generation;
                self.check_mappings(page)?;
            }
            Action::ToWindow { page } => {
                let frame = self.frames[at].entry(page.index).or_default();
                let content = frame.content.take().unwrap_or(0);
                self.window.insert((page.index, page.generation), content);
            }
            Action::FromWindow { page } => {
                let content = self.window.remove(&(page.index, page.generation));
                let frame = self.frames[at].entry(page.index).or_default();
                frame.content = content;
                frame.generation = page.generation;
            }
            Action::Unmap { page } => {
                let frame = self.frames[at].entry(page.index).or_default();
                frame.mapped = None;
                frame.in_window = false;
            }
            Action::Release { page } => {
                if self.is_mapped(node, page.index) {
                    return Err(format!("at {now} ns n{node} frees {page:?} while it is mapped"));
                }
                self.frames[at].entry(page.index).or_default().content = None;
            }
            Action::Wake { page, access } => self.wake(node, page, Some(access)),
            Action::Timer { page, at } => {
                self.later(at.0.max(now), Happening::Timer { node, page });
            }
            Action::WriteBack { page } => {
                let frame = self.frames[at].entry(page.index).or_default();
                if let Some(content) = frame.content {
                    self.stored.insert((page.index, page.generation), content);
                }
                let done = now + self.rng.u64(1_000..50_000);
                self.later(done, Happening::WrittenBack { node, page });
            }
            Action::Kept { .. } => self.tally.kept += 1,
            Action::Hot { .. } => {}
            Action::Fail { page, failure } => match failure {
                Failure::Stale => self.wake(node, page, None),
                Failure::Lost | Failure::HomeDied => self.fail(node, page, failure)?,
            },
        }
        Ok(())
    }

    fn install(&mut self, node: u16, page: PageKey, content: Option<u64>) -> Result<(), String> {
        if content.is_none() || self.is_mapped(node, page.index) {
            let now = self.now;
            return Err(format!("at {now} ns n{node} cannot install page {page:?}"));
        }
        let frame = self.frames[usize::from(node)].entry(page.index).or_default();
        frame.content = content;
        frame.generation = page.generation;
        Ok(())
    }

    /// Whether an instance maps a page, or if it is a lead any live instance of its node does.
    fn is_mapped(&self, instance: u16, index: u32) -> bool {
        let siblings = if instance == self.lead(instance) { self.settings.siblings } else { 1 };
        (instance..instance + siblings).any(|i| {
            let frame = self.frames[usize::from(i)].get(&index);
            !self.dead[usize::from(i)] && frame.is_some_and(|frame| frame.mapped.is_some())
        })
    }

    fn send(
        &mut self,
        from: u16,
        to: u16,
        page: PageKey,
        message: M::Message,
    ) -> Result<(), String> {
        let inside = message.is_inside();
        let siblings = self.settings.siblings;
        let to = if inside { self.lead(from) + to } else { to * siblings };
        let bytes = message.wire_bytes() as u64;
        *self.tally.messages.entry(message.name()).or_default() += 1;
        self.tally.bytes += bytes;
        let content = if message.carries_page() {
            self.tally.pages += 1;
            let frame = self.frames[usize::from(from)].entry(page.index).or_default();
            if frame.content.is_none() {
                return Err(format!("n{from} sends {message:?} of {page:?} without a frame"));
            }
            frame.content
        } else {
            None
        };
        if self.dead[usize::from(to)] {
            return Ok(());
        }
        let jitter = self.rng.u64(0..=self.settings.jitter_ns);
        let Settings { latency_ns, inside_latency_ns, bytes_per_us, .. } = self.settings;
        let latency = if inside { inside_latency_ns } else { latency_ns };
        let takes = latency + jitter + bytes * 1_000 / bytes_per_us;
        let free = self.link_free.entry((from, to)).or_default();
        let at = (self.now + takes).max(*free + 1);
        *free = at;
        self.later(at, Happening::Arrives { from, to, page, message, content });
        Ok(())
    }

    fn wake(&mut self, node: u16, page: PageKey, access: Option<Access>) {
        for thread in 0..self.threads.len() {
            let t = &mut self.threads[thread];
            let needs = match t.program.front() {
                Some(Op::Read(index)) if *index == page.index => Access::Read,
                Some(Op::Write(index) | Op::Increment(index)) if *index == page.index => {
                    Access::Write
                }
                _ => continue,
            };
            let waits = t.state == State::Waits || t.state == State::Asks && access.is_none();
            if t.node == node && waits && access.is_none_or(|a| needs <= a) {
                t.state = State::Runs;
                // A stale generation: look again when the discard has been applied.
                let ns = if access.is_none() { 5_000 } else { 200 };
                self.later(self.now + ns, Happening::Runs { thread });
            }
        }
    }

    fn fail(&mut self, node: u16, page: PageKey, failure: Failure) -> Result<(), String> {
        if !self.dead.contains(&true) {
            return Err(format!("n{node} loses {page:?} ({failure:?}) although nobody died"));
        }
        for thread in 0..self.threads.len() {
            let t = &self.threads[thread];
            let same = matches!(t.program.front(),
                Some(Op::Read(i) | Op::Write(i) | Op::Increment(i)) if *i == page.index);
            if t.node == node && matches!(t.state, State::Asks | State::Waits) && same {
                self.tally.failed += 1;
                self.threads[thread].state = State::Runs;
                self.next(thread, 100);
            }
        }
        Ok(())
    }

    /// One writer or many readers, among the mappings of the page's life.
    fn check_mappings(&self, page: PageKey) -> Result<(), String> {
        let mapped = |instance: u16| {
            let frame = self.frames[usize::from(instance)].get(&page.index)?;
            let counts = !self.dead[usize::from(instance)] && frame.generation == page.generation;
            let access = frame.mapped.filter(|_| counts)?;
            Some((self.lead(instance), access, frame.in_window))
        };
        let all: Vec<_> = (0..self.frames.len() as u16).filter_map(mapped).collect();
        let private = all.iter().filter(|(.., in_window)| !in_window).count();
        let torn = private > 0 && private < all.len();
        let beside = all.iter().any(|&(writer, access, in_window)| {
            let writes = access == Access::Write && !in_window;
            // Siblings map one frame.
            writes && all.iter().any(|&(other, ..)| other != writer)
        });
        if torn || beside {
            return Err(format!("at {} ns page {page:?} is mapped as {all:?}", self.now));
        }
        Ok(())
    }
}
