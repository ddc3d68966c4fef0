//! What the machines' host links say.

use maize_hostlink::KernelMessage;
use maize_hostlink::control::{Level, Output};
use maize_hostlink::frame::{Channel, Frame};

use super::Session;
use crate::link::{LinkError, Received};
use crate::run::Ending;

impl Session {
    pub(super) fn on_link(&mut self, index: usize) {
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
}
