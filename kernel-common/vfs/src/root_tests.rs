//! The root from an image, and paths into every corner of it.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::{o, s};
use maize_abi::termios::WindowSize;
use proptest::prelude::*;

use crate::cpio::CpioFault;
use crate::testing::{ArchiveBuilder, MemberInfo, World, caller_as, with_image};
use crate::{
    At, Console, Descriptor, FileId, Follow, Limits, OpenHow, Patience, Place, Stop, Target, Vfs,
    View, WaitKey,
};

struct Fixture {
    vfs: Vfs,
    world: World,
    view: View,
}

impl Fixture {
    fn new(image: &[u8], console: Console) -> Fixture {
        let (mut vfs, world) = with_image(image, console);
        let view = vfs.initial_view(0o022);
        Fixture { vfs, world, view }
    }

    fn open(&mut self, path: &str, flags: u32) -> Result<FileId, Errno> {
        let how = OpenHow { flags, mode: 0o644, ..OpenHow::READ };
        self.vfs.open(&mut self.world, &caller_as(&self.view, 0), At::Cwd, path.as_bytes(), how)
    }

    fn read(&mut self, file: FileId) -> Result<Vec<u8>, Stop> {
        let mut all = Vec::new();
        let mut part = [0; 700];
        loop {
            let caller = caller_as(&self.view, 0);
            let left = Patience::Left;
            let at = Place::Position;
            match self.vfs.read(&mut self.world, &caller, file, at, &mut part, left)? {
                0 => return Ok(all),
                count => all.extend_from_slice(&part[..count]),
            }
        }
    }

    fn text(&mut self, path: &str) -> Result<Vec<u8>, Stop> {
        let file = self.open(path, 0)?;
        let text = self.read(file);
        self.vfs.release(&mut self.world, file);
        text
    }

    fn write(&mut self, file: FileId, bytes: &[u8]) -> Result<usize, Stop> {
        let caller = caller_as(&self.view, 0);
        self.vfs.write(&mut self.world, &caller, file, Place::Position, bytes)
    }

    fn mode(&mut self, path: &str) -> Result<u32, Errno> {
        let target = Target::Path(At::Cwd, path.as_bytes(), Follow::No);
        let stat = self.vfs.stat(&mut self.world, &caller_as(&self.view, 0), target)?;
        Ok(stat.mode)
    }

    fn names(&mut self, path: &str) -> Vec<Vec<u8>> {
        let dir = self.open(path, 0).expect("a directory");
        let mut names = Vec::new();
        let mut take = |entry: &crate::DirEntry| {
            names.push(entry.name.clone());
            true
        };
        while self.vfs.read_dir(&mut self.world, dir, 3, &mut take).expect("entries") > 0 {}
        self.vfs.release(&mut self.world, dir);
        names
    }

    fn read_link(&mut self, path: &str) -> Result<Vec<u8>, Errno> {
        let target = Target::Path(At::Cwd, path.as_bytes(), Follow::No);
        self.vfs.read_link(&mut self.world, &caller_as(&self.view, 0), target)
    }
}

fn image() -> Vec<u8> {
    let twice = || MemberInfo { ino: 9, nlink: 2, rdev: (0, 0) };
    ArchiveBuilder::default()
        .dir("bin")
        .member("bin/one", s::S_IFREG | 0o755, b"", twice())
        .member("bin/two", s::S_IFREG | 0o755, b"both", twice())
        .link("sbin", "bin")
        .file("deep/er/file", b"made on the way")
        .link("deep/up", "../bin/one")
        .member("node", s::S_IFCHR | 0o600, b"", MemberInfo { ino: 0, nlink: 1, rdev: (1, 3) })
        .finish()
}

