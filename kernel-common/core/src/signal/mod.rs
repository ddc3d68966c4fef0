//! Signals: pending ones, sending, delivery.

mod deliver;
mod pending;
mod permission;
mod send;

pub(crate) use deliver::deliver;
pub(crate) use pending::PendingSignals;
