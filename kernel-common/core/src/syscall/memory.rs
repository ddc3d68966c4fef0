//! Memory system calls.

use alloc::sync::Arc;
use alloc::vec::Vec;

use maize_abi::pte::Access;
use maize_abi::{Errno, PAGE_SIZE, Sysno};
use maize_hal::Arch;
use maize_mm::{
    Advice, AreaFlags, Backing, Label, MapError, MapRequest, ObjectId, OldRange, Placement,
    Relocation, Sharing, SpaceId,
};

use super::membarrier::membarrier;
use super::{Call, CallResult};
use crate::group::ordered;
use crate::lifecycle::finish_steps;
use crate::state::State;

const PAGE: u64 = PAGE_SIZE as u64;

/// A file that a program wants to map.
#[derive(Clone, Debug)]
pub(crate) struct Mappable {
    pub(crate) object: ObjectId,
    /// What a mapping of it may ever allow.
    pub(crate) may: Access,
    pub(crate) label: Label,
}

/// Serves `sysno` if it is a memory call.
pub(super) async fn dispatch<A: Arch>(call: Call<'_, A>, sysno: Sysno) -> Option<CallResult> {
    let (k, current, what) = (call.k, call.current, (sysno, &call.args));
    Some(match sysno {
        // What changes areas is ordered among all instances that have the space.
        Sysno::Mmap => ordered(k, current, what, mmap(call)).await,
        Sysno::Munmap => ordered(k, current, what, munmap(call)).await,
        Sysno::Mprotect => ordered(k, current, what, mprotect(call)).await,
        Sysno::Mremap => ordered(k, current, what, mremap(call)).await,
        Sysno::Brk => ordered(k, current, what, brk(call)).await,
        Sysno::Madvise => ordered(k, current, what, madvise(call)).await,
        Sysno::Msync => msync(call).await,
        Sysno::Mincore => mincore(call).await,
        // Nothing is ever paged out.
        Sysno::Mlock | Sysno::Mlock2 | Sysno::Munlock => check_range(call).await,
        Sysno::Mlockall | Sysno::Munlockall => Ok(0),
        Sysno::Membarrier => membarrier(call).await,
        _ => return None,
    })
}

/// The caller's space, with what other threads have begun on it carried out. What one of them
/// begins before the caller's next step is carried out by that step.
pub(super) async fn space<A: Arch>(call: Call<'_, A>) -> Result<SpaceId, Errno> {
    let space = call.k.with(|s| s.thread_space(call.current.tid)).ok_or(Errno::ESRCH)?;
    finish_steps(call.k, call.current, space).await?;
    Ok(space)
}

/// The rights that `PROT_*` bits name: `PROT_READ`, `PROT_WRITE` and `PROT_EXEC` have the bits of
/// [`Access`]. Others are ignored, as by Linux's `mmap`.
fn access(prot: u32) -> Access {
    Access::from_bits_truncate(prot as u8)
}

const MAP_SHARED: u32 = 1;
const MAP_PRIVATE: u32 = 2;
const MAP_SHARED_VALIDATE: u32 = 3;
const MAP_TYPE: u32 = 0xf;
const MAP_FIXED: u32 = 0x10;
const MAP_ANONYMOUS: u32 = 0x20;
const MAP_GROWSDOWN: u32 = 0x100;
const MAP_NORESERVE: u32 = 0x4000;
const MAP_POPULATE: u32 = 0x8000;
const MAP_NONBLOCK: u32 = 0x1_0000;
const MAP_FIXED_NOREPLACE: u32 = 0x10_0000;
/// Flags without a meaning here: `MAP_DENYWRITE`, `MAP_EXECUTABLE`, `MAP_LOCKED`, `MAP_STACK`.
const MAP_INERT: u32 = 0x800 | 0x1000 | 0x2000 | 0x2_0000;
const MAP_KNOWN: u32 = MAP_TYPE
    | MAP_FIXED
    | MAP_ANONYMOUS
    | MAP_GROWSDOWN
    | MAP_NORESERVE
    | MAP_POPULATE
    | MAP_NONBLOCK
    | MAP_FIXED_NOREPLACE
    | MAP_INERT;

