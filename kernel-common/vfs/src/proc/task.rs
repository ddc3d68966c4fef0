//! Files of `/proc` about one process or thread.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use maize_abi::Errno;
use maize_abi::file::{device_number, device_parts};

use super::node::{Scope, TaskFile};
use super::system::ticks;
use super::{Area, ProcSource, Task, usage};
use crate::Vfs;
use crate::descriptor::FdTable;
use crate::mount;
use crate::process::Fate;

/// Bytes of a page.
pub(super) const PAGE: u64 = 4096;

pub(super) fn text(
    vfs: &Vfs,
    scope: Scope,
    file: TaskFile,
    source: &dyn ProcSource,
) -> Result<Vec<u8>, Errno> {
    let task = source.task(scope.pid, scope.thread()).ok_or(Errno::ESRCH)?;
    let text = match file {
        TaskFile::Auxv => return Ok(source.auxiliary_vector(scope.pid)),
        TaskFile::Cmdline => return Ok(source.arguments(scope.pid)),
        TaskFile::Environ => return Ok(source.environment(scope.pid)),
        TaskFile::Comm => return Ok([&task.name[..], b"\n"].concat()),
        TaskFile::SmapsRollup => return Ok(usage::together(source, scope.pid)),
        TaskFile::Stat => return Ok(stat(vfs, scope, &task)),
        TaskFile::Status => return Ok(status(scope, &task, source)),
        TaskFile::Limits => limits(&source.limits(scope.pid)),
        TaskFile::Mountinfo => mount::table(&vfs.mounts),
        TaskFile::Mounts => mount::list(&vfs.mounts),
        // There is one group of all processes, and none is ended for want of memory before others.
        TaskFile::Cgroup => "0::/\n".into(),
        TaskFile::OomScore | TaskFile::OomScoreAdj => "0\n".into(),
        TaskFile::Statm => {
            let m = task.memory;
            let data = m.data + m.stack;
            format!("{} {} {} {} 0 {data} 0\n", m.total, m.resident, m.shared, m.text)
        }
        TaskFile::Wchan => task.waits_in.unwrap_or("0").into(),
        // Lists are made in pieces.
        TaskFile::Maps | TaskFile::Smaps => String::new(),
        TaskFile::Directory
        | TaskFile::Cwd
        | TaskFile::Exe
        | TaskFile::Fd
        | TaskFile::Fdinfo
        | TaskFile::Root
        | TaskFile::Threads => String::new(),
    };
    Ok(text.into_bytes())
}

/// The number of the terminal that controls a task's session, and the group in its foreground.
fn terminal(vfs: &Vfs, task: &Task) -> Option<(u64, u32)> {
    let id = vfs.terminals.controlling(task.session)?;
    let (major, minor) = vfs.terminals.device_of(id);
    Some((device_number(major, minor), vfs.foreground(task.session)?))
}

fn stat(vfs: &Vfs, scope: Scope, task: &Task) -> Vec<u8> {
    let mut line = format!("{} (", scope.thread()).into_bytes();
    line.extend_from_slice(&task.name);
    let terminal = terminal(vfs, task);
    let (minor, major) = task.faults;
    let m = task.memory;
    let [_, pending, blocked, ignored, handled] = task.signals.map(|set| set.0 & 0x7fff_ffff);
    let rest = format!(
        ") {state} {parent} {group} {session} {tty} {foreground} 0 {minor} 0 {major} 0 \
         {utime} {stime} {cutime} {cstime} {priority} {nice} {threads} 0 {start} \
         {vsize} {rss} 18446744073709551615 {code_start} {code_end} {stack_start} 0 0 \
         {pending} {blocked} {ignored} {handled} {waits} 0 0 17 {cpu} 0 0 0 0 0 \
         0 0 0 0 0 0 0 0\n",
        state = task.state,
        parent = task.parent,
        group = task.group,
        session = task.session,
        tty = terminal.map_or(0, |(number, _)| number),
        foreground = terminal.map_or(-1, |(_, foreground)| i64::from(foreground)),
        utime = ticks(task.times.0),
        stime = ticks(task.times.1),
        cutime = ticks(task.child_times.0),
        cstime = ticks(task.child_times.1),
        priority = 20 + task.nice,
        nice = task.nice,
        threads = task.threads,
        start = ticks(task.started),
        vsize = m.total * PAGE,
        rss = m.resident,
        code_start = m.code.0,
        code_end = m.code.1,
        stack_start = m.stack_start,
        waits = u32::from(task.waits_in.is_some()),
        cpu = task.cpu,
    );
    line.extend_from_slice(rest.as_bytes());
    line
}

const fn state_name(state: char) -> &'static str {
    match state {
        'R' => "running",
        'S' => "sleeping",
        'D' => "disk sleep",
        'T' => "stopped",
        't' => "tracing stop",
        'Z' => "zombie",
        'X' => "dead",
        _ => "unknown",
    }
}

