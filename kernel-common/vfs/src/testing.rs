//! What tests of this crate stand on: a page store in a map, archives, and a small world.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use maize_abi::capability::CapabilitySet;
use maize_abi::file::s;
use maize_abi::ipc::Permissions;
use maize_abi::message_queue::MsqidDs;
use maize_abi::semaphore::SemidDs;
use maize_abi::shm::ShmidDs;
use maize_abi::signal::SignalSet;
use maize_hal::Nanos;
use maize_mm::{AreaUsage, ObjectId, PageStore, StoreError};

use crate::{
    Area, Caller, Console, FdTable, FileId, Job, Limits, ProcSource, Surroundings, System, Task,
    Vfs, View,
};

/// Objects as vectors of bytes.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    image: Vec<u8>,
    objects: BTreeMap<ObjectId, (Vec<u8>, u32)>,
    next: u64,
    /// Bytes that writes may still add.
    pub(crate) room: usize,
}

/// Objects of this size are sparse on a real store; here they would take the host's memory.
const LARGEST: u64 = 1 << 24;

impl MemoryStore {
    fn add(&mut self, bytes: Vec<u8>) -> ObjectId {
        let id = ObjectId { home: 0, serial: self.next };
        self.next += 1;
        self.objects.insert(id, (bytes, 1));
        id
    }

    pub(crate) fn objects(&self) -> usize {
        self.objects.len()
    }

    pub(crate) fn image(&self) -> &[u8] {
        &self.image
    }

    fn get(&mut self, object: ObjectId) -> Result<&mut (Vec<u8>, u32), StoreError> {
        self.objects.get_mut(&object).ok_or(StoreError::NoObject)
    }
}

impl PageStore for MemoryStore {
    fn create(&mut self, len: u64) -> Result<ObjectId, StoreError> {
        if len > LARGEST {
            return Err(StoreError::TooLarge);
        }
        Ok(self.add(alloc::vec![0; len as usize]))
    }

    fn create_from_image(&mut self, start: u64, len: u64) -> Result<ObjectId, StoreError> {
        let (start, len) = (start as usize, len as usize);
        let bytes = self.image.get(start..start + len).ok_or(StoreError::TooLarge)?.to_vec();
        Ok(self.add(bytes))
    }

    fn len(&self, object: ObjectId) -> Result<u64, StoreError> {
        let (bytes, _) = self.objects.get(&object).ok_or(StoreError::NoObject)?;
        Ok(bytes.len() as u64)
    }

    fn resident_pages(&self, object: ObjectId) -> Result<u64, StoreError> {
        Ok(self.len(object)?.div_ceil(4096))
    }

    fn read(&mut self, object: ObjectId, at: u64, out: &mut [u8]) -> Result<usize, StoreError> {
        let (bytes, _) = self.get(object)?;
        let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write(&mut self, object: ObjectId, at: u64, bytes: &[u8]) -> Result<usize, StoreError> {
        if at + bytes.len() as u64 > LARGEST {
            return Err(StoreError::TooLarge);
        }
        let room = self.room;
        let (old, _) = self.get(object)?;
        let (at, end) = (at as usize, at as usize + bytes.len());
        let growth = end.saturating_sub(old.len());
        if growth > room {
            return Err(StoreError::OutOfMemory);
        }
        old.resize(old.len().max(end), 0);
        old[at..end].copy_from_slice(bytes);
        self.room -= growth;
        Ok(bytes.len())
    }

    fn truncate(&mut self, object: ObjectId, len: u64) -> Result<(), StoreError> {
        if len > LARGEST {
            return Err(StoreError::TooLarge);
        }
        self.get(object)?.0.resize(len as usize, 0);
        Ok(())
    }

    fn retain(&mut self, object: ObjectId) -> Result<(), StoreError> {
        self.get(object)?.1 += 1;
        Ok(())
    }

    fn release(&mut self, object: ObjectId) {
        if let Some((_, references)) = self.objects.get_mut(&object) {
            *references -= 1;
            if *references == 0 {
                self.objects.remove(&object);
            }
        }
    }
}

/// The rest of the kernel, as far as a test needs it: process 10 with threads 10 and 11, in
/// session 10, and process group 20 in the same session.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) now: u64,
    pub(crate) table: FdTable,
    pub(crate) view: Option<View>,
    pub(crate) executable: Option<FileId>,
    pub(crate) task: Task,
    pub(crate) system: System,
    pub(crate) areas: Vec<Area>,
}

