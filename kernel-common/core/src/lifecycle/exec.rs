//! `execve`: another program in the same process.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use maize_abi::migration::{PRIVATE, REQUEST_PAGE};
use maize_abi::pte::Access;
use maize_abi::signal::{AltStack, SigAction, Signal};
use maize_abi::{Errno, Isa, IsaKind, PAGE_SIZE};
use maize_hal::Arch;
use maize_mm::{AreaFlags, Backing, Label, MapRequest, ObjectId, Placement, Sharing, SpaceId};

use super::exit::end_other_threads;
use super::pair::{Pair, access_in_pair};
use super::space::{finish_steps, layout_below};
use crate::files::ProgramFile;
use crate::handle::Handle;
use crate::ids::Tid;
use crate::loader::elf::{self, Program};
use crate::loader::stack::{self, Contents, Stack, at};
use crate::loader::{script, stack::MAX_LEN};
use crate::process::{Rlimit, rlimit, space_limits};
use crate::state::State;
use crate::syscall::Call;
use crate::thread::Current;

const PAGE: u64 = PAGE_SIZE as u64;

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
    space: SpaceId,
    entry: u64,
    stack: Stack,
    trampoline: u64,
    pair: Option<Arc<Pair>>,
    request: ExecRequest,
    /// The interpreter of a script, which loading opened: open until the process has its own hold.
    interpreter: Option<ProgramFile>,
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
    let original = request.file.clone();
    let mut request = request;
    let mut program = Err(Errno::ELOOP);
    for _ in 0..MAX_INTERPRETERS {
        if let Err(errno) = bring_home(k, current, request.file.object).await {
            program = Err(errno);
            break;
        }
        match k.with(|s| s.inspect(current, &request)) {
            Ok(Inspected::Program(found)) => {
                program = Ok(found);
                break;
            }
            Err(errno) => {
                program = Err(errno);
                break;
            }
            Ok(Inspected::Script(next)) => {
                let before = core::mem::replace(&mut request, next);
                if before.file != original {
                    k.with(|s| s.close_program(before.file));
                }
            }
        }
    }
    let interpreter = (request.file != original).then(|| request.file.clone());
    let result = match program {
        Ok(program) => build(k, current, &program, request).await,
        Err(errno) => Err(errno),
    };
    match result {
        Ok(loaded) => Ok(Loaded { interpreter, ..loaded }),
        Err(errno) => {
            if let Some(file) = interpreter {
                k.with(|s| s.close_program(file));
            }
            Err(errno)
        }
    }
}

async fn build<A: Arch>(
    k: &Handle<A>,
    current: Current,
    program: &Program,
    request: ExecRequest,
) -> Result<Loaded, Errno> {
    let pair = k.with(|s| s.find_pair(current, &request.file, program)).map(Arc::new);
    let layout = k.with(|s| s.map_program(current, program, pair.is_some(), &request))?;
    let filled = async {
        finish_steps(k, current, layout.space).await?;
        for segment in &program.segments {
            let is_written = !(pair.is_some() && PRIVATE.contains(&segment.start))
                && segment.access.contains(Access::WRITE);
            if is_written && segment.zero_from < segment.file_end {
                let len = (segment.file_end - segment.zero_from) as usize;
                let zeros = vec![0; len];
                let at = layout.bias + segment.zero_from;
                k.write_space(current, layout.space, at, &zeros).await?;
            }
        }
        k.write_space(current, layout.space, layout.stack.pointer, &layout.stack.bytes).await
    };
    if let Err(errno) = filled.await {
        k.with(|s| s.release_space_id(layout.space));
        return Err(errno);
    }
    Ok(Loaded {
        space: layout.space,
        entry: layout.bias + program.entry,
        stack: layout.stack,
        trampoline: layout.trampoline,
        pair,
        request,
        interpreter: None,
    })
}

enum Inspected {
    Program(Program),
    Script(ExecRequest),
}

struct Mapped {
    space: SpaceId,
    bias: u64,
    stack: Stack,
    trampoline: u64,
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
    /// Finds out what a file is.
    fn inspect(&mut self, current: Current, request: &ExecRequest) -> Result<Inspected, Errno> {
        let file = &request.file;
        let mut head = vec![0; elf::HEAD_LEN];
        let len = self.read_program(file, 0, &mut head)?;
        let head = &head[..len];
        if head.starts_with(b"#!") {
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
            return Ok(Inspected::Script(ExecRequest { path, file: next, argv, envp }));
        }
        let machine = <A::Isa as Isa>::ELF_MACHINE;
        let refused = |error: elf::ElfError| {
            log::info!("{}: {error}", alloc::string::String::from_utf8_lossy(&request.path));
            error.errno()
        };
        let (at, len) = elf::header_range(head, machine).map_err(refused)?;
        let mut table = vec![0; len];
        let read = self.read_program(file, at, &mut table)?;
        elf::parse(head, &table[..read], file.len, machine, self.user_end())
            .map(Inspected::Program)
            .map_err(refused)
    }

