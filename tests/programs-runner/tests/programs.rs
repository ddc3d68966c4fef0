//! One test for each case on each system: `linux/musl-cow`, `x86_64/musl-cow`, `aarch64/sh-busybox`,
//! `x86_64*2-moving/musl-cow`.
//!
//! On Linux every case must end well, and with both C libraries print the same. On Maize it must do
//! what it did on Linux. The tests that start QEMU are ignored unless asked for:
//!
//! ```text
//! cargo test -p maize-programs-runner --test programs                     on Linux
//! cargo test -p maize-programs-runner --test programs -- --ignored x86_64/
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};
use maize_hostlink::boot::{Coherence, Isa, Placement, Sharing};
use maize_launcher::topology::Topology;
use maize_launcher::workspace::Workspace;
use maize_programs_runner::{Case, Libc, Outcome, build, case, compare, foreign, host, machine};

type Outcomes = Result<BTreeMap<String, Outcome>, String>;

/// The systems, each of which runs all selected cases when the first test asks.
struct Systems {
    workspace: Workspace,
    /// Cases by system's name.
    cases: BTreeMap<&'static str, Vec<Case>>,
    outcomes: BTreeMap<&'static str, OnceLock<Outcomes>>,
}

const LINUX: &str = "linux";

/// A system that is compared with Linux.
struct Maize {
    /// As it appears in the names of tests.
    name: &'static str,
    isa: Isa,
    topology: &'static str,
    coherence: Coherence,
    /// If not 0, new threads are spread, and at every n-th trap a thread is moved.
    migrate_every: u32,
    /// If not 0, programs are spread, and at every n-th trap a process is moved.
    move_processes_every: u32,
}

const MAIZE: [Maize; 7] = [
    alone("x86_64", Isa::X86_64),
    alone("aarch64", Isa::Aarch64),
    moving("x86_64*2-moving", Isa::X86_64, "x86_64*2", Coherence::Directory, 1),
    moving("x86_64+x86_64-moving", Isa::X86_64, "x86_64+x86_64", Coherence::Voting, 7),
    moving("aarch64+aarch64-moving", Isa::Aarch64, "aarch64+aarch64", Coherence::Directory, 7),
    wandering("x86_64*2-wandering", Isa::X86_64, "x86_64*2"),
    wandering("x86_64+x86_64-wandering", Isa::X86_64, "x86_64+x86_64"),
];

/// One instance.
const fn alone(name: &'static str, isa: Isa) -> Maize {
    let coherence = Coherence::Directory;
    Maize { name, isa, topology: name, coherence, migrate_every: 0, move_processes_every: 0 }
}

/// Several, between which threads move all the time.
const fn moving(
    name: &'static str,
    isa: Isa,
    topology: &'static str,
    coherence: Coherence,
    migrate_every: u32,
) -> Maize {
    Maize { name, isa, topology, coherence, migrate_every, move_processes_every: 0 }
}

/// Several, between which whole processes move all the time.
const fn wandering(name: &'static str, isa: Isa, topology: &'static str) -> Maize {
    let coherence = Coherence::Directory;
    Maize { name, isa, topology, coherence, migrate_every: 0, move_processes_every: 40 }
}

impl Maize {
    fn run(
        &self,
        cases: &[Case],
        workspace: &Workspace,
    ) -> Result<BTreeMap<String, Outcome>, String> {
        let topology: Topology = self.topology.parse().map_err(|error| format!("{error}"))?;
        let placement = if self.migrate_every == 0 { Placement::Local } else { Placement::Spread };
        let homes =
            if self.move_processes_every == 0 { Placement::Local } else { Placement::Spread };
        let sharing = Sharing {
            placement,
            homes,
            coherence: self.coherence,
            migrate_every: self.migrate_every,
            move_processes_every: self.move_processes_every,
            ..Sharing::default()
        };
        machine::run_on(cases, self.isa, &topology, &sharing, workspace)
            .map_err(|error| error.to_string())
    }
}

impl Systems {
    fn outcomes(&self, system: &'static str) -> Result<&BTreeMap<String, Outcome>, Failed> {
        let cell = self.outcomes.get(system).ok_or("no such system")?;
        let cases = self.cases.get(system).ok_or("no such system")?;
        let outcomes = cell.get_or_init(|| match MAIZE.iter().find(|maize| maize.name == system) {
            Some(maize) => maize.run(cases, &self.workspace),
            None => host::run(cases, &self.workspace).map_err(|e| e.to_string()),
        });
        outcomes.as_ref().map_err(|error| error.as_str().into())
    }

