//! What the core leaves in its instance's trace: where threads run, and what they are in the kernel
//! for.

use maize_hal::{Arch, Nanos};
use maize_trace::{Event, EventKind};

use crate::ids::Tid;
use crate::state::State;

impl<A: Arch> State<A> {
    /// Whether there is a trace.
    #[inline]
    pub(crate) fn is_traced(&self) -> bool {
        self.fabric.traced
    }

    /// Leaves an event of a thread in the trace, if there is one.
    #[inline]
    pub(crate) fn trace(&mut self, kind: EventKind, tid: Tid, words: [u64; 2]) {
        if self.is_traced() {
            self.trace_at(self.now(), kind, tid, words);
        }
    }

    /// The same of something that was at that time.
    #[cold]
    pub(crate) fn trace_at(&mut self, at: Nanos, kind: EventKind, tid: Tid, words: [u64; 2]) {
        if let Some(transport) = self.fabric.transport.as_mut() {
            transport.trace(Event { at, kind, thread: tid.0, words });
        }
    }

    /// The thread begins the system call that it has trapped with. Returns its number, if there is a
    /// trace, for [`State::trace_call_end`].
    pub(crate) fn trace_call(&mut self, tid: Tid) -> Option<u64> {
        if !self.is_traced() {
            return None;
        }
        let number = self.threads.get(&tid)?.regs.syscall_number();
        self.trace(EventKind::SyscallBegin, tid, [number, 0]);
        Some(number)
    }

    /// The thread has ended that system call.
    pub(crate) fn trace_call_end(&mut self, tid: Tid, number: u64) {
        let result = self.threads.get(&tid).map_or(0, |thread| thread.regs.syscall_result());
        self.trace(EventKind::SyscallEnd, tid, [number, result]);
    }
}
