//! The ACPI tables that a kernel with one core and no drivers of firmware's needs: FADT (power off,
//! reset, PM timer), MADT (cores), MCFG (PCI configuration space), HPET, and of the DSDT the one
//! package that says how to power off.

mod power;
mod table;

use heapless::Vec;

use crate::physical::{Fields, PhysRange, bytes};
use crate::{FirmwareError, PhysicalMemory};
use table::Table;

pub use power::{PmTimer, PowerOff, ResetRegister};

/// Most cores that are listed.
pub const MAX_CORES: usize = 256;

/// Most entries of a root table that are looked at.
const MAX_TABLES: u32 = 128;

/// Where a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterSpace {
    /// In memory.
    Memory,
    /// Among the I/O ports.
    Port,
}

/// A register of firmware's ("generic address").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Where it is.
    pub space: RegisterSpace,
    /// Address or port number, never 0.
    pub address: u64,
}

impl Register {
    /// The generic address at byte `at`, `None` if it is empty or in a space nobody can reach here.
    fn parse(fields: &Fields<'_>, at: usize) -> Option<Register> {
        let address = fields.u64(at + 4);
        let space = match fields.u8(at) {
            0 => RegisterSpace::Memory,
            1 if address <= u64::from(u16::MAX) => RegisterSpace::Port,
            _ => return None,
        };
        (address != 0).then_some(Register { space, address })
    }
}

/// PCI configuration space of consecutive buses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcamRange {
    /// Physical address of the first bus's space.
    pub address: u64,
    /// The first bus.
    pub first_bus: u8,
    /// How many buses, 1 to 256, of 1 MiB each.
    pub buses: u16,
}

/// The high-precision event timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hpet {
    /// Physical address of its registers.
    pub address: u64,
}

/// What the tables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiTables {
    /// Local APIC ids of the cores that can run.
    pub cores: Vec<u32, MAX_CORES>,
    /// Physical address of the local APIC's registers.
    pub local_apic: u64,
    /// Configuration space of PCI segment 0.
    pub ecam: Option<EcamRange>,
    /// How to power off.
    pub power_off: Option<PowerOff>,
    /// How to reset.
    pub reset: Option<ResetRegister>,
    /// The power-management timer.
    pub pm_timer: Option<PmTimer>,
    /// The high-precision event timer.
    pub hpet: Option<Hpet>,
}

impl AcpiTables {
    /// Reads the tables that the root pointer at physical address `rsdp` leads to.
    ///
    /// # Errors
    /// [`FirmwareError`] if the root, the FADT or the MADT is missing, or any table that is used is
    /// not as it should be.
    pub fn read(memory: &impl PhysicalMemory, rsdp: u64) -> Result<AcpiTables, FirmwareError> {
        let root = Root::find(memory, rsdp)?;
        let fadt = root.table(memory, b"FACP")?.ok_or(FirmwareError::Missing("FADT"))?;
        let madt = root.table(memory, b"APIC")?.ok_or(FirmwareError::Missing("MADT"))?;
        let (local_apic, cores) = madt_cores(memory, &madt)?;
        let power = power::Power::read(memory, &fadt)?;
        let ecam = match root.table(memory, b"MCFG")? {
            Some(mcfg) => segment_zero(memory, &mcfg)?,
            None => None,
        };
        let hpet = match root.table(memory, b"HPET")? {
            Some(table) => {
                let fields: [u8; 56] = table.fields(memory)?;
                let register = Register::parse(&Fields(&fields), 40);
                let register = register.filter(|r| r.space == RegisterSpace::Memory);
                register.map(|r| Hpet { address: r.address })
            }
            None => None,
        };
        Ok(AcpiTables {
            cores,
            local_apic,
            ecam,
            power_off: power.off,
            reset: power.reset,
            pm_timer: power.timer,
            hpet,
        })
    }
}

/// The root table: RSDT or XSDT.
struct Root {
    table: Table,
    entry_len: u32,
}

impl Root {
    fn find(memory: &impl PhysicalMemory, rsdp: u64) -> Result<Root, FirmwareError> {
        const WHAT: &str = "ACPI root pointer";
        let first: [u8; 20] = bytes(memory, rsdp, WHAT)?;
        if !first.starts_with(b"RSD PTR ") {
            return Err(FirmwareError::Signature(WHAT));
        }
        if first.iter().fold(0, |sum: u8, b| sum.wrapping_add(*b)) != 0 {
            return Err(FirmwareError::Checksum(WHAT));
        }
        let first = Fields(&first);
        if first.u8(15) >= 2 {
            let all: [u8; 36] = bytes(memory, rsdp, WHAT)?;
            if all.iter().fold(0, |sum: u8, b| sum.wrapping_add(*b)) != 0 {
                return Err(FirmwareError::Checksum(WHAT));
            }
            let xsdt = Fields(&all).u64(24);
            if xsdt != 0 {
                let table = Table::open(memory, xsdt, "XSDT")?.expect(b"XSDT")?;
                return Ok(Root { table, entry_len: 8 });
            }
        }
        let table = Table::open(memory, first.u32(16).into(), "RSDT")?.expect(b"RSDT")?;
        Ok(Root { table, entry_len: 4 })
    }

