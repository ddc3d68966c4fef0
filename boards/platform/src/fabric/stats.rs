//! What the links have counted, by name.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use maize_link::LinkStats;
use maize_wire::{Class, InstanceId};

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Urgent => "urgent",
        Class::Normal => "normal",
        Class::Bulk => "bulk",
    }
}

/// Adds the counts of the link to `peer`, as `link.<peer>.<what>`. What is zero is left out.
pub(super) fn add(counters: &mut Vec<(String, u64)>, peer: InstanceId, stats: &LinkStats) {
    let mut add = |name: &str, count: u64| {
        if count > 0 {
            counters.push((format!("link.{}.{name}", peer.0), count));
        }
    };
    for class in Class::ALL {
        let name = class_name(class);
        add(&format!("sent.{name}"), stats.messages_sent[class.index()]);
        add(&format!("received.{name}"), stats.messages_received[class.index()]);
    }
    for (name, count) in [
        ("bytes_sent", stats.bytes_sent),
        ("bytes_received", stats.bytes_received),
        ("frames_sent", stats.frames_sent),
        ("frames_received", stats.frames_received),
        ("pages_sent", stats.pages_sent),
        ("pages_received", stats.pages_received),
        ("queued", stats.queued),
        ("refused", stats.refused),
        ("doorbells", stats.doorbells),
        ("stale", stats.stale),
        ("no_memory", stats.no_memory),
        ("lost_in_queue", stats.lost_in_queue),
        ("sessions", stats.sessions),
        ("suspicions", stats.suspicions),
        ("silences", stats.silences),
        ("corruptions", stats.corruptions),
    ] {
        add(name, count);
    }
}
