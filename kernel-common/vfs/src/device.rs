//! Devices that are no more than a way of reading and writing.

use maize_abi::Errno;

use crate::caller::Surroundings;

/// A memory device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Null,
    Zero,
    Full,
    Random,
}

/// What a device number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Memory(Device),
    /// The terminal that controls the caller's session.
    ControllingTerminal,
    Console,
    /// Opens a new pseudo-terminal.
    Multiplexer,
    /// The pseudo-terminal of this number.
    Pseudo(u32),
}

/// The major number of pseudo-terminals.
pub(crate) const PSEUDO_MAJOR: u32 = 136;

/// What the device of this number is, if it is here.
pub(crate) const fn device_kind(major: u32, minor: u32) -> Option<DeviceKind> {
    Some(match (major, minor) {
        (1, 3) => DeviceKind::Memory(Device::Null),
        (1, 5) => DeviceKind::Memory(Device::Zero),
        (1, 7) => DeviceKind::Memory(Device::Full),
        (1, 8 | 9) => DeviceKind::Memory(Device::Random),
        (5, 0) => DeviceKind::ControllingTerminal,
        (5, 1) => DeviceKind::Console,
        (5, 2) => DeviceKind::Multiplexer,
        (PSEUDO_MAJOR, number) => DeviceKind::Pseudo(number),
        _ => return None,
    })
}

/// The devices that `/dev` shows: name, permissions, number.
pub(crate) const DEVICES: &[(&str, u32, (u32, u32))] = &[
    ("null", 0o666, (1, 3)),
    ("zero", 0o666, (1, 5)),
    ("full", 0o666, (1, 7)),
    ("random", 0o666, (1, 8)),
    ("urandom", 0o666, (1, 9)),
    ("tty", 0o666, (5, 0)),
    ("console", 0o600, (5, 1)),
    ("ptmx", 0o666, (5, 2)),
];

impl Device {
    pub(crate) fn read(self, env: &mut dyn Surroundings, out: &mut [u8]) -> usize {
        match self {
            Device::Null => return 0,
            Device::Zero | Device::Full => out.fill(0),
            Device::Random => env.random(out),
        }
        out.len()
    }

    /// # Errors
    /// `ENOSPC` if it is always full.
    pub(crate) const fn write(self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Device::Full if !bytes.is_empty() => Err(Errno::ENOSPC),
            _ => Ok(bytes.len()),
        }
    }
}
