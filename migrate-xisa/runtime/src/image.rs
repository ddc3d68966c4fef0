//! A thread's state and its program's memory as files: how a trial carries them to another process.
//!
//! The memory file is a list of extents, each an address and a length in 64-bit words, ended by a
//! length of zero; then their bytes in the same order.
//!
//! Soundness: extents are what the kernel says is mapped and what this program mapped itself; a state
//! of another link is refused before anything of it is used.

use core::sync::atomic::{AtomicU64, Ordering};

use maize_xisa_metadata::container::{Kind, header, payload};
use maize_xisa_metadata::{BuildId, ThreadState};

use crate::arch::{self, native_syscall};
use crate::carried::is_carried;
use crate::records::ThreadBlock;
use crate::syscall::{
    BRK, CLOSE, EXIT, GETTID, MMAP, MREMAP, OPENAT, READ, RT_SIGACTION, RT_SIGPROCMASK,
    SIGALTSTACK, WRITE,
};
use crate::{fatal, handlers, thread};

unsafe extern "C" {
    static __maize_data_start: u8;
    static __maize_data_end: u8;
    static __maize_build_id: u8;
}

/// Memory of the first thread: the process's signal actions, records from there up, the data stack from
/// the end down.
pub(crate) const THREAD: u64 = 0x1_0000_0000;
/// Its bytes.
pub(crate) const THREAD_BYTES: u64 = 64 << 20;
/// Where its records must end.
pub(crate) const RECORD_LIMIT: u64 = THREAD + THREAD_BYTES / 4;
/// Where a trial puts what a program maps.
const MAPPED: u64 = 0x20_0000_0000;
/// Most bytes of a sealed state, without the records.
const STATE_BYTES: usize = 512;

/// First free address for what a program maps.
static NEXT: AtomicU64 = AtomicU64::new(MAPPED);

const ENOMEM: i64 = -12;
const PAGE: u64 = 4096;
const READ_WRITE: u64 = 3;
const PRIVATE_ANONYMOUS: u64 = 0x22;
const FIXED: u64 = 0x10;
const NO_RESERVE: u64 = 0x4000;

/// Maps the first thread's memory, with a page between its records and its data stack that faults.
pub(crate) fn map_thread() {
    map(THREAD, THREAD_BYTES);
    let arguments = [RECORD_LIMIT, PAGE, 0, PRIVATE_ANONYMOUS | FIXED, u64::MAX, 0];
    native_syscall(u64::from(MMAP), arguments);
}

/// Maps zeroed memory at an address.
pub(crate) fn map(address: u64, bytes: u64) {
    let flags = PRIVATE_ANONYMOUS | FIXED | NO_RESERVE;
    let arguments = [address, bytes, READ_WRITE, flags, u64::MAX, 0];
    if native_syscall(u64::from(MMAP), arguments) != address as i64 {
        fatal("the program's memory could not be mapped");
    }
}

/// A system call of the program. What it maps goes where it can be on every instruction set: a kernel
/// that carries threads sees to that itself.
pub(crate) fn program_syscall(number: u64, mut arguments: [u64; 6]) -> i64 {
    let carried = is_carried();
    if !carried && number == u64::from(MMAP) && arguments[0] == 0 && arguments[3] & FIXED == 0 {
        let bytes = arguments[1].next_multiple_of(PAGE);
        arguments[0] = NEXT.fetch_add(bytes, Ordering::Relaxed);
        arguments[3] |= FIXED;
    }
    if number == u64::from(RT_SIGACTION) {
        return handlers::action(arguments);
    }
    if number == u64::from(RT_SIGPROCMASK) {
        return crate::masks::of_program(arguments);
    }
    if number == u64::from(SIGALTSTACK) {
        return handlers::alternate_stack(arguments);
    }
    if !carried && number == u64::from(MREMAP) && arguments[2] > arguments[1].next_multiple_of(PAGE)
    {
        return ENOMEM; // It would grow into what is mapped next: the C library copies instead.
    }
    if number == u64::from(EXIT) {
        crate::clone::exit(0, 0);
    }
    if number == u64::from(BRK) {
        return 0; // No heap but what is mapped: its place would differ.
    }
    arch::program_syscall(number, arguments)
}

