//! `ioctl`: what its requests carry, and who serves them.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::capability::Capability;
use maize_abi::file::o;
use maize_abi::termios::{TERMIOS_LEN, TERMIOS2_LEN, request};

use crate::Vfs;
use crate::caller::{Caller, Surroundings};
use crate::file::Handle;
use crate::id::FileId;
use crate::outcome::Io;
use crate::stream::HostStream;
use crate::terminal::{Request, Requester};

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
const fn is_known(number: u32) -> bool {
    let carries = matches!(extent(number), (1.., _) | (_, 1..));
    let bare = matches!(
        number,
        request::TCSBRK
            | request::TCSBRKP
            | request::TCXONC
            | request::TCFLSH
            | request::TIOCSCTTY
            | request::TIOCNOTTY
            | request::TIOCEXCL
            | request::TIOCNXCL
    );
    (carries || bare) && !is_for_master(number)
}

/// Whether only the master of a pseudo-terminal knows this request.
const fn is_for_master(number: u32) -> bool {
    matches!(
        number,
        request::TIOCPKT
            | request::TIOCGPKT
            | request::TIOCGPTN
            | request::TIOCSPTLCK
            | request::TIOCGPTLCK
            | request::TIOCSIG
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
        request::TIOCSPGRP
        | request::TIOCSETD
        | request::TIOCPKT
        | request::TIOCSPTLCK
        | request::FIONBIO
        | request::FIOASYNC => (4, 0),
        request::FIONREAD
        | request::TIOCOUTQ
        | request::TIOCGPGRP
        | request::TIOCGSID
        | request::TIOCGETD
        | request::TIOCGEXCL
        | request::TIOCGPTN
        | request::TIOCGPTLCK
        | request::TIOCGPKT => (0, 4),
        _ => (0, 0),
    }
}

/// The `int` that the argument of a request points to.
pub(crate) fn int(input: &[u8]) -> Result<i32, Errno> {
    input.first_chunk().map(|bytes| i32::from_le_bytes(*bytes)).ok_or(Errno::EFAULT)
}

impl Vfs {
    /// Whether a file knows an `ioctl` request.
    ///
    /// # Errors
    /// `ENOTTY`, `EBADF`; `EIO` of a terminal that is hung up for good.
    pub fn check_ioctl(&self, id: FileId, number: u32) -> Result<(), Errno> {
        match (number, &self.file(id)?.handle) {
            (_, Handle::Place) => Err(Errno::EBADF),
            (request::FIONBIO | request::FIOASYNC, _) => Ok(()),
            (request::TIOCSPGRP, Handle::Terminal(id)) if self.terminals.is_gone(*id) => {
                Err(Errno::ENOTTY)
            }
            (_, Handle::Terminal(id)) if self.terminals.is_gone(*id) => Err(Errno::EIO),
            (_, Handle::Terminal(_)) if is_known(number) => Ok(()),
            (_, Handle::Master(_)) if is_known(number) || is_for_master(number) => Ok(()),
            (
                request::FIONREAD,
                Handle::Pipe(_)
                | Handle::Regular(_)
                | Handle::Socket(_)
                | Handle::Watches(_)
                | Handle::Stream(HostStream::Input),
            ) => Ok(()),
            _ => Err(Errno::ENOTTY),
        }
    }

    /// `ioctl`. `argument` is the call's third argument, `input` the bytes it points to, as many
    /// as [`extent`] says. Requests on descriptors (`FIOCLEX`, `TIOCGPTPEER`) are not served here.
    ///
    /// # Errors
    /// `ENOTTY` for a request that the file does not know; as the request.
    pub fn ioctl(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        id: FileId,
        number: u32,
        (argument, input): (u64, &[u8]),
    ) -> Io<Answer> {
        self.check_ioctl(id, number)?;
        match (number, &self.file(id)?.handle) {
            (request::FIONBIO, _) => {
                let flags = if int(input)? != 0 { o::O_NONBLOCK } else { 0 };
                self.set_status(id, flags, o::O_NONBLOCK)?;
                return Ok(Answer::DONE);
            }
            (request::FIOASYNC, _) => return Ok(Answer::DONE),
            (_, Handle::Terminal(_) | Handle::Master(_)) => {}
            (request::FIONREAD, _) => {
                let count = self.readable_now(env, id)?;
                return Ok(Answer::number(u32::try_from(count).unwrap_or(i32::MAX as u32)));
            }
            _ => return Err(Errno::ENOTTY.into()),
        }
        let session = caller.job.session;
        let by = Requester {
            pid: caller.pid,
            privileged: caller.may(Capability::SysAdmin),
            job: caller.job,
            has_terminal: self.terminals.controlling(session).is_some(),
        };
        let session_of = |group| env.proc().session_of_group(group);
        let asked = Request { by, number, argument, input, session_of: &session_of };
        let (terminal, answer) = match self.file(id)?.handle {
            Handle::Terminal(id) => {
                let terminal = self.terminals.get_mut(id)?;
                (id, terminal.control_request(asked))
            }
            Handle::Master(id) => {
                let pseudo = self.terminals.pseudo_mut(id)?;
                (id, pseudo.request(asked))
            }
            _ => return Err(Errno::ENOTTY.into()),
        };
        if answer.is_ok() && number == request::TIOCSCTTY {
            self.terminals.has_taken(session, terminal);
        }
        self.terminal_changed(terminal);
        answer
    }
}
