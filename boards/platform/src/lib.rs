//! What every board shares: PCI, MSI-X, the host link, the life of an instance.
#![no_std]
