//! A kernel for QEMU's `virt` machine that runs no programs: it exercises its links as the boot record
//! says, and tells the launcher what came of it.
#![cfg_attr(target_os = "none", no_std, no_main)]

/// On the host there is no machine to run.
#[cfg(not(target_os = "none"))]
fn main() {}

/// Entered from `boot.s` at the image's linked address, on the kernel's stack.
#[cfg(target_os = "none")]
#[allow(unsafe_code, reason = "entered from assembly")]
#[unsafe(no_mangle)]
extern "C" fn maize_main(device_tree: u64, image: u64, entered_at: u64, level: u64) -> ! {
    let boot = maize_arch_aarch64::entry::BootInfo { device_tree, image, entered_at, level };
    // SAFETY: first of all, once, with the entry code's own values.
    unsafe { maize_virt::start(boot, maize_msg_exercise::kernel::run) }
}
