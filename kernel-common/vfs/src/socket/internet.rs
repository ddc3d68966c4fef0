//! Sockets of the Internet's families (`AF_INET`, `AF_INET6`) on the one network that there is: the
//! machine itself (127.0.0.0/8, ::1), which all instances have in common.
//!
//! What was sent lies in the receiver's inbox as with sockets of the machine, and a connection is two
//! sockets that are each other's peer. What differs is here: addresses and ports, connections that
//! are made without waiting (`handshake.rs`), datagrams that may be lost (`datagram.rs`), and ends of
//! connections that stay half open (`close_socket`, `shut_down`).
//!
//! Addresses are kept as they are routed: one of version 4 is one whatever socket it came from.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;

use maize_abi::Errno;
use maize_abi::socket::so;

use super::{Family, Role, Socket, SocketKind};
use crate::Vfs;
use crate::id::SocketId;

/// Ports that the system gives (`net.ipv4.ip_local_port_range`).
const AUTOMATIC_PORTS: RangeInclusive<u16> = 32_768..=60_999;

/// How far a connection is that is made without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connecting {
    /// None is.
    No,
    /// It waits for room at this listener.
    At(SocketId),
    /// It was made or refused, and the program has not asked yet.
    Decided,
}

/// What a socket of the Internet's families has beside the rest.
#[derive(Debug)]
pub(super) struct Internet {
    pub(super) family: Family,
    /// Its own address. Without one it has no port.
    pub(super) local: Option<SocketAddr>,
    /// The other end's.
    pub(super) remote: Option<SocketAddr>,
    /// Whether a socket of version 6 leaves version 4 alone (`IPV6_V6ONLY`).
    pub(super) only_v6: bool,
    pub(super) connecting: Connecting,
    /// Closing resets the connection (`SO_LINGER` with no time).
    pub(super) resets: bool,
}

impl Internet {
    pub(super) const fn new(family: Family) -> Internet {
        Internet {
            family,
            local: None,
            remote: None,
            only_v6: false,
            connecting: Connecting::No,
            resets: false,
        }
    }

