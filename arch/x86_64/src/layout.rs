//! Where things are in the kernel's half of the address space.
//!
//! | from | what |
//! |---|---|
//! | `0xffff_8000_0000_0000` | the direct map: RAM, at its physical address plus this, never executable |
//! | `0xffff_c000_0000_0000` | device registers, uncached, in the order in which they are asked for |
//! | `0xffff_ffff_8000_0000` | the kernel image: text, read-only data, data, each with its own rights |
//!
//! The image's own frames are not in the direct map, so no address makes its text writable.

/// Virtual address of physical address 0 in the direct map.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

/// First virtual address of device registers: one root-table entry's worth, 512 GiB.
pub const DEVICES: u64 = 0xffff_c000_0000_0000;

/// First virtual address behind device registers.
pub const DEVICES_END: u64 = DEVICES + (1 << 39);

/// First address that no user program has.
pub const USER_END: u64 = 1 << 47;

/// Whether the processor accepts `address`: bits 47 to 63 are equal.
#[must_use]
pub const fn is_canonical(address: u64) -> bool {
    let top = (address as i64) >> 47;
    top == 0 || top == -1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_addresses() {
        for good in [0, USER_END - 1, DIRECT_MAP, u64::MAX] {
            assert!(is_canonical(good), "{good:#x}");
        }
        for bad in [USER_END, DIRECT_MAP - 1, 1 << 63] {
            assert!(!is_canonical(bad), "{bad:#x}");
        }
    }
}
