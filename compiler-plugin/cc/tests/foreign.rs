//! Foreign programs, their upstream sources unchanged: built by their own makefiles, they give Linux's
//! answer wherever and however often they move.
//!
//! `./maize test xisa` fetches the sources. A usual run builds what is small; `--long` all of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail so")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use maize_cc::link::program_file;
use maize_xisa_metadata::Isa;

/// Where `./maize test xisa` puts what it fetches.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.maize/xisa").canonicalize().unwrap()
}

/// A copy of a foreign program's sources, to be built.
struct Sources(tempfile::TempDir);

impl Sources {
    fn of(name: &str) -> Self {
        let from = cache().join("foreign").join(name);
        assert!(from.is_dir(), "{} is missing: ./maize test xisa makes it", from.display());
        let folder = tempfile::tempdir().unwrap();
        // With their times, by which makefiles see that what was generated is current.
        let mut copy = Command::new("cp");
        succeed(copy.arg("-rp").arg(format!("{}/.", from.display())).arg(folder.path()));
        Self(folder)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn command(&self, folder: &str, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.at(folder));
        if std::env::var_os("MAIZE_SYSROOT").is_none() {
            command.env("MAIZE_SYSROOT", cache().join("sysroot"));
        }
        command
    }

    fn make(&self, folder: &str, arguments: &[&str]) {
        succeed(self.command(folder, "make").arg("-s").args(arguments));
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}

const MAIZE_CC: &str = env!("CARGO_BIN_EXE_maize-cc");
const MAIZE_AR: &str = env!("CARGO_BIN_EXE_maize-ar");

/// A program, built by the host's compiler and by this one.
struct Pair {
    ours: Sources,
    theirs: Sources,
    program: String,
}

/// One way to run a program.
struct Case<'c> {
    arguments: &'c [&'c str],
    input: PathBuf,
}

impl Pair {
    fn new(name: &str, program: &str, build: impl Fn(&Sources, &str, &str)) -> Self {
        let pair = Self {
            ours: Sources::of(name),
            theirs: Sources::of(name),
            program: program.to_owned(),
        };
        build(&pair.ours, MAIZE_CC, MAIZE_AR);
        build(&pair.theirs, "cc", "ar");
        pair
    }

    /// The command that runs the file of an instruction set.
    fn command(&self, isa: Isa) -> Command {
        let file = program_file(&self.ours.at(&self.program), isa);
        let mut command = if isa.name() == std::env::consts::ARCH {
            Command::new(file)
        } else {
            let mut command = Command::new(format!("qemu-{}-static", isa.name()));
            command.arg(file);
            command
        };
        command.current_dir(self.ours.0.path());
        command
    }

    /// What it prints if Linux's own compiler builds it.
    fn expected(&self, case: &Case<'_>) -> Vec<u8> {
        let mut command = Command::new(self.theirs.at(&self.program));
        command.current_dir(self.theirs.0.path()).args(case.arguments);
        let output = command.stdin(File::open(&case.input).unwrap()).output().unwrap();
        assert!(output.status.success(), "{command:?}");
        output.stdout
    }

    /// Runs it on both instruction sets, saved and entered at every so many points.
    fn stays(&self, case: &Case<'_>, every: &[u32]) {
        let expected = self.expected(case);
        for isa in Isa::ALL {
            for every in every {
                let mut command = self.command(isa);
                command.args(case.arguments).env("MAIZE_MIGRATE", format!("self:{every}"));
                let output = command.stdin(File::open(&case.input).unwrap()).output().unwrap();
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{command:?}: {} {errors}", output.status);
                assert!(output.stdout == expected, "{command:?} at every {every}th point");
            }
        }
    }

