//! The event loop of a run: between the machines' links and consoles, the program's streams, the
//! clock and the signals. One thread, nothing in it blocks but `poll`.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use maize_hostlink::control::{Level, Output, Stats};
use maize_hostlink::frame::{Channel, Frame};
use maize_hostlink::{KernelMessage, LauncherMessage};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::console::{Console, ConsoleLog};
use crate::input::{Input, InputRead};
use crate::link::{Link, LinkError, Received, is_transient};
use crate::process::Process;
use crate::run::{Ending, RunOutcome};
use crate::signals::{Request, Signals};
use crate::sink::{Destination, PAUSE_AT, Sink};
use crate::symbols::LazySymbols;
use crate::terminal::RawTerminal;

/// Longest time from the start to a kernel's first message; a machine that takes longer hangs.
pub const HELLO_LIMIT: Duration = Duration::from_secs(60);

/// Time for machines to end by themselves after the program has, before they are killed.
pub const END_LIMIT: Duration = Duration::from_secs(3);

/// What a session is connected to.
#[derive(Debug)]
pub struct SessionConfig {
    /// Standard input.
    pub input: Input,
    /// Standard output.
    pub stdout: Destination,
    /// Standard error.
    pub stderr: Destination,
    /// When the time is up.
    pub deadline: Option<Instant>,
    /// Whether a machine may be silent for ever (a debugger may have stopped it).
    pub patient: bool,
    /// Where consoles go.
    pub log: ConsoleLog,
    /// Signals to act on.
    pub signals: Option<Signals>,
    /// Whether the input is a terminal that is to be raw.
    pub terminal: bool,
    /// When the first machine was started.
    pub started: Instant,
}

/// One machine of a session.
struct Member {
    name: String,
    process: Process,
    symbols: LazySymbols,
    link: Link,
    link_open: bool,
    hello: bool,
    /// The kernel's console, and what QEMU itself said.
    kernel: Console,
    kernel_open: bool,
    qemu: Console,
    qemu_open: bool,
}

impl Member {
    const fn is_open(&self) -> bool {
        self.link_open || self.kernel_open || self.qemu_open
    }
}

/// A run in progress.
pub struct Session {
    config: SessionConfig,
    members: Vec<Member>,
    sinks: Sinks,
    ending: Option<Ending>,
    reports: Vec<(Level, String)>,
    stats: Stats,
    ready: Option<Duration>,
    phases: Vec<(String, u64)>,
    raw: Option<RawTerminal>,
}

/// Standard output and error, which may be one file.
struct Sinks {
    sinks: Vec<Sink>,
    told_closed: [bool; 2],
}

