//! Starts a machine's process so that it cannot outlive the launcher.
#![allow(unsafe_code, reason = "a step between fork and exec can only be set by an unsafe call")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use rustix::io::{Errno, FdFlags};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::machine::Machine;

/// A running machine and the launcher's ends of its streams. Dropping it kills the machine.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Host link.
    pub link: UnixStream,
    /// Serial console of the kernel.
    pub console: UnixStream,
    /// What QEMU itself has to say.
    pub stderr: ChildStderr,
}

/// The machine's ends of its streams, before it is started.
#[derive(Debug)]
pub struct MachineEnds {
    link: OwnedFd,
    console: OwnedFd,
    window: Option<OwnedFd>,
}

impl MachineEnds {
    /// The number of the link's descriptor.
    #[must_use]
    pub fn link_number(&self) -> RawFd {
        self.link.as_raw_fd()
    }

    /// The number of the console's descriptor.
    #[must_use]
    pub fn console_number(&self) -> RawFd {
        self.console.as_raw_fd()
    }

    /// Adds the connection to the window's doorbell server.
    pub fn add_window(&mut self, server: OwnedFd) {
        self.window = Some(server);
    }

    /// The number of that connection's descriptor.
    #[must_use]
    pub fn window_number(&self) -> Option<RawFd> {
        self.window.as_ref().map(AsRawFd::as_raw_fd)
    }
}

/// The launcher's ends.
#[derive(Debug)]
pub struct LauncherEnds {
    link: UnixStream,
    console: UnixStream,
}

/// The streams of a machine; the descriptors of the first half go into its [`Machine`].
pub fn streams() -> io::Result<(MachineEnds, LauncherEnds)> {
    let (link, far_link) = UnixStream::pair()?;
    let (console, far_console) = UnixStream::pair()?;
    link.set_nonblocking(true)?;
    console.set_nonblocking(true)?;
    Ok((
        MachineEnds { link: far_link.into(), console: far_console.into(), window: None },
        LauncherEnds { link, console },
    ))
}

impl Process {
    /// Starts a machine; `program` is QEMU, or takes its place in tests.
    ///
    /// The thread that calls must live as long as the machine is wanted: the machine is killed when
    /// that thread ends, even if the whole launcher was.
    pub fn start(
        machine: &Machine,
        program: &Path,
        theirs: MachineEnds,
        ours: LauncherEnds,
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(machine.arguments());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Its own group: ^C on the terminal is for the launcher to act on.
        command.process_group(0);
        let inherited = [theirs.link_number(), theirs.console_number()];
        let keep = [Some(theirs.link), Some(theirs.console), theirs.window];
        // SAFETY: between fork and exec only async-signal-safe calls are allowed, since another
        // thread may have held any lock at the fork. The closure makes two kinds of system call,
        // fcntl and prctl, and touches nothing but its own array, whose descriptors `keep` holds open.
        unsafe {
            command.pre_exec(move || {
                for fd in keep.iter().flatten() {
                    rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
                }
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                Ok(())
            });
        }
        debug_assert_eq!(inherited, [machine.link, machine.console], "the streams of this machine");
        let mut child = command.spawn()?;
        // The command owns this process's copies of the machine's ends. While one is open the
        // machine's end is never seen.
        drop(command);
        let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        rustix::io::ioctl_fionbio(&stderr, true)?;
        Ok(Self { child, link: ours.link, console: ours.console, stderr })
    }

    /// Ends the machine at once, if it has not ended.
    pub fn kill(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
    }

    /// The number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the machine ended, if it has.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends a signal to the machine, if it has not ended.
    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        // While the end was not waited for, the number is the child's and nobody else's.
        if self.child.try_wait()?.is_none() {
            rustix::process::kill_process(Pid::from_child(&self.child), signal)?;
        }
        Ok(())
    }

    /// Asks the machine's process to stop; [`Process::is_stopped`] tells when it has.
    pub fn stop(&mut self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets the machine's process run again.
    pub fn resume(&mut self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Whether all threads of the machine's process are stopped now. (The kernel reports a child as
    /// stopped only once the last thread is; the report is left in place, so that it can be asked
    /// for again.)
    pub fn is_stopped(&self) -> io::Result<bool> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match rustix::process::waitid(WaitId::Pid(Pid::from_child(&self.child)), options) {
            Ok(status) => Ok(status.is_some_and(|status| status.stopped())),
            Err(Errno::CHILD) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the end, which must have been caused or seen.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.wait();
    }
}
