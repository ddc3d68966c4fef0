//! On top of a policy between nodes: prefetch of neighbouring pages, and promotion of pages that
//! ping-pong to a frame of the coherent window.
//!
//! **Prefetch.** Every object has one stream: a read miss on the page that follows the last one
//! doubles the window (1, 2, 4, 8 pages), any other miss halves it. A page that was fetched ahead
//! is neither mapped nor held when it arrives; the first access maps it without a message and
//! counts as a hit of the stream. If a writer takes it away unused, the window is halved.
//!
//! **Promotion.** A node counts the write misses of a page that follow each other closely. At a
//! threshold it tells the page's home (`Hot`), which takes the page, moves it into the window and
//! answers every request from then on with `Window`: the page costs no message any more. The caller
//! looks at the accessed bits of window mappings from time to time and reports `Idle`; when at most
//! one node is left, the home takes the page back.

mod filter;
mod stream;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::{Access, Agent, Event, Machine, ObjectId, PageKey, Policy, Sink, Time};
use filter::Filter;
pub(crate) use stream::Stream;

/// Bounds of the adaptive layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuning {
    /// Pages fetched ahead at most; 0 turns prefetch off.
    pub prefetch_pages: u32,
    /// Frames that this node, as a home, may have in the coherent window; 0 without a window.
    pub window_frames: u32,
    /// Write misses in a row that make a page hot; 0 if none ever is.
    pub hot_misses: u8,
    /// How closely they follow each other, in nanoseconds.
    pub hot_ns: u64,
    /// How closely gifts of a page follow each other that counts as missed by either node, in nanoseconds.
    pub hot_gift_ns: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            prefetch_pages: 8,
            window_frames: 0,
            hot_misses: 6,
            hot_ns: 10_000_000,
            hot_gift_ns: 50_000_000,
        }
    }
}

/// Pages whose heat is remembered, and pages fetched ahead and not yet used, at most: the layer's
/// memory is bounded whatever a program does.
const REMEMBERED: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Heat {
    misses: u8,
    last: Time,
}

/// Whether a page that was fetched ahead is here yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ahead {
    /// Asked for.
    Asked,
    /// Here, not mapped.
    Here,
}

/// An agent with the adaptive layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Adaptive<P, const W: usize = 1> {
    agent: Agent<P, W>,
    tuning: Tuning,
    /// Where each object ends, as the caller said, and of which generation its pages are, if that is one;
    /// nothing is fetched beyond.
    lengths: BTreeMap<ObjectId, (u32, Option<u32>)>,
    streams: BTreeMap<ObjectId, Stream>,
    ahead: BTreeMap<(ObjectId, u32), Ahead>,
    heat: BTreeMap<(ObjectId, u32), Heat>,
    promoting: BTreeSet<PageKey>,
    in_window: u32,
}

impl<P: Policy<W>, const W: usize> Adaptive<P, W> {
    /// Puts the layer on an agent.
    #[must_use]
    pub fn new(agent: Agent<P, W>, tuning: Tuning) -> Self {
        Self {
            agent,
            tuning,
            lengths: BTreeMap::new(),
            streams: BTreeMap::new(),
            ahead: BTreeMap::new(),
            heat: BTreeMap::new(),
            promoting: BTreeSet::new(),
            in_window: 0,
        }
    }

    /// Tells how many pages an object has that are all of one generation; without this nothing of it
    /// is fetched ahead, as the generation of a neighbour would be a guess. A discard takes it back.
    pub fn set_length(&mut self, object: ObjectId, pages: u32, generation: u32) {
        self.lengths.insert(object, (pages, Some(generation)));
    }

    /// Lets an object's pages be fetched ahead up to index `end`, each in the generation that this node
    /// knows of: for callers that tell a node whose request is of a former life.
    pub fn bound(&mut self, object: ObjectId, end: u32) {
        self.lengths.insert(object, (end, None));
    }

