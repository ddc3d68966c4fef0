//! The event loop of a run: between the machines' links and consoles, the program's streams, the
//! clock and the signals. One thread, nothing in it blocks but `poll`.

mod member;
mod messages;
mod streams;
mod wait;

use std::time::{Duration, Instant};

use maize_hostlink::LauncherMessage;
use maize_hostlink::control::{Level, Stats};

use self::member::Member;
use self::streams::Sinks;
use self::wait::Source;
use crate::console::{Console, ConsoleLog};
use crate::input::{Input, InputRead};
use crate::link::Link;
use crate::process::Process;
use crate::run::{Ending, RunOutcome};
use crate::signals::{Request, Signals};
use crate::sink::{Destination, Sink};
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
