//! What an instance measures of a window before it trusts it.
//!
//! [`SelfTest`]: are atomic operations on the window exact between these two instances, and do
//! fences order? Some emulators make neither true unless they are told that there is a second
//! core. [`ClockProbe`]: how far are their clocks apart? Both are machines that both sides poll;
//! neither has a clock of its own.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod clock;
mod self_test;

pub use clock::{ClockOffset, ClockProbe};
pub use self_test::{Progress, Refusal, Report, SelfTest, SelfTestConfig, SelfTestParts, Side};
