//! Options of sockets.

use maize_abi::Errno;
use maize_abi::socket::ipproto::{IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP};
use maize_abi::socket::{ip, ipv6, so, tcp};
use maize_hal::Nanos;

use super::{Credentials, Family, Role, Socket, SocketKind};
use crate::Vfs;
use crate::id::FileId;

/// Bounds on what a socket is told that it may have under way, doubled as on Linux.
const LIMITS: core::ops::RangeInclusive<usize> = 4608..=425_984;

/// What an option is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOption {
    /// An `int` that is only told.
    Told(u32),
    /// An `int` that is kept, and told.
    Number(u32),
    /// `struct timeval`, of `SO_RCVTIMEO` or `SO_SNDTIMEO`.
    Time(u32),
    /// `struct ucred`.
    PeerCredentials,
    /// `struct linger`.
    Linger,
    /// An `int` of a protocol, by its level and number.
    Protocol(u32, u32),
}

/// An option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketValue {
    /// An `int`.
    Number(i32),
    /// A time; [`Nanos::NEVER`] for none.
    Time(Nanos),
    /// `struct ucred`.
    Credentials(Credentials),
    /// `struct linger`: whether a close waits, and how many seconds.
    Linger(bool, i32),
}

/// An option of a protocol that is kept and changes nothing: level, number, value at first, and the
/// values it may have. Of those from 0 to 1 any but 0 is 1.
type Kept = (u32, u32, i32, core::ops::RangeInclusive<i32>);

/// The options of protocols, but for `IPV6_V6ONLY`.
#[rustfmt::skip]
const KEPT: &[Kept] = &[
    (IPPROTO_TCP, tcp::TCP_NODELAY, 0, 0..=1),
    (IPPROTO_TCP, tcp::TCP_MAXSEG, 536, 88..=32_767),
    (IPPROTO_TCP, tcp::TCP_CORK, 0, 0..=1),
    (IPPROTO_TCP, tcp::TCP_KEEPIDLE, 7200, 1..=32_767),
    (IPPROTO_TCP, tcp::TCP_KEEPINTVL, 75, 1..=32_767),
    (IPPROTO_TCP, tcp::TCP_KEEPCNT, 9, 1..=127),
    (IPPROTO_TCP, tcp::TCP_SYNCNT, 6, 1..=127),
    (IPPROTO_TCP, tcp::TCP_LINGER2, 60, i32::MIN..=i32::MAX),
    (IPPROTO_TCP, tcp::TCP_DEFER_ACCEPT, 0, i32::MIN..=i32::MAX),
    (IPPROTO_TCP, tcp::TCP_WINDOW_CLAMP, 0, i32::MIN..=i32::MAX),
    (IPPROTO_TCP, tcp::TCP_QUICKACK, 1, 0..=1),
    (IPPROTO_TCP, tcp::TCP_USER_TIMEOUT, 0, 0..=i32::MAX),
    (IPPROTO_TCP, tcp::TCP_FASTOPEN, 0, 0..=i32::MAX),
    (IPPROTO_TCP, tcp::TCP_NOTSENT_LOWAT, 0, i32::MIN..=i32::MAX),
    (IPPROTO_IP, ip::IP_TOS, 0, i32::MIN..=i32::MAX),
    (IPPROTO_IP, ip::IP_TTL, 64, 1..=255),
    (IPPROTO_IP, ip::IP_MTU_DISCOVER, 1, 0..=5),
    (IPPROTO_IP, ip::IP_RECVERR, 0, 0..=1),
    (IPPROTO_IP, ip::IP_FREEBIND, 0, 0..=1),
    (IPPROTO_IP, ip::IP_BIND_ADDRESS_NO_PORT, 0, 0..=1),
    (IPPROTO_IP, ip::IP_MULTICAST_TTL, 1, 0..=255),
    (IPPROTO_IP, ip::IP_MULTICAST_LOOP, 1, 0..=1),
    (IPPROTO_IPV6, ipv6::IPV6_UNICAST_HOPS, 64, -1..=255),
    (IPPROTO_IPV6, ipv6::IPV6_MULTICAST_HOPS, 1, -1..=255),
    (IPPROTO_IPV6, ipv6::IPV6_MULTICAST_LOOP, 1, 0..=1),
    (IPPROTO_IPV6, ipv6::IPV6_MTU_DISCOVER, 1, 0..=5),
    (IPPROTO_IPV6, ipv6::IPV6_RECVERR, 0, 0..=1),
    (IPPROTO_IPV6, ipv6::IPV6_TCLASS, 0, -1..=255),
];

