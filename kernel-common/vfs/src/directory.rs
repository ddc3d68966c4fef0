//! Directories: names in an order that reading can resume in.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use crate::id::InodeId;
use crate::node::Node;

/// Where a name stands in its directory. Cookies only grow, so that a reader that goes on behind
/// the last cookie it saw meets every entry that stays exactly once, whatever else changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cookie(pub(crate) u64);

/// The first cookie of a name; `.` and `..` come before.
const FIRST: u64 = 2;

#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) parent: InodeId,
    /// Its name in the parent; of no meaning once it is removed.
    pub(crate) name: Box<[u8]>,
    /// What is mounted on it.
    pub(crate) covered_by: Option<Node>,
    names: BTreeMap<Box<[u8]>, (Cookie, InodeId)>,
    order: BTreeMap<Cookie, Box<[u8]>>,
    next: Cookie,
}

impl Directory {
    pub(crate) fn new(parent: InodeId, name: &[u8]) -> Directory {
        Directory {
            parent,
            name: name.into(),
            covered_by: None,
            names: BTreeMap::new(),
            order: BTreeMap::new(),
            next: Cookie(FIRST),
        }
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<InodeId> {
        self.names.get(name).map(|(_, inode)| *inode)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Adds a name that is not there.
    pub(crate) fn insert(&mut self, name: &[u8], inode: InodeId) {
        let cookie = self.next;
        self.next.0 += 1;
        self.names.insert(name.into(), (cookie, inode));
        self.order.insert(cookie, name.into());
    }

    /// Makes an existing name lead elsewhere, in its place.
    pub(crate) fn replace(&mut self, name: &[u8], inode: InodeId) {
        if let Some((_, old)) = self.names.get_mut(name) {
            *old = inode;
        }
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<InodeId> {
        let (cookie, inode) = self.names.remove(name)?;
        self.order.remove(&cookie);
        Some(inode)
    }

    /// Renames an entry in its place: a program that renames what it reads then ends.
    pub(crate) fn rename(&mut self, from: &[u8], to: &[u8]) {
        self.remove(to);
        if let Some((cookie, inode)) = self.names.remove(from) {
            self.names.insert(to.into(), (cookie, inode));
            self.order.insert(cookie, to.into());
        }
    }

    /// The entries from `from` on: the cookie after each, its name, its inode.
    pub(crate) fn entries_from(
        &self,
        from: Cookie,
    ) -> impl Iterator<Item = (Cookie, &[u8], InodeId)> {
        self.order.range(from..).filter_map(|(cookie, name)| {
            let inode = self.get(name)?;
            Some((Cookie(cookie.0 + 1), &**name, inode))
        })
    }

    /// The size that `stat` shows: as on Linux's tmpfs, 20 per name and 40 for the fixed two.
    pub(crate) fn listed_size(&self) -> u64 {
        40 + 20 * self.names.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn names(d: &Directory, from: u64) -> Vec<&[u8]> {
        d.entries_from(Cookie(from)).map(|(_, name, _)| name).collect()
    }

    #[test]
    fn reading_resumes_behind_a_removed_name() {
        let mut d = Directory::new(InodeId(1), b"");
        for (i, name) in [b"a", b"b", b"c"].into_iter().enumerate() {
            d.insert(name, InodeId(10 + i as u64));
        }
        let (after_a, ..) = d.entries_from(Cookie(0)).next().unwrap();
        d.remove(b"a");
        d.remove(b"b");
        d.insert(b"d", InodeId(20));
        assert_eq!(names(&d, after_a.0), [b"c", b"d"]);
    }

    #[test]
    fn renaming_keeps_the_place() {
        let mut d = Directory::new(InodeId(1), b"");
        for name in [b"a", b"b", b"c"] {
            d.insert(name, InodeId(name[0].into()));
        }
        d.rename(b"a", b"z");
        d.rename(b"b", b"c");
        assert_eq!(names(&d, 0), [b"z", b"c"]);
        assert_eq!(d.get(b"c"), Some(InodeId(b'b'.into())));
        assert_eq!(d.get(b"a"), None);
    }
}
