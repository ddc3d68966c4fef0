//! What the first instance of a machine hands to a sibling.
//!
//! A page of words, little-endian by nature of both processors, with a checksum: a sibling starts
//! from it alone, before it has a heap. The upper half of the first word is the entry code's to
//! write; nothing of it counts.

use core::fmt;

use heapless::Vec;
use maize_hal::{Frame, FrameRange};
use maize_ivshmem::Addresses;
use maize_pci::Region;
use maize_wire::PAGE_WORDS;
use maize_wire::checksum::of_words;

use super::partition::{MAX_RANGES, MAX_SIBLINGS};

/// The lower half of a block's first word.
pub const MAGIC: u32 = u32::from_le_bytes(*b"SIBL");

/// Numbers that only the processor's side of a board understands.
pub const PLATFORM_WORDS: usize = 4;

const CHECKSUM: usize = 1;
const FIXED: usize = 2;
const FIXED_WORDS: usize = 11 + PLATFORM_WORDS + DEVICE_WORDS;
/// Words of the device's addresses; all zero if there is none.
const DEVICE_WORDS: usize = 5;

// Fixed words, the images, the cores, the RAM of one instance and that of all others fill a page at most.
const _: () = assert!(FIXED + FIXED_WORDS + 3 * MAX_SIBLINGS + 4 * MAX_RANGES <= PAGE_WORDS);

/// A boot block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootBlock {
    /// The instance's number in the fabric.
    pub number: u16,
    /// Its place among the instances of the machine; the first has 0.
    pub index: u16,
    /// How often it was started before.
    pub restarts: u32,
    /// Physical address of firmware's description of the machine, as the first instance got it.
    pub firmware: u64,
    /// Whatever the board's own code needs besides.
    pub platform: [u64; PLATFORM_WORDS],
    /// Where the device to other machines lies, if there are any.
    pub device: Option<Addresses>,
    /// Memory that all instances of the machine share.
    pub shared: FrameRange,
    /// Frames for the instance's first page tables.
    pub tables: FrameRange,
    /// The images of the machine's instances, which belong to nobody else's direct map.
    pub images: Vec<FrameRange, MAX_SIBLINGS>,
    /// The core of each instance of the machine, as interrupts name it.
    pub cores: Vec<u64, MAX_SIBLINGS>,
    /// RAM that is this instance's alone.
    pub ram: Vec<FrameRange, MAX_RANGES>,
    /// RAM that is other instances' of the machine.
    pub others: Vec<FrameRange, MAX_RANGES>,
}

const fn device_words(device: Addresses) -> [u64; DEVICE_WORDS] {
    let Addresses { registers, window: Region { address, size }, table, vectors } = device;
    [registers, address, size, table, vectors as u64]
}

fn device(words: [u64; DEVICE_WORDS]) -> Result<Option<Addresses>, ()> {
    let [registers, address, size, table, vectors] = words;
    if words == [0; DEVICE_WORDS] {
        return Ok(None);
    }
    let vectors = u16::try_from(vectors).map_err(|_| ())?;
    Ok(Some(Addresses { registers, window: Region { address, size }, table, vectors }))
}

/// Why a page is no boot block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootBlockError {
    /// It does not begin as one.
    Magic(u32),
    /// It is damaged.
    Checksum,
    /// A count or a range in it makes no sense.
    Malformed(&'static str),
}

impl fmt::Display for BootBlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(found) => write!(f, "the boot block begins with {found:#x}"),
            Self::Checksum => f.write_str("the boot block's checksum is wrong"),
            Self::Malformed(what) => write!(f, "{what} in the boot block makes no sense"),
        }
    }
}

impl core::error::Error for BootBlockError {}

impl BootBlock {
    /// The page that holds the block.
    #[must_use]
    pub fn to_words(&self) -> [u64; PAGE_WORDS] {
        let mut words = [0; PAGE_WORDS];
        let pair = |range: &FrameRange| [range.start.0, range.end.0];
        let fixed =
            [u64::from(self.number), self.index.into(), self.restarts.into(), self.firmware];
        let counts =
            [self.images.len(), self.ram.len(), self.others.len()].map(|count| count as u64);
        let all = fixed
            .into_iter()
            .chain(self.platform)
            .chain(self.device.map_or([0; DEVICE_WORDS], device_words))
            .chain(pair(&self.shared))
            .chain(pair(&self.tables))
            .chain(counts)
            .chain(self.images.iter().flat_map(pair))
            .chain(self.cores.iter().copied())
            .chain(self.ram.iter().flat_map(pair))
            .chain(self.others.iter().flat_map(pair));
        for (word, value) in words[FIXED..].iter_mut().zip(all) {
            *word = value;
        }
        words[0] = MAGIC.into();
        words[CHECKSUM] = of_words(&words[FIXED..]).into();
        words
    }

    /// The seed of the instance's random numbers: another one for each instance and each start.
    /// `time` is a count at its entry.
    #[must_use]
    pub fn seed(&self, machine: &[u8; 32], time: u64) -> [u8; 32] {
        let mut seed = *machine;
        let own = u64::from(self.number) << 32 | u64::from(self.restarts);
        let words = [own.to_le_bytes(), time.to_le_bytes()].concat();
        for (byte, own) in seed.iter_mut().zip(words) {
            *byte ^= own;
        }
        seed
    }

