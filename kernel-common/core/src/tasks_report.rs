//! What every thread does and what is under way, for whoever looks into a run that does not go on.

use alloc::format;
use alloc::string::String;

use maize_hal::Arch;

use crate::report::comm_text;
use crate::state::State;
use crate::thread::Thread;

impl<A: Arch> State<A> {
    /// Logs what every thread does and waits for, what was asked of peers and by them, and the pages that
    /// are on their way.
    pub(crate) fn report_tasks(&self) {
        log::info!("{} processes, {} threads here", self.processes.len(), self.threads.len());
        let (now, next, armed) = (self.now(), self.timers.next_deadline(), self.armed);
        log::info!("at {now:?}, the next deadline is {next:?}, the timer is set to {armed:?}");
        for (tid, thread) in &self.threads {
            let (comm, process) = (comm_text(&thread.comm), thread.process);
            let (doing, pc) = (self.doing(thread), thread.regs.pc());
            log::info!("thread {tid} of {process} ({comm}), pc {pc:#x}: {doing}");
        }
        for (place, turn) in self.groups.changes() {
            log::info!("{place:?} is being changed, to be confirmed: {turn:?}");
        }
        for line in self.fabric.describe() {
            log::info!("{line}");
        }
    }

    fn doing(&self, thread: &Thread) -> String {
        let home = thread.guest.map_or(String::new(), |guest| format!("guest of {}, ", guest.home));
        let away = thread.away.map_or(String::new(), |place| format!("is at {place}, "));
        let waits = self.waits.describe(thread.task);
        let doing = waits.unwrap_or_else(|| "runs, or is about to".into());
        format!("{home}{away}{doing}")
    }
}
