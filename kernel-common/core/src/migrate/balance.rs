//! Balancing: threads go from crowded instances to idle ones, by measured load.
//!
//! Every instance measures how many threads want to run on it and tells the others. A home moves
//! its own threads: only it knows their masks. It acts where moving one thread makes the difference
//! smaller for certain, and then waits until the measured loads show what it did; so a thread does
//! not go back and forth.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use maize_hal::{Arch, Nanos};
use maize_wire::InstanceId;

use super::place::core_bit;
use crate::fabric::message::{ASLEEP, Load};
use crate::ids::Tid;
use crate::state::State;
use crate::timer::TimerAction;

/// Loads are counted in sixteenths of a thread.
const THREAD: u32 = 16;

/// The difference of two loads from which on a thread is moved: after the move it is smaller than
/// before, whichever way round, and too small for a move back.
const WORTH_IT: u32 = 3 * THREAD / 2;

/// Periods between two decisions of a home: by then averages follow the last one.
const SETTLING: u32 = 4;

/// Periods that a thread stays where it was moved to.
const STAY: u64 = 16;

/// What an instance knows of loads.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    /// The average number of threads that want to run here, in sixteenths.
    own: u32,
    /// What the others have said last.
    others: BTreeMap<InstanceId, Load>,
    /// What the others were told last.
    told: BTreeMap<InstanceId, Load>,
    /// Periods since the start.
    periods: u64,
    /// Periods until the next decision.
    settling: u32,
    /// When threads were moved last, in periods.
    moved: BTreeMap<Tid, u64>,
}

impl Balance {
    /// A peer is gone; who comes in its place is told anew.
    pub(crate) fn peer_died(&mut self, peer: InstanceId) {
        self.others.remove(&peer);
        self.told.remove(&peer);
    }
}

/// Which of some threads, by where they are, go where. `loads` are those of the instances that
/// threads can be sent to; each candidate has a mask of such instances.
fn decide(
    loads: &mut BTreeMap<InstanceId, u32>,
    candidates: &mut BTreeMap<Tid, (InstanceId, u64)>,
) -> BTreeMap<Tid, InstanceId> {
    let mut moves = BTreeMap::new();
    loop {
        let load = |of: InstanceId| loads.get(&of).copied().unwrap_or(0);
        let best = candidates.iter().filter_map(|(tid, (place, mask))| {
            let allowed = |to: &InstanceId| *mask & core_bit(to.0) != 0;
            let to = loads.keys().copied().filter(allowed).min_by_key(|to| (load(*to), *to))?;
            Some((load(*place).saturating_sub(load(to)), *tid, *place, to))
        });
        let best = best.max_by_key(|(gain, tid, ..)| (*gain, core::cmp::Reverse(*tid)));
        let Some((gain, tid, from, to)) = best else { return moves };
        if gain < WORTH_IT {
            return moves;
        }
        candidates.remove(&tid);
        moves.insert(tid, to);
        if let Some(load) = loads.get_mut(&from) {
            *load = load.saturating_sub(THREAD);
        }
        *loads.entry(to).or_default() += THREAD;
    }
}

impl<A: Arch> State<A> {
    /// Lets a period begin, if balancing is asked for.
    pub(crate) fn begin_balancing(&mut self) {
        let period = self.fabric.settings.balance_every;
        if period != Nanos(0) {
            let at = self.now() + period;
            self.timers.add(at, TimerAction::Balance);
        }
    }

    /// A period has passed.
    pub(crate) fn balance(&mut self) {
        self.begin_balancing();
        let wanting = self.runnable() * THREAD;
        let balance = &mut self.fabric.balance;
        balance.periods += 1;
        balance.own = (balance.own + wanting).div_ceil(2);
        let sixteenths = balance.own;
        let peers: Vec<InstanceId> = self.fabric.usable_peers().collect();
        for peer in peers {
            let load = Load { sixteenths, asleep: self.asleep_here(peer) };
            if self.fabric.balance.told.insert(peer, load.clone()).as_ref() != Some(&load) {
                self.post(peer, load.into(), None);
            }
        }
        match self.fabric.balance.settling.checked_sub(1) {
            Some(rest) => self.fabric.balance.settling = rest,
            None => self.move_some(),
        }
    }

    /// A peer has told its load.
    pub(crate) fn on_load(&mut self, from: InstanceId, mut load: Load) {
        // More than there can be threads is as good as that many.
        load.sixteenths = load.sixteenths.min(1 << 24);
        load.asleep.truncate(ASLEEP);
        self.fabric.balance.others.insert(from, load);
    }

