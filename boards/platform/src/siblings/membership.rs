//! What an instance knows of its own place among the instances of its machine, wherever it is
//! asked: in a panic, too.

use heapless::Vec;
use maize_window::Mapping;
use spin::Once;

use super::Control;
use super::control::Locked;
use super::partition::MAX_SIBLINGS;

/// This instance's place.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The machine's control page.
    pub control: Control<Mapping<'static>>,
    /// Place among the machine's instances; the first has 0.
    pub index: u16,
    /// Number in the fabric.
    pub number: u16,
    /// Which start of the instance this is, from 1 on.
    pub incarnation: u32,
    /// The numbers of the machine's instances, in order.
    pub numbers: Vec<u16, MAX_SIBLINGS>,
}

impl Membership {
    /// The place of the instance with this number, if it is of this machine.
    #[must_use]
    pub fn place(&self, number: u16) -> Option<u16> {
        let place = self.numbers.iter().position(|other| *other == number)?;
        u16::try_from(place).ok()
    }

    /// Whether an instance of this machine, that was in the window under `epoch`, is known to run no
    /// more: the first instance has confirmed its stop, or it ended itself and was not started since.
    #[must_use]
    pub fn has_stopped(&self, number: u16, epoch: u32) -> bool {
        let Some(index) = self.place(number) else { return false };
        let (arrived, ended) = (self.control.arrived(index), self.control.ended(index));
        self.control.stopped_epoch(index) == epoch || (arrived != 0 && arrived == ended)
    }
}

static MEMBERSHIP: Once<Membership> = Once::new();

/// Makes this the instance's place, and says on the control page that it runs. Only the first call
/// counts.
pub fn join(membership: Membership) {
    let Membership { control, index, incarnation, .. } = &membership;
    let (control, index, incarnation) = (*control, *index, *incarnation);
    MEMBERSHIP.call_once(|| membership);
    control.borrow_from_nobody(index);
    control.arrive(index, incarnation);
}

/// This instance's place; `None` where it is alone in its machine.
#[must_use]
pub fn membership() -> Option<&'static Membership> {
    MEMBERSHIP.get()
}

/// Whether this instance was asked to stop itself.
#[must_use]
pub fn must_stop() -> bool {
    membership().is_some_and(|m| m.control.must_stop(m.index, m.incarnation))
}

/// [`Membership::has_stopped`] of this instance; `false` where it is alone.
#[must_use]
pub fn has_stopped(number: u16, epoch: u32) -> bool {
    membership().is_some_and(|membership| membership.has_stopped(number, epoch))
}

/// Says on the control page whether this instance may use memory of the one with this number, if that is of
/// its machine. Until it says that it does not, that one is not started again.
pub fn borrow_from(number: u16, borrows: bool) {
    if let Some(m) = membership()
        && let Some(lender) = m.place(number)
    {
        m.control.borrow_from(m.index, lender, borrows);
    }
}

/// Says on the control page that this instance does nothing from here on.
pub fn leave() {
    if let Some(m) = membership() {
        m.control.end(m.index, m.incarnation);
    }
}

/// The console, for as long as the value lives; others wait meanwhile, for a bounded time.
#[must_use]
pub(crate) struct ConsoleTurn(Option<&'static Membership>);

impl ConsoleTurn {
    pub(crate) fn take() -> ConsoleTurn {
        /// Looks at a holder that does not change. Each takes some hundred nanoseconds where
        /// waiting threads of an emulator give way, tens elsewhere.
        const PATIENCE: u32 = 1 << 20;
        let taken = |m: &&Membership| m.control.lock_console(m.index, PATIENCE) == Locked::Taken;
        ConsoleTurn(membership().filter(taken))
    }

    /// The console, if nobody else has it.
    pub(crate) fn take_if_free() -> Option<ConsoleTurn> {
        let Some(m) = membership() else { return Some(ConsoleTurn(None)) };
        match m.control.try_lock_console(m.index)? {
            Locked::Taken => Some(ConsoleTurn(Some(m))),
            Locked::Kept => Some(ConsoleTurn(None)),
        }
    }
}

impl Drop for ConsoleTurn {
    fn drop(&mut self) {
        if let Some(m) = self.0 {
            m.control.unlock_console(m.index);
        }
    }
}
