//! A machine as data, and the QEMU command that is it.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use maize_hostlink::boot::Isa;

use crate::memory_size::MemorySize;

/// One QEMU process.
///
/// Streams are file descriptors that the process inherits, so that nothing is left behind in the
/// file system and nobody else can connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Instruction set.
    pub isa: Isa,
    /// Instances it hosts, one virtual processor each.
    pub instances: u16,
    /// Its RAM.
    pub memory: MemorySize,
    /// Kernel as QEMU loads it: an ELF file with a PVH note (x86_64), an `Image` (aarch64).
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: PathBuf,
    /// Firmware in place of the machine's usual one.
    pub firmware: Option<PathBuf>,
    /// Stream socket of the host link.
    pub link: RawFd,
    /// Stream socket that gets the kernel's serial console.
    pub console: RawFd,
    /// Where it finds the window that it shares with other machines.
    pub window: Option<WindowPort>,
    /// Where a debugger connects.
    pub gdb: Option<GdbPort>,
    /// A plugin of the emulator, with its arguments.
    pub plugin: Option<OsString>,
}

/// The device that gives a machine the fabric's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowPort {
    /// Stream socket to the doorbell server, see [`crate::ivshmem`].
    pub server: RawFd,
    /// Interrupts of each machine: as many as the largest machine has instances.
    pub vectors: u16,
}

/// Most cores that the first version of the interrupt controller of `virt` serves; more need the
/// next, whose message-signalled interrupts go through an ITS.
const GICV2_CORES: u16 = 8;

/// The debugger's port of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GdbPort {
    /// UNIX socket.
    pub socket: PathBuf,
    /// Whether the machine waits for the debugger before its first instruction.
    pub start: GdbStart,
}

/// When a machine with a debugger's port starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GdbStart {
    /// Once a debugger says so.
    Wait,
    /// At once.
    Run,
}

/// The name of the QEMU program for an instruction set.
#[must_use]
pub const fn emulator(isa: Isa) -> &'static str {
    match isa {
        Isa::X86_64 => "qemu-system-x86_64",
        Isa::Aarch64 => "qemu-system-aarch64",
    }
}

impl Machine {
    /// The arguments of [`emulator`].
    ///
    /// `maxcpus` is at least 2: with a single processor TCG drops fences and makes read-modify-writes
    /// non-atomic, which is seen by other machines that share memory with this one.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut args = Arguments::default();
        args.flag("-nodefaults").flag("-no-user-config").flag("-no-reboot");
        args.option("-display", "none");
        args.option(
            "-M",
            match self.isa {
                Isa::X86_64 => "q35",
                Isa::Aarch64 if self.instances <= GICV2_CORES => "virt,gic-version=2",
                Isa::Aarch64 => "virt,gic-version=3",
            },
        );
        args.option("-cpu", "max").option("-accel", "tcg,thread=multi");
        args.option("-smp", format!("{},maxcpus={}", self.instances, self.instances.max(2)));
        args.option("-m", format!("{}M", self.memory.mib()));
        if let Some(firmware) = &self.firmware {
            args.option("-bios", firmware);
        }
        args.option("-kernel", &self.kernel).option("-initrd", &self.initrd);
        args.option("-chardev", format!("socket,id=link,fd={}", self.link));
        // A serial port and not port 0, the console: from a console QEMU drops what the launcher has
        // no room for.
        args.option("-device", "virtio-serial-pci,max_ports=2,disable-legacy=on");
        args.option("-device", "virtserialport,nr=1,chardev=link");
        args.option("-chardev", format!("socket,id=console,fd={}", self.console));
        args.option("-serial", "chardev:console");
        match self.isa {
            Isa::X86_64 => args.option("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"),
            Isa::Aarch64 => args.option("-semihosting-config", "enable=on,target=native"),
        };
        if let Some(port) = &self.window {
            args.option("-chardev", format!("socket,id=window,fd={}", port.server));
            let vectors = port.vectors;
            args.option("-device", format!("ivshmem-doorbell,chardev=window,vectors={vectors}"));
        }
        if let Some(port) = &self.gdb {
            let socket = escape_commas(&port.socket);
            args.option("-gdb", concat(["unix:".into(), socket, ",server=on,wait=off".into()]));
            if port.start == GdbStart::Wait {
                args.flag("-S");
            }
        }
        if let Some(plugin) = &self.plugin {
            args.option("-plugin", plugin);
        }
        args.0
    }

    /// The whole command as a shell would take it, with a comment on the inherited descriptors.
    #[must_use]
    pub fn command_line(&self) -> String {
        let words = std::iter::once(OsString::from(emulator(self.isa))).chain(self.arguments());
        let words: Vec<String> = words.map(|word| quote(&word.to_string_lossy())).collect();
        let window =
            self.window.map_or_else(String::new, |port| format!(", fd {}: window", port.server));
        let (link, console) = (self.link, self.console);
        format!("{}  # fd {link}: host link, fd {console}: console{window}", words.join(" "))
    }
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.0.push(name.into());
        self.0.push(value.into());
        self
    }
}

