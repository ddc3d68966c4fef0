//! `ioctl` requests of a terminal.

use maize_abi::Errno;
use maize_abi::signal::Signal;
use maize_abi::termios::{
    TERMIOS_LEN, Termios, WindowSize, cc, flush, iflag, lflag, packet, request,
};

use super::Terminal;
use crate::caller::Job;
use crate::id::TerminalId;
use crate::ioctl::{Answer, int};
use crate::outcome::{Io, Stop, WaitKey};

/// Who makes a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requester {
    pub(crate) pid: u32,
    pub(crate) privileged: bool,
    pub(crate) job: Job,
    /// Whether a terminal controls its session.
    pub(crate) has_terminal: bool,
}

/// A request.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) by: Requester,
    pub(crate) number: u32,
    /// The call's third argument.
    pub(crate) argument: u64,
    /// What it points to: as many bytes as [`crate::ioctl::extent`] says.
    pub(crate) input: &'a [u8],
    /// Tells the session of a process group.
    pub(crate) session_of: &'a dyn Fn(u32) -> Option<u32>,
}

/// The number of the one line discipline there is.
const N_TTY: i32 = 0;

/// Whether output is stopped and started by the usual characters.
fn stops_as_usual(modes: &Termios) -> bool {
    modes.iflag & iflag::IXON != 0 && modes.cc[cc::VSTOP] == 0x13 && modes.cc[cc::VSTART] == 0x11
}

impl Terminal {
    /// Serves a request.
    pub(crate) fn control_request(&mut self, asked: Request<'_>) -> Io<Answer> {
        let Request { by, number, argument, input, .. } = asked;
        match number {
            request::TCGETS => Ok(Answer::bytes(&self.modes.to_bytes())),
            request::TCGETS2 => Ok(Answer::bytes(&self.modes.to_bytes2())),
            request::TCSETS
            | request::TCSETSW
            | request::TCSETSF
            | request::TCSETS2
            | request::TCSETSW2
            | request::TCSETSF2 => self.set_modes(by.job, number, input),
            request::TIOCGWINSZ => Ok(Answer::bytes(&self.size.to_bytes())),
            request::TIOCSWINSZ => {
                let size = input.first_chunk().ok_or(Errno::EFAULT)?;
                self.resize(WindowSize::from_bytes(size));
                Ok(Answer::DONE)
            }
            request::FIONREAD => Ok(Answer::number(self.pending_input() as u32)),
            request::TIOCOUTQ => Ok(Answer::number(self.output.len() as u32)),
            request::TIOCSTI => {
                if !by.privileged && self.session != Some(by.job.session) {
                    return Err(Errno::EPERM.into());
                }
                let byte = *input.first().ok_or(Errno::EFAULT)?;
                let taken = self.receive(byte);
                if taken { Ok(Answer::DONE) } else { Err(Errno::EAGAIN.into()) }
            }
            request::TIOCEXCL | request::TIOCNXCL => {
                self.exclusive = number == request::TIOCEXCL;
                Ok(Answer::DONE)
            }
            request::TIOCGEXCL => Ok(Answer::number(u32::from(self.exclusive))),
            request::TIOCGETD => Ok(Answer::number(N_TTY as u32)),
            request::TIOCSETD => {
                let known = int(input)? == N_TTY;
                if known { Ok(Answer::DONE) } else { Err(Errno::EINVAL.into()) }
            }
            request::TCFLSH => self.flush(by.job, argument),
            request::TCXONC => self.flow(by.job, argument),
            request::TCSBRK | request::TCSBRKP => {
                self.check_change(by.job)?;
                self.wait_drained()?;
                Ok(Answer::DONE)
            }
            _ => self.session_request(asked),
        }
    }

    /// Output of a pseudo-terminal is at the other side at once, as on Linux.
    fn wait_drained(&self) -> Io<()> {
        let drained = self.is_drained() || self.id != TerminalId::CONSOLE;
        if drained { Ok(()) } else { Err(Stop::wait(WaitKey::TerminalWritable(self.id))) }
    }

    fn set_modes(&mut self, job: Job, number: u32, input: &[u8]) -> Io<Answer> {
        let modes = Termios::from_bytes(input.first_chunk::<TERMIOS_LEN>().ok_or(Errno::EFAULT)?);
        self.check_change(job)?;
        let (after_drain, flushing) = match number {
            request::TCSETS | request::TCSETS2 => (false, false),
            request::TCSETSW | request::TCSETSW2 => (true, false),
            _ => (true, true),
        };
        if after_drain {
            self.wait_drained()?;
        }
        if flushing {
            self.flush_input();
        }
        let switched = (self.modes.lflag ^ modes.lflag) & lflag::ICANON != 0;
        let stops = stops_as_usual(&modes);
        if stops != stops_as_usual(&self.modes) {
            self.note(if stops { packet::TIOCPKT_DOSTOP } else { packet::TIOCPKT_NOSTOP });
        }
        self.modes = modes;
        if switched {
            self.switch_canonical();
        }
        if modes.iflag & iflag::IXON == 0 {
            self.stop(false);
        }
        Ok(Answer::DONE)
    }

