//! Changes of a shared space, in order: see `docs/src/distributed.md`, "Changing areas".

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::Future;
use core::ops::Range;

use maize_abi::pte::Access;
use maize_abi::{Errno, PAGE_SIZE, Sysno};
use maize_hal::{Arch, Nanos};
use maize_mm::{NeedPage, ObjectId, SpaceId};
use maize_wire::InstanceId;

use super::Dropped;
use crate::executor::TaskId;
use crate::fabric::RequestId;
use crate::handle::Handle;
use crate::state::State;
use crate::thread::Current;
use crate::wait::{Interruptible, WaitKey};

const PAGE: u64 = PAGE_SIZE as u64;

/// What a call is going to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Where areas are changed.
    pub(crate) ranges: Vec<Range<u64>>,
    /// Whether what was written privately there is dropped.
    pub(crate) drops: bool,
    /// Whether pages there are given other names.
    pub(crate) moves: bool,
}

/// Whole pages that a call's start and length name; `None` for what the call will refuse.
fn pages(start: u64, len: u64) -> Option<Range<u64>> {
    let end = start.checked_add(len.checked_next_multiple_of(PAGE)?)?;
    (start.is_multiple_of(PAGE) && start < end).then_some(start..end)
}

impl Change {
    /// What `sysno` with these arguments changes, `heap` being where the heap is. `None` if members
    /// need not know: a call that maps where nothing was, or one that only looks.
    pub(crate) fn of(sysno: Sysno, args: &[u64; 6], heap: &Range<u64>) -> Option<Change> {
        const MAP_FIXED: u64 = 0x10;
        const MREMAP_FIXED: u64 = 2;
        const DROPPING_ADVICE: [u64; 3] = [4, 8, 24];
        let one = |range: Option<Range<u64>>, drops| {
            range.map(|range| Change { ranges: [range].into(), drops, moves: false })
        };
        match sysno {
            Sysno::Mmap if args[3] & MAP_FIXED != 0 => one(pages(args[0], args[1]), true),
            Sysno::Munmap => one(pages(args[0], args[1]), true),
            Sysno::Mprotect => one(pages(args[0], args[1]), false),
            Sysno::Madvise if DROPPING_ADVICE.contains(&args[2]) => {
                one(pages(args[0], args[1]), true)
            }
            // An end before the heap's start, such as 0, only asks where the heap ends.
            Sysno::Brk if args[0] < heap.start => None,
            Sysno::Brk => {
                let start = args[0].checked_next_multiple_of(PAGE)?;
                let end = heap.end.checked_next_multiple_of(PAGE)?;
                one((start < end).then_some(start..end), true)
            }
            Sysno::Mremap => {
                let mut ranges: Vec<_> = pages(args[0], args[1]).into_iter().collect();
                if args[3] & MREMAP_FIXED != 0 {
                    ranges.extend(pages(args[4], args[2]));
                }
                (!ranges.is_empty()).then_some(Change { ranges, drops: true, moves: true })
            }
            _ => None,
        }
    }
}

impl<A: Arch> State<A> {
    /// The private objects behind a change, with the pages concerned.
    fn concerned(&self, space: SpaceId, change: &Change) -> Vec<(ObjectId, Range<u64>)> {
        let mut all = Vec::new();
        for range in &change.ranges {
            all.extend(self.memory.objects_in(space, range.clone()));
        }
        all.retain(|(object, _)| self.memory.is_private(*object));
        all
    }
}

impl<A: Arch> State<A> {
    /// Lets requests for a space's private pages wait; returns the objects for
    /// [`State::resume_pages`].
    pub(crate) fn pause_private_pages(&mut self, space: SpaceId) -> Vec<ObjectId> {
        let all = self.memory.objects_in(space, 0..self.user_end());
        let mut objects: Vec<ObjectId> = all.into_iter().map(|(object, _)| object).collect();
        objects.retain(|object| self.memory.is_private(*object));
        objects.sort_unstable();
        objects.dedup();
        for object in &objects {
            self.fabric.pages.pause(*object);
        }
        objects
    }
}

