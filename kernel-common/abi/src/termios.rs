//! Terminals: modes, control characters, `ioctl` requests.
//!
//! The numbers are those of Linux's generic header, which x86_64 and aarch64 share.
#![allow(missing_docs, reason = "the names are Linux's own")]

/// `c_iflag` bits.
pub mod iflag {
    pub const IGNBRK: u32 = 0o1;
    pub const BRKINT: u32 = 0o2;
    pub const ISTRIP: u32 = 0o40;
    pub const INLCR: u32 = 0o100;
    pub const IGNCR: u32 = 0o200;
    pub const ICRNL: u32 = 0o400;
    pub const IXON: u32 = 0o2000;
    pub const IXANY: u32 = 0o4000;
    pub const IXOFF: u32 = 0o10000;
    pub const IMAXBEL: u32 = 0o20000;
    pub const IUTF8: u32 = 0o40000;
}

/// `c_oflag` bits.
pub mod oflag {
    pub const OPOST: u32 = 0o1;
    pub const ONLCR: u32 = 0o4;
    pub const OCRNL: u32 = 0o10;
    pub const ONOCR: u32 = 0o20;
    pub const ONLRET: u32 = 0o40;
    pub const TABDLY: u32 = 0o14000;
    /// `TABDLY` value that expands tabs to spaces.
    pub const XTABS: u32 = 0o14000;
}

/// `c_cflag` bits.
pub mod cflag {
    pub const B38400: u32 = 0o17;
    pub const CS8: u32 = 0o60;
    pub const CREAD: u32 = 0o200;
    pub const HUPCL: u32 = 0o2000;
}

/// `c_lflag` bits.
pub mod lflag {
    pub const ISIG: u32 = 0o1;
    pub const ICANON: u32 = 0o2;
    pub const ECHO: u32 = 0o10;
    pub const ECHOE: u32 = 0o20;
    pub const ECHOK: u32 = 0o40;
    pub const ECHONL: u32 = 0o100;
    pub const NOFLSH: u32 = 0o200;
    pub const TOSTOP: u32 = 0o400;
    pub const ECHOCTL: u32 = 0o1000;
    pub const ECHOPRT: u32 = 0o2000;
    pub const ECHOKE: u32 = 0o4000;
    pub const IEXTEN: u32 = 0o100000;
}

/// Indexes of `c_cc`.
pub mod cc {
    pub const VINTR: usize = 0;
    pub const VQUIT: usize = 1;
    pub const VERASE: usize = 2;
    pub const VKILL: usize = 3;
    pub const VEOF: usize = 4;
    pub const VTIME: usize = 5;
    pub const VMIN: usize = 6;
    pub const VSTART: usize = 8;
    pub const VSTOP: usize = 9;
    pub const VSUSP: usize = 10;
    pub const VEOL: usize = 11;
    pub const VREPRINT: usize = 12;
    pub const VDISCARD: usize = 13;
    pub const VWERASE: usize = 14;
    pub const VLNEXT: usize = 15;
    pub const VEOL2: usize = 16;
    /// Control characters there are.
    pub const NCCS: usize = 19;
}

/// `ioctl` requests of terminals and of files in general.
pub mod request {
    pub const TCGETS: u32 = 0x5401;
    pub const TCSETS: u32 = 0x5402;
    pub const TCSETSW: u32 = 0x5403;
    pub const TCSETSF: u32 = 0x5404;
    pub const TCSBRK: u32 = 0x5409;
    pub const TCXONC: u32 = 0x540a;
    pub const TCFLSH: u32 = 0x540b;
    pub const TIOCEXCL: u32 = 0x540c;
    pub const TIOCNXCL: u32 = 0x540d;
    pub const TIOCSCTTY: u32 = 0x540e;
    pub const TIOCGPGRP: u32 = 0x540f;
    pub const TIOCSPGRP: u32 = 0x5410;
    pub const TIOCOUTQ: u32 = 0x5411;
    pub const TIOCSTI: u32 = 0x5412;
    pub const TIOCGWINSZ: u32 = 0x5413;
    pub const TIOCSWINSZ: u32 = 0x5414;
    pub const FIONREAD: u32 = 0x541b;
    pub const FIONBIO: u32 = 0x5421;
    pub const TIOCNOTTY: u32 = 0x5422;
    pub const TCSBRKP: u32 = 0x5425;
    pub const TIOCGSID: u32 = 0x5429;
    pub const TCGETS2: u32 = 0x802c_542a;
    pub const TCSETS2: u32 = 0x402c_542b;
    pub const TCSETSW2: u32 = 0x402c_542c;
    pub const TCSETSF2: u32 = 0x402c_542d;
    pub const TIOCPKT: u32 = 0x5420;
    pub const TIOCSETD: u32 = 0x5423;
    pub const TIOCGETD: u32 = 0x5424;
    pub const TIOCGPTN: u32 = 0x8004_5430;
    pub const TIOCSPTLCK: u32 = 0x4004_5431;
    pub const TIOCSIG: u32 = 0x4004_5436;
    pub const TIOCGPKT: u32 = 0x8004_5438;
    pub const TIOCGPTLCK: u32 = 0x8004_5439;
    pub const TIOCGEXCL: u32 = 0x8004_5440;
    pub const TIOCGPTPEER: u32 = 0x5441;
    pub const FIONCLEX: u32 = 0x5450;
    pub const FIOCLEX: u32 = 0x5451;
    pub const FIOASYNC: u32 = 0x5452;
}

