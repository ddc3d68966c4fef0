//! Commands, and the processor time that they took.

use std::fs::File;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// Processor time of it and of every process it waited for.
    pub(super) cpu: Duration,
}

/// Runs a command that reads nothing and writes to a log.
pub(super) fn run(command: &mut Command, log: &File) -> io::Result<Ended> {
    let streams = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    wait(streams.spawn()?)
}

/// Runs a command that reads nothing, and gives what it prints; its errors go to a log.
pub(super) fn capture(command: &mut Command, log: &File) -> io::Result<(Ended, Vec<u8>)> {
    let streams = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone()?);
    let mut child = streams.spawn()?;
    let mut output = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut output)?;
    }
    Ok((wait(child)?, output))
}

/// Waits for the end of a child and reads its times before it is forgotten.
fn wait(mut child: Child) -> io::Result<Ended> {
    let pid = Pid::from_child(&child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    Ok(Ended { status: child.wait()?, cpu: time_in(&stat).unwrap_or_default() })
}

/// The processor time in `/proc/PID/stat`, with that of the children that were waited for.
fn time_in(stat: &str) -> Option<Duration> {
    // The name is in parentheses and may hold anything; the fields after it are numbers.
    let (_, fields) = stat.rsplit_once(')')?;
    // utime, stime, cutime and cstime are fields 14 to 17; the one after the name is the third.
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    let [user, system, child_user, child_system] = ticks[..] else { return None };
    let ticks = user + system + child_user + child_system;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_whatever_the_name() {
        let stat = "7 (a) b 1 2) Z 1 7 7 0 -1 4228 1 2 3 4 250 30 20 100 20 0 1 0 99 0 0";
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(time_in(stat), Some(Duration::from_secs_f64(400.0 / ticks)));
        assert_eq!(time_in("7 (a) Z 1 7"), None);
        assert_eq!(time_in(""), None);
    }

    #[test]
    fn a_child_that_computes_is_charged() {
        let script = "(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done); exit 3";
        let log = tempfile::tempfile().unwrap();
        let ended = run(Command::new("sh").args(["-c", script]), &log).unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert!(ended.cpu > Duration::ZERO);
    }

    #[test]
    fn output_is_captured() {
        let log = tempfile::tempfile().unwrap();
        let (ended, output) = capture(Command::new("echo").arg("x"), &log).unwrap();
        assert!(ended.status.success() && output == b"x\n");
    }
}
