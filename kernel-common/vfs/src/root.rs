//! The file systems that are there from the start, and the root's content.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::capability::CapabilitySet;
use maize_abi::file::{PATH_MAX, s};
use maize_hal::Nanos;
use maize_mm::ImageSource;

use crate::Vfs;
use crate::caller::{At, Caller, Job, Surroundings, View};
use crate::console::Console;
use crate::cpio::{CpioError, CpioFault, FileIdentity, Member, Members};
use crate::device::DEVICES;
use crate::directory::Directory;
use crate::id::InodeId;
use crate::inode::{Content, Inode, Kind};
use crate::mount::{self, Mount};
use crate::node::Node;
use crate::outcome::Wakes;
use crate::path::{Follow, Walk};
use crate::proc::ProcNode;
use crate::pseudo::Terminals;
use crate::stream::{Input, Output};
use crate::tree::{Limits, Tree};

const SUPERUSER: (u32, u32) = (0, 0);

/// What an image held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Members of its archives, without trailers and hidden ones.
    pub members: usize,
    /// Bytes of all regular files.
    pub bytes: u64,
}

/// What is known of an image while it is read.
#[derive(Default)]
struct Loading {
    loaded: Loaded,
    /// Files with several names.
    links: BTreeMap<FileIdentity, InodeId>,
    /// The directory of the last member: the next is likely to be there too.
    parent: Option<(Vec<u8>, InodeId)>,
}

/// The kernel itself, which may do anything from the root.
pub(crate) const fn kernel_view(root: Node) -> View {
    View { cwd: root, root, umask: 0 }
}

pub(crate) fn kernel_caller(view: &View) -> Caller<'_> {
    Caller {
        pid: 0,
        tid: 0,
        uid: 0,
        gid: 0,
        groups: &[],
        capabilities: CapabilitySet::ALL,
        view,
        job: Job::default(),
    }
}

impl Vfs {
    /// A tree with an empty root; the console is three streams.
    #[must_use]
    pub fn new(limits: Limits) -> Vfs {
        let mut tree = Tree::new(limits);
        let root = tree.next_id();
        let kind = Kind::Directory(Directory::new(root, b""));
        let mut inode = Inode::new(kind, s::S_IFDIR | 0o755, SUPERUSER, Nanos(0));
        inode.nlink = 2;
        // A new table has room, unless it is to hold nothing at all.
        let root = tree.insert(inode).unwrap_or(root);
        let root_mount = Mount {
            kind: "tmpfs",
            magic: mount::TMPFS_MAGIC,
            path: "/",
            options: "rw,relatime",
            root: Some(Node::Inode(root)),
            covered: None,
        };
        let mounts = alloc::vec![
            root_mount,
            Mount::hidden("pipefs", mount::PIPEFS_MAGIC),
            Mount::hidden("anon_inodefs", mount::ANON_MAGIC),
            Mount::hidden("sockfs", mount::SOCKFS_MAGIC),
        ];
        Vfs {
            tree,
            mounts,
            root: Node::Inode(root),
            files: BTreeMap::new(),
            next_file: 1,
            pipes: BTreeMap::new(),
            next_pipe: 1,
            pipe_bytes: 0,
            counters: BTreeMap::new(),
            next_counter: 1,
            sockets: BTreeMap::new(),
            next_socket: 1,
            bound: BTreeMap::new(),
            ports: BTreeMap::new(),
            last_port: 0,
            next_name: 0,
            sockets_under_way: 0,
            signal_files: 0,
            process_files: 0,
            interests: BTreeMap::new(),
            next_interest: 1,
            locks: BTreeMap::new(),
            console: Console::Streams,
            terminals: Terminals::default(),
            held: VecDeque::new(),
            input: Input::default(),
            output: Output::default(),
            error: Output::default(),
            consumed: 0,
            wakes: Wakes::default(),
        }
    }

