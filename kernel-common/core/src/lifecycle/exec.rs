//! `execve`: another program in the same process.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use maize_abi::signal::{AltStack, SigAction, Signal};
use maize_abi::{Errno, Isa, PAGE_SIZE};
use maize_hal::Arch;
use maize_mm::ObjectId;

use super::exit::end_other_threads;
use super::image::{self, Image, Parts};
use super::pair::Pair;
use crate::files::ProgramFile;
use crate::handle::Handle;
use crate::ids::Tid;
use crate::loader::elf::{self, Program};
use crate::loader::script;
use crate::loader::stack::MAX_LEN;
use crate::state::State;
use crate::syscall::Call;
use crate::thread::Current;

/// Scripts that may run scripts, as on Linux.
const MAX_INTERPRETERS: usize = 5;

/// Longest single argument, as on Linux.
const MAX_STRING: usize = 32 * PAGE_SIZE;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct ExecRequest {
    /// The program's path as given: what `AT_EXECFN` shows.
    pub(crate) path: Vec<u8>,
    /// Its file.
    pub(crate) file: ProgramFile,
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) envp: Vec<Vec<u8>>,
}

/// A program in a space of its own, ready to run.
pub(crate) struct Loaded {
    image: Image,
    pair: Option<Arc<Pair>>,
    request: ExecRequest,
    opened: Vec<ProgramFile>,
}

pub(crate) async fn execve<A: Arch>(call: Call<'_, A>) -> Result<(), Errno> {
    let [path, argv, envp, ..] = call.args;
    call.k.at_registry(call.current)?;
    let path = call.k.read_path(call.current, path).await?;
    let file = call.k.with(|s| s.open_program(call.current, None, &path, false))?;
    exec_from(call, path, file, argv, envp).await
}

pub(crate) async fn execveat<A: Arch>(call: Call<'_, A>) -> Result<(), Errno> {
    const AT_EMPTY_PATH: u32 = 0x1000;
    const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
    let [_, path, argv, envp, flags, _] = call.args;
    if flags as u32 & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    call.k.at_registry(call.current)?;
    let path = call.k.read_path(call.current, path).await?;
    if path.is_empty() && flags as u32 & AT_EMPTY_PATH == 0 {
        return Err(Errno::ENOENT);
    }
    let no_follow = flags as u32 & AT_SYMLINK_NOFOLLOW != 0;
    let file =
        call.k.with(|s| s.open_program(call.current, Some(call.int(0)), &path, no_follow))?;
    let shown = if path.starts_with(b"/") || call.int(0) == AT_FDCWD {
        path
    } else {
        alloc::format!("/dev/fd/{}/", call.int(0)).into_bytes().into_iter().chain(path).collect()
    };
    exec_from(call, shown, file, argv, envp).await
}

const AT_FDCWD: i32 = -100;

async fn exec_from<A: Arch>(
    call: Call<'_, A>,
    path: Vec<u8>,
    file: ProgramFile,
    argv: u64,
    envp: u64,
) -> Result<(), Errno> {
    let mut room = MAX_LEN;
    let request = async {
        let mut argv = read_strings(call, argv, &mut room).await?;
        let envp = read_strings(call, envp, &mut room).await?;
        if argv.is_empty() {
            // As Linux since 5.18: a program always has a name.
            argv.push(Vec::new());
        }
        Ok((argv, envp))
    };
    let result = match request.await {
        Ok((argv, envp)) => {
            exec(call.k, call.current, ExecRequest { path, file: file.clone(), argv, envp }).await
        }
        Err(errno) => Err(errno),
    };
    call.k.with(|s| s.close_program(file));
    result
}

/// Reads an array of strings that ends with a null pointer.
async fn read_strings<A: Arch>(
    call: Call<'_, A>,
    array: u64,
    room: &mut usize,
) -> Result<Vec<Vec<u8>>, Errno> {
    let mut strings = Vec::new();
    if array == 0 {
        return Ok(strings);
    }
    let mut buffer = vec![0; MAX_STRING];
    loop {
        let at = array.checked_add(8 * strings.len() as u64).ok_or(Errno::EFAULT)?;
        let [pointer] = call.k.read_words::<1>(call.current, at).await?;
        if pointer == 0 {
            return Ok(strings);
        }
        let len = call.k.read_user_string(call.current, pointer, &mut buffer).await?;
        if len == MAX_STRING {
            return Err(Errno::E2BIG);
        }
        *room = room.checked_sub(len + 1 + 8).ok_or(Errno::E2BIG)?;
        call.k.with(|s| {
            s.memory.tend_heap();
            s.memory.heap_room(&mut strings, 1).map_err(|_| Errno::ENOMEM)?;
            if s.memory.heap_is_low() { Err(Errno::ENOMEM) } else { Ok(()) }
        })?;
        strings.push(buffer[..len].to_vec());
        if strings.len().is_multiple_of(1024) {
            call.k.yield_now(call.current.task).await;
        }
    }
}

