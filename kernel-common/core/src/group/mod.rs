//! Spaces that span instances: who is a member, replicas, and changes in order.

mod area;
mod change;
mod cut;
mod forget;
mod futexes;
mod replica;
mod turn;

use alloc::collections::{BTreeMap, BTreeSet};

use maize_mm::{ObjectId, SpaceId};
use maize_wire::InstanceId;
use serde::{Deserialize, Serialize};

pub(crate) use area::AreaRecord;
pub(crate) use change::{ordered, recall};
pub(crate) use cut::forget_cut;
pub(crate) use forget::Dropped;
pub(crate) use replica::Replica;

use crate::futex::Lending;
use crate::ids::Tid;

/// A space as other instances know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SpaceKey {
    /// The instance that orders its areas.
    pub(crate) home: u16,
    /// The home's number of it.
    pub(crate) serial: u64,
}

/// A memory object as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectName {
    home: u16,
    serial: u64,
}

impl ObjectName {
    /// The instance that orders it.
    const fn home(self) -> InstanceId {
        InstanceId(self.home)
    }
}

impl From<ObjectId> for ObjectName {
    fn from(id: ObjectId) -> ObjectName {
        ObjectName { home: id.home, serial: id.serial }
    }
}

impl From<ObjectName> for ObjectId {
    fn from(name: ObjectName) -> ObjectId {
        ObjectId { home: name.home, serial: name.serial }
    }
}

/// A space of this instance that others have replicas of.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Instances that a thread of the space was sent to.
    members: BTreeSet<InstanceId>,
    /// Objects that members know, and that end with the space.
    private: BTreeSet<ObjectId>,
    /// Futexes that members serve.
    lending: Lending,
}

impl Group {
    /// An object has ended.
    fn forget(&mut self, object: ObjectId) {
        self.private.remove(&object);
    }
}

/// All that is shared with other instances.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// Spaces whose home is here.
    led: BTreeMap<SpaceId, Group>,
    /// Spaces whose areas are being changed; and for whom and on which instance alone that is still to be
    /// confirmed.
    changing: BTreeMap<SpaceId, Option<(Tid, InstanceId)>>,
    /// Replicas of spaces of other instances.
    replicas: BTreeMap<SpaceKey, Replica>,
    /// Objects for ranges of the root image that replicas map.
    images: BTreeMap<(u64, u64), ObjectId>,
}

impl Groups {
    /// What a space of this instance is here, if `member` is one of its members.
    pub(crate) fn led_space(
        &self,
        key: SpaceKey,
        me: InstanceId,
        member: InstanceId,
    ) -> Option<SpaceId> {
        if key.home != me.0 {
            return None;
        }
        let mut led = self.led.iter();
        let (space, _) = led.find(|(space, group)| {
            space.serial() == key.serial && group.members.contains(&member)
        })?;
        Some(*space)
    }
}
