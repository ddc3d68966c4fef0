//! What areas take: what `/proc/PID/smaps` tells.

use alloc::collections::BTreeSet;
use core::ops::Range;

use maize_abi::PAGE_SIZE;

use crate::area::Area;
use crate::memory::Memory;
use crate::object::{Found, ObjectId};

/// Bytes of an area that are in memory, here or on another instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AreaUsage {
    /// In pages that show in several spaces and are as their file has them.
    pub shared_clean: u64,
    /// In those that are not, or have no file.
    pub shared_dirty: u64,
    /// In pages that show in this space only and are as their file has them.
    pub private_clean: u64,
    /// In those that are not, or have no file.
    pub private_dirty: u64,
    /// In pages that no file has.
    pub anonymous: u64,
    /// Each page divided by the spaces that it shows in.
    pub proportional: u64,
    /// The dirty ones of these.
    pub proportional_dirty: u64,
    /// Those of them that no file has.
    pub proportional_anonymous: u64,
}

impl AreaUsage {
    /// Bytes in memory.
    #[must_use]
    pub const fn resident(&self) -> u64 {
        self.shared_clean + self.shared_dirty + self.private_clean + self.private_dirty
    }

    /// This and another area's.
    #[must_use]
    pub const fn with(self, other: AreaUsage) -> AreaUsage {
        AreaUsage {
            shared_clean: self.shared_clean + other.shared_clean,
            shared_dirty: self.shared_dirty + other.shared_dirty,
            private_clean: self.private_clean + other.private_clean,
            private_dirty: self.private_dirty + other.private_dirty,
            anonymous: self.anonymous + other.anonymous,
            proportional: self.proportional + other.proportional,
            proportional_dirty: self.proportional_dirty + other.proportional_dirty,
            proportional_anonymous: self.proportional_anonymous + other.proportional_anonymous,
        }
    }
}

impl Memory {
    /// What an area takes. The time goes with its pages in memory.
    #[must_use]
    pub fn area_usage(&self, area: &Area) -> AreaUsage {
        const PAGE: u64 = PAGE_SIZE as u64;
        let mut usage = AreaUsage::default();
        for index in self.touched(area.object, area.first..area.first + area.pages()) {
            let (owner, changed) = match self.objects.find(area.object, index) {
                Found::Here(owner, copy) => (owner, copy.dirty),
                // Who has it may have written to it.
                Found::Elsewhere(owner) => (owner, true),
                Found::Zero | Found::Untouched(_) | Found::PastEnd => continue,
            };
            let of_file = self.objects.is_file(owner);
            let dirty = changed || !of_file;
            let spaces: BTreeSet<_> =
                self.objects.shown_at(owner, index).map(|(space, _)| space).collect();
            let shared = spaces.len() > 1;
            let proportion = PAGE / spaces.len().max(1) as u64;
            *match (shared, dirty) {
                (true, false) => &mut usage.shared_clean,
                (true, true) => &mut usage.shared_dirty,
                (false, false) => &mut usage.private_clean,
                (false, true) => &mut usage.private_dirty,
            } += PAGE;
            usage.anonymous += if of_file { 0 } else { PAGE };
            usage.proportional += proportion;
            usage.proportional_dirty += if dirty { proportion } else { 0 };
            usage.proportional_anonymous += if of_file { 0 } else { proportion };
        }
        usage
    }

    /// The indexes of a range that an object or one in whose shadow it is has a page for.
    fn touched(&self, id: ObjectId, range: Range<u64>) -> BTreeSet<u64> {
        let mut touched = BTreeSet::new();
        let mut next = self.objects.get(id);
        while let Some(object) = next {
            touched.extend(object.pages.range(range.clone()).map(|(index, _)| index));
            next = object.parent.and_then(|parent| self.objects.get(parent));
        }
        touched
    }
}
