//! The event loop of a run: between the machines' links and consoles, the program's streams, the
//! clock and the signals. One thread, nothing in it blocks but `poll`.

mod fabric;
mod member;
mod messages;
mod streams;
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use maize_hostlink::LauncherMessage;
use maize_hostlink::boot::Instance;
use maize_hostlink::control::Level;

use self::member::{Engine, Member};
use self::streams::Sinks;
use self::wait::Source;
use crate::console::ConsoleLog;
use crate::fabric_window::FabricWindow;
use crate::input::{Input, InputRead};
use crate::live::{Event, Remote};
use crate::run::{Ending, RunError, RunOutcome, host};
use crate::signals::{Request, Signals};
use crate::sink::{Destination, Sink};
use crate::starter::Starter;
use crate::stats_report::FabricStats;
use crate::stops::Stops;
use crate::terminal::RawTerminal;

/// Longest time from the start to a kernel's first message; a machine that takes longer hangs.
pub const HELLO_LIMIT: Duration = Duration::from_secs(60);

/// Time for machines to end by themselves after the program has, before they are killed: enough also on a host with
/// other work to do, since what they say last would be missing.
pub const END_LIMIT: Duration = Duration::from_secs(15);

/// How long instances may take to say what their threads do, once the time is up.
const TASKS_LIMIT: Duration = Duration::from_secs(1);

/// Time between two looks at the instances' traces: each keeps at least a thousand events.
const TRACE_EVERY: Duration = Duration::from_millis(10);

/// Time between two looks at a machine that was asked to stop.
const STOP_CHECK: Duration = Duration::from_millis(1);

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
    /// When the preparations were done.
    pub started: Instant,
    /// Whether the counters are wanted.
    pub stats: bool,
    /// Whether machines without the program that end are started again.
    pub restart_machines: bool,
    /// Whether the first instance runs a program; its end is the end of the run.
    pub has_program: bool,
    /// Every instance of the fabric.
    pub instances: Vec<Instance>,
    /// Who follows and steers the run from another thread.
    pub remote: Option<Remote>,
    /// The sources, for backtraces.
    pub source_root: PathBuf,
}

/// A run in progress.
pub struct Session {
    config: SessionConfig,
    members: Vec<Member>,
    starter: Starter,
    window: Option<FabricWindow>,
    stops: Stops,
    sinks: Sinks,
    ending: Option<Ending>,
    reports: Vec<(Level, String)>,
    stats: FabricStats,
    /// Instances that were asked for their counters and have not answered.
    awaited_stats: BTreeSet<u16>,
    /// The incarnations that some instance has given up.
    given_up: BTreeSet<(u16, u32)>,
    /// The last incarnation that each instance told of itself.
    epochs: BTreeMap<u16, u32>,
    ready: Option<Duration>,
    phases: Vec<(String, u64)>,
    raw: Option<RawTerminal>,
}

