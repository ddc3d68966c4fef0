//! `/proc/sysvipc`: the objects of System V.

use alloc::format;
use alloc::string::String;

use maize_abi::ipc::Permissions;

use super::ProcSource;

/// The columns of every object: its key, its number, who may use it.
fn start(id: i32, permissions: &Permissions) -> String {
    format!("{:>10} {id:>10}  {:>4o}", permissions.key, permissions.mode)
}

/// The columns of every object: whose it is, and who made it.
fn owners(permissions: &Permissions) -> String {
    let Permissions { owner, creator, .. } = permissions;
    format!("{:>5} {:>5} {:>5} {:>5}", owner.0, owner.1, creator.0, creator.1)
}

/// Columns of times, in seconds since the epoch.
fn times(times: &[i64]) -> String {
    times.iter().map(|time| format!(" {time:>10}")).collect()
}

pub(super) fn segments(source: &dyn ProcSource) -> String {
    let mut text = String::from(
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n",
    );
    for (id, facts, resident) in source.segments() {
        let (start, owners) = (start(id, &facts.permissions), owners(&facts.permissions));
        let ([creator, user], times) = (facts.pids, times(&facts.times));
        let (len, attached) = (facts.len, facts.attached);
        text += &format!("{start} {len:>21} {creator:>5} {user:>5}  {attached:>5} {owners}{times}");
        text += &format!(" {resident:>21} {:>21}\n", 0);
    }
    text
}

pub(super) fn message_queues(source: &dyn ProcSource) -> String {
    let mut text = String::from(
        "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n",
    );
    for (id, facts) in source.message_queues() {
        let (start, owners) = (start(id, &facts.permissions), owners(&facts.permissions));
        let ([sender, receiver], times) = (facts.pids, times(&facts.times));
        let (bytes, count) = (facts.bytes, facts.count);
        text += &format!("{start}  {bytes:>10} {count:>10} {sender:>5} {receiver:>5} {owners}");
        text += &format!("{times}\n");
    }
    text
}

pub(super) fn semaphores(source: &dyn ProcSource) -> String {
    let mut text = String::from(
        "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n",
    );
    for (id, facts) in source.semaphores() {
        let (start, owners) = (start(id, &facts.permissions), owners(&facts.permissions));
        text += &format!("{start} {:>10} {owners}{}\n", facts.count, times(&facts.times));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn columns_are_as_wide_as_linuxs() {
        let world = World::default();
        let lines = [segments, message_queues, semaphores].map(|text| text(&world));
        let last = lines.each_ref().map(|text| text.lines().last());
        let segment = "        -2          1  1600                  5000     2     3      0     0     0     0     0          0          0          0                  4096                     0";
        let queue = "         7      32768   600           9          2     0     0     1     2     0     0          3          4          5";
        let set =
            "         0          0     0          3     0     0     0     0          1          2";
        assert_eq!(last, [segment, queue, set].map(Some));
        let widths = lines.each_ref().map(|text| text.lines().next().map(str::len));
        assert_eq!(widths, [segment, queue, set].map(|line| Some(line.len())));
    }
}
