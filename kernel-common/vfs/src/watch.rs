//! Files of what happens to others (`inotify`).
//!
//! A watch is on an inode, and goes with it. What happens to names is told where names are made and
//! removed, in the tree; what happens to bytes where they are read and written, to the inode and to
//! the directory that the file was opened in. Nothing is told of `/proc`, whose places are made up.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use maize_abi::Errno;
use maize_abi::file::{access, inotify, poll};

use crate::Vfs;
use crate::attributes::Target;
use crate::caller::{At, Caller, Surroundings};
use crate::file::{Handle, NamedPlace};
use crate::id::{FileId, InodeId, WatchSetId};
use crate::inode::Want;
use crate::node::Node;
use crate::outcome::{Io, Stop, WaitKey};
use crate::path::{Follow, Found, Last, Walk};

/// Events that wait in all files at most, beside one of each file that says so
/// (`fs.inotify.max_queued_events`, which is of one file).
const QUEUED: usize = 16_384;

/// Files of watches at most (`fs.inotify.max_user_instances`).
const SETS: usize = 128;

/// Watches of all files at most (`fs.inotify.max_user_watches`).
pub(crate) const MOST: usize = 1 << 16;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    watch: i32,
    what: u32,
    /// The same for the two events of a move.
    cookie: u32,
    name: Box<[u8]>,
}

impl Event {
    /// Bytes of `struct inotify_event` before the name.
    const HEAD: usize = 16;

    /// Bytes of the name with the zeros behind it.
    const fn name_room(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(Self::HEAD) }
    }

    const fn len(&self) -> usize {
        Self::HEAD + self.name_room()
    }

    fn put(&self, out: &mut [u8]) {
        let head = [self.watch as u32, self.what, self.cookie, self.name_room() as u32];
        out[..Self::HEAD].copy_from_slice(head.map(u32::to_le_bytes).as_flattened());
        let name = &mut out[Self::HEAD..self.len()];
        name.fill(0);
        name[..self.name.len()].copy_from_slice(&self.name);
    }
}

#[derive(Debug, Default)]
struct WatchSet {
    /// The number of the last watch.
    last: i32,
    watches: BTreeMap<i32, (InodeId, u32)>,
    events: VecDeque<Event>,
}

impl WatchSet {
    /// Adds an event, if there is room, or that there is none. Returns whether it did.
    fn push(&mut self, event: Event, has_room: bool) -> bool {
        let event = if has_room {
            event
        } else {
            Event { watch: -1, what: inotify::IN_Q_OVERFLOW, cookie: 0, name: Box::default() }
        };
        // As on Linux, the same once more is not told again.
        let new = self.events.back() != Some(&event);
        if new {
            self.events.push_back(event);
        }
        new
    }
}

/// All watches.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    sets: BTreeMap<WatchSetId, WatchSet>,
    /// The watches on each inode.
    on: BTreeMap<InodeId, BTreeSet<(WatchSetId, i32)>>,
    count: usize,
    /// Events that wait.
    queued: usize,
    next: u64,
    cookie: u32,
    /// Those that have something to read since they were last asked for.
    woken: BTreeSet<WatchSetId>,
}

