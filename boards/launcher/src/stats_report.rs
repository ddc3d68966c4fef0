//! The kernels' counters as a table and as JSON.

use std::collections::BTreeMap;

use maize_hostlink::control::{Histogram, Stats};
use serde_json::{Map, Value, json};

/// What each instance has counted, by its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FabricStats {
    instances: BTreeMap<u16, Stats>,
}

impl FabricStats {
    /// Adds what an instance has counted. Counts only grow: of what it tells twice the later counts.
    pub fn add(&mut self, instance: u16, stats: Stats) {
        let of_instance = self.instances.entry(instance).or_default();
        for (name, count) in stats.counters {
            match of_instance.counters.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = count,
                None => of_instance.counters.push((name, count)),
            }
        }
        for histogram in stats.histograms {
            match of_instance.histograms.iter_mut().find(|known| known.name == histogram.name) {
                Some(known) => *known = histogram,
                None => of_instance.histograms.push(histogram),
            }
        }
    }

    /// The instances that have counted something.
    pub fn instances(&self) -> impl Iterator<Item = (u16, &Stats)> {
        self.instances.iter().map(|(number, stats)| (*number, stats))
    }

    /// One counter of all instances together, 0 if nobody has it.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        let counters = self.instances.values().flat_map(|stats| &stats.counters);
        counters.filter(|(known, _)| known == name).map(|(_, count)| count).sum()
    }

    /// All instances together; names in the order in which they first came.
    #[must_use]
    pub fn sum(&self) -> Stats {
        let mut sum = Stats::default();
        for stats in self.instances.values() {
            for (name, count) in &stats.counters {
                match sum.counters.iter_mut().find(|(known, _)| known == name) {
                    Some((_, total)) => *total = total.saturating_add(*count),
                    None => sum.counters.push((name.clone(), *count)),
                }
            }
            for histogram in &stats.histograms {
                match sum.histograms.iter_mut().find(|known| known.name == histogram.name) {
                    Some(total) => merge(total, histogram),
                    None => sum.histograms.push(histogram.clone()),
                }
            }
        }
        sum
    }
}

fn merge(total: &mut Histogram, more: &Histogram) {
    if more.count == 0 {
        return;
    }
    total.min = if total.count == 0 { more.min } else { total.min.min(more.min) };
    total.max = total.max.max(more.max);
    total.count = total.count.saturating_add(more.count);
    total.sum = total.sum.saturating_add(more.sum);
    let mut buckets: BTreeMap<u8, u64> = total.buckets.iter().copied().collect();
    for (bits, count) in &more.buckets {
        let bucket = buckets.entry(*bits).or_default();
        *bucket = bucket.saturating_add(*count);
    }
    total.buckets = buckets.into_iter().collect();
}

/// One line for each counter that is not zero and each distribution with values, of all instances
/// together; of several instances, each one's part behind it.
#[must_use]
pub fn table(stats: &FabricStats) -> String {
    let sum = stats.sum();
    let mut text = String::new();
    for (name, value) in sum.counters.iter().filter(|(_, value)| *value > 0) {
        let parts = parts(stats, |stats| {
            let counters = stats.counters.iter().filter(|(known, _)| known == name);
            counters.fold(0, |sum, (_, count)| sum.saturating_add(*count))
        });
        text.push_str(&format!("{name:44} {value:>14}{parts}\n"));
    }
    for histogram in sum.histograms.iter().filter(|histogram| histogram.count > 0) {
        let Histogram { name, unit, count, min, max, .. } = histogram;
        let (median, p99) = (percentile(histogram, 50), percentile(histogram, 99));
        let parts = parts(stats, |stats| {
            let histograms = stats.histograms.iter().filter(|known| known.name == *name);
            histograms.fold(0, |sum, histogram| sum.saturating_add(histogram.count))
        });
        text.push_str(&format!(
            "{name:44} {count:>14}  min {min} {unit}, median < {median}, p99 < {p99}, max \
             {max}{parts}\n"
        ));
    }
    text
}

/// Each instance's part of a count: `  (0: 5, 3: 7)`. Nothing if there is only one instance.
fn parts(stats: &FabricStats, count: impl Fn(&Stats) -> u64) -> String {
    if stats.instances.len() < 2 {
        return String::new();
    }
    let parts = stats.instances().map(|(number, stats)| (number, count(stats)));
    let parts: Vec<String> =
        parts.filter(|(_, count)| *count > 0).map(|(n, count)| format!("{n}: {count}")).collect();
    format!("  ({})", parts.join(", "))
}

