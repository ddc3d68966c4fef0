//! What the machines of a run executed, by function of their kernels: `run --profile`.
//!
//! A plugin of the emulator (`profile/blocks.c`) counts blocks of translated code as they are executed.
//! That is exact where a machine has one processor; several add to one count, and may miss some. It says
//! nothing of time: a block that is seldom executed takes longer each time.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::plugin;
use crate::symbols::Symbols;
use crate::workspace::Workspace;

/// The counts of a function, or of all that is not the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    blocks: u64,
    instructions: u64,
}

/// The plugin, built.
#[derive(Clone, Debug)]
pub struct Profiler {
    plugin: PathBuf,
    folder: PathBuf,
}

/// A machine whose profile is wanted.
#[derive(Clone, Debug)]
pub struct Profiled {
    /// As consoles are named.
    pub name: String,
    /// The kernel with its symbols.
    pub kernel: PathBuf,
}

impl Profiler {
    /// Builds the plugin; counts will be in `folder`.
    ///
    /// # Errors
    /// There is no C compiler, or it does not take the plugin.
    pub fn set_up(workspace: &Workspace, folder: &Path) -> anyhow::Result<Self> {
        let plugin = folder.join("blocks.so");
        let source = workspace.root().join("boards/launcher/profile/blocks.c");
        plugin::build(&source, &plugin)?;
        Ok(Self { plugin, folder: folder.to_owned() })
    }

    fn table(&self, machine: usize) -> PathBuf {
        self.folder.join(format!("blocks-{machine}"))
    }

    /// What the emulator's `-plugin` says for a machine.
    #[must_use]
    pub fn option(&self, machine: usize) -> OsString {
        plugin::option(&self.plugin, &self.table(machine))
    }

    /// The profile of all machines, most blocks first: machine, blocks, instructions and function,
    /// separated by tabs. A machine that was started again has that of its last start.
    ///
    /// # Errors
    /// The counts or a kernel's symbols cannot be read.
    pub fn report(&self, machines: &[Profiled], workspace: &Workspace) -> anyhow::Result<String> {
        let mut text = String::from("machine\tblocks\tinstructions\tfunction\n");
        for (number, machine) in machines.iter().enumerate() {
            let path = self.table(number);
            let file = File::open(&path).with_context(|| path.display().to_string())?;
            let symbols = Symbols::load(&machine.kernel, workspace.root());
            let symbols = symbols.map_err(anyhow::Error::msg)?;
            let counts = by_function(BufReader::new(file), |address| symbols.function(address))?;
            let mut counts: Vec<_> = counts.into_iter().collect();
            counts.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.blocks));
            for (function, Counts { blocks, instructions }) in counts {
                let name = &machine.name;
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{name}\t{blocks}\t{instructions}\t{function}");
            }
        }
        Ok(text)
    }
}

/// What is not in a function of the kernel: programs, and the first steps of its own start.
const ELSEWHERE: &str = "(not the kernel)";

fn by_function(
    mut table: impl Read,
    function: impl Fn(u64) -> Option<String>,
) -> io::Result<BTreeMap<String, Counts>> {
    let mut executed: BTreeMap<u64, Counts> = BTreeMap::new();
    let mut entry = [0; 24];
    loop {
        match table.read_exact(&mut entry) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        let (words, _) = entry.as_chunks::<8>();
        let [address, instructions, times] = [0, 1, 2].map(|n| u64::from_le_bytes(words[n]));
        if instructions == 0 {
            // The first that is not used.
            break;
        }
        let counts = executed.entry(address).or_default();
        counts.blocks += times;
        counts.instructions += times.saturating_mul(instructions);
    }
    let mut functions: BTreeMap<String, Counts> = BTreeMap::new();
    for (address, counts) in executed.into_iter().filter(|(_, counts)| counts.blocks > 0) {
        let name = function(address).unwrap_or_else(|| ELSEWHERE.to_owned());
        let sum = functions.entry(name).or_default();
        sum.blocks += counts.blocks;
        sum.instructions += counts.instructions;
    }
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_a_function_are_added_up() {
        let blocks: [[u64; 3]; 6] = [
            [0x1000, 3, 10],
            [0x1008, 2, 5],
            [0x400, 7, 2],
            [0x1000, 3, 1],
            [0x2000, 4, 0],
            [0, 0, 0],
        ];
        let table: Vec<u8> = blocks.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
        let function = |address| (address >= 0x1000).then(|| format!("f{}", address >> 12));
        let counts = by_function(&*table, function).unwrap();
        let expected = [
            (ELSEWHERE.to_owned(), Counts { blocks: 2, instructions: 14 }),
            ("f1".to_owned(), Counts { blocks: 16, instructions: 43 }),
        ];
        assert_eq!(counts, BTreeMap::from(expected));
    }
}
