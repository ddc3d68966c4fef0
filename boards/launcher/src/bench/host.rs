//! What a benchmark was measured with.

use std::collections::BTreeMap;
use std::process::Command;

use maize_hostlink::boot::Isa;

use crate::machine::emulator;
use crate::topology::Topology;

/// The host and the emulators of these topologies, by name.
#[must_use]
pub fn describe(topologies: &[Topology]) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut add = |name: &str, fact: Option<String>| {
        if let Some(fact) = fact {
            facts.insert(name.to_owned(), fact);
        }
    };
    add("processor", processor());
    let cores = std::thread::available_parallelism().ok();
    add("cores", cores.map(|cores| cores.to_string()));
    add("isa", Some(std::env::consts::ARCH.to_owned()));
    add("kernel", std::fs::read_to_string("/proc/sys/kernel/osrelease").ok());
    for isa in Isa::ALL {
        if topologies.iter().any(|topology| topology.isas().contains(&isa)) {
            add(emulator(isa), version(emulator(isa)));
        }
    }
    facts.into_iter().map(|(name, fact)| (name, fact.trim().to_owned())).collect()
}

fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.to_owned())
}

fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}
