//! Processes whose home is not the instance that the program was started on.
//!
//! That instance, the **registry**, has every process's record: id, parent, group, session, status,
//! descriptors, directories. A process's **home** has the rest, its body: threads, memory, signals.
//! They are one instance at first; the body can go to another and on from there. See
//! `docs/src/distributed.md`, "Processes elsewhere".

mod arrive;
mod delegate;
mod depart;
mod news;
mod place;
mod record;
mod serve;
mod threads;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use maize_wire::InstanceId;

use crate::ids::{Pid, Tid};

pub(crate) use arrive::Arrival;
pub(crate) use delegate::{Server, delegate};
pub(crate) use depart::{Parked, park};
pub(crate) use news::News;
pub(crate) use place::{PR_MAIZE_GET_HOME, PR_MAIZE_SET_HOME};
pub(crate) use record::Piece;
pub(crate) use serve::{CallDone, CallRecord};

/// Where the parts of a process are.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// At the registry: the process's home, if that is another instance.
    pub(crate) away: Option<InstanceId>,
    /// At the home: the registry, if that is another instance.
    pub(crate) registry: Option<InstanceId>,
    /// At the home: where the process is to go. Its threads stop before they run user code.
    pub(crate) leaving: Option<InstanceId>,
    /// At the home: the threads that have stopped for that.
    pub(crate) parked: BTreeSet<Tid>,
    /// At the home: what goes along is fixed. What happens to the process now happens to it where it
    /// arrives.
    pub(crate) sealed: bool,
    /// At the registry, while the process moves: where to, and what it is told when it is there.
    pub(crate) held: Option<(InstanceId, Vec<News>)>,
    /// At the home: whether the process's group was orphaned when the registry last looked.
    pub(crate) orphaned: bool,
    /// Nanoseconds that the process's clock is ahead of the home's: it goes on where it was.
    pub(crate) clock_ahead: i64,
}

/// What an instance has of processes that move.
#[derive(Default)]
pub(crate) struct Homes {
    /// Processes on their way here.
    arriving: BTreeMap<Pid, Arrival>,
    /// Counts traps, to move a process at every so many.
    traps: u32,
    /// The instance that the next program goes to, among those that it may go to.
    next_place: u32,
}
