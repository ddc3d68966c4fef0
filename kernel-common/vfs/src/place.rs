//! Where things are: paths of what is open, and processes' directories.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use maize_abi::Errno;

use crate::Vfs;
use crate::caller::{At, Caller, Surroundings, View};
use crate::file::Handle;
use crate::id::FileId;
use crate::inode::{Kind, Want};
use crate::node::Node;
use crate::path::{Follow, Walk};
use crate::proc;
use crate::root::{kernel_caller, kernel_view};

/// What follows the path of something that has no name any more.
const DELETED: &[u8] = b" (deleted)";

impl Vfs {
    /// Where the first process stands: at the root.
    pub fn initial_view(&mut self, umask: u32) -> View {
        self.hold_node(self.root);
        self.hold_node(self.root);
        View { cwd: self.root, root: self.root, umask }
    }

    /// The same place for another process (`fork`).
    #[must_use]
    pub fn share_view(&mut self, view: &View) -> View {
        self.hold_node(view.cwd);
        self.hold_node(view.root);
        View { ..*view }
    }

    /// A process leaves its place.
    pub fn release_view(&mut self, env: &mut dyn Surroundings, view: &View) {
        self.release_node(env, view.cwd);
        self.release_node(env, view.root);
    }

    fn hold_node(&mut self, node: Node) {
        if let Node::Inode(id) = node {
            self.tree.hold(id);
        }
    }

    fn release_node(&mut self, env: &mut dyn Surroundings, node: Node) {
        if let Node::Inode(id) = node {
            self.tree.release(env.store(), id);
        }
    }

    /// Makes the directory of an absolute path the working directory of a view, with the kernel's
    /// own rights.
    ///
    /// # Errors
    /// As `chdir`.
    pub fn enter(
        &mut self,
        env: &mut dyn Surroundings,
        view: &mut View,
        path: &[u8],
    ) -> Result<(), Errno> {
        let kernel = kernel_view(self.root);
        let node = self.find_directory(env, &kernel_caller(&kernel), At::Cwd, path)?;
        self.set_directory(env, view, node);
        Ok(())
    }

    /// `chdir`: the directory that `path` leads to, counted as used: put it into the process's
    /// view with [`Self::set_directory`].
    ///
    /// # Errors
    /// As `chdir`.
    pub fn find_directory(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        at: At,
        path: &[u8],
    ) -> Result<Node, Errno> {
        let node = Walk::new(self, env.proc(), caller).existing(at, path, Follow::Yes)?;
        self.check_directory(env, caller, node)
    }

    /// `fchdir`: as [`Self::find_directory`], for an open directory.
    ///
    /// # Errors
    /// As `fchdir`.
    pub fn open_directory(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        file: FileId,
    ) -> Result<Node, Errno> {
        let node = self.file(file)?.node;
        self.check_directory(env, caller, node)
    }

    fn check_directory(
        &self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        node: Node,
    ) -> Result<Node, Errno> {
        if !self.is_dir(node) {
            return Err(Errno::ENOTDIR);
        }
        self.permits(node, env.proc(), caller, Want::SEARCH)?;
        Ok(node)
    }

    /// Makes `node` the working directory of a view.
    pub fn set_directory(&mut self, env: &mut dyn Surroundings, view: &mut View, node: Node) {
        self.hold_node(node);
        let old = core::mem::replace(&mut view.cwd, node);
        self.release_node(env, old);
    }

    /// Makes `node` the root directory of a view (`chroot`).
    pub fn set_root(&mut self, env: &mut dyn Surroundings, view: &mut View, node: Node) {
        self.hold_node(node);
        let old = core::mem::replace(&mut view.root, node);
        self.release_node(env, old);
    }

