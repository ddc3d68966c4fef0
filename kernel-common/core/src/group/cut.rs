//! Files that become shorter while other instances have pages of them.

use alloc::vec::Vec;

use maize_hal::Arch;
use maize_mm::ObjectId;
use maize_wire::InstanceId;

use super::{Dropped, SpaceKey};
use crate::fabric::RequestId;
use crate::fabric::message::Forget;
use crate::handle::Handle;
use crate::state::State;
use crate::thread::Current;
use crate::wait::Interruptible;

/// Who was asked to forget pages that files have lost.
#[must_use]
pub(crate) struct Cut {
    asked: Vec<(InstanceId, RequestId)>,
    /// Whether frames are kept until all have.
    keeps: bool,
}

impl<A: Arch> State<A> {
    /// A file may become shorter in this step: other instances may map what it loses.
    pub(crate) fn begin_cut(&mut self) {
        if self.fabric.is_joined() {
            self.memory.frames().keep_released();
        }
    }

    /// Ends what [`Self::begin_cut`] began: starts another life of pages that were lost, and has the others
    /// forget the one before.
    pub(crate) fn cut_pages(&mut self, current: Current) -> Cut {
        let cuts = self.memory.take_cuts();
        let keeps = self.fabric.is_joined();
        if cuts.is_empty() {
            if keeps {
                self.memory.frames().free_kept();
            }
            return Cut { asked: Vec::new(), keeps: false };
        }
        let dropped: Vec<Dropped> = cuts.into_iter().map(|cut| self.cut_object(cut)).collect();
        let space = SpaceKey { home: self.fabric.me.0, serial: 0 };
        let peers: Vec<InstanceId> = self.fabric.usable_peers().collect();
        let ask = |peer| {
            let id = self.ask(peer, current.tid.0, |id| {
                Forget { id, space, ranges: Vec::new(), dropped: dropped.clone() }.into()
            });
            (peer, id)
        };
        Cut { asked: peers.into_iter().map(ask).collect(), keeps }
    }

    fn cut_object(&mut self, (object, first): (ObjectId, u64)) -> Dropped {
        // As far as pages can be named.
        let end = first.max(1 << 36);
        let generation = self.fabric.pages.next_generation(object);
        self.renew_pages(object, first..end, generation);
        Dropped { object: object.into(), first, count: end - first, generation, ends: true }
    }
}

/// Returns when nobody has pages any more that files have lost.
pub(crate) async fn forget_cut<A: Arch>(k: &Handle<A>, current: Current, cut: Cut) {
    for (peer, id) in cut.asked {
        // One that is gone maps nothing.
        let _ = k.answer(current.task, peer, id, Interruptible::Not).await;
    }
    if cut.keeps {
        k.with(|s| s.memory.frames().free_kept());
    }
}
