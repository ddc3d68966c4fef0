//! Which instance serves the futexes in a page of a space, as the space's home decides it.
//!
//! The home serves them, until calls about a page have come from one other instance only for a while:
//! then it *lends* that instance the page's futexes. Threads there wait and wake each other without a
//! message, until somebody else calls about the page: then the home *recalls* them, with those who wait.
//! Each recall doubles the number of calls after which that page is lent again.
//!
//! Only private words are lent, by address. Where the page's content is does not matter: that its copies
//! are coherent is enough for the comparison of `FUTEX_WAIT`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use maize_wire::InstanceId;

/// Calls in a row from one instance after which it is lent a page for the first time, and the most.
const CALLS: (u32, u32) = (4, 1024);

/// Pages of a space that are remembered.
const REMEMBERED: usize = 256;

/// Who has the futexes of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// They are lent to this instance, since a request of this number.
    Lent(InstanceId, u32),
    /// It was told to give them back.
    Recalled(InstanceId),
}

impl Holder {
    const fn instance(self) -> InstanceId {
        match self {
            Holder::Lent(instance, _) | Holder::Recalled(instance) => instance,
        }
    }
}

#[derive(Debug)]
struct Note {
    /// Where the last calls came from, and how many in a row.
    caller: InstanceId,
    calls: u32,
    /// How many it takes.
    wanted: u32,
    holder: Option<Holder>,
}

/// What a home knows of the use of a space's futexes by other instances, by the number of their page.
#[derive(Debug, Default)]
pub(crate) struct Lending {
    notes: BTreeMap<u64, Note>,
    /// Pages that calls enough have come about.
    due: Vec<u64>,
}

impl Lending {
    /// A call about a page came from an instance that is not the home.
    pub(crate) fn note_call(&mut self, page: u64, from: InstanceId) {
        if self.notes.len() >= REMEMBERED && !self.notes.contains_key(&page) {
            self.notes.retain(|_, note| note.holder.is_some());
            self.due.clear();
            if self.notes.len() >= REMEMBERED {
                return;
            }
        }
        let new = Note { caller: from, calls: 0, wanted: CALLS.0, holder: None };
        let note = self.notes.entry(page).or_insert(new);
        note.calls = if note.caller == from { note.calls.saturating_add(1) } else { 1 };
        note.caller = from;
        if note.calls == note.wanted {
            self.due.push(page);
        }
    }

    /// A call about a page came from a thread at home, or is one that only the home serves.
    pub(crate) fn note_call_at_home(&mut self, page: u64) {
        if let Some(note) = self.notes.get_mut(&page) {
            note.calls = 0;
        }
    }

    /// The pages that may be lent to an instance now. Those that are not lent will be again after as many
    /// calls.
    pub(crate) fn take_due(&mut self, to: InstanceId) -> Vec<u64> {
        if self.due.is_empty() {
            return Vec::new();
        }
        let notes = &mut self.notes;
        let mut taken = Vec::new();
        self.due.retain(|page| match notes.get_mut(page) {
            Some(note) if note.calls >= note.wanted && note.holder.is_none() => {
                if note.caller != to {
                    return true;
                }
                note.calls = 0;
                taken.push(*page);
                false
            }
            _ => false,
        });
        taken
    }

    /// Lends a page that was due, with the request of this number.
    pub(crate) fn lend(&mut self, page: u64, to: InstanceId, with: u32) {
        if let Some(note) = self.notes.get_mut(&page) {
            note.holder = Some(Holder::Lent(to, with));
        }
    }

    /// Who has a page, if that is not the home.
    pub(crate) fn holder(&self, page: u64) -> Option<Holder> {
        self.notes.get(&page)?.holder
    }

    /// The instance that has a page is told to give it back.
    pub(crate) fn recall(&mut self, page: u64) {
        if let Some(note) = self.notes.get_mut(&page) {
            note.holder = note.holder.map(|holder| Holder::Recalled(holder.instance()));
        }
    }

