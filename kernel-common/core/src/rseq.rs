//! Restartable sequences: the thread's core number, and sequences cut off by preemption.

use maize_abi::Errno;
use maize_hal::Arch;

use crate::handle::Handle;
use crate::state::State;
use crate::thread::{Current, RseqArea};

/// Bytes of `struct rseq` in its first version, which is what is served.
const LEN: u32 = 32;

const FLAG_UNREGISTER: u64 = 1;

/// Offset of `rseq_cs`, the address of the critical section in progress.
const CRITICAL_SECTION: u64 = 8;

/// `cpu_id` of an area that is not registered.
const UNINITIALIZED: u32 = u32::MAX;

/// The `rseq` system call.
pub(crate) async fn register<A: Arch>(
    k: &Handle<A>,
    current: Current,
    args: [u64; 6],
) -> Result<u64, Errno> {
    let [address, len, flags, signature, ..] = args;
    let area = RseqArea { address, len: len as u32, signature: signature as u32 };
    let before = k.with(|s| s.threads.get(&current.tid).and_then(|t| t.rseq));
    if flags & FLAG_UNREGISTER != 0 {
        if flags != FLAG_UNREGISTER || before.is_none_or(|b| b.address != address) {
            return Err(Errno::EINVAL);
        }
        if before != Some(area) {
            return Err(Errno::EPERM);
        }
        write_cpu(k, current, address, UNINITIALIZED).await?;
        set(k, current, None);
        return Ok(0);
    }
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    if let Some(before) = before {
        return Err(if before == area { Errno::EBUSY } else { Errno::EINVAL });
    }
    if area.len != LEN || !address.is_multiple_of(32) {
        return Err(Errno::EINVAL);
    }
    let cpu = k.with(|s| s.cpu_of(current.tid));
    write_cpu(k, current, address, cpu).await?;
    set(k, current, Some(area));
    Ok(0)
}

fn set<A: Arch>(k: &Handle<A>, current: Current, area: Option<RseqArea>) {
    k.with(|s| {
        if let Some(thread) = s.threads.get_mut(&current.tid) {
            thread.rseq = area;
        }
    });
}

/// Writes `cpu_id_start` and `cpu_id`.
async fn write_cpu<A: Arch>(
    k: &Handle<A>,
    current: Current,
    address: u64,
    cpu: u32,
) -> Result<(), Errno> {
    let start = if cpu == UNINITIALIZED { 0 } else { cpu };
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&start.to_le_bytes());
    bytes[4..].copy_from_slice(&cpu.to_le_bytes());
    k.write_user(current, address, &bytes).await
}

/// The thread will be on another core when it runs next. As on Linux, a program that has taken its
/// area's memory away is not told.
pub(crate) async fn on_migration<A: Arch>(k: &Handle<A>, current: Current, cpu: u32) {
    if let Some(area) = k.with(|s| s.threads.get(&current.tid).and_then(|t| t.rseq)) {
        let _ = write_cpu(k, current, area.address, cpu).await;
    }
}

impl<A: Arch> State<A> {
    /// Whether an interrupted thread is in a critical section, or that cannot be told without
    /// waiting.
    pub(crate) fn is_in_sequence(&mut self, current: Current) -> bool {
        let Some(area) = self.threads.get(&current.tid).and_then(|t| t.rseq) else { return false };
        let at = area.address.wrapping_add(CRITICAL_SECTION);
        let half = |s: &mut State<A>, at| s.peek_u32(current, at);
        half(self, at) != Some(0) || half(self, at.wrapping_add(4)) != Some(0)
    }
}

/// A thread that was interrupted inside a critical section continues at its abort handler.
///
/// Called after each interrupt of user code, before another thread can have run. A malformed
/// description ends the process with SIGSEGV, as on Linux.
pub(crate) async fn on_preemption<A: Arch>(k: &Handle<A>, current: Current) {
    let Some(area) = k.with(|s| s.threads.get(&current.tid).and_then(|t| t.rseq)) else { return };
    if abort_section(k, current, area).await.is_err() {
        k.with(|s| s.bad_stack(current));
    }
}

async fn abort_section<A: Arch>(
    k: &Handle<A>,
    current: Current,
    area: RseqArea,
) -> Result<(), Errno> {
    let at = area.address.wrapping_add(CRITICAL_SECTION);
    let [section] = k.read_words::<1>(current, at).await?;
    if section == 0 {
        return Ok(());
    }
    let [version_flags, start, len, abort] = k.read_words::<4>(current, section).await?;
    if version_flags as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    let pc = k.with(|s| s.threads.get(&current.tid).map_or(0, |t| t.regs.pc()));
    k.write_user(current, at, &[0; 8]).await?;
    if pc.wrapping_sub(start) >= len {
        return Ok(());
    }
    let signature = k.read_u32(current, abort.wrapping_sub(4)).await?;
    if signature != area.signature || abort.wrapping_sub(start) < len {
        return Err(Errno::EINVAL);
    }
    k.with(|s| {
        if let Some(thread) = s.threads.get_mut(&current.tid) {
            thread.regs.set_pc(abort);
        }
    });
    Ok(())
}