impl Sinks {
    fn new(stdout: Destination, stderr: Destination) -> Self {
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

    fn push(&mut self, output: Output, bytes: &[u8]) {
        let index = self.index(output);
        if let Some(sink) = self.sinks.get_mut(index) {
            sink.push(bytes);
        }
    }

    fn backlog(&self) -> usize {
        self.sinks.iter().map(Sink::backlog).max().unwrap_or(0)
    }

    /// Writes what can be written; the outputs that were found closed.
    fn flush(&mut self) -> std::io::Result<Vec<Output>> {
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

/// What a descriptor in the poll set belongs to.
#[derive(Clone, Copy)]
enum Source {
    Link(usize),
    KernelConsole(usize),
    QemuConsole(usize),
    Input,
    Sink,
    Signals,
}

impl Session {
    /// A session over machines that were just started: name, process, symbols of the kernel.
    pub fn new(
        mut config: SessionConfig,
        machines: Vec<(String, Process, LazySymbols)>,
    ) -> std::io::Result<Self> {
        let swap = |to: &mut Destination| std::mem::replace(to, Destination::Capture);
        let sinks = Sinks::new(swap(&mut config.stdout), swap(&mut config.stderr));
        let raw = match (config.terminal, config.input.waits_for()) {
            (true, Some(fd)) => Some(RawTerminal::enter(fd.try_clone_to_owned()?)?),
            _ => None,
        };
        let mut members = Vec::new();
        for (name, process, symbols) in machines {
            let link = Link::new(process.link.try_clone()?);
            members.push(Member {
                kernel: Console::new(name.clone()),
                qemu: Console::new(format!("{name}, QEMU")),
                link,
                name,
                process,
                symbols,
                link_open: true,
                hello: false,
                kernel_open: true,
                qemu_open: true,
            });
        }
        Ok(Self {
            config,
            members,
            sinks,
            ending: None,
            reports: Vec::new(),
            stats: Stats::default(),
            ready: None,
            phases: Vec::new(),
            raw,
        })
    }

    /// Runs to the end of the program and of every machine.
    pub fn run(mut self) -> RunOutcome {
        while self.ending.is_none() {
            self.step(self.next_deadline());
        }
        if matches!(self.ending, Some(Ending::Exited(_))) {
            self.drain();
        }
        for member in &mut self.members {
            member.process.kill();
            // The far ends of its streams are closed once it is gone. That it was not there is fine.
            let _ = member.process.wait();
        }
        self.read_rest_of_consoles();
        self.check_for_panics();
        self.finish()
    }

    fn fail(&mut self, reason: String) {
        self.ending.get_or_insert(Ending::FabricFailed(reason));
    }

    fn next_deadline(&self) -> Option<Instant> {
        let hello = self.config.started + HELLO_LIMIT;
        let waiting = !self.config.patient && self.members.iter().any(|member| !member.hello);
        [self.config.deadline, waiting.then_some(hello)].into_iter().flatten().min()
    }

    /// Waits for something to happen, at most until `deadline`, and deals with it.
    fn step(&mut self, deadline: Option<Instant>) {
        let ready = match self.wait(deadline) {
            Ok(ready) => ready,
            Err(error) => return self.fail(format!("poll: {error}")),
        };
        for source in ready {
            match source {
                Source::Link(index) => self.on_link(index),
                Source::KernelConsole(index) | Source::QemuConsole(index) => {
                    self.on_console(index, matches!(source, Source::QemuConsole(_)));
                }
                Source::Input => self.on_input(),
                Source::Sink => {}
                Source::Signals => self.on_signals(),
            }
        }
        if self.config.input.is_exhausted() {
            self.on_input();
        }
        self.flush_sinks();
        self.check_ended();
        self.check_time();
    }

    fn wait(&self, deadline: Option<Instant>) -> std::io::Result<Vec<Source>> {
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
            flags.set(PollFlags::OUT, member.link.wants_to_send());
            if member.link_open && !flags.is_empty() {
                add(Source::Link(index), member.link.stream().as_fd(), flags);
            }
            if member.kernel_open {
                let fd = member.process.console.as_fd();
                add(Source::KernelConsole(index), fd, PollFlags::IN);
            }
            if member.qemu_open {
                add(Source::QemuConsole(index), member.process.stderr.as_fd(), PollFlags::IN);
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
    fn input_room(&self) -> usize {
        match self.members.first() {
            Some(member) if member.link_open && !self.config.input.has_ended() => {
                member.link.input_room()
            }
            _ => 0,
        }
    }

    fn on_input(&mut self) {
        let room = self.input_room();
        let Some(member) = self.members.first_mut() else { return };
        if member.link.wants_to_send() || !member.hello {
            return;
        }
        let sent = match self.config.input.read(room) {
            Ok(InputRead::Bytes(bytes)) => member.link.send_input(&bytes),
            Ok(InputRead::End) => member.link.send_input(&[]),
            Ok(InputRead::Later) => Ok(()),
            Err(error) => Err(error.into()),
        };
        let sent = sent.and_then(|()| member.link.flush());
        if let Err(error) = sent {
            self.fail(format!("standard input: {error}"));
        }
    }

    fn on_link(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index) else { return };
        let mut messages = Vec::new();
        let sinks = &mut self.sinks;
        let result = member.link.flush().and_then(|()| {
            member.link.receive(|frame| {
                match frame {
                    Frame { channel: Channel::Stdout, payload, .. } => {
                        sinks.push(Output::Stdout, payload);
                    }
                    Frame { channel: Channel::Stderr, payload, .. } => {
                        sinks.push(Output::Stderr, payload);
                    }
                    Frame { channel: Channel::Control, payload, .. } => {
                        messages.push(KernelMessage::decode(payload)?);
                    }
                    // Input does not come from a kernel: tell it by the frame's own error.
                    Frame { channel: Channel::Stdin, .. } => {
                        let channel = Channel::Stdin as u8;
                        return Err(maize_hostlink::FrameError::UnknownChannel(channel).into());
                    }
                }
                Ok(())
            })
        });
        for message in messages {
            self.on_message(index, message);
        }
        match result {
            Ok(Received::Open) => {}
            Ok(Received::End) | Err(LinkError::Cut(_)) => {
                if let Some(member) = self.members.get_mut(index) {
                    member.link_open = false;
                }
            }
            Err(error) => {
                let name = self.members.get(index).map_or("?", |member| &member.name);
                self.fail(format!("machine {name}: {error}"));
            }
        }
    }

    fn on_message(&mut self, index: usize, message: KernelMessage) {
        let Some(member) = self.members.get_mut(index) else { return };
        match message {
            KernelMessage::Hello { version } if version == maize_hostlink::VERSION => {
                member.hello = true;
            }
            KernelMessage::Hello { version } => {
                let reason = format!(
                    "machine {}: host link version {version}, the launcher has {}",
                    member.name,
                    maize_hostlink::VERSION
                );
                self.fail(reason);
            }
            KernelMessage::StdinCredit { bytes } => member.link.add_credit(bytes),
            KernelMessage::Ready { phases, .. } => {
                self.ready.get_or_insert(self.config.started.elapsed());
                if self.phases.is_empty() {
                    self.phases = phases;
                }
            }
            KernelMessage::Exited { status } => {
                self.ending.get_or_insert(Ending::Exited(status));
            }
            KernelMessage::Stats(stats) => {
                self.stats.counters.extend(stats.counters);
                self.stats.histograms.extend(stats.histograms);
            }
            KernelMessage::Up { .. }
            | KernelMessage::PeerUp { .. }
            | KernelMessage::PeerDown { .. }
            | KernelMessage::Exercise { .. } => {
                // Only one instance runs so far, and it has no links.
                let name = member.name.clone();
                self.fail(format!("machine {name}: told of a fabric that it is not in"));
            }
            KernelMessage::Report { level, text } => {
                let name = member.name.clone();
                for line in text.lines() {
                    self.config.log.line(&name, line);
                }
                if level >= Level::Warning && self.config.log.warnings && !self.config.log.verbose {
                    self.config.log.show(&format!("maize: {text}"));
                }
                self.reports.push((level, text));
            }
        }
    }

    fn on_console(&mut self, index: usize, of_qemu: bool) {
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

    fn on_signals(&mut self) {
        let requests = self.config.signals.as_mut().map(Signals::take).unwrap_or_default();
        for request in requests {
            match (request, &self.raw) {
                // Also while the last output waits for a slow reader.
                (Request::End(signal), _) => self.ending = Some(Ending::Interrupted(signal)),
                (Request::TerminalChanged, Some(raw)) => {
                    let size = raw.size();
                    // A terminal that is gone shows as the end of the input.
                    let _ = raw.make_raw();
                    self.tell_first(LauncherMessage::WindowSize(size));
                }
                (Request::TerminalChanged, None) => {}
            }
        }
    }

    fn tell_first(&mut self, message: LauncherMessage) {
        let Some(member) = self.members.first_mut() else { return };
        let sent = member.link.send(message, 0).and_then(|()| member.link.flush());
        if let Err(error) = sent {
            self.fail(error.to_string());
        }
    }

    fn flush_sinks(&mut self) {
        match self.sinks.flush() {
            Ok(closed) => {
                for output in closed {
                    self.tell_first(LauncherMessage::OutputClosed(output));
                }
            }
            Err(error) => self.fail(format!("writing the program's output: {error}")),
        }
    }

    /// A machine that has closed everything has ended; before the program did, that is a failure.
    fn check_ended(&mut self) {
        if self.ending.is_some() {
            return;
        }
        if let Some(member) = self.members.iter_mut().find(|member| !member.is_open()) {
            let how = match member.process.wait() {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            let reason = format!("machine {} ended ({how}) before the program did", member.name);
            self.fail(reason);
        }
    }

    fn check_time(&mut self) {
        let now = Instant::now();
        if self.ending.is_some() || self.next_deadline().is_none_or(|at| now < at) {
            return;
        }
        if self.config.deadline.is_some_and(|at| now >= at) {
            self.ending = Some(Ending::TimedOut);
        } else if let Some(member) = self.members.iter().find(|member| !member.hello) {
            let limit = HELLO_LIMIT.as_secs();
            let reason = format!("machine {} has not said hello in {limit} s", member.name);
            self.fail(reason);
        }
    }

    /// After the program's end: all its output is written, however slow the reader, and the
    /// machines get [`END_LIMIT`] to end by themselves.
    fn drain(&mut self) {
        let limit = Instant::now() + END_LIMIT;
        loop {
            let machines = self.members.iter().any(Member::is_open) && Instant::now() < limit;
            let output = self.sinks.backlog() > 0;
            if !machines && !output {
                return;
            }
            if matches!(self.ending, Some(Ending::Interrupted(_) | Ending::TimedOut)) {
                return;
            }
            let until = if machines { Some(limit) } else { self.config.deadline };
            self.step(until);
            let timed_out = self.config.deadline.is_some_and(|at| Instant::now() >= at);
            if output && timed_out {
                self.ending = Some(Ending::TimedOut);
            }
        }
    }

    /// What killed machines have left in their sockets, which are closed at the far end.
    fn read_rest_of_consoles(&mut self) {
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

    fn check_for_panics(&mut self) {
        let panicked = self.members.iter().find_map(|member| {
            Some(format!("machine {}: {}", member.name, member.kernel.panic()?))
        });
        if let Some(reason) = panicked
            && !matches!(self.ending, Some(Ending::Interrupted(_) | Ending::TimedOut))
        {
            self.ending = Some(Ending::FabricFailed(reason));
        }
    }

    fn finish(self) -> RunOutcome {
        let mut consoles = Vec::new();
        for member in &self.members {
            consoles.push(member.kernel.transcript());
            if !member.qemu.is_empty() {
                consoles.push(member.qemu.transcript());
            }
        }
        let mut sinks = self.sinks.sinks.into_iter();
        RunOutcome {
            ending: self.ending.unwrap_or(Ending::TimedOut),
            stdout: sinks.next().map(Sink::into_captured).unwrap_or_default(),
            stderr: sinks.next().map(Sink::into_captured).unwrap_or_default(),
            consoles,
            reports: self.reports,
            stats: self.stats,
            ready: self.ready,
            phases: self.phases,
        }
    }
}
