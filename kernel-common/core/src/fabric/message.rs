//! The messages of the core: kinds, classes, bodies, and how long each may be.

use alloc::vec::Vec;

use maize_abi::IsaKind;
use maize_wire::{Class, Kind};
use serde::{Deserialize, Serialize};

use crate::group::{AreaRecord, Dropped, ObjectName, SpaceKey};
use crate::homes::{CallDone, CallRecord, News, Piece};
use crate::migrate::{Departure, Stay};

/// Names a request: who of the asking instance's threads asks, and its number among that instance's
/// requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct RequestId {
    /// The thread's id, or 0 for the instance itself.
    pub(crate) asker: u32,
    /// Counts up at the asking instance.
    pub(crate) sequence: u32,
}

/// What an instance is, for its peers to decide whether they can work with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// [`VERSION`].
    pub(crate) version: u16,
    /// `e_machine` of its programs.
    pub(crate) machine: u16,
    /// Bytes of its FPU state: the same on all instances of an instruction set.
    pub(crate) fpu_len: u32,
    /// What tells its root from others.
    pub(crate) root: u64,
    /// Whether it runs the voting protocol.
    pub(crate) voting: bool,
    /// The wall-clock time at which its monotonic clock was zero, in nanoseconds.
    pub(crate) boot_time: u64,
}

impl Hello {
    /// The instruction set of an instance that says this, if it can be worked with by one that says
    /// `mine`.
    pub(crate) fn works_with(&self, mine: &Hello) -> Option<IsaKind> {
        let isa = IsaKind::of_elf_machine(self.machine)?;
        let Hello { machine, fpu_len, boot_time, .. } = *mine;
        let alike = Hello { machine, fpu_len, boot_time, ..*self } == *mine;
        let same_state = self.machine != mine.machine || self.fpu_len == mine.fpu_len;
        (alike && same_state).then_some(isa)
    }
}

/// Version of these messages: instances of different versions do not work together.
pub(crate) const VERSION: u16 = 8;

/// A page as it is named between instances: object, life, index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct PageName {
    pub(crate) object: u64,
    pub(crate) generation: u32,
    pub(crate) index: u32,
}

/// A message of the page protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) page: PageName,
    /// The agent's message, encoded by its policy. If it has a page to bring and none comes along, the
    /// page is all zeros.
    #[serde(with = "serde_bytes")]
    pub(crate) message: Vec<u8>,
    /// Numbers of the frames that it lends to an instance of the same machine.
    pub(crate) frames: Vec<u64>,
}

/// The page is in a later life than a message said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PageStale {
    pub(crate) page: PageName,
}

/// Run a thread until it traps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) id: RequestId,
    pub(crate) stay: Stay,
}

/// A thread has trapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trapped {
    pub(crate) id: RequestId,
    pub(crate) departure: Departure,
}

/// Which area is at an address?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskArea {
    pub(crate) id: RequestId,
    pub(crate) space: SpaceKey,
    pub(crate) address: u64,
    /// Bits of [`maize_abi::pte::Access`].
    pub(crate) access: u8,
}

/// Why there is no area to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NoArea {
    /// Nothing is mapped there, or not for that access: the thread's signal is its home's to send.
    Fault,
    /// It cannot be replicated.
    Unsupported,
}

/// The area at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TellArea {
    pub(crate) id: RequestId,
    pub(crate) area: Result<AreaRecord, NoArea>,
}

/// Forget areas and pages: the home has changed them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forget {
    pub(crate) id: RequestId,
    pub(crate) space: SpaceKey,
    /// Addresses: first, and behind the last.
    pub(crate) ranges: Vec<(u64, u64)>,
    pub(crate) dropped: Vec<Dropped>,
}

/// Areas and pages are forgotten, translations flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forgot {
    pub(crate) id: RequestId,
}

/// Stop serving a request; its answer says how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cancel {
    pub(crate) id: RequestId,
}

/// A space has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leave {
    pub(crate) space: SpaceKey,
    /// Objects that end with it, for an instance that has frames of them for its machine.
    pub(crate) objects: Vec<ObjectName>,
}

/// The most objects that one [`Leave`] or [`Gone`] names.
pub(crate) const LEAVING: usize = 1000;

/// Objects have ended before the spaces that mapped them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gone {
    /// At most [`LEAVING`].
    pub(crate) objects: Vec<ObjectName>,
}

/// The program that the fabric was started for has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// As `wait4` gives it.
    pub(crate) status: u32,
}

/// Serve a system call of a thread whose home is the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) id: RequestId,
    pub(crate) call: CallRecord,
}

/// The call is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Called {
    pub(crate) id: RequestId,
    pub(crate) done: CallDone,
}

/// A piece of a process that goes to the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carry {
    pub(crate) id: RequestId,
    pub(crate) pid: u32,
    pub(crate) piece: Piece,
}

/// The piece has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carried {
    pub(crate) id: RequestId,
    pub(crate) taken: bool,
}

/// A process is about to go elsewhere: keep what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Depart {
    pub(crate) id: RequestId,
    pub(crate) pid: u32,
    pub(crate) to: u16,
}

/// What happens to the process is kept, or it may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departs {
    pub(crate) id: RequestId,
    pub(crate) may: bool,
}

/// Something about a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tell {
    pub(crate) pid: u32,
    pub(crate) news: News,
}

/// Whose is a thread of one of the sender's processes?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskThread {
    pub(crate) id: RequestId,
    pub(crate) tid: u32,
}