async fn mmap<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [address, len, _, _, _, offset] = call.args;
    let access = access(call.uint(2));
    let flags = call.uint(3);
    let sharing = match flags & MAP_TYPE {
        MAP_PRIVATE => Sharing::Private,
        MAP_SHARED => Sharing::Shared,
        MAP_SHARED_VALIDATE if flags & !MAP_KNOWN != 0 => return Err(Errno::EOPNOTSUPP),
        MAP_SHARED_VALIDATE => Sharing::Shared,
        _ => return Err(Errno::EINVAL),
    };
    let space = space(call).await?;
    if len == 0 || !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    if flags & MAP_ANONYMOUS == 0 || sharing == Sharing::Shared {
        call.k.at_registry(call.current)?;
    }
    let placement = if flags & MAP_FIXED_NOREPLACE != 0 {
        Placement::FixedFree(address)
    } else if flags & MAP_FIXED != 0 {
        Placement::Fixed(address)
    } else {
        Placement::Anywhere(address)
    };
    let mut request = MapRequest::anonymous(placement, len, access);
    request.sharing = sharing;
    request.populate = flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE;
    request.flags.set(AreaFlags::NO_RESERVE, flags & MAP_NORESERVE != 0);
    if flags & MAP_GROWSDOWN != 0 {
        if sharing == Sharing::Shared || flags & MAP_ANONYMOUS == 0 {
            return Err(Errno::EINVAL);
        }
        request.flags |= AreaFlags::GROWS_DOWN;
    }
    let shared = sharing == Sharing::Shared;
    let mapped = call.k.with(|s| {
        if flags & MAP_ANONYMOUS == 0
            && let Some(file) = s.file_to_map(call.current, call.int(4), access, shared)?
        {
            request.backing = Backing::Object { object: file.object, offset };
            request.may = file.may;
            request.label = Some(Arc::new(file.label));
        }
        Ok::<_, Errno>(s.memory.map(&mut s.arch, space, &request)?)
    })?;
    finish_steps(call.k, call.current, space).await?;
    Ok(mapped)
}

async fn munmap<A: Arch>(call: Call<'_, A>) -> CallResult {
    unmap(call, (call.args[0], call.args[1])).await
}

/// Takes mappings of the caller's away, as a step of a call.
pub(super) async fn unmap<A: Arch>(call: Call<'_, A>, (start, len): (u64, u64)) -> CallResult {
    let space = space(call).await?;
    call.k.with(|s| s.memory.unmap(&mut s.arch, space, start, len))?;
    finish_steps(call.k, call.current, space).await?;
    call.k.with(State::wake_background);
    Ok(0)
}

async fn mprotect<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [start, len, ..] = call.args;
    const PROT_SEM: u32 = 8;
    let prot = call.uint(2);
    if prot & !(u32::from(Access::all().bits()) | PROT_SEM) != 0 {
        return Err(Errno::EINVAL);
    }
    let access = access(prot);
    let space = space(call).await?;
    // What lies before an error has changed, and its page tables must follow.
    let result = call.k.with(|s| s.memory.protect(&mut s.arch, space, start, len, access));
    finish_steps(call.k, call.current, space).await?;
    result?;
    Ok(0)
}

async fn mremap<A: Arch>(call: Call<'_, A>) -> CallResult {
    const MREMAP_MAYMOVE: u32 = 1;
    const MREMAP_FIXED: u32 = 2;
    const MREMAP_DONTUNMAP: u32 = 4;
    let [start, old_len, new_len, _, to, _] = call.args;
    let flags = call.uint(3);
    let may_move = flags & MREMAP_MAYMOVE != 0;
    if flags & !(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) != 0
        || !may_move && flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) != 0
    {
        return Err(Errno::EINVAL);
    }
    let relocation = match (may_move, flags & MREMAP_FIXED != 0) {
        (_, true) => Relocation::MoveTo(to),
        (true, false) => Relocation::MayMove,
        (false, false) => Relocation::Stay,
    };
    let old = if flags & MREMAP_DONTUNMAP != 0 { OldRange::Kept } else { OldRange::Unmapped };
    let space = space(call).await?;
    let moved = call
        .k
        .with(|s| s.memory.remap(&mut s.arch, space, (start, old_len), new_len, relocation, old))?;
    finish_steps(call.k, call.current, space).await?;
    call.k.with(State::wake_background);
    Ok(moved)
}

