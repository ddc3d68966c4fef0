//! Ending the machine.
#![allow(unsafe_code, reason = "power ports")]

use maize_arch_x86_64::{FAILED, ports};
use maize_firmware::{AcpiTables, PowerOff};
use maize_platform::End;
use spin::Once;

/// QEMU's debug exit device: a byte `v` ends the emulator with status `2 v + 1`.
const DEBUG_EXIT: u16 = 0xf4;

/// The byte that makes the status [`FAILED`].
const DEBUG_EXIT_FAILED: u32 = (FAILED as u32 - 1) / 2;

/// The keyboard controller's way to reset, which every PC has.
const KEYBOARD_COMMAND: u16 = 0x64;
const KEYBOARD_RESET: u8 = 0xfe;

#[derive(Clone, Copy, Debug)]
struct Ways {
    off: Option<PowerOff>,
    reset: Option<(u16, u8)>,
}

static WAYS: Once<Ways> = Once::new();

/// Remembers how firmware says that the machine is turned off.
pub(crate) fn learn(tables: &AcpiTables) {
    WAYS.call_once(|| Ways {
        off: tables.power_off,
        reset: tables.reset.and_then(|r| Some((r.register.port()?, r.value))),
    });
}

/// Ends the machine: success is powering off, failure the debug exit's status. Where the wanted way
/// is missing the machine is reset, which ends an emulator that was told not to start again.
pub(crate) fn end(how: End) -> ! {
    let ways = WAYS.get().copied().unwrap_or(Ways { off: None, reset: None });
    // SAFETY: these ports turn the machine off or reset it, or belong to nobody; none of them makes
    // anything write to memory.
    unsafe {
        match how {
            End::Failed => ports::write_u32(DEBUG_EXIT, DEBUG_EXIT_FAILED),
            End::Done => {
                if let Some(PowerOff { pm1a, pm1b }) = ways.off {
                    ports::write_u16(pm1a.0, pm1a.1);
                    if let Some((port, value)) = pm1b {
                        ports::write_u16(port, value);
                    }
                }
            }
        }
        if let Some((port, value)) = ways.reset {
            ports::write_u8(port, value);
        }
        ports::write_u8(KEYBOARD_COMMAND, KEYBOARD_RESET);
    }
    ports::stop()
}
