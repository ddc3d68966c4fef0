//! `memcpy`, `memmove` and `memset`.
//!
//! Those of `compiler_builtins` use string instructions. Most of what a kernel copies is a few words, and
//! for these they take long to start; under emulation they also cost as much for each word as a jump. They made up a
//! quarter of a remote system call.
#![allow(unsafe_code, reason = "assembly")]

use core::arch::global_asm;

global_asm!(include_str!("memory_functions.s"), options(att_syntax));

// The names that the compiler calls. Nobody else's are linked then.
#[cfg(target_os = "none")]
global_asm!(
    ".globl memcpy",
    ".set memcpy, maize_memcpy",
    ".globl memmove",
    ".set memmove, maize_memmove",
    ".globl memset",
    ".set memset, maize_memset",
);

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    unsafe extern "C" {
        fn maize_memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
        fn maize_memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
        fn maize_memset(to: *mut u8, byte: i32, len: usize) -> *mut u8;
    }

    /// Longer than what goes without a loop, and than two turns of every loop.
    const LENGTHS: usize = 150;

    fn numbered(count: usize) -> Vec<u8> {
        (0..count).map(|n| (n % 251) as u8 + 1).collect()
    }

    #[test]
    fn every_length_is_copied_and_nothing_else() {
        let from = numbered(LENGTHS);
        for len in 0..=LENGTHS {
            let mut to = alloc::vec![0; LENGTHS + 2];
            let start = to[1..].as_mut_ptr();
            // SAFETY: `to` has `len` bytes from 1 on, `from` as many.
            let returned = unsafe { maize_memcpy(start, from.as_ptr(), len) };
            assert_eq!(returned, start);
            assert_eq!((&to[1..=len], to[0]), (&from[..len], 0));
            assert!(to[1 + len..].iter().all(|byte| *byte == 0), "{len}");
        }
    }

    #[test]
    fn every_length_is_moved_by_every_distance() {
        for len in 0..=LENGTHS {
            for (to, from) in (0..=LENGTHS).map(|n| (n, 70)) {
                let mut bytes = numbered(2 * LENGTHS);
                let mut moved = bytes.clone();
                bytes.copy_within(from..from + len, to);
                let start = moved.as_mut_ptr();
                // SAFETY: both ranges end before the vector does.
                unsafe { maize_memmove(start.add(to), start.add(from), len) };
                assert_eq!(bytes, moved, "{len} bytes from {from} to {to}");
            }
        }
    }

    #[test]
    fn every_length_is_filled() {
        for len in 0..=LENGTHS {
            let mut bytes = numbered(LENGTHS + 2);
            // SAFETY: `bytes` has `len` bytes from 1 on.
            unsafe { maize_memset(bytes[1..].as_mut_ptr(), 0x1ff, len) };
            let mut wanted = numbered(LENGTHS + 2);
            wanted[1..=len].fill(0xff);
            assert_eq!(bytes, wanted, "{len}");
        }
    }
}
