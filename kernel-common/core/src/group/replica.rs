//! A member's replica of a space.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use maize_abi::pte::Access;
use maize_hal::Arch;
use maize_mm::{ObjectId, OutOfMemory, PageStore, SpaceId};
use maize_wire::InstanceId;

use super::{ObjectName, SpaceKey};
use crate::fabric::message::{AskArea, Gone, LEAVING, Leave, Message, NoArea};
use crate::handle::Handle;
use crate::state::State;
use crate::thread::Current;
use crate::wait::Interruptible;

/// A replica of another instance's space: the areas that threads here have touched.
#[derive(Debug)]
pub(crate) struct Replica {
    space: SpaceId,
    /// Objects that end with the space.
    private: BTreeSet<ObjectId>,
    /// Counts what the home had forgotten: an area that it told of before may be one of them.
    changes: u64,
    /// Numbers of pages whose futexes are served here.
    pub(super) futexes: BTreeSet<u64>,
}

impl Replica {
    pub(crate) const fn space(&self) -> SpaceId {
        self.space
    }

    /// Takes note of an object that ends with the space.
    pub(crate) fn own(&mut self, object: ObjectId) {
        self.private.insert(object);
    }

    /// The home has areas forgotten.
    pub(super) const fn note_change(&mut self) {
        self.changes += 1;
    }
}

impl<A: Arch> State<A> {
    /// The space that a member's threads run in, made with the first of them.
    pub(crate) fn replica(&mut self, key: SpaceKey) -> Result<SpaceId, OutOfMemory> {
        if let Some(replica) = self.groups.replicas.get(&key) {
            return Ok(replica.space);
        }
        let layout = self.replica_layout();
        let space = self.memory.create_space(&mut self.arch, layout)?;
        let (private, futexes) = (BTreeSet::new(), BTreeSet::new());
        self.groups.replicas.insert(key, Replica { space, private, changes: 0, futexes });
        Ok(space)
    }

    /// How many replicas there are.
    pub(crate) fn replicas(&self) -> usize {
        self.groups.replicas.len()
    }

    /// Whether this instance has a replica of the space.
    pub(crate) fn replica_space(&self, key: SpaceKey) -> Option<SpaceId> {
        self.groups.replicas.get(&key).map(Replica::space)
    }

    /// A space has ended at its home.
    pub(crate) fn leave_space(&mut self, from: InstanceId, leave: Leave) {
        if leave.space.home != from.0 {
            return;
        }
        self.drop_replica(leave.space);
        let own = leave.objects.into_iter().filter(|object| object.home() == from);
        self.drop_objects(own.map(ObjectId::from));
    }

    /// Objects have ended, their home says, although spaces that mapped them have not.
    pub(crate) fn forget_objects(&mut self, from: InstanceId, gone: Gone) {
        for object in gone.objects.into_iter().filter(|object| object.home() == from) {
            // Who waits for a page of it looks the address up again.
            self.end_pages(object.into());
            self.drop_objects([object.into()]);
        }
    }

    /// Tells the others which objects of this instance have ended that they may know.
    pub(crate) fn announce_ended_objects(&mut self) {
        let ended = self.memory.take_ended();
        for part in ended.chunks(LEAVING) {
            let objects: Vec<ObjectName> = part.iter().copied().map(ObjectName::from).collect();
            let peers: Vec<InstanceId> = self.fabric.usable_peers().collect();
            for peer in peers {
                self.post(peer, Gone { objects: objects.clone() }.into(), None);
            }
        }
        for object in ended {
            self.detach_object(object);
            self.groups.led.values_mut().for_each(|group| group.forget(object));
        }
    }

    /// The space of a replica has ended at its home, or the home has.
    fn drop_replica(&mut self, key: SpaceKey) {
        let Some(replica) = self.groups.replicas.remove(&key) else { return };
        self.memory.destroy_space(replica.space);
        self.drop_objects(replica.private);
    }

    /// Objects of another instance have ended with their space.
    fn drop_objects(&mut self, objects: impl IntoIterator<Item = ObjectId>) {
        for object in objects {
            self.detach_object(object);
            // The reference that the replica of the object was made with.
            self.memory.store(&mut self.arch).release(object);
        }
        self.wake_background();
    }

    /// Drops the replicas of a peer's spaces.
    pub(crate) fn drop_replicas_of(&mut self, peer: InstanceId) {
        let keys: Vec<SpaceKey> =
            self.groups.replicas.keys().filter(|key| key.home == peer.0).copied().collect();
        for key in keys {
            self.drop_replica(key);
        }
    }
}

impl<A: Arch> Handle<A> {
    /// Learns from a space's home which area is at `address`. If the home changes areas meanwhile nothing
    /// is learnt: the caller looks again.
    ///
    /// # Errors
    /// [`NoArea`], also if the home is gone.
    pub(crate) async fn fetch_area(
        &self,
        current: Current,
        key: SpaceKey,
        address: u64,
        access: Access,
    ) -> Result<(), NoArea> {
        let home = InstanceId(key.home);
        let changes = |s: &State<A>| s.groups.replicas.get(&key).map(|replica| replica.changes);
        let (id, known) = self.with(|s| {
            s.stats.fabric.areas_fetched += 1;
            let access = access.bits();
            let ask = |id| AskArea { id, space: key, address, access }.into();
            (s.ask(home, current.tid.0, ask), changes(s))
        });
        match self.answer(current.task, home, id, Interruptible::Not).await.as_deref() {
            Ok(Message::TellArea(told)) => {
                let record = told.area?;
                self.with(|s| if changes(s) == known { s.learn_area(key, &record) } else { Ok(()) })
            }
            Ok(_) | Err(_) => Err(NoArea::Fault),
        }
    }
}
