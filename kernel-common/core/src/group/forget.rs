//! Telling members that areas have changed, and what they do about it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use maize_hal::Arch;
use maize_mm::{Budget, Progress, SpaceId};
use maize_wire::InstanceId;
use serde::{Deserialize, Serialize};

use super::{ObjectName, SpaceKey};
use crate::executor::TaskId;
use crate::fabric::RequestId;
use crate::fabric::message::{Forget, Forgot};
use crate::handle::Handle;
use crate::ids::Tid;
use crate::state::State;
use crate::thread::Current;
use crate::wait::Interruptible;

/// Pages of an object that are dropped everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dropped {
    pub(crate) object: ObjectName,
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// The life that the pages start.
    pub(crate) generation: u32,
    /// Whether the object ends where they start.
    pub(crate) ends: bool,
}

/// Who asks for a change of areas on behalf of a thread, which may go on and ask for something else
/// before it is confirmed. No thread has such an id.
const fn changer(tid: Tid) -> u32 {
    tid.0 | 1 << 31
}

impl<A: Arch> Handle<A> {
    /// Has every member forget areas and pages; returns when all have confirmed it, or are gone, except
    /// the place where the thread goes on: whatever is sent there arrives behind this. What that one is
    /// still to answer is returned.
    pub(super) async fn forget_everywhere(
        &self,
        current: Current,
        space: SpaceId,
        ranges: &[Range<u64>],
        dropped: &[Dropped],
    ) -> Option<(InstanceId, RequestId)> {
        let (place, mut asked) = self.with(|s| {
            let members = s.members(space);
            let asked = s.ask_to_forget(changer(current.tid), space, members, (ranges, dropped));
            (s.away_place(current.tid), asked)
        });
        let own = asked.iter().position(|(member, _)| Some(*member) == place);
        let own = own.map(|at| asked.swap_remove(at));
        self.all_forgot(current, asked).await;
        own
    }

    /// Has the kernels of these instances interrupt what runs there, and returns when they have, or are gone.
    /// Where the calling thread is it has been interrupted already.
    pub(crate) async fn interrupt_all(&self, current: Current, mut instances: Vec<InstanceId>) {
        let asked = self.with(|s| {
            let Some(space) = s.thread_space(current.tid) else { return Vec::new() };
            let place = s.away_place(current.tid);
            instances.retain(|instance| Some(*instance) != place);
            s.ask_to_forget(current.tid.0, space, instances, (&[], &[]))
        });
        self.all_forgot(current, asked).await;
    }

    async fn all_forgot(&self, current: Current, asked: Vec<(InstanceId, RequestId)>) {
        for (instance, id) in asked {
            // One that is gone maps and runs nothing.
            let _ = self.answer(current.task, instance, id, Interruptible::Not).await;
        }
    }
}

impl<A: Arch> State<A> {
    fn ask_to_forget(
        &mut self,
        asker: u32,
        space: SpaceId,
        instances: Vec<InstanceId>,
        (ranges, dropped): (&[Range<u64>], &[Dropped]),
    ) -> Vec<(InstanceId, RequestId)> {
        let space = SpaceKey { home: self.fabric.me.0, serial: space.serial() };
        let ask = |instance| {
            let id = self.ask(instance, asker, |id| {
                let ranges = ranges.iter().map(|r| (r.start, r.end)).collect();
                Forget { id, space, ranges, dropped: dropped.to_vec() }.into()
            });
            (instance, id)
        };
        instances.into_iter().map(ask).collect()
    }

    /// A home wants areas forgotten.
    pub(crate) fn begin_forgetting(&mut self, k: &Handle<A>, from: InstanceId, forget: Forget) {
        for dropped in &forget.dropped {
            let object = dropped.object.into();
            if dropped.object.home == from.0 && self.memory.has_object(object) {
                let end = dropped.first.saturating_add(dropped.count);
                if dropped.ends {
                    let len = dropped.first.saturating_mul(maize_abi::PAGE_SIZE as u64);
                    self.memory.set_replica_len(object, len);
                }
                self.drop_pages(object, dropped.first..end, dropped.generation);
            }
        }
        let own = forget.space.home == from.0;
        let Some(space) = self.replica_space(forget.space).filter(|_| own) else {
            self.answer(from, forget.id, Forgot { id: forget.id }.into());
            return;
        };
        if let Some(replica) = self.groups.replicas.get_mut(&forget.space) {
            replica.note_change();
        }
        let end = self.user_end();
        for (start, stop) in forget.ranges {
            self.memory.forget_areas(space, start..stop.min(end));
        }
        if self.memory.advance(&mut self.arch, space, &mut Budget::step()) == Progress::Done {
            self.wake_background();
            self.answer(from, forget.id, Forgot { id: forget.id }.into());
            return;
        }
        let task = self.tasks.reserve();
        self.tasks.spawn(task, Box::pin(finish(k.clone(), task, from, forget.id, space)));
    }
}

async fn finish<A: Arch>(
    k: Handle<A>,
    task: TaskId,
    from: InstanceId,
    id: RequestId,
    space: SpaceId,
) {
    loop {
        let mut budget = Budget::step();
        let progress = k.with(|s| s.memory.advance(&mut s.arch, space, &mut budget));
        if progress == Progress::Done {
            break;
        }
        k.yield_now(task).await;
    }
    k.with(|s| {
        s.wake_background();
        s.answer(from, id, Forgot { id }.into());
    });
}
