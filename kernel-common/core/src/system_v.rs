//! The objects of System V, which programs find by a number or a key: segments of shared memory, message
//! queues, sets of semaphores.
//!
//! The registry has them, as it has files.

use alloc::collections::BTreeMap;

use maize_abi::Errno;
use maize_abi::ipc::{IPC_CREAT, IPC_EXCL, IPC_PRIVATE, Permissions};

/// One of them.
pub(crate) trait Object {
    /// Objects of this kind at most, which is no more than there are places.
    const MOST: usize;

    fn permissions(&self) -> &Permissions;

    fn permissions_mut(&mut self) -> &mut Permissions;
}

/// Bits of an object's number that say which place it has; those above tell apart the objects that had the
/// place before.
const PLACE_BITS: u32 = 15;

/// Places that take turns, even if there are fewer objects: the number of one that is gone is not soon
/// that of another.
const TURNS: usize = 64;

/// All objects of a kind, by their places.
#[derive(Debug)]
pub(crate) struct Objects<T> {
    all: BTreeMap<u32, T>,
    /// The place of the one that was made last.
    last: Option<u32>,
    sequence: u16,
}

/// A place that is free.
#[derive(Debug)]
pub(crate) struct Room(u32);

impl<T> Default for Objects<T> {
    fn default() -> Objects<T> {
        Objects { all: BTreeMap::new(), last: None, sequence: 0 }
    }
}

const fn number(place: u32, permissions: &Permissions) -> i32 {
    ((permissions.sequence as u32) << PLACE_BITS | place) as i32
}

const fn place_of(id: i32) -> u32 {
    id as u32 & ((1 << PLACE_BITS) - 1)
}

impl<T: Object> Objects<T> {
    /// The object of a key, as flags ask for it; `None` if they ask for a new one.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`.
    pub(crate) fn find(&self, key: i32, flags: u32) -> Result<Option<(i32, &T)>, Errno> {
        const ONLY_NEW: u32 = IPC_CREAT | IPC_EXCL;
        if key == IPC_PRIVATE {
            return Ok(None);
        }
        match self.iter().find(|(_, object)| object.permissions().key == key) {
            Some(_) if flags & ONLY_NEW == ONLY_NEW => Err(Errno::EEXIST),
            None if flags & IPC_CREAT == 0 => Err(Errno::ENOENT),
            found => Ok(found),
        }
    }

    /// A place for another object.
    ///
    /// # Errors
    /// `ENOSPC`.
    pub(crate) fn check_room(&self) -> Result<Room, Errno> {
        const { assert!(T::MOST <= 1 << PLACE_BITS) };
        if self.all.len() >= T::MOST {
            return Err(Errno::ENOSPC);
        }
        let places = (self.all.len() * 3 / 2).max(TURNS).min(T::MOST) as u32;
        let next = self.last.map_or(0, |last| last + 1);
        let free = (next..places).chain(0..places).find(|place| !self.all.contains_key(place));
        free.map(Room).ok_or(Errno::ENOSPC)
    }

    /// Adds an object, and returns its number.
    pub(crate) fn add(&mut self, Room(place): Room, mut object: T) -> i32 {
        if self.last.is_some_and(|last| place <= last) {
            self.sequence = self.sequence.wrapping_add(1);
        }
        self.last = Some(place);
        object.permissions_mut().sequence = self.sequence;
        let number = number(place, object.permissions());
        self.all.insert(place, object);
        number
    }

