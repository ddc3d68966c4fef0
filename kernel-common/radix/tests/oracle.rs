//! The map against one that compares.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use maize_radix::RadixMap;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u32),
    Remove(u64),
    Change(u64, u32),
    PopFirst,
    Take(RangeInclusive<u64>),
    Look(RangeInclusive<u64>),
}

/// Runs of neighbours, far from each other, and both ends of what there is.
fn index() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..80_u64,
        2 => 4090..4100_u64,
        2 => (1_u64 << 35)..(1 << 35) + 40,
        1 => (u64::MAX - 40)..=u64::MAX,
        1 => any::<u64>(),
    ]
}

fn range() -> impl Strategy<Value = RangeInclusive<u64>> {
    prop_oneof![
        (index(), index()).prop_map(|(a, b)| a.min(b)..=a.max(b)),
        (index(), 0..20_u64).prop_map(|(a, n)| a..=a.saturating_add(n)),
        Just(0..=u64::MAX),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (index(), any::<u32>()).prop_map(|(at, value)| Step::Insert(at, value)),
        2 => index().prop_map(Step::Remove),
        1 => (index(), any::<u32>()).prop_map(|(at, value)| Step::Change(at, value)),
        1 => Just(Step::PopFirst),
        1 => range().prop_map(Step::Take),
        2 => range().prop_map(Step::Look),
    ]
}

proptest! {
    #[test]
    fn it_is_an_ordered_map(steps in proptest::collection::vec(step(), 1..200)) {
        let mut map = RadixMap::new();
        let mut oracle = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(at, value) => {
                    prop_assert_eq!(map.insert(at, value), oracle.insert(at, value));
                }
                Step::Remove(at) => prop_assert_eq!(map.remove(at), oracle.remove(&at)),
                Step::Change(at, value) => {
                    prop_assert_eq!(map.get(at), oracle.get(&at));
                    if let Some(old) = map.get_mut(at) {
                        *old = value;
                    }
                    if let Some(old) = oracle.get_mut(&at) {
                        *old = value;
                    }
                }
                Step::PopFirst => prop_assert_eq!(map.pop_first(), oracle.pop_first()),
                Step::Take(range) => {
                    let taken = map.take_range(range.clone());
                    let mut expected = oracle.split_off(range.start());
                    if let Some(end) = range.end().checked_add(1) {
                        oracle.append(&mut expected.split_off(&end));
                    }
                    prop_assert_eq!(taken.len(), expected.len());
                    prop_assert!(taken.into_iter().eq(expected));
                }
                Step::Look(range) => {
                    prop_assert!(map.range(range.clone()).eq(oracle.range(range).map(|(&at, v)| (at, v))));
                }
            }
            prop_assert_eq!(map.len(), oracle.len());
            prop_assert_eq!(map.is_empty(), oracle.is_empty());
        }
        prop_assert!(map.iter().eq(oracle.iter().map(|(&at, value)| (at, value))));
        prop_assert!(map.into_iter().eq(oracle));
    }
}

#[test]
fn what_is_taken_and_what_is_left_can_be_added_to() {
    let mut map = RadixMap::new();
    map.extend((0..1000).map(|index| (index, index)));
    let mut taken = map.take_range(100..900);
    assert_eq!((map.len(), taken.len()), (200, 800));
    assert_eq!(taken.insert(5, 5), None);
    assert_eq!(map.insert(u64::MAX, 1), None);
    assert_eq!(map.take_range(100..u64::MAX).len(), 100);
    assert_eq!(taken.range(..100).map(|(index, _)| index).collect::<Vec<_>>(), [5]);
    assert_eq!(map.values().count(), 101);
}

#[test]
fn ranges_without_an_index_have_no_entries() {
    let mut map = RadixMap::new();
    map.extend([(0, 'a'), (u64::MAX, 'b')]);
    assert_eq!(map.range(7..7).count(), 0);
    assert_eq!(map.range(..0).count(), 0);
    assert_eq!(map.take_range(..0).len(), 0);
    assert_eq!(map.range(1..u64::MAX).count(), 0);
    assert_eq!(map.range(1..).count(), 1);
}
