//! The x86_64 kernel's machine side, on QEMU's `q35`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests and their helpers")]

use maize_hostlink::boot::Isa;
use maize_launcher::workspace::{Workspace, test_kernel};
use maize_machine_tests::{Ran, annotated, q35, run};

fn start(binary: &'static str, cpu: &str, more: &[&str]) -> Ran {
    let workspace = Workspace::find().expect("checkout");
    let binary = test_kernel(Isa::X86_64, binary);
    let mut arguments = q35(cpu, &workspace.build(binary).expect("build"));
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    run("qemu-system-x86_64", arguments).expect("QEMU")
}

fn broken(how: &str, what: &str) {
    let ran = start("fault-test", "max", &["-append", how]);
    assert_eq!(ran.status, Some(101), "{how}:\n{}", ran.console);
    let panic = format!("kernel panic: {what} in the kernel");
    for line in [panic.as_str(), "  #0 0x", "     cr2 ", "     rip "] {
        assert!(ran.console.contains(line), "{how}: {line}:\n{}", ran.console);
    }
}

#[test]
fn text_and_constants_are_not_writable_by_any_address() {
    broken("write-text", "page fault");
    broken("write-rodata", "page fault");
    broken("text-alias", "page fault");
}

#[test]
fn only_text_is_executable() {
    broken("execute-data", "page fault");
    broken("execute-low", "page fault");
}

#[test]
fn a_stack_that_overflows_is_reported() {
    broken("guard", "page fault");
    broken("overflow", "double fault");
}

#[test]
fn a_fault_is_traced_through_its_callers() {
    let ran = start("fault-test", "max", &["-append", "write-text"]);
    for line in ["  #0 0xffffffff802", "  #1 0xffffffff802", "  #2 0xffffffff802"] {
        assert!(ran.console.contains(line), "{line}:\n{}", ran.console);
    }
    let workspace = Workspace::find().expect("checkout");
    let kernel = workspace.build(test_kernel(Isa::X86_64, "fault-test")).expect("build");
    let text = annotated(&ran.console, &kernel, workspace.root()).expect("symbols");
    for caller in [" write (boards/q35/src/bin/fault-test.rs:", " maize_main"] {
        assert!(text.contains(caller), "{caller}:\n{text}");
    }
}

#[test]
fn free_memory_is_writable_and_the_machine_powers_off() {
    for cpu in ["max", "qemu64", "Nehalem"] {
        let ran = start("fault-test", cpu, &["-append", "write-direct"]);
        assert_eq!(ran.status, Some(0), "{cpu}:\n{}", ran.console);
        assert!(ran.console.contains("written"), "{cpu}:\n{}", ran.console);
    }
}

#[test]
fn machines_of_many_sizes_are_mapped() {
    // Below and above the hole under 4 GiB; memory that is not touched costs nothing.
    for memory in ["64M", "3G", "5G"] {
        let ran = start("fault-test", "max", &["-append", "write-direct", "-m", memory]);
        assert_eq!(ran.status, Some(0), "{memory}:\n{}", ran.console);
    }
}

#[test]
fn a_kernel_without_a_boot_record_says_so() {
    let ran = start("maize-q35", "max", &[]);
    assert_eq!(ran.status, Some(101), "{}", ran.console);
    assert!(ran.console.contains("the initial RAM disk holds no maize/boot"), "{}", ran.console);
}