pub(crate) const PID: u32 = 10;

impl Surroundings for World {
    fn store(&mut self) -> &mut dyn PageStore {
        &mut self.store
    }

    fn proc(&self) -> &dyn ProcSource {
        self
    }

    fn wall_clock(&self) -> Nanos {
        Nanos(self.now)
    }

    fn random(&mut self, out: &mut [u8]) {
        out.fill(0x5a);
    }
}

impl ProcSource for World {
    fn processes(&self) -> Vec<u32> {
        alloc::vec![PID, 12, 2000]
    }

    fn threads(&self, pid: u32) -> Vec<u32> {
        if pid == PID { alloc::vec![PID, 11] } else { alloc::vec![pid] }
    }

    fn task(&self, pid: u32, tid: u32) -> Option<Task> {
        self.threads(pid).contains(&tid).then(|| self.task.clone())
    }

    fn descriptors(&self, pid: u32) -> Option<&FdTable> {
        (pid == PID).then_some(&self.table)
    }

    fn view(&self, pid: u32) -> Option<&View> {
        self.view.as_ref().filter(|_| pid == PID)
    }

    fn executable(&self, pid: u32) -> Option<FileId> {
        self.executable.filter(|_| pid == PID)
    }

    fn arguments(&self, _: u32) -> Vec<u8> {
        b"sh\0-c\0\xff\0".to_vec()
    }

    fn environment(&self, _: u32) -> Vec<u8> {
        b"A=1\0".to_vec()
    }

    fn auxiliary_vector(&self, _: u32) -> Vec<u8> {
        alloc::vec![0; 16]
    }

    fn areas(&self, _: u32, from: u64, most: usize) -> Vec<Area> {
        let areas = self.areas.iter().filter(|area| area.start >= from);
        areas.take(most).cloned().collect()
    }

    fn areas_in_use(&self, pid: u32, from: u64, most: usize) -> Vec<(Area, AreaUsage)> {
        let usage = AreaUsage { private_clean: 4096, proportional: 4096, ..AreaUsage::default() };
        self.areas(pid, from, most).into_iter().map(|area| (area, usage)).collect()
    }

    fn limits(&self, _: u32) -> [(u64, u64); 16] {
        [(1024, u64::MAX); 16]
    }

    fn session_of_group(&self, group: u32) -> Option<u32> {
        match group {
            10 | 20 => Some(10),
            30 => Some(30),
            _ => None,
        }
    }

    fn system(&self) -> System {
        self.system.clone()
    }

    fn segments(&self) -> Vec<(i32, ShmidDs, u64)> {
        let permissions = Permissions { key: -2, mode: 0o1600, ..Permissions::default() };
        let facts = ShmidDs { permissions, len: 5000, pids: [2, 3], ..ShmidDs::default() };
        alloc::vec![(1, facts, 4096)]
    }

    fn message_queues(&self) -> Vec<(i32, MsqidDs)> {
        let permissions =
            Permissions { key: 7, mode: 0o600, owner: (1, 2), ..Permissions::default() };
        let facts =
            MsqidDs { permissions, bytes: 9, count: 2, times: [3, 4, 5], ..MsqidDs::default() };
        alloc::vec![(32768, facts)]
    }

    fn semaphores(&self) -> Vec<(i32, SemidDs)> {
        alloc::vec![(0, SemidDs { count: 3, times: [1, 2], ..SemidDs::default() })]
    }

    fn cpus(&self) -> Vec<Vec<(&'static str, String)>> {
        alloc::vec![alloc::vec![("vendor_id", "Maize".into()), ("bogomips", "1.00".into())]; 2]
    }

    fn counters(&self) -> Vec<(&'static str, String)> {
        alloc::vec![("messages", "sent 3\n".into()), ("faults", "read 1\n".into())]
    }
}

