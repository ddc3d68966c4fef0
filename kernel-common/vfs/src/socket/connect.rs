//! Names and connections of sockets.

use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;

use maize_abi::Errno;
use maize_abi::file::s;
use maize_abi::socket::SOMAXCONN;

use super::internet::{Connecting, Internet};
use super::{Address, Bound, Credentials, Role, SocketKind};
use crate::Vfs;
use crate::caller::{At, Caller, Surroundings};
use crate::file::Handle;
use crate::id::{FileId, SocketId};
use crate::inode::{Kind, Want};
use crate::names::MakeNode;
use crate::node::Node;
use crate::outcome::{Io, Patience, Stop, WaitKey};
use crate::path::{Follow, Walk};

/// Names that the system gives, as hexadecimal digits.
const AUTOMATIC_NAMES: u32 = 1 << 20;

impl Vfs {
    /// `bind`. Without an address the system gives a name.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`; `EINVAL` if it has a name; `EADDRINUSE`; those of `mknod`.
    pub fn bind_socket(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        file: FileId,
        address: Option<Address>,
    ) -> Result<(), Errno> {
        let id = self.socket_of(file)?;
        if self.socket(id)?.internet.is_some() {
            let Some(Address::Internet(at)) = address else { return Err(Errno::EAFNOSUPPORT) };
            return self.bind_internet(id, at);
        }
        if self.socket(id)?.name.is_some() {
            // One that has a name may ask for any.
            return if address.is_none() { Ok(()) } else { Err(Errno::EINVAL) };
        }
        let address = address.map_or_else(|| self.free_name(), Ok)?;
        let bound = match &address {
            Address::Internet(_) => return Err(Errno::EINVAL),
            Address::Abstract(name) => Bound::Abstract(name.clone()),
            Address::Path(path) => {
                let made = self.make_node(env, caller, (At::Cwd, path), MakeNode::Socket, 0o777);
                made.map_err(|errno| match errno {
                    Errno::EEXIST => Errno::EADDRINUSE,
                    errno => errno,
                })?;
                let mut walk = Walk::new(self, env.proc(), caller);
                match walk.existing(At::Cwd, path, Follow::No)? {
                    Node::Inode(inode) => Bound::Inode(inode),
                    Node::Proc(_) => return Err(Errno::EPERM),
                }
            }
        };
        if self.bound.contains_key(&bound) {
            return Err(Errno::EADDRINUSE);
        }
        self.bound.insert(bound.clone(), id);
        let socket = self.socket_mut(id)?;
        (socket.name, socket.bound) = (Some(Arc::new(address)), Some(bound));
        Ok(())
    }

    /// A name that no socket has.
    fn free_name(&mut self) -> Result<Address, Errno> {
        for _ in 0..AUTOMATIC_NAMES {
            self.next_name = (self.next_name + 1) % AUTOMATIC_NAMES;
            let name = format!("{:05x}", self.next_name).into_bytes();
            if !self.bound.contains_key(&Bound::Abstract(name.clone())) {
                return Ok(Address::Abstract(name));
            }
        }
        Err(Errno::ENOSPC)
    }

    /// The socket that an address leads to.
    ///
    /// # Errors
    /// `ECONNREFUSED` if there is none; those of a path.
    pub(super) fn addressed(
        &self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        address: &Address,
    ) -> Result<SocketId, Errno> {
        let bound = match address {
            Address::Internet(_) => return Err(Errno::EINVAL),
            Address::Abstract(name) => Bound::Abstract(name.clone()),
            Address::Path(path) => {
                let mut walk = Walk::new(self, env.proc(), caller);
                let node = walk.existing(At::Cwd, path, Follow::Yes)?;
                let Node::Inode(inode) = node else { return Err(Errno::ECONNREFUSED) };
                let found = self.tree.get(inode)?;
                found.permits(caller, Want::WRITE)?;
                if !matches!(found.kind, Kind::Socket) || found.mode & s::S_IFMT != s::S_IFSOCK {
                    return Err(Errno::ECONNREFUSED);
                }
                Bound::Inode(inode)
            }
        };
        self.bound.get(&bound).copied().ok_or(Errno::ECONNREFUSED)
    }

    /// `listen`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`; `EOPNOTSUPP` for datagrams; `EINVAL` if it is connected, or one of the
    /// machine that has no name; `EADDRINUSE`.
    pub fn listen(&mut self, caller: &Caller<'_>, file: FileId, backlog: u32) -> Result<(), Errno> {
        let id = self.socket_of(file)?;
        let socket = self.socket(id)?;
        if !socket.kind.connects() {
            return Err(Errno::EOPNOTSUPP);
        }
        match &socket.internet {
            None if socket.name.is_none() => return Err(Errno::EINVAL),
            None => {}
            Some(Internet { connecting: Connecting::At(_), .. }) => return Err(Errno::EINVAL),
            Some(_) if matches!(socket.role, Role::Connected) => return Err(Errno::EINVAL),
            Some(internet) if internet.local.is_none() => {
                self.bind_automatically(id, internet.any(), Errno::EADDRINUSE)?;
            }
            Some(_) => {}
        }
        // Who shares a port as long as nobody listens there does not any more.
        if !self.socket(id)?.listens() && self.is_taken(id) {
            return Err(Errno::EADDRINUSE);
        }
        let socket = self.socket_mut(id)?;
        let wanted = backlog.min(SOMAXCONN) as usize;
        match &mut socket.role {
            Role::Listening { backlog, .. } => *backlog = wanted,
            Role::Connected => return Err(Errno::EINVAL),
            Role::Unconnected => {
                let (waiting, pending) = (VecDeque::new(), VecDeque::new());
                socket.role = Role::Listening { backlog: wanted, waiting, pending };
            }
        }
        socket.peer_credentials = Credentials::of(caller);
        self.wakes.wake(WaitKey::SocketRoom(id));
        self.wake_socket(id);
        self.connect_pending(id);
        Ok(())
    }

