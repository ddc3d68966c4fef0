//! Start information and ACPI tables laid out as q35's firmware does, read as they are and mutated.

use maize_firmware::{
    AcpiTables, EcamRange, FirmwareError, Hpet, PhysRange, PhysicalMemory, PmTimer, PowerOff,
    StartInfo,
};
use proptest::prelude::*;

const BASE: u64 = 0x1000;
const START_INFO: u64 = BASE;
const MODULES: u64 = BASE + 0x100;
const MEMORY_MAP: u64 = BASE + 0x200;
const COMMAND_LINE: u64 = BASE + 0x300;
const RSDP: u64 = BASE + 0x400;
const RSDT: u64 = BASE + 0x440;
const FADT: u64 = BASE + 0x500;
const DSDT: u64 = BASE + 0x600;
const MADT: u64 = BASE + 0x700;
const MCFG: u64 = BASE + 0x800;
const HPET: u64 = BASE + 0x900;
const LEN: usize = 0xa00;

/// Memory from `BASE` on; nothing else can be read.
#[derive(Clone)]
struct Image(Vec<u8>);

impl PhysicalMemory for Image {
    fn read(&self, address: u64, out: &mut [u8]) -> bool {
        let start = address.checked_sub(BASE).and_then(|at| usize::try_from(at).ok());
        let found = start.and_then(|at| self.0.get(at..at.checked_add(out.len())?));
        found.map(|bytes| out.copy_from_slice(bytes)).is_some()
    }
}

