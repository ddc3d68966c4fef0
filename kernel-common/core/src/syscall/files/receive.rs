//! Receiving from sockets.

use alloc::vec;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::socket::{MsgHdr, SCM_CREDENTIALS, SCM_RIGHTS, msg, so};
use maize_hal::{Arch, Nanos};
use maize_vfs::{Address, Credentials, FileId, Received, SocketKind};

use super::super::clock::timespec_bytes;
use super::super::{Call, CallResult};
use super::messages::{CONTROL_ALIGNMENT, CONTROL_HEADER, CONTROL_MOST, each_message, header};
use super::segments::{STEP, Segments};
use super::sockets::{AddressRoom, socket_argument};
use crate::state::State;
use crate::thread::Current;
use crate::user_memory::UserRange;

/// Room that is made ready for one message at least: one may come that is longer than what is there.
const SMALL: usize = 256;

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
    let (file, _) = socket_argument(call)?;
    let segments = Segments::one(call, address, len)?;
    let name = AddressRoom::read(call, name, name_len).await?;
    receive(call, file, segments, Rooms { flags: call.uint(3), name, header: None }).await
}

pub(super) async fn recvmsg<A: Arch>(call: Call<'_, A>) -> CallResult {
    receive_message(call, call.args[1], call.uint(2)).await
}

/// The time-out is looked at after each message, as on Linux: a wait for one may last longer.
pub(super) async fn recvmmsg<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, _, _, _, timeout, _] = call.args;
    socket_argument(call)?;
    let mut deadline = Nanos::NEVER;
    if timeout != 0 {
        let span = call.k.read_timespec(call.current, timeout).await?;
        deadline = call.k.with(|s| s.now()) + span;
    }
    let flags = call.uint(3) & !msg::MSG_WAITFORONE;
    let late = || call.k.with(|s| s.now()) >= deadline;
    let received = each_message(call, late, async |at, done| {
        let waits_for_one = call.uint(3) & msg::MSG_WAITFORONE != 0 && done > 0;
        let now = if waits_for_one { msg::MSG_DONTWAIT } else { 0 };
        receive_message(call, at, flags | now).await
    });
    let count = received.await?;
    if timeout != 0 {
        let left = deadline.since(call.k.with(|s| s.now()));
        call.k.write_user(call.current, timeout, &timespec_bytes(left)).await?;
    }
    Ok(count)
}

async fn receive_message<A: Arch>(call: Call<'_, A>, at: u64, flags: u32) -> CallResult {
    let (file, _) = socket_argument(call)?;
    let header = header(call, at).await?;
    let segments = Segments::read(call, header.iov, header.iov_len).await?;
    let name = AddressRoom::of_header(header.name, header.name_len, at + MsgHdr::NAME_LEN_AT);
    let control_len = header.control_len.min(CONTROL_MOST);
    let control_len = if header.control == 0 { 0 } else { control_len };
    let header = Some((at, header.control, control_len));
    receive(call, file, segments, Rooms { flags, name, header }).await
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
        got: &Received,
        cut: bool,
    ) -> Result<(), Errno> {
        let (from, files) = (got.from.as_deref(), got.files.as_slice());
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
        let mut told = ControlRoom { bytes: Vec::new(), room: len as usize, cut: false };
        if let Some(Credentials { pid, uid, gid }) = got.sender {
            told.put(SCM_CREDENTIALS, [pid, uid, gid].map(u32::to_le_bytes).as_flattened());
        }
        let room = told.left().saturating_sub(CONTROL_HEADER) / 4;
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
                Some(fd) => fds.push((fd as u32).to_le_bytes()),
                None => told.cut = true,
            }
        }
        if !fds.is_empty() {
            told.put(SCM_RIGHTS, fds.as_flattened());
        }
        if told.cut {
            flags |= msg::MSG_CTRUNC;
        }
        s.write_now(current, control, &told.bytes)?;
        let used = (told.bytes.len() as u64).to_le_bytes();
        s.write_now(current, at + MsgHdr::CONTROL_LEN_AT, &used)?;
        flags |= self.flags & msg::MSG_CMSG_CLOEXEC;
        s.write_now(current, at + MsgHdr::FLAGS_AT, &flags.to_le_bytes())
    }
}

/// Control messages for a program, as many as there is room for.
struct ControlRoom {
    bytes: Vec<u8>,
    /// Bytes there at most.
    room: usize,
    /// Whether some did not fit.
    cut: bool,
}

impl ControlRoom {
    fn left(&self) -> usize {
        self.room - self.bytes.len()
    }

    /// Adds one; as on Linux, a part of it if there is no more room.
    fn put(&mut self, kind: u32, data: &[u8]) {
        let whole = CONTROL_HEADER + data.len();
        let len = whole.min(self.left());
        self.cut |= len < whole;
        let Some(data) = len.checked_sub(CONTROL_HEADER).map(|len| &data[..len]) else { return };
        self.bytes.extend((len as u64).to_le_bytes());
        self.bytes.extend(so::SOL_SOCKET.to_le_bytes());
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(data);
        let end = self.bytes.len().next_multiple_of(CONTROL_ALIGNMENT).min(self.room);
        self.bytes.resize(end, 0);
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
    let mut sender = None;
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
                let out = &mut buffer[..count];
                let got = s.files.vfs.receive(file, out, (peek, now), sender, patience)?;
                segments.put(s, current, &buffer[..got.count])?;
                let cut = whole && got.whole > got.count;
                // The end of a stream takes nothing back of what came with its bytes.
                if got.any || done == 0 {
                    rooms.put(s, current, &got, cut)?;
                }
                sender = got.sender;
                let given = if whole && has(msg::MSG_TRUNC) { got.whole } else { got.count };
                Ok(Step::Got(given as u64, got.any && got.files.is_empty()))
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
