//! Capabilities of the calling process.

use maize_abi::Errno;
use maize_abi::capability::CapabilitySet;
use maize_hal::Arch;

use super::{Call, CallResult};
use crate::capabilities::{Capabilities, secure};
use crate::ids::Tid;

/// `_LINUX_CAPABILITY_VERSION_*`, and how many 32-bit words of each set go with it.
const VERSIONS: [(u32, usize); 3] = [(0x1998_0330, 1), (0x2007_1026, 2), (0x2008_0522, 2)];

/// A header names a version and a thread.
const HEADER_LEN: usize = 8;
/// Effective, permitted and inheritable: a 32-bit word of each, and then the next.
const WORDS_LEN: usize = 12;

/// A header: the thread that it names, and how many words sets have. `None` is not known as a version,
/// instead of which the one that Linux prefers is written.
async fn header<A: Arch>(call: Call<'_, A>) -> Result<(i32, Option<usize>), Errno> {
    let mut bytes = [0; HEADER_LEN];
    call.k.read_user(call.current, call.args[0], &mut bytes).await?;
    let [a, b, c, d, e, f, g, h] = bytes;
    let (version, thread) = (u32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h]));
    let known = VERSIONS.into_iter().find(|known| known.0 == version);
    if known.is_none() {
        let [.., (preferred, _)] = VERSIONS;
        call.k.write_user(call.current, call.args[0], &preferred.to_le_bytes()).await?;
    }
    Ok((thread, known.map(|(_, words)| words)))
}

pub(super) async fn capget<A: Arch>(call: Call<'_, A>) -> CallResult {
    let data = call.args[1];
    let (thread, words) = header(call).await?;
    let Some(words) = words else {
        // Without room for an answer it was only asked which version is preferred.
        return if data == 0 { Ok(0) } else { Err(Errno::EINVAL) };
    };
    let tid = match thread {
        ..0 => return Err(Errno::EINVAL),
        0 => call.current.tid,
        thread => Tid(thread as u32),
    };
    let pid = call.k.process_of_thread(call.current, None, tid).await.map_err(Errno::from)?;
    if data == 0 {
        return Ok(0);
    }
    let [effective, permitted, inheritable, ..] =
        call.k.with(|s| s.credentials(pid)).capabilities.all();
    let mut out = [[0; WORDS_LEN]; 2];
    for (word, out) in out.iter_mut().enumerate() {
        let sets = [effective, permitted, inheritable];
        let sets = sets.map(|set| ((set.0 >> (32 * word)) as u32).to_le_bytes());
        out.copy_from_slice(sets.as_flattened());
    }
    call.k.write_user(call.current, data, out[..words].as_flattened()).await?;
    Ok(0)
}

pub(super) async fn capset<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (thread, words) = header(call).await?;
    let words = words.ok_or(Errno::EINVAL)?;
    if thread != 0 && thread as u32 != call.current.tid.0 {
        return Err(Errno::EPERM);
    }
    let mut bytes = [[0; WORDS_LEN]; 2];
    call.k.read_user(call.current, call.args[1], bytes[..words].as_flattened_mut()).await?;
    let mut wanted = [CapabilitySet::EMPTY; 3];
    for (word, bytes) in bytes.iter().enumerate() {
        for (set, bits) in wanted.iter_mut().zip(bytes.as_chunks::<4>().0) {
            set.0 |= u64::from(u32::from_le_bytes(*bits)) << (32 * word);
        }
    }
    let wanted = wanted.map(|set| set.and(CapabilitySet::ALL));
    change(call, |capabilities| capabilities.set(wanted)).map(|()| 0)
}

fn change<A: Arch, R>(
    call: Call<'_, A>,
    f: impl FnOnce(&mut Capabilities) -> Result<R, Errno>,
) -> Result<R, Errno> {
    call.k.with(|s| {
        let process = s.processes.get_mut(&call.current.pid).ok_or(Errno::ESRCH)?;
        f(&mut process.credentials.capabilities)
    })
}

const PR_GET_KEEPCAPS: i32 = 7;
const PR_SET_KEEPCAPS: i32 = 8;
const PR_CAPBSET_READ: i32 = 23;
const PR_CAPBSET_DROP: i32 = 24;
const PR_GET_SECUREBITS: i32 = 27;
const PR_SET_SECUREBITS: i32 = 28;
const PR_CAP_AMBIENT: i32 = 47;

/// Whether a `prctl` is about capabilities, which the registry has.
pub(crate) const fn is_about_capabilities(option: i32) -> bool {
    matches!(
        option,
        PR_GET_KEEPCAPS
            | PR_SET_KEEPCAPS
            | PR_CAPBSET_READ
            | PR_CAPBSET_DROP
            | PR_GET_SECUREBITS
            | PR_SET_SECUREBITS
            | PR_CAP_AMBIENT
    )
}

/// The calls of `prctl` that are about capabilities.
pub(super) fn prctl<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, argument, ..] = call.args;
    change(call, |capabilities| match call.int(0) {
        PR_GET_KEEPCAPS => Ok((capabilities.rules & secure::KEEP_CAPS != 0).into()),
        PR_SET_KEEPCAPS if argument > 1 => Err(Errno::EINVAL),
        PR_SET_KEEPCAPS => capabilities.set_keeping(argument == 1).map(|()| 0),
        PR_CAPBSET_READ => {
            let one = CapabilitySet::of_argument(argument).ok_or(Errno::EINVAL)?;
            Ok(one.is_within(capabilities.bounding).into())
        }
        PR_CAPBSET_DROP => capabilities.drop_bounding(argument).map(|()| 0),
        PR_GET_SECUREBITS => Ok(capabilities.rules.into()),
        PR_SET_SECUREBITS => capabilities.set_rules(argument).map(|()| 0),
        PR_CAP_AMBIENT => ambient(capabilities, call.args),
        _ => Err(Errno::EINVAL),
    })
}

fn ambient(capabilities: &mut Capabilities, args: [u64; 6]) -> CallResult {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR_ALL: u64 = 4;
    let [_, command, capability, rest @ ..] = args;
    if rest[..2] != [0, 0] {
        return Err(Errno::EINVAL);
    }
    if command == CLEAR_ALL {
        if capability != 0 {
            return Err(Errno::EINVAL);
        }
        capabilities.ambient = CapabilitySet::EMPTY;
        return Ok(0);
    }
    let one = CapabilitySet::of_argument(capability).ok_or(Errno::EINVAL)?;
    match command {
        IS_SET => return Ok(one.is_within(capabilities.ambient).into()),
        RAISE => capabilities.raise_ambient(one)?,
        LOWER => capabilities.ambient = capabilities.ambient.without(one),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
