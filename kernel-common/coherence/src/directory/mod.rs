//! One ordering point per page, its home; data and acknowledgements go straight to who asked.
//!
//! The home answers or forwards every request at once and never waits for a transaction's end; the
//! requests of a page are thereby in one order, and every node serves what is forwarded to it in
//! that order (links are first in, first out). A node that is still waiting for its own, earlier
//! turn remembers the readers and the one successor that the home sent after it. So no request is
//! ever refused or repeated, and waits point only backwards in the order: no deadlock.
//!
//! | miss | messages |
//! |---|---|
//! | any, two nodes | 2 |
//! | read | at most 3: GetS, FwdGetS, Data |
//! | write that invalidates n copies | at most 3 + 2n: GetM, FwdGetM, Data, n × (Inv, InvAck) |
//!
//! A copy leaves by Put and PutAck, never silently; hence an Inv that meets a waiting reader is
//! always younger than the reader's request, and waits for it.

mod cache;
mod forward;
mod gift;
mod home;
mod message;
#[cfg(feature = "model")]
mod model;
mod record;
mod recovery;
mod window;

pub use message::{Body, Holding, Message};
pub use record::{Directory, State};