    fn outcome(&self, system: &'static str, case: &Case) -> Result<&Outcome, Failed> {
        let outcome = self.outcomes(system)?.get(&case.to_string());
        outcome.ok_or_else(|| format!("{case} was not run on {system}").into())
    }

    fn check_linux(&self, case: &Case) -> Result<(), Failed> {
        let outcome = self.outcome(LINUX, case)?;
        if let Some(failure) = compare::failure(outcome) {
            return Err(failure.into());
        }
        if let Case::Program { libc: Libc::Glibc, name } = case {
            let musl = Case::Program { libc: Libc::Musl, name: name.clone() };
            let expected = self.outcome(LINUX, &musl)?;
            if let Some(text) = compare::difference(expected, outcome) {
                return Err(format!("glibc differs from musl\n{text}").into());
            }
        }
        Ok(())
    }

    fn check_maize(&self, system: &'static str, case: &Case) -> Result<(), Failed> {
        // Both sleep much of the time, so they run beside each other.
        std::thread::scope(|scope| {
            scope.spawn(|| self.outcomes(LINUX).is_ok());
            self.outcomes(system).is_ok()
        });
        let linux = self.outcome(LINUX, case)?;
        if let Some(failure) = compare::failure(linux) {
            return Err(failure.into());
        }
        match compare::difference(linux, self.outcome(system, case)?) {
            Some(text) => Err(text.into()),
            None => Ok(()),
        }
    }
}

/// Foreign programs that run on one instance as well: what each usual run has time for.
const FOREIGN_ALONE: [&str; 3] = ["bash", "shfmt", "zsh"];

/// Whether a case is a test of a system. Foreign programs are x86_64's, and most run on fabrics only.
fn runs_on(case: &Case, system: &str) -> bool {
    let Case::Foreign { name } = case else { return true };
    let fabric = MAIZE
        .iter()
        .any(|maize| maize.name == system && maize.isa == Isa::X86_64 && maize.migrate_every != 0);
    fabric || system == "x86_64" && FOREIGN_ALONE.contains(&name.as_str())
}

/// Whether the command line selects a test, by libtest's rules; those on machines are ignored ones.
fn selected(arguments: &Arguments, system: &str, name: &str) -> bool {
    if !arguments.include_ignored && arguments.ignored == (system == LINUX) {
        return false;
    }
    let matches =
        |filter: &str| if arguments.exact { name == filter } else { name.contains(filter) };
    arguments.filter.as_deref().is_none_or(matches) && !arguments.skip.iter().any(|s| matches(s))
}

fn main() {
    let arguments = Arguments::from_args();
    let prepared = Workspace::find().map_err(|error| error.to_string()).and_then(|workspace| {
        let mut cases =
            case::all(&build::sources(&workspace)).map_err(|error| error.to_string())?;
        cases.extend(foreign::all(&workspace).map_err(|error| error.to_string())?);
        Ok((workspace, cases))
    });
    let (workspace, cases) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    };
    let names: Vec<&'static str> =
        std::iter::once(LINUX).chain(MAIZE.iter().map(|maize| maize.name)).collect();
    let mut systems = Systems { workspace, cases: BTreeMap::new(), outcomes: BTreeMap::new() };
    let mut on_linux = Vec::new();
    for &system in &names {
        let chosen: Vec<Case> = cases
            .iter()
            .filter(|case| runs_on(case, system))
            .filter(|case| selected(&arguments, system, &format!("{system}/{case}")))
            .cloned()
            .collect();
        on_linux.extend(chosen.iter().cloned());
        systems.cases.insert(system, chosen);
        systems.outcomes.insert(system, OnceLock::new());
    }
    // What is compared with Linux is run there too, and glibc's programs beside musl's.
    let beside = on_linux.iter().filter_map(|case| match case {
        Case::Program { libc: Libc::Glibc, name } => {
            Some(Case::Program { libc: Libc::Musl, name: name.clone() })
        }
        _ => None,
    });
    let mut on_linux: Vec<Case> = beside.chain(on_linux.iter().cloned()).collect();
    on_linux.sort();
    on_linux.dedup();
    systems.cases.insert(LINUX, on_linux);

    let systems = Arc::new(systems);
    let mut trials = Vec::new();
    for &system in &names {
        for case in cases.iter().filter(|case| runs_on(case, system)) {
            let (systems, case) = (Arc::clone(&systems), case.clone());
            let name = format!("{system}/{case}");
            trials.push(
                Trial::test(name, move || match system {
                    LINUX => systems.check_linux(&case),
                    _ => systems.check_maize(system, &case),
                })
                .with_ignored_flag(system != LINUX),
            );
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