impl Watches {
    /// Whether nobody watches anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.on.is_empty()
    }

    /// The number of a move.
    pub(crate) const fn next_move(&mut self) -> u32 {
        self.cookie = self.cookie.wrapping_add(1);
        self.cookie
    }

    pub(crate) fn take_woken(&mut self) -> BTreeSet<WatchSetId> {
        core::mem::take(&mut self.woken)
    }

    fn push(&mut self, (set, watch): (WatchSetId, i32), what: u32, cookie: u32, name: &[u8]) {
        if let Some(found) = self.sets.get_mut(&set) {
            let event = Event { watch, what, cookie, name: name.into() };
            self.queued += usize::from(found.push(event, self.queued < QUEUED));
            self.woken.insert(set);
        }
    }

    /// Tells who watches an inode; `flags` are `IN_ISDIR` or nothing.
    pub(crate) fn tell(
        &mut self,
        inode: InodeId,
        (what, flags): (u32, u32),
        cookie: u32,
        name: &[u8],
    ) {
        let Some(watches) = self.on.get(&inode) else { return };
        for (set, watch) in watches.clone() {
            let wants = self.sets.get(&set).and_then(|it| it.watches.get(&watch)).map(|it| it.1);
            let Some(wants) = wants.filter(|wants| wants & what != 0) else { continue };
            self.push((set, watch), what | flags, cookie, name);
            if wants & inotify::IN_ONESHOT != 0 {
                self.end((set, watch));
            }
        }
    }

    /// Ends a watch, and says so.
    fn end(&mut self, (set, watch): (WatchSetId, i32)) -> bool {
        let found = self.sets.get_mut(&set).and_then(|it| it.watches.remove(&watch));
        let Some((inode, _)) = found else { return false };
        self.forget(inode, (set, watch));
        self.count -= 1;
        self.push((set, watch), inotify::IN_IGNORED, 0, b"");
        true
    }

    /// A watch is on an inode no more.
    fn forget(&mut self, inode: InodeId, watch: (WatchSetId, i32)) {
        if let Some(watches) = self.on.get_mut(&inode) {
            watches.remove(&watch);
            if watches.is_empty() {
                self.on.remove(&inode);
            }
        }
    }

    /// An inode is gone.
    pub(crate) fn gone(&mut self, inode: InodeId) {
        self.tell(inode, (inotify::IN_DELETE_SELF, 0), 0, b"");
        for watch in self.on.get(&inode).cloned().unwrap_or_default() {
            self.end(watch);
        }
    }

    fn add(&mut self, set: WatchSetId, inode: InodeId, mask: u32) -> Result<i32, Errno> {
        let kept = mask & (inotify::IN_ALL_EVENTS | inotify::IN_ONESHOT);
        let there = self.on.get(&inode).and_then(|all| all.iter().find(|(of, _)| *of == set));
        let there = there.map(|(_, watch)| *watch);
        let found = self.sets.get_mut(&set).ok_or(Errno::EBADF)?;
        if let Some(watch) = there {
            if mask & inotify::IN_MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            if let Some((_, wants)) = found.watches.get_mut(&watch) {
                *wants = if mask & inotify::IN_MASK_ADD != 0 { *wants | kept } else { kept };
            }
            return Ok(watch);
        }
        if self.count >= MOST {
            return Err(Errno::ENOSPC);
        }
        found.last = found.last.checked_add(1).ok_or(Errno::ENOSPC)?;
        let watch = found.last;
        found.watches.insert(watch, (inode, kept));
        self.on.entry(inode).or_default().insert((set, watch));
        self.count += 1;
        Ok(watch)
    }

    /// A file of watches is closed.
    pub(crate) fn remove(&mut self, set: WatchSetId) {
        let Some(found) = self.sets.remove(&set) else { return };
        self.count -= found.watches.len();
        self.queued -= found.events.len();
        for (watch, (inode, _)) in found.watches {
            self.forget(inode, (set, watch));
        }
    }

    /// Takes as many events as fit.
    ///
    /// # Errors
    /// `EINVAL` if the first does not; [`Stop::Wait`] if there is none.
    pub(crate) fn read(&mut self, set: WatchSetId, out: &mut [u8]) -> Io<usize> {
        let events = &mut self.sets.get_mut(&set).ok_or(Errno::EBADF)?.events;
        if events.is_empty() {
            return Err(Stop::wait(WaitKey::WatchReadable(set)));
        }
        let mut count = 0;
        while let Some(event) = events.front().filter(|event| event.len() <= out.len() - count) {
            event.put(&mut out[count..]);
            count += event.len();
            events.pop_front();
            self.queued -= 1;
        }
        if count == 0 { Err(Errno::EINVAL.into()) } else { Ok(count) }
    }

    /// Bytes of all events of a file.
    pub(crate) fn pending(&self, set: WatchSetId) -> usize {
        self.sets.get(&set).map_or(0, |set| set.events.iter().map(Event::len).sum())
    }

    pub(crate) fn poll(&self, set: WatchSetId) -> u16 {
        let ready = self.sets.get(&set).is_some_and(|set| !set.events.is_empty());
        if ready { poll::POLLIN | poll::POLLRDNORM } else { 0 }
    }
}

