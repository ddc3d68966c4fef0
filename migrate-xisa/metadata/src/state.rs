//! A thread between two instruction sets.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::container::{self, ContainerError, Kind};
use crate::fpu::Fpu;
use crate::record::{Record, RecordError, Records, SIGNAL_BYTES, SIGNAL_SITE};
use crate::{BuildId, Isa, Program};

/// Most frames of a saved thread.
pub const MAX_STATE_FRAMES: usize = 1 << 20;

/// A thread's signal state. Numbers are Linux's, the same on both instruction sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signals {
    /// Blocked signals; bit `n - 1` is signal `n`.
    pub blocked: u64,
    /// Pending for this thread, in the same form.
    pub pending: u64,
    /// Alternate signal stack: address and bytes. Zero bytes: none.
    pub alternate_stack: (u64, u64),
}

/// The state of a thread that no instruction set owns.
///
/// The live values of its frames are in its records; locals whose address was taken, thread-local
/// variables and everything else lie in the program's memory and stay where they are. `Bytes` is
/// who owns the records: a vector, or a slice for a writer without an allocator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadState<Bytes = Vec<u8>> {
    /// The program, by its link.
    pub build_id: BuildId,
    /// Where the thread ran.
    pub source: Isa,
    /// The thread's id.
    pub thread: u64,
    /// Address of the thread block.
    pub thread_pointer: u64,
    /// Top of the data stack.
    pub data_stack: u64,
    /// Address of the innermost record; zero if there is none.
    pub record_head: u64,
    /// Address of the first byte of `records`.
    pub record_base: u64,
    /// The records, the outermost first.
    pub records: Bytes,
    /// The floating-point environment.
    pub fpu: Fpu,
    /// Signals.
    pub signals: Signals,
}

/// Why bytes are not a thread's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say where and what")]
pub enum StateError {
    /// What surrounds the state is wrong.
    Container(ContainerError),
    /// The records are not a chain.
    Record(RecordError),
    /// More frames than [`MAX_STATE_FRAMES`].
    Frames,
    /// The state is of another link of the program.
    BuildId { state: BuildId, program: BuildId },
    /// A record names a site that the program does not have.
    Site { address: u64, site: u32 },
    /// A record has another size than its site says.
    Size { address: u64, site: u32, bytes: usize },
}

impl core::fmt::Display for StateError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Container(error) => error.fmt(f),
            Self::Record(error) => error.fmt(f),
            Self::Frames => write!(f, "more than {MAX_STATE_FRAMES} frames"),
            Self::BuildId { state, program } => {
                write!(f, "the state is of build {state}, the program is build {program}")
            }
            Self::Site { address, site } => {
                write!(f, "the record at {address:#x} is of site {site}, which does not exist")
            }
            Self::Size { address, site, bytes } => {
                write!(f, "the record at {address:#x} of site {site} has {bytes} bytes")
            }
        }
    }
}

impl core::error::Error for StateError {}

impl From<ContainerError> for StateError {
    fn from(error: ContainerError) -> Self {
        Self::Container(error)
    }
}

impl From<RecordError> for StateError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl<Bytes: AsRef<[u8]>> ThreadState<Bytes> {
    /// Its records, innermost first.
    pub fn frames(&self) -> Records<'_> {
        Records::new(self.record_base, self.records.as_ref(), self.record_head)
    }

    /// Its records, once each has been found to be what the program's metadata says.
    ///
    /// # Errors
    /// [`StateError`] for the first that is not.
    pub fn frames_of(&self, program: &Program) -> Result<Vec<Record<'_>>, StateError> {
        if self.build_id != program.build_id {
            let (state, program) = (self.build_id, program.build_id);
            return Err(StateError::BuildId { state, program });
        }
        let mut frames = Vec::new();
        for record in self.frames() {
            let record = record?;
            let (address, site) = (record.address, record.site);
            if site == SIGNAL_SITE && record.bytes.len() == SIGNAL_BYTES as usize {
                frames.push(record);
                continue;
            }
            let known = program.site(site).ok_or(StateError::Site { address, site })?;
            let bytes = record.bytes.len();
            if bytes != known.record_bytes as usize {
                return Err(StateError::Size { address, site, bytes });
            }
            frames.push(record);
        }
        Ok(frames)
    }
}

impl ThreadState {
    /// Seals it.
    #[must_use]
    pub fn seal(&self) -> Vec<u8> {
        container::seal(Kind::ThreadState, self)
    }

    /// Opens a sealed state and walks its records once.
    ///
    /// # Errors
    /// [`StateError`] says which property does not hold.
    pub fn read(bytes: &[u8]) -> Result<Self, StateError> {
        let state: Self = container::open(Kind::ThreadState, bytes)?;
        for (number, record) in state.frames().enumerate() {
            record?;
            if number >= MAX_STATE_FRAMES {
                return Err(StateError::Frames);
            }
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::program::tests::example;

    fn state() -> ThreadState {
        let mut record = vec![0; 48];
        record[8] = 1;
        record[12] = 48;
        ThreadState {
            build_id: example().build_id,
            source: Isa::X86_64,
            thread: 42,
            thread_pointer: 0x9000,
            data_stack: 0x8000,
            record_head: 0x4000,
            record_base: 0x4000,
            records: record,
            fpu: Fpu::default(),
            signals: Signals { blocked: 1, ..Signals::default() },
        }
    }

    #[test]
    fn a_state_is_read_and_matched_with_its_program() {
        let state = state();
        assert_eq!(ThreadState::read(&state.seal()).as_ref(), Ok(&state));
        assert_eq!(state.frames_of(&example()).map(|frames| frames.len()), Ok(1));
    }

    #[test]
    fn a_slice_is_written_as_a_vector_is() {
        let owned = state();
        let borrowed = ThreadState::<&[u8]> {
            build_id: owned.build_id,
            source: owned.source,
            thread: owned.thread,
            thread_pointer: owned.thread_pointer,
            data_stack: owned.data_stack,
            record_head: owned.record_head,
            record_base: owned.record_base,
            records: &owned.records,
            fpu: owned.fpu,
            signals: owned.signals.clone(),
        };
        assert_eq!(container::seal(Kind::ThreadState, &borrowed), owned.seal());
    }

    #[test]
    fn a_state_of_other_metadata_is_refused() {
        let state = state();
        let with = |change: fn(&mut Program)| {
            let mut program = example();
            change(&mut program);
            state.frames_of(&program).unwrap_err()
        };
        assert!(matches!(with(|p| p.build_id.0[3] = 0), StateError::BuildId { .. }));
        let site = StateError::Site { address: 0x4000, site: 1 };
        assert_eq!(with(|p| p.sites.clear()), site);
        let size = StateError::Size { address: 0x4000, site: 1, bytes: 48 };
        assert_eq!(with(|p| p.sites[0].record_bytes = 64), size);
    }

    #[test]
    fn a_state_whose_records_are_no_chain_is_refused() {
        let mut wrong = state();
        wrong.record_head += 8;
        let error = RecordError::Address { address: 0x4008 };
        assert_eq!(ThreadState::read(&wrong.seal()), Err(StateError::Record(error)));
    }
}
