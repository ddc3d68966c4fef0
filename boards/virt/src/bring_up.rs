//! From the entry code to a described and mapped machine.
#![allow(unsafe_code, reason = "memory and devices that the device tree describes")]

use core::fmt;
use core::ptr::NonNull;

use heapless::Vec;
use maize_arch_aarch64::entry::{self, BootInfo, SIBLING};
use maize_arch_aarch64::firmware::{self, Conduit};
use maize_arch_aarch64::gic::{self, GicError, GicV2, GicV2m, GicV3};
use maize_arch_aarch64::kernel_map::MapError;
use maize_arch_aarch64::space::{Space, direct};
use maize_devicetree::{
    DeviceTreeError, Gic, MAX_FREE_RANGES, MAX_REDISTRIBUTORS, MachineDescription, PsciConduit,
    Range, SIZE_HEADER_LEN, total_size,
};
use maize_hal::{Frame, FrameRange};
use maize_platform::siblings::partition::MAX_SIBLINGS;
use maize_platform::siblings::{BootBlock, BootBlockError};
use maize_wire::PAGE_WORDS;
use safe_mmio::UniqueMmioPointer;

use crate::{console, mapping};

/// The machine, described and mapped.
#[derive(Debug)]
pub struct Board {
    /// What the entry code passed.
    pub boot: BootInfo,
    /// What the device tree says; the tree stays where it was.
    pub description: MachineDescription<'static>,
    /// RAM that nothing occupies, ascending, in the direct map.
    pub free: Vec<FrameRange, MAX_FREE_RANGES>,
    /// The initial RAM disk, empty if there is none.
    pub initrd: &'static [u8],
    /// The interrupt controller.
    pub gic: gic::Gic,
    /// What a sibling was handed; `None` in the machine's first instance.
    pub block: Option<BootBlock>,
}

/// Why the machine cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BringUpError {
    /// The device tree does not describe a machine.
    DeviceTree(DeviceTreeError),
    /// Memory or a device could not be mapped.
    Map(MapError),
    /// The interrupt controller cannot be used.
    Gic(GicError),
    /// A sibling's boot block is damaged.
    BootBlock(BootBlockError),
}

impl From<DeviceTreeError> for BringUpError {
    fn from(error: DeviceTreeError) -> BringUpError {
        BringUpError::DeviceTree(error)
    }
}

impl From<MapError> for BringUpError {
    fn from(error: MapError) -> BringUpError {
        BringUpError::Map(error)
    }
}

impl From<GicError> for BringUpError {
    fn from(error: GicError) -> BringUpError {
        BringUpError::Gic(error)
    }
}

impl From<BootBlockError> for BringUpError {
    fn from(error: BootBlockError) -> BringUpError {
        BringUpError::BootBlock(error)
    }
}

impl fmt::Display for BringUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeviceTree(error) => error.fmt(f),
            Self::Map(error) => error.fmt(f),
            Self::Gic(error) => error.fmt(f),
            Self::BootBlock(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for BringUpError {}

const PAGE: u64 = 4096;
const BLOCK: u64 = 2 << 20;

/// Describes and maps the machine, and opens its console.
///
/// # Safety
/// `boot` is what the entry code passed, and this is called once.
///
/// # Errors
/// [`BringUpError`]. The console is open if the device tree could be read.
pub unsafe fn bring_up(boot: BootInfo) -> Result<Board, BringUpError> {
    // SAFETY: the caller's.
    let mut space = unsafe { Space::new(boot.image) };
    let block = boot_block(&mut space, &boot)?;
    let tree_address = block.as_ref().map_or(boot.device_tree, |block| block.firmware);
    // SAFETY: the boot code's own value, or that of the machine's first instance.
    let tree = unsafe { device_tree(&mut space, tree_address)? };
    let description = MachineDescription::parse(tree)?;
    if let Some(conduit) = description.psci {
        firmware::set_conduit(match conduit {
            PsciConduit::Hvc => Conduit::Hvc,
            PsciConduit::Smc => Conduit::Smc,
        });
    }
    if let Some(uart) = description.uart {
        let registers = space.map_device(uart.registers.start, uart.registers.len)?;
        // SAFETY: the device tree says that it is a PL011, and only the console uses it.
        unsafe { console::open(registers) }
    }
    let tree_range = Range { start: tree_address, len: tree.len() as u64 };
    let initrd = match description.initrd {
        Some(range) => {
            let start = range.start / PAGE * PAGE;
            space.map_read_only(start, range.end().next_multiple_of(PAGE) - start)?;
            // SAFETY: it lies in RAM (the description's promise), is mapped, is not free below, and
            // nobody writes it.
            unsafe { core::slice::from_raw_parts(direct(range.start), range.len as usize) }
        }
        None => &[],
    };
    let ram = free_memory(&boot, &description, tree_range, block.as_ref())?;
    for range in &ram {
        space.map_ram(range.start, range.len)?;
    }
    let gic = interrupt_controller(&mut space, &description.gic)?;
    mapping::set(space);
    let frames = |r: &Range| FrameRange {
        start: Frame::containing(r.start),
        end: Frame::containing(r.end()),
    };
    let free = match &block {
        Some(block) => block.ram.iter().copied().collect(),
        None => ram.iter().map(frames).collect(),
    };
    Ok(Board { boot, description, free, initrd, gic, block })
}

/// Reads the boot block of a sibling.
fn boot_block(space: &mut Space, boot: &BootInfo) -> Result<Option<BootBlock>, BringUpError> {
    if boot.device_tree & SIBLING == 0 {
        return Ok(None);
    }
    let address = boot.device_tree & !(PAGE - 1);
    // It lies in what the instances share, and will be mapped so again with all of that.
    space.map_ram(address, PAGE)?;
    let mut words = [0; PAGE_WORDS];
    // SAFETY: just mapped; a sibling's context is the address of the block that the first instance
    // has written before it started this one.
    words.copy_from_slice(unsafe {
        core::slice::from_raw_parts(direct(address).cast(), PAGE_WORDS)
    });
    Ok(Some(BootBlock::from_words(&words)?))
}

/// Makes the device tree readable.
///
/// # Safety
/// `address` is the device tree's by the boot protocol: in RAM, at a multiple of 8.
unsafe fn device_tree(space: &mut Space, address: u64) -> Result<&'static [u8], BringUpError> {
    if address == 0 || !address.is_multiple_of(8) {
        return Err(DeviceTreeError::NotADeviceTree.into());
    }
    let block = address / BLOCK * BLOCK;
    space.map_read_only(block, BLOCK)?;
    let mut header = [0; SIZE_HEADER_LEN];
    // SAFETY: the header does not cross a block boundary: the address is a multiple of 8.
    header
        .copy_from_slice(unsafe { core::slice::from_raw_parts(direct(address), SIZE_HEADER_LEN) });
    let size = total_size(header)?;
    if address + size as u64 > block + BLOCK {
        space.map_read_only(block + BLOCK, BLOCK)?;
    }
    // SAFETY: at most 2 MiB, so mapped now; it stays as the boot loader left it.
    Ok(unsafe { core::slice::from_raw_parts(direct(address), size) })
}

