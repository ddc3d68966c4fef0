//! Sets of files to be told about (`epoll`).
//!
//! A set looks at its files when it is asked: it keeps no list of what is ready. An entry that is
//! edge-triggered is told about once for each wake of one of its file's keys, so [`Vfs::take_wakes`]
//! marks the entries of the keys that were woken; it also wakes who waits for the set.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::{epoll as e, poll};
use maize_abi::signal::SignalSet;

use crate::Vfs;
use crate::caller::{Caller, Surroundings};
use crate::file::Handle;
use crate::id::{FileId, InterestId};
use crate::outcome::WaitKey;

/// Sets within sets at most, as on Linux.
const DEEPEST: usize = 5;

/// Entries of all sets at most.
const MOST: usize = 1 << 16;

/// What is asked about one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// `EPOLLIN` and others, with `EPOLLET` and `EPOLLONESHOT`.
    pub events: u32,
    /// What the program wants to be told with them.
    pub data: u64,
}

/// What a program asked to be told: events that hold, and its data.
pub type Told = Interest;

/// The number and the file that an entry was added by. The entry lives as long as the file.
type Key = (i32, FileId);

#[derive(Clone, Copy, Debug)]
struct Entry {
    interest: Interest,
    keys: [Option<WaitKey>; 2],
    /// Something may have happened since the entry was last told about.
    woken: bool,
}

/// A set of files to be told about.
#[derive(Debug, Default)]
pub(crate) struct InterestSet {
    entries: BTreeMap<Key, Entry>,
    /// Where the next look starts: everyone gets a turn however few can be told at once.
    next: Option<Key>,
}

impl InterestSet {
    fn entry(&mut self, key: Key) -> Result<&mut Entry, Errno> {
        self.entries.get_mut(&key).ok_or(Errno::ENOENT)
    }
}

/// What `epoll_ctl` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `EPOLL_CTL_ADD`.
    Add(Interest),
    /// `EPOLL_CTL_MOD`.
    Modify(Interest),
    /// `EPOLL_CTL_DEL`.
    Delete,
}

/// Whether a change asks for `EPOLLEXCLUSIVE` only where Linux has it: when a file that is no set
/// is added, and without what would have to be told to everybody. An entry that is told to one of
/// those who wait may be told to all of them, so nothing else depends on it.
fn exclusive_is_possible(change: Change, of_set: bool) -> bool {
    match change {
        Change::Add(Interest { events, .. }) if events & e::EPOLLEXCLUSIVE != 0 => {
            !of_set && events & !e::WITH_EXCLUSIVE == 0
        }
        Change::Modify(Interest { events, .. }) => events & e::EPOLLEXCLUSIVE == 0,
        Change::Add(_) | Change::Delete => true,
    }
}

impl Vfs {
    /// `epoll_create1`.
    ///
    /// # Errors
    /// `ENFILE`.
    pub fn make_interest_set(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
    ) -> Result<FileId, Errno> {
        let id = InterestId(self.next_interest);
        let file = self.add_nameless(env, caller, Handle::Interests(id), 0)?;
        self.next_interest += 1;
        self.interests.insert(id, InterestSet::default());
        Ok(file)
    }

    fn set_of(&self, file: FileId) -> Result<InterestId, Errno> {
        match self.file(file)?.handle {
            Handle::Interests(id) => Ok(id),
            _ => Err(Errno::EINVAL),
        }
    }

