//! The launcher's boot record at the end of the initial RAM disk.
//!
//! The RAM disk is several newc cpio archives in a row. The whole of it is the file system's to
//! index; here only the record is wanted, so the archives are walked member by member, without a
//! copy and without an index. The field's `cpio_reader` stops at the first end-of-archive member and
//! so cannot reach a later archive, which is why the walk is written out.

use core::error::Error;
use core::fmt;

use maize_hostlink::boot::{BOOT_RECORD_PATH, BootRecord, BootRecordError};

const HEADER_LEN: usize = 110;
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];

/// Why there is no boot record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// The archives hold no such member.
    Missing,
    /// At this byte the RAM disk is neither a member nor padding.
    Malformed(usize),
    /// The record is there but cannot be read.
    Record(BootRecordError),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "the initial RAM disk holds no {BOOT_RECORD_PATH}"),
            Self::Malformed(at) => write!(f, "the initial RAM disk is no archive at byte {at:#x}"),
            Self::Record(error) => error.fmt(f),
        }
    }
}

impl Error for RecordError {}

fn hex(field: &[u8]) -> Option<usize> {
    let text = core::str::from_utf8(field).ok()?;
    // A sign is no hexadecimal digit, though the parser takes one.
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
    if digits { usize::from_str_radix(text, 16).ok() } else { None }
}

/// One member: its name without the closing zero, its content, and the offset of what follows.
fn member(disk: &[u8], at: usize) -> Option<(&[u8], &[u8], usize)> {
    let header = disk.get(at..at.checked_add(HEADER_LEN)?)?;
    if !MAGICS.contains(&header.get(..6)?) {
        return None;
    }
    let size = hex(header.get(54..62)?)?;
    let name_size = hex(header.get(94..102)?)?;
    let name_at = at + HEADER_LEN;
    let name_end = name_at.checked_add(name_size)?;
    let name = disk.get(name_at..name_end)?;
    let data_at = name_end.checked_next_multiple_of(4)?;
    let data_end = data_at.checked_add(size)?;
    let data = disk.get(data_at..data_end)?;
    Some((name.strip_suffix(b"\0").unwrap_or(name), data, data_end.checked_next_multiple_of(4)?))
}

/// Finds and reads the boot record. A later one hides an earlier one, as a later file would.
///
/// # Errors
/// [`RecordError`] if the disk is malformed, or the record is missing or unreadable.
pub fn find(disk: &[u8]) -> Result<BootRecord, RecordError> {
    let mut found = None;
    let mut at = 0;
    while at < disk.len() {
        if disk.get(at) == Some(&0) {
            // Between archives there are zeroes.
            at += disk.get(at..).unwrap_or_default().iter().take_while(|b| **b == 0).count();
            continue;
        }
        let (name, data, next) = member(disk, at).ok_or(RecordError::Malformed(at))?;
        if name.strip_prefix(b"./").unwrap_or(name) == BOOT_RECORD_PATH.as_bytes() {
            found = Some(data);
        }
        at = next;
    }
    BootRecord::decode(found.ok_or(RecordError::Missing)?).map_err(RecordError::Record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;
    use maize_hostlink::boot::{Action, Console, Instance, Isa, Sharing};
    use proptest::prelude::*;

    fn record() -> BootRecord {
        BootRecord {
            action: Action::Serve,
            console: Console::Streams,
            instance: 0,
            instances: alloc::vec![Instance { machine: 0, isa: Isa::X86_64 }],
            wall_clock_ns: 7,
            entropy: [3; 32],
            stats: false,
            fabric: 0,
            poll_ns: 0,
            dead_after_ms: 1_800,
            trace: false,
            debugged: false,
            sharing: Sharing::default(),
            exercise: Vec::new(),
        }
    }

    fn add(disk: &mut Vec<u8>, name: &str, data: &[u8]) {
        let zero = "00000000";
        let (size, name_size) = (data.len(), name.len() + 1);
        let header = format!(
            "070701{zero}{zero}{zero}{zero}{zero}{zero}{size:08X}{zero}{zero}{zero}{zero}{name_size:08X}{zero}"
        );
        disk.extend_from_slice(header.as_bytes());
        disk.extend_from_slice(name.as_bytes());
        disk.push(0);
        disk.resize(disk.len().next_multiple_of(4), 0);
        disk.extend_from_slice(data);
        disk.resize(disk.len().next_multiple_of(4), 0);
    }

    fn disk() -> Vec<u8> {
        let mut disk = Vec::new();
        add(&mut disk, "bin/program", b"not a record");
        add(&mut disk, "TRAILER!!!", b"");
        disk.resize(disk.len().next_multiple_of(512), 0);
        add(&mut disk, BOOT_RECORD_PATH, &record().encode().unwrap());
        add(&mut disk, "TRAILER!!!", b"");
        disk
    }

    #[test]
    fn the_record_is_found_behind_another_archive() {
        assert_eq!(find(&disk()), Ok(record()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut other = Vec::new();
        add(&mut other, "bin/program", b"x");
        assert_eq!(find(&other), Err(RecordError::Missing));
        assert_eq!(find(b"junk"), Err(RecordError::Malformed(0)));
        let mut bad = Vec::new();
        add(&mut bad, BOOT_RECORD_PATH, b"MAIZE");
        assert_eq!(find(&bad), Err(RecordError::Record(BootRecordError::Short)));
    }

    proptest! {
        #[test]
        fn a_mutated_disk_never_panics(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut disk = disk();
            for (at, byte) in changes {
                let at = at.index(disk.len());
                disk[at] = byte;
            }
            let _ = find(&disk);
            disk.truncate(cut.index(disk.len()));
            let _ = find(&disk);
        }
    }
}