/// What a master in packet mode is told.
pub mod packet {
    pub const TIOCPKT_DATA: u8 = 0;
    pub const TIOCPKT_FLUSHREAD: u8 = 1;
    pub const TIOCPKT_FLUSHWRITE: u8 = 2;
    pub const TIOCPKT_STOP: u8 = 4;
    pub const TIOCPKT_START: u8 = 8;
    pub const TIOCPKT_NOSTOP: u8 = 16;
    pub const TIOCPKT_DOSTOP: u8 = 32;
}

/// Queues that `TCFLSH` names.
pub mod flush {
    pub const TCIFLUSH: u64 = 0;
    pub const TCOFLUSH: u64 = 1;
    pub const TCIOFLUSH: u64 = 2;
}

/// Bytes of the kernel's `struct termios`.
pub const TERMIOS_LEN: usize = 36;
/// Bytes of the kernel's `struct termios2`.
pub const TERMIOS2_LEN: usize = 44;

/// A terminal's modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termios {
    pub iflag: u32,
    pub oflag: u32,
    pub cflag: u32,
    pub lflag: u32,
    pub line: u8,
    pub cc: [u8; cc::NCCS],
}

/// Linux's `INIT_C_CC`.
const CHARS: [u8; cc::NCCS] = {
    let mut chars = [0; cc::NCCS];
    chars[cc::VINTR] = 0x03;
    chars[cc::VQUIT] = 0x1c;
    chars[cc::VERASE] = 0x7f;
    chars[cc::VKILL] = 0x15;
    chars[cc::VEOF] = 0x04;
    chars[cc::VMIN] = 1;
    chars[cc::VSTART] = 0x11;
    chars[cc::VSTOP] = 0x13;
    chars[cc::VSUSP] = 0x1a;
    chars[cc::VREPRINT] = 0x12;
    chars[cc::VDISCARD] = 0x0f;
    chars[cc::VWERASE] = 0x17;
    chars[cc::VLNEXT] = 0x16;
    chars
};

impl Default for Termios {
    /// Linux's `tty_std_termios`, for 8-bit UTF-8 input.
    fn default() -> Termios {
        Termios {
            iflag: Termios::PSEUDO.iflag | iflag::IUTF8,
            cflag: Termios::PSEUDO.cflag | cflag::HUPCL,
            ..Termios::PSEUDO
        }
    }
}

impl Termios {
    /// The modes of a new pseudo-terminal.
    pub const PSEUDO: Termios = Termios {
        iflag: iflag::ICRNL | iflag::IXON,
        oflag: oflag::OPOST | oflag::ONLCR,
        cflag: cflag::B38400 | cflag::CS8 | cflag::CREAD,
        lflag: lflag::ISIG
            | lflag::ICANON
            | lflag::ECHO
            | lflag::ECHOE
            | lflag::ECHOK
            | lflag::ECHOCTL
            | lflag::ECHOKE
            | lflag::IEXTEN,
        line: 0,
        cc: CHARS,
    };

    /// The kernel's `struct termios`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; TERMIOS_LEN] {
        let mut out = [0; TERMIOS_LEN];
        let flags = [self.iflag, self.oflag, self.cflag, self.lflag];
        for (chunk, word) in out.chunks_exact_mut(4).zip(flags) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        out[16] = self.line;
        out[17..].copy_from_slice(&self.cc);
        out
    }

    /// The kernel's `struct termios2`: the same and two speeds.
    #[must_use]
    pub fn to_bytes2(&self) -> [u8; TERMIOS2_LEN] {
        let mut out = [0; TERMIOS2_LEN];
        out[..TERMIOS_LEN].copy_from_slice(&self.to_bytes());
        for chunk in out[TERMIOS_LEN..].chunks_exact_mut(4) {
            chunk.copy_from_slice(&38_400_u32.to_le_bytes());
        }
        out
    }

    /// Reads a `struct termios`.
    #[must_use]
    pub fn from_bytes(b: &[u8; TERMIOS_LEN]) -> Termios {
        let word = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let mut chars = [0; cc::NCCS];
        chars.copy_from_slice(&b[17..]);
        Termios {
            iflag: word(0),
            oflag: word(4),
            cflag: word(8),
            lflag: word(12),
            line: b[16],
            cc: chars,
        }
    }
}

/// `struct winsize` without its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WindowSize {
    pub rows: u16,
    pub cols: u16,
}

impl WindowSize {
    /// The `struct winsize` that a program sees.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        let ([a, b], [c, d]) = (self.rows.to_le_bytes(), self.cols.to_le_bytes());
        [a, b, c, d, 0, 0, 0, 0]
    }

    /// Reads a `struct winsize`.
    #[must_use]
    pub const fn from_bytes(b: &[u8; 8]) -> WindowSize {
        WindowSize {
            rows: u16::from_le_bytes([b[0], b[1]]),
            cols: u16::from_le_bytes([b[2], b[3]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn termios_reads_back() {
        let t = Termios { line: 3, lflag: 0x8a3b, ..Termios::default() };
        assert_eq!(Termios::from_bytes(&t.to_bytes()), t);
        assert_eq!(t.to_bytes2()[..TERMIOS_LEN], t.to_bytes());
        let w = WindowSize { rows: 24, cols: 300 };
        assert_eq!(WindowSize::from_bytes(&w.to_bytes()), w);
    }
}