    /// Makes room for so many copies of what a program is started with.
    fn room_for_strings(&mut self, request: &ExecRequest, copies: usize) -> Result<(), Errno> {
        let each = size_of::<Vec<u8>>() + 16;
        let strings = request.argv.iter().chain(&request.envp).map(|s| s.len() + each);
        self.memory.heap_piece(copies * strings.sum::<usize>()).map_err(|_| Errno::ENOMEM)
    }

    /// Makes a space and maps the program, its heap, stack and signal trampoline.
    fn map_program(
        &mut self,
        current: Current,
        program: &Program,
        has_pair: bool,
        request: &ExecRequest,
    ) -> Result<Mapped, Errno> {
        // As text, as pointers, as the stack, and for /proc, which makes two of each on the way.
        self.room_for_strings(request, 7)?;
        let limits = self.processes.get(&current.pid).map(|p| p.limits).ok_or(Errno::ESRCH)?;
        let stack_limit = limits[rlimit::RLIMIT_STACK].soft;
        let end = if has_pair { self.paired_end() } else { self.user_end() };
        let layout = layout_below(end, stack_limit);
        let space = self.memory.create_space(&mut self.arch, layout).map_err(|_| Errno::ENOMEM)?;
        let mapped = self.fill_space(space, program, has_pair.then_some(end), request, &limits);
        if mapped.is_err() {
            self.release_space_id(space);
        }
        mapped
    }

    fn fill_space(
        &mut self,
        space: SpaceId,
        program: &Program,
        paired: Option<u64>,
        request: &ExecRequest,
        limits: &[Rlimit; rlimit::COUNT],
    ) -> Result<Mapped, Errno> {
        self.memory.set_limits(space, space_limits(limits))?;
        // Two thirds up user space, as Linux places static-pie programs.
        let bias =
            if program.position_independent { (self.user_end() / 3 * 2) & !(PAGE - 1) } else { 0 };
        let first = program.segments.first().map_or(0, |s| s.start);
        let last = program.segments.last().map_or(0, |s| s.end);
        if bias.checked_add(last).is_none_or(|end| end > self.user_end())
            || bias + first < layout_below(self.user_end(), 0).lowest
        {
            return Err(Errno::ENOMEM);
        }
        let label = Arc::new(request.file.label());
        for segment in &program.segments {
            let mut access = segment.access;
            if paired.is_some() {
                if segment.start == REQUEST_PAGE {
                    self.map_request_page(space)?;
                    continue;
                }
                access = access_in_pair(segment);
            }
            if segment.file_end > segment.start {
                self.map_fixed(
                    space,
                    bias + segment.start..bias + segment.file_end,
                    access,
                    Some((request.file.object, segment.offset)),
                    AreaFlags::empty(),
                    Some(Arc::clone(&label)),
                )?;
            }
            if segment.end > segment.file_end {
                let range = bias + segment.file_end..bias + segment.end;
                self.map_fixed(space, range, access, None, AreaFlags::empty(), None)?;
            }
        }
        self.memory.set_heap_start(space, (bias + program.end).next_multiple_of(PAGE))?;

        let trampoline = self.map_trampoline(space)?;
        let top = paired.unwrap_or(self.user_end()) - PAGE;
        let stack = self.initial_stack(program, bias, top, request)?;
        let start = (stack.pointer - STACK_SLACK) & !(PAGE - 1);
        let mut access = Access::READ | Access::WRITE;
        access.set(Access::EXECUTE, program.executable_stack);
        let flags = AreaFlags::GROWS_DOWN | AreaFlags::STACK;
        self.map_fixed(space, start..top, access, None, flags, None)?;
        Ok(Mapped { space, bias, stack, trampoline })
    }

    /// The end of user space for programs of several instruction sets: what all of them have.
    fn paired_end(&self) -> u64 {
        IsaKind::ALL.into_iter().map(IsaKind::user_end).fold(self.user_end(), u64::min)
    }

    /// Maps this instance's own page with the migration-request word.
    fn map_request_page(&mut self, space: SpaceId) -> Result<(), Errno> {
        let object = self.move_page()?;
        let request = MapRequest {
            placement: Placement::FixedFree(REQUEST_PAGE),
            len: PAGE,
            access: Access::READ,
            may: Access::READ,
            sharing: Sharing::Shared,
            flags: AreaFlags::empty(),
            backing: Backing::Object { object, offset: 0 },
            populate: false,
            label: Some(Arc::new(Label { path: "[migration]".into(), device: 0, inode: 0 })),
        };
        self.memory.map(&mut self.arch, space, &request)?;
        Ok(())
    }

