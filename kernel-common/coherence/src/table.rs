//! The records of the pages that a node knows.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use crate::{ObjectId, PageKey};

/// Records per chunk. Objects are used in runs, so a chunk is seldom empty; 16 records of 16 bytes
/// are four cache lines. A model checker clones and hashes every record of every state, so it takes
/// fewer.
const CHUNK: u32 = if cfg!(feature = "model") { 2 } else { 16 };

/// Where a chunk stands: its object's name, and in the lowest 32 bits its number in it. One number is found
/// in an ordered map by half the comparisons of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place(u128);

impl Place {
    const fn new(object: ObjectId, chunk: u32) -> Self {
        Self((object.0 as u128) << 32 | chunk as u128)
    }

    const fn of(page: PageKey) -> Self {
        Self::new(page.object, page.index / CHUNK)
    }

    const fn object(self) -> ObjectId {
        ObjectId((self.0 >> 32) as u64)
    }

    const fn chunk(self) -> u32 {
        self.0 as u32
    }
}

/// Records by object and page index. A page that was never touched costs nothing, or a default
/// record beside a touched neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Table<R> {
    chunks: BTreeMap<Place, Box<[R; CHUNK as usize]>>,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self { chunks: BTreeMap::new() }
    }
}

impl<R: Default> Table<R> {
    /// The record of a page, made on first use.
    pub(crate) fn entry(&mut self, page: PageKey) -> &mut R {
        let chunk = self
            .chunks
            .entry(Place::of(page))
            .or_insert_with(|| Box::new(core::array::from_fn(|_| R::default())));
        // The remainder is below CHUNK by construction.
        &mut chunk[(page.index % CHUNK) as usize]
    }

    /// Makes the records of a page and its neighbourhood, and prepares them, unless they are there.
    pub(crate) fn begin(&mut self, page: PageKey, prepare: impl Fn(&mut R)) {
        if self.get(page).is_none() {
            let record = || {
                let mut record = R::default();
                prepare(&mut record);
                record
            };
            let chunk = Box::new(core::array::from_fn(|_| record()));
            self.chunks.insert(Place::of(page), chunk);
        }
    }

    /// The record of a page, if its neighbourhood was touched.
    pub(crate) fn get(&self, page: PageKey) -> Option<&R> {
        self.chunks.get(&Place::of(page)).map(|chunk| &chunk[(page.index % CHUNK) as usize])
    }

    /// As [`Self::get`].
    pub(crate) fn get_mut(&mut self, page: PageKey) -> Option<&mut R> {
        self.chunks.get_mut(&Place::of(page)).map(|chunk| &mut chunk[(page.index % CHUNK) as usize])
    }

    /// Drops the records of an object.
    pub(crate) fn remove(&mut self, object: ObjectId) {
        while let Some((&chunk, _)) =
            self.chunks.range(Place::new(object, 0)..=Place::new(object, u32::MAX)).next()
        {
            self.chunks.remove(&chunk);
        }
    }

    /// Every record, default ones included; the key's generation is zero.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (PageKey, &mut R)> {
        self.chunks.iter_mut().flat_map(|(place, records)| {
            records.iter_mut().enumerate().map(move |(offset, record)| {
                (PageKey::new(place.object(), place.chunk() * CHUNK + offset as u32), record)
            })
        })
    }

    /// As [`Self::iter_mut`].
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PageKey, &R)> {
        self.chunks.iter().flat_map(|(place, records)| {
            records.iter().enumerate().map(move |(offset, record)| {
                (PageKey::new(place.object(), place.chunk() * CHUNK + offset as u32), record)
            })
        })
    }

    /// The records of a range of an object, read only.
    pub(crate) fn range(
        &self,
        object: ObjectId,
        first: u32,
        count: u32,
    ) -> impl Iterator<Item = (u32, &R)> {
        let last = first.saturating_add(count.saturating_sub(1));
        let inside = move |index: u32| count > 0 && index >= first && index <= last;
        self.chunks
            .range(Place::new(object, first / CHUNK)..=Place::new(object, last / CHUNK))
            .flat_map(|(place, records)| {
                (0..)
                    .zip(records.iter())
                    .map(move |(offset, record)| (place.chunk() * CHUNK + offset, record))
            })
            .filter(move |(index, _)| inside(*index))
    }

    /// The records of a range of an object.
    pub(crate) fn range_mut(
        &mut self,
        object: ObjectId,
        first: u32,
        count: u32,
    ) -> impl Iterator<Item = (PageKey, &mut R)> {
        let last = first.saturating_add(count.saturating_sub(1));
        let inside = move |index: u32| count > 0 && index >= first && index <= last;
        self.chunks
            .range_mut(Place::new(object, first / CHUNK)..=Place::new(object, last / CHUNK))
            .flat_map(move |(place, records)| {
                records.iter_mut().enumerate().map(move |(offset, record)| {
                    (PageKey::new(object, place.chunk() * CHUNK + offset as u32), record)
                })
            })
            .filter(move |(key, _)| inside(key.index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_touches_only_its_pages() {
        let mut table = Table::<u32>::default();
        for index in [0, 15, 16, 31, 40] {
            *table.entry(PageKey::new(ObjectId(7), index)) = 1;
        }
        *table.entry(PageKey::new(ObjectId(8), 16)) = 1;
        let seen: alloc::vec::Vec<u32> = table
            .range_mut(ObjectId(7), 15, 17)
            .filter(|(_, record)| **record == 1)
            .map(|(key, _)| key.index)
            .collect();
        assert_eq!(seen, [15, 16, 31]);
        assert_eq!(table.range_mut(ObjectId(7), 0, 0).count(), 0);
        assert_eq!(table.range_mut(ObjectId(7), u32::MAX, u32::MAX).count(), 0);
    }
}
