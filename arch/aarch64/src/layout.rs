//! The kernel's virtual addresses (TTBR1, 48 bits).
//!
//! | from | what | attributes |
//! |---|---|---|
//! | [`DIRECT_BASE`] | RAM at physical address + base | Normal write-back, never executable |
//! | [`DEVICE_BASE`] | device registers at physical address + base | Device, never executable |
//! | [`IMAGE_BASE`] | the kernel image, wherever in RAM it was loaded | code RX, constants R, data RW |
//!
//! The three never overlap for physical addresses under [`PHYSICAL_LIMIT`]. RAM under the image's
//! code and constants is not in the direct map, so nothing is both writable and executable.

/// Virtual address of physical address 0 in the direct map of RAM.
pub const DIRECT_BASE: u64 = 0xffff_0000_0000_0000;

/// Virtual address of physical address 0 among device registers.
pub const DEVICE_BASE: u64 = DIRECT_BASE + PHYSICAL_LIMIT;

/// First physical address that neither map reaches.
pub const PHYSICAL_LIMIT: u64 = 1 << 46;

/// Virtual address of the image's first byte, as the board's linker script has it.
pub const IMAGE_BASE: u64 = 0xffff_ffff_8000_0000;

/// Largest image, from its first byte to the end of its stack: what the boot page tables hold.
pub const IMAGE_LIMIT: u64 = 16 << 20;

const _: () = assert!(DEVICE_BASE + PHYSICAL_LIMIT <= IMAGE_BASE);
const _: () = assert!(IMAGE_LIMIT.is_multiple_of(2 << 20));
