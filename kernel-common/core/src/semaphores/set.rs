//! One set of semaphores: what is in it, and who waits for it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::ipc::{IPC_NOWAIT, Permissions};
use maize_abi::semaphore::limit::{SEMMNI, SEMVMX};
use maize_abi::semaphore::{SEM_UNDO, Sembuf, SemidDs};

use super::Turn;
use crate::ids::Pid;
use crate::system_v::Object;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Semaphore {
    pub(super) value: u16,
    /// The process that has used it last.
    pub(super) pid: u32,
}

/// Operations that wait, or that did and whose caller does not know it yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) turn: Turn,
    pub(super) pid: Pid,
    pub(super) operations: Vec<Sembuf>,
    /// The one that cannot be carried out.
    pub(super) blocked: Sembuf,
    pub(super) outcome: Option<Result<(), Errno>>,
}

/// A set.
#[derive(Debug, Default)]
pub(crate) struct Set {
    pub(super) facts: SemidDs,
    pub(super) semaphores: Vec<Semaphore>,
    /// What each process has added and what is to be taken off again when it ends, or the reverse.
    pub(super) undo: BTreeMap<(Pid, u16), i32>,
    pub(super) waiting: Vec<Waiting>,
}

impl Object for Set {
    const MOST: usize = SEMMNI as usize;

    fn permissions(&self) -> &Permissions {
        &self.facts.permissions
    }

    fn permissions_mut(&mut self) -> &mut Permissions {
        &mut self.facts.permissions
    }
}

/// Why operations are not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// This one has to wait.
    Blocked(Sembuf),
    Failed(Errno),
}

/// What is asked of one semaphore of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Value,
    /// The process that has used it last.
    Pid,
    /// Calls that wait until its value is higher.
    WaitForMore,
    /// Calls that wait until it is 0.
    WaitForZero,
}

impl Set {
    pub(super) fn semaphore(&self, number: i32) -> Result<usize, Errno> {
        let number = usize::try_from(number).map_err(|_| Errno::EINVAL)?;
        if number < self.semaphores.len() { Ok(number) } else { Err(Errno::EINVAL) }
    }

    /// Carries out one operation. A set that has no such semaphore has been asked for it before.
    fn step(&mut self, pid: Pid, operation: Sembuf) -> Result<(), Stop> {
        let Sembuf { number, change, flags } = operation;
        let Some(semaphore) = self.semaphores.get_mut(usize::from(number)) else {
            return Err(Stop::Failed(Errno::EFBIG));
        };
        let result = i32::from(semaphore.value) + i32::from(change);
        if result < 0 || change == 0 && semaphore.value != 0 {
            let fails = u32::from(flags) & IPC_NOWAIT != 0;
            return Err(if fails { Stop::Failed(Errno::EAGAIN) } else { Stop::Blocked(operation) });
        }
        if result > SEMVMX {
            return Err(Stop::Failed(Errno::ERANGE));
        }
        if flags & SEM_UNDO != 0 {
            let known = self.undo.get(&(pid, number)).copied().unwrap_or(0);
            let undo = known - i32::from(change);
            if !(-SEMVMX - 1..=SEMVMX).contains(&undo) {
                return Err(Stop::Failed(Errno::ERANGE));
            }
            self.set_undo(pid, number, undo);
        }
        self.semaphores[usize::from(number)].value = result as u16;
        Ok(())
    }

    fn set_undo(&mut self, pid: Pid, number: u16, undo: i32) {
        if undo == 0 {
            self.undo.remove(&(pid, number));
        } else {
            self.undo.insert((pid, number), undo);
        }
    }

    /// Carries out all operations or none.
    pub(super) fn attempt(
        &mut self,
        pid: Pid,
        operations: &[Sembuf],
        now: i64,
    ) -> Result<(), Stop> {
        for (done, operation) in operations.iter().enumerate() {
            if let Err(stop) = self.step(pid, *operation) {
                for back in operations[..done].iter().rev() {
                    let number = back.number;
                    if let Some(semaphore) = self.semaphores.get_mut(usize::from(number)) {
                        semaphore.value =
                            semaphore.value.wrapping_add_signed(back.change.wrapping_neg());
                    }
                    if back.flags & SEM_UNDO != 0 {
                        let known = self.undo.get(&(pid, number)).copied().unwrap_or(0);
                        self.set_undo(pid, number, known + i32::from(back.change));
                    }
                }
                return Err(stop);
            }
        }
        for operation in operations {
            if let Some(semaphore) = self.semaphores.get_mut(usize::from(operation.number)) {
                semaphore.pid = pid.0;
            }
        }
        self.facts.times[0] = now;
        Ok(())
    }

