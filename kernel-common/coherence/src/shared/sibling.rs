//! An instance that maps the frames of its lead.

use super::{AHEAD_MAX, Left, Message, Shared, tell};
use crate::mutation::Rules;
use crate::{
    Access, Action, Event, Failure, Machine, Mutation, ObjectId, PageKey, Sibling, Sink, Time,
};

/// One mapping of this instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Mapped {
    /// When the hold ends; zero without a hold.
    pub(super) held_until: Time,
    pub(super) generation: u32,
    /// What the mapping allows.
    pub(super) granted: Option<Access>,
    /// The Query under way.
    pub(super) asked: Option<Access>,
    /// What the waiting threads need.
    pub(super) want: Option<Access>,
    /// A Revoke that waits for the end of the hold.
    pub(super) revoke: Option<Left>,
    /// The frame is in the coherent window.
    pub(super) window: bool,
}

const _: () = assert!(size_of::<Mapped>() <= 24);

impl Mapped {
    fn is_held(&self) -> bool {
        self.held_until != Time(0)
    }

    /// Whether the lead or this instance has yet to do something.
    pub(super) const fn is_busy(&self) -> bool {
        self.asked.is_some() || self.want.is_some() || self.revoke.is_some()
    }

    /// Starts another life of the page.
    fn reset<M, S: Sink<Message<M>>>(&mut self, lead: Sibling, page: PageKey, sink: &mut S) {
        let was = core::mem::take(self);
        self.generation = page.generation;
        if was.granted.is_some() {
            sink.push(Action::Unmap { page });
            sink.push(Action::Release { page });
        }
        if was.revoke.is_some() {
            tell(sink, lead, page, Message::Revoked);
        }
        if let Some(access) = was.want {
            sink.push(Action::Wake { page, access });
        }
    }

    fn ask<M, S: Sink<Message<M>>>(&mut self, lead: Sibling, page: PageKey, sink: &mut S) {
        if let (None, Some(access)) = (self.asked, self.want) {
            self.asked = Some(access);
            tell(sink, lead, page, Message::Query { access });
        }
    }

    fn end_hold<M, S: Sink<Message<M>>>(
        &mut self,
        lead: Sibling,
        page: PageKey,
        rules: Rules,
        sink: &mut S,
    ) {
        self.held_until = Time(0);
        if let Some(left) = self.revoke.take() {
            self.give_back(lead, page, left, rules, sink);
        }
    }

    /// Takes the mapping back as far as the lead wants, and says so.
    fn give_back<M, S: Sink<Message<M>>>(
        &mut self,
        lead: Sibling,
        page: PageKey,
        left: Left,
        rules: Rules,
        sink: &mut S,
    ) {
        match left {
            _ if rules.lack(Mutation::KeepsMappingAfterRevoke) => {}
            Left::Nothing if self.granted.is_some() => {
                self.granted = None;
                sink.push(Action::Unmap { page });
                sink.push(Action::Release { page });
            }
            Left::Read if self.granted == Some(Access::Write) => {
                self.granted = Some(Access::Read);
                sink.push(Action::Map { page, access: Access::Read });
            }
            Left::Nothing | Left::Read => {}
        }
        tell(sink, lead, page, Message::Revoked);
    }

    fn map<M, S: Sink<M>>(&self, page: PageKey, access: Access, sink: &mut S) {
        sink.push(if self.window {
            Action::MapWindow { page }
        } else {
            Action::Map { page, access }
        });
    }

    /// Maps what the lead's message names; a waiting thread's access holds it.
    fn adopt<M, S: Sink<Message<M>>>(
        &mut self,
        page: PageKey,
        access: Access,
        window: bool,
        until: Time,
        sink: &mut S,
    ) {
        self.granted = Some(access);
        self.window = window;
        if !window {
            sink.push(Action::Adopt { page });
        }
        self.map(page, access, sink);
        if let Some(want) = self.want {
            sink.push(Action::Wake { page, access });
            if want <= access {
                self.want = None;
                self.held_until = until;
                if until != Time(0) {
                    sink.push(Action::Timer { page, at: until });
                }
            }
        }
    }
}

impl<M: Machine> Shared<M> {
    /// When a hold that begins now ends; zero without holds.
    fn hold_end(&self, now: Time) -> Time {
        match self.domain.hold_ns {
            0 => Time(0),
            hold_ns => Time(now.0.saturating_add(hold_ns)),
        }
    }