    /// The address that stands for all of the family's.
    pub(super) const fn any(&self) -> IpAddr {
        match self.family {
            Family::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }

    /// Whether what is sent to an address of the machine is for a socket of this one.
    fn hears(&self, ip: IpAddr) -> bool {
        self.local.is_some_and(|local| {
            let own = local.ip();
            let all = own.is_unspecified()
                && match ip {
                    IpAddr::V4(_) => own.is_ipv4() || !self.only_v6,
                    IpAddr::V6(_) => own.is_ipv6(),
                };
            all || own == ip
        })
    }

    fn overlaps(&self, other: &Internet) -> bool {
        let (Some(one), Some(two)) = (self.local, other.local) else { return false };
        self.hears(two.ip()) || other.hears(one.ip())
    }
}

/// Where what is sent to an address goes: to the machine itself, or nowhere.
///
/// # Errors
/// `ENETUNREACH`.
pub(super) fn route(from: &Internet, to: SocketAddr) -> Result<SocketAddr, Errno> {
    let ip = match to.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    if !ip.is_loopback() || from.only_v6 && ip.is_ipv4() {
        return Err(Errno::ENETUNREACH);
    }
    Ok((ip, to.port()).into())
}

/// The address that what is sent there comes from, if the sender has no other.
pub(super) fn source(of: &Internet, to: IpAddr) -> IpAddr {
    match of.local.map(|local| local.ip()) {
        Some(ip) if !ip.is_unspecified() => ip,
        _ if to.is_ipv4() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

impl Socket {
    /// What it has as one of the Internet's families.
    ///
    /// # Errors
    /// `EINVAL` if it is of another.
    pub(super) fn internet(&self) -> Result<&Internet, Errno> {
        self.internet.as_ref().ok_or(Errno::EINVAL)
    }

    pub(super) fn internet_mut(&mut self) -> Result<&mut Internet, Errno> {
        self.internet.as_mut().ok_or(Errno::EINVAL)
    }

    pub(super) fn family(&self) -> Family {
        self.internet.as_ref().map_or(Family::Unix, |internet| internet.family)
    }

    pub(super) const fn listens(&self) -> bool {
        matches!(self.role, Role::Listening { .. })
    }

    /// Whether it goes together with another of its port, whose address is not apart from its own.
    fn may_share_with(&self, other: &Socket) -> bool {
        let both = |option| self.is_kept(option) && other.is_kept(option);
        both(so::SO_REUSEPORT) || both(so::SO_REUSEADDR) && !other.listens()
    }
}

impl Vfs {
    /// The sockets that have a port.
    fn at_port(&self, kind: SocketKind, port: u16) -> impl Iterator<Item = (SocketId, &Socket)> {
        let ids = self.ports.get(&(kind, port)).map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(|id| Some((*id, self.sockets.get(id)?)))
    }

    /// Whether a socket's address is one that another has, who would not share it.
    pub(super) fn is_taken(&self, id: SocketId) -> bool {
        let Ok(socket) = self.socket(id) else { return false };
        let Ok(internet) = socket.internet() else { return false };
        let Some(local) = internet.local else { return false };
        self.at_port(socket.kind, local.port()).any(|(other_id, other)| {
            let overlaps = other.internet.as_ref().is_some_and(|other| internet.overlaps(other));
            other_id != id && overlaps && !socket.may_share_with(other)
        })
    }

    /// A port that no socket of the kind has.
    fn free_port(&mut self, kind: SocketKind) -> Option<u16> {
        for _ in AUTOMATIC_PORTS {
            let next = self.last_port.checked_add(1).filter(|port| AUTOMATIC_PORTS.contains(port));
            self.last_port = next.unwrap_or(*AUTOMATIC_PORTS.start());
            if !self.ports.contains_key(&(kind, self.last_port)) {
                return Some(self.last_port);
            }
        }
        None
    }

    /// Gives a socket its address.
    pub(super) fn take_port(&mut self, id: SocketId, local: SocketAddr) -> Result<(), Errno> {
        let socket = self.socket_mut(id)?;
        socket.internet_mut()?.local = Some(local);
        let kind = socket.kind;
        self.ports.entry((kind, local.port())).or_default().push(id);
        Ok(())
    }

    /// A socket that is gone, or gives up its address, has no port any more.
    pub(super) fn leave_port(&mut self, id: SocketId, kind: SocketKind, local: SocketAddr) {
        let key = (kind, local.port());
        if let Some(ids) = self.ports.get_mut(&key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.ports.remove(&key);
            }
        }
    }

    /// `bind`.
    ///
    /// # Errors
    /// `EINVAL` if it has an address; `EADDRNOTAVAIL` for one that is not the machine's; `EADDRINUSE`.
    pub(super) fn bind_internet(&mut self, id: SocketId, at: SocketAddr) -> Result<(), Errno> {
        let socket = self.socket(id)?;
        let internet = socket.internet()?;
        if internet.local.is_some() || internet.only_v6 && at.is_ipv4() {
            return Err(Errno::EINVAL);
        }
        if !at.ip().is_loopback() && !at.ip().is_unspecified() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if at.port() == 0 {
            return self.bind_automatically(id, at.ip(), Errno::EADDRINUSE);
        }
        self.take_port(id, at)?;
        if self.is_taken(id) {
            self.unbind(id)?;
            return Err(Errno::EADDRINUSE);
        }
        Ok(())
    }

    /// Gives a socket a port, and an address without one.
    pub(super) fn bind_automatically(
        &mut self,
        id: SocketId,
        ip: IpAddr,
        none_free: Errno,
    ) -> Result<(), Errno> {
        let kind = self.socket(id)?.kind;
        let port = self.free_port(kind).ok_or(none_free)?;
        self.take_port(id, (ip, port).into())
    }

    /// Takes a socket's address away.
    pub(super) fn unbind(&mut self, id: SocketId) -> Result<(), Errno> {
        let socket = self.socket_mut(id)?;
        let kind = socket.kind;
        if let Some(local) = socket.internet_mut()?.local.take() {
            self.leave_port(id, kind, local);
        }
        Ok(())
    }

    /// The socket that what is sent from one address to another is for: of several the one that asks
    /// most precisely, and of these the one that came last.
    pub(super) fn destination(
        &self,
        kind: SocketKind,
        from: Option<SocketAddr>,
        to: SocketAddr,
    ) -> Option<SocketId> {
        let fits = self.at_port(kind, to.port()).filter(|(_, socket)| {
            let role = match kind {
                SocketKind::Stream => socket.listens() && !socket.receive_shut,
                _ => true,
            };
            let internet = socket.internet.as_ref();
            let known = |internet: &Internet| internet.remote.is_none_or(|it| Some(it) == from);
            role && internet
                .is_some_and(|it| it.hears(to.ip()) && (kind == SocketKind::Stream || known(it)))
        });
        let precision = |socket: &Socket| {
            socket.internet.as_ref().map_or((false, false), |internet| {
                let exact = internet.local.is_some_and(|local| local.ip() == to.ip());
                (kind != SocketKind::Stream && internet.remote.is_some(), exact)
            })
        };
        fits.max_by_key(|(_, socket)| precision(socket)).map(|(id, _)| id)
    }
}
