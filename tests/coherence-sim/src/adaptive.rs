//! Ping-pong with and without promotion to the window.

use maize_coherence::adaptive::{Adaptive, Tuning};
use maize_coherence::directory::Directory;
use maize_coherence::voting::Voting;
use maize_coherence::{Home, NodeId, Policy};

use crate::patterns::{agents, go};
use crate::{Op, Settings, Tally};

/// Whether, and under which policy, there is a coherent window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Voting, without a window.
    VotingWithout,
    /// Voting, with a window.
    VotingWith,
    /// Directory, without a window.
    DirectoryWithout,
    /// Directory, with a window.
    DirectoryWith,
}

impl Window {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::VotingWithout, Self::VotingWith, Self::DirectoryWithout, Self::DirectoryWith];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VotingWithout | Self::DirectoryWithout => "no window",
            Self::VotingWith | Self::DirectoryWith => "window",
        }
    }

    /// The policy's name.
    #[must_use]
    pub fn policy(self) -> &'static str {
        match self {
            Self::VotingWithout | Self::VotingWith => "voting",
            Self::DirectoryWithout | Self::DirectoryWith => "directory",
        }
    }
}

/// Two nodes add to the same page in turn.
///
/// # Errors
///
/// What was wrong with the run; see [`crate::Sim::run`].
pub fn ping_pong(window: Window, iterations: u32, seed: u64) -> Result<Tally, String> {
    let frames = match window {
        Window::VotingWithout | Window::DirectoryWithout => 0,
        Window::VotingWith | Window::DirectoryWith => 16,
    };
    let tuning = Tuning { window_frames: frames, ..Tuning::default() };
    let program: Vec<Op> =
        (0..iterations).flat_map(|_| [Op::Increment(0), Op::Compute(5_000)]).collect();
    let programs = [program.clone(), program];
    match window {
        Window::VotingWithout | Window::VotingWith => on::<Voting<1>>(2, tuning, seed, &programs),
        Window::DirectoryWithout | Window::DirectoryWith => {
            on::<Directory<1>>(2, tuning, seed, &programs)
        }
    }
}

/// Runs programs under the adaptive layer.
///
/// # Errors
///
/// What was wrong with the run; see [`crate::Sim::run`].
pub fn on<P: Policy<1>>(
    nodes: usize,
    tuning: Tuning,
    seed: u64,
    programs: &[Vec<Op>],
) -> Result<Tally, String> {
    let home = Home::At(NodeId(0));
    let machines =
        agents::<P, 1>(nodes, home).into_iter().map(|agent| Adaptive::new(agent, tuning)).collect();
    go(machines, Settings { home, seed, ..Settings::default() }, programs)
}
