//! Sockets of this machine (`AF_UNIX`): streams, datagrams, and streams of whole messages; and those
//! of the Internet's families, as far as they reach this machine (`internet.rs`).
//!
//! What was sent lies in the receiver's inbox until it is received, and counts against what its sender
//! may have under way. A connection that nobody has accepted yet is a socket that only its listener
//! knows. A closed socket leaves nothing behind: whoever still names it finds no socket of that id.
//! Files that go along with messages can be sockets: see `lost.rs` on those that nobody can receive.
//!
//! | | stream | whole messages | datagrams |
//! |---|---|---|---|
//! | a send needs | a connection | a connection | a peer or an address |
//! | a receive takes | bytes | one message | one message |
//! | the peer is closed | end of file, then `EPIPE` | end of file, then `EPIPE` | `ECONNREFUSED` |

mod address;
mod connect;
mod datagram;
mod handshake;
mod internet;
#[cfg(test)]
mod internet_tests;
mod lost;
mod options;
#[cfg(test)]
mod tests;
mod transfer;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::socket::{shut, sock};
use maize_hal::Nanos;

pub(crate) use address::Bound;
pub use address::{Address, Family};
pub use options::{SocketOption, SocketValue, socket_timeout};
pub use transfer::{Received, Sent};

use crate::Vfs;
use crate::caller::{Caller, Surroundings};
use crate::file::Handle;
use crate::id::{FileId, SocketId};
use crate::outcome::{Patience, WaitKey};
use internet::{Connecting, Internet};

/// Bytes that a socket has under way at most, unless it is told otherwise (`net.core.wmem_default`).
const SEND_LIMIT: usize = 212_992;

/// What a message costs beside its bytes.
const MESSAGE_COST: usize = 576;

/// Messages that wait at a socket at most, if they come from one that it is not connected to
/// (`net.unix.max_dgram_qlen`, with the one that is above it).
const STRANGERS_MESSAGES: usize = 11;

/// How a socket's bytes are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketKind {
    /// Not at all.
    Stream,
    /// As they were sent, each to where it is told.
    Datagram,
    /// As they were sent, by a connection.
    SeqPacket,
}

impl SocketKind {
    /// The kind of this number, as `socket` takes it.
    ///
    /// # Errors
    /// `EINVAL`, `ESOCKTNOSUPPORT`.
    pub const fn from_number(number: u32) -> Result<SocketKind, Errno> {
        match number {
            sock::SOCK_STREAM => Ok(SocketKind::Stream),
            // As on Linux.
            sock::SOCK_DGRAM | sock::SOCK_RAW => Ok(SocketKind::Datagram),
            sock::SOCK_SEQPACKET => Ok(SocketKind::SeqPacket),
            sock::SOCK_MAX.. => Err(Errno::EINVAL),
            _ => Err(Errno::ESOCKTNOSUPPORT),
        }
    }

    /// The number of this kind.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            SocketKind::Stream => sock::SOCK_STREAM,
            SocketKind::Datagram => sock::SOCK_DGRAM,
            SocketKind::SeqPacket => sock::SOCK_SEQPACKET,
        }
    }

    const fn connects(self) -> bool {
        !matches!(self, SocketKind::Datagram)
    }

    pub(crate) const fn keeps_messages(self) -> bool {
        !matches!(self, SocketKind::Stream)
    }
}

/// Who made a socket, or connected it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process id; 0 for nobody.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Credentials {
    const NOBODY: Credentials = Credentials { pid: 0, uid: u32::MAX, gid: u32::MAX };

    const fn of(caller: &Caller<'_>) -> Credentials {
        Credentials { pid: caller.pid, uid: caller.uid, gid: caller.gid }
    }
}

/// What was sent and not yet received.
#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
    /// How many of the bytes were received: of a stream's message it can be a part.
    taken: usize,
    /// Files that come along, each with a holder.
    files: Vec<FileId>,
    /// Who has it under way, if anybody is held up by that.
    from: Option<SocketId>,
    /// The sender's address when it was sent.
    address: Option<Arc<Address>>,
    /// Who sent it.
    sender: Credentials,
}