    /// Goes from one instruction set to the other at every `points`-th point, `most` times at most;
    /// how often it was.
    fn travels(&self, case: &Case<'_>, points: u32, most: usize) -> usize {
        const LEFT: i32 = 42;
        let expected = self.expected(case);
        let folder = tempfile::tempdir().unwrap();
        let state = |hop: usize| folder.path().join(format!("state.{hop}"));
        // All processes read one description of the input, and write one of the output.
        let input = File::open(&case.input).unwrap();
        let output = File::create(folder.path().join("output")).unwrap();
        for hop in 0.. {
            let mut command = self.command(Isa::ALL[hop % 2]);
            if hop < most {
                let leave = format!("leave:{points}:{}", state(hop + 1).display());
                command.env("MAIZE_MIGRATE", leave);
            }
            if hop > 0 {
                command.env("MAIZE_RESUME", state(hop));
            }
            command.args(case.arguments).stdin(input.try_clone().unwrap());
            command.stdout(output.try_clone().unwrap()).stderr(Stdio::piped());
            let run = command.output().unwrap();
            if hop > 0 {
                let file = state(hop);
                std::fs::remove_file(file.with_extension(format!("{hop}.memory"))).unwrap();
            }
            if run.status.code() == Some(LEFT) {
                continue;
            }
            let errors = String::from_utf8_lossy(&run.stderr);
            assert!(run.status.success(), "hop {hop} of {command:?}: {} {errors}", run.status);
            let found = std::fs::read(folder.path().join("output")).unwrap();
            assert!(found == expected, "{command:?} after {hop} hops");
            return hop;
        }
        0
    }
}

