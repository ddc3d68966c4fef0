//! The system as a whole: names, memory, random bytes.

use alloc::vec;

use maize_abi::Errno;
use maize_hal::{Arch, Nanos};

use super::{Call, CallResult};

/// What `uname -s -r -v` print. The release is that of the Linux whose system calls are served.
pub(crate) const UTS: [&str; 3] = ["Linux", "6.1.0-maize", "#1 SMP Maize"];

/// Bytes of each field of a `struct utsname`.
const UTS_FIELD: usize = 65;

pub(super) async fn uname<A: Arch>(call: Call<'_, A>) -> CallResult {
    let node = call.k.with(|s| s.hostname.clone());
    let fields: [&[u8]; 6] = [
        UTS[0].as_bytes(),
        &node,
        UTS[1].as_bytes(),
        UTS[2].as_bytes(),
        call.isa.name().as_bytes(),
        b"(none)",
    ];
    let mut bytes = [[0; UTS_FIELD]; 6];
    for (field, text) in bytes.iter_mut().zip(fields) {
        field[..text.len()].copy_from_slice(text);
    }
    call.k.write_user(call.current, call.args[0], bytes.as_flattened()).await?;
    Ok(0)
}

pub(super) async fn sethostname<A: Arch>(call: Call<'_, A>) -> CallResult {
    let len = call.args[1] as usize;
    if len >= UTS_FIELD {
        return Err(Errno::EINVAL);
    }
    let mut name = vec![0; len];
    call.k.read_user(call.current, call.args[0], &mut name).await?;
    call.k.with(|s| s.hostname = name);
    Ok(0)
}

pub(super) async fn sysinfo<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (uptime, total, free, procs) = call.k.with(|s| {
        let (total, free) = s.memory_bytes();
        (s.now().0 / Nanos::SECOND.0, total, free, s.threads.len())
    });
    let mut bytes = [0; 112];
    let mut put = |at: usize, b: &[u8]| bytes[at..at + b.len()].copy_from_slice(b);
    put(0, &uptime.to_le_bytes());
    put(32, &total.to_le_bytes());
    put(40, &free.to_le_bytes());
    put(80, &(procs as u16).to_le_bytes());
    put(104, &1_u32.to_le_bytes());
    call.k.write_user(call.current, call.args[0], &bytes).await?;
    Ok(0)
}

/// Bytes produced between two looks at signals.
const RANDOM_CHUNK: usize = 256;

pub(super) async fn getrandom<A: Arch>(call: Call<'_, A>) -> CallResult {
    const GRND_ALL: u32 = 7;
    let [at, len, ..] = call.args;
    if call.uint(2) & !GRND_ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let len = len.min(i32::MAX as u64);
    let mut done = 0;
    while done < len {
        let mut chunk = [0; RANDOM_CHUNK];
        let n = (len - done).min(RANDOM_CHUNK as u64) as usize;
        call.k.with(|s| s.arch.entropy(&mut chunk[..n]));
        match call.k.write_user(call.current, at.wrapping_add(done), &chunk[..n]).await {
            Ok(()) => done += n as u64,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
        if done.is_multiple_of(64 * RANDOM_CHUNK as u64) {
            call.k.yield_now(call.current.task).await;
            if call.k.with(|s| s.has_signal(call.current.tid)) {
                break;
            }
        }
    }
    Ok(done)
}

/// `syslog`. What kernels say goes to the log of whoever started them; the log that programs can read is
/// empty.
pub(super) async fn syslog<A: Arch>(call: Call<'_, A>) -> CallResult {
    const READ: i32 = 2;
    const READ_ALL: i32 = 3;
    const READ_CLEAR: i32 = 4;
    const CONSOLE_LEVEL: i32 = 8;
    const SIZE_BUFFER: i32 = 10;
    let [_, buffer, ..] = call.args;
    match call.int(0) {
        READ..=READ_CLEAR if buffer == 0 || call.int(2) < 0 => Err(Errno::EINVAL),
        READ if call.int(2) > 0 => {
            // Nothing will ever come.
            call.k.wait_event(call.current.task, &[]).await.map(|()| 0)
        }
        READ | READ_ALL | READ_CLEAR => Ok(0),
        CONSOLE_LEVEL if !(1..=8).contains(&call.int(2)) => Err(Errno::EINVAL),
        0..=SIZE_BUFFER => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// `personality`. Programs run in the ordinary one; of its flags, addresses that are not random hold
/// already, and the others are refused.
pub(super) fn personality<A: Arch>(call: Call<'_, A>) -> CallResult {
    const ASK: u32 = u32::MAX;
    const ADDR_NO_RANDOMIZE: u32 = 0x004_0000;
    match call.uint(0) {
        ASK | 0 | ADDR_NO_RANDOMIZE => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