/// A caller that is the superuser unless `uid` says otherwise.
pub(crate) fn caller_as(view: &View, uid: u32) -> Caller<'_> {
    let job = Job { group: PID, session: PID, ..Job::default() };
    let capabilities = if uid == 0 { CapabilitySet::ALL } else { CapabilitySet::EMPTY };
    Caller { pid: PID, tid: PID, uid, gid: uid, groups: &[], capabilities, view, job }
}

/// A tree with the standard file systems over an image.
pub(crate) fn with_image(image: &[u8], console: Console) -> (Vfs, World) {
    let mut world = World { now: 1_000_000_000, ..World::default() };
    world.store.room = 1 << 26;
    world.store.image = image.to_vec();
    let mut vfs = Vfs::new(Limits::default());
    vfs.set_console(console);
    vfs.load_image(&mut world, &image.to_vec(), &[]).expect("a good image");
    vfs.mount_standard(&mut world).expect("room for the standard directories");
    (vfs, world)
}

/// As [`with_image`] over no image, with a view for [`World::call`].
pub(crate) fn with_view() -> (Vfs, World) {
    let (mut vfs, mut world) = with_image(&[], Console::Streams);
    world.view = Some(vfs.initial_view(0o22));
    (vfs, world)
}

impl World {
    /// Does something as the superuser, with the world's view.
    pub(crate) fn call<R>(
        &mut self,
        vfs: &mut Vfs,
        f: impl FnOnce(&mut Vfs, &mut World, &Caller<'_>) -> R,
    ) -> R {
        let view = self.view.take().unwrap();
        let result = f(vfs, self, &caller_as(&view, 0));
        self.view = Some(view);
        result
    }
}

/// A tree with the standard file systems, and the rest of the kernel.
pub(crate) struct Fixture {
    pub(crate) vfs: Vfs,
    pub(crate) world: World,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        let (vfs, world) = with_view();
        Fixture { vfs, world }
    }

    /// Does something as the superuser.
    pub(crate) fn with<R>(&mut self, f: impl FnOnce(&mut Vfs, &mut World, &Caller<'_>) -> R) -> R {
        self.world.call(&mut self.vfs, f)
    }

    /// What a file is ready for.
    pub(crate) fn poll(&self, file: FileId) -> u16 {
        self.vfs.poll(file, SignalSet::EMPTY).unwrap()
    }

    pub(crate) fn close(&mut self, file: FileId) {
        self.vfs.release(&mut self.world, file);
    }
}

/// Attributes of a member that most tests do not care for.
pub(crate) struct MemberInfo {
    pub(crate) ino: u32,
    pub(crate) nlink: u32,
    pub(crate) rdev: (u32, u32),
}

pub(crate) const fn regular() -> MemberInfo {
    MemberInfo { ino: 0, nlink: 1, rdev: (0, 0) }
}

/// Builds `newc` archives.
#[derive(Default)]
pub(crate) struct ArchiveBuilder {
    bytes: Vec<u8>,
    next: u32,
}

impl ArchiveBuilder {
    pub(crate) fn file(self, name: &str, data: &[u8]) -> ArchiveBuilder {
        self.member(name, s::S_IFREG | 0o644, data, regular())
    }

    pub(crate) fn dir(self, name: &str) -> ArchiveBuilder {
        self.member(name, s::S_IFDIR | 0o755, b"", regular())
    }

    pub(crate) fn link(self, name: &str, target: &str) -> ArchiveBuilder {
        self.member(name, s::S_IFLNK | 0o777, target.as_bytes(), regular())
    }

    /// A member. An inode number of zero stands for one of its own.
    pub(crate) fn member(
        mut self,
        name: &str,
        mode: u32,
        data: &[u8],
        info: MemberInfo,
    ) -> ArchiveBuilder {
        self.next += 1;
        let ino = if info.ino == 0 { 0x1_0000 + self.next } else { info.ino };
        let (rmajor, rminor) = info.rdev;
        let (len, name_len) = (data.len() as u32, name.len() as u32 + 1);
        self.bytes.extend_from_slice(b"070701");
        for field in [ino, mode, 0, 0, info.nlink, 77, len, 0, 1, rmajor, rminor, name_len, 0] {
            self.bytes.extend_from_slice(alloc::format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.member("TRAILER!!!", 0, b"", regular()).bytes
    }
}