fn status(scope: Scope, task: &Task, source: &dyn ProcSource) -> Vec<u8> {
    let mut name = b"Name:\t".to_vec();
    for byte in &task.name {
        match byte {
            b'\n' => name.extend_from_slice(b"\\n"),
            b'\\' => name.extend_from_slice(b"\\\\"),
            _ => name.push(*byte),
        }
    }
    let umask = source.view(scope.pid).map_or(0, |view| view.umask);
    let descriptors = source.descriptors(scope.pid).map_or(0, FdTable::len);
    let ids = |ids: [u32; 4]| format!("{}\t{}\t{}\t{}", ids[0], ids[1], ids[2], ids[3]);
    let groups: String = task.groups.iter().map(|group| format!("{group} ")).collect();
    let mut text = format!(
        "\nUmask:\t{umask:04o}\nState:\t{} ({})\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\n\
         TracerPid:\t0\nUid:\t{}\nGid:\t{}\nFDSize:\t{}\nGroups:\t{groups}\n",
        task.state,
        state_name(task.state),
        scope.pid,
        scope.thread(),
        task.parent,
        ids(task.uids),
        ids(task.gids),
        descriptors.next_multiple_of(64).max(64),
    );
    // As on Linux, what has no memory any more shows none.
    if task.memory.total > 0 {
        memory(&mut text, task);
    }
    let [own, shared, blocked, ignored, handled] = task.signals.map(|set| set.0);
    let [effective, permitted, inheritable, bounding, ambient] = task.capabilities.map(|set| set.0);
    let (list, cores) = &task.affinity;
    let mask = if *cores >= 64 { u64::MAX } else { (1 << cores) - 1 };
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "Threads:\t{}\nSigQ:\t0/65536\nSigPnd:\t{own:016x}\nShdPnd:\t{shared:016x}\n\
         SigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{handled:016x}\n\
         CapInh:\t{inheritable:016x}\nCapPrm:\t{permitted:016x}\nCapEff:\t{effective:016x}\n\
         CapBnd:\t{bounding:016x}\nCapAmb:\t{ambient:016x}\nNoNewPrivs:\t0\nSeccomp:\t0\n\
         Cpus_allowed:\t{mask:x}\nCpus_allowed_list:\t{list}\n\
         voluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
        task.threads, task.switches.0, task.switches.1,
    );
    name.extend_from_slice(text.as_bytes());
    name
}

fn memory(text: &mut String, task: &Task) {
    let m = task.memory;
    for (name, pages) in [
        ("VmPeak", m.peak.max(m.total)),
        ("VmSize", m.total),
        ("VmLck", 0),
        ("VmPin", 0),
        ("VmHWM", m.resident),
        ("VmRSS", m.resident),
        ("RssAnon", m.resident.saturating_sub(m.shared)),
        ("RssFile", m.shared),
        ("RssShmem", 0),
        ("VmData", m.data),
        ("VmStk", m.stack),
        ("VmExe", m.text),
        ("VmLib", 0),
        ("VmPTE", 0),
        ("VmSwap", 0),
    ] {
        let _ = writeln!(text, "{name}:\t{:>8} kB", pages * 4);
    }
}

/// A line of `maps`: the name starts in column 73.
pub(super) fn area(area: &Area) -> Vec<u8> {
    let [read, write, execute] = area.access;
    let flag = |on: bool, letter: char| if on { letter } else { '-' };
    let (major, minor) = device_parts(area.identity.0);
    let mut line = format!(
        "{:08x}-{:08x} {}{}{}{} {:08x} {major:02x}:{minor:02x} {} ",
        area.start,
        area.end,
        flag(read, 'r'),
        flag(write, 'w'),
        flag(execute, 'x'),
        if area.shared { 's' } else { 'p' },
        area.offset,
        area.identity.1,
    )
    .into_bytes();
    if !area.name.is_empty() {
        line.resize(line.len().max(73), b' ');
        for byte in &area.name {
            match byte {
                b'\n' => line.extend_from_slice(b"\\012"),
                _ => line.push(*byte),
            }
        }
    }
    line.push(b'\n');
    line
}

const LIMITS: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

fn limits(limits: &[(u64, u64); 16]) -> String {
    let mut text =
        format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    let show = |limit: u64| {
        if limit == u64::MAX { String::from("unlimited") } else { format!("{limit}") }
    };
    for ((name, unit), (soft, hard)) in LIMITS.into_iter().zip(limits) {
        let _ = writeln!(text, "{name:<25} {:<20} {:<20} {unit:<10}", show(*soft), show(*hard));
    }
    text
}

/// `/proc/PID/fdinfo/N`.
pub(super) fn descriptor_info(
    vfs: &Vfs,
    scope: Scope,
    fd: i32,
    source: &dyn ProcSource,
) -> Result<Vec<u8>, Errno> {
    let table = source.descriptors(scope.pid).ok_or(Errno::ESRCH)?;
    let descriptor = table.get(fd).map_err(|_| Errno::ENOENT)?;
    let file = vfs.file(descriptor.file)?;
    let close_on_exec = if descriptor.close_on_exec { maize_abi::file::o::O_CLOEXEC } else { 0 };
    let flags = vfs.status(descriptor.file)? | close_on_exec;
    let (_, ino) = vfs.identity(descriptor.file)?;
    let position = file.position;
    let mut text = format!("pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t1\nino:\t{ino}\n");
    if let Ok((pid, fate)) = vfs.process_of(descriptor.file) {
        let pid = if fate == Fate::Gone { -1 } else { i64::from(pid) };
        // Writing to a String cannot fail.
        let _ = write!(text, "Pid:\t{pid}\nNSpid:\t{pid}\n");
    }
    Ok(text.into_bytes())
}
