//! One change of a shared space at a time.

use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use maize_hal::{Arch, Nanos};
use maize_mm::SpaceId;
use maize_wire::InstanceId;

use super::{Group, Groups, ObjectName, SpaceKey};
use crate::fabric::message::{LEAVING, Leave};
use crate::handle::Handle;
use crate::ids::Tid;
use crate::state::State;
use crate::thread::Current;
use crate::wait::{Interruptible, WaitKey};

impl Groups {
    /// The spaces that are being changed; and for whom and where alone that is still to be confirmed.
    pub(crate) fn changes(
        &self,
    ) -> impl Iterator<Item = (SpaceId, Option<(Tid, InstanceId)>)> + '_ {
        self.changing.iter().map(|(space, unconfirmed)| (*space, *unconfirmed))
    }
}

impl<A: Arch> State<A> {
    /// The space of a thread, if other instances have replicas of it.
    pub(crate) fn shared_space(&self, current: Current) -> Option<SpaceId> {
        let space = self.thread_space(current.tid)?;
        self.groups.led.contains_key(&space).then_some(space)
    }

    /// A thread of the space is about to be sent to `to`.
    pub(crate) fn add_member(&mut self, space: SpaceId, to: InstanceId) -> SpaceKey {
        let me = self.fabric.me;
        let lead = self.fabric.pages.domains.lead(to, me);
        let members = &mut self.groups.led.entry(space).or_default().members;
        members.insert(to);
        // Who has frames for another hears of changes, too.
        if lead != me && self.fabric.is_usable(lead) {
            members.insert(lead);
        }
        SpaceKey { home: me.0, serial: space.serial() }
    }

    /// The members of a space of this instance.
    pub(crate) fn members(&self, space: SpaceId) -> Vec<InstanceId> {
        self.groups.led.get(&space).map(|g| g.members.iter().copied().collect()).unwrap_or_default()
    }

    /// A space of this instance ends: so do its replicas.
    pub(crate) fn end_group(&mut self, space: SpaceId) {
        let Some(Group { members, private, .. }) = self.groups.led.remove(&space) else { return };
        let key = SpaceKey { home: self.fabric.me.0, serial: space.serial() };
        let names: Vec<ObjectName> = private.iter().copied().map(ObjectName::from).collect();
        for member in members {
            let mut rest = names.as_slice();
            while rest.len() > LEAVING {
                let (objects, later) = rest.split_at(LEAVING);
                self.post(member, Leave { space: key, objects: objects.to_vec() }.into(), None);
                rest = later;
            }
            self.post(member, Leave { space: key, objects: rest.to_vec() }.into(), None);
        }
        for object in private {
            // The members have just been told.
            self.memory.stop_telling(object);
            self.detach_object(object);
        }
    }

    /// Whether a member of a space maps frames of this instance.
    pub(crate) fn lends_to_members(&self, space: SpaceId) -> bool {
        let everybody = self.fabric.settings.window.is_some();
        self.groups.led.get(&space).is_some_and(|group| {
            let mut members = group.members.iter();
            members.any(|member| everybody || self.fabric.pages.domains.is_sibling(*member))
        })
    }

    /// A member of spaces, or the home of replicas, is gone.
    pub(crate) fn leave_groups(&mut self, peer: InstanceId) {
        for group in self.groups.led.values_mut() {
            group.members.remove(&peer);
        }
    }

    fn take_turn(&mut self, space: SpaceId) -> bool {
        let Entry::Vacant(turn) = self.groups.changing.entry(space) else { return false };
        turn.insert(None);
        true
    }

    /// All but the place of the thread that changes a space have confirmed the change: what the thread
    /// does there comes after it anyway.
    pub(super) fn go_on_at(&mut self, space: SpaceId, tid: Tid, place: InstanceId) {
        self.groups.changing.insert(space, Some((tid, place)));
    }

    /// The space that a thread has changed, if that is not known to be so where it is to go on.
    fn unconfirmed(&self, tid: Tid) -> Option<SpaceId> {
        let space = self.thread_space(tid)?;
        let (owner, place) = (*self.groups.changing.get(&space)?)?;
        (owner == tid && self.away_place(tid) != Some(place)).then_some(space)
    }

    /// Lets the next change of a space begin.
    pub(crate) fn end_turn(&mut self, space: SpaceId) {
        self.groups.changing.remove(&space);
        self.wake(WaitKey::Turn(space));
    }
}

impl<A: Arch> Handle<A> {
    /// Waits until the last change that a thread has made is one wherever it may see the space.
    pub(crate) async fn confirm_change(&self, current: Current) {
        while let Some(space) = self.with(|s| s.unconfirmed(current.tid)) {
            let key = [WaitKey::Turn(space)];
            self.wait_for(current.task, &key, Nanos::NEVER, Interruptible::Not).await;
        }
    }

    /// Waits until nobody else changes a shared space, and keeps others from it until
    /// [`State::end_turn`].
    pub(crate) async fn take_turn(&self, current: Current, space: SpaceId) {
        while !self.with(|s| s.take_turn(space)) {
            let key = [WaitKey::Turn(space)];
            self.wait_for(current.task, &key, Nanos::NEVER, Interruptible::Not).await;
        }
    }
}
