//! The PL011 that shows the kernel's log.

use core::ptr::NonNull;

use arm_pl011_uart::{PL011Registers, Uart};
use safe_mmio::UniqueMmioPointer;
use spin::Mutex;

static UART: Mutex<Option<Uart<'static>>> = Mutex::new(None);

/// Opens the console. The firmware has set the line up; QEMU's needs nothing.
///
/// # Safety
/// `registers` are a PL011's, mapped as device memory for good, and nothing else uses them.
#[allow(unsafe_code, reason = "device registers")]
pub(crate) unsafe fn open(registers: NonNull<u8>) {
    // SAFETY: the caller's.
    let registers = unsafe { UniqueMmioPointer::new(registers.cast::<PL011Registers>()) };
    *UART.lock() = Some(Uart::new(registers));
}

/// Writes to the console and waits until the device has taken every byte. Writes nothing before
/// the console is open, or from a panic inside this function.
pub(crate) fn write(bytes: &[u8]) {
    let Some(mut uart) = UART.try_lock() else { return };
    let Some(uart) = uart.as_mut() else { return };
    for byte in bytes {
        // A device that never empties its FIFO must not stop the kernel: the byte is lost then.
        let mut patience = 1_000_000_u32;
        while uart.is_tx_fifo_full() && patience > 0 {
            patience -= 1;
        }
        uart.write_word(*byte);
    }
}
