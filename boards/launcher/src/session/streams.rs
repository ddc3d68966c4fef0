//! Where the program's output goes.

use maize_hostlink::control::Output;

use crate::sink::{Destination, Sink};

/// Standard output and error, which may be one file.
pub(super) struct Sinks {
    pub(super) sinks: Vec<Sink>,
    told_closed: [bool; 2],
}

impl Sinks {
    pub(super) fn new(stdout: Destination, stderr: Destination) -> Self {
        let mut sinks = Vec::new();
        let same = Sink::same_file(&stdout, &stderr);
        sinks.push(Sink::new(stdout));
        if !same {
            sinks.push(Sink::new(stderr));
        }
        Self { sinks, told_closed: [false; 2] }
    }

    fn index(&self, output: Output) -> usize {
        match output {
            Output::Stderr => self.sinks.len() - 1,
            Output::Stdout => 0,
        }
    }

    pub(super) fn push(&mut self, output: Output, bytes: &[u8]) {
        let index = self.index(output);
        if let Some(sink) = self.sinks.get_mut(index) {
            sink.push(bytes);
        }
    }

    pub(super) fn backlog(&self) -> usize {
        self.sinks.iter().map(Sink::backlog).max().unwrap_or(0)
    }

    /// Writes what can be written; the outputs that were found closed.
    pub(super) fn flush(&mut self) -> std::io::Result<Vec<Output>> {
        self.sinks.iter_mut().try_for_each(Sink::flush)?;
        let mut closed = Vec::new();
        for (slot, output) in [Output::Stdout, Output::Stderr].into_iter().enumerate() {
            let index = self.index(output);
            let is_closed = self.sinks.get(index).is_some_and(Sink::is_closed);
            if let Some(told) = self.told_closed.get_mut(slot)
                && is_closed
                && !*told
            {
                *told = true;
                closed.push(output);
            }
        }
        Ok(closed)
    }
}
