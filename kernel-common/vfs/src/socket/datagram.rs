//! Datagrams of the Internet's families: whoever has the address gets them, if there is room.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use maize_abi::Errno;

use super::internet::{route, source};
use super::{Address, Credentials, Message, Sent, SocketKind};
use crate::Vfs;
use crate::id::SocketId;
use crate::outcome::{Io, WaitKey};

/// Bytes of a datagram at most: those of a packet without its headers.
pub(super) const LONGEST: usize = 65_507;

impl Vfs {
    /// `connect` of datagrams: where they go, and where alone they come from. Without an address both
    /// are open again.
    ///
    /// # Errors
    /// `ENETUNREACH`, `EAGAIN` if no port is free.
    pub(super) fn connect_datagrams(
        &mut self,
        id: SocketId,
        to: Option<SocketAddr>,
    ) -> Result<(), Errno> {
        let internet = self.socket(id)?.internet()?;
        let to = to.map(|to| route(internet, to)).transpose()?;
        if let Some(to) = to {
            let from = source(internet, to.ip());
            match internet.local {
                None => self.bind_automatically(id, from, Errno::EAGAIN)?,
                Some(local) => {
                    self.socket_mut(id)?.internet_mut()?.local = Some((from, local.port()).into());
                }
            }
        }
        let socket = self.socket_mut(id)?;
        socket.error = None;
        socket.internet_mut()?.remote = to;
        self.wake_socket(id);
        Ok(())
    }

    /// Sends a datagram. One that nobody has a socket for, or room, is lost; a sender that is
    /// connected is told of the first the next time.
    ///
    /// # Errors
    /// `EDESTADDRREQ`, `ENETUNREACH`, `EMSGSIZE`, `EPIPE`, `EINVAL` for port 0, `EAGAIN` if no port is
    /// free; the error of an earlier datagram.
    pub(super) fn send_datagram(&mut self, id: SocketId, sent: &Sent<'_>) -> Io<usize> {
        // As on Linux, whoever tries has an address.
        let internet = self.socket(id)?.internet()?;
        if internet.local.is_none() {
            self.bind_automatically(id, internet.any(), Errno::EAGAIN)?;
        }
        let socket = self.socket_mut(id)?;
        if let Some(errno) = socket.error.take() {
            return Err(errno.into());
        }
        if socket.send_shut {
            return Err(Errno::EPIPE.into());
        }
        let internet = socket.internet()?;
        let to = match sent.to {
            Some(Address::Internet(to)) if to.port() == 0 => return Err(Errno::EINVAL.into()),
            Some(Address::Internet(to)) => route(internet, *to)?,
            Some(_) => return Err(Errno::EAFNOSUPPORT.into()),
            None => internet.remote.ok_or(Errno::EDESTADDRREQ)?,
        };
        if sent.bytes.len() > LONGEST {
            return Err(Errno::EMSGSIZE.into());
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(sent.bytes.len()).map_err(|_| Errno::ENOBUFS)?;
        bytes.extend_from_slice(sent.bytes);
        let internet = self.socket(id)?.internet()?;
        let port = internet.local.map_or(0, |local| local.port());
        let from: SocketAddr = (source(internet, to.ip()), port).into();
        let Some(receiver) = self.destination(SocketKind::Datagram, Some(from), to) else {
            if sent.to.is_none() {
                self.socket_mut(id)?.error = Some(Errno::ECONNREFUSED);
                self.wake_socket(id);
            }
            return Ok(sent.bytes.len());
        };
        let there = self.socket_mut(receiver)?;
        let address = Some(Arc::new(there.family().shows(from)));
        let message = Message {
            bytes,
            taken: 0,
            files: Vec::new(),
            from: None,
            address,
            sender: Credentials::NOBODY,
        };
        let waiting: usize = there.inbox.iter().map(Message::cost).sum();
        if waiting == 0 || waiting + message.cost() <= there.receive_limit {
            there.inbox.push_back(message);
            self.wakes.wake(WaitKey::SocketReadable(receiver));
        }
        Ok(sent.bytes.len())
    }
}
