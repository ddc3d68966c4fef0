//! One machine of a session, and its consoles.

use std::io::Read;

use super::{END_LIMIT, Session};
use crate::console::Console;
use crate::link::{Link, is_transient};
use crate::process::Process;
use crate::run::Ending;
use crate::symbols::LazySymbols;
use std::time::Instant;

/// One machine of a session.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) process: Process,
    pub(super) symbols: LazySymbols,
    pub(super) link: Link,
    pub(super) link_open: bool,
    pub(super) hello: bool,
    /// The kernel's console, and what QEMU itself said.
    pub(super) kernel: Console,
    pub(super) kernel_open: bool,
    pub(super) qemu: Console,
    pub(super) qemu_open: bool,
}

impl Member {
    pub(super) const fn is_open(&self) -> bool {
        self.link_open || self.kernel_open || self.qemu_open
    }
}

impl Session {
    pub(super) fn on_console(&mut self, index: usize, of_qemu: bool) {
        let Some(member) = self.members.get_mut(index) else { return };
        let mut buffer = [0; 16 * 1024];
        let (read, console, open, symbols) = if of_qemu {
            let read = member.process.stderr.read(&mut buffer);
            (read, &mut member.qemu, &mut member.qemu_open, None)
        } else {
            let read = member.process.console.read(&mut buffer);
            (read, &mut member.kernel, &mut member.kernel_open, Some(&member.symbols))
        };
        let lines = match read {
            Ok(0) => {
                *open = false;
                console.finish(symbols).into_iter().collect()
            }
            Ok(count) => console.feed(buffer.get(..count).unwrap_or_default(), symbols),
            Err(error) if is_transient(&error) => Vec::new(),
            Err(_) => {
                *open = false;
                Vec::new()
            }
        };
        for line in lines {
            self.config.log.line(&console.name, &line);
        }
    }

    /// What killed machines have left in their sockets, which are closed at the far end.
    pub(super) fn read_rest_of_consoles(&mut self) {
        let limit = Instant::now() + END_LIMIT;
        for index in 0..self.members.len() {
            for of_qemu in [false, true] {
                while Instant::now() < limit
                    && self.members.get(index).is_some_and(|member| {
                        if of_qemu { member.qemu_open } else { member.kernel_open }
                    })
                {
                    self.on_console(index, of_qemu);
                }
            }
        }
    }

    pub(super) fn check_for_panics(&mut self) {
        let panicked = self.members.iter().find_map(|member| {
            Some(format!("machine {}: {}", member.name, member.kernel.panic()?))
        });
        if let Some(reason) = panicked
            && !matches!(self.ending, Some(Ending::Interrupted(_) | Ending::TimedOut))
        {
            self.ending = Some(Ending::FabricFailed(reason));
        }
    }
}
