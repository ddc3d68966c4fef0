//! Pages that change hands without having been asked for.

use maize_abi::pte::Access as Rights;
use maize_coherence::{NodeId, PageKey};
use maize_hal::Arch;
use maize_mm::ObjectId;
use maize_wire::InstanceId;

use super::machine::Happened;
use super::{Coherence, PageName, Pages};
use crate::ids::Tid;
use crate::state::State;

impl PageName {
    /// The object that it is a page of, and its number there.
    pub(crate) fn place(self) -> (ObjectId, u64) {
        super::name::page_of(self.into())
    }
}

impl Pages {
    /// Whether pages of this instance's objects can be given to a peer, and the other way round: one
    /// orders who has them, and both have frames of their own.
    pub(crate) fn can_give(&self, peer: InstanceId) -> bool {
        self.policy == Coherence::Directory
            && !self.domains.is_sibling(peer)
            && self.domains.lead(self.me, peer) == self.me
            && self.domains.lead(peer, self.me) == peer
    }
}

impl<A: Arch> State<A> {
    /// The name of a page of this instance's that can go to `to`, which has not asked for it. One that goes
    /// to and fro moves into the window instead, where `to` finds it when it asks.
    pub(crate) fn page_to_give(
        &mut self,
        to: InstanceId,
        (object, index): (ObjectId, u64),
    ) -> Option<PageName> {
        let (_, rights) = self.memory.page(object, index)?;
        let now = self.now();
        let pages = &mut self.fabric.pages;
        if !pages.is_home(object)
            || !rights.contains(Rights::WRITE)
            || pages.paused.contains_key(&object)
            || !self.memory.may_be_asked_for(object, index)
        {
            return None;
        }
        let page = pages.key(object, index)?;
        let machine = pages.machine(object.home)?;
        machine.adopt(page);
        if !machine.may_be_given(page, NodeId(to.0)) {
            return None;
        }
        if machine.is_given_often(now, page) {
            self.tell_of(page, Happened::Hot(page));
        }
        let machine = self.fabric.pages.machine(object.home)?;
        machine.may_be_given(page, NodeId(to.0)).then(|| page.into())
    }

    /// At its home: a page goes to `to`, which has been told.
    pub(crate) fn give_page(&mut self, to: InstanceId, page: PageName) {
        let page = PageKey::from(page);
        self.tell_of(page, Happened::Give(page, NodeId(to.0)));
    }

    /// A page is on the way, and is held for a thread when it arrives.
    pub(crate) fn expect_page(&mut self, tid: Tid, page: PageName) {
        let page = PageKey::from(page);
        let (object, index) = super::name::page_of(page);
        let known = self.fabric.pages.key(object, index);
        if known.is_some_and(|known| known.generation <= page.generation) {
            self.tell_of(page, Happened::Expect(page));
            self.fabric.pages.held.push((tid, page));
        }
    }

    /// Sends a page home that this instance alone has, if nobody here holds it.
    pub(crate) fn give_up_page(&mut self, object: ObjectId, index: u64) {
        let here = self.memory.page(object, index);
        if here.is_some_and(|(_, rights)| rights.contains(Rights::WRITE))
            && let Some(page) = self.fabric.pages.key(object, index)
        {
            self.tell_of(page, Happened::Evict(page));
        }
    }
}
