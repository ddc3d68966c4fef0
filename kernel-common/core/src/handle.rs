//! How tasks reach the kernel's state.

use alloc::rc::Rc;
use core::cell::RefCell;

use maize_hal::Arch;

use crate::state::State;

/// A task's way to the kernel's state.
///
/// The state is lent to a closure and so cannot be held over an `await`: whatever a task read is
/// to be checked again after it has waited. Closures do not nest: a function that takes `&mut
/// State` never calls [`Handle::with`].
pub(crate) struct Handle<A: Arch>(Rc<RefCell<State<A>>>);

impl<A: Arch> Clone for Handle<A> {
    fn clone(&self) -> Handle<A> {
        Handle(Rc::clone(&self.0))
    }
}

impl<A: Arch> Handle<A> {
    pub(crate) fn new(state: State<A>) -> Handle<A> {
        Handle(Rc::new(RefCell::new(state)))
    }

    /// Runs `f` on the state.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State<A>) -> R) -> R {
        f(&mut self.0.borrow_mut())
    }
}
