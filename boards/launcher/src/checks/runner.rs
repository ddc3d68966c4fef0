//! Runs groups, those of each lane one after another.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use maize_hostlink::boot::Isa;

use super::build::{self, Built, TestProgram};
use super::cpu_time::{self, Ended};
use super::{Group, Lane, Length, Selection, Step, Verdict, examples, packages_in};
use crate::workspace::{PROFILE_VARIABLE, RELEASE, TESTED, Workspace};

/// Seeds property tests. A run of all checks tries the same inputs each time, so that it fails for
/// what was changed and not by chance; `cargo test` by hand explores new ones.
const SEED: &str = "PROPTEST_RNG_SEED";

/// What is known about a lane.
enum Event {
    Begun(&'static str),
    Ended(&'static str, io::Result<Verdict>),
}

/// Runs groups, shows a line for each and the log of each that fails; whether all passed.
///
/// The lanes go on beside one another. The last line written to `out` is `N passed, N failed`.
pub fn run_all(
    groups: &[&'static Group],
    length: Length,
    workspace: &Workspace,
    out: &mut dyn Write,
) -> io::Result<bool> {
    let logs = workspace.cache_folder("logs").map_err(io::Error::other)?;
    // A long run tries the kernels that users run.
    let profile = if length == Length::Long { RELEASE } else { TESTED };
    let runner = Runner {
        workspace: &workspace.with_kernels(profile),
        length,
        steps: groups.iter().flat_map(|group| group.steps).copied().collect(),
        named_tests: Mutex::new(None),
        host: Mutex::new(None),
        kernels: [Mutex::new(None), Mutex::new(None)],
    };
    std::thread::scope(|scope| {
        let (sender, events) = channel();
        for lane in Lane::ALL {
            let (runner, logs, sender) = (&runner, &logs, sender.clone());
            let groups: Vec<&Group> =
                groups.iter().copied().filter(|group| group.lane == lane).collect();
            scope.spawn(move || {
                for group in groups {
                    // Nobody hears it only if the line before it could not be written.
                    let _ = sender.send(Event::Begun(group.name));
                    let verdict = runner.run(group, logs);
                    let _ = sender.send(Event::Ended(group.name, verdict));
                }
            });
        }
        drop(sender);
        report(&events, out)
    })
}

/// Shows what has ended; whether everything passed.
fn report(events: &Receiver<Event>, out: &mut dyn Write) -> io::Result<bool> {
    let (mut passed, mut failed) = (0, 0);
    let mut running: Vec<&str> = Vec::new();
    let progress = io::stderr().is_terminal();
    for event in events {
        if progress {
            eprint!("\r\x1b[K");
        }
        match event {
            Event::Begun(name) => running.push(name),
            Event::Ended(name, verdict) => {
                let verdict = verdict?;
                running.retain(|other| *other != name);
                if !verdict.passed {
                    let log = std::fs::read(&verdict.log)?;
                    writeln!(out, "--- log of {name} ---")?;
                    out.write_all(&log)?;
                    writeln!(out, "--- end of the log of {name} ---")?;
                }
                writeln!(out, "{}", summary(name, &verdict))?;
                out.flush()?;
                if verdict.passed { passed += 1 } else { failed += 1 }
            }
        }
        if progress && !running.is_empty() {
            eprint!("running {} …", running.join(", "));
        }
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(failed == 0)
}

fn summary(name: &str, verdict: &Verdict) -> String {
    let mark = if verdict.passed { "ok    " } else { "FAILED" };
    let (wall, cpu) = (verdict.time.as_secs_f64(), verdict.cpu.as_secs_f64());
    let tests = match verdict.tests {
        0 => String::new(),
        1 => ", 1 test".to_owned(),
        number => format!(", {number} tests"),
    };
    format!("{mark} {name:14} {wall:6.1} s, {cpu:6.1} s of processors{tests}")
}

/// What the groups of one run share.
struct Runner<'a> {
    workspace: &'a Workspace,
    length: Length,
    /// All steps of the run: their packages are built together.
    steps: Vec<Step>,
    /// The test programs that steps name, once one has been asked for. They are built before the others,
    /// so that machines have work while those are built.
    named_tests: Mutex<Option<Built>>,
    /// All test programs, once one of the others has been asked for.
    host: Mutex<Option<Built>>,
    /// The kernels of each instruction set, once they have been asked for.
    kernels: [Mutex<Option<Built>>; 2],
}

/// Gives what was built before, or builds it now.
fn once(
    place: &Mutex<Option<Built>>,
    progress: &mut Progress,
    build: impl FnOnce(&mut Progress) -> io::Result<Built>,
) -> io::Result<Built> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(built) = &*place {
        if !built.is_clean() {
            writeln!(progress.log, "built before:\n{}", built.diagnostics)?;
        }
        return Ok(built.clone());
    }
    let built = build(progress)?;
    progress.cpu += built.cpu;
    Ok(place.insert(built).clone())
}

/// A group as it goes on.
struct Progress {
    log: File,
    cpu: Duration,
    /// Of the kernels that tests start.
    profile: String,
}

impl Progress {
    /// Runs a command; whether it succeeded.
    fn command(&mut self, command: &mut std::process::Command) -> io::Result<bool> {
        let seed = std::env::var_os(SEED).unwrap_or_else(|| "1".into());
        command.env(SEED, seed).env(PROFILE_VARIABLE, &self.profile);
        let Ended { status, cpu } = cpu_time::run(command, &self.log)?;
        self.cpu += cpu;
        writeln!(self.log, "$ {status}")?;
        Ok(status.success())
    }
}

impl Runner<'_> {
    fn run(&self, group: &Group, logs: &Path) -> io::Result<Verdict> {
        let path = logs.join(format!("{}.log", group.name));
        let log = File::options().read(true).append(true).create(true).open(&path)?;
        log.set_len(0)?;
        let started = Instant::now();
        let profile = self.workspace.kernel_profile().to_owned();
        let mut progress = Progress { log, cpu: Duration::ZERO, profile };
        let mut passed = true;
        for step in group.steps {
            passed = self.step(*step, &mut progress)?;
            if !passed {
                break;
            }
        }
        let tests = tests_passed(&std::fs::read_to_string(&path).unwrap_or_default());
        Ok(Verdict { passed, tests, time: started.elapsed(), cpu: progress.cpu, log: path })
    }

    fn step(&self, step: Step, progress: &mut Progress) -> io::Result<bool> {
        match step {
            Step::Check(check) => {
                let (note, passed) = match check(self.workspace) {
                    Ok(note) => (note, true),
                    Err(wrong) => (wrong, false),
                };
                writeln!(progress.log, "{note}").map(|()| passed)
            }
            Step::Long(_) | Step::LongCargo(_) if self.length == Length::Usual => Ok(true),
            Step::Cargo(arguments) | Step::LongCargo(arguments) => {
                writeln!(progress.log, "$ cargo {arguments}")?;
                progress.command(self.workspace.cargo().args(arguments.split(' ')))
            }
            Step::CargoTest(arguments) => {
                let before = progress.log.metadata()?.len();
                writeln!(progress.log, "$ cargo test {arguments}")?;
                let mut command = self.workspace.cargo();
                command.arg("test").args(arguments.split(' '));
                if self.length == Length::Long {
                    command.args(["--", "--include-ignored"]);
                }
                Ok(progress.command(&mut command)? && some_test_passed(&mut progress.log, before)?)
            }
            Step::BuildHost => Ok(self.host(progress)?.is_clean()),
            Step::BuildKernels(isa) => Ok(self.kernels(isa, progress)?.is_clean()),
            Step::NeedKernels(isa) => Ok(self.kernels(isa, progress)?.succeeded),
            Step::Examples => self.examples(progress),
            Step::Packages(folders) => {
                let long: &[&str] =
                    if self.length == Length::Long { &["--include-ignored"] } else { &[] };
                self.tests(folders, None, long, progress)
            }
            Step::Tests(Selection { package, target, arguments })
            | Step::Long(Selection { package, target, arguments }) => {
                self.tests(&[package], Some(target), arguments, progress)
            }
        }
    }

    /// The packages that this run builds for the host.
    fn packages(&self) -> io::Result<BTreeSet<String>> {
        let mut packages = BTreeSet::new();
        for step in &self.steps {
            let folders = match step {
                Step::BuildHost => &["*"],
                Step::Packages(folders) => *folders,
                Step::Long(_) if self.length == Length::Usual => continue,
                Step::Tests(tests) | Step::Long(tests) => std::slice::from_ref(&tests.package),
                _ => continue,
            };
            let found = packages_in(folders, self.workspace).map_err(io::Error::other)?;
            packages.extend(found.into_iter().map(|package| package.name));
        }
        Ok(packages)
    }

    /// The test programs that steps of this run name; built by whoever needs them first.
    fn named_tests(&self, progress: &mut Progress) -> io::Result<Built> {
        once(&self.named_tests, progress, |progress| {
            let named = self.steps.iter().filter_map(|step| match step {
                Step::Long(_) if self.length == Length::Usual => None,
                Step::Tests(tests) | Step::Long(tests) => Some(tests.target),
                _ => None,
            });
            let named: BTreeSet<&str> = named.collect();
            if named.is_empty() {
                return Ok(Built { succeeded: true, ..Built::default() });
            }
            build::host(&self.packages()?, Some(&named), self.workspace, &mut progress.log)
        })
    }

    /// The test programs of all packages of this run; built by whoever needs them first.
    fn host(&self, progress: &mut Progress) -> io::Result<Built> {
        // Machines wait for these.
        self.named_tests(progress)?;
        once(&self.host, progress, |progress| {
            build::host(&self.packages()?, None, self.workspace, &mut progress.log)
        })
    }

    fn kernels(&self, isa: Isa, progress: &mut Progress) -> io::Result<Built> {
        let place = match isa {
            Isa::X86_64 => &self.kernels[0],
            Isa::Aarch64 => &self.kernels[1],
        };
        once(place, progress, |progress| build::kernels(isa, self.workspace, &mut progress.log))
    }

    /// Runs the test programs of packages, or those of one target; whether all succeed and at least
    /// one test ran.
    fn tests(
        &self,
        folders: &[&str],
        target: Option<&str>,
        arguments: &[&str],
        progress: &mut Progress,
    ) -> io::Result<bool> {
        let built = match target {
            Some(_) => self.named_tests(progress)?,
            None => self.host(progress)?,
        };
        if !built.succeeded {
            writeln!(progress.log, "the tests do not build")?;
            return Ok(false);
        }
        let packages = packages_in(folders, self.workspace).map_err(io::Error::other)?;
        let before = progress.log.metadata()?.len();
        for package in packages {
            let mine = |test: &&TestProgram| {
                test.folder == package.folder && target.is_none_or(|target| test.target == target)
            };
            for test in built.tests.iter().filter(mine) {
                writeln!(progress.log, "$ {} {}", test.path.display(), arguments.join(" "))?;
                let mut command = std::process::Command::new(&test.path);
                command.arg("--quiet").args(arguments).current_dir(&test.folder);
                // As cargo runs it.
                command.env("CARGO_MANIFEST_DIR", &test.folder);
                if !progress.command(&mut command)? {
                    return Ok(false);
                }
            }
        }
        some_test_passed(&mut progress.log, before)
    }

    /// Runs the examples in documentation, of the packages that have any.
    fn examples(&self, progress: &mut Progress) -> io::Result<bool> {
        let packages = examples::packages(self.workspace).map_err(io::Error::other)?;
        if packages.is_empty() {
            writeln!(progress.log, "no documentation has an example to run")?;
            return Ok(true);
        }
        let mut command = self.workspace.cargo();
        build::share(&mut command).args(["test", "--quiet", "--doc"]);
        command.args(packages.iter().flat_map(|package| ["--package", package]));
        progress.command(&mut command)
    }
}

/// Whether a log tells of a test that passed, from an offset on.
fn some_test_passed(log: &mut File, offset: u64) -> io::Result<bool> {
    let passed = tests_passed(&read_from(log, offset)?) > 0;
    if !passed {
        writeln!(log, "no test ran")?;
    }
    Ok(passed)
}

/// What has been written to a log from an offset on.
fn read_from(log: &File, offset: u64) -> io::Result<String> {
    use std::os::unix::fs::FileExt;
    let length = log.metadata()?.len().saturating_sub(offset);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    log.read_exact_at(&mut bytes, offset)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The number of tests that passed, by the summaries of Rust's test programs.
fn tests_passed(log: &str) -> usize {
    log.lines()
        .filter_map(|line| {
            line.split_once("test result: ")?.1.split_once(" passed")?.0.rsplit(' ').next()
        })
        .filter_map(|number| number.parse::<usize>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well(_: &Workspace) -> Result<String, String> {
        Ok("looked at 3 things".to_owned())
    }

    fn ill(_: &Workspace) -> Result<String, String> {
        Err("the third thing is wrong".to_owned())
    }

    const WELL: Group =
        Group { name: "well", about: "", lane: Lane::Host, steps: &[Step::Check(well)] };
    const ILL: Group = Group {
        name: "ill",
        about: "",
        lane: Lane::Machines,
        steps: &[Step::Check(ill), Step::Check(well)],
    };

    fn run_in_text(groups: &[&'static Group]) -> (bool, String) {
        let mut out = Vec::new();
        let workspace = Workspace::find().unwrap();
        let passed = run_all(groups, Length::Usual, &workspace, &mut out).unwrap();
        (passed, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_last_line_counts_and_failures_show_their_log() {
        let (passed, text) = run_in_text(&[&WELL, &ILL]);
        assert!(!passed && text.ends_with("\n1 passed, 1 failed\n"), "{text}");
        assert!(text.contains("the third thing is wrong") && !text.contains("3 things"), "{text}");
        let (passed, text) = run_in_text(&[&WELL]);
        assert!(passed && text.ends_with("\n1 passed, 0 failed\n"), "{text}");
    }

    /// A runner whose build has given these test programs.
    fn runner<'a>(workspace: &'a Workspace, tests: Vec<TestProgram>) -> Runner<'a> {
        let built = Built { succeeded: true, tests, ..Built::default() };
        Runner {
            workspace,
            length: Length::Usual,
            steps: Vec::new(),
            named_tests: Mutex::new(Some(Built { succeeded: true, ..Built::default() })),
            host: Mutex::new(Some(built)),
            kernels: [Mutex::new(None), Mutex::new(None)],
        }
    }

    #[test]
    fn a_group_in_which_no_test_runs_fails() {
        let workspace = Workspace::find().unwrap();
        let logs = tempfile::tempdir().unwrap();
        const GROUP: Group = Group {
            name: "empty",
            about: "",
            lane: Lane::Host,
            steps: &[Step::Packages(&["boards/launcher"])],
        };
        let folder = workspace.root().join("boards/launcher");
        let test = |text: &str| {
            let path = logs.path().join("program");
            // Written by another process: a child that another test starts meanwhile would have a file of this one
            // open for writing, and a program that is being written cannot be run.
            let script = format!("printf '#!/bin/sh\\necho \"{text}\"\\n' > $0; chmod 755 $0");
            let mut shell = std::process::Command::new("sh");
            assert!(shell.args(["-c", &script]).arg(&path).status().unwrap().success());
            TestProgram { folder: folder.clone(), target: "t".to_owned(), path }
        };
        let none = test("test result: ok. 0 passed; 0 failed");
        let verdict = runner(&workspace, vec![none]).run(&GROUP, logs.path()).unwrap();
        let log = std::fs::read_to_string(verdict.log).unwrap();
        assert!(!verdict.passed && log.contains("no test ran"), "{log}");
        let two = test("test result: ok. 2 passed; 0 failed");
        let verdict = runner(&workspace, vec![two]).run(&GROUP, logs.path()).unwrap();
        assert!(verdict.passed && verdict.tests == 2);
    }

    #[test]
    fn summaries_of_tests_are_added_up() {
        let log = "test result: ok. 12 passed; 0 failed; 1 ignored\nnoise 5 passed\n\
                   test result: FAILED. 3 passed; 1 failed\n";
        assert_eq!(tests_passed(log), 15);
    }
}
