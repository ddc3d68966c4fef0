//! What the machines' host links say.

use maize_hostlink::KernelMessage;
use maize_hostlink::control::{Level, Output};
use maize_hostlink::frame::{Channel, Frame, FrameError};

use super::Session;
use crate::link::{LinkError, Received};
use crate::live::Event;
use crate::run::Ending;
use crate::stops::Ask;

impl Session {
    pub(super) fn on_link(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index) else { return };
        let mut messages = Vec::new();
        let (sinks, instances) = (&mut self.sinks, &member.instances);
        let link = &mut member.engine.link;
        let result = link.flush().and_then(|()| {
            link.receive(|Frame { channel, instance, payload }| {
                if !instances.contains(&instance) {
                    return Err(LinkError::Stranger(instance));
                }
                match channel {
                    Channel::Stdout => sinks.push(Output::Stdout, payload),
                    Channel::Stderr => sinks.push(Output::Stderr, payload),
                    Channel::Control => messages.push((instance, KernelMessage::decode(payload)?)),
                    // Input does not come from a kernel: tell it by the frame's own error.
                    Channel::Stdin => {
                        return Err(FrameError::UnknownChannel(Channel::Stdin as u8).into());
                    }
                }
                Ok(())
            })
        });
        for (instance, message) in messages {
            if self.config.remote.is_some() {
                self.tell_remote(Event::Said { instance, message: message.clone() });
            }
            self.on_message(index, instance, message);
        }
        match result {
            Ok(Received::Open) => {}
            Ok(Received::End) | Err(LinkError::Cut(_)) => {
                if let Some(member) = self.members.get_mut(index) {
                    member.engine.link_open = false;
                }
            }
            Err(error) => self.lose(index, format!("failed ({error})")),
        }
    }

    fn on_message(&mut self, index: usize, instance: u16, message: KernelMessage) {
        let Some(member) = self.members.get_mut(index) else { return };
        match message {
            KernelMessage::Hello { version } if version == maize_hostlink::VERSION => {
                member.engine.hello = true;
            }
            KernelMessage::Hello { version } => {
                let ours = maize_hostlink::VERSION;
                self.lose(index, format!("has host link version {version}, the launcher {ours}"));
            }
            KernelMessage::StdinCredit { bytes } => member.engine.link.add_credit(bytes),
            KernelMessage::Ready { phases, .. } => {
                self.ready.get_or_insert(self.config.started.elapsed());
                if self.phases.is_empty() {
                    self.phases = phases;
                }
            }
            KernelMessage::Exited { status } => {
                if self.config.has_program {
                    self.ending.get_or_insert(Ending::Exited(status));
                }
            }
            KernelMessage::Stats(stats) => {
                self.stats.add(instance, stats);
                self.awaited_stats.remove(&instance);
            }
            KernelMessage::Up { instance, epoch } => {
                self.epochs.insert(instance, epoch);
                self.note(index, &format!("instance {instance} is up in epoch {epoch}"));
            }
            KernelMessage::PeerUp { peer, epoch } => {
                self.note(index, &format!("instance {instance}: {peer} is up in epoch {epoch}"));
            }
            KernelMessage::PeerDown { peer, epoch, cause, awaits_stop } => {
                let text = format!("instance {instance}: {peer} is down, epoch {epoch}: {cause}");
                self.note(index, &text);
                let gone = self.machine_of(peer).and_then(|index| self.members.get(index));
                let known = gone.is_some_and(|member| !member.runs());
                if awaits_stop && self.given_up.insert((peer, epoch)) && !known {
                    let text = format!("instance {peer} was given up in epoch {epoch}: {cause}");
                    self.report(Level::Warning, text);
                }
                if awaits_stop {
                    self.on_ask(Ask { by: instance, peer, epoch });
                }
            }
            // For who follows the run, which has been told.
            KernelMessage::Exercise { .. } => {}
            KernelMessage::Report { level, text } => {
                self.note(index, &text);
                self.report(level, text);
            }
        }
    }

    /// Keeps a text for the outcome, and shows it unless it is unimportant or shown already.
    pub(super) fn report(&mut self, level: Level, text: String) {
        if level >= Level::Warning && self.config.log.warnings && !self.config.log.verbose {
            self.config.log.show(&format!("maize: {text}"));
        }
        self.reports.push((level, text));
    }

    /// Puts a text into the log as if it stood on the machine's console.
    fn note(&mut self, index: usize, text: &str) {
        let Some(member) = self.members.get(index) else { return };
        for line in text.lines() {
            self.config.log.line(&member.name, line);
        }
    }
}