async fn brk<A: Arch>(call: Call<'_, A>) -> CallResult {
    let space = space(call).await?;
    let end = call.k.with(|s| s.memory.brk(&mut s.arch, space, call.args[0]))?;
    finish_steps(call.k, call.current, space).await?;
    Ok(end)
}

/// What `madvise`'s number means; `None` if Linux does not know it either.
fn advice(n: i32) -> Option<Advice> {
    let none = AreaFlags::empty();
    Some(match n {
        // NORMAL, RANDOM, SEQUENTIAL, (UN)MERGEABLE, (NO)HUGEPAGE, DONTDUMP, DODUMP, COLD, PAGEOUT:
        // how to be fast, or about core files.
        0..=2 | 12..=17 | 20 | 21 => Advice::None,
        3 => Advice::WillNeed,
        4 | 24 => Advice::DontNeed,
        8 => Advice::Free,
        10 => Advice::Set(AreaFlags::NO_FORK, none),
        11 => Advice::Set(none, AreaFlags::NO_FORK),
        18 => Advice::Set(AreaFlags::WIPE_ON_FORK, none),
        19 => Advice::Set(none, AreaFlags::WIPE_ON_FORK),
        22 => Advice::Populate(Access::READ),
        23 => Advice::Populate(Access::WRITE),
        _ => return None,
    })
}

async fn madvise<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [start, len, ..] = call.args;
    let advice = advice(call.int(2)).ok_or(Errno::EINVAL)?;
    let space = space(call).await?;
    let result = call.k.with(|s| s.memory.advise(&mut s.arch, space, start, len, advice));
    finish_steps(call.k, call.current, space).await?;
    call.k.with(State::wake_background);
    result?;
    Ok(0)
}

/// Mappings and files are the same pages: there is nothing to write back.
async fn msync<A: Arch>(call: Call<'_, A>) -> CallResult {
    const MS_ASYNC: u32 = 1;
    const MS_INVALIDATE: u32 = 2;
    const MS_SYNC: u32 = 4;
    let flags = call.uint(2);
    if flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) != 0
        || flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC
        || !call.args[0].is_multiple_of(PAGE)
    {
        return Err(Errno::EINVAL);
    }
    check_range(call).await
}

async fn check_range<A: Arch>(call: Call<'_, A>) -> CallResult {
    let start = call.args[0] & !(PAGE - 1);
    let end = call.args[0].checked_add(call.args[1]).ok_or(Errno::EINVAL)?;
    let space = space(call).await?;
    match call.k.with(|s| s.memory.check_mapped(space, start, end - start)) {
        Ok(()) => Ok(0),
        Err(MapError::NotMapped) => Err(Errno::ENOMEM),
        Err(error) => Err(error.into()),
    }
}

/// Pages that `mincore` answers for in one step.
const MINCORE_STEP: u64 = 1024;

async fn mincore<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [start, len, out, ..] = call.args;
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let end = len
        .checked_next_multiple_of(PAGE)
        .and_then(|len| start.checked_add(len))
        .ok_or(Errno::ENOMEM)?;
    let space = space(call).await?;
    let mut at = start;
    while at < end {
        let part = (end - at).min(MINCORE_STEP * PAGE);
        let pages = call.k.with(|s| s.memory.resident(space, at, part))?;
        let bytes: Vec<u8> = pages.into_iter().map(u8::from).collect();
        let to = out.wrapping_add((at - start) / PAGE);
        call.k.write_user(call.current, to, &bytes).await?;
        at += part;
        call.k.yield_now(call.current.task).await;
    }
    Ok(0)
}
