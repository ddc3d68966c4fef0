//! Which machines a fabric has, and how many instances run in each.
//!
//! Written as terms joined by `+`, each an instruction set and perhaps `*` and a number:
//! `x86_64+aarch64` is two machines, `x86_64*4` one machine with four instances. A TOML file says
//! more:
//!
//! ```toml
//! [[machine]]
//! isa = "x86_64"
//! instances = 2    # 1 if left out
//! memory = "1G"    # what --memory says if left out
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use maize_hostlink::boot::{Instance, Isa};
use serde::Deserialize;

use crate::memory_size::{MemorySize, MemorySizeError};

/// Most machines in a fabric.
pub const MAX_MACHINES: usize = 4;

/// Most instances in a fabric.
pub const MAX_INSTANCES: usize = 16;

/// The machines of a fabric, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    machines: Vec<MachineSpec>,
}

/// One machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineSpec {
    /// Instruction set of all its instances.
    pub isa: Isa,
    /// Instances it hosts, from 1 to [`MAX_INSTANCES`].
    pub instances: u16,
    /// Its memory, if it differs from the other machines'.
    pub memory: Option<MemorySize>,
}

/// Why there is no such topology.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// Nothing between two `+`, or nothing at all.
    #[error("topology `{0}`: a machine is missing (write ISA or ISA*N, joined by +)")]
    MissingMachine(String),
    /// Not the name of an instruction set.
    #[error("unknown instruction set `{0}` (there are x86_64 and aarch64)")]
    UnknownIsa(String),
    /// What follows `*` is no number from 1 to [`MAX_INSTANCES`].
    #[error("`{0}` is no number of instances (1 to {MAX_INSTANCES})")]
    BadCount(String),
    /// More than [`MAX_MACHINES`].
    #[error("{0} machines, at most {MAX_MACHINES} are possible")]
    TooManyMachines(usize),
    /// More than [`MAX_INSTANCES`].
    #[error("{0} instances, at most {MAX_INSTANCES} are possible")]
    TooManyInstances(usize),
    /// The file could not be read.
    #[error("topology file {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// The file is not a topology.
    #[error("topology file {0}: {1}")]
    Toml(PathBuf, toml::de::Error),
    /// A memory size in a file.
    #[error("topology file {0}: {1}")]
    Memory(PathBuf, MemorySizeError),
    /// The file lists no machine.
    #[error("topology file {0}: no [[machine]]")]
    Empty(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    machine: Vec<FileMachine>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMachine {
    isa: String,
    #[serde(default = "one")]
    instances: u16,
    memory: Option<String>,
}

const fn one() -> u16 {
    1
}

fn parse_isa(name: &str) -> Result<Isa, TopologyError> {
    Isa::ALL
        .into_iter()
        .find(|isa| isa.name() == name)
        .ok_or_else(|| TopologyError::UnknownIsa(name.to_owned()))
}

fn check_count(count: u16) -> Result<u16, TopologyError> {
    if (1..=MAX_INSTANCES).contains(&usize::from(count)) {
        Ok(count)
    } else {
        Err(TopologyError::BadCount(count.to_string()))
    }
}

impl MachineSpec {
    fn parse(term: &str) -> Result<Self, TopologyError> {
        let (isa, instances) = match term.split_once('*') {
            None => (term, 1),
            Some((isa, count)) => {
                let bad = || TopologyError::BadCount(count.to_owned());
                let number = count.parse().map_err(|_| bad())?;
                (isa, check_count(number).map_err(|_| bad())?)
            }
        };
        Ok(Self { isa: parse_isa(isa)?, instances, memory: None })
    }
}

impl Topology {
    /// One machine with one instance.
    #[must_use]
    pub fn single(isa: Isa) -> Self {
        Self { machines: vec![MachineSpec { isa, instances: 1, memory: None }] }
    }

    /// Two machines with one instance each.
    #[must_use]
    pub fn two_machines(first: Isa, second: Isa) -> Self {
        let machine = |isa| MachineSpec { isa, instances: 1, memory: None };
        Self { machines: vec![machine(first), machine(second)] }
    }

    /// One machine with two instances.
    #[must_use]
    pub fn two_instances(isa: Isa) -> Self {
        Self { machines: vec![MachineSpec { isa, instances: 2, memory: None }] }
    }

    fn new(machines: Vec<MachineSpec>) -> Result<Self, TopologyError> {
        let instances = machines.iter().map(|m| usize::from(m.instances)).sum();
        if machines.len() > MAX_MACHINES {
            Err(TopologyError::TooManyMachines(machines.len()))
        } else if instances > MAX_INSTANCES {
            Err(TopologyError::TooManyInstances(instances))
        } else {
            Ok(Self { machines })
        }
    }

    /// Reads a topology as given on the command line: a file if it ends in `.toml` or has a `/`.
    pub fn from_argument(argument: &str) -> Result<Self, TopologyError> {
        let path = Path::new(argument);
        if argument.contains('/') || path.extension().is_some_and(|e| e == "toml") {
            Self::from_file(path)
        } else {
            argument.parse()
        }
    }

    /// Reads a TOML file.
    pub fn from_file(path: &Path) -> Result<Self, TopologyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| TopologyError::Read(path.to_owned(), error))?;
        Self::from_toml(&text, path)
    }

    fn from_toml(text: &str, path: &Path) -> Result<Self, TopologyError> {
        let file: File =
            toml::from_str(text).map_err(|error| TopologyError::Toml(path.to_owned(), error))?;
        if file.machine.is_empty() {
            return Err(TopologyError::Empty(path.to_owned()));
        }
        let machines = file.machine.into_iter().map(|m| {
            let memory = m
                .memory
                .map(|size| size.parse().map_err(|e| TopologyError::Memory(path.to_owned(), e)))
                .transpose()?;
            Ok(MachineSpec {
                isa: parse_isa(&m.isa)?,
                instances: check_count(m.instances)?,
                memory,
            })
        });
        Self::new(machines.collect::<Result<_, TopologyError>>()?)
    }

    /// The machines, in order.
    #[must_use]
    pub fn machines(&self) -> &[MachineSpec] {
        &self.machines
    }

    /// The instruction set of the first machine, on which the program starts.
    #[must_use]
    pub fn first_isa(&self) -> Isa {
        self.machines.first().map_or(Isa::X86_64, |machine| machine.isa)
    }

    /// Every instance, in order of its number: machine by machine.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        (0u16..)
            .zip(&self.machines)
            .flat_map(|(machine, spec)| {
                (0..spec.instances).map(move |_| Instance { machine, isa: spec.isa })
            })
            .collect()
    }

    /// The instruction sets in use, each once.
    #[must_use]
    pub fn isas(&self) -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| self.machines.iter().any(|m| m.isa == *isa)).collect()
    }
}

