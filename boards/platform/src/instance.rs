//! The life of an instance after its board has found the machine out.

use alloc::boxed::Box;
use alloc::vec::Vec;

use maize_core::{Config, Kernel, ProgramSpec};
use maize_hal::{Arch, FrameRange};
use maize_hostlink::BootRecord;
use maize_hostlink::boot::{Action, BOOT_RECORD_PATH, Console};

use crate::siblings::{LocalWindow, Siblings};
use crate::{ByteStream, End, HostLink, heap};

/// A machine, ready to run an instance.
#[derive(Debug)]
pub struct Machine<A, S> {
    /// The processor.
    pub arch: A,
    /// Frames that nothing uses yet.
    pub free: Vec<FrameRange>,
    /// Bytes of RAM that the instance has in all.
    pub ram: u64,
    /// The initial RAM disk, in place.
    pub initrd: &'static [u8],
    /// What the launcher asks for.
    pub record: BootRecord,
    /// The host link.
    pub link: HostLink<S>,
    /// The window of this machine's instances; `None` where the instance is alone in its machine.
    pub local: Option<LocalWindow>,
    /// The machine's other instances, if this is its first.
    pub siblings: Option<Siblings>,
}

/// Runs an instance to its end.
pub fn run_instance<A: Arch, S: ByteStream + 'static>(machine: Machine<A, S>) -> ! {
    let Machine { arch, free, ram, initrd, record, link, local: _local, siblings: _siblings } =
        machine;
    log::info!("instance {}: {} MiB of memory", record.instance, ram >> 20);
    let config = Config {
        cpu: u32::from(record.instance),
        cpus: record.instances.len().max(1) as u32,
        hostname: b"maize".to_vec(),
        stats: record.stats,
        hidden: alloc::vec![BOOT_RECORD_PATH.into()],
        heap: Some(Box::new(heap::Growing)),
    };
    let kernel = Kernel::new(arch, Box::new(link), &free, &[], Box::new(initrd), config);
    let mut kernel = match kernel {
        Ok(kernel) => kernel,
        Err(error) => {
            log::error!("{error}");
            crate::end(End::Failed)
        }
    };
    if let Action::Run(program) = record.action {
        let terminal = match record.console {
            Console::Streams => None,
            Console::Terminal(size) => Some((size.rows, size.columns)),
        };
        let spec = ProgramSpec {
            path: program.path,
            argv: program.argv,
            envp: program.env,
            cwd: program.cwd,
            terminal,
        };
        if let Err(error) = kernel.spawn(spec) {
            log::error!("{error}");
            crate::end(End::Failed)
        }
    }
    let status = kernel.run();
    log::info!("the program has ended with status {status:#x}");
    crate::end(End::Done)
}
