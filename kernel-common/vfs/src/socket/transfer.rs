//! Sending and receiving.

use alloc::sync::Arc;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::poll;

use super::datagram::LONGEST;
use super::internet::{Connecting, Internet};
use super::lost::SOCKETS_UNDER_WAY;
use super::{
    Address, Credentials, MESSAGE_COST, Message, Role, STRANGERS_MESSAGES, Socket, SocketKind,
};
use crate::Vfs;
use crate::caller::{Caller, Surroundings};
use crate::file::Handle;
use crate::id::{FileId, SocketId};
use crate::outcome::{Io, Patience, Stop, WaitKey};

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The bytes: of a stream's, the first are taken that there is room for.
    pub bytes: &'a [u8],
    /// Files that go along.
    pub files: &'a [FileId],
    /// Where to, if not to the peer.
    pub to: Option<&'a Address>,
    /// Whether it fails rather than waits (`MSG_DONTWAIT`).
    pub now: bool,
    /// Who sends, if another than the caller says so (`SCM_CREDENTIALS`).
    pub sender: Option<Credentials>,
    /// Whether it has waited before: then it learns of an error that came meanwhile.
    pub waited: bool,
}

impl<'a> Sent<'a> {
    /// Bytes for the peer, and nothing else.
    #[must_use]
    pub const fn bytes(bytes: &'a [u8]) -> Sent<'a> {
        Sent { bytes, files: &[], to: None, now: false, sender: None, waited: false }
    }
}

/// What was received.
#[derive(Debug, Default)]
pub struct Received {
    /// Bytes that were copied.
    pub count: usize,
    /// Bytes of the whole message, which may be more; for a stream, the same.
    pub whole: usize,
    /// Files that came along: their holders are the caller's now.
    pub files: Vec<FileId>,
    /// Whether there was anything: not so at the end of what was sent.
    pub any: bool,
    /// Where it came from, if the sender has a name.
    pub from: Option<Arc<Address>>,
    /// Who sent it, if the receiver wants to be told (`SO_PASSCRED`).
    pub sender: Option<Credentials>,
}

impl Received {
    /// Notes who has sent what comes next. False if somebody else has sent what is there: bytes of two
    /// senders are kept apart.
    fn is_of(&mut self, sender: Credentials) -> bool {
        *self.sender.get_or_insert(sender) == sender
    }
}

impl Vfs {
    /// Sends: a message as a whole, or as much of a stream as there is room for.
    ///
    /// # Errors
    /// As `sendmsg`; [`Stop::BrokenPipe`] for a stream whose other end does not receive;
    /// `ETOOMANYREFS` for sockets as files.
    pub fn send(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        file: FileId,
        sent: Sent<'_>,
        patience: Patience,
    ) -> Io<usize> {
        let id = self.socket_of(file)?;
        let may_wait = self.may_wait(file, sent.now, patience)?;
        if let Socket { internet: Some(_), kind: SocketKind::Datagram, .. } = self.socket(id)? {
            return self.send_datagram(id, &sent);
        }
        let socket = self.socket(id)?;
        if let Some(Internet { connecting: Connecting::At(_), .. }) = socket.internet {
            let key = WaitKey::SocketWritable(id);
            return Err(Stop::wait_if(may_wait, key, socket.send_timeout));
        }
        let sockets = self.sockets_among(sent.files);
        if sockets > 0 && self.sockets_under_way + sockets > SOCKETS_UNDER_WAY {
            return Err(Errno::ETOOMANYREFS.into());
        }
        let Some(to) = self.receiver(env, caller, id, &sent)? else { return Ok(sent.bytes.len()) };
        let socket = self.socket(id)?;
        let keeps = socket.kind.keeps_messages();
        if keeps && sent.bytes.len() > socket.longest_message() {
            return Err(Errno::EMSGSIZE.into());
        }
        if !keeps && sent.bytes.is_empty() {
            return Ok(0);
        }
        let wait = |key| Stop::wait_if(may_wait, key, socket.send_timeout);
        let room = socket.send_limit.saturating_sub(socket.under_way);
        // One message can always be sent.
        if socket.under_way > 0 && room <= MESSAGE_COST {
            return Err(wait(WaitKey::SocketWritable(id)));
        }
        let count = if keeps { sent.bytes.len() } else { sent.bytes.len().min(room) };
        if keeps && socket.under_way > 0 && count + MESSAGE_COST > room {
            return Err(wait(WaitKey::SocketWritable(id)));
        }
        if self.is_full_for(id, to) {
            return Err(wait(WaitKey::SocketRoom(to)));
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(count).map_err(|_| Errno::ENOBUFS)?;
        bytes.extend_from_slice(&sent.bytes[..count]);
        for file in sent.files {
            self.hold(*file)?;
        }
        self.sockets_under_way += sockets;
        let socket = self.socket(id)?;
        let address = socket.name.clone();
        let sender = match socket.internet {
            Some(_) => Credentials::NOBODY,
            None => sent.sender.unwrap_or(Credentials::of(caller)),
        };
        let files = sent.files.to_vec();
        let message = Message { bytes, taken: 0, files, from: Some(id), address, sender };
        self.socket_mut(id)?.under_way += message.cost();
        self.socket_mut(to)?.inbox.push_back(message);
        self.wakes.wake(WaitKey::SocketReadable(to));
        Ok(count)
    }

    /// Who gets what is sent. Nobody does on a stream of the Internet's whose other end is closed: the
    /// first bytes are lost there, and the next send learns of it, as on Linux.
    fn receiver(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        id: SocketId,
        sent: &Sent<'_>,
    ) -> Io<Option<SocketId>> {
        let socket = self.socket(id)?;
        let kind = socket.kind;
        let broken = || match kind {
            SocketKind::Stream => Stop::BrokenPipe,
            _ => Errno::EPIPE.into(),
        };
        if kind.connects() {
            let connected = matches!(socket.role, Role::Connected);
            let internet = socket.internet.as_ref();
            let unix = internet.is_none();
            if unix && kind == SocketKind::Stream && sent.to.is_some() {
                let errno = if connected { Errno::EISCONN } else { Errno::EOPNOTSUPP };
                return Err(errno.into());
            }
            if unix && !connected {
                return Err(Errno::ENOTCONN.into());
            }
            if (sent.waited || !unix)
                && let Some(errno) = self.socket_mut(id)?.error.take()
            {
                return Err(errno.into());
            }
            let socket = self.socket_mut(id)?;
            if socket.send_shut || !connected {
                return Err(broken());
            }
            if socket.peer.is_none() && !unix {
                socket.send_shut = true;
                self.wake_socket(id);
                return Ok(None);
            }
            let peer = socket.peer.filter(|peer| self.sockets.contains_key(peer));
            return peer.map(Some).ok_or_else(broken);
        }
        if let Some(errno) = self.socket_mut(id)?.error.take() {
            return Err(errno.into());
        }
        let socket = self.socket(id)?;
        let to = match sent.to {
            Some(address) => {
                let to = self.addressed(env, caller, address)?;
                if self.socket(to)?.kind != kind {
                    return Err(Errno::EPROTOTYPE.into());
                }
                self.check_may_send(id, to)?;
                to
            }
            None => socket.peer.ok_or(Errno::ENOTCONN)?,
        };
        let Some(receiver) = self.sockets.get(&to) else {
            self.socket_mut(id)?.peer = None;
            return Err(Errno::ECONNREFUSED.into());
        };
        if receiver.receive_shut || self.socket(id)?.send_shut {
            return Err(broken());
        }
        Ok(Some(to))
    }

    /// Whether a receiver has as much as it takes from somebody who is not its peer.
    fn is_full_for(&self, from: SocketId, to: SocketId) -> bool {
        self.sockets.get(&to).is_some_and(|receiver| {
            receiver.kind.keeps_messages()
                && receiver.peer != Some(from)
                && receiver.inbox.len() >= STRANGERS_MESSAGES
        })
    }

    /// A message is not under way any more.
    pub(super) fn received(&mut self, message: &Message) {
        if let Some(from) = message.from
            && let Some(sender) = self.sockets.get_mut(&from)
        {
            sender.under_way = sender.under_way.saturating_sub(message.cost());
            self.wakes.wake(WaitKey::SocketWritable(from));
        }
    }

    /// There is room at a receiver.
    pub(super) fn wake_senders_to(&mut self, id: SocketId) {
        self.wakes.wake(WaitKey::SocketRoom(id));
        for (sender, socket) in &self.sockets {
            if socket.peer == Some(id) {
                self.wakes.wake(WaitKey::SocketWritable(*sender));
            }
        }
    }

    /// Bytes of a message at most.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`.
    pub fn longest_message(&self, file: FileId) -> Result<usize, Errno> {
        Ok(self.socket(self.socket_of(file)?)?.longest_message())
    }

    /// Bytes that memory has to be ready for, so that a receive loses nothing: those of the first
    /// message, or all of a stream.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`.
    pub fn receivable(&self, file: FileId) -> Result<usize, Errno> {
        let socket = self.socket(self.socket_of(file)?)?;
        Ok(if socket.kind.keeps_messages() {
            socket.inbox.front().map_or(0, |message| message.left().len())
        } else {
            socket.len()
        })
    }

    /// Receives into `out`. `peek` leaves everything where it is, and gives no files; `now` fails
    /// rather than waits. What comes after bytes of the sender `after` is only taken if it is of the
    /// same one.
    ///
    /// # Errors
    /// As `recvmsg`; [`Stop::Wait`].
    pub fn receive(
        &mut self,
        file: FileId,
        out: &mut [u8],
        (peek, now): (bool, bool),
        after: Option<Credentials>,
        patience: Patience,
    ) -> Io<Received> {
        let id = self.socket_of(file)?;
        let may_wait = self.may_wait(file, now, patience)?;
        let socket = self.socket_mut(id)?;
        if socket.kind.connects() && !matches!(socket.role, Role::Connected) {
            return Err(socket.nothing_to_receive(id, may_wait));
        }
        if socket.inbox.is_empty() {
            if let Some(errno) = socket.error.take() {
                return Err(errno.into());
            }
            let ended = socket.receive_shut && (socket.kind.connects() || may_wait);
            if ended || out.is_empty() && socket.kind == SocketKind::Stream {
                return Ok(Received::default());
            }
            let key = WaitKey::SocketReadable(id);
            return Err(Stop::wait_if(may_wait, key, socket.receive_timeout));
        }
        let next = socket.inbox.front().map(|message| message.sender);
        if after.is_some_and(|after| next != Some(after)) {
            return Ok(Received::default());
        }
        let received = if peek { socket.peek(out) } else { self.take(id, out) };
        Ok(received)
    }

    fn take(&mut self, id: SocketId, out: &mut [u8]) -> Received {
        let mut received = Received { any: true, ..Received::default() };
        let mut done = Vec::new();
        let Some(socket) = self.sockets.get_mut(&id) else { return received };
        let keeps = socket.kind.keeps_messages();
        let tells = socket.wants_credentials();
        let was_full = keeps && socket.inbox.len() >= STRANGERS_MESSAGES;
        while let Some(message) = socket.inbox.front_mut() {
            let room = &mut out[received.count..];
            let count = message.left().len().min(room.len());
            if !keeps && count == 0 && received.count > 0 {
                break;
            }
            if tells && !received.is_of(message.sender) {
                break;
            }
            room[..count].copy_from_slice(&message.left()[..count]);
            received.count += count;
            received.whole += if keeps { message.left().len() } else { count };
            received.files = core::mem::take(&mut message.files);
            received.from = received.from.take().or_else(|| message.address.clone());
            message.taken += count;
            let used_up = keeps || message.left().is_empty();
            if used_up && let Some(message) = socket.inbox.pop_front() {
                done.push(message);
            }
            // What comes along belongs to the bytes before it.
            if keeps || !used_up || !received.files.is_empty() {
                break;
            }
        }
        self.sockets_under_way -= self.sockets_among(&received.files);
        for message in &done {
            self.received(message);
        }
        if was_full {
            self.wake_senders_to(id);
        }
        received
    }

    /// The poll events of a socket.
    pub(crate) fn poll_socket(&self, id: SocketId) -> u16 {
        const READABLE: u16 = poll::POLLIN | poll::POLLRDNORM;
        const WRITABLE: u16 = poll::POLLOUT | poll::POLLWRNORM | poll::POLLWRBAND;
        let Some(socket) = self.sockets.get(&id) else { return poll::POLLERR };
        let mut events = 0;
        if socket.error.is_some() {
            events |= poll::POLLERR;
        }
        if socket.receive_shut {
            events |= poll::POLLRDHUP | READABLE;
            if socket.send_shut {
                events |= poll::POLLHUP;
            }
        }
        let (waiting, listens) = match &socket.role {
            Role::Listening { waiting, .. } => (!waiting.is_empty(), true),
            _ => (!socket.inbox.is_empty(), false),
        };
        if waiting {
            events |= READABLE;
        }
        if socket.kind.connects() && matches!(socket.role, Role::Unconnected) {
            if let Some(Internet { connecting: Connecting::At(_), .. }) = socket.internet {
                return events;
            }
            events |= poll::POLLHUP;
        }
        let full = socket.peer.is_some_and(|peer| self.is_full_for(id, peer));
        if !listens && !full && socket.under_way * 4 <= socket.send_limit {
            events |= WRITABLE;
        }
        if socket.internet.is_some() && socket.kind == SocketKind::Stream {
            events &= !poll::POLLWRBAND;
        }
        events
    }

    /// Whether a file is a socket.
    #[must_use]
    pub fn is_socket(&self, file: FileId) -> bool {
        self.file(file).is_ok_and(|file| matches!(file.handle, Handle::Socket(_)))
    }
}

impl Socket {
    const fn longest_message(&self) -> usize {
        // As on Linux.
        if self.internet.is_some() { LONGEST } else { self.send_limit - 32 }
    }

    /// Why a receive of one that is not connected gives nothing.
    fn nothing_to_receive(&mut self, id: SocketId, may_wait: bool) -> Stop {
        match &self.internet {
            Some(Internet { connecting: Connecting::At(_), .. }) => {
                Stop::wait_if(may_wait, WaitKey::SocketReadable(id), self.receive_timeout)
            }
            Some(_) => self.error.take().unwrap_or(Errno::ENOTCONN).into(),
            None if self.kind == SocketKind::Stream => Errno::EINVAL.into(),
            None => Errno::ENOTCONN.into(),
        }
    }

    fn peek(&self, out: &mut [u8]) -> Received {
        let mut received = Received { any: true, ..Received::default() };
        for message in &self.inbox {
            if self.wants_credentials() && !received.is_of(message.sender) {
                break;
            }
            let room = &mut out[received.count..];
            let count = message.left().len().min(room.len());
            room[..count].copy_from_slice(&message.left()[..count]);
            received.count += count;
            received.whole += if self.kind.keeps_messages() { message.left().len() } else { count };
            received.from = received.from.take().or_else(|| message.address.clone());
            if self.kind.keeps_messages() || !message.files.is_empty() {
                break;
            }
        }
        received
    }
}