impl Session {
    /// Starts the machines.
    pub fn start(
        mut config: SessionConfig,
        mut starter: Starter,
        window: Option<FabricWindow>,
    ) -> Result<Self, RunError> {
        let swap = |to: &mut Destination| std::mem::replace(to, Destination::Capture);
        let sinks = Sinks::new(swap(&mut config.stdout), swap(&mut config.stderr));
        let raw = match (config.terminal, config.input.waits_for()) {
            (true, Some(fd)) => {
                let fd = fd.try_clone_to_owned().and_then(RawTerminal::enter);
                Some(fd.map_err(host("terminal"))?)
            }
            _ => None,
        };
        if let Some(remote) = &mut config.remote {
            let twin = window.as_ref().map(FabricWindow::again).transpose();
            remote.give_window(twin.map_err(host("window"))?);
        }
        let machines: Vec<_> = starter
            .machines()
            .map(|(name, first, n, elf)| (name, first, n, elf.to_owned()))
            .collect();
        let mut members = Vec::new();
        for (index, (name, first, count, elf)) in machines.into_iter().enumerate() {
            let (process, started) = starter.start(index)?;
            // Times are counted from the start of the first machine.
            config.started = if index == 0 { started } else { config.started };
            if let Some(remote) = &config.remote {
                remote.tell(Event::Started { machine: index, process: process.id() });
            }
            let engine = Engine::new(process, started).map_err(host("host link"))?;
            let instances = first..first + count;
            members.push(Member::new(name, instances, &elf, &config.source_root, engine));
        }
        Ok(Self {
            stops: Stops::new(members.len()),
            config,
            members,
            starter,
            window,
            sinks,
            ending: None,
            reports: Vec::new(),
            stats: FabricStats::default(),
            awaited_stats: BTreeSet::new(),
            given_up: BTreeSet::new(),
            epochs: BTreeMap::new(),
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
        match self.ending {
            Some(Ending::Exited(_)) => self.drain(),
            Some(Ending::TimedOut) => self.ask_for_tasks(),
            _ => {}
        }
        for member in &mut self.members {
            member.engine.process.kill();
            // The far ends of its streams are closed once it is gone. That it was not there is fine.
            let _ = member.engine.process.wait();
        }
        for index in 0..self.members.len() {
            self.read_rest_of_consoles(index);
        }
        self.check_for_panics();
        self.finish()
    }

    fn fail(&mut self, reason: String) {
        self.ending.get_or_insert(Ending::FabricFailed(reason));
    }

    /// When there is something to do even if nothing happens.
    fn next_deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        let traced = self.window.as_ref().is_some_and(FabricWindow::is_traced);
        let stopping = self.stops.stopping().next().is_some();
        [
            self.config.deadline,
            self.silent_members().map(|(_, limit)| limit).min(),
            traced.then_some(now + TRACE_EVERY),
            stopping.then_some(now + STOP_CHECK),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The machines that have not said hello, and until when they have to.
    fn silent_members(&self) -> impl Iterator<Item = (usize, Instant)> {
        let silent = |(_, member): &(usize, &Member)| member.runs() && !member.engine.hello;
        let patient = self.config.patient;
        let members = self.members.iter().enumerate().filter(silent);
        members
            .filter(move |_| !patient)
            .map(|(index, member)| (index, member.engine.started + HELLO_LIMIT))
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
                Source::Orders => self.on_orders(),
                Source::Windows => self.starter.flush(),
            }
        }
        if self.config.has_program && self.config.input.is_exhausted() {
            self.on_input();
        }
        self.flush_sinks();
        self.check_stops();
        self.check_ended();
        self.check_time();
        if let Some(window) = &mut self.window {
            window.read_traces();
        }
    }

    fn on_input(&mut self) {
        let room = self.input_room();
        let Some(Member { engine, .. }) = self.members.first_mut() else { return };
        if engine.link.wants_to_send() || !engine.hello {
            return;
        }
        let sent = match self.config.input.read(room) {
            Ok(InputRead::Bytes(bytes)) => engine.link.send_input(&bytes),
            Ok(InputRead::End) => engine.link.send_input(&[]),
            Ok(InputRead::Later) => Ok(()),
            Err(error) => Err(error.into()),
        };
        let sent = sent.and_then(|()| engine.link.flush());
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
                    self.tell_instance(0, LauncherMessage::WindowSize(size));
                }
                (Request::TerminalChanged, None) => {}
            }
        }
    }

    fn flush_sinks(&mut self) {
        match self.sinks.flush() {
            Ok(closed) => {
                for output in closed {
                    self.tell_instance(0, LauncherMessage::OutputClosed(output));
                }
            }
            Err(error) => self.fail(format!("writing the program's output: {error}")),
        }
    }

    fn check_time(&mut self) {
        let now = Instant::now();
        if self.ending.is_none() && self.config.deadline.is_some_and(|at| now >= at) {
            self.ending = Some(Ending::TimedOut);
        }
        let late: Vec<usize> =
            self.silent_members().filter(|(_, at)| now >= *at).map(|(index, _)| index).collect();
        for index in late {
            let limit = HELLO_LIMIT.as_secs();
            self.lose(index, format!("has not said hello in {limit} s"));
        }
    }

    /// Has all instances say on their consoles what they wait for: the consoles are shown with the failure.
    fn ask_for_tasks(&mut self) {
        for instance in 0..self.config.instances.len() as u16 {
            self.tell_instance(instance, LauncherMessage::TasksRequest);
        }
        let limit = Instant::now() + TASKS_LIMIT;
        while Instant::now() < limit {
            self.step(Some(limit));
        }
    }

    /// After the program's end: all its output is written, however slow the reader, its machine
    /// gets [`END_LIMIT`] to end by itself, and the others to say what they have counted.
    fn drain(&mut self) {
        if self.config.stats {
            let others = self.members.iter().skip(1).filter(|member| member.runs());
            self.awaited_stats = others.flat_map(|member| member.instances.clone()).collect();
            for instance in self.awaited_stats.clone() {
                self.tell_instance(instance, LauncherMessage::StatsRequest);
            }
        }
        let limit = Instant::now() + END_LIMIT;
        loop {
            let ending = self.members.first().is_some_and(|member| member.engine.is_open());
            let counting = self.awaited_stats.iter().any(|instance| {
                let member = self.machine_of(*instance).and_then(|index| self.members.get(index));
                member.is_some_and(|member| member.engine.link_open)
            });
            let machines = (ending || counting) && Instant::now() < limit;
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

    /// A panic of the instance with the program is the fabric's failure, however the run seemed to
    /// end.
    fn check_for_panics(&mut self) {
        let Some(member) = self.members.first().filter(|_| self.config.has_program) else { return };
        if let Some(panic) = member.kernel.panic()
            && !matches!(self.ending, Some(Ending::Interrupted(_) | Ending::TimedOut))
        {
            let reason = format!("machine {}: {panic}", member.name);
            self.ending = Some(Ending::FabricFailed(reason));
        }
    }

    fn finish(mut self) -> RunOutcome {
        let names: Vec<String> = (0u16..)
            .zip(&self.config.instances)
            .map(|(number, instance)| format!("{number} {}", instance.isa))
            .collect();
        let mut timeline = None;
        if let Some(window) = &mut self.window {
            window.read_traces();
            if self.config.stats {
                for instance in (0u16..).take(names.len()) {
                    self.stats.add(instance, window.counts(instance));
                }
            }
            if window.is_traced() {
                let lost = window.lost_events();
                if lost > 0 {
                    let text = format!("the trace lacks {lost} events, which came too fast");
                    self.reports.push((Level::Warning, text));
                }
                timeline = Some(window.timeline(&names));
            }
        }
        let mut sinks = self.sinks.sinks.into_iter();
        RunOutcome {
            ending: self.ending.unwrap_or(Ending::TimedOut),
            stdout: sinks.next().map(Sink::into_captured).unwrap_or_default(),
            stderr: sinks.next().map(Sink::into_captured).unwrap_or_default(),
            consoles: self.members.iter().flat_map(Member::transcripts).collect(),
            reports: self.reports,
            stats: self.stats,
            timeline,
            profile: None,
            ready: self.ready,
            phases: self.phases,
        }
    }
}
