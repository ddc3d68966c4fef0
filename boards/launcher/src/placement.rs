//! Where a program's threads are placed, as written on the command line.

use maize_hostlink::boot::Placement;

use crate::topology::{MAX_INSTANCES, Topology};

/// Why threads cannot be placed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Neither a word nor a list of CPUs.
    #[error("`{0}` is no placement (local, spread, or a list of CPUs such as 0,2-3)")]
    Malformed(String),
    /// A range whose end comes before its start.
    #[error("`{0}` is no range of CPUs: it ends before it starts")]
    Reversed(String),
    /// The topology has fewer instances.
    #[error("there is no CPU {cpu} in {topology}, only 0 to {last}")]
    NoSuchCpu {
        /// Its number.
        cpu: u16,
        /// The fabric.
        topology: String,
        /// The last CPU that there is.
        last: usize,
    },
}

/// The environment's word by which a program knows that its phases are to run where they are faster.
pub const FASTEST: &str = "MAIZE_PLACE=fastest";

/// Where a program's threads are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Where the kernels put them.
    Placed(Placement),
    /// Where the program's named phases are measured to be faster, which its C library sees to.
    Fastest,
}

impl Threads {
    /// Where the kernels put new ones.
    #[must_use]
    pub fn placement(&self) -> Placement {
        match self {
            Self::Placed(placement) => placement.clone(),
            Self::Fastest => Placement::Local,
        }
    }
}

/// Reads `fastest`, or what [`parse`] reads.
pub fn parse_threads(text: &str) -> Result<Threads, PlacementError> {
    if text == "fastest" { Ok(Threads::Fastest) } else { parse(text).map(Threads::Placed) }
}

/// Reads `local`, `spread`, or a list of CPUs and ranges of CPUs as `taskset -c` takes it.
pub fn parse(text: &str) -> Result<Placement, PlacementError> {
    match text {
        "local" => Ok(Placement::Local),
        "spread" => Ok(Placement::Spread),
        list => {
            let mut cpus = Vec::new();
            for term in list.split(',') {
                let (first, last) = term.split_once('-').unwrap_or((term, term));
                let number = |digits: &str| {
                    // `parse` takes a sign, too.
                    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                    let cpu = digits.parse::<u16>().ok().filter(|_| plain);
                    cpu.ok_or_else(|| PlacementError::Malformed(text.to_owned()))
                };
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return Err(PlacementError::Reversed(term.to_owned()));
                }
                // One beyond what any fabric has is enough to be refused by `check`.
                let most = u16::try_from(MAX_INSTANCES).unwrap_or(u16::MAX);
                cpus.extend(first..=last.min(first.max(most)));
            }
            Ok(Placement::List(cpus))
        }
    }
}

/// Makes sure that there are the CPUs. The kernel passes over those that a program cannot use.
pub fn check(placement: &Placement, topology: &Topology) -> Result<(), PlacementError> {
    let Placement::List(cpus) = placement else { return Ok(()) };
    let instances = topology.instances();
    let last = instances.len().saturating_sub(1);
    for &cpu in cpus {
        if usize::from(cpu) > last {
            let topology = topology.to_string();
            return Err(PlacementError::NoSuchCpu { cpu, topology, last });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placements_are_read() {
        assert_eq!(parse("local"), Ok(Placement::Local));
        assert_eq!(parse("spread"), Ok(Placement::Spread));
        assert_eq!(parse("0"), Ok(Placement::List(vec![0])));
        assert_eq!(parse("0,2-3"), Ok(Placement::List(vec![0, 2, 3])));
        assert_eq!(parse("15-15,1"), Ok(Placement::List(vec![15, 1])));
    }

    #[test]
    fn only_threads_can_be_where_they_are_fastest() {
        assert_eq!(parse_threads("fastest").unwrap().placement(), Placement::Local);
        assert_eq!(parse_threads("1"), parse("1").map(Threads::Placed));
        assert!(parse("fastest").is_err() && parse_threads("faster").is_err());
    }

    #[test]
    fn bad_placements_have_names() {
        for text in ["", "all", "0,", ",1", "-1", "1-", "1--2", "+1", "0x1", "65536", "1 2"] {
            assert_eq!(parse(text), Err(PlacementError::Malformed(text.to_owned())), "{text}");
        }
        assert_eq!(parse("0,3-2"), Err(PlacementError::Reversed("3-2".to_owned())));
    }

    #[test]
    fn every_cpu_is_there() {
        let check = |list, topology: &str| check(&parse(list).unwrap(), &topology.parse().unwrap());
        assert_eq!(check("0-1", "x86_64+x86_64"), Ok(()));
        assert_eq!(check("0,2", "x86_64+aarch64+x86_64"), Ok(()));
        assert_eq!(check("spread", "x86_64+aarch64"), Ok(()));
        assert_eq!(check("0-1", "x86_64+aarch64"), Ok(()));
        let topology = "x86_64*2".to_owned();
        let missing = PlacementError::NoSuchCpu { cpu: 2, topology, last: 1 };
        assert_eq!(check("0-65535", "x86_64*2"), Err(missing));
    }
}
