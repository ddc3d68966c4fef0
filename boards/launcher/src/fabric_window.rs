//! The window between the machines of a fabric: the launcher creates it, and reads traces and
//! counters out of it while instances run.

use std::os::fd::{AsFd, BorrowedFd};

use maize_hostlink::control::{Histogram, Stats};
use maize_trace::chrome::{InstanceTrace, timeline};
use maize_trace::{Counters, Event, EventKind, Latency, Lost, Reader};
use maize_window::{
    HeaderError, HostWindow, Layout, LayoutError, MIN_INSTANCES, Mapping, Window, WindowHeader,
};
use maize_wire::InstanceId;
use maize_wire::checksum::Coverage;

/// Size of a window, in bytes.
pub const WINDOW_BYTES: u64 = 64 << 20;

/// Events kept of all instances together: 32 bytes each. Further ones count as lost.
const MAX_EVENTS: usize = 4 << 20;

/// The latencies that have a histogram, by the names that they are shown with.
const LATENCIES: [(Latency, &str); 9] = [
    (Latency::ReadFault, "fault.read"),
    (Latency::WriteFault, "fault.write"),
    (Latency::UpgradeFault, "fault.upgrade"),
    (Latency::LocalFault, "fault.local"),
    (Latency::Migration, "migration.same-isa"),
    (Latency::CrossMigration, "migration.cross-isa"),
    (Latency::Request, "request"),
    (Latency::Wake, "wake"),
    (Latency::Syscall, "syscall"),
];

/// Why there is no window.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// The number of instances or the size.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The header did not fit.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The memory.
    #[error("window")]
    Memory(#[from] std::io::Error),
}

/// What was read of one instance's trace.
#[derive(Debug, Default)]
struct Track {
    position: u64,
    events: Vec<Event>,
    lost: u64,
}

/// A window, its memory in a memfd, of which nothing is left once nobody has it open.
pub struct FabricWindow {
    window: HostWindow,
    header: WindowHeader,
    /// How many instances there are; the layout may have room for more.
    instances: u16,
    tracks: Vec<Track>,
}

impl FabricWindow {
    /// Creates the window of a fabric with this number, which no other fabric has.
    pub fn create(instances: u16, fabric: u64, traced: bool) -> Result<Self, WindowError> {
        let layout = Layout::new(usize::from(instances).max(MIN_INSTANCES), WINDOW_BYTES)?;
        let window = HostWindow::create(&format!("maize-window-{fabric:x}"), WINDOW_BYTES)?;
        let header = WindowHeader { layout, coverage: Coverage::Off, fabric };
        let tracks = (0..if traced { instances } else { 0 }).map(|_| Track::default()).collect();
        let this = Self { window, header, instances, tracks };
        if traced {
            for instance in this.numbers() {
                if let Some(reader) = this.reader(instance, 0) {
                    reader.want(EventKind::ALL);
                }
            }
        }
        header.publish(&this.window.window())?;
        Ok(this)
    }

    fn numbers(&self) -> impl Iterator<Item = InstanceId> + use<> {
        (0..self.instances).map(InstanceId)
    }

    /// The number in its header.
    #[must_use]
    pub const fn fabric(&self) -> u64 {
        self.header.fabric
    }

    /// The division of it.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.header.layout
    }

    /// Another mapping of the same memory.
    pub fn again(&self) -> std::io::Result<HostWindow> {
        self.window.again()
    }

    fn reader(&self, instance: InstanceId, position: u64) -> Option<Reader<Mapping<'_>>> {
        let span = self.header.layout.trace(instance)?;
        Reader::at(self.window.window().part(span)?, position)
    }

    /// Whether instances write traces.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        !self.tracks.is_empty()
    }

    /// Takes out the events that have come since the last call. What instances write faster than
    /// this is called is lost, and counted.
    pub fn read_traces(&mut self) {
        let mut room = MAX_EVENTS.saturating_sub(self.tracks.iter().map(|t| t.events.len()).sum());
        for instance in self.numbers() {
            let Some(track) = self.tracks.get_mut(instance.index()) else { return };
            let (position, mut events) = (track.position, std::mem::take(&mut track.events));
            let Some(mut reader) = self.reader(instance, position) else { continue };
            let mut refused = 0;
            let Lost(lost) = reader.read(|event| {
                if room > 0 {
                    room -= 1;
                    events.push(event);
                } else {
                    refused += 1;
                }
            });
            let position = reader.position();
            if let Some(track) = self.tracks.get_mut(instance.index()) {
                *track = Track { position, events, lost: track.lost + lost + refused };
            }
        }
    }

    /// Events that were not read, of all instances.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        self.tracks.iter().map(|track| track.lost).sum()
    }

    /// Everything read so far as one timeline; `names` are the instances', in order.
    #[must_use]
    pub fn timeline(&self, names: &[String]) -> String {
        let traces: Vec<InstanceTrace> = self
            .numbers()
            .zip(&self.tracks)
            .map(|(instance, track)| InstanceTrace {
                instance,
                name: names.get(instance.index()).cloned().unwrap_or_default(),
                clock_offset: self.reader(instance, 0).map_or(0, |reader| reader.clock_offset()),
                events: track.events.clone(),
            })
            .collect();
        timeline(&traces).to_string()
    }

    /// What an instance has counted in the window.
    #[must_use]
    pub fn counts(&self, instance: u16) -> Stats {
        let span = self.header.layout.counters(InstanceId(instance));
        let words = span.and_then(|span| self.window.window().part(span));
        words.and_then(|words| Counters::new(words).ok()).map_or_else(Stats::default, |counters| {
            let mut stats = Stats { counters: counters.named(), ..Stats::default() };
            let histograms = LATENCIES.into_iter().map(|(latency, name)| {
                histogram(format!("latency.{name}"), &counters.histogram(latency).counts)
            });
            stats.histograms.extend(histograms.filter(|histogram| histogram.count > 0));
            stats
        })
    }
}

