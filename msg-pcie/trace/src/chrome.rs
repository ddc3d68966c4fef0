//! Traces as Chrome's trace-event JSON, which Perfetto reads too.
//!
//! Each instance is a process with a track for each thread; each message is an arrow from where it
//! was sent to where it was received. One more process, "threads", has a track for each thread of
//! the fabric that shows on which instance it ran when.

use alloc::{collections::BTreeMap, collections::BTreeSet, format, string::String, vec::Vec};

use maize_wire::InstanceId;
use serde_json::{Value, json};

use crate::{Event, EventKind};

/// An instance's events, in the order in which it wrote them.
pub struct InstanceTrace {
    /// Which instance.
    pub instance: InstanceId,
    /// What to call it, such as `0 x86_64`.
    pub name: String,
    /// How far its clock is ahead of the timeline's, in nanoseconds.
    pub clock_offset: i64,
    /// Its events.
    pub events: Vec<Event>,
}

/// The process number of the tracks that show where each thread ran.
const THREADS: u64 = 1 << 16;

/// Puts the traces of all instances into one timeline.
#[must_use]
pub fn timeline(traces: &[InstanceTrace]) -> Value {
    let mut out = Vec::new();
    let mut threads = BTreeSet::new();
    let (sent, received) = (flows(traces, EventKind::Send), flows(traces, EventKind::Receive));
    for trace in traces {
        let process = u64::from(trace.instance.0);
        out.push(named("process_name", process, 0, &trace.name));
        let mut kernel_threads = BTreeSet::new();
        // Since when each thread has been running here.
        let mut running: BTreeMap<u32, f64> = BTreeMap::new();
        for event in &trace.events {
            kernel_threads.insert(event.thread);
            let at = microseconds(trace, event);
            match event.kind {
                EventKind::RunBegin => {
                    running.insert(event.thread, at);
                }
                EventKind::RunEnd => {
                    if let Some(since) = running.remove(&event.thread) {
                        threads.insert(event.thread);
                        out.push(json!({
                            "ph": "X", "pid": THREADS, "tid": event.thread, "ts": since,
                            "dur": (at - since).max(0.0), "name": trace.name, "cat": "where",
                        }));
                    }
                }
                _ => {}
            }
            out.push(entry(process, at, event));
            // An arrow only where both of its ends are: the other may have been replaced.
            let arrow = match event.kind {
                EventKind::Send if received.contains(&event.words[0]) => Some("s"),
                EventKind::Receive if sent.contains(&event.words[0]) => Some("f"),
                _ => None,
            };
            if let Some(phase) = arrow {
                out.push(json!({
                    "ph": phase, "bp": "e", "pid": process, "tid": event.thread, "ts": at,
                    "id": format!("{:#x}", event.words[0]), "name": "message", "cat": "message",
                }));
            }
        }
        for thread in kernel_threads {
            let name = if thread == 0 { "kernel".into() } else { format!("thread {thread}") };
            out.push(named("thread_name", process, thread, &name));
        }
    }
    if !threads.is_empty() {
        out.push(named("process_name", THREADS, 0, "threads"));
        for thread in threads {
            out.push(named("thread_name", THREADS, thread, &format!("thread {thread}")));
        }
    }
    json!({ "displayTimeUnit": "ns", "traceEvents": out })
}

fn flows(traces: &[InstanceTrace], kind: EventKind) -> BTreeSet<u64> {
    let events = traces.iter().flat_map(|trace| &trace.events);
    events.filter(|event| event.kind == kind).map(|event| event.words[0]).collect()
}

/// The format counts in microseconds, fractions allowed.
fn microseconds(trace: &InstanceTrace, event: &Event) -> f64 {
    let nanoseconds = i128::from(event.at.0) - i128::from(trace.clock_offset);
    nanoseconds as f64 / 1000.0
}

fn named(what: &str, process: u64, thread: u32, name: &str) -> Value {
    json!({ "ph": "M", "pid": process, "tid": thread, "name": what, "args": { "name": name } })
}