impl FromStr for Topology {
    type Err = TopologyError;

    fn from_str(text: &str) -> Result<Self, TopologyError> {
        let terms = text.split('+').map(str::trim);
        let machines = terms.map(|term| {
            if term.is_empty() {
                return Err(TopologyError::MissingMachine(text.to_owned()));
            }
            MachineSpec::parse(term)
        });
        Self::new(machines.collect::<Result<_, _>>()?)
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, machine) in self.machines.iter().enumerate() {
            if index > 0 {
                f.write_str("+")?;
            }
            write!(f, "{}", machine.isa)?;
            if machine.instances > 1 {
                write!(f, "*{}", machine.instances)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_topologies_come_back() {
        for text in ["x86_64", "aarch64", "x86_64+aarch64", "x86_64*4", "x86_64*2+aarch64*2"] {
            assert_eq!(text.parse::<Topology>().unwrap().to_string(), text);
        }
        assert_eq!("x86_64*1".parse::<Topology>().unwrap(), Topology::single(Isa::X86_64));
    }

    #[test]
    fn instances_are_numbered_machine_by_machine() {
        let topology: Topology = "x86_64*2+aarch64".parse().unwrap();
        let expected = [(0, Isa::X86_64), (0, Isa::X86_64), (1, Isa::Aarch64)];
        assert_eq!(topology.instances(), expected.map(|(machine, isa)| Instance { machine, isa }));
        assert_eq!(topology.isas(), Isa::ALL);
    }

    #[test]
    fn limits_are_reached_and_not_passed() {
        assert_eq!("x86_64*16".parse::<Topology>().unwrap().instances().len(), 16);
        assert_eq!(
            "x86_64*4+aarch64*4+x86_64*4+aarch64*4".parse::<Topology>().unwrap().machines().len(),
            4
        );
        assert!(matches!(
            "x86_64+x86_64+x86_64+x86_64+x86_64".parse::<Topology>(),
            Err(TopologyError::TooManyMachines(5))
        ));
        assert!(matches!(
            "x86_64*9+aarch64*8".parse::<Topology>(),
            Err(TopologyError::TooManyInstances(17))
        ));
    }

    #[test]
    fn bad_topologies_have_names() {
        for text in ["", "x86_64+", "+x86_64", "x86_64++aarch64"] {
            assert!(matches!(text.parse::<Topology>(), Err(TopologyError::MissingMachine(_))));
        }
        for text in ["arm64", "X86_64", "riscv64*2", "*2"] {
            assert!(matches!(text.parse::<Topology>(), Err(TopologyError::UnknownIsa(_))));
        }
        for text in ["x86_64*", "x86_64*0", "x86_64*17", "x86_64*-1", "x86_64*2*2"] {
            assert!(matches!(text.parse::<Topology>(), Err(TopologyError::BadCount(_))), "{text}");
        }
    }

    #[test]
    fn files_say_more() {
        let path = Path::new("t.toml");
        let text = "[[machine]]\nisa = 'x86_64'\ninstances = 2\nmemory = '1G'\n\n[[machine]]\nisa = 'aarch64'\n";
        let topology = Topology::from_toml(text, path).unwrap();
        assert_eq!(topology.to_string(), "x86_64*2+aarch64");
        assert_eq!(topology.machines()[0].memory, Some("1G".parse().unwrap()));
        assert_eq!(topology.machines()[1].memory, None);
    }

    #[test]
    fn bad_files_have_names() {
        let read = |text| Topology::from_toml(text, Path::new("t.toml"));
        assert!(matches!(read(""), Err(TopologyError::Empty(_))));
        assert!(matches!(read("[[machine]]\n"), Err(TopologyError::Toml(..))));
        assert!(matches!(
            read("[[machine]]\nisa = 'x86_64'\ncolour = 1"),
            Err(TopologyError::Toml(..))
        ));
        assert!(matches!(read("[[machine]]\nisa = 'z80'"), Err(TopologyError::UnknownIsa(_))));
        assert!(matches!(
            read("[[machine]]\nisa = 'x86_64'\nmemory = 'lots'"),
            Err(TopologyError::Memory(..))
        ));
        assert!(matches!(
            read("[[machine]]\nisa = 'x86_64'\ninstances = 0"),
            Err(TopologyError::BadCount(_))
        ));
        assert!(matches!(Topology::from_argument("no/such/file"), Err(TopologyError::Read(..))));
    }
}
