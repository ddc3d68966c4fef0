//! The machines of a session beside each other: ends, stops and starts.

use maize_hostlink::LauncherMessage;
use maize_hostlink::control::Level;

use super::Session;
use super::member::{Engine, Member};
use crate::live::{Event, Order, Remote};
use crate::run::Ending;
use crate::stops::{Action, Ask};

impl Session {
    /// The machine that hosts an instance.
    pub(super) fn machine_of(&self, instance: u16) -> Option<usize> {
        self.members.iter().position(|member| member.instances.contains(&instance))
    }

    /// Tells the follower of the run, if there is one.
    pub(super) fn tell_remote(&self, event: Event) {
        if let Some(remote) = &self.config.remote {
            remote.tell(event);
        }
    }

    /// Sends a message to an instance, over the link of its machine. To a machine that has ended
    /// nothing is sent.
    pub(super) fn tell_instance(&mut self, instance: u16, message: LauncherMessage) {
        let Some(index) = self.machine_of(instance) else { return };
        let Some(member) = self.members.get_mut(index).filter(|member| member.runs()) else {
            return;
        };
        let link = &mut member.engine.link;
        let sent = link.send(message, instance).and_then(|()| link.flush());
        if let Err(error) = sent {
            self.lose(index, format!("failed ({error})"));
        }
    }

    /// Notices the machines that have closed everything: they have ended.
    pub(super) fn check_ended(&mut self) {
        if self.ending.is_some() {
            return;
        }
        let ended = |(_, member): &(usize, &Member)| member.runs() && !member.engine.is_open();
        let ended: Vec<usize> =
            self.members.iter().enumerate().filter(ended).map(|(index, _)| index).collect();
        for index in ended {
            let Some(member) = self.members.get_mut(index) else { continue };
            let how = match member.engine.process.wait() {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            self.lose(index, format!("ended ({how})"));
        }
    }

    /// A machine has ended or is of no use any more. If the program needs it, or nothing else is
    /// left, the fabric has failed; else it is reported, and perhaps started again.
    pub(super) fn lose(&mut self, index: usize, how: String) {
        let Some(member) = self.members.get_mut(index).filter(|member| member.runs()) else {
            return;
        };
        member.engine.process.kill();
        // It was killed, or seen to have ended.
        let _ = member.engine.process.wait();
        member.ended = Some(how.clone());
        let (name, killed, hello) = (member.name.clone(), member.killed, member.engine.hello);
        let panic = member.kernel.panic().is_some();
        self.read_rest_of_consoles(index);
        if let Some(Member { engine, .. }) = self.members.get_mut(index) {
            (engine.link_open, engine.kernel_open, engine.qemu_open) = (false, false, false);
        }
        self.starter.ended(index);
        let actions = self.stops.ended(index);
        self.act(actions);
        self.tell_remote(Event::Ended { machine: index, how: how.clone() });
        if self.ending.is_some() {
            return;
        }
        if self.config.has_program && index == 0 {
            return self.fail(format!("machine {name} {how} before the program did"));
        }
        if self.config.remote.is_none() && !self.members.iter().any(Member::runs) {
            return self.fail(format!("machine {name}, the last one, {how}"));
        }
        let again = self.config.restart_machines && !killed && hello;
        self.report_loss(index, &how, again || killed && !panic);
        if again {
            self.restart(index);
        }
    }

    fn report_loss(&mut self, index: usize, how: &str, brief: bool) {
        let Some(member) = self.members.get(index) else { return };
        let instances: Vec<String> = member.instances.clone().map(|n| n.to_string()).collect();
        let name = &member.name;
        let text = format!("machine {name} {how}; lost: instance {}", instances.join(", "));
        if self.config.log.warnings && !self.config.log.verbose && !brief {
            self.config.log.show(&member.transcripts().concat());
        }
        self.report(Level::Error, text);
    }

    /// Starts a machine again under its number, whatever it does now.
    fn restart(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index) else { return };
        if member.runs() {
            member.killed = true;
            self.lose(index, "ended to be started again".to_owned());
        }
        if self.ending.is_some() {
            return;
        }
        let engine = self.starter.start(index).map_err(|error| error.to_string());
        let engine = engine.and_then(|(process, started)| {
            Engine::new(process, started).map_err(|error| error.to_string())
        });
        let Some(member) = self.members.get_mut(index) else { return };
        let (text, process) = match engine {
            Ok(engine) => {
                let process = engine.process.id();
                member.engine = engine;
                member.ended = None;
                member.killed = false;
                (format!("machine {}: started again", member.name), Some(process))
            }
            Err(error) => {
                (format!("machine {}: could not be started again: {error}", member.name), None)
            }
        };
        if let Some(process) = process {
            self.stops.restarted(index);
            self.tell_remote(Event::Started { machine: index, process });
        }
        self.report(Level::Warning, text);
    }