    /// `connect`. Without an address a socket for datagrams forgets its peer.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `EINVAL`, `EISCONN`, `ECONNREFUSED`, `EPROTOTYPE`, `EPERM`, those of a
    /// path; [`Stop::Wait`] while too many connections wait.
    pub fn connect(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        file: FileId,
        address: Option<&Address>,
        patience: Patience,
    ) -> Io<()> {
        let id = self.socket_of(file)?;
        let may_wait = self.may_wait(file, false, patience)?;
        let kind = self.socket(id)?.kind;
        if self.socket(id)?.internet.is_some() {
            let to = match address {
                Some(Address::Internet(to)) => Some(*to),
                Some(_) => return Err(Errno::EAFNOSUPPORT.into()),
                None => None,
            };
            return match to {
                _ if kind == SocketKind::Datagram => Ok(self.connect_datagrams(id, to)?),
                Some(to) => self.connect_stream(file, to, patience),
                None => Err(Errno::EOPNOTSUPP.into()),
            };
        }
        let Some(address) = address else {
            if kind.connects() {
                return Err(Errno::EINVAL.into());
            }
            self.socket_mut(id)?.peer = None;
            self.wake_socket(id);
            return Ok(());
        };
        let other = self.addressed(env, caller, address)?;
        if self.socket(other)?.kind != kind {
            return Err(Errno::EPROTOTYPE.into());
        }
        if !kind.connects() {
            self.check_may_send(id, other)?;
            self.socket_mut(id)?.peer = Some(other);
            self.wake_socket(id);
            return Ok(());
        }
        match self.socket(id)?.role {
            Role::Unconnected => {}
            Role::Listening { .. } => return Err(Errno::EINVAL.into()),
            Role::Connected => return Err(Errno::EISCONN.into()),
        }
        let timeout = self.socket(id)?.send_timeout;
        let listener = self.socket(other)?;
        if !matches!(listener.role, Role::Listening { .. }) || listener.receive_shut {
            return Err(Errno::ECONNREFUSED.into());
        }
        if self.is_full(other) {
            return Err(Stop::wait_if(may_wait, WaitKey::SocketRoom(other), timeout));
        }
        Ok(self.join(id, other, Credentials::of(caller))?)
    }

    /// Whether one that is connected may be sent to by another.
    ///
    /// # Errors
    /// `EPERM` if it has another peer.
    pub(super) fn check_may_send(&self, from: SocketId, to: SocketId) -> Result<(), Errno> {
        match self.socket(to)?.peer {
            Some(peer) if peer != from => Err(Errno::EPERM),
            _ => Ok(()),
        }
    }

    /// `accept4`: a file for the connection that has waited longest. `status` is `O_NONBLOCK` or nothing.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `EOPNOTSUPP`, `ENFILE`; `EINVAL` if it does not listen; [`Stop::Wait`].
    pub fn accept(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        file: FileId,
        status: u32,
        patience: Patience,
    ) -> Io<FileId> {
        let id = self.socket_of(file)?;
        let may_wait = self.may_wait(file, false, patience)?;
        let socket = self.socket(id)?;
        if !socket.kind.connects() {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let Role::Listening { waiting, .. } = &socket.role else {
            return Err(Errno::EINVAL.into());
        };
        let Some(&far) = waiting.front() else {
            if socket.receive_shut {
                return Err(Errno::EINVAL.into());
            }
            let key = WaitKey::SocketReadable(id);
            return Err(Stop::wait_if(may_wait, key, socket.receive_timeout));
        };
        let accepted = self.add_nameless(env, caller, Handle::Socket(far), status)?;
        if let Role::Listening { waiting, .. } = &mut self.socket_mut(id)?.role {
            waiting.pop_front();
        }
        self.socket_mut(far)?.unaccepted = false;
        self.wakes.wake(WaitKey::SocketRoom(id));
        self.connect_pending(id);
        Ok(accepted)
    }

    /// `getsockname`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`.
    pub fn socket_name(&self, file: FileId) -> Result<Option<Cow<'_, Address>>, Errno> {
        let socket = self.socket(self.socket_of(file)?)?;
        Ok(match &socket.internet {
            None => socket.name.as_deref().map(Cow::Borrowed),
            Some(internet) => {
                let local = internet.local.unwrap_or((internet.any(), 0).into());
                Some(Cow::Owned(internet.family.shows(local)))
            }
        })
    }

    /// `getpeername`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `ENOTCONN`.
    pub fn peer_name(&self, file: FileId) -> Result<Option<Cow<'_, Address>>, Errno> {
        let socket = self.socket(self.socket_of(file)?)?;
        if let Some(internet) = &socket.internet {
            let ended = socket.receive_shut && socket.send_shut && socket.peer.is_none();
            let open = match socket.kind {
                SocketKind::Datagram => true,
                _ => matches!(socket.role, Role::Connected) && !ended,
            };
            let remote = internet.remote.filter(|_| open).ok_or(Errno::ENOTCONN)?;
            return Ok(Some(Cow::Owned(internet.family.shows(remote))));
        }
        let peer = socket.peer.ok_or(Errno::ENOTCONN)?;
        let peer = self.sockets.get(&peer).ok_or(Errno::ENOTCONN)?;
        Ok(peer.name.as_deref().map(Cow::Borrowed))
    }
}
