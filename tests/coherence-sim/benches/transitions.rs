//! Transitions per second of the machines: faults and messages handled, on one core. Time is the
//! thread's own on its processor, so that it does not matter what else the host does.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use maize_coherence::directory::Directory;
use maize_coherence::voting::Voting;
use maize_coherence::{
    Access, Action, Agent, Config, Event, Home, NodeId, Nodes, ObjectId, PageKey, Policy, Time,
};
use rustix::time::{ClockId, clock_gettime};

const PAGES: u32 = 256;

struct Fabric<P: Policy<1>> {
    agents: Vec<Agent<P>>,
    queue: VecDeque<(NodeId, NodeId, PageKey, P::Message)>,
    actions: Vec<Action<P::Message>>,
    now: u64,
}

impl<P: Policy<1>> Fabric<P> {
    fn new(nodes: u16) -> Self {
        let agents = (0..nodes)
            .map(|node| {
                let config = Config { node: NodeId(node), home: Home::At(NodeId(0)), hold_ns: 0 };
                Agent::new(config, Nodes::first_n(usize::from(nodes)))
            })
            .collect();
        Self { agents, queue: VecDeque::new(), actions: Vec::with_capacity(64), now: 1 }
    }

    fn event(&mut self, node: NodeId, event: Event<P::Message>) {
        self.now += 1;
        self.agents[usize::from(node.0)].handle(Time(self.now), event, &mut self.actions);
        for action in self.actions.drain(..) {
            if let Action::Send { to, page, message } = action {
                self.queue.push_back((node, to, page, message));
            }
        }
    }

    /// One access, and everything that follows from it; returns how many events were handled.
    fn access(&mut self, node: NodeId, index: u32, access: Access) -> u64 {
        let page = PageKey::new(ObjectId(1), index);
        let mut events = 1;
        self.event(node, Event::Fault { page, access });
        while let Some((from, to, page, message)) = self.queue.pop_front() {
            self.event(to, Event::Message { from, page, message });
            events += 1;
        }
        events
    }

    /// A round over all pages: one node writes, the next reads, and so on.
    fn round(&mut self) -> u64 {
        let nodes = self.agents.len() as u32;
        (0..PAGES)
            .map(|index| {
                let writer = NodeId((index % nodes) as u16);
                let reader = NodeId(((index + 1) % nodes) as u16);
                let last = NodeId(((index + 2) % nodes) as u16);
                self.access(writer, index, Access::Write)
                    + self.access(reader, index, Access::Read)
                    + self.access(last, index, Access::Write)
            })
            .sum()
    }
}

/// How long this thread has run.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn transitions<P: Policy<1>>(c: &mut Criterion, name: &str) {
    let mut group = c.benchmark_group("transitions");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    for nodes in [2, 8] {
        let mut fabric = Fabric::<P>::new(nodes);
        fabric.round();
        // Steady: every round handles the same number of events.
        let events = fabric.round();
        group.throughput(Throughput::Elements(events));
        group.bench_function(format!("{name}/{nodes} nodes"), |b| {
            b.iter_custom(|rounds| {
                let start = processor_time();
                for _ in 0..rounds {
                    black_box(fabric.round());
                }
                processor_time().saturating_sub(start)
            });
        });
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    transitions::<Directory<1>>(c, "directory");
    transitions::<Voting<1>>(c, "voting");
}

criterion_group!(benches, all);
criterion_main!(benches);
