//! Real trees, trees with one thing wrong, and mutated trees.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeProperty};
use maize_devicetree::{
    ADDRESS_LIMIT, DeviceTreeError, Gic, GicV2m, MachineDescription, PcieWindow, PsciConduit,
    Range, TimerInterrupt, Uart, WindowKind, total_size,
};
use proptest::prelude::*;

/// QEMU 7.2's `virt` with 256 MiB, without the padding to 1 MiB.
const GICV2: &[u8] = include_bytes!("data/virt-gicv2.dtb");
const GICV3: &[u8] = include_bytes!("data/virt-gicv3.dtb");
/// Bytes after the last string of either.
const PADDING: usize = 8;

const fn range(start: u64, len: u64) -> Range {
    Range { start, len }
}

#[test]
fn qemu_virt_with_gicv2_is_described() {
    let m = MachineDescription::parse(GICV2).unwrap();
    assert_eq!(m.memory.as_slice(), [range(0x4000_0000, 0x1000_0000)]);
    assert!(m.reserved.is_empty());
    assert_eq!(m.cpus.as_slice(), [0]);
    assert_eq!(m.psci, Some(PsciConduit::Hvc));
    let v2m =
        Some(GicV2m { registers: range(0x802_0000, 0x1000), base_spi: None, spi_count: None });
    let distributor = range(0x800_0000, 0x1_0000);
    let cpu_interface = range(0x801_0000, 0x1_0000);
    assert_eq!(m.gic, Gic::V2 { distributor, cpu_interface, v2m });
    assert_eq!(m.timer, TimerInterrupt { number: 27 });
    let pcie = m.pcie.unwrap();
    assert_eq!(pcie.ecam, range(0x40_1000_0000, 0x1000_0000));
    assert_eq!((pcie.first_bus, pcie.last_bus, pcie.dma_coherent), (0, 255, true));
    let window = |kind, pci, cpu| PcieWindow { kind, pci, cpu };
    assert_eq!(
        pcie.windows.as_slice(),
        [
            window(WindowKind::Io, 0, range(0x3eff_0000, 0x1_0000)),
            window(WindowKind::Memory32, 0x1000_0000, range(0x1000_0000, 0x2eff_0000)),
            window(WindowKind::Memory64, 0x80_0000_0000, range(0x80_0000_0000, 0x80_0000_0000)),
        ]
    );
    assert_eq!(m.uart, Some(Uart { registers: range(0x900_0000, 0x1000) }));
    assert_eq!((m.initrd, m.bootargs, m.rng_seed.len()), (None, "", 32));
}

#[test]
fn qemu_virt_with_gicv3_is_described() {
    let m = MachineDescription::parse(GICV3).unwrap();
    let Gic::V3 { distributor, redistributors, its } = m.gic else {
        panic!("{:?}", m.gic);
    };
    assert_eq!(distributor, range(0x800_0000, 0x1_0000));
    assert_eq!(redistributors.as_slice(), [range(0x80a_0000, 0xf6_0000)]);
    assert_eq!(its, Some(range(0x808_0000, 0x2_0000)));
}

/// The tree of `virt` after `change`.
fn changed(change: impl FnOnce(&mut DeviceTree)) -> Vec<u8> {
    let mut tree = DeviceTree::from_fdt(&Fdt::new(GICV2).unwrap());
    change(&mut tree);
    tree.to_dtb()
}

fn set(tree: &mut DeviceTree, path: &str, name: &str, cells: &[u32]) {
    let property = DeviceTreeProperty::new(name, cells).unwrap();
    tree.find_node_mut(path).unwrap().add_property(property);
}

fn error(change: impl FnOnce(&mut DeviceTree)) -> DeviceTreeError {
    MachineDescription::parse(&changed(change)).unwrap_err()
}

#[test]
fn initrd_and_arguments_are_found() {
    let bytes = changed(|t| {
        set(t, "/chosen", "linux,initrd-start", &[0x4800_0000]);
        set(t, "/chosen", "linux,initrd-end", &[0, 0x4800_1234]);
        let args = DeviceTreeProperty::new("bootargs", "a b").unwrap();
        t.find_node_mut("/chosen").unwrap().add_property(args);
    });
    let m = MachineDescription::parse(&bytes).unwrap();
    assert_eq!(m.initrd, Some(range(0x4800_0000, 0x1234)));
    assert_eq!(m.bootargs, "a b");
}

