//! The normal form of a record; see [`crate::model`].

use super::{Message, Voting};
use crate::model::{Normalise, rename_set};
use crate::{NodeId, Time};

impl<const W: usize> Normalise<W> for Voting<W> {
    fn stamps(&mut self, f: &mut dyn FnMut(&mut u64)) {
        if let Some(work) = self.detail.as_mut().and_then(|d| d.work.as_mut()) {
            f(&mut work.stamp);
        }
    }

    fn hold(&mut self, f: &mut dyn FnMut(&mut Time)) {
        if let Some(detail) = self.detail.as_mut().filter(|d| d.held_until != Time(0)) {
            f(&mut detail.held_until);
        }
    }

    fn versions(&mut self, f: &mut dyn FnMut(&mut u32)) {
        if let Some(detail) = self.detail.as_mut() {
            f(&mut detail.version);
            if let Some(copied) = detail.work.as_mut().and_then(|w| w.copied.as_mut()) {
                f(copied);
            }
        }
    }

    fn rename(&mut self, f: &dyn Fn(NodeId) -> NodeId) {
        let Some(detail) = self.detail.as_mut() else { return };
        rename_set(&mut detail.group, f);
        detail.owner = detail.owner.map(f);
        let Some(work) = detail.work.as_mut() else { return };
        for set in [
            &mut work.waiting,
            &mut work.writers,
            &mut work.readers,
            &mut work.invalids,
            &mut work.requests,
            &mut work.delayed,
            &mut work.delayed_writes,
            &mut work.acks_due,
            &mut work.users,
        ] {
            rename_set(set, f);
        }
    }

    fn message_stamps(message: &mut Message<W>, f: &mut dyn FnMut(&mut u64)) {
        match message {
            Message::Fetch { joining: Some(stamp) } | Message::Invalid { stamp } => f(stamp),
            _ => {}
        }
    }

    fn message_versions(message: &mut Message<W>, f: &mut dyn FnMut(&mut u32)) {
        if let Message::Copy { version, .. } | Message::CopyVoid { version, .. } = message {
            f(version);
        }
    }

    fn rename_message(message: &mut Message<W>, f: &dyn Fn(NodeId) -> NodeId) {
        if let Message::Copy { group, .. } | Message::CopyVoid { group, .. } = message {
            rename_set(group, f);
        }
    }
}