/// `{"counters": {name: value}, "histograms": [{name, unit, count, sum, min, max, buckets}],
/// "instances": [{"instance": number, "counters": …, "histograms": …}]}`: the sum, and each
/// instance's. A bucket is `[lower bound, count]`.
#[must_use]
pub fn json(stats: &FabricStats) -> String {
    let (counters, histograms) = values(&stats.sum());
    let instances: Vec<Value> = stats
        .instances()
        .map(|(instance, stats)| {
            let (counters, histograms) = values(stats);
            json!({"instance": instance, "counters": counters, "histograms": histograms})
        })
        .collect();
    let value = json!({"counters": counters, "histograms": histograms, "instances": instances});
    format!("{value:#}\n")
}

fn values(stats: &Stats) -> (Map<String, Value>, Vec<Value>) {
    let counters =
        stats.counters.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
    let histograms = stats.histograms.iter().map(|h| {
        let buckets: Vec<(u64, u64)> =
            h.buckets.iter().map(|(bits, count)| (lower_bound(*bits), *count)).collect();
        json!({
            "name": h.name, "unit": h.unit, "count": h.count, "sum": h.sum,
            "min": h.min, "max": h.max, "buckets": buckets,
        })
    });
    (counters, histograms.collect())
}

fn lower_bound(bits: u8) -> u64 {
    if bits == 0 { 0 } else { 1u64.checked_shl(bits.into()).unwrap_or(u64::MAX) }
}

/// The upper bound of the bucket that the percentile is in.
fn percentile(histogram: &Histogram, percent: u64) -> u64 {
    let rank = u128::from(histogram.count) * u128::from(percent) / 100;
    let mut seen = 0u128;
    for (bits, count) in &histogram.buckets {
        seen += u128::from(*count);
        if seen > rank {
            return lower_bound(bits.saturating_add(1));
        }
    }
    histogram.max
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> Stats {
        Stats {
            counters: vec![("syscall.read".into(), 3), ("syscall.write".into(), 0)],
            histograms: vec![Histogram {
                name: "fault.ns".into(),
                unit: "ns".into(),
                count: 100,
                sum: 700,
                min: 0,
                max: 900,
                buckets: vec![(0, 60), (3, 38), (9, 2)],
            }],
        }
    }

    fn of_one() -> FabricStats {
        let mut one = FabricStats::default();
        one.add(0, stats());
        one
    }

    #[test]
    fn zeros_are_left_out_of_the_table() {
        let table = table(&of_one());
        assert!(table.contains("syscall.read") && !table.contains("syscall.write"));
        assert!(table.contains("median < 2, p99 < 1024, max 900\n"), "{table}");
    }

    #[test]
    fn json_has_everything() {
        let value: Value = serde_json::from_str(&json(&of_one())).unwrap();
        assert_eq!(value["counters"]["syscall.write"], 0);
        assert_eq!(value["histograms"][0]["buckets"], json!([[0, 60], [8, 38], [512, 2]]));
    }

    #[test]
    fn instances_are_added_up_and_told_apart() {
        let mut two = of_one();
        let mut more = stats();
        more.counters = vec![("syscall.read".into(), 4), ("syscall.open".into(), 1)];
        more.histograms[0].min = 1;
        more.histograms[0].max = 1000;
        more.histograms[0].buckets = vec![(0, 99), (10, 1)];
        two.add(3, more);
        let table = table(&two);
        let line = |name| table.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line("syscall.read").ends_with(" 7  (0: 3, 3: 4)"), "{table}");
        assert!(line("syscall.open").ends_with(" 1  (3: 1)"), "{table}");
        assert!(line("fault.ns").ends_with("max 1000  (0: 100, 3: 100)"), "{table}");
        let value: Value = serde_json::from_str(&json(&two)).unwrap();
        assert_eq!(value["counters"]["syscall.read"], 7);
        let buckets = json!([[0, 159], [8, 38], [512, 2], [1024, 1]]);
        assert_eq!(value["histograms"][0]["buckets"], buckets);
        assert_eq!(value["histograms"][0]["min"], 0);
        assert_eq!(value["instances"][1]["counters"]["syscall.read"], 4);
    }

    #[test]
    fn what_is_told_again_counts_once() {
        let mut one = of_one();
        let mut later = stats();
        later.counters = vec![("syscall.read".into(), 5), ("syscall.open".into(), 1)];
        later.histograms[0].count = 101;
        one.add(0, later);
        assert_eq!(one.counter("syscall.read"), 5);
        assert_eq!(one.counter("syscall.open"), 1);
        let sum = one.sum();
        assert_eq!(sum.counters.len(), 3);
        assert_eq!(sum.histograms.iter().map(|of| of.count).collect::<Vec<_>>(), [101]);
    }

    #[test]
    fn hostile_numbers_do_no_harm() {
        let mut stats = stats();
        stats.histograms[0].count = u64::MAX;
        stats.histograms[0].buckets = vec![(255, u64::MAX), (64, u64::MAX)];
        let mut two = FabricStats::default();
        two.add(0, stats.clone());
        two.add(1, stats);
        assert!(!table(&two).is_empty() && !json(&two).is_empty());
    }
}