#[test]
fn the_image_becomes_the_root() {
    let mut f = Fixture::new(&image(), Console::Streams);
    assert_eq!(f.text("/bin/one"), Ok(b"both".to_vec()));
    assert_eq!(f.text("/sbin/two"), Ok(b"both".to_vec()));
    assert_eq!(f.text("/deep/up"), Ok(b"both".to_vec()));
    assert_eq!(f.text("deep/./er/../er/file"), Ok(b"made on the way".to_vec()));
    assert_eq!(f.mode("/bin/one"), Ok(s::S_IFREG | 0o755));
    assert_eq!(f.text("/node"), Ok(Vec::new()));
    assert_eq!(f.names("/bin"), [&b"."[..], b"..", b"one", b"two"]);
    // Only what was opened has become an object.
    assert_eq!(f.world.store.objects(), 2);
}

#[test]
fn writing_changes_a_copy() {
    let image = image();
    let mut f = Fixture::new(&image, Console::Streams);
    let file = f.open("/bin/one", o::O_RDWR | o::O_APPEND).expect("the file");
    assert_eq!(f.write(file, b" names"), Ok(6));
    assert_eq!(f.text("/bin/two"), Ok(b"both names".to_vec()));
    assert_eq!(f.world.store.image(), image);
}

#[test]
fn a_later_archive_replaces_files_and_keeps_links() {
    let mut all = image();
    all.extend_from_slice(&[0; 64]);
    let overlay = ArchiveBuilder::default()
        .dir("sbin")
        .file("sbin/three", b"3")
        .file("bin/one", b"new")
        .finish();
    all.extend_from_slice(&overlay);
    let mut f = Fixture::new(&all, Console::Streams);
    assert_eq!(f.text("/bin/three"), Ok(b"3".to_vec()));
    assert_eq!(f.text("/bin/one"), Ok(b"new".to_vec()));
    // The other name of the replaced file keeps its bytes.
    assert_eq!(f.text("/bin/two"), Ok(b"both".to_vec()));
    assert_eq!(f.mode("/sbin").map(|mode| mode & s::S_IFMT), Ok(s::S_IFLNK));
}

#[test]
fn what_does_not_fit_is_named() {
    let load = |image: Vec<u8>, limits: Limits| {
        let mut world = World::default();
        Vfs::new(limits).load_image(&mut world, &image, &[b"secret"]).map_err(|e| e.fault)
    };
    let clash = ArchiveBuilder::default().dir("a").file("a", b"").finish();
    assert_eq!(load(clash, Limits::default()), Err(CpioFault::NotAdded));
    let empty = ArchiveBuilder::default().link("l", "").finish();
    assert_eq!(load(empty, Limits::default()), Err(CpioFault::BadTarget));
    let few = Limits { inodes: 3, ..Limits::default() };
    assert_eq!(load(image(), few), Err(CpioFault::NotAdded));
    let hidden = ArchiveBuilder::default().file("secret", b"x").file("a", b"yz").finish();
    let loaded = load(hidden, Limits::default()).expect("a good image");
    assert_eq!((loaded.members, loaded.bytes), (1, 2));
}

#[test]
fn a_full_memory_is_an_error() {
    let mut f = Fixture::new(&[], Console::Streams);
    f.world.store.room = 10;
    let file = f.open("/tmp/x", o::O_RDWR | o::O_CREAT).expect("a file");
    assert_eq!(f.write(file, &[0; 11]), Err(Stop::Error(Errno::ENOSPC)));
    assert_eq!(f.write(file, &[1; 10]), Ok(10));
    assert_eq!(f.text("/tmp/x"), Ok([1; 10].to_vec()));
}

#[test]
fn devices_read_and_write() {
    let mut f = Fixture::new(&[], Console::Streams);
    let full = f.open("/dev/full", o::O_RDWR).expect("the device");
    assert_eq!(f.write(full, b"x"), Err(Stop::Error(Errno::ENOSPC)));
    let random = f.open("/dev/urandom", 0).expect("the device");
    let mut out = [0; 3];
    let caller = caller_as(&f.view, 0);
    let read = f.vfs.read(&mut f.world, &caller, random, Place::Position, &mut out, Patience::Left);
    assert_eq!((read, out), (Ok(3), [0x5a; 3]));
    assert_eq!(f.open("/dev/tty", o::O_RDWR), Err(Errno::ENXIO));
    f.vfs.control_terminal(10, 10);
    assert!(f.open("/dev/tty", o::O_RDWR).is_ok());
}

