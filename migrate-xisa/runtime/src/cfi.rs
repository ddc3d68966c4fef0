//! What unwind tables say of the frame of one call.
//!
//! The tables are those of DWARF 4, as LLVM and lld write them for x86_64 and aarch64: an index that is
//! sorted, addresses relative to their place, and no expressions. What is written
//! otherwise gives no answer. A library that reads all of DWARF took 14,000 instructions for a frame;
//! this is a few hundred, and frames are most of what a save is.

/// Most registers that a frame saves: there are 20 to save on aarch64.
pub(crate) const MOST_SAVED: usize = 24;

/// The tables of a program, with their addresses.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'t> {
    /// `.eh_frame_hdr`.
    pub index: &'t [u8],
    /// Its address.
    pub index_at: u64,
    /// `.eh_frame`.
    pub frames: &'t [u8],
    /// Its address.
    pub frames_at: u64,
}

/// A frame's caller's registers.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// A register and a distance: their sum is the frame's address.
    pub address: (u16, i64),
    /// Registers that lie so far from that address.
    saved: [(u16, i32); MOST_SAVED],
    count: usize,
}

impl Row {
    const EMPTY: Self = Self { address: (0, 0), saved: [(0, 0); MOST_SAVED], count: 0 };

    #[cfg(test)]
    pub(crate) fn of(address: (u16, i64), saved: &[(u16, i32)]) -> Self {
        let mut row = Self { address, ..Self::EMPTY };
        saved.iter().for_each(|(register, distance)| row.save(*register, *distance).unwrap());
        row
    }

    /// Registers that the frame saved, and how far from its address.
    #[must_use]
    pub fn saved(&self) -> &[(u16, i32)] {
        self.saved.get(..self.count).unwrap_or_default()
    }

    fn save(&mut self, register: u16, distance: i32) -> Option<()> {
        self.forget(register);
        *self.saved.get_mut(self.count)? = (register, distance);
        self.count += 1;
        Some(())
    }

    fn forget(&mut self, register: u16) {
        if let Some(at) = self.saved().iter().position(|(saved, _)| *saved == register) {
            self.count -= 1;
            self.saved.copy_within(at + 1..=self.count, at);
        }
    }

    fn restore(&mut self, register: u16, first: &Row) -> Option<()> {
        match first.saved().iter().find(|(saved, _)| *saved == register) {
            Some((_, distance)) => self.save(register, *distance),
            None => {
                self.forget(register);
                Some(())
            }
        }
    }
}

/// What the tables say of a frame at one place of its function.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Where its caller's registers are.
    pub row: Row,
    /// Bytes of arguments on the stack that a pad has to drop.
    pub arguments: u64,
    /// First address of the function.
    pub start: u64,
    /// The table of its pads, if it has one.
    pub pads: Option<u64>,
    /// The register of the return address.
    pub return_address: u16,
}

/// Bytes that are read from the front.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'b>(pub(crate) &'b [u8]);

impl<'b> Reader<'b> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn word(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn split(&mut self, length: usize) -> Option<Reader<'b>> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Reader(first))
    }

    pub(crate) fn unsigned(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
            shift += 7;
        }
    }

    fn signed(&mut self) -> Option<i64> {
        let (mut number, mut shift) = (0_i64, 0_u32);
        loop {
            let byte = self.byte()?;
            number |= i64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                let sign = if byte & 0x40 == 0 { 0 } else { -1_i64 };
                return Some(number | sign.checked_shl(shift).unwrap_or(0));
            }
        }
    }

    fn register(&mut self) -> Option<u16> {
        self.unsigned()?.try_into().ok()
    }
}

/// Absolute; four or eight bytes relative to their place; none.
const ABSOLUTE_4: u8 = 0x03;
const RELATIVE_4: u8 = 0x1b;
const RELATIVE_8: u8 = 0x1c;
const OMITTED: u8 = 0xff;
/// The part of an encoding that says how many bytes.
const FORM: u8 = 0x0f;

/// What functions have in common.
struct Common<'t> {
    code_unit: u64,
    data_unit: i64,
    return_address: u16,
    has_data: bool,
    pads: u8,
    first: Reader<'t>,
}

