//! The life of a thread: user mode, trap, kernel, signals, user mode.

use maize_abi::pte::Access;
use maize_abi::signal::{Signal, si_code};
use maize_hal::{Arch, Exception, PageFault, Trap};
use maize_mm::FaultError;
use maize_trace::EventKind;

use crate::handle::Handle;
use crate::homes::Parked;
use crate::thread::Current;
use crate::{homes, lifecycle, rseq, signal, syscall};

/// Runs a thread until it ends.
pub(crate) async fn thread_main<A: Arch>(k: Handle<A>, mut current: Current) {
    if let Some(address @ 1..) = k.with(|s| s.threads.get(&current.tid).map(|t| t.set_child_tid)) {
        // As Linux: an address that cannot be written is not an error here.
        let _ = k.write_user(current, address, &current.tid.0.to_le_bytes()).await;
    }
    loop {
        current.tid = k.with(|s| s.current_tid(current.task, current.tid));
        signal::deliver(&k, current).await;
        if k.with(|s| s.must_exit(current.tid)) {
            break;
        }
        match homes::park(&k, current).await {
            Parked::Not => {}
            Parked::Stayed => continue,
            Parked::Gone => return,
        }
        let trap = k.run_user(current).await;
        k.with(|s| s.after_user_mode(&k, current));
        match trap {
            Trap::Syscall => {
                let traced = k.with(|s| s.trace_call(current.tid));
                syscall::handle(&k, current).await;
                if let Some(number) = traced {
                    k.with(|s| s.trace_call_end(current.tid, number));
                }
            }
            Trap::PageFault(fault) => page_fault(&k, current, fault).await,
            Trap::Exception(exception) => k.with(|s| s.force_fault(current.tid, exception)),
            Trap::Interrupt(_) => rseq::on_preemption(&k, current).await,
        }
    }
    lifecycle::exit_thread(&k, current).await;
}

impl<A: Arch> Handle<A> {
    /// Resolves a fault of user code, and leaves in the trace from when to when.
    pub(crate) async fn resolve_traced_fault(
        &self,
        current: Current,
        PageFault { address, access }: PageFault,
    ) -> Result<(), FaultError> {
        let words = [address, u64::from(access.bits())];
        self.with(|s| s.trace(EventKind::FaultBegin, current.tid, words));
        let resolved = self.resolve_fault(current, address, access).await;
        self.with(|s| s.trace(EventKind::FaultEnd, current.tid, words));
        resolved
    }
}

async fn page_fault<A: Arch>(k: &Handle<A>, current: Current, fault: PageFault) {
    let error = match k.resolve_traced_fault(current, fault).await {
        Ok(()) => return k.with(|s| s.stats.page_faults += 1),
        Err(error) => error,
    };
    let (signal, code) = match error {
        FaultError::NoMapping => (Signal::SIGSEGV, si_code::SEGV_MAPERR),
        FaultError::Denied => (Signal::SIGSEGV, si_code::SEGV_ACCERR),
        FaultError::PastEnd => (Signal::SIGBUS, si_code::BUS_ADRERR),
        // As Linux's OOM killer, but it is the process that asked which dies.
        FaultError::OutOfMemory => {
            return k.with(|s| s.out_of_memory(current, fault.address));
        }
    };
    let address = fault.address;
    log::debug!(
        "thread {} faults at {address:#x} ({}): {error:?}",
        current.tid,
        if fault.access.contains(Access::WRITE) { "write" } else { "read" },
    );
    k.with(|s| s.force_fault(current.tid, Exception { signal, code, address }));
}
