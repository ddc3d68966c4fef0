//! Unwind tables: which code they cover, and where each call goes on when its frame is unwound.

use gimli::{BaseAddresses, EhFrame, EndianSlice, LittleEndian, Pointer, Reader, UnwindSection};

use crate::elf::{Elf, ElfError};

/// A call's range of code and its landing pad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pad {
    /// First address of the call.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// Where it goes on; zero if nowhere.
    pub address: u64,
}

/// What the tables say of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First address of the function.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// Its calls with landing pads.
    pub pads: Vec<Pad>,
}

impl Entry {
    /// The landing pad of the call at an address, if it has one.
    #[must_use]
    pub fn pad_of(&self, call: u64) -> Option<u64> {
        let pad = self.pads.iter().find(|pad| (pad.start..pad.end).contains(&call))?;
        (pad.address != 0).then_some(pad.address)
    }
}

/// The tables of a file, by ascending address.
#[derive(Clone, Debug, Default)]
pub struct Tables(pub Vec<Entry>);

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

impl Tables {
    /// Reads a file's tables.
    ///
    /// # Errors
    /// [`ElfError`] if they are missing or damaged.
    pub fn read(elf: &Elf) -> Result<Self, ElfError> {
        let frames = elf.section(".eh_frame")?;
        let bases = BaseAddresses::default().set_eh_frame(frames.address);
        let section = EhFrame::new(&frames.bytes, LittleEndian);
        let mut entries = section.entries(&bases);
        let mut tables = Vec::new();
        while let Some(entry) = entries.next().map_err(ElfError::Unwind)? {
            let gimli::CieOrFde::Fde(partial) = entry else { continue };
            let fde = partial.parse(EhFrame::cie_from_offset).map_err(ElfError::Unwind)?;
            let start = fde.initial_address();
            let end = start.saturating_add(fde.len());
            let pads = match fde.lsda() {
                Some(Pointer::Direct(table)) => {
                    pads(elf, start, table).ok_or(ElfError::Pads(start))?
                }
                _ => Vec::new(),
            };
            tables.push(Entry { start, end, pads });
        }
        tables.sort_by_key(|entry| entry.start);
        Ok(Self(tables))
    }

    /// The entry of the function at an address.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<&Entry> {
        let after = self.0.partition_point(|entry| entry.start <= address);
        self.0.get(after.checked_sub(1)?).filter(|entry| address < entry.end)
    }
}

/// An encoding of pointers that is left out.
const OMITTED: u8 = 0xff;

/// Reads the table of a function's landing pads.
fn pads(elf: &Elf, start: u64, table: u64) -> Option<Vec<Pad>> {
    let bytes = elf.section_at(table)?.from(table)?;
    let mut bytes = Bytes::new(bytes, LittleEndian);
    if bytes.read_u8().ok()? != OMITTED {
        return None;
    }
    if bytes.read_u8().ok()? != OMITTED {
        bytes.read_uleb128().ok()?;
    }
    let encoding = bytes.read_u8().ok()?;
    let length = usize::try_from(bytes.read_uleb128().ok()?).ok()?;
    let mut calls = bytes.split(length).ok()?;
    let mut pads = Vec::new();
    while !calls.is_empty() {
        let mut number = || match encoding {
            1 => calls.read_uleb128().ok(),
            3 => calls.read_u32().ok().map(u64::from),
            _ => None,
        };
        let (at, length, pad) = (number()?, number()?, number()?);
        calls.read_uleb128().ok()?;
        let first = start.checked_add(at)?;
        let address = if pad == 0 { 0 } else { start.checked_add(pad)? };
        pads.push(Pad { start: first, end: first.checked_add(length)?, address });
    }
    Some(pads)
}
