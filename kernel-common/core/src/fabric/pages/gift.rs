//! Pages that change hands without having been asked for.

use maize_abi::pte::Access as Rights;
use maize_coherence::{Access, NodeId, PageKey};
use maize_hal::Arch;
use maize_mm::ObjectId;
use maize_wire::InstanceId;

use super::machine::{Deed, Happened};
use super::name::object_of;
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
    /// Whether pages of this instance's objects can be handed to a peer, and the other way round: one
    /// orders who has them, and both have frames of their own.
    pub(crate) fn can_hand_over(&self, peer: InstanceId) -> bool {
        self.policy == Coherence::Directory
            && !self.domains.is_sibling(peer)
            && self.domains.lead(self.me, peer) == self.me
            && self.domains.lead(peer, self.me) == peer
    }
}

impl<A: Arch> State<A> {
    /// The name of a page of this instance's that nobody else has.
    pub(crate) fn page_to_hand_over(&mut self, object: ObjectId, index: u64) -> Option<PageName> {
        let (_, rights) = self.memory.page(object, index)?;
        let pages = &mut self.fabric.pages;
        if !pages.is_home(object)
            || !rights.contains(Rights::WRITE)
            || pages.paused.contains_key(&object)
            || !self.memory.may_be_asked_for(object, index)
        {
            return None;
        }
        pages.key(object, index).map(PageName::from)
    }

    /// At its home: a page goes to `to`, as if that had asked for it, which expects it.
    pub(crate) fn hand_over(&mut self, to: InstanceId, page: PageName) {
        let (page, now) = (PageKey::from(page), self.now());
        let Some(machine) = self.fabric.pages.machine(object_of(page.object).home) else { return };
        machine.adopt(page);
        for deed in machine.hand_over(now, NodeId(to.0), page) {
            self.carry_out(deed, None);
        }
    }

    /// A page is on the way, and is held for a thread when it arrives.
    pub(crate) fn expect_page(&mut self, tid: Tid, page: PageName) {
        let (page, now) = (PageKey::from(page), self.now());
        let (object, index) = super::name::page_of(page);
        if self
            .fabric
            .pages
            .key(object, index)
            .is_none_or(|known| known.generation > page.generation)
        {
            return;
        }
        let Some(machine) = self.fabric.pages.machine(object.home) else { return };
        let fault = Happened::Fault { page, access: Access::Write };
        // The request has been granted before it was made.
        let deeds = machine.handle(now, fault).unwrap_or_default();
        for deed in deeds.into_iter().filter(|deed| !matches!(deed, Deed::Send { .. })) {
            self.carry_out(deed, None);
        }
        self.fabric.pages.held.entry(tid).or_default().push(page);
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
