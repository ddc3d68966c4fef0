//! virtio devices on PCI that interrupt by MSI-X.

mod console;
mod transport;

use core::error::Error;
use core::fmt;

use maize_pci::bus::{DeviceFunction, PciRoot};
use maize_pci::{Apertures, BarError, Ecam, Msi, MsiError, MsixError, assign_bars};
use virtio_drivers::transport::DeviceType;
use virtio_drivers::transport::pci::{VirtioPciError, virtio_device_type};

pub use console::VirtioConsole;
pub use transport::MsixTransport;

/// Why a virtio device could not be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VirtioError {
    /// There is none of this type.
    Missing(DeviceType),
    /// Its BARs cannot be placed.
    Bar(BarError),
    /// It has no usable MSI-X.
    Msix(MsixError),
    /// No interrupt is left for it.
    Msi(MsiError),
    /// Its PCI capabilities are not usable.
    Pci(VirtioPciError),
    /// It refused an interrupt vector.
    VectorRefused,
    /// Its registers cannot be mapped.
    NoMapping,
    /// It is a console without a serial port.
    NoSerialPort,
    /// No memory is left for its queues and buffers.
    NoMemory,
    /// The driver gave up.
    Driver(virtio_drivers::Error),
}

impl fmt::Display for VirtioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(device) => write!(f, "no virtio device of type {device:?}"),
            Self::Bar(error) => error.fmt(f),
            Self::Msix(error) => error.fmt(f),
            Self::Msi(error) => error.fmt(f),
            Self::Pci(error) => error.fmt(f),
            Self::VectorRefused => f.write_str("the device refused an interrupt vector"),
            Self::NoMapping => f.write_str("no room to map the device's registers"),
            Self::NoSerialPort => f.write_str("the console device has no serial port"),
            Self::NoMemory => f.write_str("no DMA memory left for queues and buffers"),
            Self::Driver(error) => error.fmt(f),
        }
    }
}

impl Error for VirtioError {}

impl From<BarError> for VirtioError {
    fn from(error: BarError) -> Self {
        Self::Bar(error)
    }
}

impl From<MsixError> for VirtioError {
    fn from(error: MsixError) -> Self {
        Self::Msix(error)
    }
}

impl From<MsiError> for VirtioError {
    fn from(error: MsiError) -> Self {
        Self::Msi(error)
    }
}

impl From<VirtioPciError> for VirtioError {
    fn from(error: VirtioPciError) -> Self {
        Self::Pci(error)
    }
}

impl From<virtio_drivers::Error> for VirtioError {
    fn from(error: virtio_drivers::Error) -> Self {
        Self::Driver(error)
    }
}

/// The first device of type `wanted` on the first bus, where the launcher puts them.
fn find(root: &PciRoot<Ecam>, ecam: &Ecam, wanted: DeviceType) -> Option<DeviceFunction> {
    let bus = ecam.buses().next()?;
    let mut devices = root.enumerate_bus(bus);
    devices.find(|(_, info)| virtio_device_type(info) == Some(wanted)).map(|(at, _)| at)
}

/// Sets up the serial port of the first virtio console: the host link.
///
/// BARs that firmware left alone are placed in `apertures`. Data and room raise
/// `maize_hal::Interrupts::HOST` by a message of `msi`.
///
/// # Errors
/// [`VirtioError`] if there is none or it cannot be used.
pub fn open_console(
    ecam: Ecam,
    apertures: &mut Apertures,
    msi: &mut impl Msi,
) -> Result<VirtioConsole, VirtioError> {
    let mut root = PciRoot::new(ecam);
    let at =
        find(&root, &ecam, DeviceType::Console).ok_or(VirtioError::Missing(DeviceType::Console))?;
    assign_bars(&mut root, at, apertures)?;
    let message = msi.allocate(maize_hal::Interrupts::HOST)?;
    VirtioConsole::new(MsixTransport::new(ecam, at, message)?)
}
