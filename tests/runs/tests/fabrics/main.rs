//! What fabrics of several instances promise, on the real kernels. Ignored unless asked for, since
//! each test boots machines: `cargo test -p maize-runs --test fabrics -- --ignored --test-threads=1`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod boots;
mod costs;
mod deaths;
mod debugger;
mod exchanges;
mod failures;
mod harness;
mod threads;
mod timeline;
