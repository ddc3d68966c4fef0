//! PCI as the boards and the drivers need it.
//!
//! The bus itself (device iteration, capability lists, BAR sizing) is the generic PCI module of the
//! `virtio-drivers` crate, re-exported as [`bus`]. Added here is what it leaves out: configuration
//! space bounded by the firmware's bus range ([`Ecam`]), assignment of BARs that no firmware has
//! assigned ([`assign_bars`]), and MSI-X ([`MsixTable`], [`Msi`]).
//!
//! Everything a device says about itself is checked before it is used: an offset outside a BAR or a
//! size that is no power of two is a named error.
#![no_std]

mod bars;
mod ecam;
mod msi;
mod msix;

pub use bars::{Aperture, Apertures, BarError, Region, assign_bars, bar_region, enable_device};
pub use ecam::{Ecam, EcamError};
pub use msi::{Msi, MsiError, MsiMessage};
pub use msix::{MsixCapability, MsixError, MsixTable};
pub use virtio_drivers::transport::pci::bus;