/// The entry of an event on its own track.
fn entry(process: u64, at: f64, event: &Event) -> Value {
    let [first, second] = event.words;
    let (phase, name, args) = match event.kind {
        EventKind::Mark => ("i", "mark".into(), json!({ "0": first, "1": second })),
        EventKind::RunBegin => ("B", "run".into(), json!({})),
        EventKind::RunEnd => ("E", "run".into(), json!({ "why": first })),
        EventKind::SyscallBegin => ("B", format!("syscall {first}"), json!({})),
        EventKind::SyscallEnd => {
            ("E", format!("syscall {first}"), json!({ "result": second.cast_signed() }))
        }
        EventKind::FaultBegin => {
            ("B", "fault".into(), json!({ "address": hex(first), "access": second }))
        }
        EventKind::FaultEnd => ("E", "fault".into(), json!({ "from": second })),
        EventKind::Send => ("i", "send".into(), json!({ "flow": hex(first), "what": hex(second) })),
        EventKind::Receive => {
            ("i", "receive".into(), json!({ "flow": hex(first), "what": hex(second) }))
        }
        EventKind::MigrateOut => ("i", format!("to instance {first}"), json!({})),
        EventKind::MigrateIn => ("i", format!("from instance {first}"), json!({})),
        EventKind::IdleBegin => ("B", "idle".into(), json!({})),
        EventKind::IdleEnd => ("E", "idle".into(), json!({})),
        EventKind::Interrupt => ("i", format!("interrupt {first}"), json!({})),
        EventKind::Peer => ("i", format!("peer {first}"), json!({ "what": second })),
    };
    json!({
        "ph": phase, "pid": process, "tid": event.thread, "ts": at, "name": name, "s": "t",
        "cat": format!("{:?}", event.kind), "args": args,
    })
}

/// Words as text: JSON's numbers are not exact beyond 2⁵³.
fn hex(word: u64) -> String {
    format!("{word:#x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow;
    use maize_hal::Nanos;
    use maize_wire::Class;
    use std::vec;

    fn event(at: u64, kind: EventKind, thread: u32, words: [u64; 2]) -> Event {
        Event { at: Nanos(at), kind, thread, words }
    }

    #[test]
    fn arrows_join_send_and_receive_on_one_clock() {
        let (a, b) = (InstanceId(0), InstanceId(1));
        let (whole, half) = (flow(a, b, Class::Normal, 1), flow(a, b, Class::Normal, 2));
        let traces = [
            InstanceTrace {
                instance: a,
                name: "0 x86_64".into(),
                clock_offset: 0,
                events: vec![
                    event(1_000, EventKind::RunBegin, 5, [0, 0]),
                    event(2_000, EventKind::Send, 5, [whole, 0]),
                    event(2_500, EventKind::Send, 5, [half, 0]),
                    event(4_000, EventKind::RunEnd, 5, [1, 0]),
                ],
            },
            InstanceTrace {
                instance: b,
                name: "1 aarch64".into(),
                clock_offset: 1_000_000,
                events: vec![event(1_003_000, EventKind::Receive, 0, [whole, 0])],
            },
        ];
        let value = timeline(&traces);
        let events = value["traceEvents"].as_array().unwrap();
        let phase = |phase: &str| -> Vec<&Value> {
            events.iter().filter(|event| event["ph"] == phase).collect()
        };
        let (starts, ends) = (phase("s"), phase("f"));
        assert_eq!((starts.len(), ends.len()), (1, 1));
        assert_eq!(starts[0]["id"], ends[0]["id"]);
        assert_eq!((starts[0]["ts"].as_f64(), ends[0]["ts"].as_f64()), (Some(2.0), Some(3.0)));
        let ran = phase("X");
        assert_eq!((ran[0]["dur"].as_f64(), &ran[0]["name"]), (Some(3.0), &json!("0 x86_64")));
        assert_eq!(phase("B").len(), phase("E").len());
        // Both instances, the threads, and four tracks have names.
        assert_eq!(phase("M").len(), 3 + 3);
    }
}