    /// Tries again what waits, those first that only wait for zeros. Returns whose waits have ended.
    pub(super) fn settle(&mut self, now: i64) -> Vec<Turn> {
        let mut ended = Vec::new();
        let mut waiting = core::mem::take(&mut self.waiting);
        loop {
            let mut altered = false;
            for changing in [false, true] {
                for wait in waiting.iter_mut().filter(|wait| wait.outcome.is_none()) {
                    let changes = changes(&wait.operations);
                    if changes != changing || altered {
                        continue;
                    }
                    match self.attempt(wait.pid, &wait.operations, now) {
                        Err(Stop::Blocked(operation)) => {
                            wait.blocked = operation;
                            continue;
                        }
                        Err(Stop::Failed(errno)) => wait.outcome = Some(Err(errno)),
                        Ok(()) => {
                            wait.outcome = Some(Ok(()));
                            altered = changes;
                        }
                    }
                    ended.push(wait.turn);
                }
            }
            if !altered {
                break;
            }
        }
        self.waiting = waiting;
        ended
    }

    /// A value is given, whatever it was: nothing is undone of it any more.
    pub(super) fn give(&mut self, at: usize, value: u16, by: Pid) {
        self.semaphores[at] = Semaphore { value, pid: by.0 };
        self.undo.retain(|(_, number), _| usize::from(*number) != at);
    }

    /// A process has ended. Returns whether that has changed something.
    pub(super) fn undo(&mut self, pid: Pid, now: i64) -> bool {
        self.waiting.retain(|wait| wait.pid != pid);
        let of_it = (pid, 0)..=(pid, u16::MAX);
        let undone: Vec<_> = self.undo.range(of_it).map(|((_, number), n)| (*number, *n)).collect();
        for &(number, undo) in &undone {
            self.undo.remove(&(pid, number));
            if let Some(semaphore) = self.semaphores.get_mut(usize::from(number)) {
                let value = (i32::from(semaphore.value) + undo).clamp(0, SEMVMX);
                *semaphore = Semaphore { value: value as u16, pid: pid.0 };
                self.facts.times[0] = now;
            }
        }
        !undone.is_empty()
    }

    fn waiting_for(&self, number: usize, is_so: impl Fn(i16) -> bool) -> u64 {
        let waits = self.waiting.iter().filter(|wait| wait.outcome.is_none());
        let here = waits.filter(|wait| usize::from(wait.blocked.number) == number);
        here.filter(|wait| is_so(wait.blocked.change)).count() as u64
    }

    pub(crate) const fn facts(&self) -> &SemidDs {
        &self.facts
    }

    /// What is asked of one semaphore.
    ///
    /// # Errors
    /// `EINVAL` if there is no such one.
    pub(crate) fn fact(&self, number: i32, fact: Fact) -> Result<u64, Errno> {
        let at = self.semaphore(number)?;
        let Semaphore { value, pid } = self.semaphores[at];
        Ok(match fact {
            Fact::Value => u64::from(value),
            Fact::Pid => u64::from(pid),
            Fact::WaitForMore => self.waiting_for(at, |change| change < 0),
            Fact::WaitForZero => self.waiting_for(at, |change| change == 0),
        })
    }

    /// All values.
    pub(crate) fn values(&self) -> impl Iterator<Item = u16> {
        self.semaphores.iter().map(|semaphore| semaphore.value)
    }
}

