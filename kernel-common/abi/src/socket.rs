//! Numbers and structures of Linux's socket calls, which all 64-bit instruction sets have in common.

/// Address families.
pub mod af {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const AF_UNSPEC: u16 = 0;
    pub const AF_UNIX: u16 = 1;
    pub const AF_INET: u16 = 2;
    pub const AF_INET6: u16 = 10;
}

/// Types of sockets, and what `socket` takes with them: `SOCK_NONBLOCK` and `SOCK_CLOEXEC` are the
/// flags of `open`.
pub mod sock {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const SOCK_STREAM: u32 = 1;
    pub const SOCK_DGRAM: u32 = 2;
    pub const SOCK_RAW: u32 = 3;
    pub const SOCK_SEQPACKET: u32 = 5;
    /// Types are below this.
    pub const SOCK_MAX: u32 = 11;
    pub const SOCK_TYPE_MASK: u32 = 0xf;
}

/// Flags of `sendmsg` and `recvmsg`.
pub mod msg {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const MSG_OOB: u32 = 1;
    pub const MSG_PEEK: u32 = 2;
    pub const MSG_DONTROUTE: u32 = 4;
    pub const MSG_CTRUNC: u32 = 8;
    pub const MSG_TRUNC: u32 = 0x20;
    pub const MSG_DONTWAIT: u32 = 0x40;
    pub const MSG_EOR: u32 = 0x80;
    pub const MSG_WAITALL: u32 = 0x100;
    pub const MSG_CONFIRM: u32 = 0x800;
    pub const MSG_NOSIGNAL: u32 = 0x4000;
    pub const MSG_MORE: u32 = 0x8000;
    /// Of `recvmmsg`.
    pub const MSG_WAITFORONE: u32 = 0x1_0000;
    pub const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;
}

/// Options of `SOL_SOCKET`.
pub mod so {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const SOL_SOCKET: u32 = 1;
    pub const SO_DEBUG: u32 = 1;
    pub const SO_REUSEADDR: u32 = 2;
    pub const SO_TYPE: u32 = 3;
    pub const SO_ERROR: u32 = 4;
    pub const SO_DONTROUTE: u32 = 5;
    pub const SO_BROADCAST: u32 = 6;
    pub const SO_SNDBUF: u32 = 7;
    pub const SO_RCVBUF: u32 = 8;
    pub const SO_KEEPALIVE: u32 = 9;
    pub const SO_OOBINLINE: u32 = 10;
    pub const SO_NO_CHECK: u32 = 11;
    pub const SO_PRIORITY: u32 = 12;
    pub const SO_LINGER: u32 = 13;
    pub const SO_REUSEPORT: u32 = 15;
    pub const SO_PASSCRED: u32 = 16;
    pub const SO_PEERCRED: u32 = 17;
    pub const SO_RCVLOWAT: u32 = 18;
    pub const SO_RCVTIMEO: u32 = 20;
    pub const SO_SNDTIMEO: u32 = 21;
    pub const SO_ACCEPTCONN: u32 = 30;
    pub const SO_PROTOCOL: u32 = 38;
    pub const SO_DOMAIN: u32 = 39;
}

/// Protocols of the Internet's families, which are levels of options, too.
pub mod ipproto {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const IPPROTO_IP: u32 = 0;
    pub const IPPROTO_TCP: u32 = 6;
    pub const IPPROTO_UDP: u32 = 17;
    pub const IPPROTO_IPV6: u32 = 41;
    /// Protocols are below this.
    pub const IPPROTO_MAX: u32 = 263;
}

/// Options of `IPPROTO_TCP`.
pub mod tcp {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const TCP_NODELAY: u32 = 1;
    pub const TCP_MAXSEG: u32 = 2;
    pub const TCP_CORK: u32 = 3;
    pub const TCP_KEEPIDLE: u32 = 4;
    pub const TCP_KEEPINTVL: u32 = 5;
    pub const TCP_KEEPCNT: u32 = 6;
    pub const TCP_SYNCNT: u32 = 7;
    pub const TCP_LINGER2: u32 = 8;
    pub const TCP_DEFER_ACCEPT: u32 = 9;
    pub const TCP_WINDOW_CLAMP: u32 = 10;
    pub const TCP_QUICKACK: u32 = 12;
    pub const TCP_USER_TIMEOUT: u32 = 18;
    pub const TCP_FASTOPEN: u32 = 23;
    pub const TCP_NOTSENT_LOWAT: u32 = 25;
}