fn build_id() -> BuildId {
    let mut id = [0; 16];
    // SAFETY: the note is loaded; its bytes follow a header of 12 and a name of 4.
    unsafe {
        let note = (&raw const __maize_build_id).add(16);
        core::ptr::copy_nonoverlapping(note, id.as_mut_ptr(), id.len());
    }
    BuildId(id)
}

struct File(i64);

impl File {
    fn open(path: &[u8], flags: u64) -> Option<Self> {
        let mut name = [0_u8; 4096];
        name.get_mut(..path.len()).filter(|place| place.len() < 4096)?.copy_from_slice(path);
        const HERE: u64 = -100_i64 as u64;
        let arguments = [HERE, name.as_ptr() as u64, flags, 0o644, 0, 0];
        let file = native_syscall(u64::from(OPENAT), arguments);
        (file >= 0).then_some(Self(file))
    }

    fn read(&self, bytes: &mut [u8]) -> Option<usize> {
        let arguments = [self.0 as u64, bytes.as_mut_ptr() as u64, bytes.len() as u64, 0, 0, 0];
        usize::try_from(native_syscall(u64::from(READ), arguments)).ok()
    }

    fn read_all(&self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            match self.read(bytes) {
                Some(count) if count > 0 => bytes = bytes.get_mut(count..).unwrap_or_default(),
                _ => fatal("the state is cut short"),
            }
        }
    }

    fn write(&self, bytes: &[u8]) {
        if !arch::write(self.0 as i32, bytes) {
            fatal("the state cannot be written");
        }
    }
}

impl File {
    /// Writes memory of the program. Pages that the program has given back, or that it may not read,
    /// are zeros.
    fn write_memory(&self, start: u64, bytes: u64) {
        const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];
        let (mut at, end) = (start, start + bytes);
        // Page by page: an emulator refuses the whole of what it cannot read all of.
        while at < end {
            let next = ((at & !(PAGE - 1)) + PAGE).min(end);
            let arguments = [self.0 as u64, at, next - at, 0, 0, 0];
            match u64::try_from(native_syscall(u64::from(WRITE), arguments)) {
                Ok(written) if written > 0 => at += written,
                _ => {
                    self.write(ZEROS.get(..(next - at) as usize).unwrap_or(&ZEROS));
                    at = next;
                }
            }
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        native_syscall(u64::from(CLOSE), [self.0 as u64, 0, 0, 0, 0, 0]);
    }
}

/// O_WRONLY, O_CREAT, O_TRUNC.
const CREATE: u64 = 0o1101;

/// Extents of the program's memory: its data, its thread's, and what it has mapped.
fn extents() -> [(u64, u64); 4] {
    let block = thread::block();
    let (data, data_end) =
        (&raw const __maize_data_start as u64, &raw const __maize_data_end as u64);
    let stack = block.data_stack & !(PAGE - 1);
    [
        (data, data_end - data),
        (THREAD, block.record_top - THREAD),
        (stack, THREAD + THREAD_BYTES - stack),
        (MAPPED, NEXT.load(Ordering::Relaxed) - MAPPED),
    ]
}

fn memory_name<'b>(path: &[u8], name: &'b mut [u8; 4096]) -> Option<&'b [u8]> {
    let suffix = b".memory";
    let length = path.len() + suffix.len();
    let place = name.get_mut(..length)?;
    place.get_mut(..path.len())?.copy_from_slice(path);
    place.get_mut(path.len()..)?.copy_from_slice(suffix);
    name.get(..length)
}

/// Maps zeroed memory anywhere.
pub(crate) fn map_anywhere(bytes: u64) -> Option<u64> {
    let arguments = [0, bytes, READ_WRITE, PRIVATE_ANONYMOUS | NO_RESERVE, u64::MAX, 0];
    u64::try_from(native_syscall(u64::from(MMAP), arguments)).ok()
}

