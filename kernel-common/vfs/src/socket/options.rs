//! Options of sockets.

use maize_abi::Errno;
use maize_abi::socket::{af, so};
use maize_hal::Nanos;

use super::{Credentials, Role, Socket};
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
}

impl SocketOption {
    /// The option of this number of `SOL_SOCKET`.
    ///
    /// # Errors
    /// `ENOPROTOOPT` for what is not known.
    pub const fn from_number(number: u32) -> Result<SocketOption, Errno> {
        Ok(match number {
            so::SO_TYPE | so::SO_ERROR | so::SO_ACCEPTCONN | so::SO_PROTOCOL | so::SO_DOMAIN => {
                SocketOption::Told(number)
            }
            so::SO_SNDBUF
            | so::SO_RCVBUF
            | so::SO_REUSEADDR
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
    const fn is_kept(&self, option: u32) -> bool {
        self.kept & 1 << option != 0
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
            SocketOption::PeerCredentials => SocketValue::Credentials(socket.peer_credentials),
            SocketOption::Time(so::SO_SNDTIMEO) => SocketValue::Time(socket.send_timeout),
            SocketOption::Time(_) => SocketValue::Time(socket.receive_timeout),
            SocketOption::Told(number) | SocketOption::Number(number) => {
                SocketValue::Number(match number {
                    so::SO_TYPE => socket.kind.number() as i32,
                    so::SO_DOMAIN => i32::from(af::AF_UNIX),
                    so::SO_PROTOCOL => 0,
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
