//! Whether a trace is what Perfetto and Chrome read: the trace-event format's own rules.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A trace that follows the rules.
pub(crate) struct Timeline {
    events: Vec<Value>,
}

/// Process and thread of a track.
type Track = (u64, u64);

impl Timeline {
    /// Reads a trace; fails at the first rule that it breaks.
    pub(crate) fn read(text: &str) -> Timeline {
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(value["displayTimeUnit"], "ns");
        let timeline = Timeline { events: value["traceEvents"].as_array().unwrap().clone() };
        timeline.events.iter().for_each(has_its_fields);
        timeline.tracks_are_named();
        timeline.slices_nest();
        timeline.arrows_have_two_ends();
        timeline
    }

    /// The events of a phase.
    pub(crate) fn of_phase<'a>(&'a self, phase: &str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["ph"] == phase)
    }

    /// How many events of this kind there are.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.events
            .iter()
            .filter(|event| event["cat"] == kind && event["name"] != "message")
            .count()
    }

    /// When the arrows of a phase, `s` or `f`, are where, in microseconds.
    pub(crate) fn ends(&self, phase: &str) -> BTreeMap<&str, f64> {
        let ends: Vec<_> = self.of_phase(phase).collect();
        let times: BTreeMap<&str, f64> =
            ends.iter().map(|e| (e["id"].as_str().unwrap(), e["ts"].as_f64().unwrap())).collect();
        assert_eq!(ends.len(), times.len(), "arrows of one name");
        times
    }

    /// Every track has a name, and so has its process.
    fn tracks_are_named(&self) {
        let named = |what: &str| -> BTreeSet<Track> {
            self.of_phase("M").filter(|event| event["name"] == what).map(track).collect()
        };
        let processes: BTreeSet<u64> = named("process_name").iter().map(|(pid, _)| *pid).collect();
        let threads = named("thread_name");
        for event in self.events.iter().filter(|event| event["ph"] != "M") {
            let track = track(event);
            assert!(processes.contains(&track.0) && threads.contains(&track), "{event}");
        }
    }

    /// What begins on a track ends there, the inner before the outer, and not before it began. Only
    /// what was going on when the trace begins or ends has one end.
    fn slices_nest(&self) {
        let mut open: BTreeMap<Track, Vec<(&Value, f64)>> = BTreeMap::new();
        for event in &self.events {
            let at = event["ts"].as_f64().unwrap_or_default();
            let track = open.entry(track(event)).or_default();
            match event["ph"].as_str().unwrap() {
                "B" => track.push((&event["name"], at)),
                "E" => {
                    if let Some((name, since)) = track.pop() {
                        assert_eq!(*name, event["name"], "{event}");
                        assert!(at >= since, "{event} began at {since}");
                    }
                }
                "X" => assert!(event["dur"].as_f64().unwrap() >= 0.0, "{event}"),
                _ => {}
            }
        }
    }

    fn arrows_have_two_ends(&self) {
        let (sent, received) = (self.ends("s"), self.ends("f"));
        let ids = |ends: &BTreeMap<&str, f64>| -> BTreeSet<String> {
            ends.keys().map(|id| (*id).to_owned()).collect()
        };
        assert_eq!(ids(&sent), ids(&received));
        for event in self.of_phase("s").chain(self.of_phase("f")) {
            assert_eq!((&event["name"], &event["cat"]), (&"message".into(), &"message".into()));
        }
        assert!(self.of_phase("f").all(|event| event["bp"] == "e"));
    }
}

fn track(event: &Value) -> Track {
    (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap())
}

fn has_its_fields(event: &Value) {
    let phase = event["ph"].as_str().unwrap();
    assert!(["M", "B", "E", "X", "i", "s", "f"].contains(&phase), "{event}");
    assert!(event["pid"].is_u64() && event["tid"].is_u64(), "{event}");
    assert!(event["name"].as_str().is_some_and(|name| !name.is_empty()), "{event}");
    match phase {
        "M" => assert!(event["args"]["name"].is_string(), "{event}"),
        _ => assert!(event["ts"].as_f64().is_some_and(f64::is_finite), "{event}"),
    }
    if phase == "i" {
        assert_eq!(event["s"], "t", "{event}");
    }
}

#[test]
#[should_panic(expected = "left: String(\"inner\")")]
fn crossed_slices_are_noticed() {
    let event = |phase: &str, name: &str, at: u64| {
        format!(r#"{{"ph":"{phase}","pid":0,"tid":0,"ts":{at},"name":"{name}"}}"#)
    };
    let name = |what: &str| {
        format!(r#"{{"ph":"M","pid":0,"tid":0,"name":"{what}","args":{{"name":"x"}}}}"#)
    };
    let events = [
        name("process_name"),
        name("thread_name"),
        event("B", "outer", 1),
        event("B", "inner", 2),
        event("E", "outer", 3),
    ];
    Timeline::read(&format!(r#"{{"displayTimeUnit":"ns","traceEvents":[{}]}}"#, events.join(",")));
}
