//! System V shared memory.

use alloc::sync::Arc;

use maize_abi::ipc::{self, Permissions};
use maize_abi::pte::Access;
use maize_abi::shm::{self, ShmidDs};
use maize_abi::{Errno, PAGE_SIZE, Sysno};
use maize_hal::Arch;
use maize_mm::{Backing, MapRequest, Placement, Sharing};

use super::{Call, CallResult, memory};
use crate::group::ordered;
use crate::lifecycle::finish_steps;
use crate::segments::{self, Event};
use crate::state::State;

const PAGE: u64 = PAGE_SIZE as u64;

pub(super) fn shmget<A: Arch>(call: Call<'_, A>) -> CallResult {
    let what = (call.int(0), call.args[1], call.uint(2));
    call.k.with(|s| s.find_segment(call.current.pid, what))
}

pub(super) async fn shmat<A: Arch>(call: Call<'_, A>) -> CallResult {
    const MAP_FIXED: u64 = 0x10;
    let (address, flags) = (call.args[1], call.uint(2));
    // The segments are there.
    call.k.at_registry(call.current)?;
    let remaps = flags & shm::SHM_REMAP != 0;
    if remaps && address == 0 {
        return Err(Errno::EINVAL);
    }
    let address = if flags & shm::SHM_RND != 0 { address / PAGE * PAGE } else { address };
    if !address.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let (_, len, _) = call.k.with(|s| s.segment_to_map(call.int(0)))?;
    // As a mapping, which is ordered among all instances that have the space.
    let fixed = if remaps { MAP_FIXED } else { 0 };
    let what = (Sysno::Mmap, &[address, len, 0, fixed, 0, 0]);
    ordered(call.k, call.current, what, attach(call, address)).await
}

async fn attach<A: Arch>(call: Call<'_, A>, address: u64) -> CallResult {
    let flags = call.uint(2);
    let space = memory::space(call).await?;
    let mut access = Access::READ;
    access.set(Access::WRITE, flags & shm::SHM_RDONLY == 0);
    access.set(Access::EXECUTE, flags & shm::SHM_EXEC != 0);
    let mut may = Access::all();
    may.set(Access::WRITE, access.contains(Access::WRITE));
    let placement = match address {
        0 => Placement::Anywhere(0),
        _ if flags & shm::SHM_REMAP != 0 => Placement::Fixed(address),
        _ => Placement::FixedFree(address),
    };
    let mapped = call.k.with(|s| {
        let (object, len, label) = s.segment_to_map(call.int(0))?;
        let request = MapRequest {
            sharing: Sharing::Shared,
            backing: Backing::Object { object, offset: 0 },
            may,
            label: Some(Arc::new(label)),
            ..MapRequest::anonymous(placement, len, access)
        };
        let mapped = s.memory.map(&mut s.arch, space, &request).map_err(|error| {
            // What is there already is no place, as on Linux.
            let errno = Errno::from(error);
            if errno == Errno::EEXIST { Errno::EINVAL } else { errno }
        })?;
        s.note_segment(object, call.current.pid, Event::Attached);
        Ok::<_, Errno>(mapped)
    })?;
    finish_steps(call.k, call.current, space).await?;
    Ok(mapped)
}

pub(super) async fn shmdt<A: Arch>(call: Call<'_, A>) -> CallResult {
    let address = call.args[0];
    let space = memory::space(call).await?;
    let found = call.k.with(|s| s.segment_at(space, address)).ok_or(Errno::EINVAL)?;
    for (start, len) in found.1 {
        let what = (Sysno::Munmap, &[start, len, 0, 0, 0, 0]);
        ordered(call.k, call.current, what, memory::unmap(call, (start, len))).await?;
    }
    call.k.with(|s| {
        s.note_segment(found.0, call.current.pid, Event::Detached);
        s.drop_removed_segments();
    });
    Ok(0)
}

pub(super) async fn shmctl<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (id, command, buffer) = (call.int(0), call.uint(1), call.args[2]);
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let facts = call.k.with(|s: &mut State<A>| s.segment_facts(id));
    match command {
        ipc::IPC_RMID => call.k.with(|s| s.remove_segment(id))?,
        ipc::IPC_STAT => call.k.write_user(call.current, buffer, &facts?.to_bytes()).await?,
        ipc::IPC_SET => {
            let mut bytes = [0; ShmidDs::LEN];
            call.k.read_user(call.current, buffer, &mut bytes).await?;
            call.k.with(|s| s.change_segment(id, &Permissions::from_bytes(&bytes)))?;
        }
        shm::SHM_STAT | shm::SHM_STAT_ANY => {
            let (id, facts) = call.k.with(|s| s.segment_at_place(id))?;
            call.k.write_user(call.current, buffer, &facts.to_bytes()).await?;
            return Ok(id as u64);
        }
        ipc::IPC_INFO | shm::SHM_INFO => {
            let (highest, usage) = call.k.with(State::segments_usage);
            let (limits, usage) = (segments::LIMITS.to_bytes(), usage.to_bytes());
            let told = if command == ipc::IPC_INFO { &limits[..] } else { &usage };
            call.k.write_user(call.current, buffer, told).await?;
            return Ok(u64::from(highest));
        }
        // Nothing is ever paged out.
        shm::SHM_LOCK | shm::SHM_UNLOCK => facts.map(|_| ())?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
