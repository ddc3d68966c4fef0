//! Sockets: making, naming, connecting, options.

use alloc::vec;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::o;
use maize_abi::socket::{SOCKADDR_MAX, af, ipproto, so, sock};
use maize_hal::{Arch, Nanos};
use maize_vfs::{Address, Family, FileId, SocketKind, SocketOption, SocketValue, socket_timeout};

use super::super::clock::timeval_bytes;
use super::super::{Call, CallResult};
use super::open::{install_new, install_pair};
use crate::state::State;
use crate::thread::Current;
use crate::user_memory::UserRange;

/// The family, the kind and the flags of a new socket.
///
/// # Errors
/// As `socket`.
fn kind<A: Arch>(call: Call<'_, A>) -> Result<(Family, SocketKind, u32), Errno> {
    let (domain, number, protocol) = (call.uint(0), call.uint(1), call.uint(2));
    let flags = number & !sock::SOCK_TYPE_MASK;
    if flags & !(o::O_CLOEXEC | o::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let family = Family::from_number(domain)?;
    let number = number & sock::SOCK_TYPE_MASK;
    // Before the kind is looked at, as on Linux.
    if number >= sock::SOCK_MAX {
        return Err(Errno::EINVAL);
    }
    if family == Family::Unix {
        if protocol > u32::from(af::AF_UNIX) {
            return Err(Errno::EPROTONOSUPPORT);
        }
        return Ok((family, SocketKind::from_number(number)?, flags));
    }
    if protocol >= ipproto::IPPROTO_MAX {
        return Err(Errno::EINVAL);
    }
    let (kind, own) = match number {
        sock::SOCK_STREAM => (SocketKind::Stream, ipproto::IPPROTO_TCP),
        sock::SOCK_DGRAM => (SocketKind::Datagram, ipproto::IPPROTO_UDP),
        // There is nothing below the two.
        sock::SOCK_RAW => return Err(Errno::EPROTONOSUPPORT),
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    if protocol != 0 && protocol != own {
        return Err(Errno::EPROTONOSUPPORT);
    }
    Ok((family, kind, flags))
}

/// The socket that argument 0 is a descriptor of, and its kind.
///
/// # Errors
/// `EBADF`, `ENOTSOCK`.
pub(super) fn socket_argument<A: Arch>(call: Call<'_, A>) -> Result<(FileId, SocketKind), Errno> {
    let file = call.file(0)?;
    Ok((file, call.k.with(|s| s.files.vfs.socket_kind(file))?))
}

pub(super) fn socket<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (family, kind, flags) = kind(call)?;
    install_new(call, flags & o::O_CLOEXEC != 0, |vfs, env, caller| {
        vfs.make_socket(env, caller, (family, kind), flags)
    })
}

pub(super) async fn pair<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (family, kind, flags) = kind(call)?;
    if family != Family::Unix {
        return Err(Errno::EOPNOTSUPP);
    }
    install_pair(call, call.args[3], flags, |vfs, env, caller| {
        vfs.make_socket_pair(env, caller, kind, flags)
    })
    .await
}

/// The bytes of an address that a program gives.
///
/// # Errors
/// `EINVAL` for a length that none has, `EFAULT`.
pub(super) async fn address_bytes<A: Arch>(
    call: Call<'_, A>,
    address: u64,
    len: u32,
) -> Result<Vec<u8>, Errno> {
    let len = usize::try_from(len).ok().filter(|len| *len <= SOCKADDR_MAX).ok_or(Errno::EINVAL)?;
    let mut bytes = vec![0; len];
    call.k.read_user(call.current, address, &mut bytes).await?;
    Ok(bytes)
}

/// Where a program wants an address to be put: as much of it as there is room for, and its length.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddressRoom {
    address: u64,
    len_at: u64,
    room: u64,
}

