//! The host's streams and the terminal.

use maize_abi::signal::{SigInfo, Signal};
use maize_hal::{Arch, OutputStream};

use crate::state::State;

impl<A: Arch> State<A> {
    pub(crate) fn console_input(&mut self, bytes: &[u8]) {
        self.host.consumed(bytes.len());
    }

    pub(crate) fn console_closed(&mut self) {}

    /// Nobody reads this output any more.
    pub(crate) fn console_output_closed(&mut self, _stream: OutputStream) {}

    pub(crate) fn console_resized(&mut self, _rows: u16, _cols: u16) {}

    /// The host wants the program to get a signal, as a terminal's ^C would give it.
    pub(crate) fn console_signal(&mut self, signal: Signal) {
        if let Some(pid) = self.program {
            let group = self.group_of(pid);
            self.send_to_group(group, SigInfo::from_kernel(signal));
        }
    }

    pub(crate) fn console_pump(&mut self) {}

    /// The host wants the instance to end.
    pub(crate) fn shut_down(&mut self) {
        if let Some(pid) = self.program {
            self.begin_group_exit(pid, u32::from(Signal::SIGKILL.number()));
        }
    }
}