    fn map_fixed(
        &mut self,
        space: SpaceId,
        range: core::ops::Range<u64>,
        access: Access,
        file: Option<(ObjectId, u64)>,
        flags: AreaFlags,
        label: Option<Arc<Label>>,
    ) -> Result<(), Errno> {
        let request = MapRequest {
            placement: Placement::FixedFree(range.start),
            len: range.end - range.start,
            access,
            may: Access::all(),
            sharing: Sharing::Private,
            flags,
            backing: file
                .map_or(Backing::Anonymous, |(object, offset)| Backing::Object { object, offset }),
            populate: false,
            label,
        };
        self.memory.map(&mut self.arch, space, &request)?;
        Ok(())
    }

    /// Maps the page that handlers return through.
    fn map_trampoline(&mut self, space: SpaceId) -> Result<u64, Errno> {
        let object = self.trampoline_object()?;
        let request = MapRequest {
            placement: Placement::Anywhere(0),
            len: PAGE,
            access: Access::READ | Access::EXECUTE,
            may: Access::READ | Access::EXECUTE,
            sharing: Sharing::Private,
            flags: AreaFlags::empty(),
            backing: Backing::Object { object, offset: 0 },
            populate: false,
            label: Some(Arc::new(Label { path: "[sigpage]".into(), device: 0, inode: 0 })),
        };
        Ok(self.memory.map(&mut self.arch, space, &request)?)
    }

    pub(crate) fn trampoline_object(&mut self) -> Result<ObjectId, Errno> {
        use maize_mm::PageStore;
        if let Some(object) = self.trampoline {
            return Ok(object);
        }
        let mut store = self.memory.store(&mut self.arch);
        let object = store.create(PAGE).map_err(|_| Errno::ENOMEM)?;
        let written = store.write(object, 0, <A::Isa as Isa>::SIGRETURN_CODE);
        if written.is_err() {
            store.release(object);
            return Err(Errno::ENOMEM);
        }
        self.trampoline = Some(object);
        Ok(object)
    }

    fn initial_stack(
        &mut self,
        program: &Program,
        bias: u64,
        top: u64,
        request: &ExecRequest,
    ) -> Result<Stack, Errno> {
        let mut random = [0; 16];
        self.arch.entropy(&mut random);
        let [hwcap, hwcap2] = self.arch.hwcap();
        let frame = <A::Isa as Isa>::SIGNAL_FRAME_LEN + self.arch.fpu_len() + 256;
        let auxv = [
            (at::AT_HWCAP, hwcap),
            (at::AT_PAGESZ, PAGE),
            (at::AT_CLKTCK, 100),
            (at::AT_PHDR, if program.headers == 0 { 0 } else { bias + program.headers }),
            (at::AT_PHENT, 56),
            (at::AT_PHNUM, u64::from(program.header_count)),
            (at::AT_BASE, 0),
            (at::AT_FLAGS, 0),
            (at::AT_ENTRY, bias + program.entry),
            (at::AT_UID, 0),
            (at::AT_EUID, 0),
            (at::AT_GID, 0),
            (at::AT_EGID, 0),
            (at::AT_SECURE, 0),
            (at::AT_HWCAP2, hwcap2),
            (at::AT_MINSIGSTKSZ, frame as u64),
        ];
        let contents = Contents {
            argv: &request.argv,
            envp: &request.envp,
            path: &request.path,
            platform: <A::Isa as Isa>::NAME,
            random,
            auxv: &auxv,
        };
        stack::build(top, &contents).ok_or(Errno::E2BIG)
    }

    /// Gives back what was loaded for nothing.
    fn discard(&mut self, loaded: Loaded) {
        self.release_space_id(loaded.space);
        if let Some(file) = loaded.interpreter {
            self.close_program(file);
        }
    }

    /// Makes the loaded program the process's own. From here on there is no way back.
    pub(crate) fn install(&mut self, current: Current, loaded: Loaded) {
        let tid = self.become_leader(current);
        let Loaded { space, entry, stack, trampoline, pair, request, interpreter } = loaded;
        let initial = self.arch.fpu_initial();
        self.run_queue.forget_fpu(tid);
        let Some(process) = self.processes.get_mut(&current.pid) else { return };
        let old = process.space.replace(space);
        process.trampoline = trampoline;
        process.pair = pair;
        process.execed = true;
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
            thread.fpu = initial;
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
        if let Some(file) = interpreter {
            self.close_program(file);
        }
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

/// Room below the first stack pointer that is mapped from the start.
const STACK_SLACK: u64 = 128 * 1024;