#[test]
fn memory_of_several_nodes_and_ranges_is_sorted() {
    const MEMORY: &str = "/memory@40000000";
    let bytes = changed(|t| {
        set(t, MEMORY, "reg", &[1, 0, 0, 0x1000, 0, 0x4000_0000, 0, 0x10_0000]);
    });
    let m = MachineDescription::parse(&bytes).unwrap();
    assert_eq!(m.memory.as_slice(), [range(0x4000_0000, 0x10_0000), range(1 << 32, 0x1000)]);
}

#[test]
fn free_memory_is_what_nothing_occupies() {
    let bytes = changed(|t| {
        set(t, "/chosen", "linux,initrd-start", &[0x4800_0800]);
        set(t, "/chosen", "linux,initrd-end", &[0x4800_1001]);
    });
    let m = MachineDescription::parse(&bytes).unwrap();
    let free = m.free_memory(&[
        range(0x4020_0000, 0x2_0000),
        range(0x3fff_0000, 0x1_1000),
        range(0x4ff0_0000, 0x1000_0000),
        range(0x4ff0_1000, 1),
    ]);
    assert_eq!(
        free.unwrap().as_slice(),
        [
            range(0x4000_1000, 0x1f_f000),
            range(0x4022_0000, 0x7de_0000),
            range(0x4800_2000, 0x7ef_e000),
        ]
    );
}

#[test]
fn what_is_wrong_is_named() {
    use DeviceTreeError::{
        BadRange, EcamTooSmall, InitrdOutsideMemory, Malformed, MemoryOverlaps, Missing,
        NotADeviceTree, TooLarge,
    };
    const MEMORY: &str = "/memory@40000000";
    let remove = |name: &'static str| {
        move |t: &mut DeviceTree| {
            assert!(t.root.remove_child(name).is_some());
        }
    };
    assert_eq!(error(remove("memory@40000000")), Missing("memory"));
    assert_eq!(error(remove("cpus")), Missing("/cpus"));
    assert_eq!(error(remove("timer")), Missing("timer"));
    assert_eq!(error(remove("intc@8000000")), Missing("interrupt controller"));
    let what = "memory reg";
    for (cells, start, len) in [
        ([0xffff_ffff, 0xffff_f000, 0, 0x2000], 0xffff_ffff_ffff_f000, 0x2000),
        ([0, 0x4000_0000, 0, 0], 0x4000_0000, 0),
        ([0, 0x1000, 0x4000, 0], 0x1000, ADDRESS_LIMIT),
    ] {
        assert_eq!(error(|t| set(t, MEMORY, "reg", &cells)), BadRange { what, start, len });
    }
    assert_eq!(
        error(|t| set(t, MEMORY, "reg", &[0, 0x4000_0000, 0, 0x2000, 0, 0x4000_1000, 0, 0x1000])),
        MemoryOverlaps(range(0x4000_0000, 0x2000), range(0x4000_1000, 0x1000))
    );
    assert_eq!(error(|t| set(t, MEMORY, "reg", &[0, 1, 2])), Malformed("memory reg"));
    assert_eq!(
        error(|t| set(t, "/chosen", "linux,initrd-start", &[1])),
        Missing("linux,initrd-end")
    );
    assert_eq!(
        error(|t| {
            set(t, "/chosen", "linux,initrd-start", &[0x4fff_f000]);
            set(t, "/chosen", "linux,initrd-end", &[0x5000_1000]);
        }),
        InitrdOutsideMemory(range(0x4fff_f000, 0x2000))
    );
    assert_eq!(
        error(|t| set(t, "/pcie@10000000", "reg", &[0x40, 0, 0, 0x10_0000])),
        EcamTooSmall(0x10_0000, 0x1000_0000)
    );
    assert_eq!(error(|t| set(t, "/pcie@10000000", "bus-range", &[0, 256])), Malformed("bus-range"));
    assert_eq!(error(|t| set(t, "/psci", "method", &[0])), Malformed("/psci method"));
    assert_eq!(
        error(|t| set(t, "/timer", "interrupts", &[1, 13, 4, 1, 14, 4, 0, 11, 4])),
        Malformed("timer interrupts")
    );
    assert_eq!(total_size([0; 8]), Err(NotADeviceTree));
    assert_eq!(total_size([0xd0, 0x0d, 0xfe, 0xed, 1, 0, 0, 0]), Err(TooLarge(1 << 24)));
}

