//! The launcher, as a library and as a command, against a machine that is no QEMU.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod fabrics;
mod on_fake_machine;
mod sessions;
mod terminal;
