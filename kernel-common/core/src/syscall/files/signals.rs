//! Signals that are read from a file (`signalfd`).
//!
//! They are the reader's own: those pending for its thread and process. A process that has such a file
//! lives where its files are (see `docs/src/distributed.md`): one that does not comes there to read.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::o;
use maize_abi::signal::{SIGINFO_LEN, SignalSet};
use maize_hal::Arch;
use maize_vfs::{FileId, Stop, WaitKey};

use super::super::signal::{check_len, read_set};
use super::super::{Call, CallResult};
use super::open::install_new;
use super::segments::Segments;
use crate::ids::Pid;
use crate::state::State;
use crate::thread::Current;

/// Signals that one read gives at most. Linux gives more, and every reader reads again.
const MOST: u64 = 32;

pub(super) async fn signalfd<A: Arch>(call: Call<'_, A>, has_flags: bool) -> CallResult {
    let flags = if has_flags { call.uint(3) } else { 0 };
    check_len(call.args[2])?;
    let wanted = read_set(call, call.args[1]).await?;
    if flags & !(o::O_CLOEXEC | o::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    if call.int(0) != -1 {
        let file = call.file(0)?;
        return call
            .k
            .with(|s| s.files.vfs.set_wanted_signals(file, wanted))
            .map(|()| call.args[0]);
    }
    install_new(call, flags & o::O_CLOEXEC != 0, |vfs, env, caller| {
        vfs.make_signal_file(env, caller, wanted, flags)
    })
}

/// Takes the caller's pending signals that a file asks for, and waits for one if there is none.
pub(super) async fn read<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
    mut segments: Segments,
) -> CallResult {
    let current = call.current;
    let most = (segments.left() / SIGINFO_LEN as u64).min(MOST);
    if most == 0 {
        return Err(Errno::EINVAL);
    }
    loop {
        let room = segments.hold(call, most as usize * SIGINFO_LEN).await?;
        if room < SIGINFO_LEN {
            return Err(Errno::EFAULT);
        }
        let given = call
            .wait_until(Errno::ERESTARTSYS, |s, _| {
                let pending = s.pending_signals(current)?;
                if !segments.are_ready(s, current, room)? {
                    return Ok(None);
                }
                let wanted = s.files.vfs.wanted_signals(file).unwrap_or(SignalSet::EMPTY);
                if wanted.intersection(pending) == SignalSet::EMPTY {
                    let waits = s.files.vfs.status(file)? & o::O_NONBLOCK == 0;
                    let wait = Stop::wait(WaitKey::SignalSent(file));
                    return Err(if waits { wait } else { Errno::EAGAIN.into() });
                }
                let taken = core::iter::from_fn(|| s.take_pending(current, wanted));
                let infos = taken.take(room / SIGINFO_LEN).map(|info| info.to_file_bytes());
                let bytes = infos.collect::<Vec<_>>().concat();
                segments.put(s, current, &bytes)?;
                Ok(Some(bytes.len() as u64))
            })
            .await?;
        if let Some(count) = given {
            return Ok(count);
        }
    }
}

impl<A: Arch> State<A> {
    /// Whether a process has a file of signals open.
    pub(crate) fn has_signal_file(&self, pid: Pid) -> bool {
        let vfs = &self.files.vfs;
        vfs.has_signal_files()
            && self.processes.get(&pid).is_some_and(|process| {
                self.files.sets.table(process.files).is_ok_and(|table| {
                    table.iter().any(|(_, open)| vfs.wanted_signals(open.file).is_some())
                })
            })
    }

    /// The signals that make files of signals ready for the caller, if it has any such file.
    ///
    /// # Errors
    /// As [`Self::pending_signals`].
    pub(super) fn signals_to_poll(&self, current: Current) -> Result<SignalSet, Errno> {
        if self.has_signal_file(current.pid) {
            self.pending_signals(current)
        } else {
            Ok(SignalSet::EMPTY)
        }
    }
}
