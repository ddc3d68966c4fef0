//! The paper's Figure 7: two threads over an array, on two nodes.

use crate::patterns::{PolicyName, run};
use crate::{Op, Tally};

/// What the two threads do with the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// Figure 7(b): both read.
    ReadRead,
    /// Figure 7(c): one reads, one writes.
    ReadWrite,
    /// Figure 7(d): both write.
    WriteWrite,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ReadRead, Self::ReadWrite, Self::WriteWrite];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadRead => "two readers",
            Self::ReadWrite => "reader + writer",
            Self::WriteWrite => "two writers",
        }
    }
}

/// The array's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// An eighth of a page.
    PartOfAPage,
    /// One page.
    Page,
    /// 64 pages.
    Pages64,
}

impl Size {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PartOfAPage, Self::Page, Self::Pages64];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PartOfAPage => "1/8 page",
            Self::Page => "1 page",
            Self::Pages64 => "64 pages",
        }
    }

    /// Pages, and elements per page, of 8 bytes.
    fn shape(self) -> (u32, u64) {
        match self {
            Self::PartOfAPage => (1, 64),
            Self::Page => (1, 512),
            Self::Pages64 => (64, 512),
        }
    }
}

/// The paper's numbers of iterations.
pub const ITERATIONS: [u32; 5] = [1, 10, 30, 60, 90];

/// One thread's program: the elements in order, again and again. A page's elements take a
/// nanosecond each; its first access of an iteration decides about a fault, as the hold outlasts
/// the rest.
fn program(op: fn(u32) -> Op, size: Size, iterations: u32) -> Vec<Op> {
    let (pages, elements) = size.shape();
    let mut ops = vec![Op::Barrier];
    for _ in 0..iterations {
        for page in 0..pages {
            ops.extend([op(page), Op::Compute(elements)]);
        }
        // The threads of the paper run freely after the start; here an iteration is a round of
        // sharing, so that counts can be compared.
        ops.push(Op::Barrier);
    }
    ops
}

/// One bar group of the figure.
///
/// # Errors
///
/// What was wrong with the run; see [`crate::Sim::run`].
pub fn run_case(
    policy: PolicyName,
    case: Case,
    size: Size,
    iterations: u32,
    seed: u64,
) -> Result<Tally, String> {
    type OnPage = fn(u32) -> Op;
    let (first, second): (OnPage, OnPage) = match case {
        Case::ReadRead => (Op::Read, Op::Read),
        Case::ReadWrite => (Op::Write, Op::Read),
        Case::WriteWrite => (Op::Write, Op::Write),
    };
    let (pages, _) = size.shape();
    // The first thread allocates the array before the second one comes.
    let mut writer: Vec<Op> = (0..pages).map(Op::Write).collect();
    writer.extend(program(first, size, iterations));
    run(policy, 2, seed, &[writer, program(second, size, iterations)])
}