    /// A page was given back. False if its giver was not told to.
    pub(crate) fn take_back(&mut self, page: u64, from: InstanceId) -> bool {
        let note = self.notes.get_mut(&page);
        let Some(note) = note.filter(|note| note.holder == Some(Holder::Recalled(from))) else {
            return false;
        };
        note.holder = None;
        note.wanted = (2 * note.wanted).min(CALLS.1);
        note.calls = 0;
        true
    }

    /// Takes back what an instance had that is gone; the pages that it was told to give back.
    pub(crate) fn holder_died(&mut self, peer: InstanceId) -> Vec<u64> {
        let mut recalled = Vec::new();
        for (page, note) in &mut self.notes {
            if let Some(holder) = note.holder.take_if(|holder| holder.instance() == peer)
                && holder == Holder::Recalled(peer)
            {
                recalled.push(*page);
            }
        }
        recalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: InstanceId = InstanceId(1);
    const B: InstanceId = InstanceId(2);

    fn calls(lending: &mut Lending, count: u32, from: InstanceId) {
        (0..count).for_each(|_| lending.note_call(7, from));
    }

    #[test]
    fn a_page_is_lent_to_who_alone_calls_about_it() {
        let mut lending = Lending::default();
        calls(&mut lending, 3, A);
        assert!(lending.take_due(A).is_empty());
        calls(&mut lending, 3, B);
        lending.note_call_at_home(7);
        calls(&mut lending, 3, B);
        assert!(lending.take_due(B).is_empty());
        calls(&mut lending, 1, B);
        assert_eq!(lending.take_due(B), [7]);
        lending.lend(7, B, 1);
        assert_eq!(lending.holder(7), Some(Holder::Lent(B, 1)));
        assert_eq!(lending.holder(8), None);
    }

    #[test]
    fn who_is_not_lent_a_page_that_was_due_calls_as_often_again() {
        let mut lending = Lending::default();
        calls(&mut lending, 4, A);
        assert!(lending.take_due(B).is_empty(), "nobody called there");
        assert_eq!(lending.take_due(A), [7]);
        assert!(lending.take_due(A).is_empty());
        calls(&mut lending, 4, A);
        assert_eq!(lending.take_due(A), [7]);
        calls(&mut lending, 4, A);
        lending.note_call(7, B);
        assert!(lending.take_due(A).is_empty(), "somebody else has called since");
    }

    #[test]
    fn each_recall_doubles_the_calls_that_it_takes() {
        let mut lending = Lending::default();
        let mut wanted = 4;
        for _ in 0..12 {
            calls(&mut lending, wanted - 1, A);
            assert!(lending.take_due(A).is_empty());
            calls(&mut lending, 1, A);
            assert_eq!(lending.take_due(A), [7]);
            lending.lend(7, A, 1);
            assert!(!lending.take_back(7, A), "it was not told to");
            lending.recall(7);
            assert!(!lending.take_back(7, B));
            assert!(lending.take_back(7, A));
            assert_eq!(lending.holder(7), None);
            wanted = (2 * wanted).min(1024);
        }
    }

    #[test]
    fn the_dead_have_nothing() {
        let mut lending = Lending::default();
        calls(&mut lending, 4, A);
        lending.lend(7, A, 1);
        lending.note_call(8, A);
        lending.lend(8, A, 2);
        lending.recall(8);
        assert!(lending.holder_died(B).is_empty());
        assert_eq!(lending.holder_died(A), [8]);
        assert_eq!((lending.holder(7), lending.holder(8)), (None, None));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_lent_is_kept() {
        let mut lending = Lending::default();
        calls(&mut lending, 4, A);
        lending.lend(7, A, 1);
        (100..100_000).for_each(|page| lending.note_call(page, A));
        assert!(lending.notes.len() <= REMEMBERED);
        assert_eq!(lending.holder(7), Some(Holder::Lent(A, 1)));
    }
}
