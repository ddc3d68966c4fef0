//! A kernel that breaks in the way its command line says: what it shows and how the machine ends is
//! what the tests look at.
#![cfg_attr(target_os = "none", no_std, no_main)]

/// On the host there is no machine to run.
#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod breaks {
    #![allow(unsafe_code, reason = "breaks the kernel on purpose")]

    use core::hint::black_box;

    use maize_arch_x86_64::layout::DIRECT_MAP;
    use maize_arch_x86_64::{BootInfo, image as parts};
    use maize_platform::{End, end};
    use maize_q35::{bring_up, open};

    #[unsafe(no_mangle)]
    extern "C" fn maize_main(start_info: u64, image: u64, entered_at: u64) -> ! {
        // SAFETY: first of all, once.
        unsafe { open() }
        // SAFETY: the entry code's own values, once.
        let board = unsafe { bring_up(&BootInfo { start_info, image, entered_at }, None) };
        let Ok(board) = board else { end(End::Failed) };
        log::info!("image at {image:#x}, {} free ranges", board.free.len());
        let free = board.free.first().map_or(0, |range| range.start.address());
        match &board.command_line[..] {
            b"write-text" => write(parts().text),
            b"write-rodata" => write(parts().rodata),
            b"text-alias" => write(DIRECT_MAP + image),
            b"execute-data" => execute(DIRECT_MAP + free),
            b"execute-low" => execute(free),
            b"overflow" => drop(overflow(0)),
            b"guard" => write(parts().guard),
            b"write-direct" => {
                write(DIRECT_MAP + free);
                log::info!("written");
                end(End::Done)
            }
            _ => end(End::Done),
        }
        log::error!("nothing broke");
        end(End::Done)
    }

    #[inline(never)]
    fn write(address: u64) {
        // SAFETY: none: this is to fault, or to write free memory.
        unsafe { (address as *mut u8).write_volatile(0xc3) }
    }

    fn execute(address: u64) {
        // SAFETY: none: this is to fault.
        unsafe { core::mem::transmute::<u64, extern "C" fn()>(address)() }
    }

    #[allow(unconditional_recursion, reason = "until the stack's end")]
    fn overflow(depth: u64) -> u64 {
        let frame = black_box([depth; 64]);
        overflow(frame[0] + 1) + black_box(frame)[1]
    }
}
