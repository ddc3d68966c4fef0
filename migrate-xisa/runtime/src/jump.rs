//! `setjmp` and `longjmp`.
//!
//! A buffer names a frame by its anchor on the data stack, and the record of its `setjmp`, which the
//! frame keeps there too. So it means the same wherever the thread is. A jump saves every frame, as a
//! move does, with a record of its own on top: site zero, which no program has. Then it drops the
//! records down to the anchor's, and that `setjmp` is resumed with the jump's value as its result.
//! Frames that are records already are not saved again: a loop of jumps costs what it enters.
//!
//! Soundness: a buffer is one that `setjmp` filled in a frame that has not returned, which is what C
//! asks of its programs; records are the running thread's.

use crate::arch::Registers;
use crate::fatal;
use crate::records::ThreadBlock;
use crate::thread::block;
use crate::unwind::go_on;
use maize_xisa_metadata::record;

unsafe extern "C" {
    /// Whether a site's record begins with its frame's anchor.
    static __maize_anchored_sites: [u8; 0];
}

/// What a program's buffer holds.
#[derive(Clone, Copy)]
#[repr(C)]
struct JumpBuffer {
    anchor: u64,
    record: u64,
    data_stack: u64,
}

/// The values of a jump's own record.
#[derive(Clone, Copy)]
#[repr(C)]
struct Jump {
    to: JumpBuffer,
    value: u64,
}

const JUMP_SITE: u32 = 0;
/// The site of a record that stands for a frame without one; it lasts until the jump has landed.
const PASSED_SITE: u32 = u32::MAX - 1;
const JUMP_BYTES: u32 = record::HEADER_BYTES + size_of::<Jump>() as u32;
const _: () = assert!(JUMP_BYTES.is_multiple_of(record::ALIGNMENT));

/// Fills a buffer; its frame is saved already.
#[unsafe(no_mangle)]
extern "C" fn __maize_set_jump(buffer: u64, anchor: u64, record: u64) -> u32 {
    let filled = JumpBuffer { anchor, record, data_stack: block().data_stack };
    // SAFETY: the program's buffer is larger than this.
    unsafe { (buffer as *mut JumpBuffer).write(filled) };
    0
}

#[unsafe(no_mangle)]
extern "C" fn maize_long_jump(registers: &mut Registers) -> ! {
    let [buffer, value] = registers.arguments();
    // SAFETY: the buffer was filled by `setjmp`; the block has room for records.
    unsafe {
        let jump =
            Jump { to: (buffer as *const JumpBuffer).read(), value: u64::from(value as u32) };
        let at = begin(block(), JUMP_SITE, JUMP_BYTES);
        values(at).cast::<Jump>().write(jump);
    }
    go_on(registers)
}

fn values(record: u64) -> *mut u8 {
    (record + u64::from(record::HEADER_BYTES)) as *mut u8
}

/// # Safety
/// As for [`ThreadBlock::begin_record`].
unsafe fn begin(block: &mut ThreadBlock, site: u32, bytes: u32) -> u64 {
    // SAFETY: the caller's promise.
    match unsafe { block.begin_record(site, bytes) } {
        Ok(at) => at,
        Err(_) => fatal("a thread's frames do not fit into its records"),
    }
}

/// Stands for a frame that cannot be saved where it was interrupted.
pub(crate) fn pass_over() {
    // SAFETY: the block has room for records.
    unsafe { begin(block(), PASSED_SITE, record::HEADER_BYTES) };
}

/// The anchor of a record's frame, if it has one.
///
/// # Safety
/// There is a record of this site.
unsafe fn anchor_of(at: u64, site: u32) -> Option<u64> {
    if site == PASSED_SITE || site == record::SIGNAL_SITE {
        return None;
    }
    // SAFETY: there is a byte for each site of the program, and an anchor where it says so.
    unsafe {
        let anchored = (&raw const __maize_anchored_sites).cast::<u8>().add(site as usize);
        (anchored.read() != 0).then(|| values(at).cast::<u64>().read())
    }
}

/// Whether one of the records from `head` on is of a frame.
///
/// # Safety
/// The head is zero or a record that has been finished.
unsafe fn is_saved(mut head: u64, anchor: u64) -> bool {
    while head != 0 {
        let at = head as *const u8;
        // SAFETY: the caller's promise; each record names the next.
        unsafe {
            let site = at.add(record::SITE).cast::<u32>().read();
            if anchor_of(head, site) == Some(anchor) {
                return true;
            }
            head = at.add(record::PARENT).cast::<u64>().read();
        }
    }
    false
}

/// If the frames were saved for a jump, puts the frame that it goes back to on top of the records,
/// as its `setjmp` left it, and gives the value.
pub(crate) fn land() -> Option<u64> {
    let block = block();
    // SAFETY: the records have just been finished; the innermost is a jump's or a frame's. What is
    // copied lies on the data stack, in a frame that has not returned.
    unsafe {
        let head = block.record_head;
        if head == 0 || ((head as *const u8).add(record::SITE)).cast::<u32>().read() != JUMP_SITE {
            return None;
        }
        let jump = values(head).cast::<Jump>().read();
        block.pop();
        loop {
            let Some((at, site)) = block.pop() else {
                fatal("a jump to a function that has returned")
            };
            if anchor_of(at, site) == Some(jump.to.anchor) {
                break;
            }
            // Nothing is known of a frame that was left out, so it is the last that it can be.
            if site == PASSED_SITE && !is_saved(block.record_head, jump.to.anchor) {
                break;
            }
        }
        block.data_stack = jump.to.data_stack;
        let from = jump.to.record as *const u8;
        let word = |offset| from.add(offset).cast::<u32>().read();
        let (site, bytes) = (word(record::SITE), word(record::SIZE));
        let to = begin(block, site, bytes);
        let length = bytes - record::HEADER_BYTES;
        core::ptr::copy_nonoverlapping(
            from.add(record::HEADER_BYTES as usize),
            values(to),
            length as usize,
        );
        block.finish();
        Some(jump.value)
    }
}
