//! Sending to sockets, and receiving.

use alloc::vec;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::socket::{MsgHdr, SCM_MAX_FD, SCM_RIGHTS, msg, so};
use maize_hal::Arch;
use maize_vfs::{Address, FileId, Sent, SocketKind, Stop};

use super::super::{Call, CallResult};
use super::segments::{STEP, Segments};
use super::sockets::{AddressRoom, address_bytes};
use crate::state::State;
use crate::thread::Current;
use crate::user_memory::UserRange;

/// Bytes before what a control message carries (`struct cmsghdr`).
const CONTROL_HEADER: usize = 16;
/// Control messages begin at multiples of this.
const CONTROL_ALIGNMENT: usize = 8;
/// Bytes of control messages that a program may send (`net.core.optmem_max`).
const CONTROL_MOST: u64 = 20_480;
/// Room that is made ready for one message at least: one may come that is longer than what is there.
const SMALL: usize = 256;

/// What goes with the bytes of a send.
#[derive(Debug, Default)]
struct Along {
    flags: u32,
    to: Option<Address>,
    files: Vec<FileId>,
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
    let file = call.file(0)?;
    call.k.with(|s| s.files.vfs.socket_kind(file))?;
    let segments = Segments::one(call, address, len)?;
    let to = destination(call, to, call.uint(5)).await?;
    send(call, file, segments, Along { flags: call.uint(3), to, files: Vec::new() }).await
}

async fn destination<A: Arch>(
    call: Call<'_, A>,
    address: u64,
    len: u32,
) -> Result<Option<Address>, Errno> {
    if address == 0 || len == 0 {
        return Ok(None);
    }
    Address::from_bytes(&address_bytes(call, address, len).await?).map(Some)
}

async fn header<A: Arch>(call: Call<'_, A>, address: u64) -> Result<MsgHdr, Errno> {
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
    let file = call.file(0)?;
    call.k.with(|s| s.files.vfs.socket_kind(file))?;
    let header = header(call, call.args[1]).await?;
    let segments = Segments::read(call, header.iov, header.iov_len).await?;
    let to = destination(call, header.name, header.name_len).await?;
    if header.control_len > CONTROL_MOST {
        return Err(Errno::ENOBUFS);
    }
    let mut control = vec![0; header.control_len as usize];
    call.k.read_user(call.current, header.control, &mut control).await?;
    let files = call.k.with(|s| s.files_to_send(call.current, &control))?;
    send(call, file, segments, Along { flags: call.uint(2), to, files }).await
}

