//! The first processes of an instance.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use maize_abi::{Errno, Isa};
use maize_hal::{Arch, Nanos};

use super::exec::{ExecRequest, load};
use super::exit::exited;
use crate::handle::Handle;
use crate::ids::{Pid, Tid};
use crate::kernel::Kernel;
use crate::process::Process;
use crate::state::State;
use crate::thread::{Current, Thread};
use crate::trap::thread_main;
use crate::wait::{Interruptible, WaitKey, Woken};

/// Why the program could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnError {
    /// The program's path.
    pub path: String,
    /// What went wrong.
    pub errno: Errno,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot run {}: {}", self.path, self.errno)
    }
}

impl core::error::Error for SpawnError {}

/// A shell's statuses for a program that is not there, and for one that cannot run.
const NOT_FOUND: i32 = 127;
const CANNOT_RUN: i32 = 126;

/// What the instance is started for.
#[derive(Clone, Debug, Default)]
pub struct ProgramSpec {
    /// Path of the program in the root.
    pub path: Vec<u8>,
    /// Its arguments, the program's name first.
    pub argv: Vec<Vec<u8>>,
    /// Its environment, as `NAME=value`.
    pub envp: Vec<Vec<u8>>,
    /// Its working directory.
    pub cwd: Vec<u8>,
    /// Whether its standard streams are a terminal, and which size that has in rows and columns.
    pub terminal: Option<(u16, u16)>,
}

impl<A: Arch> Kernel<A> {
    /// Starts the program. When it ends, so does the instance; if it cannot be started, the
    /// instance ends with a shell's status for that and a line on standard error.
    ///
    /// # Errors
    /// [`SpawnError`] if there is no memory for the process itself or no such working directory.
    pub fn spawn(&mut self, program: ProgramSpec) -> Result<(), SpawnError> {
        let failed =
            |errno| SpawnError { path: String::from_utf8_lossy(&program.path).into_owned(), errno };
        let current = self.handle.with(|s| s.create_first(&program)).map_err(failed)?;
        let k = self.handle.clone();
        self.handle.with(|s| {
            s.tasks.spawn(current.task, Box::pin(first_program(k, current, program)));
        });
        Ok(())
    }
}

/// How long the program waits for instances that its fabric should have. One that is not there by
/// then can be used when it comes.
const PEERS_PATIENCE: Nanos = Nanos(3 * Nanos::SECOND.0);

/// Waits until all cores of the fabric can be used, so that a program that counts them and goes to
/// each finds them.
async fn wait_for_peers<A: Arch>(k: &Handle<A>, current: Current) {
    let deadline = k.with(|s| s.now()) + PEERS_PATIENCE;
    while k.with(|s| s.fabric.is_joined() && s.fabric.greeted() + 1 < s.cpus as usize) {
        let keys = [WaitKey::Peers];
        let woken = k.wait_for(current.task, &keys, deadline, Interruptible::ByKill).await;
        if woken != Woken::Event {
            return;
        }
    }
}

async fn first_program<A: Arch>(k: Handle<A>, current: Current, program: ProgramSpec) {
    wait_for_peers(&k, current).await;
    if let Err(errno) = start(&k, current, &program).await {
        let path = String::from_utf8_lossy(&program.path);
        let text = alloc::format!("maize: cannot run {path}: {}\n", errno.describe());
        let status = if errno == Errno::ENOENT { NOT_FOUND } else { CANNOT_RUN };
        k.with(|s| {
            s.host.write(maize_hal::OutputStream::Stderr, text.as_bytes());
            s.begin_group_exit(current.pid, exited(status));
        });
    }
    thread_main(k, current).await;
}

async fn start<A: Arch>(
    k: &Handle<A>,
    current: Current,
    program: &ProgramSpec,
) -> Result<(), Errno> {
    let file = k.with(|s| s.open_program(current, None, &program.path, false))?;
    let request = ExecRequest {
        path: program.path.clone(),
        file: file.clone(),
        argv: program.argv.clone(),
        envp: program.envp.clone(),
    };
    let loaded = load(k, current, request).await;
    k.with(|s| {
        // The process takes its own hold of the file before this one ends.
        let installed = loaded.map(|loaded| s.install(current, loaded));
        s.close_program(file);
        installed
    })
}

impl<A: Arch> State<A> {
    /// Makes the kernel's own process and the program's, without memory yet.
    fn create_first(&mut self, program: &ProgramSpec) -> Result<Current, Errno> {
        let files = self.first_files(program)?;
        let mut init = Process::new((Pid(0), Pid::INIT), files, self.now());
        let pid = Pid(self.ids.next(|_| false).ok_or(Errno::EAGAIN)?);
        init.children.insert(pid);
        self.processes.insert(Pid::INIT, init);

        let mut process = Process::new((Pid::INIT, pid), files, self.now());
        process.terminal = program.terminal.is_some();
        let tid = pid.leader();
        process.threads.insert(tid);
        self.processes.insert(pid, process);
        let task = self.tasks.reserve();
        let fpu = self.arch.fpu_initial();
        let regs = <A::Isa as Isa>::KIND.start(0, 0);
        let mut thread = Thread::new(pid, task, regs, fpu, self.now());
        thread.set_comm(&program.path);
        thread.place = self.fabric.me;
        thread.last_place = self.fabric.me;
        self.threads.insert(tid, Box::new(thread));
        self.task_threads.insert(task, tid);
        self.program = Some(pid);
        if program.terminal.is_some() {
            self.take_terminal(pid);
        }
        Ok(Current { tid, pid, task })
    }

    /// The thread a task runs now: `exec` may have given it its process's id.
    pub(crate) fn current_tid(&self, task: crate::executor::TaskId, before: Tid) -> Tid {
        self.task_threads.get(&task).copied().unwrap_or(before)
    }
}
