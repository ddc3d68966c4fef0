//! Builds test programs and runs them.
#![allow(dead_code, reason = "not every test file uses all of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail so")]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use maize_xisa_metadata::Isa;

/// What `everything.c` prints, on any instruction set and over any number of moves.
pub(crate) fn expected_everything() -> &'static str {
    include_str!("../programs/everything.txt")
}

/// A program that was built for both instruction sets.
pub(crate) struct Program {
    folder: tempfile::TempDir,
    output: PathBuf,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) text: String,
    pub(crate) errors: String,
    pub(crate) hops: usize,
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs")
}

/// Where the sysroot is: made by `./maize test xisa`, which says so.
fn compiler() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maize-cc"));
    if std::env::var_os("MAIZE_SYSROOT").is_none() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.maize/xisa/sysroot");
        assert!(root.is_dir(), "{} is missing: ./maize test xisa makes it", root.display());
        command.env("MAIZE_SYSROOT", root);
    }
    command
}

fn run(command: &mut Command) -> Run {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Run {
        status: output.status.code().unwrap_or(-1),
        text: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        hops: 0,
    }
}

fn succeed(command: &mut Command) {
    let run = run(command);
    assert_eq!(run.status, 0, "{command:?}: {}", run.errors);
}

/// What the compiler says of a source that it refuses.
pub(crate) fn refused(source: &str) -> String {
    refused_in("t.c", source)
}

/// The same of a source whose name says its language.
pub(crate) fn refused_in(name: &str, source: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), source).unwrap();
    let mut command = compiler();
    let run = run(command.current_dir(folder.path()).args(["-c", name]));
    assert_eq!(run.status, 1, "{run:?}");
    run.errors
}

const FREESTANDING: [&str; 3] = ["-ffreestanding", "-fno-builtin", "-nostdlib"];

impl Program {
    /// A program without a C library.
    pub(crate) fn freestanding(source: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("program");
        let files = [source, "start.c"].map(|file| sources().join(file));
        let mut command = compiler();
        succeed(command.args(FREESTANDING).args(options).args(files).arg("-o").arg(&output));
        Self { folder, output }
    }

    /// The same by way of an object and an archive that are linked later.
    pub(crate) fn from_archive(source: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (file, object) in [(source, "main.o"), ("start.c", "start.o")] {
            let mut command = compiler();
            command.args(FREESTANDING).args(options).arg("-c").arg(sources().join(file));
            succeed(command.arg("-o").arg(at(object)));
        }
        succeed(Command::new("ar").arg("rc").arg(at("libstart.a")).arg(at("start.o")));
        let output = at("program");
        let mut command = compiler();
        command.args(FREESTANDING).args(options).arg(at("main.o")).arg("-L").arg(folder.path());
        succeed(command.arg("-lstart").arg("-o").arg(&output));
        Self { folder, output }
    }

    /// A program with the C library.
    pub(crate) fn hosted(source: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("program");
        let mut command = compiler();
        succeed(command.args(options).arg(sources().join(source)).arg("-o").arg(&output));
        Self { folder, output }
    }

    /// A program in C++.
    pub(crate) fn cxx(source: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("program");
        let mut command = compiler();
        succeed(
            command
                .arg0("maize-c++")
                .args(options)
                .arg(sources().join(source))
                .arg("-o")
                .arg(&output),
        );
        Self { folder, output }
    }

    /// A program without a C library, from its text.
    pub(crate) fn of_text(text: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("program");
        let source = folder.path().join("main.c");
        std::fs::write(&source, text).unwrap();
        let mut command = compiler();
        command.args(FREESTANDING).args(options).arg("-I").arg(sources()).arg(source);
        succeed(command.arg(sources().join("start.c")).arg("-o").arg(&output));
        Self { folder, output }
    }

    /// A program with the C library, from its text.
    pub(crate) fn of_hosted_text(text: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("main.c");
        std::fs::write(&source, text).unwrap();
        Self::hosted(source.to_str().unwrap(), options)
    }

    /// A folder that lives as long as the program.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file for an instruction set.
    pub(crate) fn file(&self, isa: Isa) -> PathBuf {
        maize_cc::link::program_file(&self.output, isa)
    }

    /// Runs it on an instruction set: the host's own, or emulated.
    pub(crate) fn run(&self, isa: Isa, environment: &[(&str, &str)]) -> Run {
        let mut command = if isa.name() == std::env::consts::ARCH {
            Command::new(self.file(isa))
        } else {
            let mut command = Command::new(format!("qemu-{}-static", isa.name()));
            command.arg(self.file(isa));
            command
        };
        run(command.envs(environment.iter().copied()))
    }

    /// Runs it from its start on x86_64 and moves it to the other instruction set at every
    /// `points`-th migration point.
    pub(crate) fn trip(&self, points: u32) -> Run {
        self.trip_of_at_most(points, 10_000)
    }

    /// The same, but stays where it is once it has moved so often.
    pub(crate) fn trip_of_at_most(&self, points: u32, hops: usize) -> Run {
        let mut whole = Run { status: 0, text: String::new(), errors: String::new(), hops: 0 };
        loop {
            let [from, to] = [whole.hops, whole.hops + 1]
                .map(|number| self.folder.path().join(format!("state.{number}")));
            let leave = format!("leave:{points}:{}", to.display());
            let mut environment = Vec::new();
            if whole.hops < hops {
                environment.push(("MAIZE_MIGRATE", leave.as_str()));
            }
            if whole.hops > 0 {
                environment.push(("MAIZE_RESUME", from.to_str().unwrap()));
            }
            let run = self.run(Isa::ALL[whole.hops % 2], &environment);
            whole.text += &run.text;
            whole.errors += &run.errors;
            whole.status = run.status;
            if run.status != 42 {
                return whole;
            }
            whole.hops += 1;
        }
    }
}