#[test]
fn streams_wait_and_end() {
    let mut f = Fixture::new(&[], Console::Streams);
    let [input, output, error] = f.vfs.open_standard(&mut f.world).expect("three files");
    assert_eq!(f.read(input), Err(Stop::wait(WaitKey::InputReadable)));
    f.vfs.host_input(b"abc");
    assert!(f.vfs.take_wakes().contains(&WaitKey::InputReadable));
    f.vfs.host_input_closed();
    assert_eq!((f.read(input), f.vfs.take_consumed()), (Ok(b"abc".to_vec()), 3));
    assert_eq!(f.write(output, &[b'x'; 70_000]), Ok(65_536));
    assert_eq!(f.write(output, b"y"), Err(Stop::wait(WaitKey::OutputWritable)));
    let sent = f.vfs.pending_output(maize_hal::OutputStream::Stdout).len();
    f.vfs.output_sent(maize_hal::OutputStream::Stdout, sent);
    assert_eq!(f.write(output, b"y"), Ok(1));
    f.vfs.host_output_closed(maize_hal::OutputStream::Stderr);
    assert_eq!(f.write(error, b"z"), Err(Stop::BrokenPipe));
    assert!(!f.vfs.is_drained());
}

#[test]
fn the_terminal_is_one_file() {
    let size = WindowSize { rows: 24, cols: 80 };
    let mut f = Fixture::new(&[], Console::Terminal(size));
    let [input, output, error] = f.vfs.open_standard(&mut f.world).expect("a file");
    assert_eq!((input, output), (output, error));
    assert_eq!(f.vfs.path_of(input), b"/dev/console");
    f.vfs.host_input(b"hi\n");
    assert_eq!(f.vfs.take_consumed(), 3);
    assert_eq!(f.vfs.pending_output(maize_hal::OutputStream::Stdout), b"hi\r\n");
    let mut out = [0; 9];
    let caller = caller_as(&f.view, 0);
    let read = f.vfs.read(&mut f.world, &caller, input, Place::Position, &mut out, Patience::Left);
    assert_eq!((read, &out[..3]), (Ok(3), &b"hi\n"[..]));
}

#[test]
fn pipes_end_with_their_ends() {
    let mut f = Fixture::new(&[], Console::Streams);
    let caller = caller_as(&f.view, 0);
    let (read, write) = f.vfs.make_pipe(&mut f.world, &caller, 0).expect("a pipe");
    assert_eq!(f.write(write, b"x"), Ok(1));
    f.vfs.hold(write).expect("it is open");
    f.vfs.release(&mut f.world, write);
    // A second holder of the write end is left: the reader has to wait behind the byte.
    assert!(matches!(f.read(read), Err(Stop::Wait { key: WaitKey::PipeReadable(_), .. })));
    f.vfs.release(&mut f.world, write);
    assert_eq!(f.read(read), Ok(Vec::new()));
    f.vfs.release(&mut f.world, read);
    assert_eq!((f.vfs.pipes.len(), f.vfs.pipe_bytes), (0, 0));
}

#[test]
fn a_named_pipe_waits_for_its_other_end() {
    let mut f = Fixture::new(&[], Console::Streams);
    let caller = caller_as(&f.view, 0);
    let what = crate::MakeNode::Fifo;
    let made = f.vfs.make_node(&mut f.world, &caller, (At::Cwd, b"/tmp/p"), what, 0o644);
    made.expect("a named pipe");
    let reader = f.open("/tmp/p", o::O_RDONLY).expect("an end");
    let waits = f.vfs.finish_open(reader);
    assert!(matches!(waits, Err(Stop::Wait { key: WaitKey::PipeOpened(_), .. })));
    let writer = f.open("/tmp/p", o::O_WRONLY).expect("the other end");
    assert_eq!(f.vfs.finish_open(writer), Ok(()));
    // The writer may be gone again before the reader looks.
    f.vfs.release(&mut f.world, writer);
    assert_eq!(f.vfs.finish_open(reader), Ok(()));
    assert_eq!(f.read(reader), Ok(Vec::new()));
}

