//! Whose futexes a member serves, see [`crate::futex`].

use alloc::vec::Vec;

use maize_mm::SpaceId;
use maize_wire::InstanceId;

use super::{Groups, SpaceKey};
use crate::futex::{Holder, Lending};

/// Pages whose futexes a replica serves at the most, far more than a home lends. Calls about any other are
/// the home's.
const MOST: usize = 1024;

impl Groups {
    /// What is known of the futexes of a space of this instance, if it has members.
    pub(crate) fn lending(&mut self, space: SpaceId) -> Option<&mut Lending> {
        self.led.get_mut(&space).map(|group| &mut group.lending)
    }

    /// Who has the futexes of a page of a space of this instance, if that is not this one.
    pub(crate) fn futex_holder(&self, space: SpaceId, page: u64) -> Option<Holder> {
        self.led.get(&space)?.lending.holder(page)
    }

    /// Takes back what futexes an instance had that is gone; those that it was told to give back.
    pub(crate) fn futexes_of_the_dead(&mut self, peer: InstanceId) -> Vec<(SpaceId, u64)> {
        let led = self.led.iter_mut();
        led.flat_map(|(space, group)| {
            group.lending.holder_died(peer).into_iter().map(|page| (*space, page))
        })
        .collect()
    }

    /// At a member: the home has lent it the futexes of these pages.
    pub(crate) fn serve_futexes(&mut self, key: SpaceKey, pages: &[u64]) {
        let Some(replica) = self.replicas.get_mut(&key) else { return };
        let room = MOST.saturating_sub(replica.futexes.len());
        replica.futexes.extend(pages.iter().take(room));
    }

    /// Whether a member serves the futexes of a page.
    pub(crate) fn serves_futexes(&self, key: SpaceKey, page: u64) -> bool {
        self.replicas.get(&key).is_some_and(|replica| replica.futexes.contains(&page))
    }

    /// Ends that; the space that they were served in.
    pub(crate) fn stop_serving(&mut self, key: SpaceKey, page: u64) -> Option<SpaceId> {
        let replica = self.replicas.get_mut(&key)?;
        replica.futexes.remove(&page).then_some(replica.space())
    }
}