impl Message {
    fn left(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// What its sender has under way for it.
    fn cost(&self) -> usize {
        self.bytes.len() + MESSAGE_COST
    }
}

#[derive(Debug)]
enum Role {
    Unconnected,
    Listening {
        /// Connections that wait at most, beside one.
        backlog: usize,
        waiting: VecDeque<SocketId>,
        /// Sockets whose connections are to be made when there is room.
        pending: VecDeque<SocketId>,
    },
    /// A stream's other end was there. Datagrams have a peer without it.
    Connected,
}

#[derive(Debug)]
pub(crate) struct Socket {
    kind: SocketKind,
    role: Role,
    peer: Option<SocketId>,
    name: Option<Arc<Address>>,
    bound: Option<Bound>,
    inbox: VecDeque<Message>,
    /// What others have not received yet, with what it costs.
    under_way: usize,
    send_limit: usize,
    receive_limit: usize,
    receive_shut: bool,
    send_shut: bool,
    /// Told once.
    error: Option<Errno>,
    peer_credentials: Credentials,
    receive_timeout: Nanos,
    send_timeout: Nanos,
    /// Options that are kept and change nothing, a bit for each number.
    kept: u64,
    /// It is the far end of a connection that nobody has accepted: no file knows it.
    unaccepted: bool,
    /// What it has as one of the Internet's families.
    internet: Option<Internet>,
    /// `SO_LINGER`: closing never waits, since nothing is under way that the other end has not.
    linger: Option<(bool, i32)>,
    /// Options of protocols that are kept and change nothing, by level and number.
    numbers: BTreeMap<(u32, u32), i32>,
}

impl Socket {
    const fn new(kind: SocketKind) -> Socket {
        Socket {
            kind,
            role: Role::Unconnected,
            peer: None,
            name: None,
            bound: None,
            inbox: VecDeque::new(),
            under_way: 0,
            send_limit: SEND_LIMIT,
            receive_limit: SEND_LIMIT,
            receive_shut: false,
            send_shut: false,
            error: None,
            peer_credentials: Credentials::NOBODY,
            receive_timeout: Nanos::NEVER,
            send_timeout: Nanos::NEVER,
            kept: 0,
            unaccepted: false,
            internet: None,
            linger: None,
            numbers: BTreeMap::new(),
        }
    }

    /// Bytes in its inbox.
    fn len(&self) -> usize {
        self.inbox.iter().map(|message| message.left().len()).sum()
    }
}

impl Vfs {
    /// `socket`: a new one. `status` is `O_NONBLOCK` or nothing.
    ///
    /// # Errors
    /// `ENFILE`.
    pub fn make_socket(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        (family, kind): (Family, SocketKind),
        status: u32,
    ) -> Result<FileId, Errno> {
        let internet = (family != Family::Unix).then(|| Internet::new(family));
        let socket = self.add_socket(Socket { internet, ..Socket::new(kind) });
        self.add_nameless(env, caller, Handle::Socket(socket), status).inspect_err(|_| {
            self.sockets.remove(&socket);
        })
    }

    /// `socketpair`: two of the machine that are connected to each other.
    ///
    /// # Errors
    /// `ENFILE`.
    pub fn make_socket_pair(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        kind: SocketKind,
        status: u32,
    ) -> Result<(FileId, FileId), Errno> {
        self.check_file_room(2)?;
        let one = self.make_socket(env, caller, (Family::Unix, kind), status)?;
        let other = match self.make_socket(env, caller, (Family::Unix, kind), status) {
            Ok(other) => other,
            Err(errno) => {
                self.release(env, one);
                return Err(errno);
            }
        };
        let (a, b) = (self.socket_of(one)?, self.socket_of(other)?);
        for (socket, peer) in [(a, b), (b, a)] {
            let socket = self.socket_mut(socket)?;
            socket.peer = Some(peer);
            socket.peer_credentials = Credentials::of(caller);
            if kind.connects() {
                socket.role = Role::Connected;
            }
        }
        Ok((one, other))
    }

    fn add_socket(&mut self, socket: Socket) -> SocketId {
        let id = SocketId(self.next_socket);
        self.next_socket += 1;
        self.sockets.insert(id, socket);
        id
    }

    /// The socket that a file is.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`.
    pub(crate) fn socket_of(&self, file: FileId) -> Result<SocketId, Errno> {
        match self.file(file)?.handle {
            Handle::Socket(socket) => Ok(socket),
            Handle::Place => Err(Errno::EBADF),
            _ => Err(Errno::ENOTSOCK),
        }
    }

