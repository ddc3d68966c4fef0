//! The normal form of a record; see [`crate::model`].

use super::record::Successor;
use super::{Body, Directory, Message};
use crate::model::{Normalise, rename_set};
use crate::{NodeId, Time};

impl<const W: usize> Normalise<W> for Directory<W> {
    fn stamps(&mut self, _: &mut dyn FnMut(&mut u64)) {}

    fn hold(&mut self, f: &mut dyn FnMut(&mut Time)) {
        if let Some(detail) = self.detail.as_mut().filter(|d| d.held_until != Time(0)) {
            f(&mut detail.held_until);
        }
    }

    fn versions(&mut self, _: &mut dyn FnMut(&mut u32)) {}

    fn rename(&mut self, f: &dyn Fn(NodeId) -> NodeId) {
        let Some(detail) = self.detail.as_mut() else { return };
        rename_set(&mut detail.entry.sharers, f);
        detail.entry.owner = detail.entry.owner.map(f);
        if let Some(recovery) = detail.recovery.as_mut() {
            recovery.rename(f);
        }
        let Some(work) = detail.work.as_mut() else { return };
        for set in [
            &mut work.acks_wanted,
            &mut work.acks,
            &mut work.readers,
            &mut work.get_s,
            &mut work.get_m,
            &mut work.upgrades,
            &mut work.gifted,
            &mut work.foresighted,
        ] {
            rename_set(set, f);
        }
        match work.successor.as_mut() {
            Some(Successor::Drop(to)) => *to = f(*to),
            Some(Successor::Give(to, acks)) => {
                *to = f(*to);
                rename_set(acks, f);
            }
            None => {}
        }
    }

    fn message_stamps(_: &mut Message<W>, _: &mut dyn FnMut(&mut u64)) {}

    fn message_versions(_: &mut Message<W>, _: &mut dyn FnMut(&mut u32)) {}

    fn rename_message(message: &mut Message<W>, f: &dyn Fn(NodeId) -> NodeId) {
        match &mut message.body {
            Body::FwdGetS { to } | Body::Inv { to } => to.rename(f),
            Body::FwdGetM { to, acks } => {
                to.rename(f);
                rename_set(acks, f);
            }
            Body::Grant { acks } | Body::Data { acks, .. } => rename_set(acks, f),
            Body::GetS { deaths: Some(deaths) } | Body::GetM { deaths: Some(deaths), .. } => {
                rename_set(&mut deaths.odd, f);
                rename_set(&mut deaths.even, f);
            }
            Body::Drain { targets, sources } => {
                rename_set(targets, f);
                rename_set(sources, f);
            }
            _ => {}
        }
    }
}
