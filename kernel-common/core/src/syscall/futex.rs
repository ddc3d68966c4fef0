//! `futex`, `set_robust_list`, `get_robust_list`.

use maize_abi::Errno;
use maize_hal::{Arch, Nanos};

use super::{Call, CallResult};
use crate::futex::{FutexKey, MATCH_ANY};
use crate::ids::Tid;
use crate::state::State;
use crate::thread::RestartBlock;
use crate::wait::{Interruptible, WaitKey, Woken};

const FUTEX_WAIT: u32 = 0;
const FUTEX_WAKE: u32 = 1;
const FUTEX_REQUEUE: u32 = 3;
const FUTEX_CMP_REQUEUE: u32 = 4;
const FUTEX_WAKE_OP: u32 = 5;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAKE_BITSET: u32 = 10;
const FUTEX_PRIVATE_FLAG: u32 = 128;
const FUTEX_CLOCK_REALTIME: u32 = 256;

impl<A: Arch> State<A> {
    /// Wakes up to `count` waiters; returns how many.
    pub(crate) fn futex_wake(&mut self, key: FutexKey, count: u32, bits: u32) -> u32 {
        let mut woken = 0;
        while woken < count {
            let Some(tid) = self.futexes.wake_one(key, bits) else { break };
            self.wake(WaitKey::Futex(tid));
            woken += 1;
        }
        woken
    }
}

pub(super) async fn futex<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [address, _, _, fourth, second, _] = call.args;
    let op = call.uint(1);
    let value = call.uint(2);
    let private = op & FUTEX_PRIVATE_FLAG != 0;
    let third = call.uint(5);
    match op & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME) {
        command @ (FUTEX_WAIT | FUTEX_WAIT_BITSET) => {
            let bits = if command == FUTEX_WAIT { MATCH_ANY } else { third };
            let mut deadline = Nanos::NEVER;
            if fourth != 0 {
                let time = call.k.read_timespec(call.current, fourth).await?;
                deadline = call.k.with(|s| {
                    let pid = call.current.pid;
                    let rest = match (command, op & FUTEX_CLOCK_REALTIME) {
                        (FUTEX_WAIT, _) => time,
                        (_, 0) => time.since(s.clock_of(pid)),
                        _ => time.since(s.wall_clock_of(pid)),
                    };
                    // The machine may stand still between two looks at the clock: rather late than early.
                    s.now() + rest
                });
            }
            let relative = command == FUTEX_WAIT && fourth != 0;
            wait(call, address, value, bits, private, deadline, relative).await
        }
        command @ (FUTEX_WAKE | FUTEX_WAKE_BITSET) => {
            let bits = if command == FUTEX_WAKE { MATCH_ANY } else { third };
            if bits == 0 {
                return Err(Errno::EINVAL);
            }
            let key = call.k.futex_key(call.current, address, private).await?;
            Ok(call.k.with(|s| u64::from(s.futex_wake(key, value, bits))))
        }
        FUTEX_REQUEUE => requeue(call, address, second, private, value, fourth as u32, None).await,
        FUTEX_CMP_REQUEUE => {
            requeue(call, address, second, private, value, fourth as u32, Some(third)).await
        }
        FUTEX_WAKE_OP => wake_op(call, address, second, private, value, fourth as u32, third).await,
        // Priority inheritance has no meaning where all threads have one priority; glibc falls back.
        _ => Err(Errno::ENOSYS),
    }
}

async fn wait<A: Arch>(
    call: Call<'_, A>,
    address: u64,
    expected: u32,
    bits: u32,
    private: bool,
    deadline: Nanos,
    relative: bool,
) -> CallResult {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let tid = call.current.tid;
    let key = call.k.futex_key(call.current, address, private).await?;
    loop {
        // The page is obtained first, so that comparing and queueing are one step.
        call.k.read_u32(call.current, address).await?;
        let queued = call.k.with(|s| match s.peek_u32(call.current, address) {
            None => Ok(false),
            Some(value) if value != expected => Err(Errno::EAGAIN),
            Some(_) => {
                s.futexes.enqueue(key, tid, bits);
                Ok(true)
            }
        })?;
        if queued {
            break;
        }
    }
    loop {
        let keys = [WaitKey::Futex(tid)];
        let woken =
            call.k.wait_for(call.current.task, &keys, deadline, Interruptible::BySignals).await;
        // Woken for good only by being taken out of the queue: then the wake counts, whatever
        // else came at the same time.
        if !call.k.with(|s| s.futexes.is_queued(tid)) {
            call.k.with(|s| s.needs_next(tid, address));
            return Ok(0);
        }
        match woken {
            Woken::Event => {}
            Woken::TimedOut => {
                call.k.with(|s| s.futexes.cancel(tid));
                return Err(Errno::ETIMEDOUT);
            }
            Woken::Interrupted => {
                call.k.with(|s| s.futexes.cancel(tid));
                if !relative {
                    return Err(Errno::ERESTARTSYS);
                }
                let block = RestartBlock::Futex { address, expected, bits, private, deadline };
                call.k.with(|s| s.set_restart(tid, block));
                return Err(Errno::ERESTART_RESTARTBLOCK);
            }
        }
    }
}

