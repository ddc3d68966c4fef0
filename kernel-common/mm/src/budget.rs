//! How much of a long operation is done in one run.

/// What is left to spend in one run of kernel code, in units of about one page-table entry.
///
/// The kernel gives the link and the timer their turn at least every millisecond. An operation on
/// gigabytes is cut into steps, each of which spends at most the budget it is given, give or take
/// one small unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(u32);

impl Budget {
    /// The work of one step: four full last-level tables.
    #[must_use]
    pub const fn step() -> Budget {
        Budget(2048)
    }

    /// No bound, for tests and for what must end at once.
    #[must_use]
    pub const fn unbounded() -> Budget {
        Budget(u32::MAX)
    }

    /// A budget of `units`.
    #[must_use]
    pub const fn new(units: u32) -> Budget {
        Budget(units)
    }

    /// Whether all is spent.
    #[must_use]
    pub const fn is_spent(self) -> bool {
        self.0 == 0
    }

    /// Units left.
    #[must_use]
    pub const fn left(self) -> u32 {
        self.0
    }

    /// Takes `units` off. An unbounded budget stays so.
    pub fn spend(&mut self, units: u32) {
        if self.0 != u32::MAX {
            self.0 = self.0.saturating_sub(units);
        }
    }
}

/// How far a long operation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// All is done.
    Done,
    /// The budget is spent and there is more to do.
    More,
}

impl Progress {
    /// Whether all is done.
    #[must_use]
    pub const fn is_done(self) -> bool {
        matches!(self, Progress::Done)
    }
}
