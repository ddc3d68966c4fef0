//! The host's streams and the terminal.

use maize_abi::signal::{SigInfo, Signal};
use maize_hal::{Arch, OutputStream};

use crate::state::State;

impl<A: Arch> State<A> {
    pub(crate) fn console_input(&mut self, bytes: &[u8]) {
        self.files.vfs.host_input(bytes);
    }

    pub(crate) fn console_closed(&mut self) {
        self.files.vfs.host_input_closed();
    }

    /// Nobody reads this output any more.
    pub(crate) fn console_output_closed(&mut self, stream: OutputStream) {
        self.files.vfs.host_output_closed(stream);
    }

    pub(crate) fn console_resized(&mut self, rows: u16, cols: u16) {
        self.files.vfs.host_window_size(rows, cols);
    }

    /// The host wants the program to get a signal, as a terminal's ^C would give it: the
    /// terminal's foreground group, or without a terminal the program's own group.
    pub(crate) fn console_signal(&mut self, signal: Signal) {
        if !self.files.vfs.host_signal(signal)
            && let Some(pid) = self.program
        {
            let group = self.group_of(pid);
            self.send_to_group(group, SigInfo::from_kernel(signal));
        }
    }

    /// Moves output on to the host, as far as it has room, and tells it what input was used up.
    pub(crate) fn console_pump(&mut self) {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            loop {
                let pending = self.files.vfs.pending_output(stream);
                if pending.is_empty() {
                    break;
                }
                let sent = self.host.write(stream, pending);
                if sent == 0 {
                    break;
                }
                self.files.vfs.output_sent(stream, sent);
            }
        }
        let consumed = self.files.vfs.take_consumed();
        if consumed > 0 {
            self.host.consumed(consumed);
        }
    }

    /// The host wants the instance to end.
    pub(crate) fn shut_down(&mut self) {
        let status = u32::from(Signal::SIGKILL.number());
        match self.program {
            Some(pid) => self.begin_group_exit(pid, status),
            // An instance that others' processes use has nobody to wait for.
            None if self.fabric.is_joined() => self.exit_status = Some(status),
            None => {}
        }
    }
}
