//! `ioctl`: what its requests carry, and who serves them.

use alloc::vec::Vec;

use maize_abi::termios::{TERMIOS_LEN, TERMIOS2_LEN, request};

/// What a request results in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the call returns.
    pub value: u64,
    /// What is to be written to where the argument points.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// Nothing to tell.
    pub const DONE: Answer = Answer { value: 0, bytes: Vec::new() };

    pub(crate) fn bytes(bytes: &[u8]) -> Answer {
        Answer { value: 0, bytes: bytes.to_vec() }
    }

    pub(crate) fn number(value: u32) -> Answer {
        Answer::bytes(&value.to_le_bytes())
    }
}

/// Whether a terminal knows this request.
pub(crate) const fn is_known(number: u32) -> bool {
    let (input, output) = extent(number);
    input > 0
        || output > 0
        || matches!(
            number,
            request::TCSBRK
                | request::TCSBRKP
                | request::TCXONC
                | request::TCFLSH
                | request::TIOCSCTTY
                | request::TIOCNOTTY
        )
}

/// How many bytes the argument of a request points to: read before it is served, written after.
#[must_use]
pub const fn extent(number: u32) -> (usize, usize) {
    match number {
        request::TCGETS => (0, TERMIOS_LEN),
        request::TCGETS2 => (0, TERMIOS2_LEN),
        request::TCSETS | request::TCSETSW | request::TCSETSF => (TERMIOS_LEN, 0),
        request::TCSETS2 | request::TCSETSW2 | request::TCSETSF2 => (TERMIOS2_LEN, 0),
        request::TIOCGWINSZ => (0, 8),
        request::TIOCSWINSZ => (8, 0),
        request::TIOCSTI => (1, 0),
        request::TIOCSPGRP | request::FIONBIO | request::FIOASYNC => (4, 0),
        request::FIONREAD | request::TIOCOUTQ | request::TIOCGPGRP | request::TIOCGSID => (0, 4),
        _ => (0, 0),
    }
}
