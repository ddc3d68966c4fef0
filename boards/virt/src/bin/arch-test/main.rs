//! Tries the processor's side of the kernel on the machine itself, without the core: user mode,
//! traps, translation, the timer, FPU state. Prints a line for each check; the machine's exit
//! status is 0 if all hold.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod checks;
#[cfg(target_os = "none")]
mod programs;
#[cfg(target_os = "none")]
mod user_space;

/// On the host there is no machine to run.
#[cfg(not(target_os = "none"))]
fn main() {}
