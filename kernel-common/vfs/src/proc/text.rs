//! Texts of files of `/proc`, and those that are made in pieces.
//!
//! A process has as many areas as it likes to map, so their list is made a piece at a time, as it is
//! read: what one read allocates does not depend on the program.

use alloc::vec::Vec;

use super::node::{Place, ProcNode, Scope, TaskFile};
use super::{Area, ProcSource, task, usage};

/// Areas in one piece of a list.
pub(super) const AREAS: usize = 128;

/// The text of an open file, or a piece of it.
#[derive(Debug)]
pub(crate) struct Text {
    /// Where in the file it starts.
    pub start: u64,
    bytes: Vec<u8>,
    /// Areas at and above this address come behind it.
    next: Option<u64>,
}

impl Text {
    /// A text in one piece.
    pub(crate) fn whole(bytes: impl Into<Vec<u8>>) -> Text {
        Text { start: 0, bytes: bytes.into(), next: None }
    }

    /// Where in the file it ends.
    pub(crate) const fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// What is to be read at `at`: nothing where the piece is not.
    pub(crate) fn from(&self, at: u64) -> &[u8] {
        let skipped = at.checked_sub(self.start).and_then(|skipped| usize::try_from(skipped).ok());
        skipped.and_then(|skipped| self.bytes.get(skipped..)).unwrap_or_default()
    }
}

/// A list of the areas of a process.
#[derive(Clone, Copy)]
pub(super) enum List {
    /// `maps`.
    Areas,
    /// `smaps`.
    AreasInUse,
}

/// The list that a file is, if it is one.
pub(super) const fn list(file: TaskFile) -> Option<List> {
    match file {
        TaskFile::Maps => Some(List::Areas),
        TaskFile::Smaps => Some(List::AreasInUse),
        _ => None,
    }
}

impl List {
    /// The piece that starts at `start` in the file with the first area at or above `address`.
    pub(super) fn piece(
        self,
        scope: Scope,
        source: &dyn ProcSource,
        start: u64,
        address: u64,
    ) -> Text {
        let mut bytes = Vec::new();
        let mut listed = 0;
        let mut next = address;
        let mut add = |area: &Area, text: Vec<u8>| {
            bytes.extend(text);
            listed += 1;
            next = area.end;
        };
        match self {
            List::Areas => {
                for area in source.areas(scope.pid, address, AREAS) {
                    add(&area, task::area(&area));
                }
            }
            List::AreasInUse => {
                for area in source.areas_in_use(scope.pid, address, AREAS) {
                    add(&area.0, usage::of_area(&area));
                }
            }
        }
        Text { start, bytes, next: (listed == AREAS).then_some(next) }
    }
}

/// The piece of a file that comes behind `text`, if it goes on.
pub(crate) fn next_piece(text: &Text, node: ProcNode, source: &dyn ProcSource) -> Option<Text> {
    let Place::TaskFile(scope, file) = node.0 else { return None };
    Some(list(file)?.piece(scope, source, text.end(), text.next?))
}
