//! The kernels' counters as a table and as JSON.

use maize_hostlink::control::{Histogram, Stats};
use serde_json::{Map, Value, json};

/// One line for each counter that is not zero and each distribution with values.
#[must_use]
pub fn table(stats: &Stats) -> String {
    let mut text = String::new();
    for (name, value) in stats.counters.iter().filter(|(_, value)| *value > 0) {
        text.push_str(&format!("{name:44} {value:>14}\n"));
    }
    for histogram in stats.histograms.iter().filter(|histogram| histogram.count > 0) {
        let Histogram { name, unit, count, min, max, .. } = histogram;
        let (median, p99) = (percentile(histogram, 50), percentile(histogram, 99));
        text.push_str(&format!(
            "{name:44} {count:>14}  min {min} {unit}, median < {median}, p99 < {p99}, max {max}\n"
        ));
    }
    text
}

/// `{"counters": {name: value}, "histograms": [{name, unit, count, sum, min, max, buckets}]}`, where
/// a bucket is `[lower bound, count]`.
#[must_use]
pub fn json(stats: &Stats) -> String {
    let counters: Map<String, Value> =
        stats.counters.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
    let histograms: Vec<Value> = stats
        .histograms
        .iter()
        .map(|h| {
            let buckets: Vec<(u64, u64)> =
                h.buckets.iter().map(|(bits, count)| (lower_bound(*bits), *count)).collect();
            json!({
                "name": h.name, "unit": h.unit, "count": h.count, "sum": h.sum,
                "min": h.min, "max": h.max, "buckets": buckets,
            })
        })
        .collect();
    format!("{:#}\n", json!({"counters": counters, "histograms": histograms}))
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

    #[test]
    fn zeros_are_left_out_of_the_table() {
        let table = table(&stats());
        assert!(table.contains("syscall.read") && !table.contains("syscall.write"));
        assert!(table.contains("median < 2, p99 < 1024, max 900"), "{table}");
    }

    #[test]
    fn json_has_everything() {
        let value: Value = serde_json::from_str(&json(&stats())).unwrap();
        assert_eq!(value["counters"]["syscall.write"], 0);
        assert_eq!(value["histograms"][0]["buckets"], json!([[0, 60], [8, 38], [512, 2]]));
    }

    #[test]
    fn hostile_numbers_do_no_harm() {
        let mut stats = stats();
        stats.histograms[0].count = u64::MAX;
        stats.histograms[0].buckets = vec![(255, u64::MAX), (64, u64::MAX)];
        assert!(!table(&stats).is_empty() && !json(&stats).is_empty());
    }
}
