//! An event: 32 bytes.

use maize_hal::Nanos;
use maize_window::TRACE_RECORD_WORDS;
use maize_wire::{Class, InstanceId};

/// What an event is about. The number is what stands in the window.
///
/// Kinds that come in pairs (`…Begin` and `…End`) bracket a span on their thread; spans on a
/// thread nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum EventKind {
    /// A mark of any meaning. Words: any.
    Mark = 1,
    /// The thread runs user code from now on.
    RunBegin = 2,
    /// The thread does not run any more. Word 0: why, as the kernel counts reasons.
    RunEnd = 3,
    /// The thread entered a system call. Word 0: its number.
    SyscallBegin = 4,
    /// The system call is over. Word 0: its number, word 1: its result.
    SyscallEnd = 5,
    /// The thread faulted. Word 0: the address, word 1: the access.
    FaultBegin = 6,
    /// The fault is resolved. Word 0: the address, word 1: where the page came from.
    FaultEnd = 7,
    /// A message was sent. Word 0: its [`flow`], word 1: its kind and length.
    Send = 8,
    /// A message was received. Words as for `Send`.
    Receive = 9,
    /// The thread leaves for another instance. Word 0: which.
    MigrateOut = 10,
    /// The thread has come from another instance. Word 0: which.
    MigrateIn = 11,
    /// Nothing to do: the instance goes to sleep.
    IdleBegin = 12,
    /// The instance was woken.
    IdleEnd = 13,
    /// An interrupt. Word 0: its number.
    Interrupt = 14,
    /// Something became of a peer. Word 0: the peer, word 1: what, as the link counts.
    Peer = 15,
}

impl EventKind {
    /// All kinds, in order of their numbers.
    pub const ALL: [EventKind; 15] = [
        EventKind::Mark,
        EventKind::RunBegin,
        EventKind::RunEnd,
        EventKind::SyscallBegin,
        EventKind::SyscallEnd,
        EventKind::FaultBegin,
        EventKind::FaultEnd,
        EventKind::Send,
        EventKind::Receive,
        EventKind::MigrateOut,
        EventKind::MigrateIn,
        EventKind::IdleBegin,
        EventKind::IdleEnd,
        EventKind::Interrupt,
        EventKind::Peer,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<EventKind> {
        EventKind::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, on the clock of the instance that wrote it.
    pub at: Nanos,
    /// What.
    pub kind: EventKind,
    /// The thread's global number; 0 for the kernel itself.
    pub thread: u32,
    /// Two words whose meaning the kind gives.
    pub words: [u64; 2],
}

/// Words of an event in the window.
pub(crate) const WORDS: usize = 4;
const _: () = assert!(WORDS == TRACE_RECORD_WORDS);

impl Event {
    /// The event as it stands in the window. The sequence number lets a reader tell a record that
    /// is just being replaced.
    #[inline]
    pub(crate) fn to_words(self, sequence: u64) -> [u64; WORDS] {
        let low = u64::from(self.kind as u16) | (sequence & 0xffff) << 16;
        [self.at.0, low | u64::from(self.thread) << 32, self.words[0], self.words[1]]
    }

    /// The event in these words, if they are one and have that sequence number.
    pub(crate) fn from_words(words: [u64; WORDS], sequence: u64) -> Option<Event> {
        let [at, what, first, second] = words;
        if (what >> 16) & 0xffff != sequence & 0xffff {
            return None;
        }
        let kind = EventKind::from_number((what & 0xffff) as u16)?;
        let thread = (what >> 32) as u32;
        Some(Event { at: Nanos(at), kind, thread, words: [first, second] })
    }
}

/// The word that identifies a message on both of its ends: who sent it to whom, and its number in
/// its class.
#[must_use]
pub fn flow(from: InstanceId, to: InstanceId, class: Class, sequence: u32) -> u64 {
    u64::from(sequence)
        | u64::from(from.0 & 0x3fff) << 32
        | u64::from(to.0 & 0x3fff) << 46
        | (class.index() as u64) << 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_numbers() {
        for (index, kind) in EventKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index + 1);
            assert_eq!(EventKind::from_number(kind as u16), Some(kind));
        }
        assert_eq!(EventKind::from_number(0), None);
        assert_eq!(EventKind::from_number(16), None);
    }

    #[test]
    fn events_return_and_old_ones_are_told_apart() {
        let event = Event {
            at: Nanos(u64::MAX),
            kind: EventKind::FaultEnd,
            thread: u32::MAX,
            words: [1, 2],
        };
        let words = event.to_words(0x12_3456);
        assert_eq!(Event::from_words(words, 0x12_3456), Some(event));
        assert_eq!(Event::from_words(words, 0x12_3457), None);
        assert_eq!(Event::from_words([0; 4], 0), None);
    }

    #[test]
    fn flows_differ() {
        let (a, b) = (InstanceId(1), InstanceId(2));
        let one = flow(a, b, Class::Normal, 7);
        assert_ne!(one, flow(b, a, Class::Normal, 7));
        assert_ne!(one, flow(a, b, Class::Urgent, 7));
        assert_ne!(one, flow(a, b, Class::Normal, 8));
    }
}
