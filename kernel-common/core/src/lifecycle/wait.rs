//! Waiting for children: what `wait4` and `waitid` share.

use maize_abi::Errno;
use maize_abi::signal::Signal;
use maize_hal::{Arch, Nanos};

use crate::handle::Handle;
use crate::ids::Pid;
use crate::process::Life;
use crate::state::State;
use crate::thread::Current;
use crate::wait::WaitKey;

/// Which children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    Any,
    Process(Pid),
    Group(Pid),
}

/// Children by what they tell their parent at their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChildKind {
    /// Those that send SIGCHLD.
    Forked,
    /// `__WCLONE`: those that send another signal, or none.
    Cloned,
    /// `__WALL`.
    All,
}

/// Which changes, and whether to wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitOptions {
    pub(crate) kind: ChildKind,
    pub(crate) exited: bool,
    pub(crate) stopped: bool,
    pub(crate) continued: bool,
    /// `WNOHANG`.
    pub(crate) dont_block: bool,
    /// `WNOWAIT`: the change stays to be waited for again.
    pub(crate) keep: bool,
}

/// What happened to which child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waited {
    pub(crate) pid: Pid,
    /// The child's real user.
    pub(crate) user: u32,
    /// As `wait4` encodes it.
    pub(crate) status: u32,
    /// User and system time of the child and the children it waited for.
    pub(crate) times: (Nanos, Nanos),
}

/// `wait4`'s status of a child that was continued.
const CONTINUED: u32 = 0xffff;

/// Waits for a child. `None` if nothing has happened and the caller would not wait.
///
/// # Errors
/// `ECHILD` if there is no such child.
pub(crate) async fn wait<A: Arch>(
    k: &Handle<A>,
    current: Current,
    selector: Selector,
    options: WaitOptions,
) -> Result<Option<Waited>, Errno> {
    loop {
        if let Some(waited) = k.with(|s| s.take_change(current.pid, selector, options))? {
            return Ok(Some(waited));
        }
        if options.dont_block {
            return Ok(None);
        }
        let waited = k.wait_event(current.task, &[WaitKey::Child(current.pid)]).await;
        if let Err(interrupted) = waited {
            // A child that has ended meanwhile counts more than the signal that may tell of it.
            let change = k.with(|s| s.take_change(current.pid, selector, options))?;
            return change.map(Some).ok_or(interrupted);
        }
    }
}

impl<A: Arch> State<A> {
    fn take_change(
        &mut self,
        parent: Pid,
        selector: Selector,
        options: WaitOptions,
    ) -> Result<Option<Waited>, Errno> {
        let Some(process) = self.processes.get(&parent) else { return Err(Errno::ECHILD) };
        let mut any = false;
        let mut found = None;
        for pid in &process.children {
            let Some(child) = self.processes.get(pid) else { continue };
            let selected = match selector {
                Selector::Any => true,
                Selector::Process(wanted) => *pid == wanted,
                Selector::Group(group) => child.group == group,
            };
            let forked = child.exit_signal == Signal::SIGCHLD.number();
            let of_kind = match options.kind {
                ChildKind::Forked => forked,
                ChildKind::Cloned => !forked,
                ChildKind::All => true,
            };
            if !selected || !of_kind {
                continue;
            }
            any = true;
            let status = match (child.life, child.unreported.stopped) {
                (Life::Zombie(status), _) if options.exited => status,
                (Life::Alive, Some(signal)) if options.stopped => u32::from(signal) << 8 | 0x7f,
                (Life::Alive, _) if options.continued && child.unreported.continued => CONTINUED,
                _ => continue,
            };
            let (user, system) = child.children_time;
            let times = (child.user_time + user, child.system_time + system);
            let user = child.credentials.user.real;
            found = Some(Waited { pid: *pid, user, status, times });
            break;
        }
        let Some(waited) = found else {
            return if any { Ok(None) } else { Err(Errno::ECHILD) };
        };
        if !options.keep {
            match self.processes.get_mut(&waited.pid) {
                Some(child) if matches!(child.life, Life::Zombie(_)) => self.reap(waited.pid),
                Some(child) if waited.status == CONTINUED => child.unreported.continued = false,
                Some(child) => child.unreported.stopped = None,
                None => {}
            }
        }
        Ok(Some(waited))
    }
}
