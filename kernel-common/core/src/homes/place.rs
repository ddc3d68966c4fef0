//! Where processes live: new programs, requests, forced moves.

use maize_abi::{Errno, Isa};
use maize_hal::Arch;
use maize_wire::InstanceId;

use super::delegate::named;
use super::news::News;
use crate::handle::Handle;
use crate::ids::Pid;
use crate::migrate::{core_bit, is_nth, next_core};
use crate::state::State;
use crate::thread::Current;

/// `prctl`: the home of process `arg2` (0: the caller's) becomes the instance with core `arg3`.
pub(crate) const PR_MAIZE_SET_HOME: i32 = 0x4d5a_0001;
/// `prctl`: the core that is the home of process `arg2` (0: the caller's).
pub(crate) const PR_MAIZE_GET_HOME: i32 = 0x4d5a_0002;

/// Whether a `prctl` is about another process's home.
pub(super) fn is_about_another(args: &[u64; 6], own: Pid) -> bool {
    matches!(args[0] as i32, PR_MAIZE_SET_HOME | PR_MAIZE_GET_HOME) && named(args[1], own) != own
}

impl<A: Arch> State<A> {
    /// Serves [`PR_MAIZE_SET_HOME`].
    ///
    /// # Errors
    /// `ESRCH`, `EINVAL` if there is no such core, `EBUSY` if the process cannot go now.
    pub(crate) fn set_home(
        &mut self,
        k: &Handle<A>,
        current: Current,
        (process, core): (u64, u64),
    ) -> Result<u64, Errno> {
        let pid = named(process, current.pid);
        let to = u16::try_from(core).map(InstanceId).map_err(|_| Errno::EINVAL)?;
        if to != self.fabric.me && !self.fabric.is_usable(to) {
            return Err(Errno::EINVAL);
        }
        if !self.processes.contains_key(&pid) {
            return Err(Errno::ESRCH);
        }
        if self.tell_home(pid, News::Go { to: to.0 }) {
            return Ok(0);
        }
        self.start_move(k, pid, to).map(|()| 0)
    }

    /// Serves [`PR_MAIZE_GET_HOME`].
    ///
    /// # Errors
    /// `ESRCH`.
    pub(crate) fn home_of(&self, current: Current, process: u64) -> Result<u64, Errno> {
        let process = self.processes.get(&named(process, current.pid)).ok_or(Errno::ESRCH)?;
        Ok(u64::from(process.seat.away.unwrap_or(self.fabric.me).0))
    }

    /// A program has just been loaded: its process goes where the next one is to go.
    pub(crate) fn place_program(&mut self, k: &Handle<A>, pid: Pid) {
        if !self.fabric.is_joined() || !self.is_registry() {
            return;
        }
        let usable = self.cores_of_isa(<A::Isa as Isa>::KIND);
        let cores = self.fabric.settings.homes.cores(usable);
        let Some(to) = next_core(cores, &mut self.homes.next_place) else { return };
        if let Err(errno) = self.start_move(k, pid, to) {
            log::debug!("process {pid} stays: {errno}");
        }
    }

    /// Moves a process to a random other instance, if it is time.
    pub(crate) fn force_process_move(&mut self, k: &Handle<A>, pid: Pid) {
        let every = self.fabric.settings.move_processes_every;
        if !is_nth(&mut self.homes.traps, every) {
            return;
        }
        let cores = self.cores_of_isa(<A::Isa as Isa>::KIND) & !core_bit(self.fabric.me.0);
        let Some(to) = self.random_core(cores) else { return };
        // What cannot go now may go the next time.
        let _ = self.start_move(k, pid, to);
    }
}