/// What [`MachineDescription`] promises whatever the bytes were.
fn holds(m: &MachineDescription<'_>) {
    let mut ranges: Vec<Range> = m.memory.iter().chain(&m.reserved).copied().collect();
    ranges.extend(m.pcie.iter().flat_map(|p| p.windows.iter().map(|w| w.cpu)));
    ranges.extend(m.initrd);
    ranges.extend(m.uart.map(|u| u.registers));
    for r in ranges {
        assert!(r.len > 0 && r.start.checked_add(r.len).unwrap() <= ADDRESS_LIMIT, "{r:?}");
    }
    assert!(m.memory.windows(2).all(|w| w[0].end() <= w[1].start));
    assert!(m.initrd.is_none_or(|i| m.memory.iter().any(|r| r.contains(&i))));
    assert!((16..32).contains(&m.timer.number));
}

fn check(bytes: &[u8]) {
    if let Ok(m) = MachineDescription::parse(bytes) {
        holds(&m);
    }
    if let Some(header) = bytes.first_chunk() {
        let _ = total_size(*header);
    }
}

/// Ranges in and around the 256 MiB of the tree, so that they often meet.
fn ranges() -> impl Strategy<Value = Vec<Range>> {
    let one = (0x3fff_0000..0x5001_0000_u64, 1..0x100_0000_u64);
    prop::collection::vec(one.prop_map(|(start, len)| range(start, len)), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn mutated_bytes_never_panic(
        v3: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
    ) {
        let mut bytes = if v3 { GICV3 } else { GICV2 }.to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        check(&bytes);
    }

    /// Cells are where counts, offsets and addresses stand: extremes there hit arithmetic.
    #[test]
    fn mutated_cells_never_panic(
        edits in prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                prop::sample::select(vec![0_u32, 1, 2, 3, 4, 9, 0x7fff_ffff, 0x8000_0000, u32::MAX]),
            ),
            1..6,
        ),
    ) {
        let mut bytes = GICV2.to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len() / 4) * 4;
            bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        check(&bytes);
    }

    #[test]
    fn free_memory_has_every_free_page_and_no_other(
        occupied in ranges(), pages in prop::collection::vec(0x4_0000..0x5_0000_u64, 32),
    ) {
        let m = MachineDescription::parse(GICV2).unwrap();
        let free = m.free_memory(&occupied).unwrap();
        prop_assert!(free.windows(2).all(|w| w[0].end() < w[1].start));
        for number in pages {
            let page = range(number << 12, 4096);
            let taken = occupied.iter().any(|o| o.overlaps(&page));
            prop_assert_eq!(free.iter().any(|f| f.contains(&page)), !taken);
            prop_assert_eq!(free.iter().any(|f| f.overlaps(&page)), !taken);
        }
    }

    #[test]
    fn cut_trees_are_refused(len in 0..GICV2.len() - PADDING, patch_size: bool) {
        let mut bytes = GICV2[..len].to_vec();
        if patch_size && len >= 8 {
            bytes[4..8].copy_from_slice(&(len as u32).to_be_bytes());
        }
        prop_assert!(MachineDescription::parse(&bytes).is_err());
    }

    #[test]
    fn noise_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes);
        if bytes.len() >= 8 {
            let len = bytes.len() as u32;
            bytes[..4].copy_from_slice(&[0xd0, 0x0d, 0xfe, 0xed]);
            bytes[4..8].copy_from_slice(&len.to_be_bytes());
            check(&bytes);
        }
    }
}