/// Writes the running thread, whose frames are records, and its program's memory.
pub(crate) fn save(path: &[u8]) {
    if crate::clone::threads_were_made() {
        fatal("a program of several threads cannot leave");
    }
    let ThreadBlock { this, data_stack, record_head, record_top, record_base, .. } =
        *thread::block();
    // SAFETY: the records are the thread's memory, and nothing changes them here.
    let records = unsafe {
        core::slice::from_raw_parts(record_base as *const u8, (record_top - record_base) as usize)
    };
    let state = ThreadState::<&[u8]> {
        build_id: build_id(),
        source: arch::ISA,
        thread: native_syscall(u64::from(GETTID), [0; 6]) as u64,
        thread_pointer: this,
        data_stack,
        record_head,
        record_base,
        records,
        fpu: arch::fpu(),
        signals: handlers::state(),
    };
    // The state is as large as the records: it is encoded in memory above them.
    let room = (records.len() + STATE_BYTES) as u64;
    if record_top + room > thread::block().record_limit {
        fatal("a thread's records leave no room to save them");
    }
    // SAFETY: from the top to the limit there is memory of this thread that holds nothing.
    let buffer = unsafe { core::slice::from_raw_parts_mut(record_top as *mut u8, room as usize) };
    let Ok(encoded) = postcard::to_slice(&state, buffer) else { fatal("a state is too large") };
    let Some(file) = File::open(path, CREATE) else { fatal("the state cannot be created") };
    file.write(&header(Kind::ThreadState, encoded));
    file.write(encoded);
    let mut name = [0; 4096];
    let memory = memory_name(path, &mut name).and_then(|name| File::open(name, CREATE));
    let Some(memory) = memory else { fatal("the memory cannot be created") };
    for (address, bytes) in extents() {
        memory.write(&address.to_le_bytes());
        memory.write(&bytes.to_le_bytes());
    }
    memory.write(&[0; 16]);
    for (address, bytes) in extents() {
        memory.write_memory(address, bytes);
    }
}

/// Reads a state and its program's memory, and makes the thread the running one.
pub(crate) fn load(path: &[u8]) {
    let mut name = [0; 4096];
    let memory = memory_name(path, &mut name).and_then(|name| File::open(name, 0));
    let Some(memory) = memory else { fatal("the memory of the state cannot be opened") };
    let mut list = [(0_u64, 0_u64); 16];
    for (number, place) in list.iter_mut().enumerate() {
        let mut words = [0; 16];
        memory.read_all(&mut words);
        let word = u128::from_le_bytes(words);
        *place = (word as u64, (word >> 64) as u64);
        if *place == (0, 0) {
            break;
        }
        if number == 15 {
            fatal("the memory of the state has too many extents");
        }
    }
    let data = &raw const __maize_data_start as u64;
    for (address, bytes) in list.into_iter().take_while(|extent| *extent != (0, 0)) {
        match address {
            MAPPED if bytes > 0 => {
                map(address, bytes);
                NEXT.store(MAPPED + bytes, Ordering::Relaxed);
            }
            MAPPED => {}
            _ if address == data => {}
            _ if (THREAD..=THREAD + THREAD_BYTES).contains(&address) => {}
            _ => fatal("the memory of the state does not fit this program"),
        }
        // SAFETY: each kind of extent has been found to be memory of the program.
        memory.read_all(unsafe {
            core::slice::from_raw_parts_mut(address as *mut u8, bytes as usize)
        });
    }
    load_state(path);
}

fn load_state(path: &[u8]) {
    // The thread's memory above its records and the page after them is free.
    let scratch = (RECORD_LIMIT + PAGE) as *mut u8;
    let most = THREAD_BYTES / 8;
    // SAFETY: memory of this thread that holds nothing yet.
    let buffer = unsafe { core::slice::from_raw_parts_mut(scratch, most as usize) };
    let Some(file) = File::open(path, 0) else { fatal("the state cannot be opened") };
    let mut length = 0;
    while let Some(count) = file.read(buffer.get_mut(length..).unwrap_or_default()) {
        if count == 0 {
            break;
        }
        length += count;
    }
    let sealed = buffer.get(..length).unwrap_or_default();
    let Ok(encoded) = payload(Kind::ThreadState, sealed) else { fatal("the state is damaged") };
    let Ok(state) = postcard::from_bytes::<ThreadState<&[u8]>>(encoded) else {
        fatal("the state does not decode")
    };
    if state.build_id != build_id() {
        fatal("the state is of another build of the program");
    }
    let fpu = state.fpu;
    let (pointer, head) = (state.thread_pointer, state.record_head);
    arch::set_thread_pointer(pointer);
    if thread::block().this != pointer || thread::block().record_head != head {
        fatal("the memory is not that of the state");
    }
    arch::set_fpu(fpu);
    handlers::resume(state.signals.blocked);
}