/// Replaces the caller's program. On an error the caller goes on as it was.
pub(crate) async fn exec<A: Arch>(
    k: &Handle<A>,
    current: Current,
    request: ExecRequest,
) -> Result<(), Errno> {
    let loaded = load(k, current, request).await?;
    if !end_other_threads(k, current).await {
        k.with(|s| s.discard(loaded));
        return Err(Errno::EINTR);
    }
    k.with(|s| {
        s.install(current, loaded);
        s.place_program(k, current.pid);
    });
    Ok(())
}

/// Has all of a file here that another instance may have written to a mapping of.
async fn bring_home<A: Arch>(k: &Handle<A>, current: Current, file: ObjectId) -> Result<(), Errno> {
    while let Some(need) = k.with(|s| s.memory.first_elsewhere(file)) {
        k.obtain(current, need).await.map_err(|_| Errno::EIO)?;
    }
    Ok(())
}

/// Makes a space for the program and fills it.
pub(crate) async fn load<A: Arch>(
    k: &Handle<A>,
    current: Current,
    request: ExecRequest,
) -> Result<Loaded, Errno> {
    let mut opened = Vec::new();
    let built = build(k, current, request, &mut opened).await;
    match built {
        Ok((image, pair, request)) => Ok(Loaded { image, pair, request, opened }),
        Err(errno) => {
            k.with(|s| s.close_programs(opened));
            Err(errno)
        }
    }
}

/// As [`load`]. Files that are opened on the way are added to `opened`: they stay open until the
/// process has its own hold.
async fn build<A: Arch>(
    k: &Handle<A>,
    current: Current,
    request: ExecRequest,
    opened: &mut Vec<ProgramFile>,
) -> Result<(Image, Option<Arc<Pair>>, ExecRequest), Errno> {
    let (program, request) = find(k, current, request, opened).await?;
    let mut interpreter = None;
    if let Some(path) = program.interpreter {
        let file = k.with(|s| s.open_interpreter(current, &request.file, path))?;
        opened.push(file.clone());
        bring_home(k, current, file.object).await?;
        let found = k.with(|s| s.inspect(&file)).map_err(|_| Errno::ELIBBAD)?;
        interpreter = Some((found, file));
    }
    let pair = k.with(|s| s.find_pair(current, &request.file, &program)).map(Arc::new);
    let parts = Parts { program, interpreter, has_pair: pair.is_some() };
    let image = image::build(k, current, &parts, &request).await?;
    Ok((image, pair, request))
}

/// Finds what is to be mapped for a file: its own program, or that which runs it as a script.
async fn find<A: Arch>(
    k: &Handle<A>,
    current: Current,
    mut request: ExecRequest,
    opened: &mut Vec<ProgramFile>,
) -> Result<(Program, ExecRequest), Errno> {
    for _ in 0..MAX_INTERPRETERS {
        bring_home(k, current, request.file.object).await?;
        let Some(next) = k.with(|s| s.script(current, &request))? else {
            let program = k.with(|s| s.inspect(&request.file))?;
            return Ok((program, request));
        };
        opened.push(next.file.clone());
        request = next;
    }
    Err(Errno::ELOOP)
}

/// Strings one after another, each ended by a zero byte.
fn zero_ended(strings: &[Vec<u8>]) -> Arc<[u8]> {
    let mut text = Vec::with_capacity(strings.iter().map(|string| string.len() + 1).sum());
    for string in strings {
        text.extend_from_slice(string);
        text.push(0);
    }
    text.into()
}

impl<A: Arch> State<A> {
    /// What runs a file if that is a script.
    fn script(
        &mut self,
        current: Current,
        request: &ExecRequest,
    ) -> Result<Option<ExecRequest>, Errno> {
        let mut head = [0; script::HEAD_LEN + 1];
        let len = self.read_program(&request.file, 0, &mut head)?;
        let head = &head[..len];
        if !head.starts_with(b"#!") {
            return Ok(None);
        }
        let interpreter = script::parse(head).ok_or(Errno::ENOEXEC)?;
        // The strings are copied.
        self.room_for_strings(request, 2)?;
        let next = self.open_program(current, None, interpreter.path, false)?;
        let mut argv = vec![interpreter.path.to_vec()];
        argv.extend(interpreter.argument.map(<[u8]>::to_vec));
        argv.push(request.path.clone());
        argv.extend(request.argv.iter().skip(1).cloned());
        let path = interpreter.path.to_vec();
        let envp = request.envp.clone();
        Ok(Some(ExecRequest { path, file: next, argv, envp }))
    }