    /// The first table with `signature`, checked.
    fn table(
        &self,
        memory: &impl PhysicalMemory,
        signature: &'static [u8; 4],
    ) -> Result<Option<Table>, FirmwareError> {
        let what = core::str::from_utf8(signature).unwrap_or("ACPI table");
        let count = (self.table.len - table::HEADER_LEN) / self.entry_len;
        if count > MAX_TABLES {
            return Err(FirmwareError::TooMany("ACPI tables"));
        }
        for index in 0..count {
            let at = self.table.address + u64::from(table::HEADER_LEN + index * self.entry_len);
            let address = if self.entry_len == 8 {
                u64::from_le_bytes(bytes(memory, at, "XSDT")?)
            } else {
                u32::from_le_bytes(bytes(memory, at, "RSDT")?).into()
            };
            let found: [u8; 4] = bytes(memory, address, "ACPI table")?;
            if found == *signature {
                return Table::open(memory, address, what)?.expect(signature).map(Some);
            }
        }
        Ok(None)
    }
}

/// Reads the MADT: address of the local APIC, ids of the cores that are enabled or may be.
fn madt_cores(
    memory: &impl PhysicalMemory,
    madt: &Table,
) -> Result<(u64, Vec<u32, MAX_CORES>), FirmwareError> {
    const LOCAL_APIC: u8 = 0;
    const LOCAL_APIC_ADDRESS: u8 = 5;
    const LOCAL_X2APIC: u8 = 9;
    const ENABLED: u32 = 1;
    let fields: [u8; 44] = madt.fields(memory)?;
    let mut local_apic = u64::from(Fields(&fields).u32(36));
    let mut cores = Vec::new();
    let mut at = 44;
    while at < madt.len {
        let head: [u8; 2] = madt.bytes(memory, at)?;
        let len = u32::from(head[1]);
        if len < 2 || len > madt.len - at {
            return Err(FirmwareError::Length { what: "MADT entry", len: len.into() });
        }
        let core = match head[0] {
            LOCAL_APIC if len >= 8 => {
                let entry: [u8; 8] = madt.bytes(memory, at)?;
                let entry = Fields(&entry);
                (entry.u32(4) & ENABLED != 0).then(|| entry.u8(3).into())
            }
            LOCAL_X2APIC if len >= 16 => {
                let entry: [u8; 16] = madt.bytes(memory, at)?;
                let entry = Fields(&entry);
                (entry.u32(8) & ENABLED != 0).then(|| entry.u32(4))
            }
            LOCAL_APIC_ADDRESS if len >= 12 => {
                let entry: [u8; 12] = madt.bytes(memory, at)?;
                local_apic = Fields(&entry).u64(4);
                None
            }
            _ => None,
        };
        if let Some(id) = core {
            cores.push(id).map_err(|_| FirmwareError::TooMany("cores"))?;
        }
        at += len;
    }
    if cores.is_empty() {
        return Err(FirmwareError::Missing("enabled core in the MADT"));
    }
    Ok((local_apic, cores))
}

/// Reads the MCFG: configuration space of segment 0.
fn segment_zero(
    memory: &impl PhysicalMemory,
    mcfg: &Table,
) -> Result<Option<EcamRange>, FirmwareError> {
    let mut at = 44;
    while at < mcfg.len {
        let entry: [u8; 16] = mcfg.bytes(memory, at)?;
        let entry = Fields(&entry);
        let (address, first, last) = (entry.u64(0), entry.u8(10), entry.u8(11));
        if entry.u16(8) == 0 {
            let buses = u16::from(last.saturating_sub(first)) + 1;
            let len = u64::from(buses) << 20;
            // The address is that of bus 0, whether it is in the range or not.
            let start = address.checked_add(u64::from(first) << 20);
            let range = start.and_then(|start| PhysRange::new(start, len));
            return match range {
                Some(range) if first <= last && address.is_multiple_of(1 << 20) => {
                    Ok(Some(EcamRange { address: range.start, first_bus: first, buses }))
                }
                _ => Err(FirmwareError::Range { what: "ECAM", start: address, len }),
            };
        }
        at += 16;
    }
    Ok(None)
}
