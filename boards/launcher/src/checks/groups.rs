//! The registry: which groups there are and what each does.

use maize_hostlink::boot::Isa;

use super::{Group, Lane, Selection, Step, dependencies, every_package_is_tested, links, sources};

/// Folders of packages that are built for a bare target only.
pub const BARE_FOLDERS: [&str; 5] =
    ["arch/x86_64", "arch/aarch64", "boards/empty", "boards/q35", "boards/virt"];

/// Folders of packages that need LLVM: only their own group builds them.
pub const LLVM_FOLDERS: [&str; 2] = ["compiler-plugin/cc", "compiler-plugin/llvm"];

/// Arguments of tests that start fabrics: one at a time, and not what only a long run does.
const OF_FABRICS: &[&str] = &["--ignored", "--test-threads=1", "--skip", "at_length"];

/// What only a long run does of them.
const OF_FABRICS_AT_LENGTH: &[&str] = &["--ignored", "--test-threads=1", "at_length"];

/// Every group, in the order of a full run: what is quick comes first, then what others wait for. Machines
/// begin with one instruction set while the kernels of the other are still to be built.
pub const GROUPS: &[Group] = &[
    Group {
        name: "fmt",
        about: "rustfmt leaves every file as it is",
        lane: Lane::Host,
        steps: &[Step::Cargo("fmt --all --check")],
    },
    Group {
        name: "layers",
        about: "dependencies point one way; target_arch, unsafe and paths stay where they belong",
        lane: Lane::Host,
        steps: &[
            Step::Check(dependencies::check),
            Step::Check(sources::default_members),
            Step::Check(every_package_is_tested),
            Step::Check(sources::target_arch),
            Step::Check(sources::crate_headers),
            Step::Check(sources::absolute_paths),
            Step::Check(sources::no_test_is_left_out),
        ],
    },
    Group {
        name: "docs",
        about: "chapters are listed and links lead somewhere",
        lane: Lane::Host,
        steps: &[Step::Check(links::check)],
    },
    Group {
        name: "clippy",
        about: "everything for the host builds, without a warning by rustc or clippy",
        lane: Lane::Host,
        steps: &[Step::BuildHost],
    },
    Group {
        name: "kernels",
        about: "every kernel builds, without a warning by rustc or clippy",
        lane: Lane::Host,
        steps: &[Step::BuildKernels(Isa::X86_64), Step::BuildKernels(Isa::Aarch64)],
    },
    Group {
        name: "unit",
        about: "unit and property tests of the core, the boards and the launcher",
        lane: Lane::Host,
        steps: &[
            Step::Packages(&[
                "kernel-common/abi",
                "kernel-common/hal",
                "kernel-common/radix",
                "kernel-common/mm",
                "kernel-common/vfs",
                "kernel-common/core",
                "arch/host",
                "boards/",
            ]),
            Step::Examples,
        ],
    },
    Group {
        name: "sim",
        about: "whole kernels on emulated machines, in virtual time",
        lane: Lane::Host,
        steps: &[Step::Packages(&["tests/core-sim"])],
    },
    Group {
        name: "msg",
        about: "frames, rings and links: models, loom, simulated networks, real processes",
        lane: Lane::Host,
        steps: &[Step::Packages(&["msg-pcie/", "tests/msg-*"])],
    },
    Group {
        name: "metadata",
        about: "transformation metadata and the neutral thread state, sound and damaged",
        lane: Lane::Host,
        steps: &[
            Step::Packages(&["migrate-xisa/"]),
            Step::LongCargo(
                "test --quiet --release --package maize-xisa-metadata --package migrate-xisa \
                 --test damaged --test mutations -- --ignored",
            ),
        ],
    },
    Group {
        name: "coherence",
        about: "the page protocols, exhaustively on small fabrics",
        lane: Lane::Host,
        steps: &[
            Step::Packages(&["kernel-common/coherence", "tests/coherence-*"]),
            Step::LongCargo(
                "clippy --quiet --package maize-coherence-sim --features criterion --benches \
                 -- -D warnings",
            ),
            Step::LongCargo(
                "clippy --quiet --package maize-coherence-model --features explore --bins \
                 -- -D warnings",
            ),
        ],
    },
    Group {
        name: "xisa",
        about: "maize-cc: programs that move between instruction sets, in user mode",
        lane: Lane::Host,
        steps: &[
            Step::Cargo(
                "clippy --quiet --package maize-llvm --package maize-cc --all-targets -- -D warnings",
            ),
            Step::Cargo(
                "clippy --quiet --package maize-xisa-runtime --target x86_64-unknown-none \
                 -- -D warnings",
            ),
            Step::Cargo(
                "clippy --quiet --package maize-xisa-runtime \
                 --target aarch64-unknown-none-softfloat -- -D warnings",
            ),
            Step::CargoTest("--quiet --package maize-llvm --package maize-cc"),
        ],
    },
    Group {
        name: "programs",
        about: "the test programs on the host's own Linux",
        lane: Lane::Host,
        steps: &[Step::Packages(&["tests/programs-runner"])],
    },
    Group {
        name: "qemu-x86_64",
        about: "runs and the test programs on the x86_64 kernel, compared with Linux",
        lane: Lane::Machines,
        steps: &[
            Step::NeedKernels(Isa::X86_64),
            Step::Tests(Selection {
                package: "tests/runs",
                target: "runs",
                arguments: &["--ignored", "x86_64", "--test-threads=1"],
            }),
            Step::Tests(Selection {
                package: "tests/programs-runner",
                target: "programs",
                arguments: &["--ignored", "x86_64/"],
            }),
        ],
    },
    Group {
        name: "arch",
        about: "the processors' side of the kernels: decoders on the host, checks on the machines",
        lane: Lane::Machines,
        steps: &[
            Step::NeedKernels(Isa::X86_64),
            Step::NeedKernels(Isa::Aarch64),
            Step::Packages(&[
                "arch/aarch64",
                "arch/x86_64",
                "tests/machines",
                "tests/sibling-life",
            ]),
        ],
    },
    Group {
        name: "qemu-aarch64",
        about: "runs and the test programs on the aarch64 kernel, compared with Linux",
        lane: Lane::Machines,
        steps: &[
            Step::NeedKernels(Isa::Aarch64),
            Step::Tests(Selection {
                package: "tests/runs",
                target: "runs",
                arguments: &["--ignored", "aarch64", "--test-threads=1"],
            }),
            Step::Tests(Selection {
                package: "tests/programs-runner",
                target: "programs",
                arguments: &["--ignored", "aarch64/"],
            }),
        ],
    },
    Group {
        name: "qemu-fabrics",
        about: "several instances and machines: messages, traces, machines that stop, die and lie",
        lane: Lane::Machines,
        steps: &[
            Step::NeedKernels(Isa::X86_64),
            Step::NeedKernels(Isa::Aarch64),
            Step::Tests(Selection {
                package: "tests/runs",
                target: "fabrics",
                arguments: OF_FABRICS,
            }),
            Step::Long(Selection {
                package: "tests/runs",
                target: "fabrics",
                arguments: OF_FABRICS_AT_LENGTH,
            }),
            Step::Long(Selection {
                package: "tests/programs-runner",
                target: "programs",
                arguments: &["--ignored", "-moving/"],
            }),
            Step::Long(Selection {
                package: "tests/programs-runner",
                target: "programs",
                arguments: &["--ignored", "-wandering/"],
            }),
        ],
    },
    Group {
        name: "qemu-between",
        about: "threads that move between kernels of different instruction sets, and the tour",
        lane: Lane::Machines,
        steps: &[
            Step::NeedKernels(Isa::X86_64),
            Step::NeedKernels(Isa::Aarch64),
            Step::Tests(Selection {
                package: "tests/runs",
                target: "between",
                arguments: OF_FABRICS,
            }),
            Step::Long(Selection {
                package: "tests/runs",
                target: "between",
                arguments: OF_FABRICS_AT_LENGTH,
            }),
        ],
    },
];