impl<'t> Tables<'t> {
    /// What is said of an address.
    #[must_use]
    pub fn look_up(&self, pc: u64) -> Option<Frame> {
        let at = self.find(pc)?;
        let mut entry = self.entry(at)?;
        // How far the common entry is before this field.
        let distance = u64::from(entry.word()?);
        let common = self.common(at.checked_add(4)?.checked_sub(distance)?)?;
        let field = self.address_of(&entry);
        let start = field.checked_add_signed(i64::from(entry.word()?.cast_signed()))?;
        let inside = pc.checked_sub(start)?;
        if inside >= u64::from(entry.word()?) {
            return None;
        }
        let mut pads = None;
        if common.has_data {
            let length = usize::try_from(entry.unsigned()?).ok()?;
            let mut data = entry.split(length)?;
            let field = self.address_of(&data);
            let relative =
                |distance: i64| (distance != 0).then(|| field.wrapping_add_signed(distance));
            pads = match common.pads {
                OMITTED => None,
                RELATIVE_4 => relative(data.word()?.cast_signed().into()),
                RELATIVE_8 => relative(i64::from_le_bytes(data.array()?)),
                ABSOLUTE_4 => Some(u64::from(data.word()?)).filter(|at| *at != 0),
                _ => return None,
            };
        }
        let mut run = Run { row: Row::EMPTY, kept: None, arguments: 0 };
        run.all(common.first, &common, u64::MAX, &Row::EMPTY)?;
        let first = run.row;
        run.all(entry, &common, inside, &first)?;
        let Run { row, arguments, .. } = run;
        Some(Frame { row, arguments, start, pads, return_address: common.return_address })
    }

    /// Address of what is left of the tables.
    fn address_of(&self, rest: &Reader<'t>) -> u64 {
        let offset = rest.0.as_ptr().addr() - self.frames.as_ptr().addr();
        self.frames_at + offset as u64
    }

    /// Address of the entry of the function that may contain `pc`.
    fn find(&self, pc: u64) -> Option<u64> {
        let mut index = Reader(self.index);
        if index.word()? != u32::from_le_bytes([1, RELATIVE_4, 0x03, 0x3b]) {
            return None;
        }
        index.word()?;
        let count = usize::try_from(index.word()?).ok()?;
        let (pairs, _) = index.split(count.checked_mul(8)?)?.0.as_chunks::<8>();
        let at = |pair: &[u8; 8], from: usize| {
            let [a, b, c, d] = [pair[from], pair[from + 1], pair[from + 2], pair[from + 3]];
            self.index_at.wrapping_add_signed(i64::from(i32::from_le_bytes([a, b, c, d])))
        };
        let after = pairs.partition_point(|pair| at(pair, 0) <= pc);
        Some(at(pairs.get(after.checked_sub(1)?)?, 4))
    }

    /// What follows an entry's length, up to its end.
    fn entry(&self, at: u64) -> Option<Reader<'t>> {
        let offset = usize::try_from(at.checked_sub(self.frames_at)?).ok()?;
        let mut bytes = Reader(self.frames.get(offset..)?);
        let length = bytes.word()?;
        bytes.split(usize::try_from(length).ok().filter(|length| *length != 0xffff_ffff)?)
    }

    fn common(&self, at: u64) -> Option<Common<'t>> {
        let mut entry = self.entry(at)?;
        if (entry.word()?, entry.byte()?) != (0, 1) {
            return None;
        }
        let end = entry.0.iter().position(|byte| *byte == 0)?;
        let letters = entry.split(end)?.0;
        entry.byte()?;
        let (code_unit, data_unit) = (entry.unsigned()?, entry.signed()?);
        let return_address = u16::from(entry.byte()?);
        let (has_data, mut pads) = (letters.first() == Some(&b'z'), OMITTED);
        if has_data {
            let length = usize::try_from(entry.unsigned()?).ok()?;
            let mut data = entry.split(length)?;
            for letter in letters.iter().skip(1) {
                match letter {
                    b'L' => pads = data.byte()?,
                    // Nobody asks a personality here.
                    b'P' => match data.byte()? & FORM {
                        0x00 | 0x04 | 0x0c => drop(data.array::<8>()?),
                        0x03 | 0x0b => drop(data.word()?),
                        _ => return None,
                    },
                    b'R' if data.byte()? == RELATIVE_4 => {}
                    _ => return None,
                }
            }
        }
        Some(Common { code_unit, data_unit, return_address, has_data, pads, first: entry })
    }
}

/// A run of instructions.
struct Run {
    row: Row,
    /// What a later instruction comes back to.
    kept: Option<Row>,
    arguments: u64,
}

impl Run {
    /// Runs instructions up to a place of the function. None for one that is not known.
    fn all(
        &mut self,
        mut code: Reader<'_>,
        common: &Common<'_>,
        inside: u64,
        first: &Row,
    ) -> Option<()> {
        let far = |units: u64| {
            let units = i64::try_from(units).ok()?;
            i32::try_from(units.checked_mul(common.data_unit)?).ok()
        };
        let mut at = 0_u64;
        while let Some(byte) = code.byte() {
            let low = byte & 0x3f;
            let forward = match (byte >> 6, low) {
                (1, units) => u64::from(units),
                (0, ADVANCE_1) => u64::from(code.byte()?),
                (0, ADVANCE_2) => u64::from(u16::from_le_bytes(code.array()?)),
                (0, ADVANCE_4) => u64::from(code.word()?),
                _ => 0,
            };
            at = at.checked_add(forward.checked_mul(common.code_unit)?)?;
            if at > inside {
                break;
            }
            match (byte >> 6, low) {
                (1, _) | (0, NOTHING | ADVANCE_1 | ADVANCE_2 | ADVANCE_4) => {}
                (2, register) => self.row.save(register.into(), far(code.unsigned()?)?)?,
                (3, register) => self.row.restore(register.into(), first)?,
                (0, SAVE) => self.row.save(code.register()?, far(code.unsigned()?)?)?,
                (0, RESTORE) => self.row.restore(code.register()?, first)?,
                (0, UNDEFINED | UNCHANGED) => self.row.forget(code.register()?),
                (0, KEEP) if self.kept.is_none() => self.kept = Some(self.row),
                (0, COME_BACK) => self.row = self.kept.take()?,
                (0, ADDRESS) => {
                    self.row.address = (code.register()?, code.unsigned()?.try_into().ok()?);
                }
                (0, ADDRESS_REGISTER) => self.row.address.0 = code.register()?,
                (0, ADDRESS_DISTANCE) => self.row.address.1 = code.unsigned()?.try_into().ok()?,
                (0, ARGUMENTS) => self.arguments = code.unsigned()?,
                _ => return None,
            }
        }
        Some(())
    }
}