    /// An event of this instance about a page that another one leads.
    pub(super) fn as_sibling<S: Sink<Message<M::Message>>>(
        &mut self,
        now: Time,
        page: PageKey,
        event: &Event<Message<M::Message>>,
        sink: &mut S,
    ) {
        let lead = self.lead_of(page.object);
        let lead_died = self.dead.contains(lead);
        let rules = self.rules();
        let mapped = self.mapped.entry(page);
        if let Event::Fault { access, .. } = *event {
            if mapped.generation > page.generation {
                return sink.push(Action::Fail { page, failure: Failure::Stale });
            }
            if mapped.generation < page.generation {
                mapped.reset(lead, page, sink);
            }
            if lead_died {
                return sink.push(Action::Fail { page, failure: Failure::HomeDied });
            }
            if let Some(granted) = mapped.granted.filter(|&granted| granted >= access) {
                mapped.map(page, granted, sink);
                return sink.push(Action::Wake { page, access: granted });
            }
            // What waits for the hold is older than this fault.
            mapped.end_hold(lead, page, rules, sink);
            mapped.want = mapped.want.max(Some(access));
            return mapped.ask(lead, page, sink);
        }
        if mapped.generation != page.generation {
            return;
        }
        match event {
            Event::Retired { .. } => mapped.end_hold(lead, page, rules, sink),
            Event::Expire { .. } if mapped.is_held() && now >= mapped.held_until => {
                mapped.end_hold(lead, page, rules, sink);
            }
            Event::Evict { .. } | Event::Idle { .. } => {
                // The answer to a Query may already name this mapping's successor.
                let asking = mapped.asked.is_some() && !rules.lack(Mutation::DropsWhileAsking);
                if mapped.granted.is_some() && !mapped.is_held() && !asking {
                    mapped.granted = None;
                    sink.push(Action::Unmap { page });
                    sink.push(Action::Release { page });
                    tell(sink, lead, page, Message::Dropped);
                } else if matches!(event, Event::Evict { .. }) {
                    sink.push(Action::Kept { page });
                }
            }
            // Promotion, heat and write-backs are the lead's: it sees every miss of the node.
            _ => {}
        }
    }

    /// A message of a page's lead.
    pub(super) fn on_order<S: Sink<Message<M::Message>>>(
        &mut self,
        now: Time,
        page: PageKey,
        message: Message<M::Message>,
        sink: &mut S,
    ) {
        let lead = self.lead_of(page.object);
        let until = self.hold_end(now);
        let rules = self.rules();
        let mapped = self.mapped.entry(page);
        if mapped.generation > page.generation {
            // The former life is over here; nothing of it is mapped.
            if matches!(message, Message::Revoke { .. }) {
                tell(sink, lead, page, Message::Revoked);
            }
            return;
        }
        if mapped.generation < page.generation {
            mapped.reset(lead, page, sink);
        }
        match message {
            Message::Mapping { access, window, ahead } => {
                if mapped.asked.take().is_none() {
                    return;
                }
                // What came along with a neighbour meanwhile, and is wanted back when its access has
                // retired, leaves no less than this.
                if mapped.revoke.is_none() {
                    mapped.adopt(page, access, window, until, sink);
                }
                mapped.ask(lead, page, sink);
                for bit in (0..AHEAD_MAX).filter(|bit| ahead.pages & 1 << bit != 0) {
                    let Some(index) = page.index.checked_add(1 + u32::from(bit)) else { break };
                    let next = PageKey { index, ..page };
                    let mapped = self.mapped.entry(next);
                    if mapped.generation < next.generation {
                        mapped.reset(lead, next, sink);
                    }
                    let writable = ahead.writable & 1 << bit != 0;
                    let access = if writable { Access::Write } else { Access::Read };
                    if mapped.generation == next.generation && mapped.granted < Some(access) {
                        mapped.adopt(next, access, false, until, sink);
                    }
                }
            }
            Message::Revoke { left } => {
                let held = mapped.is_held() && !rules.lack(Mutation::RevokesDuringTheHold);
                if held && mapped.granted.is_some() {
                    mapped.revoke = Some(left);
                } else {
                    mapped.give_back(lead, page, left, rules, sink);
                }
            }
            Message::Failed { failure } if mapped.asked.is_some() => {
                mapped.asked = None;
                mapped.want = None;
                sink.push(Action::Fail { page, failure });
            }
            _ => {}
        }
    }