impl Image {
    fn put(&mut self, address: u64, bytes: &[u8]) {
        let at = (address - BASE) as usize;
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Writes a table with this body behind its header, and its checksum.
    fn table(&mut self, address: u64, signature: &[u8; 4], body: &[u8]) {
        let mut table = vec![0; 36];
        table[..4].copy_from_slice(signature);
        table[4..8].copy_from_slice(&(36 + body.len() as u32).to_le_bytes());
        table.extend_from_slice(body);
        table[9] = table.iter().fold(0, |sum: u8, b| sum.wrapping_sub(*b));
        self.put(address, &table);
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn image() -> Image {
    let mut image = Image(vec![0; LEN]);
    let mut info = [0; 56];
    put(&mut info, 0, &0x336e_c578_u32.to_le_bytes());
    put(&mut info, 4, &1_u32.to_le_bytes());
    put(&mut info, 12, &1_u32.to_le_bytes());
    for (at, address) in [(16, MODULES), (24, COMMAND_LINE), (32, RSDP), (40, MEMORY_MAP)] {
        put(&mut info, at, &address.to_le_bytes());
    }
    put(&mut info, 48, &2_u32.to_le_bytes());
    image.put(START_INFO, &info);
    image.put(MODULES, &[0x80_0000_u64, 0x1234, 0, 0].map(u64::to_le_bytes).concat());
    let ranges = [0, 0x9_fc00, 1, 0x10_0000, 0xfee_0000, 1_u64];
    image.put(MEMORY_MAP, &ranges.map(u64::to_le_bytes).concat());
    image.put(COMMAND_LINE, b"quiet\0");

    let mut rsdp = [0; 20];
    put(&mut rsdp, 0, b"RSD PTR ");
    put(&mut rsdp, 16, &(RSDT as u32).to_le_bytes());
    rsdp[8] = rsdp.iter().fold(0, |sum: u8, b| sum.wrapping_sub(*b));
    image.put(RSDP, &rsdp);
    let tables = [FADT, MADT, MCFG, HPET].map(|address| (address as u32).to_le_bytes());
    image.table(RSDT, b"RSDT", &tables.concat());

    // Offsets in the FADT count its header.
    let mut fadt = [0; 244];
    put(&mut fadt, 40, &(DSDT as u32).to_le_bytes());
    put(&mut fadt, 64, &0x604_u32.to_le_bytes());
    put(&mut fadt, 76, &0x608_u32.to_le_bytes());
    put(&mut fadt, 112, &0x500_u32.to_le_bytes());
    put(&mut fadt, 116, &[1, 8, 0, 1]);
    put(&mut fadt, 120, &0xcf9_u64.to_le_bytes());
    fadt[128] = 0x0f;
    image.table(FADT, b"FACP", &fadt[36..]);
    image.table(DSDT, b"DSDT", b"\x10\x20\x08_S5_\x12\x06\x04\x00\x0a\x05\x00\x00");
    let mut madt = Vec::from(0xfee0_0000_u32.to_le_bytes());
    madt.extend_from_slice(&1_u32.to_le_bytes());
    madt.extend_from_slice(&[0, 8, 0, 0, 1, 0, 0, 0]);
    madt.extend_from_slice(&[0, 8, 1, 1, 0, 0, 0, 0]);
    madt.extend_from_slice(&[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
    madt.extend_from_slice(&[0, 8, 2, 7, 1, 0, 0, 0]);
    image.table(MADT, b"APIC", &madt);
    let mut mcfg = vec![0; 8];
    mcfg.extend_from_slice(&0xb000_0000_u64.to_le_bytes());
    mcfg.extend_from_slice(&[0, 0, 0, 255, 0, 0, 0, 0]);
    image.table(MCFG, b"MCFG", &mcfg);
    let mut hpet = [0; 20];
    put(&mut hpet, 8, &0xfed0_0000_u64.to_le_bytes());
    image.table(HPET, b"HPET", &hpet);
    image
}

#[test]
fn start_information_is_read() {
    let info = StartInfo::read(&image(), START_INFO).unwrap();
    assert_eq!(info.rsdp, Some(RSDP));
    assert_eq!(info.modules[..], [PhysRange { start: 0x80_0000, end: 0x80_1234 }]);
    assert_eq!(&info.command_line[..], b"quiet");
    let free = info.memory.free(&[]).unwrap();
    assert_eq!(free[0], PhysRange { start: 0, end: 0x9_f000 });
    assert_eq!(free[1], PhysRange { start: 0x10_0000, end: 0xffe_0000 });
}

#[test]
fn tables_are_read() {
    let tables = AcpiTables::read(&image(), RSDP).unwrap();
    assert_eq!(tables.cores[..], [0, 7], "the second core is not enabled");
    assert_eq!(tables.local_apic, 0xfee0_0000);
    assert_eq!(tables.ecam, Some(EcamRange { address: 0xb000_0000, first_bus: 0, buses: 256 }));
    assert_eq!(tables.hpet, Some(Hpet { address: 0xfed0_0000 }));
    assert_eq!(tables.pm_timer, Some(PmTimer { port: 0x608, bits: 32 }));
    // Sleep types 0 and 5: bits 10 to 12, with sleep enable.
    assert_eq!(tables.power_off, Some(PowerOff { pm1a: (0x604, 0x2000), pm1b: None }));
    let reset = tables.reset.unwrap();
    assert_eq!((reset.register.port(), reset.value), (Some(0xcf9), 0x0f));
}

#[test]
fn what_is_wrong_is_named() {
    let mut bad = image();
    bad.put(MADT + 36, &[0xff]);
    assert_eq!(AcpiTables::read(&bad, RSDP), Err(FirmwareError::Checksum("APIC")));
    let mut bad = image();
    bad.put(RSDP, b"NOT");
    let signature = FirmwareError::Signature("ACPI root pointer");
    assert_eq!(AcpiTables::read(&bad, RSDP), Err(signature));
    let mut bad = image();
    bad.put(MCFG + 4, &8_u32.to_le_bytes());
    let length = FirmwareError::Length { what: "MCFG", len: 8 };
    assert_eq!(AcpiTables::read(&bad, RSDP), Err(length));
    let mut bad = image();
    bad.put(START_INFO, &[0]);
    let signature = FirmwareError::Signature("start information");
    assert_eq!(StartInfo::read(&bad, START_INFO), Err(signature));
    let mut bad = image();
    bad.put(MODULES, &u64::MAX.to_le_bytes());
    let range = FirmwareError::Range { what: "module", start: u64::MAX, len: 0x1234 };
    assert_eq!(StartInfo::read(&bad, START_INFO), Err(range));
}

#[test]
fn an_entry_of_length_zero_does_not_hang_the_walk() {
    let mut bad = image();
    let mut body = [0_u8; 24];
    body[8] = 5;
    bad.table(MADT, b"APIC", &body);
    let length = FirmwareError::Length { what: "MADT entry", len: 0 };
    assert_eq!(AcpiTables::read(&bad, RSDP), Err(length));
}

/// Makes the checksums of the tables right again, so that mutations get past them.
fn mend(image: &mut Image) {
    for address in [RSDT, FADT, DSDT, MADT, MCFG, HPET] {
        let at = (address - BASE) as usize;
        let mut len = [0; 4];
        len.copy_from_slice(&image.0[at + 4..at + 8]);
        let end = at.saturating_add(u32::from_le_bytes(len) as usize).min(LEN);
        if end > at + 9 {
            let sum = image.0[at..end].iter().fold(0, |sum: u8, b| sum.wrapping_add(*b));
            image.0[at + 9] = image.0[at + 9].wrapping_sub(sum);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn mutated_memory_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        mended in any::<bool>(),
    ) {
        let mut image = image();
        for (at, byte) in changes {
            let at = at.index(LEN);
            image.0[at] = byte;
        }
        if mended {
            mend(&mut image);
        }
        if let Ok(info) = StartInfo::read(&image, START_INFO) {
            let _ = info.memory.free(&info.modules);
        }
        if let Ok(tables) = AcpiTables::read(&image, RSDP) {
            prop_assert!(!tables.cores.is_empty());
            prop_assert!(tables.ecam.is_none_or(|e| e.buses >= 1 && e.buses <= 256));
        }
    }
}