    /// `epoll_ctl`: changes what the set of the file `set` asks about the file that has number `fd`.
    ///
    /// # Errors
    /// `EBADF`; `EINVAL` if `set` is no set, or itself; `EPERM` for files that are always ready;
    /// `EEXIST`, `ENOENT`; `ELOOP`; `ENOSPC`.
    pub fn change_interest(
        &mut self,
        set: FileId,
        (fd, file): (i32, FileId),
        change: Change,
    ) -> Result<(), Errno> {
        let handle = &self.file(file)?.handle;
        if let Handle::Regular(_) | Handle::Directory | Handle::Text(_) | Handle::Device(_) = handle
        {
            return Err(Errno::EPERM);
        }
        let (inner, id) = (self.set_of(file).ok(), self.set_of(set)?);
        if set == file || inner == Some(id) {
            return Err(Errno::EINVAL);
        }
        if !exclusive_is_possible(change, inner.is_some()) {
            return Err(Errno::EINVAL);
        }
        let key = (fd, file);
        let keys = self.poll_keys(file)?;
        match change {
            Change::Add(interest) => {
                if let Some(inner) = inner
                    && (self.reaches(inner, id) || self.depth(inner) + 1 >= DEEPEST)
                {
                    return Err(Errno::ELOOP);
                }
                if self.interests.values().map(|set| set.entries.len()).sum::<usize>() >= MOST {
                    return Err(Errno::ENOSPC);
                }
                let set = self.interests.get_mut(&id).ok_or(Errno::EBADF)?;
                if set.entries.contains_key(&key) {
                    return Err(Errno::EEXIST);
                }
                set.entries.insert(key, Entry { interest, keys, woken: true });
            }
            Change::Modify(interest) => {
                let set = self.interests.get_mut(&id).ok_or(Errno::EBADF)?;
                let entry = set.entry(key)?;
                if entry.interest.events & e::EPOLLEXCLUSIVE != 0 {
                    return Err(Errno::EINVAL);
                }
                *entry = Entry { interest, keys, woken: true };
            }
            Change::Delete => {
                let set = self.interests.get_mut(&id).ok_or(Errno::EBADF)?;
                set.entries.remove(&key).ok_or(Errno::ENOENT)?;
            }
        }
        self.wakes.wake(WaitKey::InterestReady(id));
        Ok(())
    }

    fn members(&self, set: InterestId) -> impl Iterator<Item = InterestId> + '_ {
        let entries = self.interests.get(&set).into_iter().flat_map(|set| set.entries.keys());
        entries.filter_map(|(_, file)| self.set_of(*file).ok())
    }

    /// Whether a set has another in it, however deep. The sets in a set make a tree, or a loop
    /// would have been refused.
    fn reaches(&self, from: InterestId, to: InterestId) -> bool {
        from == to || self.members(from).any(|member| self.reaches(member, to))
    }

    fn depth(&self, set: InterestId) -> usize {
        self.members(set).map(|member| 1 + self.depth(member)).max().unwrap_or(0)
    }

    /// The events of an entry that hold and are to be told.
    fn holding(&self, (_, file): Key, entry: &Entry, pending: SignalSet) -> u32 {
        if entry.interest.events & e::EPOLLET != 0 && !entry.woken {
            return 0;
        }
        let wanted = entry.interest.events & e::EVENTS;
        if wanted == 0 {
            // One that was to be told once, and was.
            return 0;
        }
        let always = u32::from(poll::POLLERR | poll::POLLHUP);
        u32::from(self.poll(file, pending).unwrap_or(0)) & (wanted | always)
    }

    pub(crate) fn poll_interests(&self, set: InterestId, pending: SignalSet) -> u16 {
        let ready = self.interests.get(&set).is_some_and(|set| {
            set.entries.iter().any(|(key, entry)| self.holding(*key, entry, pending) != 0)
        });
        if ready { poll::POLLIN | poll::POLLRDNORM } else { 0 }
    }

    /// What `epoll_wait` tells somebody who has these signals pending: `most` entries at most. They
    /// count as told when [`Self::tell`] is called next, before anything else changes.
    ///
    /// # Errors
    /// `EBADF`; `EINVAL` if the file is no set.
    pub fn to_tell(
        &self,
        file: FileId,
        most: usize,
        pending: SignalSet,
    ) -> Result<Vec<(i32, FileId, Told)>, Errno> {
        let set = self.interests.get(&self.set_of(file)?).ok_or(Errno::EBADF)?;
        let start = set.next.unwrap_or((i32::MIN, FileId(0)));
        let in_turn = set.entries.range(start..).chain(set.entries.range(..start));
        let told = in_turn.filter_map(|(key, entry)| {
            let events = self.holding(*key, entry, pending);
            (events != 0).then_some((key.0, key.1, Told { events, ..entry.interest }))
        });
        Ok(told.take(most).collect())
    }

    /// Notes that the program was told.
    ///
    /// # Errors
    /// As [`Self::to_tell`].
    pub fn tell(&mut self, file: FileId, told: &[(i32, FileId, Told)]) -> Result<(), Errno> {
        let id = self.set_of(file)?;
        let set = self.interests.get_mut(&id).ok_or(Errno::EBADF)?;
        for (fd, file, _) in told {
            let Ok(entry) = set.entry((*fd, *file)) else { continue };
            entry.woken = false;
            if entry.interest.events & e::EPOLLONESHOT != 0 {
                entry.interest.events &= !e::EVENTS;
            }
        }
        if let Some((fd, file, _)) = told.last() {
            set.next = Some((fd.saturating_add(1), *file));
        }
        Ok(())
    }

    /// What to wait for until a set may have something to tell.
    ///
    /// # Errors
    /// As [`Self::to_tell`].
    pub fn interest_key(&self, file: FileId) -> Result<WaitKey, Errno> {
        self.set_of(file).map(WaitKey::InterestReady)
    }

    /// Marks the entries of keys that were woken; returns the keys of their sets.
    pub(crate) fn wake_interests(&mut self, woken: &[WaitKey]) -> Vec<WaitKey> {
        let mut found = Vec::new();
        if self.interests.is_empty() {
            return found;
        }
        let mut todo: BTreeSet<WaitKey> = woken.iter().copied().collect();
        while !todo.is_empty() {
            let mut sets = BTreeSet::new();
            for (id, set) in &mut self.interests {
                for entry in set.entries.values_mut() {
                    if entry.keys.iter().flatten().any(|key| todo.contains(key)) {
                        entry.woken = true;
                        sets.insert(WaitKey::InterestReady(*id));
                    }
                }
            }
            // Each set is found once, so this ends.
            sets.retain(|key| !found.contains(key));
            found.extend(&sets);
            todo = sets;
        }
        found
    }

    /// Takes a file that is closed out of every set.
    pub(crate) fn forget_interest(&mut self, file: FileId) {
        for set in self.interests.values_mut() {
            set.entries.retain(|(_, other), _| *other != file);
        }
    }
}

