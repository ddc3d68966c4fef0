//! Starts a machine's process so that it cannot outlive the launcher.
#![allow(unsafe_code, reason = "a step between fork and exec can only be set by an unsafe call")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use rustix::io::FdFlags;
use rustix::process::Signal;

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
        MachineEnds { link: far_link.into(), console: far_console.into() },
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
        let keep = [theirs.link, theirs.console];
        // SAFETY: between fork and exec only async-signal-safe calls are allowed, since another
        // thread may have held any lock at the fork. The closure makes two kinds of system call,
        // fcntl and prctl, and touches nothing but its own array, whose descriptors `keep` holds open.
        unsafe {
            command.pre_exec(move || {
                for fd in &keep {
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
