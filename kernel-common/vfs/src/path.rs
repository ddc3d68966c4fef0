//! From a path to a node.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::{MAX_SYMLINKS, NAME_MAX, PATH_MAX};

use crate::Vfs;
use crate::caller::{At, Caller};
use crate::id::FileId;
use crate::inode::{Kind, Want};
use crate::node::Node;
use crate::proc::{self, ProcSource};

/// Whether a symbolic link at a path's end is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The path leads to the link's target.
    Yes,
    /// The path leads to the link itself.
    No,
}

/// Where a symbolic link leads.
pub(crate) enum Link {
    /// To this path.
    Text(Vec<u8>),
    /// Straight to a node (`/proc/PID/cwd`).
    Node(Node),
    /// Straight to what is open (`/proc/PID/fd/N`).
    File(FileId),
}

/// The last component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// The path is `/`, or a link led straight somewhere.
    Root,
    Dot,
    DotDot,
    Name(Vec<u8>),
}

/// A path resolved but for its last component.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    pub(crate) dir: Node,
    pub(crate) last: Last,
    /// Whether slashes follow the last component.
    pub(crate) slash: bool,
}

/// What a whole path leads to.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Where the last component was looked up, after links were followed.
    pub(crate) parent: Parent,
    /// What is there, if anything is.
    pub(crate) node: Option<Node>,
    /// The open file that a link led straight to.
    pub(crate) file: Option<FileId>,
}

/// Resolves paths for one caller.
pub(crate) struct Walk<'a> {
    pub(crate) vfs: &'a Vfs,
    pub(crate) proc: &'a dyn ProcSource,
    pub(crate) caller: &'a Caller<'a>,
    links: u32,
}

