//! Runs the programs of `tests/programs` on the host's Linux and on Maize, and compares.
//!
//! A [`Case`] is one program built with one C library, or one shell script. [`host`] runs cases
//! natively and [`machine`] in QEMU; both give the same list of cases to the same driver program,
//! which frames what each prints, so one boot serves all of them. [`transcript`] takes the frames
//! apart and [`compare`] tells what differs. The text printed is the same on every instruction set:
//! what the host's Linux prints at test time is what Maize must print, byte for byte.

pub mod build;
pub mod case;
pub mod compare;
pub mod foreign;
pub mod host;
pub mod machine;
pub mod transcript;

pub use case::{Case, Libc};
pub use transcript::{Ending, Outcome};