    /// Forgets an object that has come to its end everywhere.
    pub fn detach(&mut self, object: ObjectId) {
        self.agent.detach(object);
        self.lengths.remove(&object);
        self.streams.remove(&object);
        self.ahead.retain(|place, _| place.0 != object);
        self.heat.retain(|place, _| place.0 != object);
        self.promoting.retain(|page| page.object != object);
    }

    /// The agent below.
    #[must_use]
    pub fn agent(&self) -> &Agent<P, W> {
        &self.agent
    }

    /// The agent below, for joins and homes.
    pub fn agent_mut(&mut self) -> &mut Agent<P, W> {
        &mut self.agent
    }

    /// Says how many more frames this node may have in the window.
    pub fn set_window_room(&mut self, frames: u32) {
        self.tuning.window_frames = self.in_window.saturating_add(frames);
    }

    /// Frames that this node has in the window.
    #[must_use]
    pub fn frames_in_window(&self) -> u32 {
        self.in_window
    }

    /// Hands an event to the agent and its actions, as far as they are not this layer's, on.
    fn pass<S: Sink<P::Message>>(
        &mut self,
        now: Time,
        event: Event<P::Message>,
        sink: &mut S,
    ) -> Option<PageKey> {
        let mut filter = Filter {
            sink,
            ahead: &mut self.ahead,
            streams: &mut self.streams,
            arrived: None,
            hot: None,
            in_window: &mut self.in_window,
        };
        self.agent.handle(now, event, &mut filter);
        // A page fetched ahead is not held: nobody's access waits for it.
        while let Some(page) = filter.arrived.take() {
            self.agent.handle(now, Event::Retired { page }, &mut filter);
        }
        filter.hot
    }

    fn fault<S: Sink<P::Message>>(
        &mut self,
        now: Time,
        page: PageKey,
        access: Access,
        sink: &mut S,
    ) -> Option<PageKey> {
        let misses = self.agent.rights(page) < Some(access);
        let was_ahead = self.ahead.remove(&(page.object, page.index)).is_some();
        let mut hot = self.pass(now, Event::Fault { page, access }, sink);
        if was_ahead || (misses && access == Access::Read) {
            self.fetch_ahead(now, page, was_ahead, sink);
        }
        if misses && access == Access::Write && self.is_hot(now, page) {
            hot = self.pass(now, Event::Hot { page }, sink).or(hot);
        }
        hot
    }

    fn fetch_ahead<S: Sink<P::Message>>(
        &mut self,
        now: Time,
        page: PageKey,
        was_ahead: bool,
        sink: &mut S,
    ) {
        let Some(&(length, generation)) = self.lengths.get(&page.object) else { return };
        if self.tuning.prefetch_pages == 0 || generation.is_some_and(|all| all != page.generation) {
            return;
        }
        let stream = self.streams.entry(page.object).or_default();
        let window = stream.access(page.index, was_ahead, self.tuning.prefetch_pages);
        let last = page.index.saturating_add(window).min(length.saturating_sub(1));
        for index in page.index.saturating_add(1)..=last {
            let record = self.agent.record_of(page.object, index);
            let own = record.map_or(0, P::generation);
            let next = PageKey { index, generation: generation.unwrap_or(own), ..page };
            if record.is_none_or(P::is_untouched) && self.agent.is_home(next) {
                // Nobody else has it, and a first use costs nothing.
                continue;
            }
            let record = record.filter(|record| record.generation() == next.generation);
            let place = (page.object, index);
            if record.is_some_and(|record| record.is_busy() || record.rights().is_some())
                || self.ahead.contains_key(&place)
                || self.ahead.len() >= REMEMBERED
            {
                continue;
            }
            self.ahead.insert(place, Ahead::Asked);
            self.pass(now, Event::Fault { page: next, access: Access::Read }, sink);
        }
    }

    /// At the home: counts that a page goes to a node unasked, and will come back: a write miss of either
    /// node that was seen to come. True if it is to be moved into the window instead, by [`Event::Hot`].
    pub fn is_given_often(&mut self, now: Time, page: PageKey) -> bool {
        self.warm(now, page, 2, self.tuning.hot_gift_ns)
    }

