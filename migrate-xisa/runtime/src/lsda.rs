//! The table that says where a frame goes on when it is unwound.

use crate::cfi::Reader;

/// An encoding of pointers that is left out.
const OMITTED: u8 = 0xff;
const ULEB: u8 = 1;
const UDATA4: u8 = 3;

fn offset(bytes: &mut Reader<'_>, encoding: u8) -> Option<u64> {
    match encoding {
        ULEB => bytes.unsigned(),
        UDATA4 => bytes.word().map(u64::from),
        _ => None,
    }
}

/// The landing pad of the call at `pc - start`, as an offset from the function's start; zero means
/// that the call has none. None if the table cannot be read.
#[must_use]
pub fn landing_pad(table: &[u8], pc: u64) -> Option<u64> {
    let mut bytes = Reader(table);
    if bytes.byte()? != OMITTED {
        return None; // Landing pads lie in their function here.
    }
    if bytes.byte()? != OMITTED {
        bytes.unsigned()?;
    }
    let encoding = bytes.byte()?;
    let length = usize::try_from(bytes.unsigned()?).ok()?;
    let mut sites = bytes.split(length)?;
    while !sites.0.is_empty() {
        let start = offset(&mut sites, encoding)?;
        let length = offset(&mut sites, encoding)?;
        let pad = offset(&mut sites, encoding)?;
        sites.unsigned()?;
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