impl Vfs {
    /// `inotify_init1`. `status` is `O_NONBLOCK` or nothing.
    ///
    /// # Errors
    /// `ENFILE`; `EMFILE` if there are too many such files.
    pub fn make_watches(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        status: u32,
    ) -> Result<FileId, Errno> {
        if self.tree.watches.sets.len() >= SETS {
            return Err(Errno::EMFILE);
        }
        let set = WatchSetId(self.tree.watches.next);
        let file = self.add_nameless(env, caller, Handle::Watches(set), status)?;
        self.file_mut(file)?.writable = false;
        self.tree.watches.next += 1;
        self.tree.watches.sets.insert(set, WatchSet::default());
        Ok(file)
    }

    fn watches_of(&self, file: FileId) -> Result<WatchSetId, Errno> {
        match self.file(file)?.handle {
            Handle::Watches(set) => Ok(set),
            Handle::Place => Err(Errno::EBADF),
            _ => Err(Errno::EINVAL),
        }
    }

    /// `inotify_add_watch`: the number of the watch.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`, `ENOTDIR`, `EEXIST`, `ENOSPC`; `EACCES` for what may not be read; those of a
    /// path; `EOPNOTSUPP` for `/proc`.
    pub fn add_watch(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        file: FileId,
        path: &[u8],
        mask: u32,
    ) -> Result<u64, Errno> {
        let both = inotify::IN_MASK_ADD | inotify::IN_MASK_CREATE;
        if mask & inotify::IN_ALL_EVENTS == 0 || mask & both == both {
            return Err(Errno::EINVAL);
        }
        let set = self.watches_of(file)?;
        let follow = if mask & inotify::IN_DONT_FOLLOW != 0 { Follow::No } else { Follow::Yes };
        let node = Walk::new(self, env.proc(), caller).existing(At::Cwd, path, follow)?;
        if mask & inotify::IN_ONLYDIR != 0 && !self.is_dir(node) {
            return Err(Errno::ENOTDIR);
        }
        self.permits(node, env.proc(), caller, Want(access::R_OK))?;
        let Node::Inode(inode) = node else { return Err(Errno::EOPNOTSUPP) };
        Ok(self.tree.watches.add(set, inode, mask)? as u64)
    }