/// Carries out a call that changes areas of the caller's space: `op` is what it does at home.
pub(crate) async fn ordered<A: Arch>(
    k: &Handle<A>,
    current: Current,
    (sysno, args): (Sysno, &[u64; 6]),
    op: impl Future<Output = Result<u64, Errno>>,
) -> Result<u64, Errno> {
    let Some(space) = k.with(|s| s.shared_space(current)) else { return op.await };
    k.take_turn(current, space).await;
    let heap = k.with(|s| s.memory.heap(space));
    let Some(change) = Change::of(sysno, args, &heap) else {
        let result = op.await;
        k.with(|s| s.end_turn(space));
        return result;
    };
    let concerned = k.with(|s| s.concerned(space, &change));
    let objects: Vec<ObjectId> = concerned.iter().map(|(object, _)| *object).collect();
    // What a member still maps of this instance's frames may not be used for anything else.
    let lends = k.with(|s| {
        objects.iter().for_each(|object| s.fabric.pages.pause(*object));
        let lends = s.lends_to_members(space);
        if lends {
            s.memory.frames().keep_released();
        }
        lends
    });
    let rights = Access::from_bits_truncate(args[2] as u8);
    if sysno == Sysno::Mprotect && rights.contains(Access::EXECUTE) {
        leave_window(k, current, space, &change.ranges).await;
    }
    let mut recalled = Ok(());
    if change.moves {
        for range in &change.ranges {
            recalled = recalled.and(recall(k, current, space, range.clone()).await);
        }
    }
    let result = match recalled {
        Ok(()) => op.await,
        Err(errno) => Err(errno),
    };
    let mut dropped = Vec::new();
    // A heap's end that is not moved is no error.
    let done = result.is_ok_and(|end| sysno != Sysno::Brk || end == args[0]);
    if change.drops && done {
        for (object, range) in concerned {
            dropped.push(k.with(|s| {
                let generation = s.fabric.pages.next_generation(object);
                s.renew_pages(object, range.clone(), generation);
                let count = range.end - range.start;
                let (object, first) = (object.into(), range.start);
                Dropped { object, first, count, generation, ends: false }
            }));
        }
    }
    let unconfirmed = k.forget_everywhere(current, space, &change.ranges, &dropped).await;
    let end = Ending { space, objects, lends };
    k.with(|s| match unconfirmed {
        Some((place, request)) => {
            s.go_on_at(space, current.tid, place);
            let task = s.tasks.reserve();
            let ending = end_when_confirmed(k.clone(), task, (place, request), end);
            s.tasks.spawn(task, Box::pin(ending));
        }
        None => s.end_change(end),
    });
    result
}

/// What is left to do at the end of a change.
struct Ending {
    space: SpaceId,
    /// Objects for whose pages requests wait.
    objects: Vec<ObjectId>,
    /// Whether frames are kept until members have forgotten them.
    lends: bool,
}

/// Ends a change when the last member has confirmed it, or is gone.
async fn end_when_confirmed<A: Arch>(
    k: Handle<A>,
    task: TaskId,
    (member, request): (InstanceId, RequestId),
    end: Ending,
) {
    let _ = k.answer(task, member, request, Interruptible::Not).await;
    k.with(|s| s.end_change(end));
}

impl<A: Arch> State<A> {
    fn end_change(&mut self, Ending { space, objects, lends }: Ending) {
        if lends {
            self.memory.frames().free_kept();
        }
        self.resume_pages(&objects);
        self.end_turn(space);
    }
}

/// Has everybody leave the window with pages of ranges that instructions are to be fetched from.
async fn leave_window<A: Arch>(
    k: &Handle<A>,
    current: Current,
    space: SpaceId,
    ranges: &[Range<u64>],
) {
    let left = |s: &mut State<A>| {
        let parts = ranges.iter().flat_map(|range| s.memory.objects_in(space, range.clone()));
        let parts: Vec<_> = parts.collect();
        parts.iter().find_map(|(object, part)| Some((*object, s.retreat_pages(*object, part)?)))
    };
    while let Some((object, index)) = k.with(left) {
        let key = [WaitKey::Page(object, index)];
        k.wait_for(current.task, &key, Nanos::NEVER, Interruptible::Not).await;
    }
}