    /// Pages of a range begin another life.
    pub(super) fn discard<S: Sink<Message<M::Message>>>(
        &mut self,
        object: ObjectId,
        generation: u32,
        first: u32,
        count: u32,
        sink: &mut S,
    ) {
        let lead = self.lead_of(object);
        for (mut page, mapped) in self.mapped.range_mut(object, first, count) {
            if mapped.generation < generation {
                page.generation = generation;
                mapped.reset(lead, page, sink);
            }
        }
    }

    /// What a dead sibling led has no frames any more.
    pub(super) fn lead_died<S: Sink<Message<M::Message>>>(&mut self, dead: Sibling, sink: &mut S) {
        let (leads, default) = (&self.leads, self.domain.lead);
        for (mut page, mapped) in self.mapped.iter_mut() {
            if leads.get(&page.object).copied().unwrap_or(default) != dead {
                continue;
            }
            page.generation = mapped.generation;
            let was = core::mem::take(mapped);
            mapped.generation = page.generation;
            if was.granted.is_some() {
                sink.push(Action::Unmap { page });
                sink.push(Action::Release { page });
            }
            if was.want.is_some() {
                sink.push(Action::Fail { page, failure: Failure::HomeDied });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::directory::{Body, Directory, Message as Word};
    use crate::shared::Domain;
    use crate::{Agent, Config, Home, NodeId, Nodes, WireSize as _};

    type Instance = Shared<Agent<Directory<1>>>;
    type Told = Message<Word<1>>;

    /// One of the two instances of the node that is the pages' home; there is another node.
    fn instance(sibling: u16) -> Instance {
        let home = NodeId(0);
        let config = Config { node: home, home: Home::At(home), hold_ns: 10 };
        let agent = Agent::new(config, Nodes::first_n(2));
        let domain = Domain { sibling: NodeId(sibling), lead: NodeId(0), ahead: 1, hold_ns: 10 };
        Shared::new(agent, domain, Nodes::first_n(2))
    }

    /// What an instance tells its sibling because of an event.
    fn told(instance: &mut Instance, event: Event<Told>) -> Vec<(PageKey, Told)> {
        let mut actions = Vec::new();
        instance.handle(Time(1), event, &mut actions);
        let sent = actions.into_iter().filter_map(|action| match action {
            Action::Send { page, message, .. } if message.is_inside() => Some((page, message)),
            _ => None,
        });
        sent.collect()
    }

    fn deliver(from: u16, to: &mut Instance, messages: &[(PageKey, Told)]) -> Vec<(PageKey, Told)> {
        let mut answers = Vec::new();
        for &(page, message) in messages {
            answers.extend(told(to, Event::Message { from: NodeId(from), page, message }));
        }
        answers
    }

    /// Two threads ask, for two pages. The answer to the first brings the second along, writable; by the
    /// time that the second is answered its mapping is wanted back and held.
    #[test]
    fn an_answer_that_meets_a_hold_is_an_answer() {
        let (mut lead, mut sibling) = (instance(0), instance(1));
        let page = |index| PageKey::new(ObjectId(1), index);
        let fault = |index, access| Event::Fault { page: page(index), access };
        for index in [0, 1] {
            told(&mut lead, fault(index, Access::Write));
            told(&mut lead, Event::Retired { page: page(index) });
        }
        let first = told(&mut sibling, fault(0, Access::Read));
        let second = told(&mut sibling, fault(1, Access::Read));
        let brought = deliver(1, &mut lead, &first);
        let read = Message::Outside(Word { epoch: 0, body: Body::GetS { deaths: None } });
        let wanted = deliver(1, &mut lead, &[(page(1), read)]);
        assert_eq!(wanted, [(page(1), Message::Revoke { left: Left::Read })]);
        let answer = deliver(1, &mut lead, &second);
        assert_eq!(answer.len(), 1, "what is left may be mapped at once");

        assert_eq!(deliver(0, &mut sibling, &brought), []);
        assert_eq!(sibling.rights(page(1)), Some(Access::Write));
        assert_eq!(deliver(0, &mut sibling, &wanted), [], "it is held");
        assert_eq!(deliver(0, &mut sibling, &answer), []);
        let back = told(&mut sibling, Event::Retired { page: page(1) });
        assert_eq!(back, [(page(1), Message::Revoked)]);
        let write = Message::Query { access: Access::Write };
        assert_eq!(told(&mut sibling, fault(1, Access::Write)), [(page(1), write)]);
    }
}
