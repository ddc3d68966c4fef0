//! The aarch64 processor's side of the kernel, on QEMU's `virt`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests and their helpers")]

use std::path::PathBuf;
use std::sync::Mutex;

use maize_hostlink::boot::Isa;
use maize_launcher::image::image_of;
use maize_launcher::workspace::{Workspace, test_kernel};
use maize_machine_tests::{Ran, annotated, run, virt};

const SEMIHOSTING: [&str; 2] = ["-semihosting-config", "enable=on,target=native"];
const GICV2: &str = "virt,gic-version=2";

fn image() -> PathBuf {
    let workspace = Workspace::find().expect("checkout");
    let binary = test_kernel(Isa::Aarch64, "arch-test");
    image_of(&workspace.build(binary).expect("build")).expect("image")
}

fn start(machine: &str, cpu: &str, more: &[&str]) -> Ran {
    /// One machine at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    let mut arguments = virt(machine, cpu, &image());
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    run("qemu-system-aarch64", arguments).expect("QEMU")
}

fn holds(machine: &str, cpu: &str, level: &str) {
    let ran = start(machine, cpu, &SEMIHOSTING);
    assert_eq!(ran.status, Some(0), "{cpu}:\n{}", ran.console);
    assert!(ran.console.contains(level), "{cpu}:\n{}", ran.console);
    assert!(ran.console.contains("all checks hold"), "{cpu}:\n{}", ran.console);
    assert_eq!(ran.console.matches("] ok ").count(), 12, "{cpu}:\n{}", ran.console);
}

#[test]
fn every_check_holds_on_old_and_new_processors() {
    // ARMv8.0, 8.2, everything that QEMU has.
    for cpu in ["cortex-a57", "neoverse-n1", "max"] {
        holds(GICV2, cpu, "entered at EL1");
    }
}

#[test]
fn a_kernel_started_by_a_hypervisor_level_drops_it() {
    holds("virt,gic-version=2,virtualization=on", "max", "entered at EL2");
}

#[test]
fn a_fault_of_the_kernel_is_reported_and_fails_the_machine() {
    let ran = start(GICV2, "max", &[SEMIHOSTING.as_slice(), &["-append", "panic"]].concat());
    assert_eq!(ran.status, Some(101), "{}", ran.console);
    let panic = "kernel panic: data abort in the kernel at address 0xffff000000000000";
    assert!(ran.console.contains(panic), "{}", ran.console);
    for line in ["  #0 0xffffffff8", "  #1 0xffffffff8", " esr 0000000096", " far ffff00000000"] {
        assert!(ran.console.contains(line), "{line}:\n{}", ran.console);
    }
    let workspace = Workspace::find().expect("checkout");
    let kernel = workspace.build(test_kernel(Isa::Aarch64, "arch-test")).expect("build");
    let text = annotated(&ran.console, &kernel, workspace.root()).expect("symbols");
    for caller in [" fault_in_the_kernel (boards/virt/src/bin/arch-test/checks.rs:", " maize_main"]
    {
        assert!(text.contains(caller), "{caller}:\n{text}");
    }
}

#[test]
fn either_interrupt_controller_will_do() {
    holds("virt,gic-version=3", "max", "entered at EL1");
    holds("virt,gic-version=3,virtualization=on", "cortex-a72", "entered at EL2");
}

#[test]
fn without_semihosting_the_firmware_turns_the_machine_off() {
    let ran = start(GICV2, "max", &[]);
    assert_eq!(ran.status, Some(0), "{}", ran.console);
    assert!(ran.console.contains("all checks hold"), "{}", ran.console);
}
