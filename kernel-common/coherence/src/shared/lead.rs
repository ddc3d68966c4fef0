//! The instance that has a node's frames and speaks for it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::carrier::Carrier;
use super::{AHEAD_MAX, Ahead, Domain, Left, Message, tell};
use crate::mutation::Rules;
use crate::table::Table;
use crate::{Access, Action, Event, Mutation, Nodes, ObjectId, PageKey, Sibling, Sink};

/// Whether a thread of the lead itself is concerned with a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Here {
    /// No.
    #[default]
    Nobody,
    /// One waits for a right.
    Waiting(Access),
    /// The access that one waited for has yet to retire.
    Holding,
}

/// What the lead keeps of a page that the node has, or that a sibling wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kept<M> {
    /// Siblings that map the page.
    pub(super) mappers: Nodes<1>,
    /// Those of them that may write.
    pub(super) writers: Nodes<1>,
    pub(super) busy: Option<Box<Busy<M>>>,
    pub(super) generation: u32,
    /// What the node's agent allows in this life, as far as its actions have been carried out.
    pub(super) granted: Option<Access>,
    /// The page is in the coherent window.
    pub(super) window: bool,
    pub(super) here: Here,
}

/// Siblings that wait, and what waits for siblings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Busy<M> {
    /// Siblings whose Query has no answer yet.
    pub(super) asking: Nodes<1>,
    /// Those of them that want to write.
    pub(super) asking_write: Nodes<1>,
    /// Siblings whose Revoked is missing.
    pub(super) waiting: Nodes<1>,
    /// The life that the Revokes named. A Revoked of an earlier one answers what nobody waits for.
    pub(super) revoking: u32,
    /// What the Revokes leave.
    pub(super) left: Left,
    /// The agent's actions since then, in order.
    pub(super) queue: VecDeque<Action<M>>,
}

const _: () = assert!(size_of::<Kept<u64>>() <= 16 + 2 * 8 + 8);

impl<M> Default for Kept<M> {
    fn default() -> Self {
        Self {
            mappers: Nodes::EMPTY,
            writers: Nodes::EMPTY,
            busy: None,
            generation: 0,
            granted: None,
            window: false,
            here: Here::Nobody,
        }
    }
}

impl<M> Default for Busy<M> {
    fn default() -> Self {
        Self {
            asking: Nodes::EMPTY,
            asking_write: Nodes::EMPTY,
            waiting: Nodes::EMPTY,
            revoking: 0,
            left: Left::Nothing,
            queue: VecDeque::new(),
        }
    }
}

impl<M> Kept<M> {
    pub(super) fn busy(&mut self) -> &mut Busy<M> {
        self.busy.get_or_insert_default()
    }

    /// Whether mappings are being taken away.
    pub(super) fn is_shooting_down(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| !busy.waiting.is_empty())
    }

    pub(super) fn tidy(&mut self) {
        if let Some(busy) = &self.busy
            && busy.asking.is_empty()
            && busy.waiting.is_empty()
            && busy.queue.is_empty()
        {
            self.busy = None;
        }
    }

    /// Forgets who asked for a former life, and what the agent allowed in it. Its mappings stay
    /// known until they are revoked.
    fn enter(&mut self, generation: u32) {
        if self.generation >= generation {
            return;
        }
        self.generation = generation;
        self.granted = None;
        self.here = Here::Nobody;
        if let Some(busy) = self.busy.as_mut() {
            busy.asking = Nodes::EMPTY;
            busy.asking_write = Nodes::EMPTY;
        }
        self.tidy();
    }
}

/// The lead's side of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lead<M> {
    /// Live siblings, without this instance.
    pub(super) siblings: Nodes<1>,
    /// There never was another: nothing is kept, and nothing waits.
    pub(super) alone: bool,
    pub(super) ahead: u8,
    pub(super) kept: Table<Kept<M>>,
    pub(super) rules: Rules,
}

impl<M> Lead<M> {
    pub(super) fn new(domain: Domain, siblings: Nodes<1>) -> Self {
        let siblings = siblings.without(domain.sibling);
        Self {
            siblings,
            alone: siblings.is_empty(),
            ahead: domain.ahead.min(AHEAD_MAX),
            kept: Table::default(),
            rules: Rules::default(),
        }
    }

    pub(super) fn join(&mut self, sibling: Sibling) {
        self.alone = false;
        self.siblings.insert(sibling);
    }

