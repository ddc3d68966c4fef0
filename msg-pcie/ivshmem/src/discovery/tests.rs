#![allow(unsafe_code, reason = "the trait of a bus has an unsafe method")]
use super::*;
use core::cell::RefCell;
use maize_pci::Aperture;
use maize_pci::bus::DeviceFunction;
use proptest::prelude::*;
use std::boxed::Box;

const AT: DeviceFunction = DeviceFunction { bus: 0, device: 3, function: 0 };
const CAPABILITY: usize = 0x40 / 4;

/// The configuration space of a bus with one device: registers, and which bits of the BARs there
/// are.
#[derive(Clone, Debug)]
struct Bus {
    words: [u32; 64],
    masks: [u32; 6],
}

#[derive(Clone, Copy)]
struct Access(&'static RefCell<Bus>);

impl ConfigurationAccess for Access {
    fn read_word(&self, at: DeviceFunction, offset: u8) -> u32 {
        if at != AT {
            return u32::MAX;
        }
        self.0.borrow().words.get(usize::from(offset / 4)).copied().unwrap_or(u32::MAX)
    }

    fn write_word(&mut self, at: DeviceFunction, offset: u8, data: u32) {
        let (bus, word) = (&mut *self.0.borrow_mut(), usize::from(offset / 4));
        match word {
            _ if at != AT => {}
            1 => bus.words[1] = bus.words[1] & 0xffff_0000 | data & 0xffff,
            4..10 => {
                let mask = bus.masks[word - 4];
                bus.words[word] = bus.words[word] & !mask | data & mask;
            }
            CAPABILITY => bus.words[word] = bus.words[word] & 0xffff | data & 0xffff_0000,
            _ => {}
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

/// What QEMU 7.2 shows of `ivshmem-doorbell,vectors=4` with 64 MiB, before BARs are assigned.
fn device() -> Bus {
    let mut words = [0; 64];
    words[0] = 0x1110_1af4;
    words[1] = 0x0010_0000;
    words[2] = 0x0500_0001;
    words[6] = 0xc;
    words[0x34 / 4] = 0x40;
    words[CAPABILITY] = 3 << 16 | 0x11;
    words[CAPABILITY + 1] = 1;
    words[CAPABILITY + 2] = 0x800 | 1;
    let masks = [!0xff, !0xfff, !0x3ff_ffff, u32::MAX, 0, 0];
    Bus { words, masks }
}

fn apertures() -> Apertures {
    let low = Aperture::new(0x1000_0000, 0x2000_0000);
    let high = Aperture::new(0x80_0000_0000, 0x80_0000_0000);
    Apertures { low: Some(low), high: Some(high) }
}

fn found_in(bus: Bus) -> (Result<Option<Addresses>, IvshmemError>, Bus) {
    let bus: &'static RefCell<Bus> = Box::leak(Box::new(RefCell::new(bus)));
    let found = find(Access(bus), 0, &mut apertures());
    let after = bus.borrow().clone();
    (found, after)
}

#[test]
fn the_device_is_placed_and_turned_on() {
    let (found, after) = found_in(device());
    let addresses = Addresses {
        registers: 0x1000_0000,
        window: Region { address: 0x80_0000_0000, size: 64 << 20 },
        table: 0x1000_1000,
        vectors: 4,
    };
    assert_eq!(found, Ok(Some(addresses)));
    assert_eq!(after.words[1] & 0x6, 0x6, "memory space and bus master");
    assert_eq!(after.words[CAPABILITY] >> 30, 2, "MSI-X on, function not masked");
}

#[test]
fn what_firmware_has_placed_stays() {
    let mut bus = device();
    (bus.words[4], bus.words[5], bus.words[6]) = (0xfebf_1000, 0xfebf_2000, 0xf800_000c);
    let (found, _) = found_in(bus);
    let addresses = found.unwrap().unwrap();
    assert_eq!((addresses.registers, addresses.window.address), (0xfebf_1000, 0xf800_0000));
}

#[test]
fn a_bus_without_it_is_no_error() {
    let mut bus = device();
    bus.words[0] = 0x1003_1af4;
    assert_eq!(found_in(bus).0, Ok(None));
}

#[test]
fn what_is_wrong_is_named() {
    let with = |change: &dyn Fn(&mut Bus)| {
        let mut bus = device();
        change(&mut bus);
        found_in(bus).0
    };
    assert_eq!(with(&|bus| bus.words[2] = 0x0500_0000), Err(IvshmemError::Revision(0)));
    let no_memory = |bar| Err(IvshmemError::Bar(BarError::NoMemory { bar }));
    assert_eq!(with(&|bus| bus.masks[0] = 0), no_memory(0));
    assert_eq!(with(&|bus| (bus.words[6], bus.masks[2]) = (0, 0)), no_memory(2));
    let plain = IvshmemError::Msix(MsixError::Missing);
    assert_eq!(with(&|bus| bus.words[CAPABILITY] = 0x09), Err(plain));
    let outside = IvshmemError::Msix(MsixError::OutsideBar);
    assert_eq!(with(&|bus| bus.words[CAPABILITY + 1] = 0xff1), Err(outside));
    let small = IvshmemError::Window { size: 64 << 10 };
    assert_eq!(with(&|bus| bus.masks[2] = !0xffff), Err(small));
    let room = IvshmemError::Bar(BarError::NoRoom { bar: 0, size: 1 << 31 });
    assert_eq!(with(&|bus| bus.masks[0] = 1 << 31), Err(room));
}

proptest! {
    /// Whatever a device says, it is used only if it keeps to its BARs, and nothing panics.
    #[test]
    fn a_lying_device_is_refused_or_harmless(
        words in prop::collection::vec((1usize..20, any::<u32>()), 0..6),
        masks in prop::collection::vec((0usize..6, any::<u32>()), 0..4),
    ) {
        let mut bus = device();
        for (word, value) in words {
            bus.words[word] = value;
        }
        for (bar, mask) in masks {
            bus.masks[bar] = mask;
        }
        if let Ok(Some(addresses)) = found_in(bus).0 {
            prop_assert!(addresses.registers != 0 && addresses.table != 0);
            prop_assert!(addresses.window.size.is_power_of_two());
            prop_assert!(addresses.window.address.checked_add(addresses.window.size).is_some());
        }
    }
}
