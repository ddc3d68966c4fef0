//! Memory objects: what areas map ranges of, and whose pages are kept coherent.
//!
//! A page is named `(object, index)`. There are three roles:
//!
//! - **File**: the bytes of a file, a memfd or a shared anonymous mapping. Pages that were never
//!   touched are zero, or come from the root image.
//! - **Private**: what one space wrote to memory that it maps privately. A page that it does not
//!   have is its parent's; without a parent it is zero. All areas of a private object have the
//!   same distance between page number and index, so no two of them meet in one index.
//! - **Frozen**: what was a private object's content when its space forked. It is never written
//!   again and never mapped as such; two private (or frozen) objects stand in its shadow.
//!
//! So the parents of a private object are frozen objects and at the end, for a file mapped
//! privately, the file. `collapse` keeps that chain short.

mod collapse;
mod id;
mod table;

use alloc::collections::{BTreeMap, BTreeSet};

use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access;
use maize_hal::Frame;
use maize_radix::RadixMap;

use crate::SpaceId;

pub(crate) use collapse::Work;
pub use id::ObjectId;
pub(crate) use table::{Found, Objects};

/// Bytes of the root image that an object's untouched pages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageRange {
    /// Where page 0 starts in the image.
    pub(crate) start: u64,
    /// Bytes from there on; what follows is zero.
    pub(crate) len: u64,
}

/// A copy of a page on this instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageCopy {
    pub(crate) frame: Frame,
    /// What this instance may do with its copy, whatever the areas allow.
    pub(crate) rights: Access,
    /// Whether it may differ from what the image has.
    pub(crate) dirty: bool,
}

/// Where a page of an object is, as far as this instance knows. An index that an object has no
/// residence for was never touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Residence {
    /// Here.
    Here(PageCopy),
    /// On another instance: the page protocol must bring it before it can be used.
    Elsewhere,
    /// In a private or frozen object: what an ancestor has is hidden. The page is as the file at
    /// the end of the chain has it, or zero if there is none.
    Base,
}

/// What an object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A file's bytes.
    File {
        /// Bytes in the file.
        len: u64,
        /// Where untouched pages come from.
        image: Option<ImageRange>,
    },
    /// What a space wrote.
    Private(SpaceId),
    /// What two or more objects shadow.
    Frozen,
}

/// One mapping of an object: the space, the first index and the address it is mapped at.
pub(crate) type MappingKey = (SpaceId, u64, u64);

/// A memory object.
pub(crate) struct Object {
    pub(crate) role: Role,
    pub(crate) pages: Pages,
    /// The object whose pages show where this one has none.
    pub(crate) parent: Option<ObjectId>,
    /// Objects that have this one as parent.
    pub(crate) children: BTreeSet<ObjectId>,
    /// Which areas map the object, and how many pages each.
    pub(crate) mappings: BTreeMap<MappingKey, u64>,
    /// Open files, and others that hold the object without mapping it.
    pub(crate) references: u64,
    /// Counts the changes after which an answer that is under way is void.
    pub(crate) generation: u64,
    /// Whether an untouched page is not zero but another instance's to hand out.
    pub(crate) homed_elsewhere: bool,
}

/// An object's pages by index.
pub(crate) type Pages = RadixMap<Residence>;

impl Object {
    pub(crate) fn new(role: Role, parent: Option<ObjectId>) -> Object {
        Object {
            role,
            pages: Pages::new(),
            parent,
            children: BTreeSet::new(),
            mappings: BTreeMap::new(),
            references: 0,
            generation: 0,
            homed_elsewhere: false,
        }
    }

    /// Pages that the file's bytes reach into; no bound for other roles.
    pub(crate) fn page_count(&self) -> u64 {
        match self.role {
            Role::File { len, .. } => len.div_ceil(PAGE_SIZE as u64),
            Role::Private(_) | Role::Frozen => u64::MAX,
        }
    }

    /// Where `index` is mapped: each space and address.
    pub(crate) fn mapped_at(&self, index: u64) -> impl Iterator<Item = (SpaceId, u64)> + '_ {
        // One space, and no two of its areas overlap: only the last that starts at or below can
        // hold the index. A file may be mapped anyhow, but not often.
        let only = match self.role {
            Role::Private(space) => self.mappings.range(..=(space, index, u64::MAX)).next_back(),
            Role::File { .. } | Role::Frozen => None,
        };
        let any = match self.role {
            Role::Private(_) => None,
            Role::File { .. } | Role::Frozen => Some(self.mappings.iter()),
        };
        only.into_iter().chain(any.into_iter().flatten()).filter_map(
            move |(&(space, first, va), &pages)| {
                let page = index.checked_sub(first)?;
                (page < pages).then(|| (space, va + page * PAGE_SIZE as u64))
            },
        )
    }
}

/// The frame of a residence that has one.
pub(crate) fn frame_of(residence: Residence) -> Option<Frame> {
    match residence {
        Residence::Here(copy) => Some(copy.frame),
        Residence::Elsewhere | Residence::Base => None,
    }
}
