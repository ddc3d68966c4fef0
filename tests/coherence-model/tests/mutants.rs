//! The checker notices when a rule is taken out: every mutant has to die.

use std::collections::BTreeSet;

use maize_coherence::Mutation;
use maize_coherence_model::{DIRECTORY, Machine, Op, Program, SHARED, Setup, VOTING};

/// Three nodes and these accesses.
fn three(accesses: &[u8]) -> Setup {
    Setup { program: Program::Any(accesses.to_vec()), clock_readings: 1, ..Setup::new(3, 1, 0) }
}

/// Accesses to one page: `w` writes, `r` reads.
fn programs(threads: &[&str]) -> Setup {
    let op = |c: char| if c == 'w' { Op::Write(0) } else { Op::Read(0) };
    let threads: Vec<Vec<Op>> = threads.iter().map(|ops| ops.chars().map(op).collect()).collect();
    let threads: Vec<&[Op]> = threads.iter().map(Vec::as_slice).collect();
    Setup { clock_readings: 1, ..Setup::litmus(1, &threads) }
}

/// How a mutant dies in a fabric, if it does: in a state that must not be, or because an access
/// never ends, or because accesses go round in circles where they do not with all rules.
fn death(machine: &Machine, rule: Mutation, setup: &Setup) -> Option<String> {
    let mutant = Setup { mutation: Some(rule), ..setup.clone() };
    let outcome = (machine.check)(mutant.clone());
    if let Some(counter_example) = outcome.counter_example {
        let what = counter_example.lines().next().unwrap_or_default().to_owned();
        return Some(format!("{what} ({} states)", outcome.states));
    }
    let found = (machine.progress)(mutant);
    if found.stuck > 0 {
        return Some(format!("{} states without progress", found.stuck));
    }
    let circles = found.cyclic > 0 && (machine.progress)(setup.clone()).cyclic == 0;
    circles.then(|| format!("{} states on circles", found.cyclic))
}

/// Takes each rule out in the fabric that needs it; a rule that is not missed is an error.
fn all_die(machine: &Machine, mutants: &[(&str, Setup, &[Mutation])]) {
    let mut survivors = vec![];
    for (name, setup, rules) in mutants {
        for &rule in *rules {
            match death(machine, rule, setup) {
                Some(how) => println!("{:>13}  {rule:?} dies in {name}: {how}", machine.name),
                None => survivors.push(rule),
            }
        }
    }
    assert!(survivors.is_empty(), "{} does not notice: {survivors:?}", machine.name);
}

fn voting() -> Vec<(&'static str, Setup, &'static [Mutation])> {
    let two = Setup { clock_readings: 3, ..Setup::new(2, 1, 2) };
    vec![
        (
            "2 x 1",
            two.clone(),
            &[
                Mutation::AnswersWhileFetching,
                Mutation::NeverVotesAgainst,
                Mutation::NoTieBreak,
                Mutation::KeepsCopyAfterAck,
            ],
        ),
        ("2 x 1 with evictions", Setup { evictions: 2, ..two }, &[Mutation::EvictsTheAnchor]),
        (
            "3 x 1",
            three(&[1, 1, 1]),
            &[Mutation::AnswersFetchWhileWriting, Mutation::ElectsOnTheFirstVote],
        ),
        (
            "w, w, r",
            programs(&["w", "w", "r"]),
            &[
                Mutation::ClockIgnoresPeers,
                Mutation::TakesAnyVersion,
                Mutation::FetchesPastAnInvalid,
            ],
        ),
        (
            "ww, w, r",
            programs(&["ww", "w", "r"]),
            &[
                Mutation::WritesOnAStaleCopy,
                Mutation::ReadsPastAnInvalid,
                Mutation::ForgetsThatOthersUseThePage,
                Mutation::TakesVoidForLost,
                Mutation::TrustsTheOwner,
            ],
        ),
        ("w, ww, r", programs(&["w", "ww", "r"]), &[Mutation::RenewsTheStamp]),
        (
            "w, ww, w",
            programs(&["w", "ww", "w"]),
            &[Mutation::LoserDropsItsCopy, Mutation::DelaysFetchWriteAfterLoss],
        ),
        ("ww, ww, w", programs(&["ww", "ww", "w"]), &[Mutation::OneKindOfRival]),
    ]
}

