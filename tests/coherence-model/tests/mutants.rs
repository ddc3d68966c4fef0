//! The checker notices when a rule is taken out: every mutant has to die.

use maize_coherence::directory::Directory;
use maize_coherence::voting::Voting;
use maize_coherence::{Agent, Mutation};
use maize_coherence_model::{Fabric, Program, Setup, Subject, check, progress};

/// How many states a mutant's fabrics have at most, so that a survivor is found quickly, too.
fn three(accesses: &[u8]) -> Setup {
    Setup { program: Program::Any(accesses.to_vec()), clock_readings: 1, ..Setup::new(3, 1, 0) }
}

/// The first fabric that shows the mutant, and how.
fn killer<P: Subject>(rule: Mutation, fabrics: &[(&'static str, Setup)]) -> Option<String> {
    fabrics.iter().find_map(|(name, setup)| {
        let setup = Setup { mutation: Some(rule), ..setup.clone() };
        let fabric = Fabric::<P>::new(setup);
        let outcome = check(fabric.clone(), None);
        if let Some(counter_example) = outcome.counter_example {
            let what = counter_example.lines().next().unwrap_or_default().to_owned();
            return Some(format!("{name}: {what} ({} states)", outcome.states));
        }
        let found = progress(&fabric);
        (found.stuck > 0 || found.cyclic > 0)
            .then(|| format!("{name}: {} states without progress", found.stuck + found.cyclic))
    })
}

fn all_die<P: Subject>(rules: &[Mutation], fabrics: &[(&'static str, Setup)]) -> usize {
    let mut survivors = vec![];
    for &rule in rules {
        match killer::<P>(rule, fabrics) {
            Some(how) => println!("{rule:?} dies in {how}"),
            None => survivors.push(rule),
        }
    }
    assert!(survivors.is_empty(), "{} does not notice: {survivors:?}", P::NAME);
    rules.len()
}

#[test]
fn voting_mutants_die() {
    let two = Setup { clock_readings: 3, ..Setup::new(2, 1, 2) };
    let evicting = Setup { evictions: 2, ..two.clone() };
    let fabrics =
        [("2 x 1", two), ("2 x 1 with evictions", evicting), ("3 x 1", three(&[1, 1, 1]))];
    let killed = all_die::<Agent<Voting<1>>>(
        &[
            Mutation::AnswersWhileFetching,
            Mutation::AnswersFetchWhileWriting,
            Mutation::NeverVotesAgainst,
            Mutation::NoTieBreak,
            Mutation::KeepsCopyAfterAck,
            Mutation::ElectsOnTheFirstVote,
            Mutation::EvictsTheAnchor,
        ],
        &fabrics,
    );
    assert!(killed >= 7);
}

#[test]
fn directory_mutants_die() {
    let crashing = Setup { crashes: vec![1, 2], ..three(&[1, 1, 1]) };
    let fabrics = [("3 x 1", three(&[1, 1, 1])), ("3 x 1 with a crash", crashing)];
    let killed = all_die::<Agent<Directory<1>>>(
        &[
            Mutation::WritesBeforeInvAcks,
            Mutation::ForgetsReadersWhileWaiting,
            Mutation::KeepsCopyAfterInvAck,
            Mutation::ForgetsASharer,
            Mutation::SuffersInSilence,
            Mutation::AcksBeforeTheReadIsDone,
            Mutation::OrdersBeforeTheNews,
        ],
        &fabrics,
    );
    assert!(killed >= 7);
}
