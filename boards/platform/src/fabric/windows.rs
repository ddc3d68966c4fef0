//! Which windows an instance is in, whom it reaches over which, and how they are rung.

use core::fmt;

use alloc::vec::Vec;

use maize_hostlink::BootRecord;
use maize_ivshmem::{Bell, Ivshmem};
use maize_link::{EnterError, Entrance};
use maize_probe::Refusal;
use maize_window::{Doorbell, HeaderError, Mapping, WindowHeader};
use maize_wire::InstanceId;

use crate::siblings::LocalWindow;

/// Why an instance cannot join its fabric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The fabric has other machines, but this one has no shared-memory device.
    NoDevice,
    /// The machine has other instances, but there is no memory that they share.
    NoLocalWindow,
    /// A window's header.
    Header(HeaderError),
    /// The window is another fabric's.
    Fabric {
        /// What the boot record says.
        expected: u64,
        /// What the window says.
        found: u64,
    },
    /// The device has another id than the machine has.
    Machine {
        /// What the boot record says.
        expected: u16,
        /// What the device says.
        found: u16,
    },
    /// The boot record does not list this instance.
    NotListed(u16),
    /// A window has no place for the instance.
    Enter(EnterError),
    /// A window did not stand its test.
    Refused {
        /// With whom it was tested.
        peer: InstanceId,
        /// What was wrong.
        refusal: Refusal,
    },
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice => f.write_str("there is no shared-memory device to other machines"),
            Self::NoLocalWindow => f.write_str("there is no memory shared with siblings"),
            Self::Header(error) => error.fmt(f),
            Self::Fabric { expected, found } => {
                write!(f, "the window is of fabric {found:#x}, not {expected:#x}")
            }
            Self::Machine { expected, found } => {
                write!(f, "this is machine {expected}, but its device has id {found}")
            }
            Self::NotListed(instance) => write!(f, "the boot record lists no instance {instance}"),
            Self::Enter(error) => error.fmt(f),
            Self::Refused { peer, refusal } => {
                write!(f, "the window to {peer} cannot be relied on: {refusal}")
            }
        }
    }
}

impl core::error::Error for JoinError {}

impl From<EnterError> for JoinError {
    fn from(error: EnterError) -> JoinError {
        JoinError::Enter(error)
    }
}

/// Where an instance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    machine: u16,
    /// Inside the machine.
    index: u16,
}

/// The place of each instance of a boot record.
fn places(record: &BootRecord) -> Vec<Place> {
    let machines = || record.instances.iter().map(|instance| instance.machine);
    let before = |at: usize, machine| machines().take(at).filter(|m| *m == machine).count();
    let place = |(at, machine)| Place { machine, index: before(at, machine) as u16 };
    machines().enumerate().map(place).collect()
}

/// An instance's index inside its machine; `None` if the record does not list it.
#[must_use]
pub fn index_in_machine(record: &BootRecord, instance: u16) -> Option<u16> {
    places(record).get(usize::from(instance)).map(|place| place.index)
}

/// The doorbells of all instances.
#[derive(Debug)]
pub struct Bells {
    machine: u16,
    places: Vec<Place>,
    pci: Option<Bell>,
    local: Option<LocalWindow>,
}

impl Doorbell for Bells {
    #[inline]
    fn ring(&mut self, peer: InstanceId) {
        let Some(place) = self.places.get(peer.index()) else { return };
        if place.machine == self.machine {
            if let Some(local) = &mut self.local {
                local.ring(peer);
            }
        } else if let Some(bell) = &mut self.pci {
            bell.ring(place.machine, place.index);
        }
    }
}

/// A window with a header, and whom the instance talks to over it.
pub(super) struct Reached<W> {
    pub(super) entrance: Entrance<W>,
    pub(super) header: WindowHeader,
    /// Whether it joins machines. Then atomics and fences have to be tested and clocks compared:
    /// inside a machine they are exact, and the clock is one.
    pub(super) between_machines: bool,
}

/// Reads the header of a window once it is there. `wait` passes some time; `false` from it ends the
/// patience.
fn header(
    window: &Mapping<'static>,
    wait: &mut impl FnMut() -> bool,
) -> Result<WindowHeader, JoinError> {
    loop {
        match WindowHeader::read(window) {
            Err(HeaderError::NotReady) if wait() => {}
            result => return result.map_err(JoinError::Header),
        }
    }
}

/// The windows that the boot record's fabric consists of for this instance, and its doorbells.
/// Nothing if the instance is alone and not watched.
pub(super) fn reach(
    record: &BootRecord,
    pci: Option<Ivshmem>,
    local: Option<LocalWindow>,
    mut wait: impl FnMut() -> bool,
) -> Result<(Vec<Reached<Mapping<'static>>>, Bells), JoinError> {
    let places = places(record);
    let me = usize::from(record.instance);
    let here = places.get(me).ok_or(JoinError::NotListed(record.instance))?.machine;
    let peers = |local: bool| -> Vec<InstanceId> {
        let numbered = (0_u16..).zip(&places);
        let others = numbered.filter(|(number, _)| usize::from(*number) != me);
        others.filter(|(_, p)| (p.machine == here) == local).map(|(n, _)| InstanceId(n)).collect()
    };
    let mut reached = Vec::new();
    let mut bell = None;
    if record.fabric != 0 {
        let device = pci.ok_or(JoinError::NoDevice)?;
        let Ivshmem { window, machine, .. } = device;
        if machine != here {
            return Err(JoinError::Machine { expected: here, found: machine });
        }
        let header = header(&window, &mut wait)?;
        if header.fabric != record.fabric {
            let (expected, found) = (record.fabric, header.fabric);
            return Err(JoinError::Fabric { expected, found });
        }
        bell = Some(device.bell);
        let entrance = Entrance { window, peers: peers(false) };
        reached.push(Reached { entrance, header, between_machines: true });
    } else if !peers(false).is_empty() {
        return Err(JoinError::NoDevice);
    }
    let siblings = peers(true);
    if !siblings.is_empty() {
        let window = local.as_ref().ok_or(JoinError::NoLocalWindow)?.window;
        let header = header(&window, &mut wait)?;
        let entrance = Entrance { window, peers: siblings };
        reached.push(Reached { entrance, header, between_machines: false });
    }
    Ok((reached, Bells { machine: here, places, pci: bell, local }))
}
