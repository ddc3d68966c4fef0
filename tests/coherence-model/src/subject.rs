//! The machines under check.

use maize_coherence::directory::Directory;
use maize_coherence::model::{Checked, Normalise};
use maize_coherence::shared::{Domain, Shared};
use maize_coherence::voting::Voting;
use maize_coherence::{Agent, Config, Home, NodeId, Nodes, Policy};

use crate::Setup;

/// How long holds last: longer than any run.
const HOLD_NS: u64 = 1 << 40;

/// A machine that the checker knows.
pub trait Subject: Checked<Message: Send + Sync> + Send + Sync + 'static {
    /// Its name.
    const NAME: &'static str;
    /// Whether it uses clocks.
    const CLOCKS: bool;
    /// Whether nodes other than the home, or siblings other than the lead, play the same part.
    const SYMMETRIC: bool;
    /// Whether a page that was reported lost stays so; then no content may be on its way.
    const LOSS_IS_FINAL: bool;
    /// Where pages are at home.
    fn home() -> Home {
        Home::At(NodeId(0))
    }
    /// The machine of an instance that knows all the others.
    fn build(setup: &Setup, instance: u8) -> Self;
    /// The machine of a node that has been started again and knows nobody yet.
    fn alone(setup: &Setup, node: u8) -> Self;
    /// A node gets to know another one, which has been started so often before.
    fn join(&mut self, node: NodeId, restarts: u32);
    /// Whether a message names the frame of the page that it is about.
    fn names_frame(_: &Self::Message) -> bool {
        false
    }
}

fn agent<P: Policy<1>>(setup: &Setup, instance: u8, members: Nodes<1>) -> Agent<P> {
    let node = NodeId(u16::from(instance) / setup.siblings as u16);
    let home = Home::At(NodeId(0));
    Agent::new(Config { node, home, hold_ns: HOLD_NS }, members)
}

/// The agent of a node that has been started again, which is what it knows.
fn agent_alone<P: Policy<1>>(setup: &Setup, node: u8) -> Agent<P> {
    let mut alone = agent(setup, node, Nodes::EMPTY);
    alone.join(NodeId(node.into()), 1);
    alone
}

impl Subject for Agent<Voting<1>> {
    const NAME: &'static str = "voting";
    const CLOCKS: bool = true;
    // Votes break ties by index.
    const SYMMETRIC: bool = false;
    // The next fault asks again.
    const LOSS_IS_FINAL: bool = false;

    fn build(setup: &Setup, instance: u8) -> Self {
        agent(setup, instance, Nodes::first_n(setup.nodes))
    }

    fn alone(setup: &Setup, node: u8) -> Self {
        agent_alone(setup, node)
    }

    fn join(&mut self, node: NodeId, restarts: u32) {
        Agent::join(self, node, restarts);
    }
}

impl Subject for Agent<Directory<1>> {
    const NAME: &'static str = "directory";
    const CLOCKS: bool = false;
    // A rebuilt entry picks the lowest holder, which any renaming keeps among equals.
    const SYMMETRIC: bool = true;
    const LOSS_IS_FINAL: bool = true;

    fn build(setup: &Setup, instance: u8) -> Self {
        agent(setup, instance, Nodes::first_n(setup.nodes))
    }

    fn alone(setup: &Setup, node: u8) -> Self {
        agent_alone(setup, node)
    }

    fn join(&mut self, node: NodeId, restarts: u32) {
        Agent::join(self, node, restarts);
    }
}

impl<P: Normalise<1>> Subject for Shared<Agent<P>>
where
    Agent<P>: Subject,
{
    const NAME: &'static str = if Agent::<P>::CLOCKS { "shared/voting" } else { "shared" };
    const CLOCKS: bool = Agent::<P>::CLOCKS;
    const SYMMETRIC: bool = true;
    const LOSS_IS_FINAL: bool = Agent::<P>::LOSS_IS_FINAL;

    fn build(setup: &Setup, instance: u8) -> Self {
        let domain = Domain {
            sibling: NodeId(u16::from(instance) % setup.siblings as u16),
            lead: NodeId(0),
            ahead: setup.ahead,
            hold_ns: HOLD_NS,
        };
        let agent = agent(setup, instance, Nodes::first_n(setup.nodes));
        Self::new(agent, domain, Nodes::first_n(setup.siblings))
    }

    fn alone(setup: &Setup, node: u8) -> Self {
        Self::build(setup, node)
    }

    fn join(&mut self, node: NodeId, restarts: u32) {
        self.machine_mut().join(node, restarts);
    }

    fn names_frame(message: &Self::Message) -> bool {
        matches!(message, maize_coherence::shared::Message::Mapping { .. })
    }
}
