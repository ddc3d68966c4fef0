//! A program's image: its files, stack and signal trampoline in a new address space.

use alloc::sync::Arc;
use alloc::vec;

use maize_abi::migration::{PRIVATE, REQUEST_PAGE};
use maize_abi::pte::Access;
use maize_abi::{Errno, Isa, IsaKind, PAGE_SIZE};
use maize_hal::Arch;
use maize_mm::{AreaFlags, Backing, Label, MapRequest, ObjectId, Placement, Sharing, SpaceId};

use super::exec::ExecRequest;
use super::pair::access_in_pair;
use super::space::{finish_steps, layout_below};
use crate::credentials::Credentials;
use crate::files::ProgramFile;
use crate::handle::Handle;
use crate::loader::elf::{Program, Segment};
use crate::loader::stack::{self, Contents, Stack, at};
use crate::process::{Rlimit, rlimit, space_limits};
use crate::state::State;
use crate::thread::Current;

const PAGE: u64 = PAGE_SIZE as u64;

/// Room below the first stack pointer that is mapped from the start.
const STACK_SLACK: u64 = 128 * 1024;

/// What an image is made of.
pub(super) struct Parts {
    pub(super) program: Program,
    /// What the program is started by, if it is linked dynamically: Linux's `ld.so`.
    pub(super) interpreter: Option<(Program, ProgramFile)>,
    /// Whether the program exists for the other instruction set too.
    pub(super) has_pair: bool,
}

impl Parts {
    fn entry(&self, biases: Biases) -> u64 {
        match &self.interpreter {
            Some((interpreter, _)) => biases.interpreter + interpreter.entry,
            None => biases.program + self.program.entry,
        }
    }

    /// Memory of pages that come from the files and is zero nevertheless: first address, bytes.
    fn zeros(&self, biases: Biases) -> impl Iterator<Item = (u64, usize)> {
        let interpreter = self.interpreter.iter().map(|(program, _)| program);
        let interpreter = interpreter.flat_map(move |p| of_bias(p, biases.interpreter));
        let all = of_bias(&self.program, biases.program).chain(interpreter);
        let written = all.filter(|(_, segment)| {
            let is_private = self.has_pair && PRIVATE.contains(&segment.start);
            !is_private && segment.access.contains(Access::WRITE)
        });
        written.filter(|(_, segment)| segment.zero_from < segment.file_end).map(
            |(bias, segment)| {
                (bias + segment.zero_from, (segment.file_end - segment.zero_from) as usize)
            },
        )
    }
}

fn of_bias(program: &Program, bias: u64) -> impl Iterator<Item = (u64, &Segment)> {
    program.segments.iter().map(move |segment| (bias, segment))
}

/// How far above their own addresses the files are mapped.
#[derive(Clone, Copy, Default)]
struct Biases {
    program: u64,
    interpreter: u64,
}

/// A space with a program that is ready to run.
pub(super) struct Image {
    pub(super) space: SpaceId,
    /// Where it starts.
    pub(super) entry: u64,
    pub(super) stack: Stack,
    pub(super) trampoline: u64,
}

struct Mapped {
    image: Image,
    biases: Biases,
}

/// Makes a space for a program and fills it.
pub(super) async fn build<A: Arch>(
    k: &Handle<A>,
    current: Current,
    parts: &Parts,
    request: &ExecRequest,
) -> Result<Image, Errno> {
    let Mapped { image, biases } = k.with(|s| s.map_program(current, parts, request))?;
    let filled = async {
        finish_steps(k, current, image.space).await?;
        for (at, len) in parts.zeros(biases) {
            k.write_space(current, image.space, at, &vec![0; len]).await?;
        }
        k.write_space(current, image.space, image.stack.pointer, &image.stack.bytes).await
    };
    if let Err(errno) = filled.await {
        k.with(|s| s.release_space_id(image.space));
        return Err(errno);
    }
    Ok(image)
}

impl<A: Arch> State<A> {
    /// Makes a space and maps the program, its heap, stack and signal trampoline.
    fn map_program(
        &mut self,
        current: Current,
        parts: &Parts,
        request: &ExecRequest,
    ) -> Result<Mapped, Errno> {
        // As text, as pointers, as the stack, and for /proc, which makes two of each on the way.
        self.room_for_strings(request, 7)?;
        let process = self.processes.get(&current.pid).ok_or(Errno::ESRCH)?;
        let (limits, credentials) = (process.limits, process.credentials.clone());
        let stack_limit = limits[rlimit::RLIMIT_STACK].soft;
        let end = if parts.has_pair { self.paired_end() } else { self.user_end() };
        let layout = layout_below(end, stack_limit);
        let space = self.memory.create_space(&mut self.arch, layout).map_err(|_| Errno::ENOMEM)?;
        let mapped = self.fill_space(space, parts, end, request, &limits, credentials);
        if mapped.is_err() {
            self.release_space_id(space);
        }
        mapped
    }