/// Goes on with a wait whose relative time-out became a deadline.
pub(super) async fn wait_restarted<A: Arch>(
    call: Call<'_, A>,
    address: u64,
    expected: u32,
    bits: u32,
    private: bool,
    deadline: Nanos,
) -> CallResult {
    wait(call, address, expected, bits, private, deadline, true).await
}

async fn requeue<A: Arch>(
    call: Call<'_, A>,
    from: u64,
    to: u64,
    private: bool,
    wake: u32,
    move_at_most: u32,
    expected: Option<u32>,
) -> CallResult {
    if (wake as i32) < 0 || (move_at_most as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let from_key = call.k.futex_key(call.current, from, private).await?;
    let to_key = call.k.futex_key(call.current, to, private).await?;
    loop {
        if expected.is_some() {
            call.k.read_u32(call.current, from).await?;
        }
        let done = call.k.with(|s| {
            if let Some(expected) = expected {
                match s.peek_u32(call.current, from) {
                    None => return Ok(None),
                    Some(value) if value != expected => return Err(Errno::EAGAIN),
                    Some(_) => {}
                }
            }
            let woken = s.futex_wake(from_key, wake, MATCH_ANY);
            let moved = s.futexes.requeue(from_key, to_key, move_at_most);
            // Both of the commands count both, whatever the manual page says of FUTEX_REQUEUE.
            Ok(Some(woken + moved))
        })?;
        if let Some(count) = done {
            return Ok(u64::from(count));
        }
    }
}

/// The operation of `FUTEX_WAKE_OP`, packed in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WakeOp {
    op: u32,
    operand: i32,
    compare: u32,
    with: i32,
}

impl WakeOp {
    fn unpack(word: u32) -> Result<WakeOp, Errno> {
        // Twelve bits each, signed.
        let signed = |w: u32| ((w << 20) as i32) >> 20;
        let mut operand = signed(word >> 12);
        let op = (word >> 28) & 7;
        if word >> 31 != 0 {
            operand = 1_i32.wrapping_shl(operand as u32);
        }
        let compare = (word >> 24) & 15;
        if op > 4 || compare > 5 {
            return Err(Errno::ENOSYS);
        }
        Ok(WakeOp { op, operand, compare, with: signed(word) })
    }

    fn apply(self, old: u32) -> u32 {
        let operand = self.operand as u32;
        match self.op {
            0 => operand,
            1 => old.wrapping_add(operand),
            2 => old | operand,
            3 => old & !operand,
            _ => old ^ operand,
        }
    }

    fn holds(self, old: u32) -> bool {
        let old = old as i32;
        match self.compare {
            0 => old == self.with,
            1 => old != self.with,
            2 => old < self.with,
            3 => old <= self.with,
            4 => old > self.with,
            _ => old >= self.with,
        }
    }
}

async fn wake_op<A: Arch>(
    call: Call<'_, A>,
    first: u64,
    second: u64,
    private: bool,
    wake_first: u32,
    wake_second: u32,
    op: u32,
) -> CallResult {
    let op = WakeOp::unpack(op)?;
    let first = call.k.futex_key(call.current, first, private).await?;
    let second_key = call.k.futex_key(call.current, second, private).await?;
    loop {
        let old = call.k.read_u32(call.current, second).await?;
        let found = call.k.compare_exchange_u32(call.current, second, old, op.apply(old)).await?;
        if found != old {
            continue;
        }
        return Ok(call.k.with(|s| {
            let mut woken = s.futex_wake(first, wake_first, MATCH_ANY);
            if op.holds(old) {
                woken += s.futex_wake(second_key, wake_second, MATCH_ANY);
            }
            u64::from(woken)
        }));
    }
}

/// Bytes of a `struct robust_list_head`.
const ROBUST_LIST_HEAD_LEN: u64 = 24;

pub(super) fn set_robust_list<A: Arch>(call: Call<'_, A>) -> CallResult {
    if call.args[1] != ROBUST_LIST_HEAD_LEN {
        return Err(Errno::EINVAL);
    }
    call.k.with(|s| {
        if let Some(thread) = s.threads.get_mut(&call.current.tid) {
            thread.robust_list = call.args[0];
        }
    });
    Ok(0)
}

pub(super) async fn get_robust_list<A: Arch>(call: Call<'_, A>) -> CallResult {
    let tid = match call.int(0) {
        0 => call.current.tid,
        tid => Tid(tid as u32),
    };
    let head = call.k.with(|s| s.threads.get(&tid).map(|t| t.robust_list)).ok_or(Errno::ESRCH)?;
    call.k.write_user(call.current, call.args[1], &head.to_le_bytes()).await?;
    call.k.write_user(call.current, call.args[2], &ROBUST_LIST_HEAD_LEN.to_le_bytes()).await?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_op_is_unpacked_as_linux_does() {
        // FUTEX_OP(FUTEX_OP_ADD, -1, FUTEX_OP_CMP_GT, 3)
        let op = WakeOp::unpack(1 << 28 | 4 << 24 | 0xfff << 12 | 3).unwrap();
        assert_eq!(op, WakeOp { op: 1, operand: -1, compare: 4, with: 3 });
        assert_eq!(op.apply(5), 4);
        assert!(op.holds(4) && !op.holds(3));
        // FUTEX_OP_OPARG_SHIFT
        assert_eq!(WakeOp::unpack(0x8000_0000 | 5 << 12).unwrap().operand, 32);
        assert!(WakeOp::unpack(7 << 28).is_err());
    }
}
