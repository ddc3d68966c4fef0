//! Entering the fabric, over one window or over several.

use core::fmt;

use alloc::vec::Vec;

use maize_hal::Nanos;
use maize_window::{HeaderError, Presence, PresenceCell, Window, WindowHeader};
use maize_wire::InstanceId;

use crate::{Announce, Fabric, FabricConfig, WindowPort};

/// An instance's links over windows.
pub type WindowFabric<W> = Fabric<WindowPort<W>, Vec<PresenceCell<W>>>;

/// A window that an instance is in, and whom it talks to over it.
#[derive(Clone, Debug)]
pub struct Entrance<W> {
    /// The window, which has a header.
    pub window: W,
    /// The peers, each in one window only.
    pub peers: Vec<InstanceId>,
}

/// Who is in several windows says in each of them that it is there.
impl<W: Window> Announce for Vec<PresenceCell<W>> {
    fn announce(&mut self, presence: Presence) {
        for cell in self {
            cell.publish(presence);
        }
    }
}

/// Enters the fabric of a window as that instance: reads the window's header, takes the epoch after
/// the one that a predecessor in the same section may have left, and makes a link to each other
/// instance. The header's checksum coverage replaces that of `config`.
///
/// # Errors
/// [`EnterError`]; nothing was written to the window.
pub fn enter<W: Window>(
    window: &W,
    me: InstanceId,
    now: Nanos,
    config: FabricConfig,
) -> Result<(WindowFabric<W>, WindowHeader), EnterError> {
    let header = WindowHeader::read(window).map_err(EnterError::Header)?;
    let peers = header.layout.peers(me).collect();
    let fabric = enter_windows(&[Entrance { window: window.clone(), peers }], me, now, config)?;
    Ok((fabric, header))
}

/// Enters the fabric over several windows, under an epoch that is new in each of them. Which peer is
/// reached over which one is the caller's knowledge.
///
/// # Errors
/// [`EnterError`]; nothing was written to any window.
pub fn enter_windows<W: Window>(
    entrances: &[Entrance<W>],
    me: InstanceId,
    now: Nanos,
    mut config: FabricConfig,
) -> Result<WindowFabric<W>, EnterError> {
    let (mut presences, mut ports) = (Vec::new(), Vec::new());
    let mut epoch = None;
    for Entrance { window, peers } in entrances {
        let header = WindowHeader::read(window).map_err(EnterError::Header)?;
        if presences.is_empty() {
            config.link.coverage = header.coverage;
        } else if config.link.coverage != header.coverage {
            return Err(EnterError::Coverage);
        }
        let line = header.layout.presence(me).and_then(|span| window.part(span));
        let presence = PresenceCell::new(line.ok_or(EnterError::NoSuchInstance(me))?);
        epoch = epoch.max(Some(presence.next_epoch().ok_or(EnterError::NoEpochLeft)?));
        presences.push(presence);
        for peer in peers {
            let port = WindowPort::new(window, &header.layout, me, *peer);
            ports.push((*peer, port.ok_or(EnterError::NoSuchInstance(*peer))?));
        }
    }
    let epoch = epoch.ok_or(EnterError::NoWindow)?;
    Ok(Fabric::new(config, now, (me, epoch), presences, ports))
}

/// Why an instance cannot enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnterError {
    /// The window has no header yet, or none that can be used.
    Header(HeaderError),
    /// The window has no place for this instance.
    NoSuchInstance(InstanceId),
    /// The section's epochs have run out.
    NoEpochLeft,
    /// Two windows differ in what has checksums.
    Coverage,
    /// There is no window.
    NoWindow,
}

impl fmt::Display for EnterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnterError::Header(error) => error.fmt(f),
            EnterError::NoSuchInstance(me) => write!(f, "window has no place for {me}"),
            EnterError::NoEpochLeft => f.write_str("epochs have run out"),
            EnterError::Coverage => f.write_str("windows differ in what has checksums"),
            EnterError::NoWindow => f.write_str("there is no window"),
        }
    }
}

impl core::error::Error for EnterError {}
