//! The normal form of an instance; see [`crate::model`].

use super::{Message, Shared};
use crate::model::{Checked, Names, rename_set};
use crate::{Action, Mutation, PageKey, Time};

impl<M: Checked> Shared<M> {
    /// Visits every message that waits for siblings.
    fn waiting(&mut self, f: &mut dyn FnMut(PageKey, &mut M::Message)) {
        for (_, kept) in self.lead.kept.iter_mut() {
            for action in kept.busy.iter_mut().flat_map(|busy| busy.queue.iter_mut()) {
                if let Action::Send { page, message, .. } = action {
                    f(*page, message);
                }
            }
        }
    }
}

impl<M: Checked> Checked for Shared<M> {
    fn stamps(&mut self, f: &mut dyn FnMut(&mut u64)) {
        self.machine.stamps(f);
        self.waiting(&mut |_, message| M::message_stamps(message, f));
    }

    fn holds(&mut self, f: &mut dyn FnMut(&mut Time)) {
        self.machine.holds(f);
        for (_, mapped) in self.mapped.iter_mut().filter(|(_, m)| m.held_until != Time(0)) {
            f(&mut mapped.held_until);
        }
        for (_, kept) in self.lead.kept.iter_mut() {
            for action in kept.busy.iter_mut().flat_map(|busy| busy.queue.iter_mut()) {
                if let Action::Timer { at, .. } = action {
                    f(at);
                }
            }
        }
    }

    fn versions(&mut self, f: &mut dyn FnMut(PageKey, &mut u32)) {
        self.machine.versions(f);
        self.waiting(&mut |page, message| {
            M::message_versions(message, &mut |version| f(page, version));
        });
    }

    fn rename(&mut self, names: &Names<'_>) {
        self.machine.rename(names);
        self.domain.sibling = (names.sibling)(self.domain.sibling);
        self.domain.lead = (names.sibling)(self.domain.lead);
        for lead in self.leads.values_mut() {
            *lead = (names.sibling)(*lead);
        }
        rename_set(&mut self.dead, names.sibling);
        rename_set(&mut self.lead.siblings, names.sibling);
        for (_, kept) in self.lead.kept.iter_mut() {
            rename_set(&mut kept.mappers, names.sibling);
            rename_set(&mut kept.writers, names.sibling);
            let Some(busy) = kept.busy.as_mut() else { continue };
            for set in [&mut busy.asking, &mut busy.asking_write, &mut busy.waiting] {
                rename_set(set, names.sibling);
            }
            for action in &mut busy.queue {
                if let Action::Send { to, message, .. } = action {
                    *to = (names.node)(*to);
                    M::rename_message(message, names);
                }
            }
        }
    }

    fn state_name(&self, page: PageKey) -> &'static str {
        use crate::Access::{Read, Write};
        if self.is_lead(page.object) {
            let kept = self.lead.kept.get(page).filter(|k| k.generation == page.generation);
            let Some(kept) = kept else { return "Lead Nothing" };
            return match kept.granted {
                _ if kept.is_shooting_down() => "Lead Shooting Down",
                Some(_) if kept.window => "Lead Window",
                Some(Write) => "Lead Write",
                Some(Read) => "Lead Read",
                None => "Lead Nothing",
            };
        }
        let mapped = self.mapped.get(page).filter(|m| m.generation == page.generation);
        let Some(mapped) = mapped else { return "Unmapped" };
        match (mapped.granted, mapped.asked) {
            (Some(_), _) if mapped.revoke.is_some() => "Mapped Revoked",
            (Some(_), _) if mapped.window => "Mapped Window",
            (None, None) => "Unmapped",
            (None, Some(_)) => "Asking",
            (Some(Read), None) => "Mapped Read",
            (Some(Read), Some(_)) => "Mapped Read Asking",
            (Some(Write), None) => "Mapped Write",
            (Some(Write), Some(_)) => "Mapped Write Asking",
        }
    }

    fn take_out(&mut self, rule: Option<Mutation>) {
        self.machine.take_out(rule);
        self.lead.rules.take_out(rule);
    }

    fn message_stamps(message: &mut Self::Message, f: &mut dyn FnMut(&mut u64)) {
        if let Message::Outside(message) = message {
            M::message_stamps(message, f);
        }
    }

    fn message_versions(message: &mut Self::Message, f: &mut dyn FnMut(&mut u32)) {
        if let Message::Outside(message) = message {
            M::message_versions(message, f);
        }
    }

    fn rename_message(message: &mut Self::Message, names: &Names<'_>) {
        if let Message::Outside(message) = message {
            M::rename_message(message, names);
        }
    }
}