impl<'a> Walk<'a> {
    pub(crate) const fn new(
        vfs: &'a Vfs,
        proc: &'a dyn ProcSource,
        caller: &'a Caller<'a>,
    ) -> Walk<'a> {
        Walk { vfs, proc, caller, links: 0 }
    }

    /// The directory in which the last component of `path` is, or would be.
    pub(crate) fn parent(&mut self, at: At, path: &[u8]) -> Result<Parent, Errno> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let start = match at {
            _ if path.starts_with(b"/") => self.caller.view.root,
            At::Cwd => self.caller.view.cwd,
            At::File(file) => {
                let node = self.vfs.file(file)?.node;
                if !self.vfs.is_dir(node) {
                    return Err(Errno::ENOTDIR);
                }
                node
            }
        };
        self.walk(start, path.to_vec())
    }

    /// What `path` leads to.
    pub(crate) fn resolve(&mut self, at: At, path: &[u8], follow: Follow) -> Result<Found, Errno> {
        let parent = self.parent(at, path)?;
        self.finish(parent, follow)
    }

    /// As [`Self::resolve`], when something must be there.
    pub(crate) fn existing(&mut self, at: At, path: &[u8], follow: Follow) -> Result<Node, Errno> {
        self.resolve(at, path, follow)?.node.ok_or(Errno::ENOENT)
    }

    /// Resolves all components but the last.
    fn walk(&mut self, mut dir: Node, mut path: Vec<u8>) -> Result<Parent, Errno> {
        let mut at = 0;
        let mut last = Last::Root;
        loop {
            let start = path[at..].iter().position(|c| *c != b'/').map(|n| at + n);
            let Some(start) = start else {
                let slash = at < path.len() && last != Last::Root;
                return Ok(Parent { dir, last, slash });
            };
            // Another component follows: the last one must be a directory, or lead to one.
            match self.step(dir, &last)? {
                Step::Node(node) => dir = node,
                Step::Text(target) => {
                    if target.starts_with(b"/") {
                        dir = self.caller.view.root;
                    }
                    let mut spliced = target;
                    spliced.push(b'/');
                    spliced.extend_from_slice(&path[start..]);
                    path = spliced;
                    at = 0;
                    last = Last::Root;
                    continue;
                }
            }
            let len = path[start..].iter().position(|c| *c == b'/').unwrap_or(path.len() - start);
            let name = &path[start..start + len];
            last = match name {
                b"." => Last::Dot,
                b".." => Last::DotDot,
                _ => Last::Name(name.to_vec()),
            };
            at = start + len;
        }
    }

    /// Goes from `dir` through a component that is not the path's last.
    fn step(&mut self, dir: Node, component: &Last) -> Result<Step, Errno> {
        if *component == Last::Root {
            return self.directory(dir);
        }
        let node = self.look_up(dir, component)?.ok_or(Errno::ENOENT)?;
        match self.link(node)? {
            None => self.directory(node),
            Some(link) => {
                self.count_link()?;
                match link {
                    Link::Text(target) => Ok(Step::Text(target)),
                    Link::Node(node) => self.directory(node),
                    Link::File(file) => self.directory(self.vfs.file(file)?.node),
                }
            }
        }
    }

    fn directory(&self, node: Node) -> Result<Step, Errno> {
        if self.vfs.is_dir(node) { Ok(Step::Node(node)) } else { Err(Errno::ENOTDIR) }
    }

    /// Looks up the last component, following links as asked.
    pub(crate) fn finish(&mut self, mut parent: Parent, follow: Follow) -> Result<Found, Errno> {
        loop {
            let node = self.look_up(parent.dir, &parent.last)?;
            let Some(node) = node else { return Ok(Found { parent, node: None, file: None }) };
            if follow == Follow::Yes || parent.slash {
                match self.link(node)? {
                    None => {}
                    Some(link) => {
                        self.count_link()?;
                        let (node, file) = match link {
                            Link::Text(target) => {
                                let start = match target.first() {
                                    Some(b'/') => self.caller.view.root,
                                    _ => parent.dir,
                                };
                                let slash = parent.slash;
                                parent = self.walk(start, target)?;
                                parent.slash |= slash;
                                continue;
                            }
                            Link::Node(node) => (node, None),
                            Link::File(file) => (self.vfs.file(file)?.node, Some(file)),
                        };
                        return self.arrive(parent, node, file);
                    }
                }
            }
            return self.arrive(parent, node, None);
        }
    }

    fn arrive(&self, parent: Parent, node: Node, file: Option<FileId>) -> Result<Found, Errno> {
        if parent.slash && !self.vfs.is_dir(node) {
            return Err(Errno::ENOTDIR);
        }
        Ok(Found { parent, node: Some(node), file })
    }

    fn count_link(&mut self) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MAX_SYMLINKS { Err(Errno::ELOOP) } else { Ok(()) }
    }

    fn link(&self, node: Node) -> Result<Option<Link>, Errno> {
        match node {
            Node::Inode(id) => Ok(match &self.vfs.tree.get(id)?.kind {
                Kind::Symlink(target) => Some(Link::Text(target.to_vec())),
                _ => None,
            }),
            Node::Proc(node) => proc::link(node, self.proc, self.caller),
        }
    }

    /// What a component names in `dir`.
    pub(crate) fn look_up(&self, dir: Node, component: &Last) -> Result<Option<Node>, Errno> {
        match component {
            Last::Root => return Ok(Some(dir)),
            Last::Dot | Last::DotDot | Last::Name(_) => {
                self.vfs.permits(dir, self.proc, self.caller, Want::SEARCH)?;
            }
        }
        if let Last::Name(name) = component
            && name.len() > NAME_MAX
        {
            return Err(Errno::ENAMETOOLONG);
        }
        match (component, dir) {
            (Last::Root | Last::Dot, _) => Ok(Some(dir)),
            (Last::DotDot, _) => Ok(Some(self.vfs.parent_of(dir, self.caller.view.root))),
            (Last::Name(name), Node::Inode(id)) => {
                Ok(self.vfs.tree.get(id)?.directory()?.get(name).map(|id| self.vfs.uncover(id)))
            }
            (Last::Name(name), Node::Proc(node)) => {
                Ok(proc::look_up(node, name, self.proc).map(Node::Proc))
            }
        }
    }
}

enum Step {
    Node(Node),
    Text(Vec<u8>),
}

impl Vfs {
    pub(crate) fn is_dir(&self, node: Node) -> bool {
        match node {
            Node::Inode(id) => self.tree.get(id).is_ok_and(crate::inode::Inode::is_dir),
            Node::Proc(node) => proc::is_dir(node),
        }
    }

    /// What is seen where this inode is named: the root of what is mounted on it.
    fn uncover(&self, mut id: crate::InodeId) -> Node {
        while let Ok(directory) = self.tree.get(id).and_then(|inode| inode.directory()) {
            match directory.covered_by {
                Some(Node::Inode(root)) => id = root,
                Some(node) => return node,
                None => break,
            }
        }
        Node::Inode(id)
    }

    /// The directory above `dir`, which is itself above the root.
    pub(crate) fn parent_of(&self, mut dir: Node, root: Node) -> Node {
        while dir != root {
            match self.mounts.iter().find(|mount| mount.root == Some(dir)) {
                // A mounted root: what is above it is above the directory it covers.
                Some(mount) => match mount.covered {
                    Some(covered) => dir = Node::Inode(covered),
                    None => break,
                },
                None => {
                    return match dir {
                        Node::Inode(id) => {
                            match self.tree.get(id).and_then(|inode| inode.directory()) {
                                Ok(directory) => self.uncover(directory.parent),
                                Err(_) => dir,
                            }
                        }
                        Node::Proc(node) => Node::Proc(proc::parent(node)),
                    };
                }
            }
        }
        dir
    }
}
