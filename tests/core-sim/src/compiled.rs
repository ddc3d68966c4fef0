//! Kernels for both instruction sets, compiled with this crate.
//!
//! A generic kernel is compiled where its types are known: that would be in every test program once
//! more. An unoptimised build takes from a dependency what that has compiled already, so these tables
//! make test programs small and quick to build.

use maize_abi::isa::aarch64::Aarch64;
use maize_abi::isa::x86_64::X86_64;
use maize_arch_host::Script;
use maize_core::FabricSettings;

use crate::{Outcome, fabric};

/// Runs a script on one kernel, from a seed.
pub type RunAlone = fn(&Script, u64) -> Outcome;

/// Runs a script on that many kernels, from a seed.
pub type RunOnFabric = fn(u16, &Script, &FabricSettings, u64) -> Outcome;

/// [`crate::run`] for each instruction set.
pub static ALONE: [RunAlone; 2] = [crate::run::<X86_64>, crate::run::<Aarch64>];

/// [`fabric::run`] for each instruction set.
pub static ON_FABRIC: [RunOnFabric; 2] = [
    |instances, script, settings, seed| fabric::run::<X86_64>(instances, script, settings, seed).0,
    |instances, script, settings, seed| fabric::run::<Aarch64>(instances, script, settings, seed).0,
];
