//! `futex`, `set_robust_list`, `get_robust_list`.

use maize_abi::Errno;
use maize_hal::{Arch, Nanos};

use super::{Call, CallResult};
use crate::futex::{FutexKey, MATCH_ANY};
use crate::ids::Tid;
use crate::state::State;
use crate::thread::{FutexWait, RestartBlock};
use crate::wait::{Interruptible, WaitKey, Woken};

/// What may be done where the futex is lent to: on a private word, without a time-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FutexOp {
    /// Wait while the word is `value`.
    Wait {
        value: u32,
        bits: u32,
    },
    Wake {
        count: u32,
        bits: u32,
    },
}

impl FutexOp {
    /// What the arguments of `futex` ask for; `None` if it is anything else.
    pub(crate) fn of(args: &[u64; 6]) -> Option<FutexOp> {
        let [_, op, value, timeout, _, third] = *args;
        let (op, value, third) = (op as u32, value as u32, third as u32);
        let command = op & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
        let bits = if matches!(command, FUTEX_WAIT | FUTEX_WAKE) { MATCH_ANY } else { third };
        if op & FUTEX_PRIVATE_FLAG == 0 || bits == 0 {
            return None;
        }
        match command {
            FUTEX_WAIT | FUTEX_WAIT_BITSET if timeout == 0 => Some(FutexOp::Wait { value, bits }),
            FUTEX_WAKE | FUTEX_WAKE_BITSET => {
                Some(FutexOp::Wake { count: at_least_one(value), bits })
            }
            _ => None,
        }
    }
}

const FUTEX_WAIT: u32 = 0;
const FUTEX_WAKE: u32 = 1;
const FUTEX_REQUEUE: u32 = 3;
const FUTEX_CMP_REQUEUE: u32 = 4;
const FUTEX_WAKE_OP: u32 = 5;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAKE_BITSET: u32 = 10;
const FUTEX_PRIVATE_FLAG: u32 = 128;
const FUTEX_CLOCK_REALTIME: u32 = 256;

/// How many a call wakes: as Linux's, it looks whether that were enough only when it has woken one.
fn at_least_one(count: u32) -> u32 {
    u32::try_from(count.cast_signed()).unwrap_or(1).max(1)
}

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
            let awaited = FutexWait { address, expected: value, bits, private, deadline };
            wait(call, awaited, relative).await
        }
        command @ (FUTEX_WAKE | FUTEX_WAKE_BITSET) => {
            let bits = if command == FUTEX_WAKE { MATCH_ANY } else { third };
            if bits == 0 {
                return Err(Errno::EINVAL);
            }
            let key = name_futex(call, address, private, private).await?;
            call.k.own_futex(call.current, key).await;
            Ok(call.k.with(|s| {
                s.note_futex_call(call.current.tid, key, private);
                u64::from(s.futex_wake(key, at_least_one(value), bits))
            }))
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

/// What the futex of a call is called. If the call could be `served` where the thread came from, and the
/// futex was lent to there meanwhile, the call begins again there.
async fn name_futex<A: Arch>(
    call: Call<'_, A>,
    address: u64,
    private: bool,
    served: bool,
) -> Result<FutexKey, Errno> {
    let key = call.k.futex_key(call.current, address, private).await?;
    let crossed = served && call.k.with(|s| s.has_crossed(call.current.tid, key));
    if crossed { Err(Errno::ERESTARTNOINTR) } else { Ok(key) }
}

/// Waits, or goes on with a wait whose time-out was `relative` and has become a deadline.
pub(super) async fn wait<A: Arch>(
    call: Call<'_, A>,
    awaited: FutexWait,
    relative: bool,
) -> CallResult {
    if awaited.bits == 0 {
        return Err(Errno::EINVAL);
    }
    let tid = call.current.tid;
    let already = call.k.with(|s| {
        s.threads.get_mut(&tid).is_some_and(|thread| core::mem::take(&mut thread.waits_already))
    });
    if !already {
        queue(call, awaited).await?;
    }
    loop {
        let keys = [WaitKey::Futex(tid)];
        // Who was queued before it came may have been woken before it came.
        let woken = if call.k.with(|s| s.futexes.is_queued(tid)) {
            let by = Interruptible::BySignals;
            call.k.wait_for(call.current.task, &keys, awaited.deadline, by).await
        } else {
            Woken::Event
        };
        // Woken for good only by being taken out of the queue: then the wake counts, whatever
        // else came at the same time.
        if !call.k.with(|s| s.futexes.is_queued(tid)) {
            call.k.with(|s| s.needs_next(tid, awaited.address));
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
                call.k.with(|s| s.set_restart(tid, RestartBlock::Futex(awaited)));
                return Err(Errno::ERESTART_RESTARTBLOCK);
            }
        }
    }
}