fn own_input(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

#[test]
fn zlib_packs_and_unpacks() {
    let pair = Pair::new("zlib", "minigzip", |sources, cc, ar| {
        let mut configure = sources.command(".", "./configure");
        succeed(configure.arg("--static").env("CC", cc).env("AR", ar).env("RANLIB", "true"));
        sources.make(".", &["minigzip", "example"]);
    });
    let text = Case { arguments: &[], input: pair.theirs.at("trees.c") };
    pair.stays(&text, &[1000]);
    assert!(pair.travels(&text, 3000, 12) > 3);
    let packed = pair.theirs.at("packed");
    std::fs::write(&packed, pair.expected(&text)).unwrap();
    let unpack = Case { arguments: &["-d"], input: packed };
    assert!(pair.travels(&unpack, 500, 6) > 3);

    // The library's own test.
    let example = Pair { program: "example".to_owned(), ..pair };
    example.stays(&Case { arguments: &[], input: "/dev/null".into() }, &[1, 7]);
}

/// The tests of the JSON library that read no file.
const CJSON_TESTS: [&str; 16] = [
    "misc_tests",
    "parse_number",
    "parse_hex4",
    "parse_string",
    "parse_array",
    "parse_object",
    "parse_value",
    "print_string",
    "print_number",
    "print_array",
    "print_object",
    "print_value",
    "parse_with_opts",
    "compare_tests",
    "cjson_add",
    "minify_tests",
];

fn cjson_test(name: &str) {
    let pair = Pair::new("cjson", name, |sources, cc, _| {
        let mut compile = sources.command(".", cc);
        compile.args(["-O2", "-w", "-I.", "-Itests", "-Itests/unity/src"]);
        compile.args([&format!("tests/{name}.c"), "tests/unity/src/unity.c", "-lm", "-o", name]);
        succeed(&mut compile);
    });
    let case = Case { arguments: &[], input: "/dev/null".into() };
    pair.stays(&case, &[1, 7]);
    pair.travels(&case, 100, 20);
}

#[test]
fn the_json_librarys_tests_pass() {
    cjson_test(CJSON_TESTS[0]);
}

#[test]
#[ignore = "builds sixteen programs"]
fn all_the_json_librarys_tests_pass() {
    CJSON_TESTS.into_iter().for_each(cjson_test);
    // It reads its input from files, which stay with their process.
    let pair = Pair::new("cjson", "tests/parse_examples", |sources, cc, _| {
        let mut compile = sources.command("tests", cc);
        compile.args(["-O2", "-w", "-I..", "-I.", "-Iunity/src", "parse_examples.c"]);
        succeed(compile.args(["unity/src/unity.c", "-lm", "-o", "parse_examples"]));
    });
    for sources in [&pair.ours, &pair.theirs] {
        std::os::unix::fs::symlink(sources.at("tests/inputs"), sources.at("inputs")).unwrap();
    }
    pair.stays(&Case { arguments: &[], input: "/dev/null".into() }, &[1, 7]);
}

#[test]
#[ignore = "the program takes long to build"]
fn bzip2_packs_and_unpacks() {
    let pair = Pair::new("bzip2", "bzip2", |sources, cc, ar| {
        let (cc, ar) = (format!("CC={cc}"), format!("AR={ar}"));
        sources.make(".", &[&cc, &ar, "RANLIB=true", "bzip2"]);
    });
    for (level, number) in [("-1c", 1), ("-2c", 2), ("-3c", 3)] {
        let pack =
            Case { arguments: &[level], input: pair.theirs.at(&format!("sample{number}.ref")) };
        pair.stays(&pack, &[10_000]);
        assert!(pair.travels(&pack, 5000, 20) > 3);
        let unpack =
            Case { arguments: &["-dc"], input: pair.theirs.at(&format!("sample{number}.bz2")) };
        pair.stays(&unpack, &[1000]);
        assert!(pair.travels(&unpack, 300, 20) > 3);
    }
}

#[test]
#[ignore = "the program takes long to build"]
fn lz4_packs_and_unpacks() {
    let pair = Pair::new("lz4", "programs/lz4", |sources, cc, _| {
        sources.make("programs", &[&format!("CC={cc}"), "CFLAGS=-O2 -w", "lz4"]);
    });
    let text = |arguments| Case { arguments, input: pair.theirs.at("lib/lz4hc.c") };
    for case in [text(&["-1c"]), text(&["-9c"])] {
        pair.stays(&case, &[7, 1000]);
        assert!(pair.travels(&case, 2000, 20) > 3);
    }
    let packed = pair.theirs.at("packed");
    std::fs::write(&packed, pair.expected(&text(&["-9c"]))).unwrap();
    let unpack = Case { arguments: &["-dc"], input: packed };
    pair.stays(&unpack, &[1, 7]);
    assert!(pair.travels(&unpack, 100, 20) > 3);
}

#[test]
#[ignore = "the program takes long to build"]
fn mawk_runs_a_script() {
    let pair = Pair::new("mawk", "mawk", |sources, cc, _| {
        let mut configure = sources.command(".", "./configure");
        configure.args(["--disable-init-srand", "--with-builtin-regex"]).env("CC", cc);
        succeed(&mut configure);
        sources.make(".", &["mawk"]);
    });
    // With commands that it runs by `popen`.
    let script = own_input("job.awk").display().to_string();
    let whole = Case { arguments: &["-f", &script], input: pair.theirs.at("bi_funct.c") };
    pair.stays(&whole, &[1, 7, 1000]);
    let words = "{ for (i = 1; i <= NF; i++) { gsub(/[^a-z]/, \"\", $i); n[$i]++ } } \
                 END { for (w in n) s = (s + length(w) * n[w]) % 10007; print NR, s }";
    let words = Case { arguments: &[words], input: pair.theirs.at("bi_funct.c") };
    assert!(pair.travels(&words, 2000, 30) > 3);
}

#[test]
#[ignore = "the program takes long to build"]
fn lua_runs_a_script() {
    let pair = Pair::new("lua", "src/lua", |sources, cc, ar| {
        let (cc, ar) = (format!("CC={cc} -std=gnu99"), format!("AR={ar} rcu"));
        sources.make("src", &["generic", &cc, &ar, "RANLIB=true"]);
    });
    let script = Case { arguments: &["-"], input: own_input("script.lua") };
    pair.stays(&script, &[1, 7, 1000]);
    assert!(pair.travels(&script, 1000, 200) > 50);
}

#[test]
#[ignore = "the program takes long to build"]
fn sqlite_runs_a_script() {
    let pair = Pair::new("sqlite", "script", |sources, cc, _| {
        let mut compile = sources.command(".", cc);
        compile.args([
            "-O2",
            "-w",
            "-I.",
            "-DSQLITE_THREADSAFE=0",
            "-DSQLITE_ENABLE_MATH_FUNCTIONS",
            "-DSQLITE_OMIT_LOAD_EXTENSION",
        ]);
        compile.arg(own_input("sqlite.c"));
        succeed(compile.args(["sqlite3.c", "-lm", "-o", "script"]));
    });
    let script = Case { arguments: &[], input: own_input("script.sql") };
    pair.stays(&script, &[1, 7]);
    assert!(pair.travels(&script, 20_000, 60) > 20);
}
