//! What a link counts.

use maize_wire::Class;

use crate::{Cause, News};

/// Counts of a link since it was made. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Messages accepted for sending, by class.
    pub messages_sent: [u64; Class::COUNT],
    /// Messages delivered, by class.
    pub messages_received: [u64; Class::COUNT],
    /// Bytes of bodies accepted for sending.
    pub bytes_sent: u64,
    /// Bytes of bodies delivered.
    pub bytes_received: u64,
    /// Frames published.
    pub frames_sent: u64,
    /// Frames taken from the peer's ring.
    pub frames_received: u64,
    /// Pages accepted for sending.
    pub pages_sent: u64,
    /// Pages delivered.
    pub pages_received: u64,
    /// Messages that had to wait because the ring was full.
    pub queued: u64,
    /// Messages refused because a queue was full.
    pub refused: u64,
    /// Times the peer's doorbell was due.
    pub doorbells: u64,
    /// Frames of another session that were dropped.
    pub stale: u64,
    /// Times a fragment had to stay in the ring for want of memory.
    pub no_memory: u64,
    /// Messages that were waiting when their session ended.
    pub lost_in_queue: u64,
    /// Sessions that came up.
    pub sessions: u64,
    /// Times the peer was suspect.
    pub suspicions: u64,
    /// Sessions that ended by silence.
    pub silences: u64,
    /// Sessions that ended by corruption.
    pub corruptions: u64,
}

impl LinkStats {
    pub(crate) fn count(&mut self, news: News) {
        match news {
            News::Up => self.sessions += 1,
            News::Suspect => self.suspicions += 1,
            News::Down(Cause::Silent) => self.silences += 1,
            News::Down(Cause::Corrupt(_)) => self.corruptions += 1,
            _ => {}
        }
    }
}