    /// The object with a number.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub(crate) fn get(&self, id: i32) -> Result<&T, Errno> {
        self.all.get(&self.place(id)?).ok_or(Errno::EINVAL)
    }

    /// As [`Self::get`].
    ///
    /// # Errors
    /// `EINVAL`.
    pub(crate) fn get_mut(&mut self, id: i32) -> Result<&mut T, Errno> {
        let place = self.place(id)?;
        self.all.get_mut(&place).ok_or(Errno::EINVAL)
    }

    /// Takes an object out.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub(crate) fn remove(&mut self, id: i32) -> Result<T, Errno> {
        let place = self.place(id)?;
        self.all.remove(&place).ok_or(Errno::EINVAL)
    }

    /// All, with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, &T)> {
        self.all.iter().map(|(place, object)| (number(*place, object.permissions()), object))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The highest place that has one; 0 if none has.
    pub(crate) fn highest_place(&self) -> u32 {
        self.all.keys().next_back().copied().unwrap_or(0)
    }

    /// What is at a place, which a number or the place itself says.
    ///
    /// # Errors
    /// `EINVAL` if there is nothing.
    pub(crate) fn at_place(&self, id: i32) -> Result<(i32, &T), Errno> {
        let place = place_of(id);
        let object = self.all.get(&place).ok_or(Errno::EINVAL)?;
        Ok((number(place, object.permissions()), object))
    }

    /// All, to be changed.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.all.values_mut()
    }

    /// The place of the object that has a number now.
    fn place(&self, id: i32) -> Result<u32, Errno> {
        let place = place_of(id);
        let there = self.all.get(&place).map(|object| number(place, object.permissions()));
        if there == Some(id) { Ok(place) } else { Err(Errno::EINVAL) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[derive(Debug)]
    struct Thing(Permissions);

    impl Object for Thing {
        const MOST: usize = 100;

        fn permissions(&self) -> &Permissions {
            &self.0
        }

        fn permissions_mut(&mut self) -> &mut Permissions {
            &mut self.0
        }
    }

    fn make(things: &mut Objects<Thing>, key: i32) -> Result<i32, Errno> {
        let room = things.check_room()?;
        Ok(things.add(room, Thing(Permissions::new(key, 0))))
    }

    #[test]
    fn keys_and_numbers_lead_to_objects() {
        let mut things = Objects::default();
        let (one, other) = (make(&mut things, 5).unwrap(), make(&mut things, IPC_PRIVATE).unwrap());
        let found = |things: &Objects<Thing>, key, flags| {
            things.find(key, flags).map(|found| found.map(|(id, _)| id))
        };
        assert_eq!(found(&things, 5, IPC_EXCL), Ok(Some(one)));
        assert_eq!(found(&things, 5, IPC_CREAT | IPC_EXCL), Err(Errno::EEXIST));
        assert_eq!(found(&things, 6, 0), Err(Errno::ENOENT));
        assert_eq!(found(&things, 6, IPC_CREAT), Ok(None));
        assert_eq!(found(&things, IPC_PRIVATE, 0), Ok(None));
        assert_eq!(things.get(one).map(|thing| thing.0.key), Ok(5));
        assert_eq!(things.get(-1).map(|_| ()), Err(Errno::EINVAL));
        things.remove(one).unwrap();
        assert_eq!(things.get(one).map(|_| ()), Err(Errno::EINVAL));
        assert_eq!(things.iter().map(|(id, _)| id).collect::<Vec<_>>(), [other]);
    }

    #[test]
    fn numbers_are_not_soon_used_again() {
        let mut things = Objects::default();
        let mut known = Vec::new();
        for _ in 0..10 * TURNS {
            let id = make(&mut things, IPC_PRIVATE).unwrap();
            assert!(id >= 0 && !known.contains(&id));
            known.push(id);
            things.remove(id).unwrap();
        }
        let all: Vec<i32> = core::iter::from_fn(|| make(&mut things, 0).ok()).collect();
        assert_eq!(all.len(), Thing::MOST);
        assert_eq!(make(&mut things, 0), Err(Errno::ENOSPC));
        things.remove(all[50]).unwrap();
        let again = make(&mut things, 0).unwrap();
        assert!(again != all[50] && things.get(all[50]).is_err() && things.get(again).is_ok());
    }

    #[test]
    fn sequences_begin_again_below_the_sign() {
        let mut things = Objects { sequence: u16::MAX, ..Objects::default() };
        let high = make(&mut things, 0).unwrap();
        assert_eq!(high, i32::MAX >> PLACE_BITS << PLACE_BITS);
        things.last = Some(u32::from(u16::MAX));
        assert_eq!(make(&mut things, 0), Ok(1));
    }
}