fn concat<const N: usize>(parts: [OsString; N]) -> OsString {
    parts.into_iter().collect()
}

/// A path inside a QEMU option that is a comma-separated list.
pub(crate) fn escape_commas(path: &Path) -> OsString {
    let text = path.to_string_lossy();
    if text.contains(',') { text.replace(',', ",,").into() } else { path.into() }
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(isa: Isa) -> Machine {
        Machine {
            isa,
            instances: 1,
            memory: MemorySize::DEFAULT,
            kernel: "k/kernel".into(),
            initrd: "i/initrd".into(),
            firmware: None,
            link: 7,
            console: 9,
            window: None,
            gdb: None,
            plugin: None,
        }
    }

    fn line(machine: &Machine) -> String {
        machine.command_line()
    }

    #[test]
    fn one_instance_on_q35() {
        assert_eq!(
            line(&machine(Isa::X86_64)),
            "qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -M q35 \
             -cpu max -accel tcg,thread=multi -smp 1,maxcpus=2 -m 512M -kernel k/kernel \
             -initrd i/initrd -chardev socket,id=link,fd=7 \
             -device virtio-serial-pci,max_ports=2,disable-legacy=on \
             -device virtserialport,nr=1,chardev=link -chardev socket,id=console,fd=9 \
             -serial chardev:console -device isa-debug-exit,iobase=0xf4,iosize=0x04  \
             # fd 7: host link, fd 9: console"
        );
    }

    #[test]
    fn one_instance_on_virt() {
        let line = line(&machine(Isa::Aarch64));
        assert!(line.starts_with("qemu-system-aarch64 "));
        assert!(line.contains(" -M virt,gic-version=2 "));
        assert!(line.contains(" -semihosting-config enable=on,target=native "));
        assert!(!line.contains("isa-debug-exit"));
    }

    #[test]
    fn atomics_are_exact_whatever_the_number_of_instances() {
        for (instances, smp) in [(1, "1,maxcpus=2"), (2, "2,maxcpus=2"), (5, "5,maxcpus=5")] {
            for isa in Isa::ALL {
                let line = line(&Machine { instances, ..machine(isa) });
                assert!(line.contains(&format!(" -accel tcg,thread=multi -smp {smp} ")), "{line}");
            }
        }
    }

    #[test]
    fn a_window_is_a_device_with_a_doorbell() {
        let window = Some(WindowPort { server: 11, vectors: 4 });
        for isa in Isa::ALL {
            let line = line(&Machine { window, ..machine(isa) });
            let device = " -chardev socket,id=window,fd=11 \
                          -device ivshmem-doorbell,chardev=window,vectors=4  #";
            assert!(line.contains(device) && line.ends_with(", fd 11: window"), "{line}");
        }
    }

    #[test]
    fn many_cores_get_the_later_interrupt_controller() {
        for (instances, version) in [(8, 2), (9, 3), (16, 3)] {
            let line = line(&Machine { instances, ..machine(Isa::Aarch64) });
            assert!(line.contains(&format!(" -M virt,gic-version={version} ")), "{line}");
        }
    }

    #[test]
    fn a_debugger_may_be_waited_for() {
        let gdb = |start| Some(GdbPort { socket: "/tmp/a,b/g".into(), start });
        let wait = line(&Machine { gdb: gdb(GdbStart::Wait), ..machine(Isa::X86_64) });
        assert!(wait.contains(" -gdb unix:/tmp/a,,b/g,server=on,wait=off -S "), "{wait}");
        let run = line(&Machine { gdb: gdb(GdbStart::Run), ..machine(Isa::X86_64) });
        assert!(run.contains(",wait=off  #") && !run.contains(" -S"), "{run}");
    }

    #[test]
    fn odd_paths_are_quoted() {
        let odd = Machine { kernel: "it's here".into(), ..machine(Isa::X86_64) };
        assert!(line(&odd).contains(r" -kernel 'it'\''s here' "));
    }
}
