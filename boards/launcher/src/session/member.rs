//! One machine of a session, and its consoles.

use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use maize_hostlink::control::Level;

use super::{END_LIMIT, Session};
use crate::console::{Console, panicking};
use crate::link::{Link, is_transient};
use crate::process::Process;
use crate::symbols::LazySymbols;

/// One machine of a session.
pub(super) struct Member {
    pub(super) name: String,
    /// The numbers of its instances.
    pub(super) instances: Range<u16>,
    pub(super) symbols: LazySymbols,
    /// The kernel's console, and what QEMU itself said.
    pub(super) kernel: Console,
    pub(super) qemu: Console,
    pub(super) engine: Engine,
    /// How its process has ended, if it has.
    pub(super) ended: Option<String>,
    /// It was ended on purpose and is not to be started again.
    pub(super) killed: bool,
}

/// A machine's process and its streams: what another start replaces.
pub(super) struct Engine {
    pub(super) process: Process,
    pub(super) link: Link,
    pub(super) link_open: bool,
    pub(super) kernel_open: bool,
    pub(super) qemu_open: bool,
    pub(super) started: Instant,
    pub(super) hello: bool,
}

impl Engine {
    pub(super) fn new(process: Process, started: Instant) -> std::io::Result<Self> {
        let link = Link::new(process.link.try_clone()?);
        Ok(Self {
            process,
            link,
            link_open: true,
            kernel_open: true,
            qemu_open: true,
            started,
            hello: false,
        })
    }

    pub(super) const fn is_open(&self) -> bool {
        self.link_open || self.kernel_open || self.qemu_open
    }
}

impl Member {
    pub(super) fn new(
        name: String,
        instances: Range<u16>,
        kernel: &Path,
        source_root: &Path,
        engine: Engine,
    ) -> Self {
        Self {
            kernel: Console::new(name.clone()),
            qemu: Console::new(format!("{name}, QEMU")),
            name,
            instances,
            // A kernel without symbols is shown without: the run itself does not need them.
            symbols: LazySymbols::new(kernel, source_root),
            engine,
            ended: None,
            killed: false,
        }
    }

    /// Whether its process may still do something.
    pub(super) const fn runs(&self) -> bool {
        self.ended.is_none()
    }

    /// Both consoles, as far as they say something.
    pub(super) fn transcripts(&self) -> Vec<String> {
        let mut texts = vec![self.kernel.transcript()];
        if !self.qemu.is_empty() {
            texts.push(self.qemu.transcript());
        }
        texts
    }
}

impl Session {
    pub(super) fn on_console(&mut self, index: usize, of_qemu: bool) {
        let Some(Member { engine, kernel, qemu, symbols, .. }) = self.members.get_mut(index) else {
            return;
        };
        let mut buffer = [0; 16 * 1024];
        let (read, console, open, symbols) = if of_qemu {
            (engine.process.stderr.read(&mut buffer), qemu, &mut engine.qemu_open, None)
        } else {
            let read = engine.process.console.read(&mut buffer);
            (read, kernel, &mut engine.kernel_open, Some(&*symbols))
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
        let mut siblings = Vec::new();
        for line in lines {
            self.config.log.line(&console.name, &line);
            if let Some(Some(_)) = panicking(&line) {
                siblings.push(format!("machine {}: {line}", console.name));
            }
        }
        for text in siblings {
            self.report(Level::Error, text);
        }
    }

    /// What a machine that has ended has left in its sockets, which are closed at the far end.
    pub(super) fn read_rest_of_consoles(&mut self, index: usize) {
        let limit = Instant::now() + END_LIMIT;
        for of_qemu in [false, true] {
            while Instant::now() < limit
                && self.members.get(index).is_some_and(|member| {
                    if of_qemu { member.engine.qemu_open } else { member.engine.kernel_open }
                })
            {
                self.on_console(index, of_qemu);
            }
        }
    }
}