impl AsFd for FabricWindow {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.window.as_fd()
    }
}

/// The window has the counts of a latency's powers of two and nothing finer: least and greatest are
/// the bounds of its buckets, and the sum is what the buckets' middles give.
fn histogram(name: String, counts: &[u64]) -> Histogram {
    let buckets: Vec<(u8, u64)> =
        (0u8..).zip(counts).filter(|(_, n)| **n > 0).map(|(b, n)| (b, *n)).collect();
    let low = |bucket: u8| if bucket == 0 { 0 } else { 1u64 << bucket.min(63) };
    let high = |bucket: u8| low(bucket).saturating_mul(2).max(2) - 1;
    let middle = |bucket: u8| low(bucket) / 2 + high(bucket) / 2;
    Histogram {
        name,
        unit: "ns".to_owned(),
        count: buckets.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n)),
        sum: buckets
            .iter()
            .fold(0, |sum, (b, n)| sum.saturating_add(middle(*b).saturating_mul(*n))),
        min: buckets.first().map_or(0, |(bucket, _)| low(*bucket)),
        max: buckets.last().map_or(0, |(bucket, _)| high(*bucket)),
        buckets,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use maize_hal::Nanos;
    use maize_trace::{Counter, Tracer, flow};
    use maize_wire::{Class, Kind};
    use serde_json::Value;

    #[test]
    fn the_header_is_there_before_anybody_looks() {
        let window = FabricWindow::create(4, 99, false).unwrap();
        let header = WindowHeader::read(&window.again().unwrap().window()).unwrap();
        assert_eq!((header.fabric, header.layout.instances()), (99, 4));
        assert!(!window.is_traced());
        // One instance alone has a window too, if it is traced: a layout for two.
        assert_eq!(FabricWindow::create(1, 1, true).unwrap().layout().instances(), 2);
        assert!(FabricWindow::create(17, 1, false).is_err());
    }

    #[test]
    fn traces_are_taken_out_while_they_are_written_and_joined() {
        let mut window = FabricWindow::create(2, 7, true).unwrap();
        let twin = window.again().unwrap();
        let layout = *window.layout();
        let part = |n| twin.window().part(layout.trace(InstanceId(n)).unwrap()).unwrap();
        let (mut a, mut b) = (Tracer::new(part(0)).unwrap(), Tracer::new(part(1)).unwrap());
        b.set_clock_offset(1_000);
        let mut rounds = 0;
        for sequence in 0..4_000u32 {
            let flow = flow(InstanceId(0), InstanceId(1), Class::Normal, sequence);
            let event = |at: u64, kind| Event { at: Nanos(at), kind, thread: 0, words: [flow, 0] };
            a.trace(event(10 * u64::from(sequence), EventKind::Send));
            b.trace(event(10 * u64::from(sequence) + 1_005, EventKind::Receive));
            if sequence % 1_000 == 0 {
                window.read_traces();
                rounds += 1;
            }
        }
        window.read_traces();
        assert_eq!((rounds, window.lost_events()), (4, 0));
        let text = window.timeline(&["0 x86_64".to_owned(), "1 aarch64".to_owned()]);
        let value: Value = serde_json::from_str(&text).unwrap();
        let count = |phase: &str| {
            value["traceEvents"].as_array().unwrap().iter().filter(|e| e["ph"] == phase).count()
        };
        assert_eq!((count("s"), count("f")), (4_000, 4_000));
    }

    #[test]
    fn what_was_replaced_before_it_was_read_counts_as_lost() {
        let mut window = FabricWindow::create(2, 7, true).unwrap();
        let twin = window.again().unwrap();
        let span = window.layout().trace(InstanceId(1)).unwrap();
        let mut tracer = Tracer::new(twin.window().part(span).unwrap()).unwrap();
        let records = window.layout().trace_records() as u64;
        for n in 0..records + 10 {
            let event = Event { at: Nanos(n), kind: EventKind::Mark, thread: 0, words: [n, 0] };
            tracer.trace(event);
        }
        window.read_traces();
        assert!((10..20).contains(&window.lost_events()), "{}", window.lost_events());
    }

    #[test]
    fn counters_have_names() {
        let window = FabricWindow::create(2, 7, false).unwrap();
        let twin = window.again().unwrap();
        let span = window.layout().counters(InstanceId(1)).unwrap();
        let counters = Counters::new(twin.window().part(span).unwrap()).unwrap();
        counters.add(Counter::DoorbellsRung, 3);
        counters.sent(Kind(5), 100);
        counters.took(Latency::ReadFault, Nanos(1000));
        counters.took(Latency::ReadFault, Nanos(3000));
        let stats = window.counts(1);
        let counted = |name: &str| stats.counters.iter().find(|(n, _)| n == name).map(|(_, c)| *c);
        assert_eq!(counted("fabric.doorbells-rung"), Some(3));
        assert_eq!(counted("message.5.bytes-sent"), Some(100));
        let [histogram] = &stats.histograms[..] else { panic!("{:?}", stats.histograms) };
        assert_eq!((histogram.count, histogram.min, histogram.max), (2, 512, 4095));
        assert_eq!(window.counts(0), Stats::default());
        assert_eq!(window.counts(9), Stats::default());
    }
}
