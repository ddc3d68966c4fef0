//! The user's terminal: raw while a shell runs, and always put back.

use std::io;
use std::os::fd::OwnedFd;

use maize_hostlink::boot::WindowSize;
use rustix::termios::{OptionalActions, Termios};

/// A terminal in raw mode; dropping it puts the former mode back.
#[derive(Debug)]
pub struct RawTerminal {
    fd: OwnedFd,
    before: Termios,
}

impl RawTerminal {
    /// Makes the terminal raw: every byte typed is the guest's, nothing is echoed or translated.
    pub fn enter(fd: OwnedFd) -> io::Result<Self> {
        let before = rustix::termios::tcgetattr(&fd)?;
        let this = Self { fd, before };
        this.make_raw()?;
        Ok(this)
    }

    /// Makes it raw again, after the launcher was stopped and continued.
    pub fn make_raw(&self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        Ok(rustix::termios::tcsetattr(&self.fd, OptionalActions::Drain, &raw)?)
    }

    /// The terminal's size now.
    #[must_use]
    pub fn size(&self) -> WindowSize {
        window_size(&self.fd)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nothing better can be done if the terminal is gone.
        let _ = rustix::termios::tcsetattr(&self.fd, OptionalActions::Drain, &self.before);
    }
}

/// The size of a terminal; 24 lines of 80 if it does not say.
#[must_use]
pub fn window_size(fd: &OwnedFd) -> WindowSize {
    match rustix::termios::tcgetwinsize(fd) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            WindowSize { rows: size.ws_row, columns: size.ws_col }
        }
        _ => WindowSize { rows: 24, columns: 80 },
    }
}
