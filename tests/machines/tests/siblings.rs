//! Several instances in one machine: started, rung, stopped, started again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests and their helpers")]

use maize_hostlink::boot::Isa;
use maize_launcher::run::kernel_files;
use maize_launcher::workspace::{Workspace, test_kernel};
use maize_machine_tests::{Ran, Siblings};
use maize_sibling_life::{AGAIN, MEET};

fn run(isa: Isa, siblings: Siblings) -> Ran {
    let workspace = Workspace::find().expect("checkout");
    let kernel = kernel_files(test_kernel(isa, "sibling-test"), &workspace);
    let (kernel, _) = kernel.expect("build");
    siblings.run(isa, &kernel).expect("QEMU")
}

/// What the console shows of an instance, the machine's first if `number` is 0.
fn said(ran: &Ran, number: u16, text: &str) -> bool {
    let prefix = if number == 0 { "[INFO ".to_owned() } else { format!("[{number}] [INFO ") };
    ran.console.lines().any(|line| line.starts_with(&prefix) && line.contains(text))
}

fn meet(isa: Isa, instances: u16, memory: u32) {
    let ran = run(isa, Siblings { instances, cores: instances, memory, scenario: MEET });
    assert_eq!(ran.status, Some(0), "{}", ran.console);
    for number in 0..instances {
        for text in [
            format!("instance {number} is here, start 1,"),
            format!("met {} others", instances - 1),
        ] {
            assert!(said(&ran, number, &text), "{number}: {text}\n{}", ran.console);
        }
    }
}

fn again(isa: Isa, lives: u32) {
    let ran = run(isa, Siblings { instances: 3, cores: 3, memory: 256, scenario: AGAIN });
    assert_eq!(ran.status, Some(0), "{}", ran.console);
    for life in 1..=lives {
        assert!(said(&ran, 1, &format!("is here, start {life},")), "{life}\n{}", ran.console);
        assert!(said(&ran, 0, &format!("life {life} of the second")), "{life}\n{}", ran.console);
    }
    assert!(said(&ran, 0, "the second has stopped"), "{}", ran.console);
    for line in ["[1] kernel panic: as ordered", "[1]   at ", "[1]   #0 0x"] {
        assert!(ran.console.contains(line), "{line}\n{}", ran.console);
    }
    let starts = ran.console.matches("[2] [INFO ").count();
    assert_eq!(ran.console.matches(" is here, start 1,").count(), 3, "{}", ran.console);
    assert!(starts >= 1, "{}", ran.console);
    let how = match isa {
        Isa::X86_64 => "hung, it has stopped",
        // Nobody but the processor itself can turn it off there.
        Isa::Aarch64 => "hung, it cannot be stopped",
    };
    assert!(said(&ran, 0, how), "{how}\n{}", ran.console);
}

/// A machine that cannot host its instances says why and fails.
fn refused(isa: Isa, siblings: Siblings, why: &str) {
    let ran = run(isa, siblings);
    assert_eq!(ran.status, Some(101), "{}", ran.console);
    assert!(ran.console.contains(why), "{why}\n{}", ran.console);
}

#[test]
fn a_machine_that_is_too_small_says_so() {
    let siblings = Siblings { instances: 4, cores: 2, memory: 128, scenario: MEET };
    refused(Isa::X86_64, siblings, "kernel panic: 4 instances are to run on 2 cores");
    let siblings = Siblings { instances: 8, cores: 8, memory: 64, scenario: MEET };
    for isa in Isa::ALL {
        refused(isa, siblings, "kernel panic: too little memory for instance 0 of this machine");
    }
}

#[test]
fn two_x86_64_instances_ring_each_other() {
    meet(Isa::X86_64, 2, 128);
}

#[test]
fn sixteen_x86_64_instances_ring_each_other() {
    meet(Isa::X86_64, 16, 512);
}

#[test]
fn an_x86_64_instance_is_started_again_whatever_it_did() {
    again(Isa::X86_64, 5);
}

#[test]
fn two_aarch64_instances_ring_each_other() {
    meet(Isa::Aarch64, 2, 128);
}

#[test]
fn eight_aarch64_instances_ring_each_other() {
    meet(Isa::Aarch64, 8, 256);
}

#[test]
fn sixteen_aarch64_instances_ring_each_other() {
    meet(Isa::Aarch64, 16, 512);
}

#[test]
fn an_aarch64_instance_is_started_again_unless_it_hangs() {
    again(Isa::Aarch64, 4);
}
