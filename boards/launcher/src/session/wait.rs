//! What a session waits for.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::Session;
use crate::sink::PAUSE_AT;

/// What a descriptor in the poll set belongs to.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Link(usize),
    KernelConsole(usize),
    QemuConsole(usize),
    Input,
    Sink,
    Signals,
    Orders,
    Windows,
}

impl Session {
    pub(super) fn wait(&self, deadline: Option<Instant>) -> std::io::Result<Vec<Source>> {
        let mut sources = Vec::new();
        let mut polls = Vec::new();
        let mut add = |source, fd, flags| {
            sources.push(source);
            polls.push(PollFd::from_borrowed_fd(fd, flags));
        };
        let paused = self.sinks.backlog() >= PAUSE_AT;
        for (index, member) in self.members.iter().enumerate() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !paused);
            let engine = &member.engine;
            flags.set(PollFlags::OUT, engine.link.wants_to_send());
            if engine.link_open && !flags.is_empty() {
                add(Source::Link(index), engine.link.stream().as_fd(), flags);
            }
            if engine.kernel_open {
                let fd = engine.process.console.as_fd();
                add(Source::KernelConsole(index), fd, PollFlags::IN);
            }
            if engine.qemu_open {
                add(Source::QemuConsole(index), engine.process.stderr.as_fd(), PollFlags::IN);
            }
        }
        let mut input_now = false;
        if self.input_room() > 0 {
            match self.config.input.waits_for() {
                Some(fd) => add(Source::Input, fd, PollFlags::IN),
                None => input_now = !self.config.input.has_ended(),
            }
        }
        for sink in &self.sinks.sinks {
            if let Some(fd) = sink.waits_for() {
                add(Source::Sink, fd, PollFlags::OUT);
            }
        }
        if let Some(signals) = &self.config.signals {
            add(Source::Signals, signals.waits_for(), PollFlags::IN);
        }
        if let Some(remote) = &self.config.remote {
            add(Source::Orders, remote.waits_for(), PollFlags::IN);
        }
        for fd in self.starter.waits_for() {
            add(Source::Windows, fd, PollFlags::OUT);
        }
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let left = if input_now { Some(Duration::ZERO) } else { left };
        let left = left.map(Timespec::try_from).transpose().map_err(std::io::Error::other)?;
        match rustix::event::poll(&mut polls, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready: Vec<Source> = sources
            .into_iter()
            .zip(&polls)
            .filter(|(_, poll)| !poll.revents().is_empty())
            .map(|(source, _)| source)
            .collect();
        if input_now {
            ready.push(Source::Input);
        }
        Ok(ready)
    }

    /// Bytes of input that the machine with the program takes now.
    pub(super) fn input_room(&self) -> usize {
        match self.members.first().filter(|_| self.config.has_program) {
            Some(member) if member.engine.link_open && !self.config.input.has_ended() => {
                member.engine.link.input_room()
            }
            _ => 0,
        }
    }
}
