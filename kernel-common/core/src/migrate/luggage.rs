//! Pages that travel with a thread, so that it need not wait for them where it arrives: the top of its
//! stack, the word that it waited on, and what it is going to write first on another instruction set.
//!
//! A page goes away as a gift of its home (`Stay::luggage` tells the other instance to expect it), and comes
//! home as one that is given up: nobody asks, and nobody waits.

use alloc::vec::Vec;

use maize_abi::migration::LEAVE;
use maize_abi::pte::Access;
use maize_abi::{Isa, PAGE_SIZE, Sysno};
use maize_hal::Arch;
use maize_mm::ObjectId;
use maize_wire::InstanceId;
use serde::{Deserialize, Serialize};

use super::ahead;
use crate::fabric::RequestId;
use crate::fabric::message::{AskArea, PageName};
use crate::group::{AreaRecord, SpaceKey};
use crate::handle::Handle;
use crate::ids::Tid;
use crate::state::State;
use crate::thread::Current;

/// Most pages that follow a thread.
pub(crate) const MOST: usize = ahead::MOST + 1;

/// A page that follows a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Luggage {
    page: PageName,
    /// What it is a page of.
    area: AreaRecord,
}

impl<A: Arch> Handle<A> {
    /// Maps the page that came home with a thread before it traps for want of it.
    pub(super) async fn unpack(&self, current: Current) {
        let come = self.with(|s| s.has_come(current));
        if let Some(address) = come {
            // If it is not to be had after all the thread will find out.
            let _ = self.resolve_fault(current, address, Access::WRITE).await;
        }
    }
}

impl<A: Arch> State<A> {
    /// The address of what came with a thread that goes on here, at home.
    fn has_come(&mut self, current: Current) -> Option<u64> {
        if self.away_place(current.tid).is_some() {
            return None;
        }
        let address = self.threads.get_mut(&current.tid)?.needs_next.take()?;
        let (object, index) = self.place_of(current.tid, address)?;
        // Only what was given up elsewhere: whatever is still there is fetched when it is used.
        let (_, rights) = self.memory.page(object, index).unzip();
        (rights == Some(Access::empty())).then_some(address)
    }

    /// What is to follow a thread of this instance to `to`: the pages that it will need first, if they
    /// are here, with the right to write them. Of what it needs ahead the rest is left.
    pub(super) fn pack(&mut self, current: Current, to: InstanceId, key: SpaceKey) -> Vec<Luggage> {
        let Some(thread) = self.threads.get_mut(&current.tid) else { return Vec::new() };
        let next = thread.needs_next.take();
        if next.is_none() && thread.ahead.is_empty() || !self.fabric.pages.can_give(to) {
            return Vec::new();
        }
        let ahead = core::mem::take(&mut thread.ahead);
        let page = |address: u64| address & !(PAGE_SIZE as u64 - 1);
        let mut packed: Vec<Luggage> = Vec::new();
        if let Some(next) = next
            && !ahead.contains(&page(next))
        {
            packed.extend(self.pack_page(current, to, key, next));
        }
        let mut left = Vec::new();
        for address in ahead {
            if self.is_shared(current.tid, to, address) {
                continue;
            }
            match self.pack_page(current, to, key, address) {
                Some(luggage) => packed.push(luggage),
                // Nobody could be asked for what is not there.
                None if self.place_of(current.tid, address).is_none() => {}
                None => left.push(address),
            }
        }
        if let Some(thread) = self.threads.get_mut(&current.tid) {
            thread.ahead = left;
        }
        packed
    }

    /// The page that a thread finds at an address, if something is mapped there.
    fn place_of(&self, tid: Tid, address: u64) -> Option<(ObjectId, u64)> {
        let area = self.memory.area(self.thread_space(tid)?, address)?;
        Some((area.object, area.index(address)))
    }

    /// Whether a page is in memory that `to` maps too: nothing has to be sent for it.
    fn is_shared(&mut self, tid: Tid, to: InstanceId, address: u64) -> bool {
        let place = self.place_of(tid, address);
        place.is_some_and(|(object, index)| self.is_in_window(to, object, index))
    }

    fn pack_page(
        &mut self,
        current: Current,
        to: InstanceId,
        key: SpaceKey,
        address: u64,
    ) -> Option<Luggage> {
        let (object, index) = self.place_of(current.tid, address)?;
        let page = self.page_to_give(to, (object, index))?;
        let id = RequestId { asker: current.tid.0, sequence: 0 };
        let ask = AskArea { id, space: key, address, access: Access::WRITE.bits() };
        let area = self.describe_area(to, &ask).ok()?;
        area.is_of(object).then_some(Luggage { page, area })
    }

    /// Which page a thread will need first when it goes on.
    pub(crate) fn needs_next(&mut self, tid: Tid, address: u64) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.needs_next = Some(address);
        }
    }

    /// Sends it after the thread.
    pub(super) fn send_after(&mut self, to: InstanceId, luggage: Luggage) {
        self.give_page(to, luggage.page);
    }

    /// At the place that a thread of `from`'s goes to: its page is on the way.
    /// Returns an address in it.
    pub(super) fn expect(
        &mut self,
        from: InstanceId,
        tid: Tid,
        key: SpaceKey,
        luggage: Luggage,
    ) -> Option<u64> {
        let Luggage { page, area } = luggage;
        let (object, index) = page.place();
        if object.home != from.0 {
            return None;
        }
        let address = area.address_of(object, index)?;
        let space = self.replica_space(key);
        let known = space.and_then(|space| self.memory.area(space, area.start()));
        let known = known.is_some_and(|known| known.object == object);
        if !known && self.learn_area(key, &area).is_err() {
            return None;
        }
        self.expect_page(tid, page);
        Some(address)
    }

    /// A thread of another instance is about to go home by this call: what it will need there goes
    /// before it. That is the top of its stack, or, if it changes its instruction set, what it is going
    /// to write first: it takes another stack.
    pub(super) fn send_ahead(
        &mut self,
        tid: Tid,
        home: InstanceId,
        (number, call): (u64, Option<Sysno>),
        args: [u64; 6],
    ) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let same = self.isa_of(home) == Some(<A::Isa as Isa>::KIND);
        let pages = if number == LEAVE && !same && thread.bound.is_some() {
            let [block, _, first, end, data, _] = args;
            ahead::pages(block, first..end, data)
        } else if call == Some(Sysno::SchedSetaffinity)
            && same
            && (args[0] == 0 || args[0] == u64::from(tid.0))
        {
            alloc::vec![thread.regs.sp()]
        } else {
            return;
        };
        if thread.guest.is_none() {
            return;
        }
        self.release_holds(tid);
        if !self.fabric.pages.can_give(home) {
            return;
        }
        for address in pages {
            let Some((object, index)) = self.place_of(tid, address) else { continue };
            if object.home == home.0 && !self.is_in_window(home, object, index) {
                self.give_up_page(object, index);
            }
        }
    }
}
