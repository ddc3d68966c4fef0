//! The tree compared with the host's: random operations must have the same results and errors.
//!
//! Both sides work in a directory some levels below their root, so that `..` finds the same there.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use std::path::Path;

use maize_abi::Errno;
use maize_abi::file::{o, s, seek};
use proptest::prelude::*;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs as host;
use rustix::io::Errno as HostErrno;

use crate::testing::{World, caller_as, with_image};
use crate::{
    At, Caller, Console, FileId, Follow, MakeNode, OpenHow, Patience, Place, Stop, Target, Vfs,
    View,
};

/// Levels between the root of the comparison and where operations start.
const DEPTH: usize = 8;
const SLOTS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Open { slot: usize, path: String, flags: u32, nofollow: bool, directory: bool, mode: u32 },
    Close { slot: usize },
    Read { slot: usize, len: usize, at: Option<u64> },
    Write { slot: usize, len: usize, byte: u8, at: Option<u64> },
    Seek { slot: usize, offset: i64, whence: u32 },
    SetLen { slot: usize, len: u64 },
    FileStat { slot: usize },
    Truncate { path: String, len: u64 },
    MakeDirectory { path: String, mode: u32 },
    MakeFifo { path: String },
    RemoveDirectory { path: String },
    Unlink { path: String },
    Rename { from: String, to: String, flags: u32 },
    Link { from: String, to: String, follow: bool },
    Symlink { target: String, path: String },
    ReadLink { path: String },
    Stat { path: String, follow: bool },
    SetMode { path: String, mode: u32 },
    Access { path: String, mode: u32 },
    List { path: String },
}

/// What an operation has told; errors by number.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Count(u64),
    Bytes(Vec<u8>),
    Names(Vec<Vec<u8>>),
    Attributes { mode: u32, links: u64, size: u64 },
}

type Outcome = Result<Told, u16>;

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        6 => prop::sample::select(&["a", "b", "c"][..]),
        1 => prop::sample::select(&[".", ".."][..]),
    ];
    let joined = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    prop_oneof![
        20 => joined.clone(),
        3 => joined.prop_map(|path| path + "/"),
        1 => Just(String::new()),
        1 => Just("n".repeat(256)),
        1 => Just("./".repeat(2047) + "aa"),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let slot = 0..SLOTS;
    let len = 0..9000_usize;
    let position = prop::option::of(0..10_000_u64);
    let flag = |flag: u32| prop::sample::select([0, flag].to_vec());
    let flags = (0..3_u32, flag(o::O_CREAT), flag(o::O_EXCL), flag(o::O_TRUNC), flag(o::O_APPEND))
        .prop_map(|(a, b, c, d, e)| a | b | c | d | e);
    prop_oneof![
        6 => (slot.clone(), path(), flags, any::<bool>(), prop::bool::weighted(0.1), 0..0o1000_u32)
            .prop_map(|(slot, path, flags, nofollow, directory, mode)| Op::Open {
                slot, path, flags, nofollow, mode,
                // What both together do has changed between versions of Linux.
                directory: directory && flags & o::O_CREAT == 0,
            }),
        1 => slot.clone().prop_map(|slot| Op::Close { slot }),
        2 => (slot.clone(), len.clone(), position.clone())
            .prop_map(|(slot, len, at)| Op::Read { slot, len, at }),
        3 => (slot.clone(), len.clone(), any::<u8>(), position)
            .prop_map(|(slot, len, byte, at)| Op::Write { slot, len, byte, at }),
        2 => (slot.clone(), -5000..9000_i64, 0..6_u32)
            .prop_map(|(slot, offset, whence)| Op::Seek { slot, offset, whence }),
        1 => (slot.clone(), 0..20_000_u64).prop_map(|(slot, len)| Op::SetLen { slot, len }),
        1 => slot.prop_map(|slot| Op::FileStat { slot }),
        1 => (path(), 0..20_000_u64).prop_map(|(path, len)| Op::Truncate { path, len }),
        6 => (path(), 0..0o1000_u32).prop_map(|(path, mode)| Op::MakeDirectory { path, mode }),
        1 => path().prop_map(|path| Op::MakeFifo { path }),
        2 => path().prop_map(|path| Op::RemoveDirectory { path }),
        2 => path().prop_map(|path| Op::Unlink { path }),
        6 => (path(), path(), prop::sample::select(&[0, 0, 0, 1, 2, 3][..]))
            .prop_map(|(from, to, flags)| Op::Rename { from, to, flags }),
        2 => (path(), path(), any::<bool>())
            .prop_map(|(from, to, follow)| Op::Link { from, to, follow }),
        3 => (path(), path()).prop_map(|(target, path)| Op::Symlink { target, path }),
        1 => path().prop_map(|path| Op::ReadLink { path }),
        3 => (path(), any::<bool>()).prop_map(|(path, follow)| Op::Stat { path, follow }),
        1 => (path(), 0..0o1000_u32).prop_map(|(path, mode)| Op::SetMode { path, mode }),
        1 => (path(), 0..9_u32).prop_map(|(path, mode)| Op::Access { path, mode }),
        2 => path().prop_map(|path| Op::List { path }),
    ]
}