    fn fill_space(
        &mut self,
        space: SpaceId,
        parts: &Parts,
        end: u64,
        request: &ExecRequest,
        limits: &[Rlimit; rlimit::COUNT],
        credentials: Credentials,
    ) -> Result<Mapped, Errno> {
        self.memory.set_limits(space, space_limits(limits))?;
        let program = &parts.program;
        // Two thirds up user space, as Linux places programs that can be anywhere.
        let bias =
            if program.position_independent { (self.user_end() / 3 * 2) & !(PAGE - 1) } else { 0 };
        self.map_segments(space, (program, &request.file), bias, parts.has_pair)?;
        self.memory.set_heap_start(space, (bias + program.end).next_multiple_of(PAGE))?;
        let mut biases = Biases { program: bias, interpreter: 0 };
        if let Some((interpreter, file)) = &parts.interpreter {
            biases.interpreter = self.interpreter_bias(space, interpreter)?;
            self.map_segments(space, (interpreter, file), biases.interpreter, false)?;
        }

        let trampoline = self.map_trampoline(space)?;
        let top = end - PAGE;
        let stack = self.initial_stack(program, biases, top, request, credentials)?;
        let start = (stack.pointer - STACK_SLACK) & !(PAGE - 1);
        let mut access = Access::READ | Access::WRITE;
        access.set(Access::EXECUTE, program.executable_stack);
        let flags = AreaFlags::GROWS_DOWN | AreaFlags::STACK;
        self.map_fixed(space, start..top, access, None, flags, None)?;
        let image = Image { space, entry: parts.entry(biases), stack, trampoline };
        Ok(Mapped { image, biases })
    }

    /// Where there is room for all segments of a program's interpreter.
    fn interpreter_bias(&mut self, space: SpaceId, interpreter: &Program) -> Result<u64, Errno> {
        let first = interpreter.segments.first().map_or(0, |segment| segment.start);
        let last = interpreter.segments.last().map_or(0, |segment| segment.end);
        if !interpreter.position_independent {
            return Ok(0);
        }
        let request = MapRequest {
            placement: Placement::Anywhere(0),
            len: last - first,
            access: Access::empty(),
            may: Access::empty(),
            sharing: Sharing::Private,
            flags: AreaFlags::empty(),
            backing: Backing::Anonymous,
            populate: false,
            label: None,
        };
        let start = self.memory.map(&mut self.arch, space, &request)?;
        self.memory.unmap(&mut self.arch, space, start, request.len)?;
        start.checked_sub(first).ok_or(Errno::ENOMEM)
    }

    /// Maps the segments of a file.
    fn map_segments(
        &mut self,
        space: SpaceId,
        (program, file): (&Program, &ProgramFile),
        bias: u64,
        has_pair: bool,
    ) -> Result<(), Errno> {
        let first = program.segments.first().map_or(0, |s| s.start);
        let last = program.segments.last().map_or(0, |s| s.end);
        if bias.checked_add(last).is_none_or(|end| end > self.user_end())
            || bias + first < layout_below(self.user_end(), 0).lowest
        {
            return Err(Errno::ENOMEM);
        }
        let label = Arc::new(file.label());
        for segment in &program.segments {
            let mut access = segment.access;
            if has_pair {
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
                    Some((file.object, segment.offset)),
                    AreaFlags::empty(),
                    Some(Arc::clone(&label)),
                )?;
            }
            if segment.end > segment.file_end {
                let range = bias + segment.file_end..bias + segment.end;
                self.map_fixed(space, range, access, None, AreaFlags::empty(), None)?;
            }
        }
        Ok(())
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
        biases: Biases,
        top: u64,
        request: &ExecRequest,
        Credentials { user, group, .. }: Credentials,
    ) -> Result<Stack, Errno> {
        let bias = biases.program;
        let mut random = [0; 16];
        self.arch.entropy(&mut random);
        let [hwcap, hwcap2] = self.arch.hwcap();
        let frame = <A::Isa as Isa>::SIGNAL_FRAME_LEN + self.arch.fpu_len() + 256;
        let differ = user.real != user.effective || group.real != group.effective;
        let auxv = [
            (at::AT_HWCAP, hwcap),
            (at::AT_PAGESZ, PAGE),
            (at::AT_CLKTCK, 100),
            (at::AT_PHDR, if program.headers == 0 { 0 } else { bias + program.headers }),
            (at::AT_PHENT, 56),
            (at::AT_PHNUM, u64::from(program.header_count)),
            (at::AT_BASE, biases.interpreter),
            (at::AT_FLAGS, 0),
            (at::AT_ENTRY, bias + program.entry),
            (at::AT_UID, u64::from(user.real)),
            (at::AT_EUID, u64::from(user.effective)),
            (at::AT_GID, u64::from(group.real)),
            (at::AT_EGID, u64::from(group.effective)),
            (at::AT_SECURE, u64::from(differ)),
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
}
