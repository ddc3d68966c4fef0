//! One test for each case on each system: `linux/musl-cow`, `x86_64/musl-cow`, `aarch64/sh-busybox`.
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
use maize_hostlink::boot::Isa;
use maize_launcher::workspace::Workspace;
use maize_programs_runner::{Case, Libc, Outcome, build, case, compare, host, machine};

type Outcomes = Result<BTreeMap<String, Outcome>, String>;

/// The systems, each of which runs all selected cases when the first test asks.
struct Systems {
    workspace: Workspace,
    /// Cases by system's name.
    cases: BTreeMap<&'static str, Vec<Case>>,
    outcomes: BTreeMap<&'static str, OnceLock<Outcomes>>,
}

const LINUX: &str = "linux";
const ISAS: [(&str, Isa); 2] = [("x86_64", Isa::X86_64), ("aarch64", Isa::Aarch64)];

impl Systems {
    fn outcomes(&self, system: &'static str) -> Result<&BTreeMap<String, Outcome>, Failed> {
        let cell = self.outcomes.get(system).ok_or("no such system")?;
        let cases = self.cases.get(system).ok_or("no such system")?;
        let outcomes = cell.get_or_init(|| match ISAS.iter().find(|(name, _)| *name == system) {
            Some((_, isa)) => machine::run(cases, *isa, &self.workspace).map_err(|e| e.to_string()),
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

/// Whether the command line selects a test, by libtest's rules.
fn selected(arguments: &Arguments, name: &str) -> bool {
    let matches =
        |filter: &str| if arguments.exact { name == filter } else { name.contains(filter) };
    arguments.filter.as_deref().is_none_or(matches) && !arguments.skip.iter().any(|s| matches(s))
}

fn main() {
    let arguments = Arguments::from_args();
    let prepared = Workspace::find().map_err(|error| error.to_string()).and_then(|workspace| {
        let cases = case::all(&build::sources(&workspace)).map_err(|error| error.to_string())?;
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
        std::iter::once(LINUX).chain(ISAS.iter().map(|(name, _)| *name)).collect();
    let mut systems = Systems { workspace, cases: BTreeMap::new(), outcomes: BTreeMap::new() };
    let mut on_linux = Vec::new();
    for &system in &names {
        let chosen: Vec<Case> = cases
            .iter()
            .filter(|case| selected(&arguments, &format!("{system}/{case}")))
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
        for case in &cases {
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