    /// Counts a write miss; true at the threshold.
    fn is_hot(&mut self, now: Time, page: PageKey) -> bool {
        self.warm(now, page, 1, self.tuning.hot_ns)
    }

    /// Counts write misses that come at most `within` nanoseconds after the last ones; true at the threshold.
    fn warm(&mut self, now: Time, page: PageKey, misses: u8, within: u64) -> bool {
        if self.tuning.hot_misses == 0 {
            return false;
        }
        let place = (page.object, page.index);
        let recent = |heat: &Heat| now.0.saturating_sub(heat.last.0) <= within;
        if self.heat.len() >= REMEMBERED && !self.heat.contains_key(&place) {
            // The older half, too: a node that writes ever new pages would look through all at each of them.
            self.heat.retain(|_, heat| now.0.saturating_sub(heat.last.0) <= within / 2);
            if self.heat.len() >= REMEMBERED {
                return false;
            }
        }
        let heat = self.heat.entry(place).or_insert(Heat { misses: 0, last: now });
        heat.misses = if recent(heat) { heat.misses.saturating_add(misses) } else { misses };
        heat.last = now;
        if heat.misses < self.tuning.hot_misses {
            return false;
        }
        heat.misses = 0;
        true
    }

    /// The home hears that a page is hot: it takes the page, to move it into the window.
    fn promote<S: Sink<P::Message>>(&mut self, now: Time, page: PageKey, sink: &mut S) {
        let used = self.in_window as usize + self.promoting.len();
        if used >= self.tuning.window_frames as usize || !self.promoting.insert(page) {
            return;
        }
        if self.agent.rights(page) < Some(Access::Write) {
            self.pass(now, Event::Fault { page, access: Access::Write }, sink);
        }
    }

    /// Moves what has come into the window. True if the page may be there now, and is not mapped then.
    fn continue_promotion<S: Sink<P::Message>>(
        &mut self,
        now: Time,
        page: PageKey,
        sink: &mut S,
    ) -> bool {
        if !self.promoting.contains(&page) {
            return false;
        }
        if self.agent.record(page).is_none() {
            // Discarded meanwhile.
            self.promoting.remove(&page);
            return false;
        }
        let here = self.agent.rights(page) == Some(Access::Write);
        if here {
            // One try: if the next owner is already waiting, the page will be hot again soon.
            self.promoting.remove(&page);
            self.pass(now, Event::Promote { page }, sink);
        }
        here
    }
}

impl<P: Policy<W>, const W: usize> Machine for Adaptive<P, W> {
    type Message = P::Message;

    fn handle<S: Sink<P::Message>>(&mut self, now: Time, event: Event<P::Message>, sink: &mut S) {
        let page = match event {
            Event::Fault { page, .. }
            | Event::Message { page, .. }
            | Event::Expire { page }
            | Event::Hot { page } => Some(page),
            _ => None,
        };
        if !self.promoting.is_empty()
            && let Event::Expire { page } = event
        {
            self.continue_promotion(now, page, sink);
        }
        if let Event::Discard { object, first, count, .. } = event {
            if self.lengths.get(&object).is_some_and(|(_, generation)| generation.is_some()) {
                self.lengths.remove(&object);
            }
            // What was fetched ahead of a former life will not be used.
            let range = (object, first)..=(object, first.saturating_add(count.saturating_sub(1)));
            let gone: Vec<_> = self.ahead.range(range).map(|(place, _)| *place).collect();
            for place in gone {
                self.ahead.remove(&place);
            }
        }
        let hot = match event {
            Event::Fault { page, access } => self.fault(now, page, access, sink),
            event => self.pass(now, event, sink),
        };
        if let Some(page) = hot {
            self.promote(now, page, sink);
        }
        if !self.promoting.is_empty()
            && let Some(page) = page
            && self.continue_promotion(now, page, sink)
            && let Event::Fault { access, .. } = event
        {
            // Whoever asked was woken before the page moved, and need not look again by itself.
            self.pass(now, Event::Fault { page, access }, sink);
        }
    }

    fn rights(&self, page: PageKey) -> Option<Access> {
        self.agent.rights(page)
    }
}
