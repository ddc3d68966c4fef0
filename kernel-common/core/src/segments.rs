//! Segments of System V shared memory: memory objects that programs find by a number or a key.
//!
//! A segment is mapped as a file is that processes share, so its pages are coherent wherever they are used. One that was removed is there until nothing maps it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use maize_abi::ipc::{IPC_PRIVATE, Permissions};
use maize_abi::shm::{self, ShmidDs};
use maize_abi::{Errno, PAGE_SIZE};
use maize_hal::{Arch, Nanos};
use maize_mm::{Label, Memory, ObjectId, PageStore, SpaceId};

use crate::ids::Pid;
use crate::process::Process;
use crate::state::State;
use crate::system_v::{Object, Objects};

/// Bytes of one at most.
const LARGEST: u64 = 1 << 46;

/// Which of a segment's times to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Attached = 0,
    Detached = 1,
    Changed = 2,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    object: ObjectId,
    /// Without what is counted when it is asked for.
    facts: ShmidDs,
}

impl Object for Segment {
    /// `kernel.shmmni`.
    const MOST: usize = 4096;

    fn permissions(&self) -> &Permissions {
        &self.facts.permissions
    }

    fn permissions_mut(&mut self) -> &mut Permissions {
        &mut self.facts.permissions
    }
}

impl Segment {
    const fn is_removed(&self) -> bool {
        self.facts.permissions.mode & shm::SHM_DEST != 0
    }
}

/// What there may be at most.
pub(crate) const LIMITS: shm::Limits =
    shm::Limits { len: LARGEST, segments: Segment::MOST as u64, pages: LARGEST / PAGE_SIZE as u64 };

/// All segments.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    all: Objects<Segment>,
    /// Segments that are removed and still mapped.
    removed: usize,
}

impl Segments {
    /// What is told of each that is there, and its object.
    pub(crate) fn told<'a>(
        &'a self,
        memory: &'a Memory,
        processes: &'a BTreeMap<Pid, Process>,
    ) -> impl Iterator<Item = (i32, ObjectId, ShmidDs)> + 'a {
        let all = self.all.iter().map(move |(id, segment)| {
            let attached = attachments(memory, processes, segment.object);
            (id, segment, ShmidDs { attached, ..segment.facts })
        });
        let there = all.filter(|(_, segment, facts)| !segment.is_removed() || facts.attached > 0);
        there.map(|(id, segment, facts)| (id, segment.object, facts))
    }
}

/// How often a segment is mapped.
fn attachments(memory: &Memory, processes: &BTreeMap<Pid, Process>, object: ObjectId) -> u64 {
    let spaces: BTreeSet<SpaceId> = processes.values().filter_map(|p| p.space).collect();
    let count = |space: &SpaceId| {
        let areas = memory.areas(*space).ok().into_iter().flatten();
        let starts: BTreeSet<u64> = areas
            .filter(|area| area.object == object)
            .map(|area| area.start.wrapping_sub(area.first * PAGE_SIZE as u64))
            .collect();
        starts.len() as u64
    };
    spaces.iter().map(count).sum()
}

impl<A: Arch> State<A> {
    /// Seconds since the epoch.
    pub(crate) fn seconds(&self) -> i64 {
        (self.wall_clock().0 / Nanos::SECOND.0) as i64
    }

    /// The segment of a key, or a new one: `shmget`.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `EINVAL` for a size that it cannot have, `ENOSPC`, `ENOMEM`.
    pub(crate) fn find_segment(
        &mut self,
        by: Pid,
        (key, len, flags): (i32, u64, u32),
    ) -> Result<u64, Errno> {
        self.drop_removed_segments();
        if let Some((id, segment)) = self.segments.all.find(key, flags)? {
            return if len > segment.facts.len { Err(Errno::EINVAL) } else { Ok(id as u64) };
        }
        if len == 0 || len > LARGEST {
            return Err(Errno::EINVAL);
        }
        // There are no huge pages.
        if flags & shm::SHM_HUGETLB != 0 {
            return Err(Errno::ENOMEM);
        }
        let room = self.segments.all.check_room()?;
        let size = len.next_multiple_of(PAGE_SIZE as u64);
        let mut store = self.memory.store(&mut self.arch);
        let object = store.create(size).map_err(|_| Errno::ENOMEM)?;
        let facts = ShmidDs {
            permissions: Permissions::new(key, flags),
            len,
            times: [0, 0, self.seconds()],
            pids: [by.0, 0],
            ..ShmidDs::default()
        };
        Ok(self.segments.all.add(room, Segment { object, facts }) as u64)
    }

