//! The registry: which groups there are and what each does.

use super::{Group, Step, dependencies, every_package_is_tested, links, sources};

/// Folders of packages that are built for a bare target only.
pub const BARE_FOLDERS: [&str; 5] =
    ["arch/x86_64", "arch/aarch64", "boards/empty", "boards/q35", "boards/virt"];

/// Folders of packages that need LLVM: only their own group builds them.
pub const LLVM_FOLDERS: [&str; 2] = ["compiler-plugin/cc", "compiler-plugin/llvm"];

/// Every group, in the order of a full run: what is quick comes first.
pub const GROUPS: &[Group] = &[
    Group {
        name: "fmt",
        about: "rustfmt leaves every file as it is",
        steps: &[Step::Cargo("fmt --all --check")],
    },
    Group {
        name: "layers",
        about: "dependencies point one way; target_arch, unsafe and paths stay where they belong",
        steps: &[
            Step::Check(dependencies::check),
            Step::Check(sources::default_members),
            Step::Check(every_package_is_tested),
            Step::Check(sources::target_arch),
            Step::Check(sources::crate_headers),
            Step::Check(sources::absolute_paths),
        ],
    },
    Group {
        name: "docs",
        about: "chapters are listed and links lead somewhere",
        steps: &[Step::Check(links::check)],
    },
    Group {
        name: "clippy",
        about: "no warning on the host or in either kernel",
        steps: &[
            Step::Cargo("clippy --quiet --all-targets -- -D warnings"),
            Step::Cargo(
                "clippy --quiet --package maize-q35 --target x86_64-unknown-none -- -D warnings",
            ),
            Step::Cargo(
                "clippy --quiet --package maize-empty --features q35 \
                 --target x86_64-unknown-none -- -D warnings",
            ),
            Step::Cargo(
                "clippy --quiet --package maize-empty --features virt \
                 --target aarch64-unknown-none-softfloat -- -D warnings",
            ),
            Step::Cargo(
                "clippy --quiet --package maize-virt \
                 --target aarch64-unknown-none-softfloat -- -D warnings",
            ),
        ],
    },
    Group {
        name: "unit",
        about: "unit and property tests of the core, the boards and the launcher",
        steps: &[Step::Packages(&[
            "kernel-common/abi",
            "kernel-common/hal",
            "kernel-common/mm",
            "kernel-common/vfs",
            "kernel-common/core",
            "arch/host",
            "boards/",
        ])],
    },
    Group {
        name: "sim",
        about: "whole kernels on emulated machines, in virtual time",
        steps: &[Step::Packages(&["tests/core-sim"])],
    },
    Group {
        name: "arch",
        about: "the processors' side of the kernels: decoders on the host, checks on the machines",
        steps: &[
            Step::Tests("--quiet --package maize-arch-aarch64"),
            Step::Tests("--quiet --package maize-arch-x86_64"),
            Step::Packages(&["tests/machines"]),
        ],
    },
    Group {
        name: "msg",
        about: "frames, rings and links: models, loom, simulated networks, real processes",
        steps: &[Step::Packages(&["msg-pcie/", "tests/msg-*"])],
    },
    Group {
        name: "metadata",
        about: "transformation metadata and the neutral thread state, sound and damaged",
        steps: &[Step::Packages(&["migrate-xisa/"])],
    },
    Group {
        name: "coherence",
        about: "the page protocols, exhaustively on small fabrics",
        steps: &[Step::Packages(&["kernel-common/coherence", "tests/coherence-*"])],
    },
    Group {
        name: "xisa",
        about: "maize-cc: programs that move between instruction sets, in user mode",
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
            Step::Tests("--quiet --package maize-llvm --package maize-cc"),
        ],
    },
    Group {
        name: "programs",
        about: "the test programs on the host's own Linux",
        steps: &[Step::Packages(&["tests/programs-runner"])],
    },
    Group {
        name: "qemu-x86_64",
        about: "runs and the test programs on the x86_64 kernel, compared with Linux",
        steps: &[
            Step::Tests("--quiet --package maize-runs -- --ignored x86_64 --test-threads=1"),
            Step::Tests(
                "--quiet --package maize-programs-runner --test programs -- --ignored x86_64/",
            ),
        ],
    },
    Group {
        name: "qemu-aarch64",
        about: "runs and the test programs on the aarch64 kernel, compared with Linux",
        steps: &[
            Step::Tests("--quiet --package maize-runs -- --ignored aarch64 --test-threads=1"),
            Step::Tests(
                "--quiet --package maize-programs-runner --test programs -- --ignored aarch64/",
            ),
        ],
    },
];
