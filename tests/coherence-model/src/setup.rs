//! What a fabric under check consists of and may do.

use maize_coherence::{Access, Mutation};

/// One access of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A load from a page.
    Read(u8),
    /// A store to a page.
    Write(u8),
}

impl Op {
    /// The page.
    #[must_use]
    pub fn page(self) -> u8 {
        match self {
            Self::Read(page) | Self::Write(page) => page,
        }
    }

    /// What the access needs.
    #[must_use]
    pub fn access(self) -> Access {
        match self {
            Self::Read(_) => Access::Read,
            Self::Write(_) => Access::Write,
        }
    }
}

/// What the threads do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Every instance makes up to this many accesses, any of them.
    Any(Vec<u8>),
    /// Every node makes these accesses; a store writes one, and what loads see is kept.
    Litmus(Vec<Vec<Op>>),
}

/// A fabric under check.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many nodes.
    pub nodes: usize,
    /// How many instances a node has; each has a thread. More than one needs `shared`.
    pub siblings: usize,
    /// How many neighbouring mappings an answer to a sibling brings along.
    pub ahead: u8,
    /// How many pages.
    pub pages: u8,
    /// What the threads do.
    pub program: Program,
    /// Which instances may crash; at most one does.
    pub crashes: Vec<u8>,
    /// Whether the one that has crashed starts again, with nothing. Only of nodes of one instance that
    /// are not the home.
    pub returns: bool,
    /// How often a node may ask for a frame back.
    pub evictions: u8,
    /// How often a page may be discarded.
    pub discards: u8,
    /// How often the home may give a page to a node that has not asked for it.
    pub gifts: u8,
    /// How often the home may move a page into the window.
    pub promotions: u8,
    /// Whether a hold may end before its access has retired.
    pub short_holds: bool,
    /// How many readings of its clock a node may get, relative to the stamps that are about: 1 (the
    /// lowest possible), 2 (or above all), 3 (or the same as the highest).
    pub clock_readings: u8,
    /// A rule that is taken out.
    pub mutation: Option<Mutation>,
}

impl Setup {
    /// Free accesses, nothing else.
    #[must_use]
    pub fn new(nodes: usize, pages: u8, accesses: u8) -> Self {
        Self {
            nodes,
            siblings: 1,
            ahead: 0,
            pages,
            program: Program::Any(vec![accesses; nodes]),
            crashes: vec![],
            returns: false,
            evictions: 0,
            discards: 0,
            gifts: 0,
            promotions: 0,
            short_holds: false,
            clock_readings: 2,
            mutation: None,
        }
    }

    /// Free accesses on nodes of several instances.
    #[must_use]
    pub fn domains(nodes: usize, siblings: usize, pages: u8, accesses: &[u8]) -> Self {
        let program = Program::Any(accesses.to_vec());
        Self { siblings, program, clock_readings: 1, ..Self::new(nodes, pages, 0) }
    }

    /// How many instances there are.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.nodes * self.siblings
    }

    /// Fixed accesses over as many nodes as there are threads.
    #[must_use]
    pub fn litmus(pages: u8, threads: &[&[Op]]) -> Self {
        let program = Program::Litmus(threads.iter().map(|ops| ops.to_vec()).collect());
        Self { program, ..Self::new(threads.len(), pages, 0) }
    }
}