    /// Reads a page.
    ///
    /// # Errors
    /// [`BootBlockError`].
    pub fn from_words(words: &[u64; PAGE_WORDS]) -> Result<BootBlock, BootBlockError> {
        let magic = words[0] as u32;
        if magic != MAGIC {
            return Err(BootBlockError::Magic(magic));
        }
        if words[CHECKSUM] != u64::from(of_words(&words[FIXED..])) {
            return Err(BootBlockError::Checksum);
        }
        let mut words = words[FIXED..].iter().copied();
        // A block is longer than everything that its counts, which are checked, allow.
        let mut next = || words.next().unwrap_or_default();
        let malformed = BootBlockError::Malformed;
        let number = u16::try_from(next()).map_err(|_| malformed("the number"))?;
        let index = u16::try_from(next()).map_err(|_| malformed("the place"))?;
        let restarts = u32::try_from(next()).map_err(|_| malformed("the count of starts"))?;
        let firmware = next();
        let platform = core::array::from_fn(|_| next());
        let device = device(core::array::from_fn(|_| next()));
        let device = device.map_err(|()| malformed("the device"))?;
        let range = |next: &mut dyn FnMut() -> u64, what| {
            let range = FrameRange { start: Frame(next()), end: Frame(next()) };
            if range.is_empty() { Err(malformed(what)) } else { Ok(range) }
        };
        let shared = range(&mut next, "the shared memory")?;
        let tables = range(&mut next, "the memory for tables")?;
        let (instances, pieces, others) = (next(), next(), next());
        if instances > MAX_SIBLINGS as u64 || u64::from(index) >= instances {
            return Err(malformed("the number of instances"));
        }
        if pieces.max(others) > MAX_RANGES as u64 {
            return Err(malformed("the number of pieces of memory"));
        }
        let images =
            (0..instances).map(|_| range(&mut next, "an image")).collect::<Result<_, _>>()?;
        let cores = (0..instances).map(|_| next()).collect();
        let mut ranges = |count| {
            let ranges = (0..count).map(|_| range(&mut next, "a piece of memory"));
            ranges.collect::<Result<_, _>>()
        };
        let (ram, others) = (ranges(pieces)?, ranges(others)?);
        let block = BootBlock {
            number,
            index,
            restarts,
            firmware,
            platform,
            device,
            shared,
            tables,
            images,
            cores,
            ram,
            others,
        };
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: u64, end: u64) -> FrameRange {
        FrameRange { start: Frame(start), end: Frame(end) }
    }

    fn block(instances: u64, pieces: u64) -> BootBlock {
        BootBlock {
            number: 9,
            index: 1,
            restarts: 3,
            firmware: 0x1_2345_6789,
            platform: [1, u64::MAX, 3, 4],
            device: (instances == 2).then_some(Addresses {
                registers: 0x1000,
                window: Region { address: 0x80_0000_0000, size: 1 << 26 },
                table: 0x2000,
                vectors: 16,
            }),
            shared: range(512, 1024),
            tables: range(5, 9),
            images: (0..instances).map(|i| range(512 * i, 512 * i + 100)).collect(),
            cores: (0..instances).map(|i| i * 0x100).collect(),
            ram: (0..pieces).map(|i| range(4096 + 10 * i, 4100 + 10 * i)).collect(),
            others: (0..pieces).map(|i| range(9096 + 10 * i, 9100 + 10 * i)).collect(),
        }
    }

    #[test]
    fn blocks_are_read_back_whatever_the_entry_code_wrote() {
        for (instances, pieces) in [(2, 1), (16, 64), (5, 0)] {
            let block = block(instances, pieces);
            let mut words = block.to_words();
            words[0] |= 0xdead_beef << 32;
            assert_eq!(BootBlock::from_words(&words), Ok(block));
        }
    }

    #[test]
    fn nonsense_has_a_name() {
        let mut words = block(2, 1).to_words();
        words[0] = 7;
        assert_eq!(BootBlock::from_words(&words), Err(BootBlockError::Magic(7)));
        let outside = BootBlock { index: 2, ..block(2, 1) };
        let malformed = BootBlockError::Malformed("the number of instances");
        assert_eq!(BootBlock::from_words(&outside.to_words()), Err(malformed));
        let empty = BootBlock { tables: range(9, 9), ..block(2, 1) };
        let malformed = BootBlockError::Malformed("the memory for tables");
        assert_eq!(BootBlock::from_words(&empty.to_words()), Err(malformed));
    }

    proptest! {
        #[test]
        fn damage_is_noticed_and_never_panics(at in 1..PAGE_WORDS, with in 1..=u64::MAX) {
            let mut words = block(16, 64).to_words();
            words[at] ^= with;
            prop_assert!(BootBlock::from_words(&words).is_err());
            // Not even with a checksum that fits.
            words[CHECKSUM] = of_words(&words[FIXED..]).into();
            let _ = BootBlock::from_words(&words);
        }
    }
}
