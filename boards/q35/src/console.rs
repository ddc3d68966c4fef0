//! The 16550 that shows the kernel's log.
#![allow(unsafe_code, reason = "a device at fixed ports")]

use spin::mutex::SpinMutex;
use uart_16550::backend::PioBackend;
use uart_16550::{BaudRate, Config, Uart16550};

/// The first serial port of every PC.
const COM1: u16 = 0x3f8;

static UART: SpinMutex<Option<Uart16550<PioBackend>>> = SpinMutex::new(None);

/// Opens the console if there is one.
pub(crate) fn open() {
    // SAFETY: these ports are a serial line's or nobody's, and only this driver uses them.
    let Ok(mut uart) = (unsafe { Uart16550::new_port(COM1) }) else { return };
    let config = Config { baud_rate: BaudRate::Baud115200, ..Config::DEFAULT };
    if uart.init(config).is_ok() {
        *UART.lock() = Some(uart);
    }
}

/// Uses the console that the machine's first instance has opened, as it is.
pub(crate) fn join() {
    // SAFETY: as in `open`; siblings write in turns.
    if let Ok(uart) = unsafe { Uart16550::new_port(COM1) } {
        *UART.lock() = Some(uart);
    }
}

/// Writes to the console and returns when the device has every byte. Writes nothing before the
/// console is open, or from a panic inside this function.
pub(crate) fn write(mut bytes: &[u8]) {
    let Some(mut uart) = UART.try_lock() else { return };
    let Some(uart) = uart.as_mut() else { return };
    // A device that never takes anything must not stop the kernel: the rest is lost then.
    let mut patience = 1_000_000_u32;
    while !bytes.is_empty() && patience > 0 {
        let sent = uart.send_bytes(bytes);
        bytes = bytes.get(sent..).unwrap_or_default();
        patience = if sent == 0 { patience - 1 } else { 1_000_000 };
    }
}