    /// A peer was given up, and who gave it up waits for the stop of its incarnation.
    pub(super) fn on_ask(&mut self, ask: Ask) {
        let (Some(of), Some(by)) = (self.machine_of(ask.peer), self.machine_of(ask.by)) else {
            return;
        };
        // Within a machine its first instance can stop the others; this here could only stop all.
        if of == by {
            return;
        }
        let later = self.epochs.get(&ask.peer).is_some_and(|epoch| *epoch > ask.epoch);
        if later {
            // That incarnation is history: whoever returned under a new epoch has left it.
            return self.act(vec![Action::Answer(ask)]);
        }
        let stopped = match self.members.get(of) {
            // What is being stopped here, or is held, is not stopped by others.
            Some(member) if member.runs() && self.stops.stopping().all(|m| m != of) => {
                member.engine.process.is_stopped().unwrap_or(false)
            }
            _ => false,
        };
        let actions = self.stops.ask(of, ask, stopped);
        self.act(actions);
        self.check_stops();
    }

    /// Looks whether the machines that were asked to stop have.
    pub(super) fn check_stops(&mut self) {
        let stopping: Vec<usize> = self.stops.stopping().collect();
        for index in stopping {
            let Some(member) = self.members.get_mut(index) else { continue };
            let stopped = member.engine.process.is_stopped();
            match stopped {
                Ok(true) => {
                    let actions = self.stops.seen_stopped(index);
                    self.act(actions);
                }
                // Somebody may have let it run in between: asked again, it does no harm.
                Ok(false) => self.act(vec![Action::Stop(index)]),
                Err(error) => self.lose(index, format!("cannot be watched ({error})")),
            }
        }
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            let (index, done) = match action {
                Action::Answer(Ask { by, peer, epoch }) => {
                    self.tell_instance(by, LauncherMessage::PeerStopped { peer, epoch });
                    self.tell_remote(Event::ToldStopped { instance: by, peer, epoch });
                    continue;
                }
                Action::Stop(index) => {
                    (index, self.members.get_mut(index).map(|m| m.engine.process.stop()))
                }
                Action::Resume(index) => {
                    (index, self.members.get_mut(index).map(|m| m.engine.process.resume()))
                }
            };
            if let Some(Err(error)) = done {
                self.lose(index, format!("cannot be stopped ({error})"));
            }
        }
    }

    pub(super) fn on_orders(&mut self) {
        for order in self.config.remote.as_ref().map(Remote::take).unwrap_or_default() {
            match order {
                Order::Hold(machine) => {
                    let actions = self.stops.hold(machine);
                    self.act(actions);
                }
                Order::Release(machine) => {
                    let actions = self.stops.release(machine);
                    self.act(actions);
                }
                Order::Kill(machine) => {
                    if let Some(member) = self.members.get_mut(machine) {
                        member.killed = true;
                        member.engine.process.kill();
                    }
                }
                Order::Restart(machine) => self.restart(machine),
                Order::Tell(instance, message) => self.tell_instance(instance, message),
                Order::Dismiss => {
                    self.ending.get_or_insert(Ending::Dismissed);
                }
            }
        }
    }
}
