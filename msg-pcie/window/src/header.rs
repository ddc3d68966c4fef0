//! The window's header: written once by who creates the window, read by every instance.

use core::fmt;

use maize_wire::checksum::{Coverage, of_words};

use crate::{Layout, LayoutError, Window};

/// "MAIZEWIN", as bytes in memory.
const MAGIC: u64 = u64::from_le_bytes(*b"MAIZEWIN");
/// Version of the layout and of what its words mean.
const VERSION: u64 = 1;
const WORDS: usize = 7;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowHeader {
    /// The division of the window.
    pub layout: Layout,
    /// How much of the traffic has checksums.
    pub coverage: Coverage,
    /// A number that no other fabric of this host has, so that an instance can tell a window that
    /// was left behind.
    pub fabric: u64,
}

impl WindowHeader {
    fn to_words(self) -> [u64; WORDS] {
        let layout = self.layout;
        let mut words = [
            VERSION | (layout.instances() as u64) << 32,
            layout.window_bytes(),
            layout.ring_slots() as u64 | (layout.trace_records() as u64) << 32,
            self.coverage as u64,
            self.fabric,
            layout.frames().start as u64,
            0,
        ];
        words[WORDS - 1] = u64::from(of_words(&words));
        words
    }

    /// Writes the header into a window that is zero. Its magic number comes last, so an instance
    /// that starts early finds either nothing or everything.
    ///
    /// # Errors
    /// [`HeaderError::Size`] if the window is smaller than the layout says.
    pub fn publish(&self, window: &impl Window) -> Result<(), HeaderError> {
        let bytes = window.words() as u64 * 8;
        if bytes < self.layout.window_bytes() {
            return Err(HeaderError::Size { header: self.layout.window_bytes(), found: bytes });
        }
        window.copy_in(1, &self.to_words());
        window.store_release(0, MAGIC);
        Ok(())
    }

    /// Reads the header of a window that somebody else created.
    ///
    /// # Errors
    /// [`HeaderError::NotReady`] if it is not there yet; otherwise what is wrong with it.
    pub fn read(window: &impl Window) -> Result<WindowHeader, HeaderError> {
        if window.words() <= WORDS {
            return Err(HeaderError::Size { header: 0, found: window.words() as u64 * 8 });
        }
        match window.load_acquire(0) {
            0 => return Err(HeaderError::NotReady),
            MAGIC => {}
            other => return Err(HeaderError::Magic(other)),
        }
        let mut words = [0; WORDS];
        window.copy_out(1, &mut words);
        let [first, bytes, _, coverage, fabric, _, _] = words;
        if first & 0xffff_ffff != VERSION {
            return Err(HeaderError::Version(first & 0xffff_ffff));
        }
        let found = window.words() as u64 * 8;
        if bytes > found {
            return Err(HeaderError::Size { header: bytes, found });
        }
        let instances = usize::try_from(first >> 32).unwrap_or(usize::MAX);
        let layout = Layout::new(instances, bytes).map_err(HeaderError::Layout)?;
        let coverage = u8::try_from(coverage)
            .ok()
            .and_then(Coverage::from_number)
            .ok_or(HeaderError::Coverage(coverage))?;
        let header = WindowHeader { layout, coverage, fabric };
        // The creator's results and ours must be the same words, checksum included.
        if header.to_words() == words { Ok(header) } else { Err(HeaderError::Geometry) }
    }
}

/// Why a window cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// No header yet: look again later.
    NotReady,
    /// Not a window of this system.
    Magic(u64),
    /// A window of another version.
    Version(u64),
    /// The window is smaller than its header says, or than any header.
    Size {
        /// Bytes according to the header.
        header: u64,
        /// Bytes that are mapped.
        found: u64,
    },
    /// The header's numbers cannot be divided.
    Layout(LayoutError),
    /// An unknown checksum coverage.
    Coverage(u64),
    /// The header contradicts itself: it divides the window in another way than this build does,
    /// or is damaged.
    Geometry,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::NotReady => f.write_str("window has no header yet"),
            HeaderError::Magic(found) => write!(f, "window starts with {found:#018x}"),
            HeaderError::Version(found) => write!(f, "window version {found} is not {VERSION}"),
            HeaderError::Size { header, found } => {
                write!(f, "window of {found} bytes should have {header}")
            }
            HeaderError::Layout(error) => error.fmt(f),
            HeaderError::Coverage(found) => write!(f, "checksum coverage {found} is unknown"),
            HeaderError::Geometry => f.write_str("window header contradicts itself"),
        }
    }
}

impl core::error::Error for HeaderError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mapping;
    use core::sync::atomic::AtomicU64;
    use std::vec::Vec;

    fn memory() -> Vec<AtomicU64> {
        (0..8 << 20 >> 3).map(|_| AtomicU64::new(0)).collect()
    }

    fn header() -> WindowHeader {
        let layout = Layout::new(4, 8 << 20).unwrap();
        WindowHeader { layout, coverage: Coverage::All, fabric: 0x1234 }
    }

    #[test]
    fn a_header_is_read_back() {
        let memory = memory();
        let window = Mapping::from_words(&memory);
        assert_eq!(WindowHeader::read(&window), Err(HeaderError::NotReady));
        header().publish(&window).unwrap();
        assert_eq!(WindowHeader::read(&window), Ok(header()));
    }

    #[test]
    fn every_damaged_bit_is_noticed() {
        let memory = memory();
        let window = Mapping::from_words(&memory);
        header().publish(&window).unwrap();
        for word in 0..=WORDS {
            for bit in 0..64 {
                let good = window.load(word);
                window.store(word, good ^ 1 << bit);
                assert!(WindowHeader::read(&window).is_err(), "word {word} bit {bit}");
                window.store(word, good);
            }
        }
    }

    #[test]
    fn a_cut_window_is_refused() {
        let memory = memory();
        let window = Mapping::from_words(&memory);
        header().publish(&window).unwrap();
        let half = Mapping::from_words(&memory[..memory.len() / 2]);
        assert!(matches!(WindowHeader::read(&half), Err(HeaderError::Size { .. })));
        assert!(header().publish(&half).is_err());
        let tiny = Mapping::from_words(&memory[..4]);
        assert!(matches!(WindowHeader::read(&tiny), Err(HeaderError::Size { .. })));
    }
}
