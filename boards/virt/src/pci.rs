//! The PCI root complex, and messages to this processor.
#![allow(unsafe_code, reason = "configuration space is memory-mapped")]

use maize_arch_aarch64::Machine;
use maize_arch_aarch64::gic::GicError;
use maize_devicetree::{Pcie, WindowKind};
use maize_hal::Interrupts;
use maize_pci::{Aperture, Apertures, Ecam, Msi, MsiError, MsiMessage};

use crate::mapping;

/// Bytes of one bus's configuration space.
const BUS_LEN: usize = 1 << 20;

/// Configuration space of the first bus, where the launcher puts every device. `None` if it cannot
/// be mapped.
#[must_use]
pub fn first_bus(pcie: &Pcie) -> Option<Ecam> {
    let base = mapping::device(pcie.ecam.start, BUS_LEN)?;
    // SAFETY: the device tree says that this is configuration space for that bus (the description
    // promises that it is large enough), it is mapped for good and only this value reaches it.
    unsafe { Ecam::new(base, pcie.first_bus, 1) }.ok()
}

/// Where base address registers may point: here the kernel assigns them, no firmware does.
///
/// Windows whose PCI and processor addresses differ are left out: devices' addresses are used as
/// physical ones.
#[must_use]
pub fn apertures(pcie: &Pcie) -> Apertures {
    let first = |kind| {
        let window = pcie.windows.iter().find(|w| w.kind == kind && w.pci == w.cpu.start);
        window.map(|w| Aperture::new(w.cpu.start, w.cpu.len))
    };
    Apertures { low: first(WindowKind::Memory32), high: first(WindowKind::Memory64) }
}

/// The interrupt controller as a giver of messages.
#[derive(Debug)]
pub struct GicMessages<'a>(
    /// The processor that the interrupts come to.
    pub &'a mut Machine,
);

impl Msi for GicMessages<'_> {
    fn allocate(&mut self, raises: Interrupts) -> Result<MsiMessage, MsiError> {
        match self.0.allocate_msi(raises) {
            Ok(message) => Ok(MsiMessage { address: message.address, data: message.data }),
            Err(GicError::OutOfMessages) => Err(MsiError::Exhausted),
            Err(_) => Err(MsiError::Unsupported),
        }
    }
}