#[cfg(test)]
mod tests {
    use maize_abi::file::o;

    use super::*;
    use crate::testing::World;
    use crate::{Limits, Patience, Place};

    struct Fixture {
        vfs: Vfs,
        world: World,
        set: FileId,
    }

    impl Fixture {
        fn new() -> Fixture {
            let mut world = World::default();
            let mut vfs = Vfs::new(Limits::default());
            let view = vfs.initial_view(0o22);
            world.view = Some(view);
            let set =
                with(&mut vfs, &mut world, |vfs, env, caller| vfs.make_interest_set(env, caller));
            Fixture { vfs, world, set }
        }

        fn counter(&mut self) -> FileId {
            with(&mut self.vfs, &mut self.world, |vfs, env, caller| {
                vfs.make_counter(env, caller, (0, false), o::O_NONBLOCK)
            })
        }

        fn add(&mut self, fd: i32, file: FileId, events: u32) -> Result<(), Errno> {
            let interest = Interest { events, data: fd as u64 };
            self.vfs.change_interest(self.set, (fd, file), Change::Add(interest))
        }

        fn write(&mut self, file: FileId) {
            with(&mut self.vfs, &mut self.world, |vfs, env, caller| {
                vfs.write(env, caller, file, Place::Position, &1_u64.to_le_bytes())
                    .map_err(|_| Errno::EAGAIN)
            });
            let _ = self.vfs.take_wakes();
        }

        fn read(&mut self, file: FileId) {
            with(&mut self.vfs, &mut self.world, |vfs, env, caller| {
                vfs.read(env, caller, file, Place::Position, &mut [0; 8], Patience::Left)
                    .map_err(|_| Errno::EAGAIN)
            });
            let _ = self.vfs.take_wakes();
        }

        /// Data and events of what is told now.
        fn told(&mut self, most: usize) -> Vec<(u64, u32)> {
            let told = self.vfs.to_tell(self.set, most, SignalSet::EMPTY).unwrap();
            self.vfs.tell(self.set, &told).unwrap();
            told.iter().map(|(_, _, told)| (told.data, told.events)).collect()
        }
    }