    /// Mounts `/proc`, `/dev`, `/dev/pts`, `/dev/shm` and `/tmp` and fills `/dev`. Called once, when the root
    /// has its content; directories that it lacks are made.
    ///
    /// # Errors
    /// `ENOSPC`; `ENOTDIR` if a file is where a directory must be.
    pub fn mount_standard(&mut self, env: &mut dyn Surroundings) -> Result<(), Errno> {
        let mut mount = |vfs: &mut Vfs, path, kind, magic, options| {
            let covered = vfs.ensure_directory(env, path)?;
            let root = match magic {
                mount::PROC_MAGIC => Node::Proc(ProcNode::ROOT),
                _ => Node::Inode(vfs.new_root(env.wall_clock(), path.starts_with("/dev"))?),
            };
            vfs.tree.get_mut(covered)?.directory_mut()?.covered_by = Some(root);
            let (root, covered) = (Some(root), Some(covered));
            vfs.mounts.push(Mount { kind, magic, path, options, root, covered });
            Ok::<(), Errno>(())
        };
        let tmpfs = mount::TMPFS_MAGIC;
        // The first after the hidden ones: `mount::PROC_FS`; the third is `mount::PTS_FS`.
        mount(self, "/proc", "proc", mount::PROC_MAGIC, "rw,nosuid,nodev,noexec,relatime")?;
        mount(self, "/dev", "tmpfs", tmpfs, "rw,nosuid,relatime,mode=755")?;
        let options = "rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666";
        mount(self, "/dev/pts", "devpts", mount::DEVPTS_MAGIC, options)?;
        self.fill_dev(env)?;
        self.fill_pts(env)?;
        let mut mount = |vfs: &mut Vfs, path| {
            let covered = vfs.ensure_directory(env, path)?;
            // What the image brings there is to be seen.
            if !vfs.tree.get(covered)?.directory()?.is_empty() {
                return Ok(());
            }
            let root = Node::Inode(vfs.new_root(env.wall_clock(), false)?);
            vfs.tree.get_mut(covered)?.directory_mut()?.covered_by = Some(root);
            let (root, covered) = (Some(root), Some(covered));
            let options = "rw,nosuid,nodev,relatime";
            vfs.mounts.push(Mount { kind: "tmpfs", magic: tmpfs, path, options, root, covered });
            Ok::<(), Errno>(())
        };
        mount(self, "/dev/shm")?;
        mount(self, "/tmp")
    }

    /// The root directory of a file system that is about to be mounted.
    fn new_root(&mut self, now: Nanos, private: bool) -> Result<InodeId, Errno> {
        let id = self.tree.next_id();
        let mode = s::S_IFDIR | if private { 0o755 } else { 0o1777 };
        let kind = Kind::Directory(Directory::new(id, b""));
        let mut inode = Inode::new(kind, mode, SUPERUSER, now);
        inode.nlink = 2;
        inode.fs = self.mounts.len();
        self.tree.insert(inode)
    }

    fn ensure_directory(
        &mut self,
        env: &mut dyn Surroundings,
        path: &str,
    ) -> Result<InodeId, Errno> {
        let view = kernel_view(self.root);
        let caller = kernel_caller(&view);
        let made = self.make_directory(env, &caller, At::Cwd, path.as_bytes(), 0o755);
        if let Err(errno) = made
            && errno != Errno::EEXIST
        {
            return Err(errno);
        }
        let walk = Walk::new(self, env.proc(), &caller);
        match { walk }.existing(At::Cwd, path.as_bytes(), Follow::Yes)? {
            Node::Inode(id) if self.tree.get(id)?.is_dir() => Ok(id),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn fill_dev(&mut self, env: &mut dyn Surroundings) -> Result<(), Errno> {
        let view = kernel_view(self.root);
        let caller = kernel_caller(&view);
        let Node::Inode(dev) =
            Walk::new(self, env.proc(), &caller).existing(At::Cwd, b"/dev", Follow::Yes)?
        else {
            return Err(Errno::ENOTDIR);
        };
        let now = env.wall_clock();
        for (name, permissions, (major, minor)) in DEVICES {
            let kind = Kind::Device(*major, *minor);
            let id = self.new_inode(env, &caller, dev, kind, s::S_IFCHR | permissions)?;
            self.tree.link(dev, name.as_bytes(), id, now)?;
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            let kind = Kind::Symlink(target.as_bytes().into());
            let id = self.new_inode(env, &caller, dev, kind, s::S_IFLNK | 0o777)?;
            self.tree.link(dev, name.as_bytes(), id, now)?;
        }
        Ok(())
    }

    /// Adds what the archives of an image hold to the root. Members of the paths in `hidden` are
    /// left out. A member that comes twice replaces the first; a directory's attributes are
    /// changed, and a directory in the place of a link to one leaves the link.
    ///
    /// # Errors
    /// What is wrong with the image; members before that are there.
    pub fn load_image<I: ImageSource + ?Sized>(
        &mut self,
        env: &mut dyn Surroundings,
        image: &I,
        hidden: &[&[u8]],
    ) -> Result<Loaded, CpioError> {
        let mut loading = Loading::default();
        for member in Members::new(image) {
            let member = member?;
            if hidden.contains(&member.path.as_slice()) {
                continue;
            }
            env.make_room();
            let added = self.add_member(env, image, &member, &mut loading);
            added.map_err(|fault| CpioError { at: member.at, fault })?;
            loading.loaded.members += 1;
        }
        Ok(loading.loaded)
    }

    fn add_member<I: ImageSource + ?Sized>(
        &mut self,
        env: &mut dyn Surroundings,
        image: &I,
        member: &Member,
        loading: &mut Loading,
    ) -> Result<(), CpioFault> {
        let not_added = |_: Errno| CpioFault::NotAdded;
        let (dir_path, name) = match member.path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&member.path[..slash], &member.path[slash + 1..]),
            None => (&b""[..], &member.path[..]),
        };
        let dir = match &loading.parent {
            Some((path, dir)) if path == dir_path => *dir,
            _ => self.make_directories(env, dir_path).map_err(not_added)?,
        };
        loading.parent = Some((dir_path.to_vec(), dir));
        let is_dir = member.mode & s::S_IFMT == s::S_IFDIR;
        if is_dir {
            let there = self.make_directories(env, &member.path).map_err(not_added)?;
            let id = if name.is_empty() {
                Some(there)
            } else {
                self.tree.get(dir).and_then(|i| i.directory()).ok().and_then(|d| d.get(name))
            };
            // Only a real directory: a link that was there keeps its target's attributes.
            if id == Some(there) {
                self.set_attributes(there, member);
            }
            return Ok(());
        }
        let existing = self.tree.get(dir).and_then(|i| i.directory()).map_err(not_added)?.get(name);
        if let Some(existing) = existing {
            if self.tree.get(existing).is_ok_and(Inode::is_dir) {
                return Err(CpioFault::NotAdded);
            }
            self.tree.unlink(env.store(), dir, name, time_of(member)).map_err(not_added)?;
            loading.parent = None;
        }
        let id = self.member_inode(image, member, loading)?;
        self.tree.link(dir, name, id, time_of(member)).map_err(not_added)?;
        self.set_attributes(id, member);
        Ok(())
    }

