//! Semaphores of System V, in sets that programs find by a number or a key.
//!
//! All operations of a call are carried out at once, or none is. Those that have to wait are tried again
//! in the order in which they came, by whoever changes the set: what somebody waits for is never seen
//! and then taken by another.

mod set;

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::ipc::Permissions;
use maize_abi::semaphore::limit::{SEMMSL, SEMVMX};
use maize_abi::semaphore::{Sembuf, SemidDs};
use maize_hal::Arch;

pub(crate) use set::Fact;
use set::{Semaphore, Set, Stop, Waiting, changes};

use crate::ids::Pid;
use crate::state::State;
use crate::system_v::Objects;
use crate::wait::WaitKey;

/// The number of a wait for semaphores. The earlier has the lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Turn(u64);

/// All sets.
#[derive(Debug, Default)]
pub(crate) struct Semaphores {
    sets: Objects<Set>,
    turns: u64,
}

impl Semaphores {
    pub(crate) const fn sets(&self) -> &Objects<Set> {
        &self.sets
    }
}

/// Whether operations that still wait are to do so no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivesUp {
    No,
    Yes,
}

impl<A: Arch> State<A> {
    /// The set of a key, or a new one: `semget`.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `EINVAL` for a number of semaphores that it cannot have or has not, `ENOSPC`,
    /// `ENOMEM`.
    pub(crate) fn find_semaphores(
        &mut self,
        (key, count, flags): (i32, i32, u32),
    ) -> Result<u64, Errno> {
        let count = u32::try_from(count).ok().filter(|count| *count <= SEMMSL);
        let count = count.ok_or(Errno::EINVAL)? as usize;
        if let Some((id, set)) = self.semaphores.sets.find(key, flags)? {
            let enough = count <= set.semaphores.len();
            return if enough { Ok(id as u64) } else { Err(Errno::EINVAL) };
        }
        if count == 0 {
            return Err(Errno::EINVAL);
        }
        let room = self.semaphores.sets.check_room()?;
        let mut semaphores = Vec::new();
        self.memory.heap_room(&mut semaphores, count).map_err(|_| Errno::ENOMEM)?;
        semaphores.resize(count, Semaphore::default());
        let facts = SemidDs {
            permissions: Permissions::new(key, flags),
            times: [0, self.seconds()],
            count: count as u64,
        };
        let set = Set { facts, semaphores, ..Set::default() };
        Ok(self.semaphores.sets.add(room, set) as u64)
    }

    /// Carries operations out, or has them wait: `semop`. Returns the wait.
    ///
    /// # Errors
    /// `EINVAL` if there is no such set, `EFBIG` if it has no such semaphore, `EAGAIN`, `ERANGE`.
    pub(crate) fn operate_semaphores(
        &mut self,
        id: i32,
        by: Pid,
        operations: &[Sembuf],
    ) -> Result<Option<Turn>, Errno> {
        let now = self.seconds();
        let set = self.semaphores.sets.get_mut(id)?;
        if operations.iter().any(|it| usize::from(it.number) >= set.semaphores.len()) {
            return Err(Errno::EFBIG);
        }
        match set.attempt(by, operations, now) {
            Ok(()) => {
                if changes(operations) {
                    self.settle_semaphores(id)?;
                }
                Ok(None)
            }
            Err(Stop::Failed(errno)) => Err(errno),
            Err(Stop::Blocked(blocked)) => {
                let turn = Turn(self.semaphores.turns);
                self.semaphores.turns += 1;
                let operations = operations.to_vec();
                set.waiting.push(Waiting { turn, pid: by, operations, blocked, outcome: None });
                Ok(Some(turn))
            }
        }
    }

    fn settle_semaphores(&mut self, id: i32) -> Result<(), Errno> {
        let now = self.seconds();
        for turn in self.semaphores.sets.get_mut(id)?.settle(now) {
            self.wake(WaitKey::Semaphores(turn));
        }
        Ok(())
    }

    /// What has become of operations that waited; `None` if they still do. `gives_up` takes them back
    /// then.
    ///
    /// # Errors
    /// `EIDRM` if the set was removed, and the operations' own.
    pub(crate) fn end_semaphore_wait(
        &mut self,
        id: i32,
        turn: Turn,
        gives_up: GivesUp,
    ) -> Result<Option<()>, Errno> {
        let set = self.semaphores.sets.get_mut(id).map_err(|_| Errno::EIDRM)?;
        let at = set.waiting.iter().position(|wait| wait.turn == turn).ok_or(Errno::EIDRM)?;
        let outcome = set.waiting[at].outcome;
        if outcome.is_some() || gives_up == GivesUp::Yes {
            set.waiting.remove(at);
        }
        outcome.transpose()
    }

    /// A process has ended: what it has done is undone, as far as it asked for that.
    pub(crate) fn undo_semaphores(&mut self, pid: Pid) {
        let now = self.seconds();
        let mut ended = Vec::new();
        for set in self.semaphores.sets.values_mut() {
            if set.undo(pid, now) {
                ended.extend(set.settle(now));
            }
        }
        for turn in ended {
            self.wake(WaitKey::Semaphores(turn));
        }
    }

    /// A set, to be asked about.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub(crate) fn semaphore_set(&self, id: i32) -> Result<&Set, Errno> {
        self.semaphores.sets.get(id)
    }

    /// `SETVAL`.
    ///
    /// # Errors
    /// `EINVAL` if there is no such set or semaphore, `ERANGE`.
    pub(crate) fn set_semaphore(
        &mut self,
        (id, number): (i32, i32),
        by: Pid,
        value: i32,
    ) -> Result<(), Errno> {
        if !(0..=SEMVMX).contains(&value) {
            return Err(Errno::ERANGE);
        }
        let now = self.seconds();
        let set = self.semaphores.sets.get_mut(id)?;
        let at = set.semaphore(number)?;
        set.give(at, value as u16, by);
        set.facts.times[1] = now;
        self.settle_semaphores(id)
    }

    /// `SETALL`.
    ///
    /// # Errors
    /// `EIDRM` if there is no such set any more, `ERANGE`.
    pub(crate) fn set_semaphores(
        &mut self,
        id: i32,
        by: Pid,
        values: impl Iterator<Item = u16> + Clone,
    ) -> Result<(), Errno> {
        let now = self.seconds();
        let set = self.semaphores.sets.get_mut(id).map_err(|_| Errno::EIDRM)?;
        if values.clone().any(|value| i32::from(value) > SEMVMX) {
            return Err(Errno::ERANGE);
        }
        for (semaphore, value) in set.semaphores.iter_mut().zip(values) {
            *semaphore = Semaphore { value, pid: by.0 };
        }
        set.undo.clear();
        set.facts.times[1] = now;
        self.settle_semaphores(id)
    }

    /// `IPC_SET`.
    ///
    /// # Errors
    /// `EINVAL` if there is no such set.
    pub(crate) fn change_semaphores(&mut self, id: i32, wanted: &Permissions) -> Result<(), Errno> {
        let now = self.seconds();
        let facts = &mut self.semaphores.sets.get_mut(id)?.facts;
        facts.permissions.set(wanted);
        facts.times[1] = now;
        Ok(())
    }

    /// `IPC_RMID`: whoever waits is told.
    ///
    /// # Errors
    /// `EINVAL` if there is no such set.
    pub(crate) fn remove_semaphores(&mut self, id: i32) -> Result<(), Errno> {
        for wait in self.semaphores.sets.remove(id)?.waiting {
            self.wake(WaitKey::Semaphores(wait.turn));
        }
        Ok(())
    }
}
