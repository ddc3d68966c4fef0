//! What the host is told when a program dies of a fault.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use maize_abi::signal::{SigFields, SigInfo, Signal};
use maize_hal::{Arch, Report};

use crate::state::State;
use crate::thread::Current;

/// A thread's name as text.
pub(crate) fn comm_text(comm: &[u8]) -> String {
    let end = comm.iter().position(|b| *b == 0).unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..end]).into_owned()
}

impl<A: Arch> State<A> {
    /// Logs a signal that ends a process and would leave a core file: who, why, and registers. The host
    /// is told of faults: what somebody sent, as by ^\, is between the program and who sent it.
    pub(crate) fn report_fatal(&mut self, current: Current, info: SigInfo) {
        let Some(thread) = self.threads.get(&current.tid) else { return };
        let mut text = format!(
            "{}[{}]: signal {} code {}",
            comm_text(&thread.comm),
            current.pid,
            info.signal.number(),
            info.code,
        );
        if let SigFields::Fault { address } = info.fields {
            // Writing to a string cannot fail.
            let _ = write!(text, " at address {address:#x}");
        }
        let _ = write!(text, ", pc {:#x} ({})", thread.regs.pc(), thread.isa().name());
        for (i, (name, value)) in thread.regs.describe().into_iter().enumerate() {
            let _ = write!(text, "{}{name:>7} {value:016x}", if i % 4 == 0 { "\n  " } else { " " });
        }
        log::info!("{text}");
        if info.code > 0 && matches!(info.fields, SigFields::Fault { .. }) {
            self.host.report(Report::Fault { text });
        }
    }

    /// No frame is left for a page the thread touches: its process ends.
    pub(crate) fn out_of_memory(&mut self, current: Current, address: u64) {
        let comm = self.threads.get(&current.tid).map(|t| comm_text(&t.comm)).unwrap_or_default();
        let text = format!("{comm}[{}]: out of memory at address {address:#x}", current.pid);
        log::warn!("{text}");
        self.host.report(Report::Fault { text });
        self.begin_group_exit(current.pid, u32::from(Signal::SIGKILL.number()));
    }
}
