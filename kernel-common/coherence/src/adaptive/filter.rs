//! What of an agent's actions is this layer's business.

use alloc::collections::BTreeMap;

use super::{Ahead, Stream};
use crate::{Action, ObjectId, PageKey, Sink};

/// Keeps pages fetched ahead unmapped, and sees what moves into and out of the window.
pub(super) struct Filter<'a, S> {
    pub(super) sink: &'a mut S,
    pub(super) ahead: &'a mut BTreeMap<(ObjectId, u32), Ahead>,
    pub(super) streams: &'a mut BTreeMap<ObjectId, Stream>,
    /// A page fetched ahead that has just arrived.
    pub(super) arrived: Option<PageKey>,
    /// A page that a node says is hot.
    pub(super) hot: Option<PageKey>,
    pub(super) in_window: &'a mut u32,
}

impl<S> Filter<'_, S> {
    fn state(&self, page: PageKey) -> Option<Ahead> {
        self.ahead.get(&(page.object, page.index)).copied()
    }
}

impl<M, S: Sink<M>> Sink<M> for Filter<'_, S> {
    fn push(&mut self, action: Action<M>) {
        match action {
            Action::Map { page, .. } if self.state(page) == Some(Ahead::Asked) => {
                self.ahead.insert((page.object, page.index), Ahead::Here);
                self.arrived = Some(page);
                return;
            }
            Action::Map { page, .. } if self.state(page) == Some(Ahead::Here) => return,
            Action::MapWindow { page } if self.state(page).is_some() => {
                // It is in the window: whoever wants it maps it then.
                self.ahead.remove(&(page.object, page.index));
                return;
            }
            Action::Wake { page, .. } | Action::Timer { page, .. }
                if self.state(page).is_some() =>
            {
                return;
            }
            Action::Fail { page, .. } if self.state(page).is_some() => {
                self.ahead.remove(&(page.object, page.index));
                return;
            }
            Action::Unmap { page } if self.state(page) == Some(Ahead::Here) => {
                self.ahead.remove(&(page.object, page.index));
                if let Some(stream) = self.streams.get_mut(&page.object) {
                    stream.wasted();
                }
            }
            Action::Hot { page } => {
                self.hot = Some(page);
                return;
            }
            Action::ToWindow { .. } => *self.in_window = self.in_window.saturating_add(1),
            Action::FromWindow { .. } => *self.in_window = self.in_window.saturating_sub(1),
            _ => {}
        }
        self.sink.push(action);
    }
}