/// The host's side.
struct Host {
    base: OwnedFd,
    slots: [Option<OwnedFd>; SLOTS],
    _dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Host {
        // A tmpfs, so that links to directories are counted alike.
        let parent = Path::new("/dev/shm");
        let dir = if parent.is_dir() { tempfile::tempdir_in(parent) } else { tempfile::tempdir() };
        let dir = dir.expect("a directory for the comparison");
        let base = dir.path().join(["x"; DEPTH].join("/"));
        std::fs::create_dir_all(&base).expect("directories below it");
        let base = host::open(&base, host::OFlags::PATH, host::Mode::empty()).expect("its bottom");
        Host { base, slots: Default::default(), _dir: dir }
    }

    fn fd(&self, slot: usize) -> Result<&OwnedFd, HostErrno> {
        self.slots[slot].as_ref().ok_or(HostErrno::BADF)
    }

    fn run(&mut self, op: &Op) -> Outcome {
        self.try_run(op).map_err(|errno| errno.raw_os_error() as u16)
    }

    fn try_run(&mut self, op: &Op) -> Result<Told, HostErrno> {
        use host::{AtFlags, Mode, OFlags};
        let base = self.base.as_fd();
        let done = Ok(Told::Nothing);
        let mode_of = |mode: u32| Mode::from_raw_mode(mode);
        match op {
            Op::Open { slot, path, flags, nofollow, directory, mode } => {
                let mut all = OFlags::from_bits_retain(*flags) | OFlags::NONBLOCK;
                all.set(OFlags::NOFOLLOW, *nofollow);
                all.set(OFlags::DIRECTORY, *directory);
                let opened = host::openat(base, path, all, mode_of(*mode))?;
                self.slots[*slot] = Some(opened);
                done
            }
            Op::Close { slot } => {
                self.fd(*slot)?;
                self.slots[*slot] = None;
                done
            }
            Op::Read { slot, len, at } => {
                let mut bytes = alloc::vec![0; *len];
                let count = match at {
                    None => rustix::io::read(self.fd(*slot)?, &mut bytes[..])?,
                    Some(at) => rustix::io::pread(self.fd(*slot)?, &mut bytes[..], *at)?,
                };
                bytes.truncate(count);
                Ok(Told::Bytes(bytes))
            }
            Op::Write { slot, len, byte, at } => {
                let bytes = alloc::vec![*byte; *len];
                let count = match at {
                    None => rustix::io::write(self.fd(*slot)?, &bytes)?,
                    Some(at) => rustix::io::pwrite(self.fd(*slot)?, &bytes, *at)?,
                };
                Ok(Told::Count(count as u64))
            }
            Op::Seek { slot, offset, whence } => {
                use host::SeekFrom;
                let to = match *whence {
                    seek::SEEK_SET => match u64::try_from(*offset) {
                        Ok(offset) => SeekFrom::Start(offset),
                        // The host's library has no way to ask for this.
                        Err(_) => return done,
                    },
                    seek::SEEK_CUR => SeekFrom::Current(*offset),
                    seek::SEEK_END => SeekFrom::End(*offset),
                    // Where a file has holes is for each file system to say.
                    _ => return done,
                };
                host::seek(self.fd(*slot)?, to).map(Told::Count)
            }
            Op::SetLen { slot, len } => host::ftruncate(self.fd(*slot)?, *len).and(done),
            Op::FileStat { slot } => host::fstat(self.fd(*slot)?).map(|stat| attributes(&stat)),
            Op::Truncate { path, len } => {
                // There is no truncateat: by way of a descriptor, and errors as far as they agree.
                let opened = host::openat(base, path, OFlags::PATH, Mode::empty())?;
                if host::FileType::from_raw_mode(host::fstat(&opened)?.st_mode)
                    != host::FileType::RegularFile
                {
                    return done;
                }
                let flags = OFlags::WRONLY | OFlags::NONBLOCK;
                let opened = host::openat(base, path, flags, Mode::empty())?;
                host::ftruncate(opened, *len).and(done)
            }
            Op::MakeDirectory { path, mode } => host::mkdirat(base, path, mode_of(*mode)).and(done),
            Op::MakeFifo { path } => {
                host::mknodat(base, path, host::FileType::Fifo, mode_of(0o644), 0).and(done)
            }
            Op::RemoveDirectory { path } => {
                host::unlinkat(base, path, AtFlags::REMOVEDIR).and(done)
            }
            Op::Unlink { path } => host::unlinkat(base, path, AtFlags::empty()).and(done),
            Op::Rename { from, to, flags } => {
                let flags = host::RenameFlags::from_bits_retain(*flags);
                host::renameat_with(base, from, base, to, flags).and(done)
            }
            Op::Link { from, to, follow } => {
                let flags = if *follow { AtFlags::SYMLINK_FOLLOW } else { AtFlags::empty() };
                host::linkat(base, from, base, to, flags).and(done)
            }
            Op::Symlink { target, path } => host::symlinkat(target, base, path).and(done),
            Op::ReadLink { path } => host::readlinkat(base, path, Vec::new())
                .map(|target| Told::Bytes(target.into_bytes())),
            Op::Stat { path, follow } => {
                let flags = if *follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
                host::statat(base, path, flags).map(|stat| attributes(&stat))
            }
            Op::SetMode { path, mode } => {
                host::chmodat(base, path, mode_of(*mode), AtFlags::empty()).and(done)
            }
            Op::Access { path, mode } => {
                let access = host::Access::from_bits_retain(*mode);
                host::accessat(base, path, access, AtFlags::empty()).and(done)
            }
            Op::List { path } => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let dir = host::openat(base, path, flags, Mode::empty())?;
                let mut names = Vec::new();
                for entry in host::Dir::read_from(dir)? {
                    names.push(entry?.file_name().to_bytes().to_vec());
                }
                names.sort();
                Ok(Told::Names(names))
            }
        }
    }
}

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between hosts")]
fn attributes(stat: &host::Stat) -> Told {
    told(stat.st_mode, stat.st_nlink as u64, stat.st_size as u64)
}

