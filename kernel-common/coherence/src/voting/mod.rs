//! The seed's protocol (A Page Coherency Protocol for Popcorn, sections 4 and 5.2): no ordering
//! point; a writer asks every user of the page, and concurrent writers vote.
//!
//! States, messages and rules carry the paper's names. Where the published protocol has a hole, the
//! mend is named `D1`, `D2`, … here and in `SPEC.md`, "Deviations from the paper", with the
//! counter-example that the model checker gave.

mod answer;
mod message;
#[cfg(feature = "model")]
mod model;
mod query;
mod record;
mod round;
mod window;

pub use message::{Message, Rival};
pub use record::{State, Voting};