    /// `inotify_rm_watch`.
    ///
    /// # Errors
    /// `EBADF`; `EINVAL` if there is no such watch.
    pub fn remove_watch(&mut self, file: FileId, watch: i32) -> Result<(), Errno> {
        let set = self.watches_of(file)?;
        if self.tree.watches.end((set, watch)) { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Something has happened to what a file is open on: who watches it or its directory is told.
    pub(crate) fn file_event(&mut self, file: FileId, what: u32) {
        if !self.tree.watches.is_idle()
            && let Some(file) = self.files.get(&file)
        {
            let (node, place) = (file.node, file.place.clone());
            self.tell_of(node, place.as_ref(), what);
        }
    }

    /// As [`Self::file_event`], for a node and the name that it was found by.
    pub(crate) fn tell_of(&mut self, node: Node, place: Option<&NamedPlace>, what: u32) {
        let Node::Inode(inode) = node else { return };
        if self.tree.watches.is_idle() {
            return;
        }
        let flags = if self.is_dir(node) { inotify::IN_ISDIR } else { 0 };
        let watches = &mut self.tree.watches;
        if let Some((dir, name)) = place {
            watches.tell(*dir, (what, flags), 0, name);
        }
        watches.tell(inode, (what, flags), 0, b"");
    }

    /// As [`Self::file_event`], for what a call on attributes is about.
    pub(crate) fn target_event(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        target: Target<'_>,
        what: u32,
    ) {
        if self.tree.watches.is_idle() {
            return;
        }
        match target {
            Target::File(file) => self.file_event(file, what),
            Target::Cwd => self.tell_of(caller.view.cwd, None, what),
            Target::Path(at, path, follow) => {
                let found = Walk::new(self, env.proc(), caller).resolve(at, path, follow);
                let Ok(Found { node: Some(node), parent, .. }) = found else { return };
                let place = match (parent.dir, parent.last) {
                    (Node::Inode(dir), Last::Name(name)) => Some((dir, name.into())),
                    _ => None,
                };
                self.tell_of(node, place.as_ref(), what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use maize_abi::file::o;

    use super::*;
    use crate::testing::Fixture;
    use crate::{OpenHow, Patience, Place};

    impl Fixture {
        fn watches(&mut self) -> Result<FileId, Errno> {
            self.with(|vfs, env, caller| vfs.make_watches(env, caller, 0))
        }

        fn watch(&mut self, file: FileId, path: &[u8]) -> Result<u64, Errno> {
            let all = inotify::IN_ALL_EVENTS;
            self.with(|vfs, env, caller| vfs.add_watch(env, caller, file, path, all))
        }

        fn make(&mut self, path: &str) {
            let how = OpenHow { flags: o::O_RDWR | o::O_CREAT, mode: 0o644, ..OpenHow::READ };
            let file = self
                .with(|vfs, env, caller| vfs.open(env, caller, At::Cwd, path.as_bytes(), how))
                .unwrap();
            self.close(file);
        }

        fn unlink(&mut self, path: &[u8]) {
            self.with(|vfs, env, caller| vfs.unlink(env, caller, At::Cwd, path)).unwrap();
        }

        /// Watch and event of each that is there.
        fn events(&mut self, file: FileId) -> Io<Vec<(i32, u32)>> {
            let mut all = Vec::new();
            loop {
                let mut out = vec![0; 4096];
                let read = self.with(|vfs, env, caller| {
                    vfs.read(env, caller, file, Place::Position, &mut out, Patience::Left)
                });
                let mut rest = match read {
                    Ok(count) => &out[..count],
                    Err(stop) if all.is_empty() => return Err(stop),
                    Err(_) => return Ok(all),
                };
                while !rest.is_empty() {
                    let (words, _) = rest.as_chunks::<4>();
                    let [watch, what, _, len] = [0, 1, 2, 3].map(|n| u32::from_le_bytes(words[n]));
                    all.push((watch as i32, what));
                    rest = &rest[Event::HEAD + len as usize..];
                }
            }
        }
    }

    #[test]
    fn a_watch_goes_with_its_inode_and_with_its_file() {
        let mut f = Fixture::new();
        let file = f.watches().unwrap();
        f.make("/tmp/a");
        assert_eq!((f.watch(file, b"/tmp/a"), f.watch(file, b"/tmp")), (Ok(1), Ok(2)));
        let wait = WaitKey::WatchReadable(WatchSetId(0));
        assert_eq!(f.events(file), Err(Stop::wait(wait)));
        let _ = f.vfs.take_wakes();
        f.unlink(b"/tmp/a");
        assert_eq!(f.vfs.take_wakes(), [wait]);
        assert_eq!(f.poll(file), poll::POLLIN | poll::POLLRDNORM);
        let own = [inotify::IN_ATTRIB, inotify::IN_DELETE_SELF, inotify::IN_IGNORED];
        let told = own.map(|what| (1, what)).into_iter().chain([(2, inotify::IN_DELETE)]);
        assert_eq!(f.events(file), Ok(told.collect()));
        assert_eq!(f.vfs.remove_watch(file, 1), Err(Errno::EINVAL));
        assert_eq!(f.vfs.tree.watches.count, 1);
        f.make("/tmp/b");
        f.close(file);
        let watches = &f.vfs.tree.watches;
        assert!(watches.is_idle() && watches.sets.is_empty());
        assert_eq!((watches.count, watches.queued), (0, 0));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut f = Fixture::new();
        let mut files: Vec<FileId> = (0..SETS).map(|_| f.watches().unwrap()).collect();
        assert_eq!(f.watches(), Err(Errno::EMFILE));
        let (one, two) = (files[0], files[1]);
        f.watch(one, b"/tmp").unwrap();
        for _ in 0..QUEUED {
            f.make("/tmp/a");
            f.unlink(b"/tmp/a");
        }
        f.watch(two, b"/tmp").unwrap();
        f.make("/tmp/b");
        assert_eq!(f.vfs.tree.watches.queued, QUEUED + 2);
        let overflow = (-1, inotify::IN_Q_OVERFLOW);
        assert_eq!(f.events(two), Ok(vec![overflow]));
        let all = f.events(one).unwrap();
        assert_eq!((all.len(), all.last()), (QUEUED + 1, Some(&overflow)));
        f.unlink(b"/tmp/b");
        assert_eq!(f.events(one), Ok(vec![(1, inotify::IN_DELETE)]));
        for file in files.drain(..) {
            f.close(file);
        }
        assert_eq!(f.vfs.tree.watches.queued, 0);
    }
}