    /// The inode of a member that is no directory: a new one, or that of its first name.
    fn member_inode<I: ImageSource + ?Sized>(
        &mut self,
        image: &I,
        member: &Member,
        loading: &mut Loading,
    ) -> Result<InodeId, CpioFault> {
        let content = Content::Image { start: member.data, len: member.len };
        let kind = match member.mode & s::S_IFMT {
            s::S_IFREG => {
                loading.loaded.bytes += member.len;
                if let Some(id) = loading.links.get(&member.identity) {
                    // The data comes with one of the names, mostly the last.
                    if let Ok(inode) = self.tree.get_mut(*id)
                        && member.len > 0
                    {
                        inode.kind = Kind::Regular(content);
                    }
                    if self.tree.get(*id).is_ok() {
                        return Ok(*id);
                    }
                }
                Kind::Regular(content)
            }
            s::S_IFLNK => {
                if member.len == 0 || member.len >= PATH_MAX as u64 {
                    return Err(CpioFault::BadTarget);
                }
                let mut target = alloc::vec![0; member.len as usize];
                // Members' data are within the image.
                image.read(member.data, &mut target);
                Kind::Symlink(target.into())
            }
            s::S_IFIFO => Kind::Fifo(None),
            s::S_IFCHR | s::S_IFBLK => Kind::Device(member.rdev.0, member.rdev.1),
            s::S_IFSOCK => Kind::Socket,
            _ => return Err(CpioFault::NotAdded),
        };
        let inode = Inode::new(kind, member.mode, SUPERUSER, Nanos(0));
        let id = self.tree.insert(inode).map_err(|_| CpioFault::NotAdded)?;
        if member.nlink > 1 && member.mode & s::S_IFMT == s::S_IFREG {
            loading.links.insert(member.identity, id);
        }
        Ok(id)
    }

    fn set_attributes(&mut self, id: InodeId, member: &Member) {
        if let Ok(inode) = self.tree.get_mut(id) {
            inode.mode = inode.mode & s::S_IFMT | member.mode & s::PERMISSIONS;
            (inode.uid, inode.gid) = (member.uid, member.gid);
            let time = time_of(member);
            (inode.atime, inode.mtime, inode.ctime) = (time, time, time);
        }
    }

    /// The directory of this path, made with all above it where they are missing.
    fn make_directories(
        &mut self,
        env: &mut dyn Surroundings,
        path: &[u8],
    ) -> Result<InodeId, Errno> {
        let view = kernel_view(self.root);
        let caller = kernel_caller(&view);
        let Node::Inode(mut dir) = self.root else { return Err(Errno::ENOTDIR) };
        let mut prefix = Vec::new();
        for name in path.split(|byte| *byte == b'/').filter(|name| *name != b"") {
            prefix.push(b'/');
            prefix.extend_from_slice(name);
            let found =
                Walk::new(self, env.proc(), &caller).resolve(At::Cwd, &prefix, Follow::Yes)?;
            dir = match found.node {
                Some(Node::Inode(id)) if self.tree.get(id)?.is_dir() => id,
                Some(_) => return Err(Errno::ENOTDIR),
                None => {
                    self.make_directory(env, &caller, At::Cwd, &prefix, 0o755)?;
                    self.tree.get(dir)?.directory()?.get(name).ok_or(Errno::ENOENT)?
                }
            };
        }
        Ok(dir)
    }
}

const fn time_of(member: &Member) -> Nanos {
    Nanos(member.mtime as u64 * Nanos::SECOND.0)
}
