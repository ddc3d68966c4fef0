//! The checks of each machine, compiled with this crate.
//!
//! A generic check is compiled where its machine is known, and optimised crates share nothing of that
//! kind: each test program would compile all of it once more.

use maize_coherence::Agent;
use maize_coherence::directory::Directory;
use maize_coherence::shared::Shared;
use maize_coherence::voting::Voting;

use crate::{Fabric, Outcome, Progress, Setup, Subject, Table, check, progress, transitions};

/// The checks of one machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Its name.
    pub name: &'static str,
    /// Visits every state of a fabric, on one thread: [`check`].
    pub check: fn(Setup) -> Outcome,
    /// [`progress`] of a fabric.
    pub progress: fn(Setup) -> Progress,
    /// [`transitions`] of fabrics.
    pub transitions: fn(&[Setup]) -> Table,
}

const fn machine<P: Subject>() -> Machine {
    Machine {
        name: P::NAME,
        check: |setup| check(Fabric::<P>::new(setup), None, 1),
        progress: |setup| progress(&Fabric::<P>::new(setup)),
        transitions: transitions::<P>,
    }
}

/// The seed's protocol.
pub static VOTING: Machine = machine::<Agent<Voting<1>>>();

/// A directory.
pub static DIRECTORY: Machine = machine::<Agent<Directory<1>>>();

/// Siblings that share frames, over a directory.
pub static SHARED: Machine = machine::<Shared<Agent<Directory<1>>>>();
