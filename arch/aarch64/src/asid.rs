//! Address-space identifiers: which of them names which space.

use alloc::collections::BTreeMap;

use maize_hal::Frame;

/// Gives every space that runs an identifier; starts over when they run out.
///
/// Identifier 0 is the empty space's, which runs while none does.
#[derive(Clone, Debug)]
pub struct Asids {
    of: BTreeMap<Frame, u16>,
    next: u16,
}

/// A space's identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The identifier.
    pub asid: u16,
    /// All identifiers were taken back: everything cached under any of them must be flushed before
    /// this one is used.
    pub flush_all: bool,
}

impl Asids {
    /// The largest identifier. Eight bits are what every processor has; more would save a flush
    /// every 255 new spaces and make the table larger.
    pub const LAST: u16 = 255;

    /// No space has an identifier.
    #[must_use]
    pub const fn new() -> Asids {
        Asids { of: BTreeMap::new(), next: 1 }
    }

    /// The identifier of the space of `root`, a new one if it has none.
    pub fn assign(&mut self, root: Frame) -> Assigned {
        if let Some(asid) = self.of.get(&root) {
            return Assigned { asid: *asid, flush_all: false };
        }
        let flush_all = self.next > Asids::LAST;
        if flush_all {
            self.of.clear();
            self.next = 1;
        }
        let asid = self.next;
        self.next = asid + 1;
        self.of.insert(root, asid);
        Assigned { asid, flush_all }
    }

    /// The identifier under which something of the space may be cached.
    #[must_use]
    pub fn get(&self, root: Frame) -> Option<u16> {
        self.of.get(&root).copied()
    }
}

impl Default for Asids {
    fn default() -> Asids {
        Asids::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_unique_until_all_are_taken_back() {
        let mut asids = Asids::new();
        for n in 1..=255 {
            assert_eq!(asids.assign(Frame(n)), Assigned { asid: n as u16, flush_all: false });
        }
        assert_eq!(asids.assign(Frame(2)), Assigned { asid: 2, flush_all: false });
        assert_eq!(asids.assign(Frame(999)), Assigned { asid: 1, flush_all: true });
        assert_eq!(asids.get(Frame(2)), None);
        assert_eq!(asids.assign(Frame(2)), Assigned { asid: 2, flush_all: false });
    }
}
