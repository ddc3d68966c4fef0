//! Sending to sockets, and what sending and receiving have in common.

use alloc::vec;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::socket::{
    MMSG_MAX, MMSGHDR_LEN, MsgHdr, SCM_CREDENTIALS, SCM_MAX_FD, SCM_RIGHTS, msg, so,
};
use maize_hal::Arch;
use maize_vfs::{Address, Credentials, Family, FileId, Sent, SocketKind, Stop};

use super::super::{Call, CallResult};
use super::segments::{STEP, Segments};
use super::sockets::{address_bytes, socket_argument};
use crate::ids::Pid;
use crate::state::State;
use crate::thread::Current;

/// Bytes before what a control message carries (`struct cmsghdr`).
pub(super) const CONTROL_HEADER: usize = 16;
/// Control messages begin at multiples of this.
pub(super) const CONTROL_ALIGNMENT: usize = 8;
/// Bytes of control messages that a program may send (`net.core.optmem_max`).
pub(super) const CONTROL_MOST: u64 = 20_480;

/// What goes with the bytes of a send.
#[derive(Debug, Default)]
struct Along {
    flags: u32,
    to: Option<Address>,
    control: Control,
}

/// What control messages bring.
#[derive(Debug, Default)]
struct Control {
    files: Vec<FileId>,
    sender: Option<Credentials>,
}

/// `write` and its kin.
pub(super) async fn write<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
    segments: Segments,
) -> CallResult {
    send(call, file, segments, Along::default()).await
}

pub(super) async fn sendto<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, address, len, _, to, ..] = call.args;
    let (file, _) = socket_argument(call)?;
    let segments = Segments::one(call, address, len)?;
    let to = destination(call, file, to, call.uint(5)).await?;
    send(call, file, segments, Along { flags: call.uint(3), to, control: Control::default() }).await
}

/// The address that a program gives. A stream of the Internet's has no use for one, as on Linux.
async fn destination<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
    address: u64,
    len: u32,
) -> Result<Option<Address>, Errno> {
    if address == 0 || len == 0 {
        return Ok(None);
    }
    let bytes = address_bytes(call, address, len).await?;
    let (family, kind) = call.k.with(|s| {
        Ok::<_, Errno>((s.files.vfs.socket_family(file)?, s.files.vfs.socket_kind(file)?))
    })?;
    if family != Family::Unix && kind == SocketKind::Stream {
        return Ok(None);
    }
    Address::from_bytes(family, &bytes).map(Some)
}

/// The header at an address.
///
/// # Errors
/// `EFAULT`; `EINVAL`, `EMSGSIZE` for lengths that none has.
pub(super) async fn header<A: Arch>(call: Call<'_, A>, address: u64) -> Result<MsgHdr, Errno> {
    let mut bytes = [0; MsgHdr::LEN];
    call.k.read_user(call.current, address, &mut bytes).await?;
    let header = MsgHdr::from_bytes(&bytes);
    if i32::try_from(header.name_len).is_err() {
        return Err(Errno::EINVAL);
    }
    if header.iov_len > maize_abi::file::IOV_MAX {
        return Err(Errno::EMSGSIZE);
    }
    Ok(header)
}

pub(super) async fn sendmsg<A: Arch>(call: Call<'_, A>) -> CallResult {
    send_message(call, call.args[1], call.uint(2)).await
}

async fn send_message<A: Arch>(call: Call<'_, A>, at: u64, flags: u32) -> CallResult {
    let (file, _) = socket_argument(call)?;
    let header = header(call, at).await?;
    let segments = Segments::read(call, header.iov, header.iov_len).await?;
    let to = destination(call, file, header.name, header.name_len).await?;
    if header.control_len > CONTROL_MOST {
        return Err(Errno::ENOBUFS);
    }
    let mut control = vec![0; header.control_len as usize];
    call.k.read_user(call.current, header.control, &mut control).await?;
    let mut control = call.k.with(|s| s.control_to_send(call.current, &control))?;
    // What these mean is a matter of the machine's own sockets.
    if call.k.with(|s| s.files.vfs.socket_family(file))? != Family::Unix {
        control = Control::default();
    }
    send(call, file, segments, Along { flags, to, control }).await
}

/// Runs `one` for each of `struct mmsghdr`, `call.args[2]` of them, until one fails or `late` says so;
/// what a message came to is left in its structure. Returns how many there were.
pub(super) async fn each_message<A: Arch>(
    call: Call<'_, A>,
    mut late: impl FnMut() -> bool,
    mut one: impl AsyncFnMut(u64, u64) -> CallResult,
) -> CallResult {
    let count = u64::from(call.uint(2).min(MMSG_MAX));
    for done in 0..count {
        let at = call.args[1].wrapping_add(done * MMSGHDR_LEN);
        let result = match one(at, done).await {
            Ok(bytes) => {
                let bytes = (bytes as u32).to_le_bytes();
                call.k.write_user(call.current, at + MsgHdr::LEN as u64, &bytes).await
            }
            Err(errno) => Err(errno),
        };
        match result {
            Ok(()) if late() => return Ok(done + 1),
            Ok(()) => {}
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        }
    }
    Ok(count)
}

