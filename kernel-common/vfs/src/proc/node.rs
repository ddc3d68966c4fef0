//! The tree of `/proc`: names, types, permissions, links.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::capability::Capability;
use maize_abi::file::s;

use super::ProcSource;
use crate::caller::Caller;
use crate::descriptor::FdTable;
use crate::path::Link;

/// A place in `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcNode(pub(crate) Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Always there.
    Fixed(Fixed),
    /// A file in `/proc/maize`.
    Counter(u16),
    /// `/proc/PID` or `/proc/PID/task/TID`.
    Task(Scope),
    TaskFile(Scope, TaskFile),
    /// `fd/N`.
    Descriptor(Scope, i32),
    /// `fdinfo/N`.
    DescriptorInfo(Scope, i32),
}

/// A process, or one of its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) pid: u32,
    /// The thread, if it was reached through `task`.
    pub(crate) tid: Option<u32>,
}

impl Scope {
    /// The thread whose facts are shown.
    pub(crate) fn thread(self) -> u32 {
        self.tid.unwrap_or(self.pid)
    }

    fn exists(self, source: &dyn ProcSource) -> bool {
        match self.tid {
            None => source.processes().contains(&self.pid),
            Some(tid) => source.threads(self.pid).contains(&tid),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Dir,
    Text,
    Link,
}

macro_rules! places {
    ($name:ident: $($variant:ident $parent:ident $text:literal $kind:ident $mode:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($variant,)* }

        impl $name {
            const ALL: &[$name] = &[$($name::$variant,)*];

            const fn parent(self) -> $name {
                match self { $($name::$variant => $name::$parent,)* }
            }

            const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            const fn kind(self) -> Type {
                match self { $($name::$variant => Type::$kind,)* }
            }

            const fn permissions(self) -> u32 {
                match self { $($name::$variant => $mode,)* }
            }

            fn children(self) -> impl Iterator<Item = $name> {
                let not_root = move |child: &$name| *child as usize != 0;
                Self::ALL.iter().copied().filter(move |c| c.parent() == self).filter(not_root)
            }
        }
    };
}

#[rustfmt::skip]
places! { Fixed:
    Root          Root       ""                  Dir  0o555;
    SelfLink      Root       "self"              Link 0o777;
    ThreadSelf    Root       "thread-self"       Link 0o777;
    Cmdline       Root       "cmdline"           Text 0o444;
    Cpuinfo       Root       "cpuinfo"           Text 0o444;
    Devices       Root       "devices"           Text 0o444;
    Filesystems   Root       "filesystems"       Text 0o444;
    Loadavg       Root       "loadavg"           Text 0o444;
    Maize         Root       "maize"             Dir  0o555;
    Meminfo       Root       "meminfo"           Text 0o444;
    Mounts        Root       "mounts"            Link 0o777;
    Stat          Root       "stat"              Text 0o444;
    Swaps         Root       "swaps"             Text 0o444;
    Sys           Root       "sys"               Dir  0o555;
    SystemV       Root       "sysvipc"           Dir  0o555;
    Queues        SystemV    "msg"               Text 0o444;
    Semaphores    SystemV    "sem"               Text 0o444;
    Segments      SystemV    "shm"               Text 0o444;
    Uptime        Root       "uptime"            Text 0o444;
    Version       Root       "version"           Text 0o444;
    Vmstat        Root       "vmstat"            Text 0o444;
    SysFs         Sys        "fs"                Dir  0o555;
    FileMax       SysFs      "file-max"          Text 0o444;
    FileNr        SysFs      "file-nr"           Text 0o444;
    NrOpen        SysFs      "nr_open"           Text 0o444;
    PipeMaxSize   SysFs      "pipe-max-size"     Text 0o444;
    SysKernel     Sys        "kernel"            Dir  0o555;
    CapLastCap    SysKernel  "cap_last_cap"      Text 0o444;
    Domainname    SysKernel  "domainname"        Text 0o444;
    Hostname      SysKernel  "hostname"          Text 0o444;
    NgroupsMax    SysKernel  "ngroups_max"       Text 0o444;
    Osrelease     SysKernel  "osrelease"         Text 0o444;
    OverflowGid   SysKernel  "overflowgid"       Text 0o444;
    OverflowUid   SysKernel  "overflowuid"       Text 0o444;
    Ostype        SysKernel  "ostype"            Text 0o444;
    PidMax        SysKernel  "pid_max"           Text 0o444;
    Random        SysKernel  "random"            Dir  0o555;
    BootId        Random     "boot_id"           Text 0o444;
    EntropyAvail  Random     "entropy_avail"     Text 0o444;
    PoolSize      Random     "poolsize"          Text 0o444;
    Uuid          Random     "uuid"              Text 0o444;
    ThreadsMax    SysKernel  "threads-max"       Text 0o444;
    KernelVersion SysKernel  "version"           Text 0o444;
    SysVm         Sys        "vm"                Dir  0o555;
    MaxMapCount   SysVm      "max_map_count"     Text 0o444;
    MmapMinAddr   SysVm      "mmap_min_addr"     Text 0o444;
    Overcommit    SysVm      "overcommit_memory" Text 0o444;
}

#[rustfmt::skip]
places! { TaskFile:
    // The directory itself: the parent of the rest.
    Directory     Directory  ""                  Dir  0o555;
    Auxv          Directory  "auxv"              Text 0o400;
    Cgroup        Directory  "cgroup"            Text 0o444;
    Cmdline       Directory  "cmdline"           Text 0o444;
    Comm          Directory  "comm"              Text 0o444;
    Cwd           Directory  "cwd"               Link 0o777;
    Environ       Directory  "environ"           Text 0o400;
    Exe           Directory  "exe"               Link 0o777;
    Fd            Directory  "fd"                Dir  0o500;
    Fdinfo        Directory  "fdinfo"            Dir  0o500;
    Limits        Directory  "limits"            Text 0o444;
    Maps          Directory  "maps"              Text 0o444;
    Mountinfo     Directory  "mountinfo"         Text 0o444;
    Mounts        Directory  "mounts"            Text 0o444;
    Smaps         Directory  "smaps"             Text 0o444;
    SmapsRollup   Directory  "smaps_rollup"      Text 0o444;
    OomScore      Directory  "oom_score"         Text 0o444;
    OomScoreAdj   Directory  "oom_score_adj"     Text 0o444;
    Root          Directory  "root"              Link 0o777;
    Stat          Directory  "stat"              Text 0o444;
    Statm         Directory  "statm"             Text 0o444;
    Status        Directory  "status"            Text 0o444;
    Threads       Directory  "task"              Dir  0o555;
    Wchan         Directory  "wchan"             Text 0o444;
}

impl ProcNode {
    pub(crate) const ROOT: ProcNode = ProcNode(Place::Fixed(Fixed::Root));
}

/// An entry of a directory of `/proc`.
pub(crate) struct Entry {
    pub(crate) next: u64,
    pub(crate) name: Vec<u8>,
    pub(crate) node: ProcNode,
}

fn kind(node: ProcNode) -> Type {
    match node.0 {
        Place::Fixed(fixed) => fixed.kind(),
        Place::Counter(_) | Place::DescriptorInfo(..) => Type::Text,
        Place::Task(_) => Type::Dir,
        Place::TaskFile(_, file) => file.kind(),
        Place::Descriptor(..) => Type::Link,
    }
}

pub(crate) fn is_dir(node: ProcNode) -> bool {
    kind(node) == Type::Dir
}

/// Whether its text is another one each time, and made of random bytes.
pub(crate) const fn is_random(node: ProcNode) -> bool {
    matches!(node.0, Place::Fixed(Fixed::Uuid))
}

pub(crate) fn is_link(node: ProcNode) -> bool {
    kind(node) == Type::Link
}

/// `st_mode`.
pub(crate) fn mode(node: ProcNode) -> u32 {
    let permissions = match node.0 {
        Place::Fixed(fixed) => fixed.permissions(),
        Place::TaskFile(_, file) => file.permissions(),
        Place::Counter(_) => 0o444,
        Place::Task(_) => 0o555,
        Place::Descriptor(..) => 0o700,
        Place::DescriptorInfo(..) => 0o400,
    };
    permissions
        | match kind(node) {
            Type::Dir => s::S_IFDIR,
            Type::Text => s::S_IFREG,
            Type::Link => s::S_IFLNK,
        }
}

const fn scope(node: ProcNode) -> Option<Scope> {
    match node.0 {
        Place::Fixed(_) | Place::Counter(_) => None,
        Place::Task(scope)
        | Place::TaskFile(scope, _)
        | Place::Descriptor(scope, _)
        | Place::DescriptorInfo(scope, _) => Some(scope),
    }
}

/// User and group.
pub(crate) fn owner(node: ProcNode, source: &dyn ProcSource) -> (u32, u32) {
    let task = scope(node).and_then(|scope| source.task(scope.pid, scope.thread()));
    task.map_or((0, 0), |task| (task.uids[1], task.gids[1]))
}

/// `st_ino`: the same for the same place, different for different ones.
pub(crate) fn number(node: ProcNode) -> u64 {
    let (class, index) = match node.0 {
        Place::Fixed(fixed) => return 1 + fixed as u64,
        Place::Counter(index) => return 1024 + u64::from(index),
        Place::Task(_) => (0, TaskFile::Directory as u64),
        Place::TaskFile(_, file) => (0, file as u64),
        Place::Descriptor(_, fd) => (1, fd as u64),
        Place::DescriptorInfo(_, fd) => (2, fd as u64),
    };
    let Some(scope) = scope(node) else { return 0 };
    // Descriptors have 16 bits, thread ids 22.
    let through_task = u64::from(scope.tid.is_some());
    u64::from(scope.thread()) << 20 | through_task << 19 | class << 17 | index & 0x1_ffff
}

/// The directory a place is in; that of the root is the root.
pub(crate) fn parent(node: ProcNode) -> ProcNode {
    ProcNode(match node.0 {
        Place::Fixed(fixed) => Place::Fixed(fixed.parent()),
        Place::Counter(_) => Place::Fixed(Fixed::Maize),
        Place::Task(Scope { tid: None, .. }) => Place::Fixed(Fixed::Root),
        Place::Task(scope) => Place::TaskFile(Scope { tid: None, ..scope }, TaskFile::Threads),
        Place::TaskFile(scope, _) => Place::Task(scope),
        Place::Descriptor(scope, _) => Place::TaskFile(scope, TaskFile::Fd),
        Place::DescriptorInfo(scope, _) => Place::TaskFile(scope, TaskFile::Fdinfo),
    })
}

/// The path of a place below the mount point of `/proc`.
pub(crate) fn path(node: ProcNode, source: &dyn Fn(u16) -> String) -> String {
    let scope_path = |scope: Scope| match scope.tid {
        None => format!("/{}", scope.pid),
        Some(tid) => format!("/{}/task/{tid}", scope.pid),
    };
    match node.0 {
        Place::Fixed(Fixed::Root) => String::new(),
        Place::Fixed(fixed) => {
            let above = path(ProcNode(Place::Fixed(fixed.parent())), source);
            format!("{above}/{}", fixed.name())
        }
        Place::Counter(index) => format!("/maize/{}", source(index)),
        Place::Task(scope) => scope_path(scope),
        Place::TaskFile(scope, file) => format!("{}/{}", scope_path(scope), file.name()),
        Place::Descriptor(scope, fd) => format!("{}/fd/{fd}", scope_path(scope)),
        Place::DescriptorInfo(scope, fd) => format!("{}/fdinfo/{fd}", scope_path(scope)),
    }
}

/// A number as the name of a process, thread or descriptor: no sign and no leading zero.
fn parse(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// What a name leads to in a directory of `/proc`.
pub(crate) fn look_up(dir: ProcNode, name: &[u8], source: &dyn ProcSource) -> Option<ProcNode> {
    let found = match dir.0 {
        Place::Fixed(Fixed::Maize) => {
            let mut counters = source.counters().into_iter();
            let index = counters.position(|(counter, _)| counter.as_bytes() == name)?;
            Place::Counter(u16::try_from(index).ok()?)
        }
        Place::Fixed(dir) => {
            let fixed = dir.children().find(|child| child.name().as_bytes() == name);
            match fixed {
                Some(fixed) => Place::Fixed(fixed),
                None if dir == Fixed::Root => {
                    let scope = Scope { pid: parse(name)?, tid: None };
                    scope.exists(source).then_some(Place::Task(scope))?
                }
                None => return None,
            }
        }
        Place::Task(scope) => {
            let file = TaskFile::Directory.children().find(|c| c.name().as_bytes() == name)?;
            if !scope.exists(source) || scope.tid.is_some() && file == TaskFile::Threads {
                return None;
            }
            Place::TaskFile(scope, file)
        }
        Place::TaskFile(scope, TaskFile::Threads) => {
            let scope = Scope { tid: Some(parse(name)?), ..scope };
            scope.exists(source).then_some(Place::Task(scope))?
        }
        Place::TaskFile(scope, directory @ (TaskFile::Fd | TaskFile::Fdinfo)) => {
            let fd = i32::try_from(parse(name)?).ok()?;
            source.descriptors(scope.pid)?.get(fd).ok()?;
            match directory {
                TaskFile::Fd => Place::Descriptor(scope, fd),
                _ => Place::DescriptorInfo(scope, fd),
            }
        }
        _ => return None,
    };
    Some(ProcNode(found))
}

/// Positions of processes start here, behind those of all fixed names.
const FIRST_PROCESS: u64 = 256;

/// The entries of a directory of `/proc` from a position on. A position belongs to a name for
/// ever, so reading resumes rightly while processes come and go.
pub(crate) fn entries(dir: ProcNode, from: u64, source: &dyn ProcSource) -> Vec<Entry> {
    let mut all: Vec<(u64, Vec<u8>, Place)> = Vec::new();
    let by_number = |number: u32| number.to_string().into_bytes();
    match dir.0 {
        Place::Fixed(Fixed::Maize) => {
            let counters = (0_u16..).zip(source.counters());
            all.extend(
                counters.map(|(i, (name, _))| (2 + u64::from(i), name.into(), Place::Counter(i))),
            );
        }
        Place::Fixed(dir) => {
            all.extend(dir.children().map(|c| (2 + c as u64, c.name().into(), Place::Fixed(c))));
            if dir == Fixed::Root {
                let processes = source.processes().into_iter();
                all.extend(processes.map(|pid| {
                    let place = Place::Task(Scope { pid, tid: None });
                    (FIRST_PROCESS + u64::from(pid), by_number(pid), place)
                }));
            }
        }
        Place::Task(scope) => {
            let files = TaskFile::Directory.children();
            let files = files.filter(|file| scope.tid.is_none() || *file != TaskFile::Threads);
            all.extend(files.map(|f| (2 + f as u64, f.name().into(), Place::TaskFile(scope, f))));
        }
        Place::TaskFile(scope, TaskFile::Threads) => {
            let threads = source.threads(scope.pid).into_iter();
            all.extend(threads.map(|tid| {
                let place = Place::Task(Scope { tid: Some(tid), ..scope });
                (2 + u64::from(tid), by_number(tid), place)
            }));
        }
        Place::TaskFile(scope, directory @ (TaskFile::Fd | TaskFile::Fdinfo)) => {
            let descriptors = source.descriptors(scope.pid).into_iter().flat_map(FdTable::iter);
            all.extend(descriptors.map(|(fd, _)| {
                let place = match directory {
                    TaskFile::Fd => Place::Descriptor(scope, fd),
                    _ => Place::DescriptorInfo(scope, fd),
                };
                (2 + fd as u64, by_number(fd as u32), place)
            }));
        }
        _ => {}
    }
    let later = all.into_iter().filter(|(position, ..)| *position >= from);
    later
        .map(|(position, name, place)| Entry { next: position + 1, name, node: ProcNode(place) })
        .collect()
}

/// Where a link leads; `None` if the place is no link.
///
/// # Errors
/// `EACCES` if the caller may not look into the process, `ENOENT` if it or the descriptor is gone.
pub(crate) fn link(
    node: ProcNode,
    source: &dyn ProcSource,
    caller: &Caller<'_>,
) -> Result<Option<Link>, Errno> {
    let link = match node.0 {
        Place::Fixed(Fixed::SelfLink) => Link::Text(caller.pid.to_string().into()),
        Place::Fixed(Fixed::ThreadSelf) => {
            Link::Text(format!("{}/task/{}", caller.pid, caller.tid).into())
        }
        Place::Fixed(Fixed::Mounts) => Link::Text(b"self/mounts".to_vec()),
        Place::Descriptor(scope, fd) => {
            check_inspect(node, source, caller)?;
            let table = source.descriptors(scope.pid).ok_or(Errno::ENOENT)?;
            Link::File(table.file(fd).map_err(|_| Errno::ENOENT)?)
        }
        Place::TaskFile(scope, TaskFile::Exe) => {
            check_inspect(node, source, caller)?;
            Link::File(source.executable(scope.pid).ok_or(Errno::ENOENT)?)
        }
        Place::TaskFile(scope, file @ (TaskFile::Cwd | TaskFile::Root)) => {
            check_inspect(node, source, caller)?;
            let view = source.view(scope.pid).ok_or(Errno::ENOENT)?;
            Link::Node(if file == TaskFile::Cwd { view.cwd } else { view.root })
        }
        _ => return Ok(None),
    };
    Ok(Some(link))
}

fn check_inspect(
    node: ProcNode,
    source: &dyn ProcSource,
    caller: &Caller<'_>,
) -> Result<(), Errno> {
    let own = caller.may(Capability::SysPtrace) || owner(node, source).0 == caller.uid;
    if own { Ok(()) } else { Err(Errno::EACCES) }
}
