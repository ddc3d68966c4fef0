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

impl<A: Arch> State<A> {
    /// The cores that threads can be sent to now, one bit each.
    fn reachable(&self) -> u64 {
        let peers = self.fabric.usable_peers().chain([self.fabric.me]);
        peers.map(|peer| 1_u64.checked_shl(u32::from(peer.0)).unwrap_or(0)).sum::<u64>()
            & self.cpu_mask()
    }

    /// The cores of an instruction set that threads can be sent to now.
    pub(crate) fn cores_of_isa(&self, isa: IsaKind) -> u64 {
        let peers = self.fabric.usable_peers().chain([self.fabric.me]);
        let cores = peers.filter(|peer| self.isa_of(*peer) == Some(isa)).map(core_bit);
        cores.fold(0, |all, one| all | one) & self.cpu_mask()
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
        let (here, isa) = (core_bit(thread.place), thread.isa());
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
        let cores = match &self.fabric.settings.placement {
            _ if !self.fabric.is_joined() => return,
            Placement::Local => return,
            Placement::Spread => self.reachable(),
            Placement::List(list) => {
                let bit = |core: &u32| 1_u64.checked_shl(*core).unwrap_or(0);
                list.iter().map(bit).fold(0, |all, one| all | one) & self.reachable()
            }
        };
        let cores = cores & self.affinity(tid);
        if cores == 0 {
            return;
        }
        self.fabric.next_place = self.fabric.next_place.wrapping_add(1);
        let place = nth_core(cores, self.fabric.next_place);
        self.send_to(tid, place);
    }

    /// Moves a thread that is at home to a random other core of its mask, if it is time.
    pub(crate) fn force_move(&mut self, tid: Tid) {
        let every = self.fabric.settings.migrate_every;
        if every == 0 || !self.fabric.is_joined() {
            return;
        }
        self.fabric.traps = self.fabric.traps.wrapping_add(1);
        if !self.fabric.traps.is_multiple_of(every) {
            return;
        }
        let place = self.threads.get(&tid).map_or(self.fabric.me, |thread| thread.place);
        let here = 1_u64.checked_shl(u32::from(place.0)).unwrap_or(0);
        let cores = self.cores_of(tid) & self.affinity(tid) & !here;
        if cores == 0 {
            return;
        }
        let mut random = [0; 4];
        self.arch.entropy(&mut random);
        let place = nth_core(cores, u32::from_le_bytes(random));
        self.send_to(tid, place);
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

/// The core of an instance in a mask.
fn core_bit(instance: InstanceId) -> u64 {
    1_u64.checked_shl(u32::from(instance.0)).unwrap_or(0)
}

/// Core `n` of a mask that is not empty, counted round and round.
pub(crate) fn nth_core(cores: u64, n: u32) -> InstanceId {
    let mut rest = cores;
    for _ in 0..n % cores.count_ones().max(1) {
        rest &= rest - 1;
    }
    InstanceId(rest.trailing_zeros() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_of_a_mask_take_turns() {
        let places: Vec<u16> = (0..5).map(|n| nth_core(0b10110, n).0).collect();
        assert_eq!(places, [1, 2, 4, 1, 2]);
    }
}