/// Whether any of these changes a value.
pub(super) fn changes(operations: &[Sembuf]) -> bool {
    operations.iter().any(|operation| operation.change != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Pid = Pid(7);
    const OTHER: Pid = Pid(8);

    fn set(values: &[u16]) -> Set {
        let semaphores = values.iter().map(|value| Semaphore { value: *value, pid: 0 }).collect();
        Set { semaphores, ..Set::default() }
    }

    const fn add(number: u16, change: i16) -> Sembuf {
        Sembuf { number, change, flags: 0 }
    }

    const fn undone(number: u16, change: i16) -> Sembuf {
        Sembuf { flags: SEM_UNDO, ..add(number, change) }
    }

    fn values(set: &Set) -> Vec<u16> {
        set.values().collect()
    }

    fn wait(set: &mut Set, turn: u64, pid: Pid, operations: &[Sembuf]) {
        let Err(Stop::Blocked(blocked)) = set.attempt(pid, operations, 0) else { panic!() };
        let (turn, operations) = (Turn(turn), operations.to_vec());
        set.waiting.push(Waiting { turn, pid, operations, blocked, outcome: None });
    }

    #[test]
    fn all_operations_are_carried_out_or_none() {
        let mut set = set(&[1, 0, 5]);
        let blocked = add(1, -1);
        let all = [undone(2, -5), add(0, 2), blocked];
        assert_eq!(set.attempt(ONE, &all, 9), Err(Stop::Blocked(blocked)));
        let high = [undone(0, 3), add(2, SEMVMX as i16)];
        assert_eq!(set.attempt(ONE, &high, 9), Err(Stop::Failed(Errno::ERANGE)));
        assert_eq!((values(&set), set.undo.len(), set.facts.times[0]), ([1, 0, 5].into(), 0, 0));
        // Each sees what those before it have done.
        assert_eq!(set.attempt(ONE, &[add(1, 0), add(1, 2), add(1, -1), add(0, -1)], 9), Ok(()));
        assert_eq!((values(&set), set.facts.times[0]), ([0, 1, 5].into(), 9));
        assert_eq!(set.fact(1, Fact::Pid), Ok(7));
        assert_eq!(set.fact(3, Fact::Value), Err(Errno::EINVAL));
        assert_eq!(set.attempt(ONE, &[add(0, i16::MIN)], 9), Err(Stop::Blocked(add(0, i16::MIN))));
    }

    #[test]
    fn what_waits_is_carried_out_in_turn() {
        let mut set = set(&[0, 1]);
        wait(&mut set, 0, ONE, &[add(0, -2)]);
        wait(&mut set, 1, ONE, &[add(0, -1), add(1, 1)]);
        wait(&mut set, 2, OTHER, &[add(1, 0)]);
        wait(&mut set, 3, OTHER, &[add(0, -1)]);
        assert_eq!(set.fact(0, Fact::WaitForMore), Ok(3));
        assert_eq!(
            (set.fact(1, Fact::WaitForZero), set.fact(0, Fact::WaitForZero)),
            (Ok(1), Ok(0))
        );
        set.attempt(ONE, &[add(0, 1)], 0).unwrap();
        assert_eq!(set.settle(0), [Turn(1)]);
        assert_eq!(values(&set), [0, 2]);
        set.attempt(ONE, &[add(0, 3)], 0).unwrap();
        assert_eq!(set.settle(0), [Turn(0), Turn(3)]);
        set.attempt(ONE, &[add(1, -2)], 0).unwrap();
        assert_eq!(set.settle(0), [Turn(2)]);
        assert!(set.waiting.iter().all(|wait| wait.outcome == Some(Ok(()))));
        assert_eq!((values(&set), set.fact(0, Fact::WaitForMore)), ([0, 0].into(), Ok(0)));
    }

    #[test]
    fn what_a_process_did_is_undone_once() {
        let mut set = set(&[3, 0, 0]);
        set.attempt(ONE, &[undone(0, -3), undone(1, 4), add(2, 1)], 0).unwrap();
        set.attempt(OTHER, &[undone(1, -2)], 0).unwrap();
        wait(&mut set, 0, ONE, &[add(0, -9)]);
        assert!(set.undo(ONE, 5) && !set.undo(ONE, 6));
        // It cannot be less than nothing.
        assert_eq!((values(&set), set.facts.times[0], set.waiting.len()), ([3, 0, 1].into(), 5, 0));
        set.give(1, 9, ONE);
        assert!(!set.undo(OTHER, 7) && set.undo.is_empty());
    }
}