    /// Whether a call of a socket may wait, if it isn't told to do what it does `now`.
    fn may_wait(&self, file: FileId, now: bool, patience: Patience) -> Result<bool, Errno> {
        Ok(!now && !self.file(file)?.is_nonblocking() && patience == Patience::Left)
    }

    /// The kind of the socket that a file is.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`.
    pub fn socket_kind(&self, file: FileId) -> Result<SocketKind, Errno> {
        Ok(self.socket(self.socket_of(file)?)?.kind)
    }

    /// The family of the socket that a file is.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`.
    pub fn socket_family(&self, file: FileId) -> Result<Family, Errno> {
        Ok(self.socket(self.socket_of(file)?)?.family())
    }

    fn socket(&self, id: SocketId) -> Result<&Socket, Errno> {
        self.sockets.get(&id).ok_or(Errno::EBADF)
    }

    fn socket_mut(&mut self, id: SocketId) -> Result<&mut Socket, Errno> {
        self.sockets.get_mut(&id).ok_or(Errno::EBADF)
    }

    /// Whoever waits for anything of a socket looks again.
    fn wake_socket(&mut self, id: SocketId) {
        self.wakes.wake(WaitKey::SocketReadable(id));
        self.wakes.wake(WaitKey::SocketWritable(id));
    }

    /// `shutdown`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `EINVAL`; `ENOTCONN` for one of the Internet's that has no other end.
    pub fn shut_down(&mut self, file: FileId, how: u32) -> Result<(), Errno> {
        let id = self.socket_of(file)?;
        let (receive, send) = match how {
            shut::SHUT_RD => (true, false),
            shut::SHUT_WR => (false, true),
            shut::SHUT_RDWR => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        let socket = self.socket_mut(id)?;
        let unix = socket.internet.is_none();
        let listens = socket.listens();
        let unconnected = socket.internet.as_ref().is_some_and(|internet| {
            let waits = matches!(internet.connecting, Connecting::At(_));
            !listens && (waits || internet.remote.is_none())
        });
        socket.receive_shut |= receive;
        socket.send_shut |= send;
        let peer = socket.peer.filter(|_| socket.kind.connects());
        self.wake_socket(id);
        // As on Linux, half of it is closed all the same.
        if unconnected {
            return Err(Errno::ENOTCONN);
        }
        if let Some(peer) = peer
            && let Some(other) = self.sockets.get_mut(&peer)
        {
            other.receive_shut |= send;
            // Who is not listened to any more learns that only from a socket of the machine.
            other.send_shut |= receive && unix;
            self.wake_socket(peer);
        }
        if listens && receive {
            self.refuse_pending(id);
        }
        Ok(())
    }

    /// Its last file is closed, and so may be sockets that were under way to it.
    pub(crate) fn close_socket(&mut self, env: &mut dyn Surroundings, id: SocketId) {
        let mut closed = alloc::vec![id];
        while let Some(id) = closed.pop() {
            let Some(socket) = self.sockets.remove(&id) else { continue };
            if let Some(bound) = &socket.bound {
                self.bound.remove(bound);
            }
            self.forget_pending(id, &socket);
            let resets = socket.internet.as_ref().is_some_and(|internet| internet.resets);
            if let Some(Internet { local: Some(local), .. }) = socket.internet {
                self.leave_port(id, socket.kind, local);
            }
            let unread = socket.unaccepted || !socket.inbox.is_empty() || resets;
            if let Role::Listening { waiting, pending, .. } = socket.role {
                closed.extend(waiting);
                for id in pending {
                    self.refuse(id);
                }
            }
            if let Some(peer) = socket.peer.filter(|_| socket.kind.connects())
                && let Some(other) = self.sockets.get_mut(&peer)
            {
                (other.peer, other.receive_shut) = (None, true);
                // Of the Internet's, who has not seen an error learns by sending: see `receiver`.
                other.send_shut |= other.internet.is_none() || unread;
                if unread {
                    other.error = Some(Errno::ECONNRESET);
                }
                self.wake_socket(peer);
            }
            for message in socket.inbox {
                closed.extend(self.lose(env, message));
            }
            self.wake_senders_to(id);
            self.wake_socket(id);
        }
    }
}