impl<A: Arch> State<A> {
    /// The files of the descriptors in control messages.
    ///
    /// # Errors
    /// `EINVAL` for anything else, `EBADF`.
    fn files_to_send(&self, current: Current, control: &[u8]) -> Result<Vec<FileId>, Errno> {
        let mut files = Vec::new();
        let mut rest = control;
        while rest.len() >= CONTROL_HEADER {
            let (words, _) = rest.as_chunks::<8>();
            let len = usize::try_from(u64::from_le_bytes(words[0])).map_err(|_| Errno::EINVAL)?;
            let (level, kind) = (words[1].first_chunk::<4>(), words[1].last_chunk::<4>());
            let number = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |b| u32::from_le_bytes(*b));
            if !(CONTROL_HEADER..=rest.len()).contains(&len) {
                return Err(Errno::EINVAL);
            }
            if number(level) == so::SOL_SOCKET {
                if number(kind) != SCM_RIGHTS {
                    return Err(Errno::EINVAL);
                }
                let (fds, _) = rest[CONTROL_HEADER..len].as_chunks::<4>();
                for fd in fds {
                    files.push(self.file_of(current, i32::from_le_bytes(*fd))?);
                }
                if files.len() > SCM_MAX_FD {
                    return Err(Errno::EINVAL);
                }
            }
            rest = &rest[len.next_multiple_of(CONTROL_ALIGNMENT).min(rest.len())..];
        }
        Ok(files)
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
    const KNOWN: u32 = msg::MSG_DONTWAIT | msg::MSG_NOSIGNAL | msg::MSG_EOR;
    let current = call.current;
    if along.flags & !KNOWN != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let now = along.flags & msg::MSG_DONTWAIT != 0;
    let kind = call.k.with(|s| s.files.vfs.socket_kind(file))?;
    let whole = kind != SocketKind::Stream;
    if whole && segments.left() > call.k.with(|s| s.files.vfs.longest_message(file))? as u64 {
        return Err(Errno::EMSGSIZE);
    }
    let mut done = 0;
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
        let files = if done == 0 { along.files.as_slice() } else { &[] };
        let sent = Sent { bytes: &buffer[..count], files, to: along.to.as_ref(), now };
        let result = call
            .wait_until(Errno::ERESTARTSYS, |s, patience| {
                let result = s.with_files(current, |vfs, env, caller| {
                    vfs.send(env, caller, file, sent, patience)
                });
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

/// Where what comes with the bytes of a receive goes.
#[derive(Clone, Copy, Debug, Default)]
struct Rooms {
    flags: u32,
    name: Option<AddressRoom>,
    /// The address of the header of `recvmsg`, and of its room for control messages with its length.
    header: Option<(u64, u64, u64)>,
}

/// `read` and its kin.
pub(super) async fn read<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
    segments: Segments,
) -> CallResult {
    if segments.left() == 0 {
        return Ok(0);
    }
    receive(call, file, segments, Rooms::default()).await
}

pub(super) async fn recvfrom<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, address, len, _, name, name_len] = call.args;
    let file = call.file(0)?;
    call.k.with(|s| s.files.vfs.socket_kind(file))?;
    let segments = Segments::one(call, address, len)?;
    let name = AddressRoom::read(call, name, name_len).await?;
    receive(call, file, segments, Rooms { flags: call.uint(3), name, header: None }).await
}

pub(super) async fn recvmsg<A: Arch>(call: Call<'_, A>) -> CallResult {
    let file = call.file(0)?;
    call.k.with(|s| s.files.vfs.socket_kind(file))?;
    let at = call.args[1];
    let header = header(call, at).await?;
    let segments = Segments::read(call, header.iov, header.iov_len).await?;
    let name = AddressRoom::of_header(header.name, header.name_len, at + MsgHdr::NAME_LEN_AT);
    let control_len = header.control_len.min(CONTROL_MOST);
    let control_len = if header.control == 0 { 0 } else { control_len };
    let header = Some((at, header.control, control_len));
    receive(call, file, segments, Rooms { flags: call.uint(2), name, header }).await
}

impl Rooms {
    /// What is written to.
    fn ranges(&self) -> Vec<UserRange> {
        let name = self.name.iter().flat_map(AddressRoom::ranges);
        let header = self.header.iter();
        let header =
            header.flat_map(|(at, control, len)| [(*at, MsgHdr::LEN as u64), (*control, *len)]);
        name.chain(header).collect()
    }

