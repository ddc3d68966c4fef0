//! Files of `/proc` about the whole system.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Write;

use maize_hal::Nanos;

use super::node::Fixed;
use super::{ProcSource, System, system_v};
use crate::Vfs;
use crate::caller::Caller;
use crate::descriptor::NR_OPEN;
use crate::mount;
use crate::pipe::PIPE_CAPACITY_MAX;

/// Times are shown in hundredths of a second (`USER_HZ`).
pub(super) const TICK: u64 = 10_000_000;

pub(super) const fn ticks(time: Nanos) -> u64 {
    time.0 / TICK
}

fn seconds(time: Nanos) -> String {
    format!("{}.{:02}", ticks(time) / 100, ticks(time) % 100)
}

pub(super) fn text(vfs: &Vfs, file: Fixed, source: &dyn ProcSource, caller: &Caller<'_>) -> String {
    let system = source.system();
    match file {
        Fixed::Cmdline => system.command_line + "\n",
        Fixed::Cpuinfo => cpuinfo(source),
        Fixed::Devices => {
            "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\n\
             Block devices:\n"
                .into()
        }
        Fixed::Filesystems => "nodev\tproc\nnodev\ttmpfs\nnodev\tpipefs\nnodev\tdevpts\n".into(),
        Fixed::Loadavg => {
            let [one, five, fifteen] = system.load.map(|l| format!("{}.{:02}", l / 100, l % 100));
            let (ready, all) = system.threads;
            format!("{one} {five} {fifteen} {ready}/{all} {}\n", system.last_pid)
        }
        Fixed::Meminfo => meminfo(&system),
        Fixed::Stat => stat(&system),
        Fixed::Swaps => "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".into(),
        Fixed::Uptime => format!("{} {}\n", seconds(system.uptime.0), seconds(system.uptime.1)),
        Fixed::Version => {
            format!("Linux version {} (maize) {}\n", system.release, system.version)
        }
        Fixed::Vmstat => {
            let memory = system.memory;
            format!(
                "nr_free_pages {}\nnr_anon_pages {}\nnr_file_pages {}\nnr_page_table_pages {}\n",
                memory.free_pages, memory.anonymous_pages, memory.file_pages, memory.table_pages
            )
        }
        Fixed::FileMax => format!("{}\n", vfs.tree.limits.open_files),
        Fixed::FileNr => format!("{}\t0\t{}\n", vfs.files.len(), vfs.tree.limits.open_files),
        Fixed::NrOpen => format!("{NR_OPEN}\n"),
        Fixed::PipeMaxSize => format!("{PIPE_CAPACITY_MAX}\n"),
        Fixed::CapLastCap => "40\n".into(),
        Fixed::Domainname => "(none)\n".into(),
        Fixed::Hostname => system.host_name + "\n",
        Fixed::NgroupsMax => "65536\n".into(),
        Fixed::Osrelease => system.release + "\n",
        Fixed::Ostype => "Linux\n".into(),
        Fixed::PidMax | Fixed::ThreadsMax => "4194304\n".into(),
        Fixed::BootId => uuid(system.boot_id),
        // As Linux has had them since its generator never runs dry.
        Fixed::EntropyAvail | Fixed::PoolSize => "256\n".into(),
        Fixed::OverflowGid | Fixed::OverflowUid => "65534\n".into(),
        Fixed::KernelVersion => system.version + "\n",
        Fixed::MaxMapCount => "65530\n".into(),
        Fixed::MmapMinAddr => "65536\n".into(),
        Fixed::Overcommit => "1\n".into(),
        Fixed::Queues => system_v::message_queues(source),
        Fixed::Semaphores => system_v::semaphores(source),
        Fixed::Segments => system_v::segments(source),
        Fixed::Mounts => mount::list(&vfs.mounts),
        // Directories and links have no text.
        Fixed::SelfLink => caller.pid.to_string(),
        Fixed::Root
        // What reads it makes it: `is_random`.
        | Fixed::Uuid
        | Fixed::ThreadSelf
        | Fixed::Maize
        | Fixed::SystemV
        | Fixed::Sys
        | Fixed::SysFs
        | Fixed::SysKernel
        | Fixed::Random
        | Fixed::SysVm => String::new(),
    }
}

/// Random bytes as the text of a random UUID, which says by some of its bits that it is one.
pub(crate) fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail, here and below.
        let _ = write!(text, "{byte:02x}");
    }
    text + "\n"
}

fn cpuinfo(source: &dyn ProcSource) -> String {
    let mut text = String::new();
    for (number, lines) in source.cpus().into_iter().enumerate() {
        let _ = writeln!(text, "processor\t: {number}");
        for (name, value) in lines {
            // Names are padded with tabs to two tab stops.
            let tabs = if name.len() < 8 { "\t\t" } else { "\t" };
            let _ = writeln!(text, "{name}{tabs}: {value}");
        }
        text.push('\n');
    }
    text
}

fn meminfo(system: &System) -> String {
    let memory = system.memory;
    let kib = |pages: u64| pages * 4;
    let mut text = String::new();
    for (name, pages) in [
        ("MemTotal", memory.total_pages),
        ("MemFree", memory.free_pages),
        ("MemAvailable", memory.free_pages),
        ("Buffers", 0),
        ("Cached", memory.file_pages),
        ("SwapCached", 0),
        ("Active", memory.anonymous_pages + memory.file_pages),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", memory.anonymous_pages),
        ("Mapped", 0),
        ("Shmem", memory.file_pages),
        ("KReclaimable", 0),
        ("Slab", memory.heap_pages),
        ("SReclaimable", 0),
        ("SUnreclaim", memory.heap_pages),
        ("PageTables", memory.table_pages),
        ("CommitLimit", memory.total_pages),
        ("Committed_AS", memory.anonymous_pages),
    ] {
        let _ = writeln!(text, "{:<15}{:>9} kB", format!("{name}:"), kib(pages));
    }
    text
}

fn stat(system: &System) -> String {
    let mut text = String::new();
    let mut line = |name: &str, [user, kernel, idle]: [Nanos; 3]| {
        let (user, kernel, idle) = (ticks(user), ticks(kernel), ticks(idle));
        let _ = writeln!(text, "{name} {user} 0 {kernel} {idle} 0 0 0 0 0 0");
    };
    let sum = system.cpu_times.iter().fold([Nanos(0); 3], |sum, times| {
        [sum[0] + times[0], sum[1] + times[1], sum[2] + times[2]]
    });
    line("cpu ", sum);
    for (number, times) in system.cpu_times.iter().enumerate() {
        line(&format!("cpu{number}"), *times);
    }
    let _ = writeln!(text, "intr {}", system.interrupts);
    let _ = writeln!(text, "ctxt {}", system.switches);
    let _ = writeln!(text, "btime {}", system.booted.0 / Nanos::SECOND.0);
    let _ = writeln!(text, "processes {}", system.forks);
    let _ = writeln!(text, "procs_running {}", system.threads.0);
    let _ = writeln!(text, "procs_blocked 0");
    text
}
