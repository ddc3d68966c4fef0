//! Where threads run: masks, placement of new threads, forced moves.

use alloc::vec::Vec;

use maize_abi::{Errno, IsaKind};
use maize_hal::Arch;
use maize_wire::InstanceId;

use crate::ids::Tid;
use crate::state::State;

/// Where new threads go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Where their creators are.
    #[default]
    Local,
    /// One core after the other.
    Spread,
    /// One core of this list after the other.
    List(Vec<u32>),
}

impl Placement {
    /// Those of the usable cores that take turns; none if nothing is to go anywhere.
    pub(crate) fn cores(&self, usable: u64) -> u64 {
        match self {
            Placement::Local => 0,
            Placement::Spread => usable,
            Placement::List(list) => usable & mask(list.iter().copied()),
        }
    }
}

impl<A: Arch> State<A> {
    /// The cores that threads can be sent to now, one bit each.
    fn reachable(&self) -> u64 {
        let peers = self.fabric.usable_peers().chain([self.fabric.me]);
        mask(peers.map(|peer| u32::from(peer.0))) & self.cpu_mask()
    }

    /// The cores of an instruction set that threads can be sent to now.
    pub(crate) fn cores_of_isa(&self, isa: IsaKind) -> u64 {
        let peers = self.fabric.usable_peers().chain([self.fabric.me]);
        let peers = peers.filter(|peer| self.isa_of(*peer) == Some(isa));
        mask(peers.map(|peer| u32::from(peer.0))) & self.cpu_mask()
    }

    /// The cores that a thread can run on now, or move to.
    pub(crate) fn cores_of(&self, tid: Tid) -> u64 {
        if !self.fabric.is_joined() {
            return self.cpu_mask();
        }
        match self.threads.get(&tid) {
            Some(thread) if self.pair(tid).is_none() => self.cores_of_isa(thread.isa()),
            _ => self.reachable(),
        }
    }

    /// The mask that a thread was given, without cores of instruction sets that its program has not.
    pub(crate) fn affinity(&self, tid: Tid) -> u64 {
        let others = self.reachable() & !self.cores_of(tid);
        self.threads.get(&tid).map_or(0, |thread| thread.affinity) & self.cpu_mask() & !others
    }

    /// Sets a thread's mask and moves it if it is outside.
    ///
    /// # Errors
    /// `EINVAL` if no core in the mask can run the thread, `ESRCH`.
    pub(crate) fn set_affinity(&mut self, tid: Tid, mask: u64) -> Result<(), Errno> {
        let usable = mask & self.cores_of(tid);
        if usable == 0 {
            return Err(Errno::EINVAL);
        }
        let me = self.fabric.me;
        let thread = self.threads.get_mut(&tid).ok_or(Errno::ESRCH)?;
        thread.affinity = mask;
        if !self.fabric.is_joined() {
            return Ok(());
        }
        let (here, isa) = (core_bit(thread.place.0), thread.isa());
        thread.bound = None;
        if usable & here == 0 {
            // A core of its instruction set, where it can be at once, before one of another.
            let near = usable & self.cores_of_isa(isa);
            let cores = if near == 0 { usable } else { near };
            let place = InstanceId(cores.trailing_zeros() as u16);
            log::debug!("thread {tid} goes from {me} to {place}");
            self.send_to(tid, place);
        }
        self.interrupt(tid);
        Ok(())
    }

    /// The core that a thread is on.
    pub(crate) fn cpu_of(&self, tid: Tid) -> u32 {
        match self.threads.get(&tid) {
            Some(thread) if thread.guest.is_none() && self.fabric.is_joined() => {
                u32::from(thread.last_place.0)
            }
            _ => self.cpu,
        }
    }

    /// A thread goes on at home.
    pub(crate) fn call_home(&mut self, tid: Tid) {
        let me = self.fabric.me;
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.place = me;
            self.stats.fabric.called_home += 1;
        }
    }

    /// Places a thread that has just been made.
    pub(crate) fn place_new_thread(&mut self, tid: Tid) {
        if !self.fabric.is_joined() {
            return;
        }
        let usable = self.reachable() & self.affinity(tid);
        let cores = self.fabric.settings.placement.cores(usable);
        if let Some(place) = next_core(cores, &mut self.fabric.next_place) {
            self.send_to(tid, place);
        }
    }

    /// Moves a thread that is at home to a random other core of its mask, if it is time.
    pub(crate) fn force_move(&mut self, tid: Tid) {
        let every = self.fabric.settings.migrate_every;
        if !self.fabric.is_joined() || !is_nth(&mut self.fabric.traps, every) {
            return;
        }
        let place = self.threads.get(&tid).map_or(self.fabric.me, |thread| thread.place);
        let cores = self.cores_of(tid) & self.affinity(tid) & !core_bit(place.0);
        if let Some(place) = self.random_core(cores) {
            self.send_to(tid, place);
        }
    }

    /// A random core of a mask; `None` if that is empty.
    pub(crate) fn random_core(&mut self, cores: u64) -> Option<InstanceId> {
        let mut random = [0; 4];
        self.arch.entropy(&mut random);
        nth_core(cores, u32::from_le_bytes(random))
    }

    /// Makes an instance the thread's place, now or at its next migration point.
    pub(super) fn send_to(&mut self, tid: Tid, place: InstanceId) {
        let isa = self.isa_of(place);
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if isa == Some(thread.isa()) {
            thread.bound = None;
            thread.place = place;
        } else {
            self.bind(tid, place);
        }
    }
}

/// A core in a mask.
pub(crate) fn core_bit(core: impl Into<u32>) -> u64 {
    1_u64.checked_shl(core.into()).unwrap_or(0)
}

fn mask(cores: impl Iterator<Item = u32>) -> u64 {
    cores.fold(0, |all, core| all | core_bit(core))
}

/// Counts one more; whether it is one of every so many, which with 0 none is.
pub(crate) fn is_nth(count: &mut u32, every: u32) -> bool {
    *count = count.wrapping_add(1);
    every != 0 && count.is_multiple_of(every)
}

/// The core of a mask whose turn it is, counted in `turn`; `None` if it is empty.
pub(crate) fn next_core(cores: u64, turn: &mut u32) -> Option<InstanceId> {
    let next = turn.wrapping_add(1);
    let core = nth_core(cores, next)?;
    *turn = next;
    Some(core)
}

/// Core `n` of a mask, counted round and round; `None` if it is empty.
fn nth_core(cores: u64, n: u32) -> Option<InstanceId> {
    let mut rest = cores;
    for _ in 0..n.checked_rem(cores.count_ones())? {
        rest &= rest - 1;
    }
    Some(InstanceId(rest.trailing_zeros() as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placements_choose_of_the_usable_cores() {
        assert_eq!(Placement::Local.cores(0b1011), 0);
        assert_eq!(Placement::Spread.cores(0b1011), 0b1011);
        assert_eq!(Placement::List([1, 2, 3, 64].into()).cores(0b1011), 0b1010);
    }

    #[test]
    fn one_of_every_so_many() {
        let mut count = 0;
        let of_three: [bool; 4] = core::array::from_fn(|_| is_nth(&mut count, 3));
        assert_eq!(of_three, [false, false, true, false]);
        assert!(!is_nth(&mut count, 0));
    }

    #[test]
    fn cores_of_a_mask_take_turns() {
        let mut turn = u32::MAX;
        let mut next = |mask| next_core(mask, &mut turn).map(|core| core.0);
        let places = [0b10110, 0b10110, 0, 0b10110, 0b10110].map(&mut next);
        assert_eq!(places, [Some(1), Some(2), None, Some(4), Some(1)]);
    }
}