    /// Puts what came with the bytes where it goes; files get descriptors, as many as there is room
    /// for.
    fn put<A: Arch>(
        &self,
        s: &mut State<A>,
        current: Current,
        (from, files): (Option<&Address>, &[FileId]),
        cut: bool,
    ) -> Result<(), Errno> {
        if let Some(name) = &self.name {
            let bytes = if from.is_some() { Address::to_bytes(from) } else { Vec::new() };
            name.put(s, current, &bytes)?;
        }
        let Some((at, control, len)) = self.header else {
            for file in files {
                s.release_file(*file);
            }
            return Ok(());
        };
        let mut flags = if cut { msg::MSG_TRUNC } else { 0 };
        let room = (len as usize).saturating_sub(CONTROL_HEADER) / 4;
        let close_on_exec = self.flags & msg::MSG_CMSG_CLOEXEC != 0;
        let mut fds = Vec::new();
        for file in files {
            let fd = if fds.len() < room {
                s.install_file(current, *file, close_on_exec).ok()
            } else {
                s.release_file(*file);
                None
            };
            match fd {
                Some(fd) => fds.extend([fd as u32]),
                None => flags |= msg::MSG_CTRUNC,
            }
        }
        let mut used = 0;
        if !fds.is_empty() {
            let length = CONTROL_HEADER + 4 * fds.len();
            let mut bytes = (length as u64).to_le_bytes().to_vec();
            bytes.extend(so::SOL_SOCKET.to_le_bytes());
            bytes.extend(SCM_RIGHTS.to_le_bytes());
            bytes.extend(fds.iter().flat_map(|fd| fd.to_le_bytes()));
            s.write_now(current, control, &bytes)?;
            used = length.next_multiple_of(CONTROL_ALIGNMENT).min(len as usize);
        }
        s.write_now(current, at + MsgHdr::CONTROL_LEN_AT, &(used as u64).to_le_bytes())?;
        flags |= self.flags & msg::MSG_CMSG_CLOEXEC;
        s.write_now(current, at + MsgHdr::FLAGS_AT, &flags.to_le_bytes())
    }
}

/// What a step of a receive came to.
enum Step {
    /// Bytes that the call gives, and whether more may follow.
    Got(u64, bool),
    /// Memory that was ready is not any more, or too little was.
    Again,
}

async fn receive<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
    mut segments: Segments,
    rooms: Rooms,
) -> CallResult {
    const KNOWN: u32 = msg::MSG_PEEK
        | msg::MSG_DONTWAIT
        | msg::MSG_WAITALL
        | msg::MSG_TRUNC
        | msg::MSG_NOSIGNAL
        | msg::MSG_CMSG_CLOEXEC;
    let current = call.current;
    if rooms.flags & !KNOWN != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let has = |flag| rooms.flags & flag != 0;
    let (peek, now) = (has(msg::MSG_PEEK), has(msg::MSG_DONTWAIT));
    let whole = call.k.with(|s| s.files.vfs.socket_kind(file))? != SocketKind::Stream;
    let waits_for_all = has(msg::MSG_WAITALL) && !whole && !peek && !now;
    let ranges = rooms.ranges();
    let mut done = 0;
    let mut buffer = vec![];
    loop {
        call.k.hold_all_writable(current, &ranges).await?;
        let there = call.k.with(|s| s.files.vfs.receivable(file))?.max(SMALL);
        let step = if whole { there } else { there.min(STEP) };
        let wanted = segments.left().min(step as u64) as usize;
        let count = match segments.hold(call, wanted).await {
            Ok(count) => count,
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        };
        buffer.resize(count, 0);
        let got = call
            .wait_until(Errno::ERESTARTSYS, |s, patience| {
                let fits = !whole || {
                    let longest = s.files.vfs.receivable(file)? as u64;
                    count < wanted || count as u64 >= longest.min(segments.left())
                };
                if !fits
                    || !segments.are_ready(s, current, count)?
                    || !s.are_writable_now(current, &ranges)?
                {
                    return Ok(Step::Again);
                }
                let got = s.files.vfs.receive(file, &mut buffer[..count], (peek, now), patience)?;
                segments.put(s, current, &buffer[..got.count])?;
                let cut = whole && got.whole > got.count;
                let files = got.files.as_slice();
                rooms.put(s, current, (got.from.as_deref(), files), cut)?;
                let given = if whole && has(msg::MSG_TRUNC) { got.whole } else { got.count };
                Ok(Step::Got(given as u64, got.any && files.is_empty()))
            })
            .await;
        match got {
            Ok(Step::Again) => {}
            Ok(Step::Got(given, more)) => {
                done += given;
                let ends =
                    !more || segments.left() == 0 || call.k.with(|s| s.must_exit(current.tid));
                let there = call.k.with(|s| s.files.vfs.receivable(file)).unwrap_or(0) > 0;
                if whole || peek || ends || !waits_for_all && !there {
                    return Ok(done);
                }
                call.k.yield_now(current.task).await;
            }
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        }
    }
}
