//! System calls of the neutral target, as the instruction set's Linux takes them.
//!
//! A program uses the numbers, flags and structures of `asm-generic`, which are aarch64's. On x86_64
//! the number is translated, and so are the few arguments whose form differs.

use maize_abi::Sysno;

#[allow(clippy::panic, reason = "evaluated when this crate is built")]
const fn number(call: Sysno) -> u16 {
    match call.aarch64() {
        Some(number) => number,
        None => panic!("this call has no generic number"),
    }
}

macro_rules! waiting {
    ($($call:ident)*) => { [$(number(Sysno::$call)),*] };
}

/// Generic numbers of calls that are treated apart, or that the runtime itself makes.
macro_rules! numbers {
    ($($name:ident $call:ident;)*) => {$(
        #[allow(missing_docs, reason = "the names are Linux's own")]
        pub const $name: u16 = number(Sysno::$call);
    )*};
}

numbers! {
    MMAP Mmap; MREMAP Mremap; WRITE Write; READ Read; EXIT_GROUP ExitGroup; OPENAT Openat; PIPE2 Pipe2;
    FCNTL Fcntl; FSTAT Fstat; NEWFSTATAT Newfstatat; EPOLL_CTL EpollCtl;
    EPOLL_PWAIT EpollPwait; CLOSE Close; BRK Brk; GETTID Gettid; CLONE Clone; EXIT Exit; MUNMAP Munmap;
    RT_SIGPROCMASK RtSigprocmask; RT_SIGACTION RtSigaction; SIGALTSTACK Sigaltstack;
    RT_SIGQUEUEINFO RtSigqueueinfo; RT_TGSIGQUEUEINFO RtTgsigqueueinfo; GETPID Getpid; FUTEX Futex; NANOSLEEP Nanosleep;
}

/// A `struct epoll_event` as x86_64 has it: without a gap before its data.
#[must_use]
pub const fn pack_event([events, _, low, high]: [u32; 4]) -> [u32; 3] {
    [events, low, high]
}

/// A `struct epoll_event` as all others have it.
#[must_use]
pub const fn unpack_event([events, low, high]: [u32; 3]) -> [u32; 4] {
    [events, 0, low, high]
}

/// Calls that may wait until something happens outside of the thread.
pub const WAITING: [u16; 38] = waiting![
    Read Write Readv Writev Pread64 Pwrite64 Preadv Pwritev Connect Accept Accept4 Recvfrom Sendto
    Recvmsg Sendmsg Recvmmsg Sendmmsg Futex Nanosleep ClockNanosleep Ppoll Pselect6 EpollPwait
    EpollPwait2 Wait4 Waitid RtSigsuspend RtSigtimedwait Fcntl Flock Msgrcv Msgsnd Semop Semtimedop
    Sendfile Splice Tee CopyFileRange
];

/// Those of them that end with `EINTR` after a handler, whatever it was installed with: signal(7).
pub const NEVER_RESTARTED: [u16; 12] = waiting![
    Nanosleep ClockNanosleep Ppoll Pselect6 EpollPwait EpollPwait2 RtSigsuspend RtSigtimedwait
    Msgrcv Msgsnd Semop Semtimedop
];

const TABLE: [u16; 512] = {
    let mut table = [u16::MAX; 512];
    let mut index = 0;
    while index < Sysno::ALL.len() {
        if let (Some(generic), Some(native)) =
            (Sysno::ALL[index].aarch64(), Sysno::ALL[index].x86_64())
        {
            table[generic as usize] = native;
        }
        index += 1;
    }
    table
};

/// x86_64's number of a call.
#[must_use]
pub fn to_x86_64(number: u64) -> Option<u64> {
    let native = *TABLE.get(usize::try_from(number).ok()?)?;
    (native != u16::MAX).then_some(u64::from(native))
}

/// `open` flags whose values differ: generic, then x86_64's.
const OPEN_FLAGS: [(u64, u64); 4] =
    [(0o40000, 0o200000), (0o100000, 0o400000), (0o200000, 0o40000), (0o400000, 0o100000)];

/// `open` flags as x86_64 has them.
#[must_use]
pub fn open_flags_to_x86_64(flags: u64) -> u64 {
    translate(flags, OPEN_FLAGS)
}

/// `open` flags of x86_64 as the neutral target has them.
#[must_use]
pub fn open_flags_from_x86_64(flags: u64) -> u64 {
    translate(flags, OPEN_FLAGS.map(|(generic, native)| (native, generic)))
}

fn translate(flags: u64, pairs: [(u64, u64); 4]) -> u64 {
    let all: u64 = pairs.iter().map(|(from, _)| from).sum();
    let translated: u64 =
        pairs.iter().filter(|(from, _)| flags & from != 0).map(|(_, to)| to).sum();
    flags & !all | translated
}

/// Makes `asm-generic`'s `struct stat` of x86_64's, in 64-bit words.
#[must_use]
pub fn stat_from_x86_64(native: [u64; 18]) -> [u64; 16] {
    let [dev, ino, nlink, mode_uid, gid, rdev, size, blksize, blocks, times @ ..] = native;
    let (mode, uid) = (mode_uid & 0xffff_ffff, mode_uid >> 32);
    let mut generic = [0; 16];
    generic[0] = dev;
    generic[1] = ino;
    generic[2] = mode | nlink << 32;
    generic[3] = uid | (gid & 0xffff_ffff) << 32;
    generic[4] = rdev;
    generic[6] = size;
    generic[7] = blksize & 0xffff_ffff;
    generic[8] = blocks;
    generic[9..15].copy_from_slice(&times[..6]);
    generic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_keep_their_bits_and_data() {
        let event = [0x8000_0001, 0xdead, 0x1122_3344, 0x5566_7788];
        assert_eq!(pack_event(event), [0x8000_0001, 0x1122_3344, 0x5566_7788]);
        assert_eq!(unpack_event(pack_event(event)), [0x8000_0001, 0, 0x1122_3344, 0x5566_7788]);
    }

    #[test]
    fn numbers_and_flags_are_linux_s() {
        // write, exit_group, mmap: asm-generic and x86_64.
        assert_eq!([64, 94, 222].map(to_x86_64), [Some(1), Some(231), Some(9)]);
        assert_eq!((to_x86_64(511), to_x86_64(u64::MAX)), (None, None));
        let (create, directory, close) = (0o100, 0o40000, 0o2000000);
        let native = create | 0o200000 | close;
        assert_eq!(open_flags_to_x86_64(create | directory | close), native);
        for flags in 0..=0o7777777_u64 {
            assert_eq!(open_flags_from_x86_64(open_flags_to_x86_64(flags)), flags);
        }
    }

    #[test]
    fn a_stat_keeps_its_fields() {
        let native = core::array::from_fn(|i| 100 + i as u64);
        let generic = stat_from_x86_64(native);
        assert_eq!(generic[..3], [100, 101, 103 | 102 << 32]);
        assert_eq!((generic[6], generic[7], generic[9], generic[14]), (106, 107, 109, 114));
    }
}