/// Options of `IPPROTO_IP`.
pub mod ip {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const IP_TOS: u32 = 1;
    pub const IP_TTL: u32 = 2;
    pub const IP_MTU_DISCOVER: u32 = 10;
    pub const IP_RECVERR: u32 = 11;
    pub const IP_FREEBIND: u32 = 15;
    pub const IP_BIND_ADDRESS_NO_PORT: u32 = 24;
    pub const IP_MULTICAST_TTL: u32 = 33;
    pub const IP_MULTICAST_LOOP: u32 = 34;
}

/// Options of `IPPROTO_IPV6`.
pub mod ipv6 {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const IPV6_UNICAST_HOPS: u32 = 16;
    pub const IPV6_MULTICAST_HOPS: u32 = 18;
    pub const IPV6_MULTICAST_LOOP: u32 = 19;
    pub const IPV6_MTU_DISCOVER: u32 = 23;
    pub const IPV6_RECVERR: u32 = 25;
    pub const IPV6_V6ONLY: u32 = 26;
    pub const IPV6_TCLASS: u32 = 67;
}

/// `SCM_RIGHTS`: a control message with descriptors.
pub const SCM_RIGHTS: u32 = 1;
/// `SCM_CREDENTIALS`: a control message with who sends, a `struct ucred`.
pub const SCM_CREDENTIALS: u32 = 2;
/// Descriptors in one message at most.
pub const SCM_MAX_FD: usize = 253;

/// What `shutdown` ends.
pub mod shut {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const SHUT_RD: u32 = 0;
    pub const SHUT_WR: u32 = 1;
    pub const SHUT_RDWR: u32 = 2;
}

/// Bytes of a `struct sockaddr_un` before its path.
pub const UNIX_PATH_AT: usize = 2;
/// Bytes of a whole `struct sockaddr_un`.
pub const SOCKADDR_UN_LEN: usize = 110;
/// Bytes of a `struct sockaddr_in`.
pub const SOCKADDR_IN_LEN: usize = 16;
/// Bytes of a `struct sockaddr_in6`.
pub const SOCKADDR_IN6_LEN: usize = 28;
/// Bytes of one at least, without what came later (`SIN6_LEN_RFC2133`).
pub const SOCKADDR_IN6_LEAST: usize = 24;
/// Bytes of the longest address (`struct sockaddr_storage`).
pub const SOCKADDR_MAX: usize = 128;
/// Connections that wait at most, whatever `listen` asks for (`net.core.somaxconn`).
pub const SOMAXCONN: u32 = 4096;

/// Bytes of a `struct mmsghdr`: a `struct msghdr`, and how many bytes were sent or received.
pub const MMSGHDR_LEN: u64 = 64;
/// Messages of one `sendmmsg` or `recvmmsg` at most.
pub const MMSG_MAX: u32 = 1024;

/// `struct msghdr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsgHdr {
    /// Where an address is, or goes to; 0 if nowhere.
    pub name: u64,
    /// Bytes there.
    pub name_len: u32,
    /// The array of pieces.
    pub iov: u64,
    /// Pieces.
    pub iov_len: u64,
    /// Where control messages are, or go to.
    pub control: u64,
    /// Bytes there.
    pub control_len: u64,
}

impl MsgHdr {
    /// Bytes of the structure.
    pub const LEN: usize = 56;
    /// Where the length of the name is.
    pub const NAME_LEN_AT: u64 = 8;
    /// Where the length of the control messages is.
    pub const CONTROL_LEN_AT: u64 = 40;
    /// Where the flags are.
    pub const FLAGS_AT: u64 = 48;

    /// The structure in these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> MsgHdr {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |n: usize| u64::from_le_bytes(words[n]);
        MsgHdr {
            name: word(0),
            name_len: word(1) as u32,
            iov: word(2),
            iov_len: word(3),
            control: word(4),
            control_len: word(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_c_has_them() {
        let mut bytes = [0; MsgHdr::LEN];
        for (n, word) in [1_u64, 2, 3, 4, 5, 6, 7].iter().enumerate() {
            bytes[n * 8..n * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        let header = MsgHdr::from_bytes(&bytes);
        assert_eq!((header.name, header.name_len, header.iov), (1, 2, 3));
        assert_eq!((header.iov_len, header.control, header.control_len), (4, 5, 6));
    }
}