pub(super) async fn sendmmsg<A: Arch>(call: Call<'_, A>) -> CallResult {
    socket_argument(call)?;
    each_message(call, || false, async |at, _| send_message(call, at, call.uint(3)).await).await
}

impl<A: Arch> State<A> {
    /// What control messages bring: descriptors, and who sends.
    ///
    /// # Errors
    /// `EINVAL` for anything else; `EBADF`; `ESRCH` if no process has the id that sends.
    fn control_to_send(&self, current: Current, control: &[u8]) -> Result<Control, Errno> {
        let mut found = Control::default();
        let mut rest = control;
        while rest.len() >= CONTROL_HEADER {
            let (words, _) = rest.as_chunks::<8>();
            let len = usize::try_from(u64::from_le_bytes(words[0])).map_err(|_| Errno::EINVAL)?;
            let (level, kind) = (words[1].first_chunk::<4>(), words[1].last_chunk::<4>());
            let number = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |b| u32::from_le_bytes(*b));
            if !(CONTROL_HEADER..=rest.len()).contains(&len) {
                return Err(Errno::EINVAL);
            }
            let (words, others) = rest[CONTROL_HEADER..len].as_chunks::<4>();
            match (number(level), number(kind)) {
                (so::SOL_SOCKET, SCM_RIGHTS) => {
                    for fd in words {
                        found.files.push(self.file_of(current, i32::from_le_bytes(*fd))?);
                    }
                    if found.files.len() > SCM_MAX_FD {
                        return Err(Errno::EINVAL);
                    }
                }
                (so::SOL_SOCKET, SCM_CREDENTIALS) => {
                    let ([pid, uid, gid], []) = (words, others) else { return Err(Errno::EINVAL) };
                    let [pid, uid, gid] = [pid, uid, gid].map(|word| u32::from_le_bytes(*word));
                    if uid == u32::MAX || gid == u32::MAX {
                        return Err(Errno::EINVAL);
                    }
                    // The superuser may say that it is any process that there is.
                    self.processes.get(&Pid(pid)).ok_or(Errno::ESRCH)?;
                    found.sender = Some(Credentials { pid, uid, gid });
                }
                (so::SOL_SOCKET, _) => return Err(Errno::EINVAL),
                _ => {}
            }
            rest = &rest[len.next_multiple_of(CONTROL_ALIGNMENT).min(rest.len())..];
        }
        Ok(found)
    }
}

/// Sends all of the pieces. A stream's are sent as there is room, and what went before an error or a
/// signal counts.
async fn send<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
    mut segments: Segments,
    along: Along,
) -> CallResult {
    const KNOWN: u32 = msg::MSG_DONTWAIT
        | msg::MSG_NOSIGNAL
        | msg::MSG_EOR
        | msg::MSG_MORE
        | msg::MSG_CONFIRM
        | msg::MSG_DONTROUTE;
    let current = call.current;
    if along.flags & !KNOWN != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let now = along.flags & msg::MSG_DONTWAIT != 0;
    let kind = call.k.with(|s| s.files.vfs.socket_kind(file))?;
    let whole = kind != SocketKind::Stream;
    // What comes later would be of the same message.
    if whole && along.flags & msg::MSG_MORE != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if whole && segments.left() > call.k.with(|s| s.files.vfs.longest_message(file))? as u64 {
        return Err(Errno::EMSGSIZE);
    }
    let mut done = 0;
    let mut waited = false;
    let mut buffer = vec![];
    loop {
        let wanted =
            if whole { segments.left() } else { segments.left().min(STEP as u64) } as usize;
        buffer.resize(wanted, 0);
        let count = match segments.get(call, &mut buffer).await {
            Ok(count) if whole && count < wanted => return Err(Errno::EFAULT),
            Ok(count) => count,
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        };
        let files = if done == 0 { along.control.files.as_slice() } else { &[] };
        let (to, sender) = (along.to.as_ref(), along.control.sender);
        let bytes = &buffer[..count];
        let result = call
            .wait_until(Errno::ERESTARTSYS, |s, patience| {
                let sent = Sent { bytes, files, to, now, sender, waited };
                let result = s.with_files(current, |vfs, env, caller| {
                    vfs.send(env, caller, file, sent, patience)
                });
                waited |= matches!(result, Err(Stop::Wait { .. }));
                match result {
                    Err(Stop::BrokenPipe) if along.flags & msg::MSG_NOSIGNAL != 0 || done > 0 => {
                        Err(Errno::EPIPE.into())
                    }
                    result => result,
                }
            })
            .await;
        match result {
            Ok(written) => {
                done += written as u64;
                segments.advance(written);
                let ends =
                    segments.left() == 0 || written == 0 || count < wanted && written == count;
                if whole || ends || call.k.with(|s| s.must_exit(current.tid)) {
                    return Ok(done);
                }
                call.k.yield_now(current.task).await;
            }
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        }
    }
}