/// The process of a thread, if one that lives here has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TellThread {
    pub(crate) id: RequestId,
    pub(crate) process: Option<u32>,
}

/// Give the futexes of a page back: somebody else uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecallFutexes {
    pub(crate) id: RequestId,
    pub(crate) space: SpaceKey,
    /// The number of the page.
    pub(crate) page: u64,
}

/// The futexes of a page are the home's again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecalledFutexes {
    pub(crate) id: RequestId,
    pub(crate) space: SpaceKey,
    pub(crate) page: u64,
    /// Who waits, at most [`crate::futex::MOST_WAITING`]: the thread, the word's address, and the bits that
    /// wake it; those of one word from the oldest on.
    pub(crate) waiters: Vec<(u32, u64, u32)>,
}

/// Threads of a receiver's that a [`Load`] names at the most.
pub(crate) const ASLEEP: usize = 256;

/// How many threads want to run at the sender, on average.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// In sixteenths of a thread.
    pub(crate) sixteenths: u32,
    /// The receiver's threads that sleep at the sender, where it serves futexes: up to [`ASLEEP`] of them.
    pub(crate) asleep: Vec<u32>,
}

/// A message that is none: the sender broke the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// No kind has this number.
    Kind,
    /// Longer than its kind allows.
    Length,
    /// The body is not what its kind says.
    Body,
    /// A page came with it that its kind does not have, or the reverse.
    Page,
}

macro_rules! registry {
    ($($name:ident = $kind:literal, $class:ident, $most:literal;)*) => {
        /// Any message.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum Message {
            $($name($name),)*
        }

        $(impl From<$name> for Message {
            fn from(body: $name) -> Message {
                Message::$name(body)
            }
        })*

        /// Names of the kinds, for counters.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];

        impl Message {
            /// Class and kind.
            pub(crate) const fn kind(&self) -> (Class, Kind) {
                match self {
                    $(Message::$name(_) => (Class::$class, Kind($kind)),)*
                }
            }

            /// Writes the body into `buffer`, which has [`MOST`] bytes. `None` if it is longer than it
            /// may be, which is the sender's bug.
            pub(crate) fn encode<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
                match self {
                    $(Message::$name(body) => {
                        let body = postcard::to_slice(body, buffer.get_mut(..$most)?).ok()?;
                        Some(body)
                    })*
                }
            }

            /// Takes a message that has arrived apart.
            pub(crate) fn decode(kind: Kind, body: &[u8]) -> Result<Message, Malformed> {
                match kind.0 {
                    $($kind if body.len() > $most => Err(Malformed::Length),
                    $kind => {
                        let (message, rest) =
                            postcard::take_from_bytes(body).map_err(|_| Malformed::Body)?;
                        if rest.is_empty() {
                            Ok(Message::$name(message))
                        } else {
                            Err(Malformed::Body)
                        }
                    })*
                    _ => Err(Malformed::Kind),
                }
            }
        }
    };
}

/// Bytes of the longest body.
pub(crate) const MOST: usize = 65_536;

registry! {
    Hello = 16, Normal, 48;
    Page = 17, Normal, 160;
    PageStale = 18, Normal, 24;
    Run = 19, Normal, 16_384;
    Trapped = 20, Normal, 16_384;
    AskArea = 21, Normal, 48;
    TellArea = 22, Normal, 120;
    Forget = 23, Normal, 16_384;
    Forgot = 24, Normal, 24;
    Cancel = 25, Normal, 24;
    Leave = 26, Normal, 16_384;
    Ended = 27, Normal, 8;
    Load = 28, Normal, 2_048;
    Gone = 29, Normal, 16_384;
    Call = 30, Normal, 192;
    Called = 31, Normal, 128;
    Carry = 32, Normal, 65_536;
    Carried = 33, Normal, 24;
    Depart = 34, Normal, 32;
    Departs = 35, Normal, 24;
    Tell = 36, Normal, 256;
    RecallFutexes = 37, Normal, 48;
    RecalledFutexes = 38, Normal, 16_384;
    AskThread = 39, Normal, 32;
    TellThread = 40, Normal, 32;
}

/// The first kind that is the core's: those below are the platform's, which shares the links.
const FIRST: u16 = 16;

/// Where a kind stands in [`NAMES`].
pub(crate) fn index(kind: Kind) -> usize {
    usize::from(kind.0.saturating_sub(FIRST)).min(NAMES.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_has_a_name() {
        let ended = Message::from(Ended { status: 256 });
        let mut buffer = [0; MOST];
        let bytes = ended.encode(&mut buffer).unwrap();
        assert_eq!(Message::decode(Kind(27), bytes), Ok(ended));
        assert_eq!(Message::decode(Kind(15), bytes), Err(Malformed::Kind));
        assert_eq!(Message::decode(Kind(FIRST + NAMES.len() as u16), bytes), Err(Malformed::Kind));
        assert_eq!(Message::decode(Kind(27), &[]), Err(Malformed::Body));
        assert_eq!(Message::decode(Kind(27), &[0, 0]), Err(Malformed::Body));
        assert_eq!(Message::decode(Kind(27), &[0; 9]), Err(Malformed::Length));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_message_or_refused(kind in 14_u16..42, body: Vec<u8>) {
            if let Ok(message) = Message::decode(Kind(kind), &body) {
                assert!(message.encode(&mut [0; MOST]).is_some());
            }
        }
    }
}
