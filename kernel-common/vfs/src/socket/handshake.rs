//! Connections of the Internet's streams.
//!
//! A program that does not wait is told `EINPROGRESS` and learns the outcome by `poll`, by `SO_ERROR`,
//! or by connecting again, as on Linux, although nearly always it is there at once: only for room at
//! the listener a connection has to wait.

use core::net::SocketAddr;

use maize_abi::Errno;

use super::internet::{Connecting, Internet, route, source};
use super::{Credentials, Role, Socket, SocketKind};
use crate::Vfs;
use crate::id::{FileId, SocketId};
use crate::outcome::{Io, Patience, Stop, WaitKey};

impl Vfs {
    /// `connect` of a stream.
    ///
    /// # Errors
    /// `EISCONN`, `EALREADY`, `EINPROGRESS`, `ECONNREFUSED`, `ENETUNREACH`, `EADDRNOTAVAIL`;
    /// [`Stop::Wait`] while too many connections wait at the listener.
    pub(super) fn connect_stream(
        &mut self,
        file: FileId,
        to: SocketAddr,
        patience: Patience,
    ) -> Io<()> {
        let id = self.socket_of(file)?;
        let nonblocking = self.file(file)?.is_nonblocking();
        let may_wait = self.may_wait(file, false, patience)?;
        let socket = self.socket_mut(id)?;
        let timeout = socket.send_timeout;
        let connected = matches!(socket.role, Role::Connected);
        if matches!(socket.role, Role::Listening { .. }) {
            return Err(Errno::EISCONN.into());
        }
        let internet = socket.internet_mut()?;
        match internet.connecting {
            Connecting::At(_) if nonblocking => return Err(Errno::EALREADY.into()),
            Connecting::At(_) => {
                return Err(Stop::wait_if(may_wait, WaitKey::SocketWritable(id), timeout));
            }
            Connecting::Decided if connected => {
                internet.connecting = Connecting::No;
                return Ok(());
            }
            Connecting::Decided => {
                internet.connecting = Connecting::No;
                (socket.receive_shut, socket.send_shut) = (false, false);
                // Who has asked for the error before is told something else.
                return Err(socket.error.take().unwrap_or(Errno::ECONNABORTED).into());
            }
            Connecting::No if connected => return Err(Errno::EISCONN.into()),
            Connecting::No => {}
        }
        let to = route(self.socket(id)?.internet()?, to)?;
        let Some(listener) = self.destination(SocketKind::Stream, None, to) else {
            if nonblocking {
                self.refuse(id);
                return Err(Errno::EINPROGRESS.into());
            }
            return Err(Errno::ECONNREFUSED.into());
        };
        let full = self.is_full(listener);
        if full && !nonblocking {
            return Err(Stop::wait_if(may_wait, WaitKey::SocketRoom(listener), timeout));
        }
        let internet = self.socket(id)?.internet()?;
        let from = source(internet, to.ip());
        match internet.local {
            None => self.bind_automatically(id, from, Errno::EADDRNOTAVAIL)?,
            // Who is bound to all addresses has one of them now; the port stays.
            Some(local) => {
                self.socket_mut(id)?.internet_mut()?.local = Some((from, local.port()).into());
            }
        }
        self.socket_mut(id)?.internet_mut()?.remote = Some(to);
        if full {
            self.socket_mut(id)?.internet_mut()?.connecting = Connecting::At(listener);
            if let Role::Listening { pending, .. } = &mut self.socket_mut(listener)?.role {
                pending.push_back(id);
            }
            return Err(Errno::EINPROGRESS.into());
        }
        self.join(id, listener, Credentials::NOBODY)?;
        if nonblocking {
            self.socket_mut(id)?.internet_mut()?.connecting = Connecting::Decided;
            return Err(Errno::EINPROGRESS.into());
        }
        Ok(())
    }

    /// Whether as many connections wait at a listener as it takes.
    pub(super) fn is_full(&self, listener: SocketId) -> bool {
        matches!(
            self.sockets.get(&listener).map(|socket| &socket.role),
            Some(Role::Listening { backlog, waiting, .. }) if waiting.len() > *backlog
        )
    }

    /// Connects a socket to one that listens, where the other end waits to be accepted.
    ///
    /// # Errors
    /// `EBADF` if one of them is gone.
    pub(super) fn join(
        &mut self,
        id: SocketId,
        listener: SocketId,
        by: Credentials,
    ) -> Result<(), Errno> {
        let kind = self.socket(id)?.kind;
        let ends =
            self.socket(id)?.internet.as_ref().map(|internet| (internet.local, internet.remote));
        let server = self.socket(listener)?;
        let theirs = server.peer_credentials;
        let mut far = Socket {
            role: Role::Connected,
            peer: Some(id),
            name: server.name.clone(),
            peer_credentials: by,
            unaccepted: true,
            ..Socket::new(kind)
        };
        if let (Some((local, _)), Some(internet)) = (ends, &server.internet) {
            far.internet = Some(Internet { remote: local, ..Internet::new(internet.family) });
            far.inherit(server);
        }
        let far = self.add_socket(far);
        if let Some((_, Some(remote))) = ends {
            self.take_port(far, remote)?;
        }
        let socket = self.socket_mut(id)?;
        (socket.role, socket.peer) = (Role::Connected, Some(far));
        socket.peer_credentials = if ends.is_some() { Credentials::NOBODY } else { theirs };
        if let Role::Listening { waiting, .. } = &mut self.socket_mut(listener)?.role {
            waiting.push_back(far);
        }
        self.wake_socket(id);
        self.wakes.wake(WaitKey::SocketReadable(listener));
        Ok(())
    }

    /// A listener has room: connections that wait for it are made.
    pub(super) fn connect_pending(&mut self, listener: SocketId) {
        while !self.is_full(listener) {
            let Some(Socket { role: Role::Listening { pending, .. }, .. }) =
                self.sockets.get_mut(&listener)
            else {
                return;
            };
            let Some(id) = pending.pop_front() else { return };
            // It is there: who is closed is not pending any more.
            if self.join(id, listener, Credentials::NOBODY).is_ok() {
                self.decide(id);
            }
        }
    }

    /// A connection that a program did not wait for is refused.
    pub(super) fn refuse(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.error = Some(Errno::ECONNREFUSED);
            (socket.receive_shut, socket.send_shut) = (true, true);
            if let Some(internet) = &mut socket.internet {
                internet.remote = None;
            }
        }
        self.decide(id);
    }

    fn decide(&mut self, id: SocketId) {
        if let Some(Socket { internet: Some(internet), .. }) = self.sockets.get_mut(&id) {
            internet.connecting = Connecting::Decided;
        }
        self.wake_socket(id);
    }

    /// A listener does not listen any more.
    pub(super) fn refuse_pending(&mut self, listener: SocketId) {
        if let Some(Socket { role: Role::Listening { pending, .. }, .. }) =
            self.sockets.get_mut(&listener)
        {
            for id in core::mem::take(pending) {
                self.refuse(id);
            }
        }
    }

    /// A socket that is closed waits for no listener any more.
    pub(super) fn forget_pending(&mut self, id: SocketId, socket: &Socket) {
        if let Some(Internet { connecting: Connecting::At(listener), .. }) = &socket.internet
            && let Some(Socket { role: Role::Listening { pending, .. }, .. }) =
                self.sockets.get_mut(listener)
        {
            pending.retain(|other| *other != id);
        }
    }
}
