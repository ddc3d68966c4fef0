//! The start of a program.
//!
//! Soundness: the kernel's initial stack is laid out as the ABI says; it is copied to the data stack,
//! where it has the same addresses on every instruction set.

use crate::arch;
use crate::carried;
use crate::drive::{Begin, drive};
use crate::handlers::RESERVED;
use crate::image::{self, THREAD, THREAD_BYTES};
use crate::records::ThreadBlock;
use crate::thread;
use crate::trial::{LEFT, MIGRATE, Plan, RESUME};

unsafe extern "C" {
    /// The program's own entry: the address of its arguments, to its exit status.
    fn __maize_entry(arguments: *const u64) -> i32;
}

/// A string of the initial stack, without its zero.
fn string(pointer: u64) -> &'static [u8] {
    // SAFETY: the kernel ends its strings with zero.
    unsafe { core::ffi::CStr::from_ptr(pointer as *const core::ffi::c_char) }.to_bytes()
}

/// The words of the initial stack: count, arguments, environment, auxiliary pairs.
struct Initial(*const u64);

impl Initial {
    fn word(&self, index: usize) -> u64 {
        // SAFETY: callers stop at the zeros that the ABI puts between the parts.
        unsafe { self.0.add(index).read() }
    }

    fn environment(&self) -> usize {
        self.word(0) as usize + 2
    }

    fn value(&self, name: &[u8]) -> Option<&'static [u8]> {
        (self.environment()..)
            .map(|index| self.word(index))
            .take_while(|pointer| *pointer != 0)
            .find_map(|pointer| string(pointer).strip_prefix(name))
    }
}

/// Auxiliary entries that hold an address of a string or of bytes: `AT_RANDOM`, `AT_EXECFN`,
/// `AT_PLATFORM`.
const RANDOM: u64 = 25;
const EXECUTED: u64 = 31;
/// Entries that speak of one instruction set: its capabilities and its vDSO.
const PRIVATE: [u64; 9] = [15, 16, 24, 26, 29, 33, 51, 27, 28];

struct Stack(u64);

impl Stack {
    fn push_bytes(&mut self, bytes: &[u8]) -> u64 {
        self.0 -= bytes.len() as u64;
        // SAFETY: the data stack has room for what the kernel's own stack held.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0 as *mut u8, bytes.len()) };
        self.0
    }

    fn push_string(&mut self, pointer: u64) -> u64 {
        let bytes = string(pointer);
        self.0 -= 1;
        // SAFETY: as above.
        unsafe { (self.0 as *mut u8).write(0) };
        self.push_bytes(bytes)
    }
}

/// Copies the initial stack to the data stack; its new address. What the runtime was told by the
/// environment is left out.
fn copy_arguments(initial: &Initial, top: u64) -> u64 {
    let mut stack = Stack(top);
    let arguments = initial.word(0) as usize;
    let mut environment = 0;
    while initial.word(initial.environment() + environment) != 0 {
        environment += 1;
    }
    let pairs = initial.environment() + environment + 1;
    let mut auxiliary = 0;
    while initial.word(pairs + 2 * auxiliary) != 0 {
        auxiliary += 1;
    }
    let words = 1 + arguments + 1 + environment + 1 + 2 * (auxiliary + 1);
    // Strings first, as they lie above; then the words, which are found by counting.
    let strings: usize = (1..pairs - 1)
        .map(|index| initial.word(index))
        .filter(|pointer| *pointer != 0)
        .map(|pointer| string(pointer).len() + 1)
        .sum();
    let below = stack.0 - strings as u64 - 4096 - 16;
    let base = (below - 8 * words as u64) & !15;
    let mut next = base as *mut u64;
    let mut put = |word: u64| {
        // SAFETY: there is room for every word between `base` and the strings.
        unsafe {
            next.write(word);
            next = next.add(1);
        }
    };
    put(arguments as u64);
    for index in 1..=arguments {
        put(stack.push_string(initial.word(index)));
    }
    put(0);
    for index in 0..environment {
        let pointer = initial.word(initial.environment() + index);
        let text = string(pointer);
        if !text.starts_with(MIGRATE) && !text.starts_with(RESUME) {
            put(stack.push_string(pointer));
        }
    }
    put(0);
    for index in 0..auxiliary {
        let (kind, value) = (initial.word(pairs + 2 * index), initial.word(pairs + 2 * index + 1));
        if PRIVATE.contains(&kind) {
            continue;
        }
        put(kind);
        put(match kind {
            RANDOM => {
                // SAFETY: the kernel gives 16 bytes there.
                let bytes = unsafe { core::slice::from_raw_parts(value as *const u8, 16) };
                stack.push_bytes(bytes)
            }
            EXECUTED => stack.push_string(value),
            _ => value,
        });
    }
    put(0);
    put(0);
    base
}

#[unsafe(no_mangle)]
extern "C" fn maize_start(words: *const u64) -> ! {
    let initial = Initial(words);
    image::map_thread();
    let plan = initial.value(MIGRATE).and_then(Plan::parse).unwrap_or(Plan::Stay);
    let begin = match initial.value(RESUME) {
        Some(path) => {
            image::load(path);
            Begin::Records
        }
        None => begin(&initial),
    };
    thread::arm(match plan {
        Plan::Stay => 0,
        Plan::InPlace { every } => every,
        Plan::Leave { after, .. } => after,
    });
    let status = drive(begin, &mut || {
        if let Plan::Leave { file, .. } = plan {
            image::save(file);
            arch::exit(LEFT);
        }
        carried::leave();
    });
    arch::exit(status as i32)
}

fn begin(initial: &Initial) -> Begin {
    let end = THREAD + THREAD_BYTES;
    let block = end - 4096;
    let arguments = copy_arguments(initial, block);
    let first = ThreadBlock {
        this: block,
        data_stack: arguments,
        record_head: 0,
        record_top: THREAD + RESERVED,
        saving: 0,
        record_limit: image::RECORD_LIMIT,
        record_base: THREAD + RESERVED,
        native: 0,
    };
    // SAFETY: the memory was mapped for it.
    unsafe { (block as *mut ThreadBlock).write(first) };
    arch::set_thread_pointer(block);
    Begin::Call(__maize_entry as *const () as u64, arguments)
}