/// The first instance's image, or those of all, and the device tree.
const MAX_OCCUPIED: usize = MAX_SIBLINGS + 1;

/// RAM that nothing occupies: but for the images, every instance of the machine has all of it in its
/// direct map. The first has its siblings' images there, to write them.
fn free_memory(
    boot: &BootInfo,
    description: &MachineDescription<'_>,
    tree: Range,
    block: Option<&BootBlock>,
) -> Result<Vec<Range, MAX_FREE_RANGES>, BringUpError> {
    // The tree's blocks are mapped whole and read-only.
    let tree_start = tree.start / BLOCK * BLOCK;
    let tree = Range { start: tree_start, len: tree.end().next_multiple_of(BLOCK) - tree_start };
    let mut occupied: Vec<Range, MAX_OCCUPIED> = Vec::new();
    // There is room for all.
    let _ = occupied.push(tree);
    match block {
        Some(block) => {
            let range = |r: &FrameRange| Range { start: r.start.address(), len: r.len() * PAGE };
            occupied.extend(block.images.iter().map(range));
        }
        None => {
            let _ = occupied.push(Range { start: boot.image, len: entry::image_len() });
        }
    }
    Ok(description.free_memory(&occupied)?)
}

fn interrupt_controller(space: &mut Space, gic: &Gic) -> Result<gic::Gic, BringUpError> {
    let mut map = |range: &Range| space.map_device(range.start, range.len);
    match gic {
        Gic::V2 { distributor, cpu_interface, v2m } => {
            let distributor: NonNull<u8> = map(distributor)?;
            let cpu: NonNull<u8> = map(cpu_interface)?;
            // SAFETY: the device tree says that these are the controller's registers, they are
            // mapped for good, and only this driver uses them.
            let driver = unsafe {
                GicV2::new(
                    UniqueMmioPointer::new(distributor.cast()),
                    UniqueMmioPointer::new(cpu.cast()),
                )
            };
            let v2m = match v2m {
                Some(v2m) => {
                    let frame = map(&v2m.registers)?;
                    // SAFETY: as above, of the message frame.
                    let registers = unsafe { UniqueMmioPointer::new(frame.cast()) };
                    let (first, count) = (v2m.base_spi, v2m.spi_count);
                    Some(GicV2m::new(v2m.registers.start, &registers, first, count)?)
                }
                None => None,
            };
            Ok(gic::Gic::V2(driver, v2m))
        }
        Gic::V3 { distributor, redistributors, .. } => {
            let distributor = map(distributor)?;
            let mut regions: Vec<(NonNull<u8>, u64), MAX_REDISTRIBUTORS> = Vec::new();
            for region in redistributors {
                // As many as the description holds.
                let _ = regions.push((map(region)?, region.len));
            }
            // SAFETY: as above; siblings use the distributor for interrupts of their own, and each
            // its own redistributor.
            Ok(gic::Gic::V3(unsafe { GicV3::new(distributor, &regions)? }, None))
        }
    }
}
