//! Signals that programs send: to whom they may.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::signal::{SigInfo, Signal};
use maize_hal::Arch;

use crate::ids::Pid;
use crate::process::Process;
use crate::state::State;

impl<A: Arch> State<A> {
    /// Checks that a process may send another one a signal, or ask by none whether it may.
    ///
    /// # Errors
    /// `EPERM`.
    pub(crate) fn check_signal(
        &self,
        sender: Pid,
        target: Pid,
        signal: Option<Signal>,
    ) -> Result<(), Errno> {
        let continues = signal == Some(Signal::SIGCONT);
        if self.may_signal(sender, target, continues) { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// Sends a signal to a process that the sender may send it to; none only asks.
    ///
    /// # Errors
    /// `ESRCH`, `EPERM`, `EAGAIN` if too many wait for it.
    pub(crate) fn signal_process(
        &mut self,
        sender: Pid,
        target: Pid,
        info: Option<SigInfo>,
    ) -> Result<u64, Errno> {
        if !self.processes.contains_key(&target) {
            return Err(Errno::ESRCH);
        }
        self.check_signal(sender, target, info.map(|info| info.signal))?;
        info.map_or(Ok(0), |info| self.send_to_process(target, info).map(|()| 0))
    }

    /// Sends a signal to the processes that `of` chooses.
    ///
    /// # Errors
    /// `ESRCH` if there is none, `EPERM` if the sender may not send it to any.
    pub(crate) fn signal_processes(
        &mut self,
        sender: Pid,
        info: Option<SigInfo>,
        of: impl Fn(Pid, &Process) -> bool,
    ) -> Result<u64, Errno> {
        let chosen = self.processes.iter().filter(|(pid, process)| of(**pid, process));
        let chosen: Vec<Pid> = chosen.map(|(pid, _)| *pid).collect();
        let mut result = Err(Errno::ESRCH);
        for target in chosen {
            match self.signal_process(sender, target, info) {
                Err(Errno::EPERM) if result.is_err() => result = Err(Errno::EPERM),
                Err(Errno::EPERM) => {}
                // A full queue of one does not keep the signal from the others.
                Ok(_) | Err(_) => result = Ok(0),
            }
        }
        result
    }
}