/// Pages asked for at once when they come home.
const AT_ONCE: usize = 64;

impl<A: Arch> State<A> {
    /// Has others give up what they map of this machine's frames for a range's private pages; one that is
    /// still mapped.
    fn call_in_range(&mut self, space: SpaceId, range: Range<u64>) -> Option<(ObjectId, u64)> {
        let mut parts = self.memory.objects_in(space, range);
        parts.retain(|(object, _)| self.memory.is_private(*object));
        let mut left = None;
        for (object, indices) in &parts {
            self.call_in(*object, indices.clone());
            left = self.retreat_pages(*object, indices).map(|index| (*object, index)).or(left);
        }
        let mut parts = parts.into_iter();
        parts.find_map(|(object, part)| Some((object, self.lent_page(object, part)?))).or(left)
    }
}

/// Gets all private pages of a range home, with the right to write them, and from everybody else.
///
/// # Errors
/// `EFAULT` if one is lost.
pub(crate) async fn recall<A: Arch>(
    k: &Handle<A>,
    current: Current,
    space: SpaceId,
    range: Range<u64>,
) -> Result<(), Errno> {
    loop {
        let absent: Vec<NeedPage> = k.with(|s| {
            let absent = s.memory.absent_pages(space, range.clone(), AT_ONCE);
            for need in &absent {
                // Asked for together; a page that is lost is found out about below.
                let _ = s.request_page(*need);
            }
            absent
        });
        if !absent.is_empty() {
            for need in absent {
                k.obtain(current, need).await.map_err(|_| Errno::EFAULT)?;
            }
            continue;
        }
        let lent = k.with(|s| s.call_in_range(space, range.clone()));
        let Some((object, index)) = lent else { return Ok(()) };
        let key = [WaitKey::Page(object, index)];
        k.wait_for(current.task, &key, Nanos::NEVER, Interruptible::Not).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_something_away_concerns_members() {
        let of = |sysno, args: [u64; 6]| Change::of(sysno, &args, &(0x5000..0x9000));
        assert_eq!(of(Sysno::Mmap, [0, 0x1000, 3, 0x22, 0, 0]), None);
        let fixed = of(Sysno::Mmap, [0x4000, 1, 3, 0x32, 0, 0]).unwrap();
        assert_eq!(fixed.ranges.first(), Some(&(0x4000..0x5000)));
        assert!(fixed.drops && fixed.ranges.len() == 1);
        assert_eq!(of(Sysno::Munmap, [0x4001, 1, 0, 0, 0, 0]), None);
        assert_eq!(of(Sysno::Munmap, [!0xfff, 0x2000, 0, 0, 0, 0]), None);
        assert!(!of(Sysno::Mprotect, [0x4000, 0x1000, 1, 0, 0, 0]).unwrap().drops);
        assert_eq!(of(Sysno::Brk, [0xa000, 0, 0, 0, 0, 0]), None);
        assert_eq!(of(Sysno::Brk, [0x8001, 0, 0, 0, 0, 0]), None);
        assert_eq!(of(Sysno::Brk, [0, 0, 0, 0, 0, 0]), None);
        assert_eq!(of(Sysno::Brk, [0x4fff, 0, 0, 0, 0, 0]), None);
        let shrunk = of(Sysno::Brk, [0x8000, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(shrunk.ranges.first(), Some(&(0x8000..0x9000)));
        assert_eq!(of(Sysno::Madvise, [0x4000, 0x1000, 3, 0, 0, 0]), None);
        let moved = of(Sysno::Mremap, [0x4000, 0x1000, 0x2000, 3, 0x7000, 0]).unwrap();
        assert_eq!(moved.ranges, [0x4000..0x5000, 0x7000..0x9000]);
        assert!(moved.moves);
    }
}