// `DW_CFA_…`
const NOTHING: u8 = 0x00;
const ADVANCE_1: u8 = 0x02;
const ADVANCE_2: u8 = 0x03;
const ADVANCE_4: u8 = 0x04;
const SAVE: u8 = 0x05;
const RESTORE: u8 = 0x06;
const UNDEFINED: u8 = 0x07;
const UNCHANGED: u8 = 0x08;
const KEEP: u8 = 0x0a;
const COME_BACK: u8 = 0x0b;
const ADDRESS: u8 = 0x0c;
const ADDRESS_REGISTER: u8 = 0x0d;
const ADDRESS_DISTANCE: u8 = 0x0e;
const ARGUMENTS: u8 = 0x2e;

#[cfg(test)]
mod tests {
    use gimli::{
        BaseAddresses, CfaRule, EhFrame, EndianSlice, LittleEndian, RegisterRule, UnwindContext,
        UnwindSection,
    };
    use object::{Object, ObjectSection};
    use std::vec::Vec;

    use super::*;

    /// This test's own tables, read by a library: what is understood of them is the same, at the first
    /// and the last byte of each row.
    #[test]
    fn tables_say_what_a_library_reads_in_them() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let file = object::File::parse(&*file).unwrap();
        let section = |name: &str| {
            let section = file.section_by_name(name).unwrap();
            (section.address(), section.data().unwrap())
        };
        let ((index_at, index), (frames_at, frames)) =
            (section(".eh_frame_hdr"), section(".eh_frame"));
        let tables = Tables { index, index_at, frames, frames_at };
        let bases = BaseAddresses::default().set_eh_frame(frames_at);
        let library = EhFrame::from(EndianSlice::new(frames, LittleEndian));
        let (mut known, mut unknown) = (0, 0);
        let mut entries = library.entries(&bases);
        while let Some(entry) = entries.next().unwrap() {
            let gimli::CieOrFde::Fde(entry) = entry else { continue };
            let entry =
                entry.parse(|section, bases, at| section.cie_from_offset(bases, at)).unwrap();
            let mut context = UnwindContext::new();
            let mut rows = entry.rows(&library, &bases, &mut context).unwrap();
            while let Some(row) = rows.next_row().unwrap() {
                let mut wanted: Vec<(u16, i32)> = Vec::new();
                let mut plain = true;
                for (register, rule) in row.registers() {
                    match *rule {
                        RegisterRule::Offset(at) => wanted.push((register.0, at as i32)),
                        RegisterRule::Undefined | RegisterRule::SameValue => {}
                        _ => plain = false,
                    }
                }
                let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else { continue };
                for pc in [row.start_address(), row.end_address() - 1] {
                    let Some(found) = tables.look_up(pc).filter(|_| plain) else {
                        unknown += 1;
                        continue;
                    };
                    known += 1;
                    let mut saved = found.row.saved().to_vec();
                    saved.sort_unstable();
                    wanted.sort_unstable();
                    assert_eq!((found.row.address, saved), ((register.0, offset), wanted.clone()));
                    assert_eq!(found.start, entry.initial_address());
                    assert_eq!(found.arguments, row.saved_args_size());
                    let pads = match entry.lsda() {
                        Some(gimli::Pointer::Direct(at)) => Some(at),
                        _ => None,
                    };
                    assert_eq!(found.pads, pads, "{pc}");
                }
            }
        }
        assert!(known > 1000 && unknown * 20 < known, "{known} known, {unknown} not");
    }

    #[test]
    fn damaged_tables_say_nothing() {
        let index = [1, 0x1b, 3, 0x3b, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        for length in 0..=index.len() {
            let index = &index[..length];
            for frames in [&[][..], &[0xff; 64], &[0; 64]] {
                let tables = Tables { index, index_at: 0x1000, frames, frames_at: 0x1100 };
                assert!(tables.look_up(0x1010).is_none());
            }
        }
    }
}
