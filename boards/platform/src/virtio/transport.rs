//! The PCI transport of `virtio-drivers`, with MSI-X, which it leaves out.
#![allow(unsafe_code, reason = "device registers")]

use core::ptr::NonNull;

use maize_pci::bus::{ConfigurationAccess, DeviceFunction, PCI_CAP_ID_VNDR, PciRoot};
use maize_pci::{Ecam, MsiMessage, MsixCapability, MsixTable, bar_region, enable_device};
use safe_mmio::fields::{ReadPure, ReadPureWrite};
use safe_mmio::{UniqueMmioPointer, field};
use virtio_drivers::transport::pci::{PciTransport, VIRTIO_PCI_CAP_COMMON_CFG, VirtioPciError};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result as VirtioResult};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::VirtioError;
use crate::dma::VirtioHal;
use crate::hooks;

/// The one table entry in use: one instance has one core and asks for one kind of event.
const ENTRY: u16 = 0;

/// What a device answers where it has no vector.
const NO_VECTOR: u16 = 0xffff;

/// The part of `virtio_pci_common_cfg` (virtio 1.2, 4.1.4.3) that MSI-X needs.
#[derive(Debug)]
#[repr(C)]
struct Vectors {
    features: [ReadPure<u32>; 4],
    msix_config: ReadPureWrite<u16>,
    num_queues: ReadPure<u16>,
    device_status: ReadPure<u8>,
    config_generation: ReadPure<u8>,
    queue_select: ReadPureWrite<u16>,
    queue_size: ReadPure<u16>,
    queue_msix_vector: ReadPureWrite<u16>,
}

/// A virtio device on PCI all whose queues raise one message.
#[derive(Debug)]
pub struct MsixTransport {
    inner: PciTransport,
    vectors: UniqueMmioPointer<'static, Vectors>,
    // Unmasked for good; the mapping belongs to this device.
    _table: MsixTable,
    refused: bool,
}

fn map(address: u64, len: usize) -> Result<NonNull<u8>, VirtioError> {
    hooks().and_then(|hooks| (hooks.map_device)(address, len)).ok_or(VirtioError::NoMapping)
}

/// Physical address of the common configuration.
fn common_config(
    root: &mut PciRoot<Ecam>,
    ecam: &Ecam,
    device: DeviceFunction,
) -> Result<u64, VirtioError> {
    let kind = u16::from(VIRTIO_PCI_CAP_COMMON_CFG) << 8;
    let capability = root
        .capabilities(device)
        .take(48)
        .find(|c| c.id == PCI_CAP_ID_VNDR && c.private_header & 0xff00 == kind)
        .ok_or(VirtioPciError::MissingCommonConfig)?;
    let word = |at: u8| ecam.read_word(device, capability.offset.wrapping_add(at));
    let (bar, offset) = (word(4) as u8, u64::from(word(8)));
    let region = bar_region(root, device, bar)?;
    if offset + size_of::<Vectors>() as u64 > region.size {
        return Err(VirtioPciError::BarOffsetOutOfRange.into());
    }
    Ok(region.address + offset)
}

impl MsixTransport {
    /// The device at `at`, whose BARs are assigned, interrupting by `message`. Enables it.
    ///
    /// # Errors
    /// [`VirtioError`] if it cannot be used so.
    pub fn new(
        mut ecam: Ecam,
        at: DeviceFunction,
        message: MsiMessage,
    ) -> Result<MsixTransport, VirtioError> {
        let mut root = PciRoot::new(ecam);
        let inner = PciTransport::new::<VirtioHal, _>(&mut root, at)?;
        let common = map(common_config(&mut root, &ecam, at)?, size_of::<Vectors>())?;
        let capability = MsixCapability::find(&mut root, &ecam, at)?;
        // Only now: where BARs are looked at while the device answers there, it is taken off the
        // bus and put back each time, for which the emulator rebuilds its memory map.
        enable_device(&mut root, at);
        // SAFETY: `common_config` found the registers inside the device's BAR and `map` mapped
        // them. `inner` reaches the same registers through its own mapping, but only in calls that
        // this type makes, and every call sets `queue_select` before it uses it.
        let vectors = unsafe { UniqueMmioPointer::new(common.cast()) };
        let base = map(capability.table.address, capability.table.size as usize)?;
        // SAFETY: the table's region was just mapped, for good, and nothing else maps it.
        let mut table = unsafe { MsixTable::new(base, &capability) };
        table.set(ENTRY, message)?;
        capability.enable(&mut ecam, at);
        Ok(MsixTransport { inner, vectors, _table: table, refused: false })
    }

    /// Whether the device took the vector for every queue that was set up.
    pub(super) fn interrupts(&self) -> bool {
        !self.refused
    }
}

impl Transport for MsixTransport {
    fn device_type(&self) -> DeviceType {
        self.inner.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        self.inner.read_device_features()
    }

    fn write_driver_features(&mut self, features: u64) {
        self.inner.write_driver_features(features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.inner.max_queue_size(queue)
    }

    fn notify(&mut self, queue: u16) {
        self.inner.notify(queue);
    }

    fn get_status(&self) -> DeviceStatus {
        self.inner.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.inner.set_status(status);
    }

    fn set_guest_page_size(&mut self, size: u32) {
        self.inner.set_guest_page_size(size);
    }

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        field!(self.vectors, queue_select).write(queue);
        field!(self.vectors, queue_msix_vector).write(ENTRY);
        // The device answers with no vector where it has no room for one.
        self.refused |= field!(self.vectors, queue_msix_vector).read() == NO_VECTOR;
        self.inner.queue_set(queue, size, descriptors, driver_area, device_area);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.inner.ack_interrupt()
    }

    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> VirtioResult<T> {
        self.inner.read_config_space(offset)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> VirtioResult<()> {
        self.inner.write_config_space(offset, value)
    }
}