fn told(mode: u32, links: u64, size: u64) -> Told {
    // What a directory's size means is for each file system to say.
    let size = if mode & s::S_IFMT == s::S_IFDIR { 0 } else { size };
    Told::Attributes { mode, links, size }
}

/// This crate's side.
struct Ours {
    vfs: Vfs,
    world: World,
    view: View,
    uid: u32,
    slots: [Option<FileId>; SLOTS],
}

impl Ours {
    fn new(uid: u32) -> Ours {
        let (mut vfs, mut world) = with_image(&[], Console::Streams);
        let mut view = vfs.initial_view(0o022);
        let mut path = String::new();
        for _ in 0..=DEPTH {
            path += "/x";
            let kernel = vfs.initial_view(0o022);
            let made = vfs.make_directory(
                &mut world,
                &caller_as(&kernel, 0),
                At::Cwd,
                path.as_bytes(),
                0o777,
            );
            made.expect("directories above");
            vfs.release_view(&mut world, &kernel);
        }
        vfs.enter(&mut world, &mut view, path.as_bytes()).expect("the bottom");
        Ours { vfs, world, view, uid, slots: Default::default() }
    }

    fn run(&mut self, op: &Op) -> Outcome {
        self.try_run(op).map_err(|stop| match stop {
            Stop::Error(errno) => errno.number(),
            Stop::BrokenPipe => Errno::EPIPE.number(),
            other => panic!("{op:?} cannot wait: {other:?}"),
        })
    }

