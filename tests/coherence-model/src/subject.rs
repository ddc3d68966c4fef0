//! The policies under check.

use maize_coherence::directory::{Body, Directory};
use maize_coherence::model::Normalise;
use maize_coherence::voting::Voting;
use maize_coherence::{Home, NodeId};

/// A policy that the checker knows.
pub trait Subject: Normalise<1, Message: Send + Sync> + Send + Sync + 'static {
    /// Its name.
    const NAME: &'static str;
    /// Whether it uses clocks.
    const CLOCKS: bool;
    /// Where pages are at home.
    fn home() -> Home {
        Home::At(NodeId(0))
    }
    /// Whether nodes other than the home play the same part.
    const SYMMETRIC: bool;
    /// Whether a message may be said by a node that holds nothing (for counting answers).
    fn is_query(message: &Self::Message) -> bool;
}

impl Subject for Voting<1> {
    const NAME: &'static str = "voting";
    const CLOCKS: bool = true;
    // Votes break ties by index.
    const SYMMETRIC: bool = false;

    fn is_query(message: &Self::Message) -> bool {
        use maize_coherence::voting::Message;
        matches!(message, Message::Fetch { .. } | Message::FetchWrite | Message::Invalid { .. })
    }
}

impl Subject for Directory<1> {
    const NAME: &'static str = "directory";
    const CLOCKS: bool = false;
    // A rebuilt entry picks the lowest holder, which any renaming keeps among equals.
    const SYMMETRIC: bool = true;

    fn is_query(message: &Self::Message) -> bool {
        matches!(message.body, Body::GetS { .. } | Body::GetM { .. })
    }
}