    /// Threads of a peer's that wait here for futexes.
    fn asleep_here(&self, peer: InstanceId) -> Vec<u32> {
        let of_peer = |tid: &Tid| {
            let thread = self.threads.get(tid);
            thread.and_then(|thread| thread.guest).is_some_and(|guest| guest.home == peer)
        };
        let asleep = self.futexes.waiting().filter(of_peer).map(|tid| tid.0);
        asleep.take(ASLEEP).collect()
    }

    /// Whether the instance that a thread is on has said that it sleeps there.
    fn sleeps_away(&self, tid: Tid, place: InstanceId) -> bool {
        let there = self.fabric.balance.others.get(&place);
        there.is_some_and(|load| load.asleep.contains(&tid.0))
    }

    /// Threads that run user code here or would if they had the processor.
    fn runnable(&self) -> u32 {
        let interrupted = self.threads.values().filter(|thread| thread.trap.is_some()).count();
        (self.run_queue.len() + interrupted) as u32
    }

    fn move_some(&mut self) {
        let me = self.fabric.me;
        let mut loads: BTreeMap<InstanceId, u32> = self
            .fabric
            .usable_peers()
            .map(|peer| (peer, self.fabric.balance.others.get(&peer).map_or(0, |l| l.sixteenths)))
            .collect();
        loads.insert(me, self.fabric.balance.own);
        let now = self.fabric.balance.periods;
        self.fabric.balance.moved.retain(|_, at| now - *at < STAY);
        let mut candidates = BTreeMap::new();
        for (tid, thread) in &self.threads {
            let sleeps = match thread.away {
                None => self.waits.is_waiting(thread.task),
                Some(place) => self.sleeps_away(*tid, place),
            };
            if thread.guest.is_none()
                && !sleeps
                && !self.fabric.balance.moved.contains_key(tid)
                && !self.is_stopped(*tid)
            {
                let place = thread.bound.unwrap_or(thread.place);
                candidates.insert(*tid, (place, self.affinity(*tid)));
            }
        }
        let moves = decide(&mut loads, &mut candidates);
        if moves.is_empty() {
            return;
        }
        self.fabric.balance.settling = SETTLING;
        for (tid, to) in moves {
            self.fabric.balance.moved.insert(tid, now);
            self.stats.fabric.balanced += 1;
            if let Some(thread) = self.threads.get(&tid) {
                log::debug!(
                    "thread {tid} goes from {} to {to}, which has less to do",
                    thread.place
                );
            }
            self.send_to(tid, to);
            self.interrupt(tid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(loads: &[u32], threads: &[(u16, u64)]) -> BTreeMap<Tid, InstanceId> {
        let mut loads =
            loads.iter().zip(0..).map(|(load, n)| (InstanceId(n), load * THREAD)).collect();
        let threads = threads.iter().zip(1..);
        let mut candidates =
            threads.map(|((place, mask), tid)| (Tid(tid), (InstanceId(*place), *mask))).collect();
        decide(&mut loads, &mut candidates)
    }

    #[test]
    fn a_crowd_is_spread_evenly() {
        let moves = moves(&[8, 0, 0, 0], &[(0, 0xf); 8]);
        for to in 1..4 {
            assert_eq!(moves.values().filter(|place| place.0 == to).count(), 2);
        }
        assert_eq!(moves.len(), 6);
    }

    #[test]
    fn a_difference_of_one_moves_nothing() {
        assert!(moves(&[3, 2], &[(0, 3), (0, 3), (0, 3), (1, 3), (1, 3)]).is_empty());
        assert!(moves(&[1, 0], &[(0, 3)]).is_empty());
    }

    #[test]
    fn masks_are_kept() {
        assert!(moves(&[4, 0], &[(0, 1); 4]).is_empty());
        let moves = moves(&[4, 0, 0], &[(0, 1), (0, 0b101), (0, 0b101), (0, 1)]);
        assert!(!moves.is_empty() && moves.values().all(|to| to.0 == 2));
    }

    #[test]
    fn nothing_moves_back_after_a_move() {
        for crowd in 2..12_u32 {
            let threads: Vec<_> = (0..crowd).map(|_| (0, 3)).collect();
            let first = moves(&[crowd, 0], &threads);
            let there = first.len() as u32;
            let mut after: Vec<(u16, u64)> = threads[there as usize..].to_vec();
            after.extend((0..there).map(|_| (1, 3)));
            assert!(moves(&[crowd - there, there], &after).is_empty());
        }
    }
}
