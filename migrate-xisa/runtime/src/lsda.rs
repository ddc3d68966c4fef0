//! The table that says where a frame goes on when it is unwound.

use gimli::{EndianSlice, LittleEndian, Reader};

/// An encoding of pointers that is left out.
const OMITTED: u8 = 0xff;
const ULEB: u8 = 1;
const UDATA4: u8 = 3;

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

fn offset(bytes: &mut Bytes<'_>, encoding: u8) -> Option<u64> {
    match encoding {
        ULEB => bytes.read_uleb128().ok(),
        UDATA4 => bytes.read_u32().ok().map(u64::from),
        _ => None,
    }
}

/// The landing pad of the call at `pc - start`, as an offset from the function's start; zero means
/// that the call has none. None if the table cannot be read.
#[must_use]
pub fn landing_pad(table: &[u8], pc: u64) -> Option<u64> {
    let mut bytes = Bytes::new(table, LittleEndian);
    if bytes.read_u8().ok()? != OMITTED {
        return None; // Landing pads lie in their function here.
    }
    if bytes.read_u8().ok()? != OMITTED {
        bytes.read_uleb128().ok()?;
    }
    let encoding = bytes.read_u8().ok()?;
    let length = usize::try_from(bytes.read_uleb128().ok()?).ok()?;
    let mut sites = bytes.split(length).ok()?;
    while !sites.is_empty() {
        let start = offset(&mut sites, encoding)?;
        let length = offset(&mut sites, encoding)?;
        let pad = offset(&mut sites, encoding)?;
        sites.read_uleb128().ok()?;
        if pc < start {
            break;
        }
        if pc - start < length {
            return Some(pad);
        }
    }
    Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_finds_its_pad() {
        // Calls at 4..9 with a pad at 64, at 16..20 with none, at 20..25 with one at 80.
        let table = [0xff, 0xff, 1, 12, 4, 5, 64, 0, 16, 4, 0, 0, 20, 5, 80, 0];
        assert_eq!(landing_pad(&table, 8), Some(64));
        assert_eq!(landing_pad(&table, 9), Some(0));
        assert_eq!(landing_pad(&table, 17), Some(0));
        assert_eq!(landing_pad(&table, 20), Some(80));
        assert_eq!(landing_pad(&table, 99), Some(0));
        assert_eq!(landing_pad(&table[..9], 8), None);
        assert_eq!(landing_pad(&[], 8), None);
    }
}
