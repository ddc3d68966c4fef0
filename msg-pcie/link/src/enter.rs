//! Entering the fabric of a window.

use core::fmt;

use alloc::vec::Vec;

use maize_hal::Nanos;
use maize_window::{HeaderError, PresenceCell, Window, WindowHeader};
use maize_wire::InstanceId;

use crate::{Fabric, FabricConfig, WindowPort};

/// An instance's links over a window.
pub type WindowFabric<W> = Fabric<WindowPort<W>, PresenceCell<W>>;

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
    mut config: FabricConfig,
) -> Result<(WindowFabric<W>, WindowHeader), EnterError> {
    let header = WindowHeader::read(window).map_err(EnterError::Header)?;
    let layout = &header.layout;
    config.link.coverage = header.coverage;
    let line = layout.presence(me).and_then(|span| window.part(span));
    let presence = PresenceCell::new(line.ok_or(EnterError::NoSuchInstance(me))?);
    let epoch = presence.next_epoch().ok_or(EnterError::NoEpochLeft)?;
    let ports: Option<Vec<_>> = layout
        .peers(me)
        .map(|peer| Some((peer, WindowPort::new(window, layout, me, peer)?)))
        .collect();
    let ports = ports.ok_or(EnterError::NoSuchInstance(me))?;
    Ok((Fabric::new(config, now, (me, epoch), presence, ports), header))
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
}

impl fmt::Display for EnterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnterError::Header(error) => error.fmt(f),
            EnterError::NoSuchInstance(me) => write!(f, "window has no place for {me}"),
            EnterError::NoEpochLeft => f.write_str("epochs have run out"),
        }
    }
}

impl core::error::Error for EnterError {}