impl AddressRoom {
    /// The room at `address`, whose length is at `len_at`; none at all if `address` is 0.
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` for a length below 0.
    pub(super) async fn read<A: Arch>(
        call: Call<'_, A>,
        address: u64,
        len_at: u64,
    ) -> Result<Option<AddressRoom>, Errno> {
        if address == 0 {
            return Ok(None);
        }
        let len = call.k.read_u32(call.current, len_at).await? as i32;
        let room = u64::try_from(len).map_err(|_| Errno::EINVAL)?.min(SOCKADDR_MAX as u64);
        Ok(Some(AddressRoom { address, len_at, room }))
    }

    /// The room of a message's header.
    pub(super) fn of_header(address: u64, len: u32, len_at: u64) -> Option<AddressRoom> {
        let room = u64::from(len).min(SOCKADDR_MAX as u64);
        Some(AddressRoom { address, len_at, room }).filter(|_| address != 0)
    }

    /// What is written to.
    pub(super) const fn ranges(&self) -> [UserRange; 2] {
        [(self.len_at, 4), (self.address, self.room)]
    }

    /// Puts an address there, in a step in which its ranges are writable.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(super) fn put<A: Arch>(
        &self,
        s: &mut State<A>,
        current: Current,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        let count = bytes.len().min(self.room as usize);
        s.write_now(current, self.address, &bytes[..count])?;
        s.write_now(current, self.len_at, &(bytes.len() as u32).to_le_bytes())
    }
}

pub(super) async fn bind<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (file, _) = socket_argument(call)?;
    let bytes = address_bytes(call, call.args[1], call.uint(2)).await?;
    let family = call.k.with(|s| s.files.vfs.socket_family(file))?;
    // Only the family: any name.
    let any = family == Family::Unix && bytes == af::AF_UNIX.to_le_bytes();
    let address = if any { None } else { Some(Address::from_bytes(family, &bytes)?) };
    call.k
        .with(|s| {
            s.with_files(call.current, |vfs, env, caller| {
                vfs.bind_socket(env, caller, file, address)
            })
        })
        .map(|()| 0)
}

pub(super) fn listen<A: Arch>(call: Call<'_, A>) -> CallResult {
    let file = call.file(0)?;
    let backlog = call.uint(1);
    call.k
        .with(|s| s.with_files(call.current, |vfs, _, caller| vfs.listen(caller, file, backlog)))
        .map(|()| 0)
}

pub(super) async fn connect<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (file, kind) = socket_argument(call)?;
    let bytes = address_bytes(call, call.args[1], call.uint(2)).await?;
    let family = call.k.with(|s| s.files.vfs.socket_family(file))?;
    let may_forget = kind == SocketKind::Datagram || family != Family::Unix;
    let forgets = may_forget && Address::family(&bytes)? == af::AF_UNSPEC;
    let address = if forgets { None } else { Some(Address::from_bytes(family, &bytes)?) };
    call.wait_until(Errno::ERESTARTSYS, |s, patience| {
        s.with_files(call.current, |vfs, env, caller| {
            vfs.connect(env, caller, file, address.as_ref(), patience)
        })
    })
    .await
    .map(|()| 0)
}

pub(super) async fn accept<A: Arch>(call: Call<'_, A>, has_flags: bool) -> CallResult {
    let current = call.current;
    let flags = if has_flags { call.uint(3) } else { 0 };
    if flags & !(o::O_CLOEXEC | o::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let (file, _) = socket_argument(call)?;
    let room = AddressRoom::read(call, call.args[1], call.args[2]).await?;
    let ranges = room.as_ref().map(AddressRoom::ranges);
    let ranges = ranges.as_ref().map_or(&[][..], |ranges| ranges);
    loop {
        call.k.hold_all_writable(current, ranges).await?;
        let accepted = call
            .wait_until(Errno::ERESTARTSYS, |s, patience| {
                if !s.are_writable_now(current, ranges)? {
                    return Ok(None);
                }
                s.check_descriptor_room(current)?;
                let made = s.with_files(current, |vfs, env, caller| {
                    vfs.accept(env, caller, file, flags, patience)
                })?;
                let fd = s.install_file(current, made, flags & o::O_CLOEXEC != 0)?;
                if let Some(room) = &room {
                    let bytes = s.address_of(made, true);
                    room.put(s, current, &bytes)?;
                }
                Ok(Some(fd))
            })
            .await?;
        if let Some(fd) = accepted {
            return Ok(fd);
        }
    }
}

impl<A: Arch> State<A> {
    /// The bytes of a socket's address, or of its peer's.
    fn address_of(&self, file: FileId, peer: bool) -> Vec<u8> {
        let vfs = &self.files.vfs;
        let address = if peer { vfs.peer_name(file) } else { vfs.socket_name(file) };
        Address::to_bytes(address.unwrap_or(None).as_deref())
    }
}

pub(super) async fn name<A: Arch>(call: Call<'_, A>, peer: bool) -> CallResult {
    let current = call.current;
    let file = call.file(0)?;
    call.k.with(|s| {
        if peer { s.files.vfs.peer_name(file) } else { s.files.vfs.socket_name(file) }.map(|_| ())
    })?;
    let room = AddressRoom::read(call, call.args[1], call.args[2]).await?.ok_or(Errno::EFAULT)?;
    let exported = call.k.with_writable(current, room.ranges(), |s| {
        let bytes = s.address_of(file, peer);
        room.put(s, current, &bytes)
    });
    exported.await.map(|()| 0)
}

pub(super) fn shutdown<A: Arch>(call: Call<'_, A>) -> CallResult {
    let file = call.file(0)?;
    call.k.with(|s| s.files.vfs.shut_down(file, call.uint(1))).map(|()| 0)
}

/// The option that a call names.
///
/// # Errors
/// `ENOPROTOOPT`.
fn option<A: Arch>(call: Call<'_, A>) -> Result<(FileId, SocketOption), Errno> {
    let (file, _) = socket_argument(call)?;
    let (level, number) = (call.uint(1), call.uint(2));
    let option = match level {
        so::SOL_SOCKET => SocketOption::from_number(number)?,
        level => SocketOption::Protocol(level, number),
    };
    Ok((file, option))
}

fn value_bytes(value: SocketValue) -> Vec<u8> {
    match value {
        SocketValue::Number(number) => number.to_le_bytes().to_vec(),
        SocketValue::Time(time) => {
            let time = if time == Nanos::NEVER { Nanos(0) } else { time };
            timeval_bytes(time).to_vec()
        }
        SocketValue::Credentials(of) => {
            [of.pid, of.uid, of.gid].map(u32::to_le_bytes).as_flattened().to_vec()
        }
        SocketValue::Linger(on, seconds) => {
            [i32::from(on), seconds].map(i32::to_le_bytes).as_flattened().to_vec()
        }
    }
}

pub(super) async fn getsockopt<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, _, _, address, len_at, ..] = call.args;
    let current = call.current;
    let room = call.k.read_u32(current, len_at).await? as i32;
    let room = u64::try_from(room).map_err(|_| Errno::EINVAL)?;
    let (file, option) = option(call)?;
    let len = match option {
        SocketOption::Told(_) | SocketOption::Number(_) | SocketOption::Protocol(..) => 4,
        SocketOption::Linger => 8,
        SocketOption::Time(_) => 16,
        SocketOption::PeerCredentials => 12,
    };
    let len = room.min(len);
    let exported = call.k.with_writable(current, [(len_at, 4), (address, len)], |s| {
        let bytes = value_bytes(s.files.vfs.socket_option(file, option)?);
        s.write_now(current, address, &bytes[..len as usize])?;
        s.write_now(current, len_at, &(len as u32).to_le_bytes())
    });
    exported.await.map(|()| 0)
}

pub(super) async fn setsockopt<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (address, len) = (call.args[3], call.int(4));
    let len = u64::try_from(len).map_err(|_| Errno::EINVAL)?;
    let (file, option) = option(call)?;
    let value = match option {
        SocketOption::Linger => {
            if len < 8 {
                return Err(Errno::EINVAL);
            }
            let [both] = call.k.read_words::<1>(call.current, address).await?;
            SocketValue::Linger(both as i32 != 0, (both >> 32) as i32)
        }
        SocketOption::Number(_) | SocketOption::Protocol(..) => {
            if len < 4 {
                return Err(Errno::EINVAL);
            }
            SocketValue::Number(call.k.read_u32(call.current, address).await? as i32)
        }
        SocketOption::Time(_) => {
            if len < 16 {
                return Err(Errno::EINVAL);
            }
            let [seconds, microseconds] = call.k.read_words::<2>(call.current, address).await?;
            SocketValue::Time(socket_timeout(seconds as i64, microseconds as i64)?)
        }
        SocketOption::Told(_) | SocketOption::PeerCredentials => return Err(Errno::ENOPROTOOPT),
    };
    call.k.with(|s| s.files.vfs.set_socket_option(file, option, value)).map(|()| 0)
}
