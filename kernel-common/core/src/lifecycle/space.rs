//! A process's memory at fork, exec and exit.

use maize_abi::{Errno, Isa};
use maize_hal::Arch;
use maize_mm::{Budget, Layout, Progress, SpaceId};

use crate::group::recall;
use crate::handle::Handle;
use crate::ids::Pid;
use crate::state::State;
use crate::thread::Current;

/// Copies the caller's address space in bounded steps.
pub(super) async fn fork_space<A: Arch>(k: &Handle<A>, current: Current) -> Result<SpaceId, Errno> {
    if let Some(space) = k.with(|s| s.shared_space(current)) {
        return fork_shared_space(k, current, space).await;
    }
    let (parent, child) = k.with(|s| {
        let parent = s.thread_space(current.tid).ok_or(Errno::ESRCH)?;
        let child = s.memory.fork_space(&mut s.arch, parent)?;
        Ok::<_, Errno>((parent, child))
    })?;
    match finish_steps(k, current, parent).await {
        Ok(()) => Ok(child),
        Err(errno) => {
            k.with(|s| s.memory.destroy_space(child));
            Err(errno)
        }
    }
}

/// As [`fork_space`], for a space that other instances have replicas of: its pages come home first,
/// since the fork gives them other names.
async fn fork_shared_space<A: Arch>(
    k: &Handle<A>,
    current: Current,
    space: SpaceId,
) -> Result<SpaceId, Errno> {
    k.take_turn(current, space).await;
    let all = 0..k.with(|s| s.user_end());
    let objects = k.with(|s| s.pause_private_pages(space));
    let child = loop {
        if let Err(errno) = recall(k, current, space, all.clone()).await {
            break Err(errno);
        }
        // Where requests cannot be made to wait, a page may have gone again.
        let forked = k.with(|s| {
            let absent = s.memory.absent_pages(space, all.clone(), 1);
            absent.is_empty().then(|| s.memory.fork_space(&mut s.arch, space))
        });
        if let Some(forked) = forked {
            break forked.map_err(Errno::from);
        }
    };
    let finished = finish_steps(k, current, space).await;
    k.with(|s| {
        s.resume_pages(&objects);
        s.end_turn(space);
        if let (Ok(child), Err(_)) = (child, finished) {
            s.memory.destroy_space(child);
        }
    });
    finished.and(child)
}

/// Carries out what an operation on a space has left to do.
pub(crate) async fn finish_steps<A: Arch>(
    k: &Handle<A>,
    current: Current,
    space: SpaceId,
) -> Result<(), Errno> {
    loop {
        let mut budget = Budget::step();
        let progress = k.with(|s| s.memory.advance(&mut s.arch, space, &mut budget));
        if progress == Progress::Done {
            return Ok(());
        }
        k.yield_now(current.task).await;
    }
}

/// Where things go in a new program's space that ends at `end`.
pub(super) fn layout_below(end: u64, stack_limit: u64) -> Layout {
    const GAP_MIN: u64 = 128 << 20;
    /// How much lower Linux's randomisation may start a stack: programs expect such room above
    /// their mappings.
    const STACK_RANDOM: u64 = 16 << 30;
    // As Linux: room for the stack to grow to its limit, within bounds, and a margin.
    let gap = STACK_RANDOM + (stack_limit.clamp(GAP_MIN, end / 6 * 5) & !0xfff);
    Layout { lowest: 0x1_0000, end, mmap_top: end - gap - (1 << 20) }
}

impl<A: Arch> State<A> {
    /// The address above user space.
    pub(crate) fn user_end(&self) -> u64 {
        <A::Isa as Isa>::USER_END
    }

    /// Where things go in the replica of a space.
    pub(crate) fn replica_layout(&self) -> Layout {
        layout_below(self.user_end(), 0)
    }

    /// Lets go of a process's memory unless another process still runs in it.
    pub(crate) fn release_space(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let Some(space) = process.space.take() else { return };
        self.release_space_id(space);
    }

    /// Whether more than one process runs in a space.
    pub(crate) fn is_shared_space(&self, space: SpaceId) -> bool {
        self.processes.values().filter(|process| process.space == Some(space)).nth(1).is_some()
    }

    /// As [`Self::release_space`], for a space that no process has now.
    pub(super) fn release_space_id(&mut self, space: SpaceId) {
        if !self.processes.values().any(|p| p.space == Some(space)) {
            self.end_group(space);
            self.memory.destroy_space(space);
            self.drop_removed_segments();
            self.wake_background();
        }
    }

    /// Bytes of memory in all, and free.
    pub(crate) fn memory_bytes(&self) -> (u64, u64) {
        let usage = self.memory.usage();
        let page = maize_abi::PAGE_SIZE as u64;
        (usage.total * page, (usage.free + usage.reclaimable) * page)
    }
}
