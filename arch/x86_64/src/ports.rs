//! I/O ports that the boards need: debug exit, power, the old interrupt controllers.
#![allow(unsafe_code, reason = "port I/O")]

use x86_64::instructions::port::Port;

/// Writes a byte to a port.
///
/// # Safety
/// The port belongs to a device for which that is harmless to the kernel's memory.
pub unsafe fn write_u8(port: u16, value: u8) {
    // SAFETY: the caller's.
    unsafe { Port::new(port).write(value) }
}

/// Writes 16 bits to a port.
///
/// # Safety
/// As [`write_u8`].
pub unsafe fn write_u16(port: u16, value: u16) {
    // SAFETY: the caller's.
    unsafe { Port::new(port).write(value) }
}

/// Writes 32 bits to a port.
///
/// # Safety
/// As [`write_u8`].
pub unsafe fn write_u32(port: u16, value: u32) {
    // SAFETY: the caller's.
    unsafe { Port::new(port).write(value) }
}

/// Reads 32 bits from a port.
///
/// # Safety
/// As [`write_u8`], of reading.
#[must_use]
pub unsafe fn read_u32(port: u16) -> u32 {
    // SAFETY: the caller's.
    unsafe { Port::new(port).read() }
}

/// Silences the two 8259 interrupt controllers, which firmware leaves with a running timer.
pub fn mask_legacy_interrupts() {
    const DATA: [u16; 2] = [0x21, 0xa1];
    for port in DATA {
        // SAFETY: these ports are the controllers' mask registers on every PC; all lines masked.
        unsafe { write_u8(port, 0xff) }
    }
}

/// Stops the core for good.
pub fn stop() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