fn directory() -> Vec<(&'static str, Setup, &'static [Mutation])> {
    let crashing = |accesses: &[u8], crashes: &[u8]| {
        let program = Program::Any(accesses.to_vec());
        let setup = Setup::new(accesses.len(), 1, 0);
        Setup { program, crashes: crashes.to_vec(), ..setup }
    };
    vec![
        (
            "3 x 1",
            three(&[1, 1, 1]),
            &[
                Mutation::WritesBeforeInvAcks,
                Mutation::ForgetsReadersWhileWaiting,
                Mutation::KeepsCopyAfterInvAck,
                Mutation::ForgetsASharer,
                Mutation::AcksBeforeTheReadIsDone,
            ],
        ),
        (
            "3 x 1 with a crash",
            crashing(&[1, 1, 1], &[1, 2]),
            &[
                Mutation::UpgradesAnInvalidatedCopy,
                Mutation::SuffersInSilence,
                Mutation::OrdersBeforeTheNews,
            ],
        ),
        (
            "2 x 1 with gifts",
            Setup { gifts: 2, short_holds: true, ..crashing(&[3, 2], &[]) },
            &[Mutation::OrdersServedRequests, Mutation::DropsGifts],
        ),
        (
            "3 x 1 with a return",
            Setup { returns: true, ..crashing(&[1, 1, 1], &[1]) },
            &[Mutation::WaitsForNewcomers, Mutation::ForgetsNewcomers],
        ),
        (
            "0+2+1 with a return",
            Setup { returns: true, ..crashing(&[0, 2, 1], &[1]) },
            &[Mutation::ServesTheDead],
        ),
        ("4 x 1 with a crash", crashing(&[0, 1, 1, 0], &[3]), &[Mutation::RebuildsWithoutDraining]),
    ]
}

fn shared() -> Vec<(&'static str, Setup, &'static [Mutation])> {
    let one =
        |accesses: &[u8]| Setup { evictions: 1, ..Setup::domains(1, accesses.len(), 1, accesses) };
    let two = |accesses: &[u8], evictions| Setup { evictions, ..Setup::domains(2, 2, 1, accesses) };
    vec![
        (
            "two siblings",
            one(&[2, 2]),
            &[
                Mutation::GoesOnBeforeTheAcks,
                Mutation::KeepsMappingAfterRevoke,
                Mutation::ForgetsAMapping,
            ],
        ),
        (
            "two siblings with a discard",
            Setup { discards: 1, ..one(&[1, 1]) },
            &[Mutation::MapsAFormerLife],
        ),
        (
            "three siblings with a death",
            Setup { crashes: vec![1], ..one(&[1, 1, 1]) },
            &[Mutation::AnswersOneSibling, Mutation::WaitsForDeadSiblings],
        ),
        (
            "2 x 2 siblings",
            two(&[1; 4], 0),
            &[Mutation::RevokesDuringTheHold, Mutation::LeavesSiblingsWriting],
        ),
        (
            "2 x 2 siblings, two evictions",
            two(&[0, 1, 1, 0], 2),
            &[Mutation::InstallsUnderMappings],
        ),
        ("2 x 2 siblings, an eviction", two(&[0, 2, 2, 0], 1), &[Mutation::DropsWhileAsking]),
    ]
}

#[test]
fn voting_mutants_die() {
    all_die(&VOTING, &voting());
}

#[test]
fn directory_mutants_die() {
    all_die(&DIRECTORY, &directory());
}

#[test]
fn shared_mutants_die() {
    all_die(&SHARED, &shared());
}

#[test]
fn every_rule_is_taken_out_once() {
    let lists = [voting(), directory(), shared()];
    let tried: Vec<Mutation> =
        lists.iter().flatten().flat_map(|(.., rules)| *rules).copied().collect();
    let names = |rules: &[Mutation]| -> BTreeSet<String> {
        rules.iter().map(|rule| format!("{rule:?}")).collect()
    };
    assert_eq!(names(&tried), names(Mutation::ALL));
    assert_eq!(tried.len(), Mutation::ALL.len(), "none twice");
}
