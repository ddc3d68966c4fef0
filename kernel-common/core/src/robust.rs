//! What a thread leaves in its process's memory at its end: robust futexes and the cleared tid.
//!
//! The list is the program's own memory and may hold anything: every step is bounded and every
//! bad address ends the walk.

use maize_hal::Arch;

use crate::futex::FutexKey;
use crate::handle::Handle;
use crate::thread::Current;

const FUTEX_WAITERS: u32 = 0x8000_0000;
const FUTEX_OWNER_DIED: u32 = 0x4000_0000;
const FUTEX_TID_MASK: u32 = 0x3fff_ffff;

/// Linux's `ROBUST_LIST_LIMIT`.
const LIMIT: usize = 2048;

/// Marks every robust futex that the thread holds as ownerless and wakes one waiter of each.
pub(crate) async fn release_all<A: Arch>(k: &Handle<A>, current: Current) {
    let head =
        k.with(|s| s.threads.get_mut(&current.tid).map(|t| core::mem::take(&mut t.robust_list)));
    let Some(head @ 1..) = head else { return };
    let Ok([first, offset, pending]) = k.read_words::<3>(current, head).await else { return };
    let mut entry = first;
    for _ in 0..LIMIT {
        // Bit 0 says that the mutex is one with priority inheritance.
        let node = entry & !1;
        if node == head {
            break;
        }
        let next = k.read_words::<1>(current, node).await;
        if node != pending & !1 {
            release(k, current, node.wrapping_add(offset)).await;
        }
        let Ok([next]) = next else { break };
        entry = next;
    }
    if pending & !1 != 0 {
        release(k, current, (pending & !1).wrapping_add(offset)).await;
    }
}

async fn release<A: Arch>(k: &Handle<A>, current: Current, address: u64) {
    if !address.is_multiple_of(4) {
        return;
    }
    for _ in 0..LIMIT {
        let Ok(word) = k.read_u32(current, address).await else { return };
        if word & FUTEX_TID_MASK != current.tid.0 {
            return;
        }
        let new = (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        match k.compare_exchange_u32(current, address, word, new).await {
            Ok(found) if found == word => {
                if word & FUTEX_WAITERS != 0 {
                    wake_both(k, current, address, 1).await;
                }
                return;
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// Clears the word given by `CLONE_CHILD_CLEARTID` or `set_tid_address` and wakes its waiter
/// (`pthread_join`).
pub(crate) async fn clear_child_tid<A: Arch>(k: &Handle<A>, current: Current) {
    let address = k.with(|s| {
        s.threads.get_mut(&current.tid).map_or(0, |t| core::mem::take(&mut t.clear_child_tid))
    });
    if address == 0 || k.write_user(current, address, &0_u32.to_le_bytes()).await.is_err() {
        return;
    }
    wake_both(k, current, address, 1).await;
}

/// Wakes waiters that named the word as private and those that named it as shared.
async fn wake_both<A: Arch>(k: &Handle<A>, current: Current, address: u64, count: u32) {
    let private =
        k.with(|s| s.thread_space(current.tid).map(|space| FutexKey::Private(space, address)));
    let shared = k.futex_key(current, address, false).await.ok();
    // Where memory is not shared both names are the same.
    for key in private.into_iter().chain(shared.filter(|shared| Some(*shared) != private)) {
        k.wake_futex(current, key, count).await;
    }
}