fn kept(level: u32, number: u32) -> Option<&'static Kept> {
    KEPT.iter().find(|kept| (kept.0, kept.1) == (level, number))
}

impl SocketOption {
    /// The option of this number of `SOL_SOCKET` on a socket of any family.
    ///
    /// # Errors
    /// `ENOPROTOOPT` for what is not known.
    pub const fn from_number(number: u32) -> Result<SocketOption, Errno> {
        Ok(match number {
            so::SO_TYPE | so::SO_ERROR | so::SO_ACCEPTCONN | so::SO_PROTOCOL | so::SO_DOMAIN => {
                SocketOption::Told(number)
            }
            so::SO_LINGER => SocketOption::Linger,
            so::SO_PRIORITY => SocketOption::Protocol(so::SOL_SOCKET, number),
            so::SO_SNDBUF
            | so::SO_RCVBUF
            | so::SO_REUSEADDR
            | so::SO_REUSEPORT
            | so::SO_DEBUG
            | so::SO_DONTROUTE
            | so::SO_OOBINLINE
            | so::SO_NO_CHECK
            | so::SO_BROADCAST
            | so::SO_KEEPALIVE
            | so::SO_PASSCRED
            | so::SO_RCVLOWAT => SocketOption::Number(number),
            so::SO_RCVTIMEO | so::SO_SNDTIMEO => SocketOption::Time(number),
            so::SO_PEERCRED => SocketOption::PeerCredentials,
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }
}

impl Socket {
    pub(super) const fn is_kept(&self, option: u32) -> bool {
        self.kept & 1 << option != 0
    }

    /// Takes over what a connection has from the listener that it was made to.
    pub(super) fn inherit(&mut self, from: &Socket) {
        self.kept = from.kept;
        self.numbers = from.numbers.clone();
        (self.send_limit, self.receive_limit) = (from.send_limit, from.receive_limit);
        if let (Some(own), Some(from)) = (&mut self.internet, &from.internet) {
            (own.only_v6, own.resets) = (from.only_v6, from.resets);
        }
    }

    /// The level of options of its protocol, and the protocol.
    fn protocol(&self) -> u32 {
        match (&self.internet, self.kind) {
            (None, _) => 0,
            (Some(_), SocketKind::Datagram) => IPPROTO_UDP,
            (Some(_), _) => IPPROTO_TCP,
        }
    }

    /// # Errors
    /// `EOPNOTSUPP` for a level of a family that is not its own, on a socket of the machine;
    /// `ENOPROTOOPT` for what is not known.
    fn check_protocol(&self, level: u32, number: u32) -> Result<(), Errno> {
        if level == so::SOL_SOCKET {
            return Ok(());
        }
        let own = match self.family() {
            Family::Unix => return Err(Errno::EOPNOTSUPP),
            Family::Inet => IPPROTO_IP,
            Family::Inet6 => IPPROTO_IPV6,
        };
        let only_v6 = (level, number) == (IPPROTO_IPV6, ipv6::IPV6_V6ONLY);
        let known = only_v6 || kept(level, number).is_some();
        if known && (level == own || level == self.protocol()) {
            Ok(())
        } else {
            Err(Errno::ENOPROTOOPT)
        }
    }

    fn number(&self, level: u32, number: u32) -> i32 {
        if (level, number) == (IPPROTO_IPV6, ipv6::IPV6_V6ONLY) {
            return self.internet.as_ref().map_or(0, |internet| i32::from(internet.only_v6));
        }
        let first = || kept(level, number).map_or(0, |kept| kept.2);
        self.numbers.get(&(level, number)).copied().unwrap_or_else(first)
    }

    /// # Errors
    /// `EINVAL` for a value that it cannot have, or now.
    fn set_number(&mut self, level: u32, number: u32, value: i32) -> Result<(), Errno> {
        if (level, number) == (IPPROTO_IPV6, ipv6::IPV6_V6ONLY) {
            let internet = self.internet_mut()?;
            if internet.local.is_some() {
                return Err(Errno::EINVAL);
            }
            internet.only_v6 = value != 0;
            return Ok(());
        }
        let value = match kept(level, number) {
            Some((_, _, _, range)) if *range == (0..=1) => i32::from(value != 0),
            Some((_, _, _, range)) if !range.contains(&value) => return Err(Errno::EINVAL),
            _ => value,
        };
        self.numbers.insert((level, number), value);
        Ok(())
    }

    /// Whether who receives is told who has sent.
    pub(super) const fn wants_credentials(&self) -> bool {
        self.is_kept(so::SO_PASSCRED)
    }
}

impl Vfs {
    /// `getsockopt`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `ENOPROTOOPT`.
    pub fn socket_option(
        &mut self,
        file: FileId,
        option: SocketOption,
    ) -> Result<SocketValue, Errno> {
        let id = self.socket_of(file)?;
        let socket = self.socket_mut(id)?;
        Ok(match option {
            SocketOption::Linger => {
                let (on, seconds) = socket.linger.unwrap_or_default();
                SocketValue::Linger(on, seconds)
            }
            SocketOption::Protocol(level, number) => {
                socket.check_protocol(level, number)?;
                SocketValue::Number(socket.number(level, number))
            }
            SocketOption::PeerCredentials => SocketValue::Credentials(socket.peer_credentials),
            SocketOption::Time(so::SO_SNDTIMEO) => SocketValue::Time(socket.send_timeout),
            SocketOption::Time(_) => SocketValue::Time(socket.receive_timeout),
            SocketOption::Told(number) | SocketOption::Number(number) => {
                SocketValue::Number(match number {
                    so::SO_TYPE => socket.kind.number() as i32,
                    so::SO_DOMAIN => i32::from(socket.family().number()),
                    so::SO_PROTOCOL => socket.protocol() as i32,
                    // Told once.
                    so::SO_ERROR => socket.error.take().map_or(0, |errno| errno.number() as i32),
                    so::SO_ACCEPTCONN => i32::from(matches!(socket.role, Role::Listening { .. })),
                    so::SO_SNDBUF => socket.send_limit as i32,
                    so::SO_RCVBUF => socket.receive_limit as i32,
                    so::SO_RCVLOWAT => 1,
                    number => i32::from(socket.is_kept(number)),
                })
            }
        })
    }

    /// `setsockopt`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `ENOPROTOOPT`.
    pub fn set_socket_option(
        &mut self,
        file: FileId,
        option: SocketOption,
        value: SocketValue,
    ) -> Result<(), Errno> {
        let id = self.socket_of(file)?;
        let socket = self.socket_mut(id)?;
        match (option, value) {
            (SocketOption::Time(so::SO_SNDTIMEO), SocketValue::Time(time)) => {
                socket.send_timeout = time;
            }
            (SocketOption::Time(_), SocketValue::Time(time)) => socket.receive_timeout = time,
            (SocketOption::Linger, SocketValue::Linger(on, seconds)) => {
                socket.linger = Some((on, seconds));
                if let Some(internet) = &mut socket.internet {
                    internet.resets = on && seconds == 0;
                }
            }
            (SocketOption::Protocol(level, number), SocketValue::Number(value)) => {
                socket.check_protocol(level, number)?;
                socket.set_number(level, number, value)?;
            }
            (SocketOption::Number(number), SocketValue::Number(value)) => {
                let limit =
                    (value.max(0) as usize).saturating_mul(2).clamp(*LIMITS.start(), *LIMITS.end());
                match number {
                    so::SO_SNDBUF => socket.send_limit = limit,
                    so::SO_RCVBUF => socket.receive_limit = limit,
                    // A receive gives whatever is there.
                    so::SO_RCVLOWAT if value != 1 => return Err(Errno::ENOPROTOOPT),
                    number => {
                        let bit = 1 << number;
                        socket.kept =
                            if value != 0 { socket.kept | bit } else { socket.kept & !bit };
                    }
                }
                self.wake_socket(id);
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }
}

/// How long a wait lasts that is given as `struct timeval`: 0 is for ever.
///
/// # Errors
/// `EDOM` for microseconds that are none.
pub fn socket_timeout(seconds: i64, microseconds: i64) -> Result<Nanos, Errno> {
    if !(0..1_000_000).contains(&microseconds) {
        return Err(Errno::EDOM);
    }
    if (seconds, microseconds) == (0, 0) {
        return Ok(Nanos::NEVER);
    }
    // As on Linux, a time before now is none at all.
    let seconds = seconds.max(0) as u64;
    let nanos = seconds.saturating_mul(1_000_000_000).saturating_add(microseconds as u64 * 1000);
    Ok(Nanos(nanos))
}