    /// What is to be mapped for an ELF file.
    fn inspect(&mut self, file: &ProgramFile) -> Result<Program, Errno> {
        let mut head = vec![0; elf::HEAD_LEN];
        let len = self.read_program(file, 0, &mut head)?;
        let head = &head[..len];
        let machine = <A::Isa as Isa>::ELF_MACHINE;
        let refused = |error: elf::ElfError| {
            log::info!("{}: {error}", alloc::string::String::from_utf8_lossy(&file.path));
            error.errno()
        };
        let (at, len) = elf::header_range(head, machine).map_err(refused)?;
        let mut table = vec![0; len];
        let read = self.read_program(file, at, &mut table)?;
        elf::parse(head, &table[..read], file.len, machine, self.user_end()).map_err(refused)
    }

    /// Opens the program that is to start another, whose file has its path in this range.
    fn open_interpreter(
        &mut self,
        current: Current,
        file: &ProgramFile,
        (at, len): (u64, usize),
    ) -> Result<ProgramFile, Errno> {
        let mut path = vec![0; len];
        let read = self.read_program(file, at, &mut path)?;
        let path = elf::interpreter(&path[..read]).map_err(elf::ElfError::errno)?;
        let opened = self.open_program(current, None, path, false);
        if let Err(errno) = opened {
            let name = alloc::string::String::from_utf8_lossy;
            log::info!("{}: its interpreter {}: {errno}", name(&file.path), name(path));
        }
        opened
    }

    /// Makes room for so many copies of what a program is started with.
    pub(super) fn room_for_strings(
        &mut self,
        request: &ExecRequest,
        copies: usize,
    ) -> Result<(), Errno> {
        let each = size_of::<Vec<u8>>() + 16;
        let strings = request.argv.iter().chain(&request.envp).map(|s| s.len() + each);
        self.memory.heap_piece(copies * strings.sum::<usize>()).map_err(|_| Errno::ENOMEM)
    }

    /// Gives back what was loaded for nothing.
    fn discard(&mut self, loaded: Loaded) {
        self.release_space_id(loaded.image.space);
        self.close_programs(loaded.opened);
    }

    fn close_programs(&mut self, files: Vec<ProgramFile>) {
        for file in files {
            self.close_program(file);
        }
    }

    /// Makes the loaded program the process's own. From here on there is no way back.
    pub(crate) fn install(&mut self, current: Current, loaded: Loaded) {
        let tid = self.become_leader(current);
        let Loaded { image, pair, request, opened } = loaded;
        let Image { space, entry, stack, trampoline } = image;
        let initial = self.arch.fpu_initial();
        self.run_queue.forget_fpu(tid);
        let Some(process) = self.processes.get_mut(&current.pid) else { return };
        let old = process.space.replace(space);
        process.trampoline = trampoline;
        process.barriers = 0;
        process.pair = pair;
        process.execed = true;
        process.credentials.run_program();
        process.exit_signal = Signal::SIGCHLD.number();
        process.exe = request.file.path.clone();
        process.arguments = stack.arguments;
        process.cmdline = zero_ended(&request.argv);
        process.environment = zero_ended(&request.envp);
        process.auxv = stack.auxv.into();
        for action in &mut process.actions {
            if action.handler != SigAction::SIG_IGN {
                *action = SigAction::default();
            }
        }
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.regs = <A::Isa as Isa>::KIND.start(entry, stack.pointer);
            thread.set_fpu(initial);
            thread.altstack = AltStack::NONE;
            thread.clear_child_tid = 0;
            thread.robust_list = 0;
            thread.rseq = None;
            thread.restart = None;
            thread.interrupted_call = None;
            thread.set_comm(&request.path);
        }
        self.settle(tid);
        self.delete_posix_timers(current.pid);
        self.close_on_exec(current.pid);
        self.run_program(current.pid, &request.file);
        self.close_programs(opened);
        self.release_vfork_parent(current.pid);
        if let Some(old) = old {
            self.release_space_id(old);
        }
    }

    /// The only thread left takes the process's id.
    fn become_leader(&mut self, current: Current) -> Tid {
        let leader = current.pid.leader();
        if current.tid == leader {
            return leader;
        }
        if let Some(thread) = self.threads.remove(&current.tid) {
            self.threads.insert(leader, thread);
        }
        self.task_threads.insert(current.task, leader);
        self.run_queue.forget_fpu(current.tid);
        if let Some(process) = self.processes.get_mut(&current.pid) {
            process.threads.clear();
            process.threads.insert(leader);
        }
        leader
    }
}