/// Puts the caller into the futex's queue if the word is what it expects.
async fn queue<A: Arch>(call: Call<'_, A>, awaited: FutexWait) -> Result<(), Errno> {
    let FutexWait { address, expected, bits, private, deadline } = awaited;
    let tid = call.current.tid;
    let served = private && deadline == Nanos::NEVER;
    let key = name_futex(call, address, private, served).await?;
    call.k.with(|s| s.note_futex_call(tid, key, served));
    loop {
        // Who came home for a signal or a stop is not to have the futex called back from where it waited.
        if deadline == Nanos::NEVER {
            let by = Interruptible::BySignals;
            let (interrupted, stopped) =
                call.k.with(|s| (s.must_interrupt(call.current.task, by), s.is_stopped(tid)));
            if interrupted || stopped {
                return Err(if interrupted { Errno::ERESTARTSYS } else { Errno::ERESTARTNOINTR });
            }
        }
        // The page is obtained first, so that comparing and queueing are one step.
        call.k.read_u32(call.current, address).await?;
        call.k.own_futex(call.current, key).await;
        let queued = call.k.with(|s| match s.peek_u32(call.current, address) {
            None => Ok(false),
            Some(value) if value != expected => Err(Errno::EAGAIN),
            Some(_) => {
                s.futexes.enqueue(key, tid, bits);
                Ok(true)
            }
        })?;
        if queued {
            return Ok(());
        }
    }
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
        call.k.own_futex(call.current, to_key).await;
        call.k.own_futex(call.current, from_key).await;
        let done = call.k.with(|s| {
            if s.is_futex_lent(to_key) {
                return Ok(None);
            }
            for key in [from_key, to_key] {
                s.note_futex_call(call.current.tid, key, false);
            }
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
    let (wake_first, wake_second) = (at_least_one(wake_first), at_least_one(wake_second));
    loop {
        for key in [first, second_key] {
            call.k.own_futex(call.current, key).await;
        }
        let old = call.k.read_u32(call.current, second).await?;
        let found = call.k.compare_exchange_u32(call.current, second, old, op.apply(old)).await?;
        if found != old {
            continue;
        }
        // One step, unless one of them was lent while the word's page came.
        let mut woken = call.k.wake_futex(call.current, first, wake_first).await;
        if op.holds(old) {
            woken += call.k.wake_futex(call.current, second_key, wake_second).await;
        }
        return Ok(u64::from(woken));
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
    fn private_words_without_a_time_out_may_be_served_elsewhere() {
        let of = |op, timeout, third| FutexOp::of(&[0x1000, op, 7, timeout, 0, third]);
        assert_eq!(of(128, 0, 0), Some(FutexOp::Wait { value: 7, bits: MATCH_ANY }));
        assert_eq!(of(128 | 256 | 9, 0, 3), Some(FutexOp::Wait { value: 7, bits: 3 }));
        assert_eq!(of(129, 5, 5), Some(FutexOp::Wake { count: 7, bits: MATCH_ANY }));
        assert_eq!(of(128 | 10, 0, 3), Some(FutexOp::Wake { count: 7, bits: 3 }));
        let others = [(0, 0, 0), (128, 5, 0), (128 | 9, 0, 0), (128 | 3, 0, 0), (128 | 5, 0, 0)];
        assert!(others.into_iter().all(|(op, timeout, third)| of(op, timeout, third).is_none()));
    }

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