    fn flush(&mut self, job: Job, queue: u64) -> Io<Answer> {
        self.check_change(job)?;
        if queue > flush::TCIOFLUSH {
            return Err(Errno::EINVAL.into());
        }
        if queue != flush::TCOFLUSH {
            self.flush_input();
        }
        if queue != flush::TCIFLUSH {
            self.flush_output();
        }
        Ok(Answer::DONE)
    }

    fn flow(&mut self, job: Job, action: u64) -> Io<Answer> {
        self.check_change(job)?;
        match action {
            0 => self.stop(true),
            1 => self.stop(false),
            // To send a stop or start character to a keyboard has no use.
            2 | 3 => {}
            _ => return Err(Errno::EINVAL.into()),
        }
        Ok(Answer::DONE)
    }

    fn session_request(&mut self, asked: Request<'_>) -> Io<Answer> {
        let Request { by, number, argument, input, session_of } = asked;
        let session = by.job.session;
        let is_ours = self.session == Some(session);
        match number {
            request::TIOCSCTTY => {
                if is_ours && by.pid == session {
                    return Ok(Answer::DONE);
                }
                let steals = argument == 1 && by.privileged;
                if by.pid != session || by.has_terminal || self.session.is_some() && !steals {
                    return Err(Errno::EPERM.into());
                }
                self.control(session, by.job.group);
                Ok(Answer::DONE)
            }
            request::TIOCNOTTY | request::TIOCGPGRP | request::TIOCGSID if !is_ours => {
                Err(Errno::ENOTTY.into())
            }
            request::TIOCNOTTY => {
                // Other members of the session keep it: a process that is not its leader has
                // nothing of its own to give up.
                if by.pid == session {
                    self.session_ended(session);
                }
                Ok(Answer::DONE)
            }
            request::TIOCGPGRP => Ok(Answer::number(self.foreground.unwrap_or(0))),
            request::TIOCGSID => Ok(Answer::number(session)),
            request::TIOCSPGRP => {
                self.check_change(by.job)?;
                if !is_ours {
                    return Err(Errno::ENOTTY.into());
                }
                let group = u32::try_from(int(input)?).map_err(|_| Errno::EINVAL)?;
                match session_of(group) {
                    None => Err(Errno::ESRCH.into()),
                    Some(other) if other != session => Err(Errno::EPERM.into()),
                    Some(_) => {
                        self.foreground = Some(group);
                        Ok(Answer::DONE)
                    }
                }
            }
            _ => Err(Errno::ENOTTY.into()),
        }
    }

    /// Serves a request of a pseudo-terminal's master that is about the terminal's modes, size or
    /// session, or that only a master knows.
    pub(crate) fn master_request(&mut self, asked: Request<'_>) -> Io<Answer> {
        let Request { argument, input, .. } = asked;
        match asked.number {
            request::TIOCPKT => {
                let on = int(input)? != 0;
                self.packet = on.then(|| self.packet.unwrap_or(packet::TIOCPKT_DATA));
                Ok(Answer::DONE)
            }
            request::TIOCGPKT => Ok(Answer::number(u32::from(self.packet.is_some()))),
            request::TIOCSIG => {
                let signal = Signal::new(argument).ok_or(Errno::EINVAL)?;
                if !matches!(signal, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTSTP) {
                    return Err(Errno::EINVAL.into());
                }
                self.signal(signal);
                Ok(Answer::DONE)
            }
            // What a master reads is the terminal's output.
            request::FIONREAD => Ok(Answer::number(self.output.len() as u32)),
            request::TIOCOUTQ => Ok(Answer::number(0)),
            request::TCFLSH => {
                match argument {
                    flush::TCIFLUSH => self.flush_output(),
                    flush::TCOFLUSH => self.flush_input(),
                    flush::TCIOFLUSH => {
                        self.flush_output();
                        self.flush_input();
                    }
                    _ => return Err(Errno::EINVAL.into()),
                }
                Ok(Answer::DONE)
            }
            // Who has the other side may know what it does not control.
            request::TIOCGPGRP => Ok(Answer::number(self.foreground.unwrap_or(0))),
            request::TIOCGSID => Ok(Answer::number(self.session.ok_or(Errno::ENOTTY)?)),
            _ => self.control_request(asked),
        }
    }

    /// What a master in packet mode is to be told; `None` in the ordinary mode.
    pub(crate) const fn packet(&self) -> Option<u8> {
        self.packet
    }

    /// As [`Self::packet`], and it is told now.
    pub(crate) fn take_packet(&mut self) -> Option<u8> {
        self.packet.as_mut().map(core::mem::take)
    }

    /// # Errors
    /// `EBUSY` if only the superuser may open it.
    pub(crate) const fn check_open(&self, privileged: bool) -> Result<(), Errno> {
        if self.exclusive && !privileged { Err(Errno::EBUSY) } else { Ok(()) }
    }
}
