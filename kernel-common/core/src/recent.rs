//! A map of which nearly always the newest entry is wanted.

use alloc::collections::BTreeMap;
use core::mem;

/// A map that has its newest entry in front of the others.
///
/// What is under way for one thread (its wait, the page that it has asked for, a deadline) mostly ends
/// before the next begins: then nothing is allocated, sorted or moved for it.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    newest: Option<(K, V)>,
    others: BTreeMap<K, V>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Recent<K, V> {
        Recent { newest: None, others: BTreeMap::new() }
    }
}

impl<K: Ord, V> Recent<K, V> {
    fn is_newest(&self, key: &K) -> bool {
        self.newest.as_ref().is_some_and(|(newest, _)| newest == key)
    }

    /// Puts a value in; returns the one that it replaces.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match &mut self.newest {
            Some((newest, known)) if *newest == key => return Some(mem::replace(known, value)),
            _ => {}
        }
        let replaced = self.remove_other(&key);
        if let Some((older, value)) = self.newest.replace((key, value)) {
            self.others.insert(older, value);
        }
        replaced
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        if self.is_newest(key) {
            return self.newest.take().map(|(_, value)| value);
        }
        self.remove_other(key)
    }

    fn remove_other(&mut self, key: &K) -> Option<V> {
        if self.others.is_empty() { None } else { self.others.remove(key) }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match &self.newest {
            Some((newest, value)) if newest == key => Some(value),
            _ if self.others.is_empty() => None,
            _ => self.others.get(key),
        }
    }

    /// The value of a key, to be changed.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match &mut self.newest {
            Some((newest, value)) if newest == key => Some(value),
            _ if self.others.is_empty() => None,
            _ => self.others.get_mut(key),
        }
    }

    /// Whether there is a value of a key.
    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The entry with the least key.
    pub(crate) fn first(&self) -> Option<(&K, &V)> {
        let newest = self.newest.as_ref().map(|(key, value)| (key, value));
        match (newest, self.others.first_key_value()) {
            (Some(newest), Some(other)) => Some(if newest.0 < other.0 { newest } else { other }),
            (newest, other) => newest.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use super::*;

    proptest::proptest! {
        #[test]
        fn it_is_a_map(steps: Vec<(u8, u8, u8)>) {
            let (mut map, mut model) = (Recent::default(), BTreeMap::new());
            for (what, key, value) in steps {
                let key = key % 8;
                match what % 3 {
                    0 => assert_eq!(map.insert(key, value), model.insert(key, value)),
                    1 => assert_eq!(map.remove(&key), model.remove(&key)),
                    _ => {
                        assert_eq!(map.get(&key), model.get(&key));
                        assert_eq!(map.get_mut(&key), model.get_mut(&key));
                        assert_eq!(map.contains_key(&key), model.contains_key(&key));
                    }
                }
                assert_eq!(map.first(), model.first_key_value());
            }
        }
    }
}