#[test]
fn proc_has_linux_formats() {
    let mut f = Fixture::new(&image(), Console::Streams);
    f.world.task.name = b"a)b".to_vec();
    f.world.task.state = 'S';
    f.world.task.parent = 1;
    (f.world.task.group, f.world.task.session) = (10, 10);
    f.world.areas.push(crate::Area {
        start: 0x40_0000,
        end: 0x40_1000,
        access: [true, false, true],
        identity: (2, 7),
        name: b"/bin/one".to_vec(),
        ..crate::Area::default()
    });
    let text = |f: &mut Fixture, path: &str| {
        let text = f.text(path).unwrap_or_else(|stop| panic!("{path}: {stop:?}"));
        alloc::string::String::from_utf8_lossy(&text).into_owned()
    };
    let stat = text(&mut f, "/proc/self/stat");
    assert!(stat.starts_with("10 (a)b) S 1 10 10 0 -1 0 "), "{stat}");
    assert_eq!(stat.rsplit(") ").next().map(|rest| rest.split(' ').count()), Some(50));
    assert_eq!(
        text(&mut f, "/proc/10/maps"),
        "00400000-00401000 r-xp 00000000 00:02 7                                  /bin/one\n"
    );
    let smaps = text(&mut f, "/proc/10/smaps");
    let head = "Size:                  4 kB\nKernelPageSize:        4 kB\n";
    assert!(smaps.contains(head) && smaps.ends_with("VmFlags: rd ex\n"), "{smaps}");
    assert!(smaps.contains("\nPrivate_Clean:         4 kB\n"), "{smaps}");
    let rollup = text(&mut f, "/proc/10/smaps_rollup");
    let head =
        "00400000-00401000 ---p 00000000 00:00 0                                  [rollup]\nRss: ";
    assert!(
        rollup.starts_with(head) && rollup.ends_with("Locked:                0 kB\n"),
        "{rollup}"
    );
    assert!(
        rollup.contains("\nPss_File:              4 kB\nPss_Shmem:             0 kB\n"),
        "{rollup}"
    );
    assert_eq!(f.text("/proc/10/cmdline"), Ok(b"sh\0-c\0\xff\0".to_vec()));
    assert_eq!(text(&mut f, "/proc/10/task/11/comm"), "a)b\n");
    assert_eq!(text(&mut f, "/proc/maize/faults"), "read 1\n");
    let cpuinfo = text(&mut f, "/proc/cpuinfo");
    assert!(cpuinfo.starts_with("processor\t: 0\nvendor_id\t: Maize\n"), "{cpuinfo}");
    let mounts = text(&mut f, "/proc/mounts");
    assert!(mounts.starts_with("tmpfs / tmpfs rw,relatime 0 0\nproc /proc proc "), "{mounts}");
    let table = text(&mut f, "/proc/self/mountinfo");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "20 1 0:2 / / rw,relatime - tmpfs tmpfs rw");
    let device =
        |path: &str| lines.iter().find(|line| line.contains(path)).unwrap().split(' ').next();
    let shared = lines.iter().find(|line| line.contains(" /dev/shm ")).unwrap();
    assert_eq!(shared.split(' ').nth(1), device(" /dev "), "{table}");
    for path in ["/proc/99/stat", "/proc/10/task/12", "/proc/010", "/proc/+10", "/proc/10/fd/0"] {
        assert_eq!(f.text(path), Err(Stop::Error(Errno::ENOENT)), "{path}");
    }
    assert_eq!(f.open("/proc/x", o::O_CREAT | o::O_WRONLY), Err(Errno::ENOENT));
    assert_eq!(f.read_link("/proc/self"), Ok(b"10".to_vec()));
    assert!(f.names("/proc").ends_with(&[b"10".to_vec(), b"12".to_vec(), b"2000".to_vec()]));
}