    fn try_run(&mut self, op: &Op) -> Result<Told, Stop> {
        let Ours { vfs, world, view, uid, slots } = self;
        let caller: &Caller<'_> = &caller_as(view, *uid);
        let file = |slots: &[Option<FileId>; SLOTS], slot: usize| {
            slots[slot].ok_or(Stop::Error(Errno::EBADF))
        };
        let place = |at: Option<u64>| at.map_or(Place::Position, Place::Byte);
        let follows = |follow: bool| if follow { Follow::Yes } else { Follow::No };
        let cwd = At::Cwd;
        let done = Ok(Told::Nothing);
        match op {
            Op::Open { slot, path, flags, nofollow, directory, mode } => {
                let (nofollow, directory, mode) = (*nofollow, *directory, *mode);
                let flags = flags | o::O_NONBLOCK;
                let how = OpenHow { flags, directory, nofollow, shown: 0, mode };
                let opened = vfs.open(world, caller, cwd, path.as_bytes(), how)?;
                if let Some(old) = slots[*slot].replace(opened) {
                    vfs.release(world, old);
                }
                done
            }
            Op::Close { slot } => {
                let file = file(slots, *slot)?;
                slots[*slot] = None;
                vfs.release(world, file);
                done
            }
            Op::Read { slot, len, at } => {
                let mut bytes = alloc::vec![0; *len];
                let file = file(slots, *slot)?;
                let left = Patience::Left;
                let count = vfs.read(world, caller, file, place(*at), &mut bytes, left)?;
                bytes.truncate(count);
                Ok(Told::Bytes(bytes))
            }
            Op::Write { slot, len, byte, at } => {
                let bytes = alloc::vec![*byte; *len];
                let count = vfs.write(world, caller, file(slots, *slot)?, place(*at), &bytes)?;
                Ok(Told::Count(count as u64))
            }
            Op::Seek { offset, whence, .. }
                if *whence > seek::SEEK_END || *whence == seek::SEEK_SET && *offset < 0 =>
            {
                done
            }
            Op::Seek { slot, offset, whence } => {
                Ok(Told::Count(vfs.seek(world, file(slots, *slot)?, *offset, *whence)?))
            }
            Op::SetLen { slot, len } => {
                let target = Target::File(file(slots, *slot)?);
                vfs.truncate(world, caller, target, *len as i64)?;
                done
            }
            Op::FileStat { slot } => {
                let stat = vfs.stat(world, caller, Target::File(file(slots, *slot)?))?;
                Ok(told(stat.mode, stat.nlink, stat.size as u64))
            }
            Op::Truncate { path, len } => {
                let target = Target::Path(cwd, path.as_bytes(), Follow::Yes);
                let stat = vfs.stat(world, caller, target)?;
                if stat.mode & s::S_IFMT != s::S_IFREG {
                    return done;
                }
                vfs.truncate(world, caller, target, *len as i64)?;
                done
            }
            Op::MakeDirectory { path, mode } => {
                vfs.make_directory(world, caller, cwd, path.as_bytes(), *mode)?;
                done
            }
            Op::MakeFifo { path } => {
                vfs.make_node(world, caller, (cwd, path.as_bytes()), MakeNode::Fifo, 0o644)?;
                done
            }
            Op::RemoveDirectory { path } => {
                vfs.remove_directory(world, caller, cwd, path.as_bytes())?;
                done
            }
            Op::Unlink { path } => {
                vfs.unlink(world, caller, cwd, path.as_bytes())?;
                done
            }
            Op::Rename { from, to, flags } => {
                let (from, to) = ((cwd, from.as_bytes()), (cwd, to.as_bytes()));
                vfs.rename(world, caller, from, to, *flags)?;
                done
            }
            Op::Link { from, to, follow } => {
                let from = (cwd, from.as_bytes(), follows(*follow));
                vfs.link(world, caller, from, (cwd, to.as_bytes()))?;
                done
            }
            Op::Symlink { target, path } => {
                vfs.make_symlink(world, caller, target.as_bytes(), cwd, path.as_bytes())?;
                done
            }
            Op::ReadLink { path } => {
                let target = Target::Path(cwd, path.as_bytes(), Follow::No);
                Ok(Told::Bytes(vfs.read_link(world, caller, target)?))
            }
            Op::Stat { path, follow } => {
                let target = Target::Path(cwd, path.as_bytes(), follows(*follow));
                let stat = vfs.stat(world, caller, target)?;
                Ok(told(stat.mode, stat.nlink, stat.size as u64))
            }
            Op::SetMode { path, mode } => {
                let target = Target::Path(cwd, path.as_bytes(), Follow::Yes);
                vfs.chmod(world, caller, target, *mode)?;
                done
            }
            Op::Access { path, mode } => {
                let target = Target::Path(cwd, path.as_bytes(), Follow::Yes);
                vfs.access(world, caller, target, *mode)?;
                done
            }
            Op::List { path } => {
                let how = OpenHow { directory: true, ..OpenHow::READ };
                let dir = vfs.open(world, caller, cwd, path.as_bytes(), how)?;
                let mut names = Vec::new();
                // In small pieces, so that reading has to resume.
                while vfs.read_dir(world, dir, 2, &mut |entry| {
                    names.push(entry.name.clone());
                    true
                })? > 0
                {}
                vfs.release(world, dir);
                names.sort();
                Ok(Told::Names(names))
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 4000, ..ProptestConfig::default() })]
    #[test]
    fn operations_are_as_on_the_host(ops in prop::collection::vec(op(), 1..60)) {
        rustix::process::umask(host::Mode::from_raw_mode(0o022));
        let mut theirs = Host::new();
        let mut ours = Ours::new(rustix::process::getuid().as_raw());
        for (n, op) in ops.iter().enumerate() {
            let expected = theirs.run(op);
            let found = ours.run(op);
            prop_assert_eq!(found, expected, "operation {}: {:?}", n, op);
        }
        // Nothing may be left once all is closed and removed: every object has an owner.
        for slot in &mut ours.slots {
            if let Some(file) = slot.take() {
                ours.vfs.release(&mut ours.world, file);
            }
        }
        let regular = ours.vfs.tree.count_regular();
        prop_assert_eq!(ours.world.store.objects(), regular);
    }
}
