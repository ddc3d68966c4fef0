//! Machines with several instances that live by a scenario of `maize-sibling-life`.

use std::fs;
use std::path::Path;

use maize_hostlink::BootRecord;
use maize_hostlink::boot::{Action, Console, Instance, Isa, Sharing};
use maize_launcher::machine::emulator;
use maize_launcher::ramdisk::Files;
use maize_launcher::root::LoadedRoot;
use maize_launcher::tree::Tree;

use crate::{Ran, q35, run, virt};

/// A machine with several instances.
#[derive(Clone, Copy, Debug)]
pub struct Siblings {
    /// How many there are to be.
    pub instances: u16,
    /// How many cores there are.
    pub cores: u16,
    /// MiB of RAM.
    pub memory: u32,
    /// What they do.
    pub scenario: &'static [u8],
}

impl Siblings {
    /// Runs `kernel` to its end. There is a host link, but nobody at its other end.
    ///
    /// # Errors
    /// If files cannot be written or the emulator cannot be started.
    pub fn run(&self, isa: Isa, kernel: &Path) -> std::io::Result<Ran> {
        let folder = tempfile::tempdir()?;
        let disk = folder.path().join("initrd");
        fs::write(&disk, self.ram_disk(isa)?)?;
        let gic = if self.cores > 8 { "virt,gic-version=3" } else { "virt,gic-version=2" };
        let mut arguments = match isa {
            Isa::X86_64 => q35("max", kernel),
            Isa::Aarch64 => virt(gic, "max", kernel),
        };
        let cores = format!("{},maxcpus={}", self.cores, self.cores.max(2));
        let memory = format!("{}M", self.memory);
        let disk = disk.to_string_lossy();
        // Of options that are given twice the last counts.
        for (option, value) in [
            ("-smp", cores.as_str()),
            ("-m", &memory),
            ("-initrd", &disk),
            ("-chardev", "null,id=link"),
            ("-device", "virtio-serial-pci,max_ports=2,disable-legacy=on"),
            ("-device", "virtserialport,nr=1,chardev=link"),
        ] {
            arguments.extend([option.to_owned(), value.to_owned()]);
        }
        if isa == Isa::Aarch64 {
            arguments.extend(["-semihosting-config", "enable=on,target=native"].map(str::to_owned));
        }
        run(emulator(isa), arguments)
    }

    fn ram_disk(&self, isa: Isa) -> std::io::Result<Vec<u8>> {
        let record = BootRecord {
            action: Action::Serve,
            console: Console::Streams,
            instance: 0,
            instances: vec![Instance { machine: 0, isa }; usize::from(self.instances)],
            wall_clock_ns: 0,
            entropy: [7; 32],
            stats: false,
            fabric: 0,
            poll_ns: 0,
            dead_after_ms: 1_800,
            debugged: false,
            sharing: Sharing::default(),
            trace: false,
            exercise: self.scenario.to_vec(),
        };
        let mut root = Tree::new();
        root.directory("bin", 0o755);
        Files::new(LoadedRoot::Tree(root), &[], isa)
            .and_then(|files| files.ram_disk(&record))
            .map_err(std::io::Error::other)
    }
}