#[test]
fn descriptors_are_links_in_proc() {
    let mut f = Fixture::new(&image(), Console::Streams);
    let file = f.open("/bin/one", 0).expect("the file");
    let entry = Descriptor { file, close_on_exec: false };
    f.world.table.install(0, 16, entry).expect("room");
    assert_eq!(f.read_link("/proc/self/fd/0"), Ok(b"/bin/one".to_vec()));
    let caller = caller_as(&f.view, 0);
    let (from, to) = ((At::Cwd, &b"/bin/one"[..]), (At::Cwd, &b"/moved"[..]));
    assert_eq!(f.vfs.rename(&mut f.world, &caller, from, to, 0), Ok(()));
    assert_eq!(f.read_link("/dev/fd/0"), Ok(b"/moved".to_vec()));
    let caller = caller_as(&f.view, 0);
    assert_eq!(f.vfs.unlink(&mut f.world, &caller, At::Cwd, b"/moved"), Ok(()));
    assert_eq!(f.read_link("/dev/stdin"), Ok(b"/proc/self/fd/0".to_vec()));
    assert_eq!(f.read_link("/proc/self/fd/0"), Ok(b"/moved (deleted)".to_vec()));
    // A descriptor leads to what is open even when that has no name any more.
    assert_eq!(f.text("/proc/10/fd/0"), Ok(b"both".to_vec()));
    f.world.executable = Some(file);
    let exe = f.open("/proc/self/exe", o::O_PATH).expect("the program");
    assert_eq!(f.vfs.path_of(exe), b"/moved (deleted)");
    assert_eq!(f.mode("/proc/10").map(|mode| mode & s::S_IFMT), Ok(s::S_IFDIR));
}

#[test]
fn permissions_hold_for_others_than_the_superuser() {
    let mut f = Fixture::new(&image(), Console::Streams);
    let open = |f: &mut Fixture, path: &str, flags: u32| {
        let how = OpenHow { flags, mode: 0o644, ..OpenHow::READ };
        let caller = caller_as(&f.view, 1000);
        f.vfs.open(&mut f.world, &caller, At::Cwd, path.as_bytes(), how)
    };
    assert!(open(&mut f, "/bin/one", 0).is_ok());
    assert_eq!(open(&mut f, "/bin/one", o::O_WRONLY), Err(Errno::EACCES));
    assert_eq!(open(&mut f, "/new", o::O_CREAT), Err(Errno::EACCES));
    assert!(open(&mut f, "/tmp/mine", o::O_CREAT).is_ok());
    f.open("/tmp/roots", o::O_CREAT | o::O_WRONLY).expect("a file");
    let caller = caller_as(&f.view, 1000);
    // The sticky bit: whoever may write the directory still removes only what is its own.
    let unlink = f.vfs.unlink(&mut f.world, &caller, At::Cwd, b"/tmp/roots");
    assert_eq!(unlink, Err(Errno::EPERM));
    assert_eq!(f.vfs.unlink(&mut f.world, &caller, At::Cwd, b"/tmp/mine"), Ok(()));
    let target = Target::Path(At::Cwd, b"/bin/one", Follow::Yes);
    assert_eq!(f.vfs.chmod(&mut f.world, &caller, target, 0o777), Err(Errno::EPERM));
}

proptest! {
    #[test]
    fn no_image_breaks_the_tree(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
    ) {
        let mut image = image();
        for (at, value) in flips {
            let at = at.index(image.len());
            image[at] = value;
        }
        let mut world = World::default();
        let mut vfs = Vfs::new(Limits::default());
        // A bad image has a named error, or loads something else; the tree works either way.
        let _ = vfs.load_image(&mut world, &image, &[]);
        let mounted = vfs.mount_standard(&mut world);
        prop_assert!(matches!(mounted, Ok(()) | Err(Errno::ENOTDIR | Errno::ELOOP | Errno::ENOENT)));
        let view = vfs.initial_view(0);
        let caller = caller_as(&view, 0);
        let made = vfs.make_directory(&mut world, &caller, At::Cwd, b"/proof", 0o755);
        prop_assert!(matches!(made, Ok(()) | Err(Errno::EEXIST)));
    }
}