    /// Where the actions of the node's agent go.
    pub(super) fn sink<'a, S>(
        &'a mut self,
        sink: &'a mut S,
        woken: &'a mut Vec<PageKey>,
    ) -> Carrier<'a, M, S> {
        Carrier::new(self, sink, woken)
    }

    /// A newer life of a page is spoken of.
    pub(super) fn enter(&mut self, page: PageKey) {
        if !self.alone {
            self.kept.entry(page).enter(page.generation);
        }
    }

    /// Pages of a range begin another life.
    pub(super) fn discard(&mut self, object: ObjectId, generation: u32, first: u32, count: u32) {
        for (_, kept) in self.kept.range_mut(object, first, count) {
            kept.enter(generation);
        }
    }

    /// Notes an event of this instance; whether it is the agent's business now.
    pub(super) fn admits<N>(&mut self, page: PageKey, event: &Event<N>) -> bool {
        if self.alone {
            return true;
        }
        let kept = self.kept.entry(page);
        let wanted = match *event {
            Event::Fault { access, .. } => access,
            Event::Expect { .. } => Access::Write,
            Event::Retired { .. } => {
                if kept.here == Here::Holding && kept.generation == page.generation {
                    kept.here = Here::Nobody;
                }
                return true;
            }
            // The window frame is in use as long as a sibling maps it.
            Event::Idle { .. } => return kept.mappers.is_empty(),
            _ => return true,
        };
        kept.enter(page.generation);
        if kept.generation == page.generation {
            kept.here = Here::Waiting(match kept.here {
                Here::Waiting(known) => known.max(wanted),
                _ => wanted,
            });
        }
        true
    }

    /// A sibling wants a mapping; true if the node's agent has to be asked.
    pub(super) fn query<S: Sink<Message<M>>>(
        &mut self,
        from: Sibling,
        page: PageKey,
        access: Access,
        sink: &mut S,
    ) -> bool {
        let rules = self.rules;
        let kept = self.kept.entry(page);
        if kept.generation > page.generation && !rules.lack(Mutation::MapsAFormerLife) {
            // The sender has yet to apply the discard, and will ask again then.
            return false;
        }
        kept.enter(page.generation);
        // What a downgrade leaves may be mapped while others are being downgraded.
        if kept.granted >= Some(access) {
            self.answer(from, page, sink);
            return false;
        }
        let busy = kept.busy();
        busy.asking.insert(from);
        if access == Access::Write {
            busy.asking_write.insert(from);
        }
        true
    }

    /// One response: the page's mapping, and those of neighbours that the node has.
    pub(super) fn answer<S: Sink<Message<M>>>(&mut self, to: Sibling, page: PageKey, sink: &mut S) {
        let kept = self.kept.entry(page);
        let (Some(access), window) = (kept.granted, kept.window) else { return };
        note(kept, to, access, self.rules);
        let mut ahead = Ahead::default();
        for bit in 0..self.ahead {
            let Some(index) = page.index.checked_add(1 + u32::from(bit)) else { break };
            let Some(next) = self.kept.get_mut(PageKey { index, ..page }) else { continue };
            let fits =
                next.generation == page.generation && !next.window && !next.mappers.contains(to);
            if let (Some(access), true) = (next.granted, fits) {
                note(next, to, access, self.rules);
                ahead.pages |= 1 << bit;
                ahead.writable |= u8::from(access == Access::Write) << bit;
            }
        }
        tell(sink, to, page, Message::Mapping { access, window, ahead });
    }

    /// A sibling's mapping is gone, its TLB flushed. The sibling may not know of the page's present life.
    pub(super) fn revoked<S: Sink<Message<M>>>(
        &mut self,
        from: Sibling,
        page: PageKey,
        sink: &mut S,
        woken: &mut Vec<PageKey>,
    ) {
        let kept = self.kept.entry(page);
        let Some(busy) = kept.busy.as_mut() else { return };
        if page.generation < busy.revoking || !busy.waiting.remove(from) {
            return;
        }
        let done = busy.waiting.is_empty();
        if busy.left == Left::Nothing {
            kept.mappers.remove(from);
        }
        kept.writers.remove(from);
        if done {
            self.sink(sink, woken).go_on(page);
        }
    }

    /// A sibling has given its mapping up.
    pub(super) fn dropped(&mut self, from: Sibling, page: PageKey) {
        let kept = self.kept.entry(page);
        kept.mappers.remove(from);
        kept.writers.remove(from);
    }

    /// A sibling is gone, and with it its mappings, queries and debts.
    pub(super) fn died<S: Sink<Message<M>>>(
        &mut self,
        dead: Sibling,
        sink: &mut S,
        woken: &mut Vec<PageKey>,
    ) {
        let mut free = Vec::new();
        for (page, kept) in self.kept.iter_mut() {
            kept.mappers.remove(dead);
            kept.writers.remove(dead);
            if let Some(busy) = kept.busy.as_mut() {
                busy.asking.remove(dead);
                busy.asking_write.remove(dead);
                let owes =
                    !self.rules.lack(Mutation::WaitsForDeadSiblings) && busy.waiting.remove(dead);
                if owes && busy.waiting.is_empty() {
                    free.push(page);
                }
            }
            kept.tidy();
        }
        for page in free {
            self.sink(sink, woken).go_on(page);
        }
        self.siblings.remove(dead);
    }
}

/// Notes a mapping before it is given out.
fn note<M>(kept: &mut Kept<M>, to: Sibling, access: Access, rules: Rules) {
    if rules.lack(Mutation::ForgetsAMapping) {
        return;
    }
    kept.mappers.insert(to);
    if access == Access::Write {
        kept.writers.insert(to);
    }
}
