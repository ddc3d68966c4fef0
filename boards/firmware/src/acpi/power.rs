//! Power off, reset and the PM timer: FADT, and `\_S5` of the DSDT.

use super::table::Table;
use super::{Register, RegisterSpace};
use crate::physical::Fields;
use crate::{FirmwareError, PhysicalMemory};

/// FADT flags.
const RESET_REGISTER: u32 = 1 << 10;
const TIMER_32_BITS: u32 = 1 << 8;
const HARDWARE_REDUCED: u32 = 1 << 20;

/// Sleep type in the PM1 control register.
const SLEEP_TYPE_SHIFT: u16 = 10;
/// Sleep enable in the PM1 control register.
const SLEEP_ENABLE: u16 = 1 << 13;

/// How to power off: a 16-bit word to one or two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerOff {
    /// PM1a control register's port and the word for it.
    pub pm1a: (u16, u16),
    /// PM1b control register's, if there is one.
    pub pm1b: Option<(u16, u16)>,
}

/// How to reset: a byte to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetRegister {
    /// The register.
    pub register: Register,
    /// What is written there.
    pub value: u8,
}

/// The power-management timer: 3.579545 MHz, read with a 32-bit access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PmTimer {
    /// Its port.
    pub port: u16,
    /// Bits it counts with: 24 or 32.
    pub bits: u32,
}

pub(super) struct Power {
    pub(super) off: Option<PowerOff>,
    pub(super) reset: Option<ResetRegister>,
    pub(super) timer: Option<PmTimer>,
}

impl Power {
    pub(super) fn read(memory: &impl PhysicalMemory, fadt: &Table) -> Result<Power, FirmwareError> {
        // ACPI 1.0's table ends here; what is behind reads as zero there.
        let mut fields = [0; 148];
        fields[..116].copy_from_slice(&fadt.fields::<116>(memory)?);
        if fadt.len >= 148 {
            fields = fadt.fields(memory)?;
        }
        let f = Fields(&fields);
        let flags = f.u32(112);
        let reset = (flags & RESET_REGISTER != 0)
            .then(|| Register::parse(&f, 116))
            .flatten()
            .map(|register| ResetRegister { register, value: f.u8(128) });
        let port = |at: usize| u16::try_from(f.u32(at)).ok().filter(|port| *port != 0);
        let timer = port(76)
            .map(|port| PmTimer { port, bits: if flags & TIMER_32_BITS != 0 { 32 } else { 24 } });
        let dsdt = match f.u64(140) {
            0 => f.u32(40).into(),
            wide => wide,
        };
        let mut off = None;
        if flags & HARDWARE_REDUCED == 0
            && dsdt != 0
            && let Some(pm1a) = port(64)
        {
            let dsdt = Table::open(memory, dsdt, "DSDT")?.expect(b"DSDT")?;
            off = sleep_types(memory, &dsdt)?.map(|[a, b]| {
                let word = |kind: u8| u16::from(kind) << SLEEP_TYPE_SHIFT | SLEEP_ENABLE;
                PowerOff { pm1a: (pm1a, word(a)), pm1b: port(68).map(|port| (port, word(b))) }
            });
        }
        Ok(Power { off, reset, timer })
    }
}

/// The two sleep types of `Name (_S5, Package () {…})`.
///
/// The DSDT is byte code; running it for one constant would need an interpreter. The package has the
/// same few bytes on every machine, so they are looked for.
fn sleep_types(
    memory: &impl PhysicalMemory,
    dsdt: &Table,
) -> Result<Option<[u8; 2]>, FirmwareError> {
    const NAME: &[u8; 4] = b"_S5_";
    let mut window = [0_u8; 4];
    let mut offset = 0_u32;
    let mut found = None;
    dsdt.for_each_piece(memory, |piece| {
        for byte in piece {
            window.rotate_left(1);
            window[3] = *byte;
            offset += 1;
            if window == *NAME && found.is_none() {
                found = Some(offset);
            }
        }
    })?;
    let Some(at) = found else { return Ok(None) };
    let len = (dsdt.len - at).min(16);
    let mut code = [0_u8; 16];
    for (i, byte) in (0..len).zip(code.iter_mut()) {
        [*byte] = dsdt.bytes(memory, at + i)?;
    }
    Ok(package(&code))
}

/// The first two integers of the package that `code` begins with, if they fit a sleep type.
fn package(code: &[u8; 16]) -> Option<[u8; 2]> {
    const PACKAGE: u8 = 0x12;
    let mut code = code.iter().copied();
    if code.next()? != PACKAGE {
        return None;
    }
    // The length's first byte says in two bits how many more there are.
    for _ in 0..code.next()? >> 6 {
        code.next()?;
    }
    if code.next()? < 2 {
        return None;
    }
    let mut integer = || {
        const BYTE: u8 = 0x0a;
        const ONES: u8 = 0xff;
        let value = match code.next()? {
            byte @ (0 | 1) => byte,
            BYTE => code.next()?,
            ONES => 7,
            _ => return None,
        };
        (value <= 7).then_some(value)
    };
    Some([integer()?, integer()?])
}

impl Register {
    /// Its port number, if it is a port.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        if self.space == RegisterSpace::Port { u16::try_from(self.address).ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::package;

    fn with(bytes: &[u8]) -> [u8; 16] {
        let mut code = [0x55; 16];
        code[..bytes.len()].copy_from_slice(bytes);
        code
    }

    #[test]
    fn sleep_types_in_every_encoding() {
        // q35: Package (4) { Zero, Zero, Zero, Zero }
        assert_eq!(package(&with(&[0x12, 6, 4, 0, 0, 0, 0])), Some([0, 0]));
        assert_eq!(package(&with(&[0x12, 8, 4, 0x0a, 5, 0x0a, 7, 0, 0])), Some([5, 7]));
        assert_eq!(package(&with(&[0x12, 0x47, 0, 4, 1, 0x0a, 2, 0])), Some([1, 2]));
        assert_eq!(package(&with(&[0x12, 8, 4, 0x0a, 8, 0])), None, "no sleep type");
        assert_eq!(package(&with(&[0x12, 6, 1, 0, 0])), None, "one element");
        assert_eq!(package(&with(&[0x14, 6, 4, 0, 0])), None, "a method");
    }
}