    /// `getcwd`, without the zero byte.
    ///
    /// # Errors
    /// `ENOENT` if the directory was removed.
    pub fn working_directory(&self, caller: &Caller<'_>) -> Result<Vec<u8>, Errno> {
        let mut path = self.directory_path(caller.view.cwd, caller.view.root);
        if path.ends_with(DELETED) && self.is_removed(caller.view.cwd) {
            return Err(Errno::ENOENT);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Ok(path)
    }

    fn is_removed(&self, node: Node) -> bool {
        match node {
            Node::Inode(id) => self.tree.get(id).map_or(true, |inode| inode.nlink == 0),
            Node::Proc(_) => false,
        }
    }

    /// The path of a directory below `root`; empty for the root itself.
    fn directory_path(&self, dir: Node, root: Node) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut at = dir;
        while at != root {
            let mounted = self.mounts.iter().find(|mount| mount.root == Some(at));
            match (mounted.map(|mount| mount.covered), at) {
                (Some(Some(covered)), _) => at = Node::Inode(covered),
                (Some(None), _) => break,
                (None, Node::Proc(node)) => {
                    let counter = |_| String::new();
                    let mut path = b"/proc".to_vec();
                    path.extend_from_slice(proc::path(node, &counter).as_bytes());
                    parts.push(path);
                    break;
                }
                (None, Node::Inode(id)) => {
                    let directory = self.tree.get(id).and_then(|inode| inode.directory());
                    let Ok(directory) = directory else { break };
                    if directory.parent == id {
                        break;
                    }
                    let mut part = b"/".to_vec();
                    part.extend_from_slice(&directory.name);
                    parts.push(part);
                    at = Node::Inode(directory.parent);
                }
            }
        }
        let mut path: Vec<u8> = parts.into_iter().rev().flatten().collect();
        if self.is_removed(dir) {
            path.extend_from_slice(DELETED);
        }
        path
    }

    pub(crate) fn path_of_node(&self, node: Node) -> Vec<u8> {
        let mut path = self.directory_path(node, self.root);
        if path.is_empty() {
            path.push(b'/');
        }
        path
    }

    /// The path of an open file, as `/proc/PID/fd` shows it.
    #[must_use]
    pub fn path_of(&self, id: FileId) -> Vec<u8> {
        let Ok(file) = self.file(id) else { return b"(closed)".to_vec() };
        let inode = match file.node {
            Node::Proc(_) => return self.path_of_node(file.node),
            Node::Inode(_) if self.is_dir(file.node) => return self.path_of_node(file.node),
            Node::Inode(inode) => inode,
        };
        if let Some((dir, name)) = &file.place {
            let mut path = self.directory_path(Node::Inode(*dir), self.root);
            path.push(b'/');
            path.extend_from_slice(name);
            let there = self.tree.get(*dir).and_then(|inode| inode.directory());
            if there.ok().and_then(|directory| directory.get(name)) != Some(inode) {
                path.extend_from_slice(DELETED);
            }
            return path;
        }
        let number = inode.number().to_string();
        let kind = self.tree.get(inode).map(|inode| &inode.kind);
        match (&file.handle, kind) {
            (Handle::Counter(_), _) if self.timer_of(id).is_ok() => {
                b"anon_inode:[timerfd]".to_vec()
            }
            (Handle::Counter(_), _) => b"anon_inode:[eventfd]".to_vec(),
            (Handle::Interests(_), _) => b"anon_inode:[eventpoll]".to_vec(),
            (Handle::Signals(_), _) => b"anon_inode:[signalfd]".to_vec(),
            (Handle::Process(..), _) => b"anon_inode:[pidfd]".to_vec(),
            (Handle::Socket(_), _) => [b"socket:[", number.as_bytes(), b"]"].concat(),
            (_, Ok(Kind::Fifo(_) | Kind::Stream(_))) => {
                [b"pipe:[", number.as_bytes(), b"]"].concat()
            }
            (_, Ok(Kind::Regular(_))) => [b"/#", number.as_bytes(), DELETED].concat(),
            _ => b"anon_inode:[maize]".to_vec(),
        }
    }
}