    fn with<R>(
        vfs: &mut Vfs,
        world: &mut World,
        f: impl FnOnce(&mut Vfs, &mut World, &Caller<'_>) -> Result<R, Errno>,
    ) -> R {
        let view = world.view.take().unwrap();
        let result = f(vfs, world, &crate::root::kernel_caller(&view));
        world.view = Some(view);
        result.unwrap()
    }

    #[test]
    fn a_level_is_told_while_it_holds() {
        let mut f = Fixture::new();
        let file = f.counter();
        f.add(5, file, e::EPOLLIN).unwrap();
        assert_eq!(f.told(8), []);
        f.write(file);
        assert_eq!(f.told(8), [(5, e::EPOLLIN)]);
        assert_eq!(f.told(8), [(5, e::EPOLLIN)]);
        f.read(file);
        assert_eq!(f.told(8), []);
    }

    #[test]
    fn an_edge_is_told_once() {
        let mut f = Fixture::new();
        let file = f.counter();
        f.write(file);
        f.add(5, file, e::EPOLLIN | e::EPOLLET).unwrap();
        assert_eq!(f.told(8), [(5, e::EPOLLIN)]);
        assert_eq!(f.told(8), []);
        f.write(file);
        assert_eq!(f.told(8), [(5, e::EPOLLIN)]);
        assert_eq!(f.told(8), []);
    }

    #[test]
    fn one_shot_is_told_until_it_is_asked_for_again() {
        let mut f = Fixture::new();
        let file = f.counter();
        f.write(file);
        f.add(5, file, e::EPOLLIN | e::EPOLLONESHOT).unwrap();
        assert_eq!(f.told(8).len(), 1);
        assert_eq!(f.told(8), []);
        let again = Interest { events: e::EPOLLIN, data: 9 };
        f.vfs.change_interest(f.set, (5, file), Change::Modify(again)).unwrap();
        assert_eq!(f.told(8), [(9, e::EPOLLIN)]);
    }

    #[test]
    fn everyone_gets_a_turn() {
        let mut f = Fixture::new();
        for fd in 0..3 {
            let file = f.counter();
            f.write(file);
            f.add(fd, file, e::EPOLLIN).unwrap();
        }
        let told: Vec<u64> = (0..4).map(|_| f.told(1)[0].0).collect();
        assert_eq!(told, [0, 1, 2, 0]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut f = Fixture::new();
        let file = f.counter();
        assert_eq!(f.add(5, f.set, e::EPOLLIN), Err(Errno::EINVAL));
        f.add(5, file, e::EPOLLIN).unwrap();
        assert_eq!(f.add(5, file, e::EPOLLIN), Err(Errno::EEXIST));
        f.add(6, file, e::EPOLLIN).unwrap();
        let unknown = f.vfs.change_interest(f.set, (7, file), Change::Delete);
        assert_eq!(unknown, Err(Errno::ENOENT));
        assert_eq!(f.vfs.to_tell(file, 1, SignalSet::EMPTY), Err(Errno::EINVAL));
        // A set in a set, and no loop.
        let outer = f.set;
        f.set = with(&mut f.vfs, &mut f.world, |vfs, env, c| vfs.make_interest_set(env, c));
        assert_eq!(f.add(8, outer, e::EPOLLEXCLUSIVE), Err(Errno::EINVAL));
        f.add(8, outer, e::EPOLLIN).unwrap();
        let inner = core::mem::replace(&mut f.set, outer);
        assert_eq!(f.add(9, inner, e::EPOLLIN), Err(Errno::ELOOP));
        f.write(file);
        f.set = inner;
        assert_eq!(f.told(8), [(8, e::EPOLLIN)]);
    }

    #[test]
    fn a_closed_file_is_forgotten() {
        let mut f = Fixture::new();
        let file = f.counter();
        f.write(file);
        f.add(5, file, e::EPOLLIN).unwrap();
        f.vfs.release(&mut f.world, file);
        assert_eq!(f.told(8), []);
    }

    #[test]
    fn who_waits_for_a_set_is_woken() {
        let mut f = Fixture::new();
        let file = f.counter();
        f.add(5, file, e::EPOLLIN).unwrap();
        let key = f.vfs.interest_key(f.set).unwrap();
        assert!(f.vfs.take_wakes().contains(&key));
        with(&mut f.vfs, &mut f.world, |vfs, env, caller| {
            vfs.write(env, caller, file, Place::Position, &1_u64.to_le_bytes())
                .map_err(|_| Errno::EAGAIN)
        });
        assert!(f.vfs.take_wakes().contains(&key));
    }
}