    /// What is mapped for a segment: its object, its length, and what `/proc/PID/maps` shows.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub(crate) fn segment_to_map(&self, id: i32) -> Result<(ObjectId, u64, Label), Errno> {
        /// The device number of what no path leads to.
        const DEVICE: u64 = 1;
        let Segment { object, facts } = self.segments.all.get(id)?;
        let path = format!("/SYSV{:08x} (deleted)", facts.permissions.key);
        let label = Label { path, device: DEVICE, inode: id as u64 };
        Ok((*object, facts.len, label))
    }

    /// Notes who has used a segment, and when.
    pub(crate) fn note_segment(&mut self, object: ObjectId, by: Pid, event: Event) {
        let now = self.seconds();
        let mut all = self.segments.all.values_mut();
        if let Some(segment) = all.find(|segment| segment.object == object) {
            segment.facts.times[event as usize] = now;
            segment.facts.pids[1] = by.0;
        }
    }

    /// The segment that is mapped at an address, and where its pages are now.
    pub(crate) fn segment_at(
        &self,
        space: SpaceId,
        address: u64,
    ) -> Option<(ObjectId, Vec<(u64, u64)>)> {
        let page = PAGE_SIZE as u64;
        let is_segment =
            |object| self.segments.all.iter().map(|(_, it)| it).find(|it| it.object == object);
        let areas = || self.memory.areas(space).ok().into_iter().flatten();
        // Its first pages may have been unmapped.
        let of_it = |start: u64, first: u64| start.checked_sub(first * page) == Some(address);
        let found = areas()
            .find_map(|area| is_segment(area.object).filter(|_| of_it(area.start, area.first)))?;
        let end = address.saturating_add(found.facts.len.next_multiple_of(page));
        let ranges = areas()
            .filter(|area| area.object == found.object && of_it(area.start, area.first))
            .filter(|area| area.end <= end)
            .map(|area| (area.start, area.end - area.start));
        Some((found.object, ranges.collect()))
    }

    /// What `IPC_STAT` tells.
    ///
    /// # Errors
    /// `EINVAL` if there is no such segment.
    pub(crate) fn segment_facts(&mut self, id: i32) -> Result<ShmidDs, Errno> {
        self.drop_removed_segments();
        let Segment { object, facts } = *self.segments.all.get(id)?;
        Ok(ShmidDs { attached: attachments(&self.memory, &self.processes, object), ..facts })
    }

    /// The number of the segment at a place, and what is told of it.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub(crate) fn segment_at_place(&mut self, id: i32) -> Result<(i32, ShmidDs), Errno> {
        self.drop_removed_segments();
        let (id, _) = self.segments.all.at_place(id)?;
        Ok((id, self.segment_facts(id)?))
    }

    /// The highest place that has a segment, and what there is of all.
    pub(crate) fn segments_usage(&mut self) -> (u32, shm::Usage) {
        self.drop_removed_segments();
        let highest = self.segments.all.highest_place();
        let all: Vec<(ObjectId, u64)> =
            self.segments.all.iter().map(|(_, it)| (it.object, it.facts.len)).collect();
        let mut usage = shm::Usage { segments: all.len() as u32, ..shm::Usage::default() };
        let store = self.memory.store(&mut self.arch);
        for (object, len) in all {
            usage.pages += len.div_ceil(PAGE_SIZE as u64);
            usage.resident += store.resident_pages(object).unwrap_or(0);
        }
        (highest, usage)
    }

    /// `IPC_SET`.
    ///
    /// # Errors
    /// `EINVAL` if there is no such segment.
    pub(crate) fn change_segment(&mut self, id: i32, wanted: &Permissions) -> Result<(), Errno> {
        let now = self.seconds();
        let facts = &mut self.segments.all.get_mut(id)?.facts;
        facts.permissions.set(wanted);
        facts.times[Event::Changed as usize] = now;
        Ok(())
    }

    /// `IPC_RMID`.
    ///
    /// # Errors
    /// `EINVAL` if there is no such segment.
    pub(crate) fn remove_segment(&mut self, id: i32) -> Result<(), Errno> {
        let segment = self.segments.all.get_mut(id)?;
        if !segment.is_removed() {
            // As on Linux, no key leads there any more.
            segment.facts.permissions.key = IPC_PRIVATE;
            segment.facts.permissions.mode |= shm::SHM_DEST;
            self.segments.removed += 1;
        }
        self.drop_removed_segments();
        Ok(())
    }

    /// Frees segments that were removed and that nothing maps any more.
    pub(crate) fn drop_removed_segments(&mut self) {
        if self.segments.removed == 0 {
            return;
        }
        let removed = self.segments.all.iter().filter(|(_, segment)| segment.is_removed());
        let unused: Vec<(i32, ObjectId)> = removed
            .map(|(id, segment)| (id, segment.object))
            .filter(|(_, object)| attachments(&self.memory, &self.processes, *object) == 0)
            .collect();
        for (id, object) in unused {
            if self.segments.all.remove(id).is_ok() {
                self.segments.removed -= 1;
                self.memory.store(&mut self.arch).release(object);
            }
        }
    }
}
