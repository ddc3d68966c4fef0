//! The terminals: the console, and pseudo-terminals (`/dev/ptmx`, `/dev/pts`).
//!
//! A pseudo-terminal is a [`Terminal`] as the console is, whose keyboard and screen are a file, the
//! master: what is written to it is typed, and what it reads was shown. Opening `/dev/ptmx` makes a
//! terminal, its master, and its name in `/dev/pts`; the name goes when the master is closed. Whoever
//! has the terminal open then finds it hung up for good, while one that nobody has open any more may
//! be opened again as long as its master is.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::capability::Capability;
use maize_abi::file::{poll, s};
use maize_abi::termios::{packet, request};

use crate::Vfs;
use crate::caller::{Caller, Job, Surroundings};
use crate::device::PSEUDO_MAJOR;
use crate::file::Handle;
use crate::id::{FileId, InodeId, TerminalId};
use crate::inode::{Inode, Kind};
use crate::ioctl::{Answer, int};
use crate::mount::PTS_FS;
use crate::node::Node;
use crate::open::OpenHow;
use crate::outcome::{Io, Patience, Stop, WaitKey};
use crate::path::{Follow, Walk};
use crate::root::{kernel_caller, kernel_view};
use crate::terminal::{Request, Terminal, TerminalSignal};

/// Pseudo-terminals at most (Linux's `kernel.pty.max`).
pub(crate) const MOST: usize = 256;

/// The group of terminals (`tty`), as distributions number it.
const TTY_GROUP: u32 = 5;

/// What poll tells of a terminal that is hung up for good.
const GONE: u16 = poll::POLLIN
    | poll::POLLRDNORM
    | poll::POLLOUT
    | poll::POLLWRNORM
    | poll::POLLERR
    | poll::POLLHUP;

/// A terminal whose other side is a file.
#[derive(Debug)]
pub(crate) struct Pseudo {
    terminal: Terminal,
    /// Its name in `/dev/pts`.
    number: u32,
    /// Whether its master is open.
    has_master: bool,
    /// Open files that are the terminal.
    opens: usize,
    /// It was open, and is not any more.
    left: bool,
    /// It cannot be opened (`TIOCSPTLCK`).
    locked: bool,
}

impl Pseudo {
    /// # Errors
    /// As reading from a master.
    fn read(&mut self, out: &mut [u8], id: TerminalId) -> Io<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let told = self.terminal.take_packet();
        if let Some(status) = told.filter(|status| *status != packet::TIOCPKT_DATA) {
            out[0] = status;
            return Ok(1);
        }
        let first = usize::from(told.is_some());
        if self.terminal.pending_output() > 0 {
            out[..first].fill(packet::TIOCPKT_DATA);
            return Ok(first + self.terminal.take_output(&mut out[first..]));
        }
        if self.left {
            Err(Errno::EIO.into())
        } else {
            Err(Stop::wait(WaitKey::MasterReadable(id)))
        }
    }

    /// Serves a request of the master.
    pub(crate) fn request(&mut self, asked: Request<'_>) -> Io<Answer> {
        match asked.number {
            request::TIOCGPTN => Ok(Answer::number(self.number)),
            request::TIOCGPTLCK => Ok(Answer::number(u32::from(self.locked))),
            request::TIOCSPTLCK => {
                self.locked = int(asked.input)? != 0;
                Ok(Answer::DONE)
            }
            _ => self.terminal.master_request(asked),
        }
    }
}

/// All terminals.
#[derive(Debug, Default)]
pub(crate) struct Terminals {
    pub(crate) console: Terminal,
    pub(crate) pseudo: BTreeMap<TerminalId, Pseudo>,
    /// The last pseudo-terminal that there was.
    last: u64,
    /// The directory of their names.
    names: Option<InodeId>,
    /// What those sent that are forgotten.
    last_signals: Vec<TerminalSignal>,
}

impl Terminals {
    /// # Errors
    /// `EIO` if it is gone.
    pub(crate) fn get(&self, id: TerminalId) -> Result<&Terminal, Errno> {
        match id {
            TerminalId::CONSOLE => Ok(&self.console),
            id => self.pseudo.get(&id).map(|pseudo| &pseudo.terminal).ok_or(Errno::EIO),
        }
    }

    /// # Errors
    /// `EIO` if it is gone.
    pub(crate) fn get_mut(&mut self, id: TerminalId) -> Result<&mut Terminal, Errno> {
        match id {
            TerminalId::CONSOLE => Ok(&mut self.console),
            id => Ok(&mut self.pseudo_mut(id)?.terminal),
        }
    }

    /// # Errors
    /// `EIO` for what is no pseudo-terminal.
    pub(crate) fn pseudo_mut(&mut self, id: TerminalId) -> Result<&mut Pseudo, Errno> {
        self.pseudo.get_mut(&id).ok_or(Errno::EIO)
    }

    /// Whether it is hung up for good.
    pub(crate) fn is_gone(&self, id: TerminalId) -> bool {
        id != TerminalId::CONSOLE && self.pseudo.get(&id).is_none_or(|pseudo| !pseudo.has_master)
    }

    /// The terminal that controls a session.
    pub(crate) fn controlling(&self, session: u32) -> Option<TerminalId> {
        if self.console.session() == Some(session) {
            return Some(TerminalId::CONSOLE);
        }
        let mut all = self.pseudo.iter();
        let found = all.find(|(_, p)| p.has_master && p.terminal.session() == Some(session));
        found.map(|(id, _)| *id)
    }

    /// A session has taken a terminal. Of one that was hung up before it keeps nothing.
    pub(crate) fn has_taken(&mut self, session: u32, terminal: TerminalId) {
        for (id, pseudo) in &mut self.pseudo {
            if *id != terminal {
                pseudo.terminal.forget_session(session);
            }
        }
        self.drop_unused();
    }

    fn session_ended(&mut self, session: u32) {
        self.console.session_ended(session);
        for pseudo in self.pseudo.values_mut() {
            pseudo.terminal.session_ended(session);
        }
    }

    /// Forgets those that nobody has open and that have nothing to say.
    fn drop_unused(&mut self) {
        let last_signals = &mut self.last_signals;
        self.pseudo.retain(|_, pseudo| {
            let used = pseudo.has_master || pseudo.opens > 0;
            let stays = used || pseudo.terminal.session().is_some();
            if !stays {
                last_signals.append(&mut pseudo.terminal.take_signals());
            }
            stays
        });
    }

    pub(crate) fn take_signals(&mut self) -> Vec<TerminalSignal> {
        let mut signals = self.console.take_signals();
        signals.append(&mut self.last_signals);
        for pseudo in self.pseudo.values_mut() {
            signals.append(&mut pseudo.terminal.take_signals());
        }
        signals
    }

    /// Its device number.
    pub(crate) fn device_of(&self, id: TerminalId) -> (u32, u32) {
        self.pseudo.get(&id).map_or((5, 1), |pseudo| (PSEUDO_MAJOR, pseudo.number))
    }

    /// Counts an open file.
    pub(crate) fn opened(&mut self, id: TerminalId) {
        if let Some(pseudo) = self.pseudo.get_mut(&id) {
            pseudo.opens += 1;
            pseudo.left = false;
        }
    }

    pub(crate) fn poll(&self, id: TerminalId) -> u16 {
        if self.is_gone(id) { GONE } else { self.get(id).map_or(GONE, Terminal::poll) }
    }

    pub(crate) fn poll_master(&self, id: TerminalId) -> u16 {
        let Some(pseudo) = self.pseudo.get(&id) else { return poll::POLLERR };
        let told = pseudo.terminal.packet().is_some_and(|status| status != packet::TIOCPKT_DATA);
        let mut events = 0;
        if told || pseudo.terminal.pending_output() > 0 {
            events |= poll::POLLIN | poll::POLLRDNORM;
        }
        if told {
            events |= poll::POLLPRI;
        }
        if pseudo.terminal.takes_input() {
            events |= poll::POLLOUT | poll::POLLWRNORM;
        }
        if pseudo.left {
            events |= poll::POLLHUP;
        }
        events
    }
}

impl Vfs {
    /// Puts what is always there into `/dev/pts`.
    pub(crate) fn fill_pts(&mut self, env: &mut dyn Surroundings) -> Result<(), Errno> {
        let view = kernel_view(self.root);
        let caller = kernel_caller(&view);
        let walked =
            Walk::new(self, env.proc(), &caller).existing(crate::At::Cwd, b"/dev/pts", Follow::Yes);
        let Node::Inode(names) = walked? else { return Err(Errno::ENOTDIR) };
        self.terminals.names = Some(names);
        self.name_device(env, (0, 0), b"ptmx", (5, 2), 0o666)
    }

    /// Makes a device in `/dev/pts`.
    fn name_device(
        &mut self,
        env: &mut dyn Surroundings,
        ids: (u32, u32),
        name: &[u8],
        (major, minor): (u32, u32),
        permissions: u32,
    ) -> Result<(), Errno> {
        let names = self.terminals.names.ok_or(Errno::ENODEV)?;
        let now = env.wall_clock();
        let kind = Kind::Device(major, minor);
        let mut inode = Inode::new(kind, s::S_IFCHR | permissions, ids, now);
        inode.fs = PTS_FS;
        let id = self.tree.insert(inode)?;
        let linked = self.tree.link(names, name, id, now);
        if linked.is_err() {
            self.tree.free_unused(env.store(), id);
        }
        linked
    }

    /// A new pseudo-terminal.
    ///
    /// # Errors
    /// `ENOSPC` if there are too many.
    pub(crate) fn open_master(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
    ) -> Result<Handle, Errno> {
        let all = &self.terminals.pseudo;
        if all.len() >= MOST {
            return Err(Errno::ENOSPC);
        }
        let taken =
            |number| all.values().any(|p| p.number == number && (p.has_master || p.opens > 0));
        let number = (0..).find(|number| !taken(*number)).ok_or(Errno::ENOSPC)?;
        let name = format!("{number}");
        let ids = (caller.uid, TTY_GROUP);
        self.name_device(env, ids, name.as_bytes(), (PSEUDO_MAJOR, number), 0o620)?;
        self.terminals.last += 1;
        let id = TerminalId(self.terminals.last);
        let terminal = Terminal::pseudo(id);
        let pseudo =
            Pseudo { terminal, number, has_master: true, opens: 0, left: false, locked: true };
        self.terminals.pseudo.insert(id, pseudo);
        Ok(Handle::Master(id))
    }

    /// The pseudo-terminal of a number. It comes to control the session of a leader that has none yet,
    /// if the leader wants it so.
    ///
    /// # Errors
    /// `EIO` if its master is closed, or it is locked; `EBUSY`.
    pub(crate) fn open_pseudo(
        &mut self,
        caller: &Caller<'_>,
        number: u32,
        controls: bool,
    ) -> Result<Handle, Errno> {
        let Job { session, group, .. } = caller.job;
        let without = self.terminals.controlling(session).is_none();
        let mut all = self.terminals.pseudo.iter_mut();
        let found = all.find(|(_, p)| p.number == number && p.has_master && !p.locked);
        let (id, pseudo) = found.ok_or(Errno::EIO)?;
        pseudo.terminal.check_open(caller.may(Capability::SysAdmin))?;
        let id = *id;
        if controls && without && caller.pid == session && pseudo.terminal.session().is_none() {
            pseudo.terminal.control(session, group);
            self.terminals.has_taken(session, id);
        }
        Ok(Handle::Terminal(id))
    }

    /// `TIOCGPTPEER`: opens the terminal of a master, wherever its name is.
    ///
    /// # Errors
    /// `ENOTTY` for what is no terminal; `EIO` for what is no master, and while it is locked; `EBUSY`, `ENFILE`.
    pub fn open_peer(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        master: FileId,
        how: OpenHow,
    ) -> Result<FileId, Errno> {
        self.check_file_room(1)?;
        let id = match self.file(master)?.handle {
            Handle::Master(id) => id,
            Handle::Place => return Err(Errno::EBADF),
            Handle::Terminal(_) => return Err(Errno::EIO),
            _ => return Err(Errno::ENOTTY),
        };
        let names = self.terminals.names.ok_or(Errno::EIO)?;
        let name = format!("{}", self.terminals.pseudo_mut(id)?.number).into_bytes();
        let inode = self.tree.get(names)?.directory()?.get(&name).ok_or(Errno::EIO)?;
        let file = self.open_node(env, caller, Node::Inode(inode), how)?;
        self.file_mut(file)?.place = Some((names, name.into()));
        Ok(file)
    }

    /// One file less is the terminal.
    pub(crate) fn close_terminal(&mut self, id: TerminalId) {
        let Ok(pseudo) = self.terminals.pseudo_mut(id) else { return };
        pseudo.opens = pseudo.opens.saturating_sub(1);
        pseudo.left = pseudo.opens == 0;
        if pseudo.left {
            self.wakes.wake(WaitKey::MasterReadable(id));
        }
        self.terminals.drop_unused();
    }

    /// The master is closed: the terminal is hung up, and has no name any more.
    pub(crate) fn close_master(&mut self, env: &mut dyn Surroundings, id: TerminalId) {
        let Ok(pseudo) = self.terminals.pseudo_mut(id) else { return };
        pseudo.has_master = false;
        pseudo.terminal.disconnect();
        let name = format!("{}", pseudo.number);
        if let Some(names) = self.terminals.names {
            let now = env.wall_clock();
            // Nobody else takes names away there.
            let _ = self.tree.unlink(env.store(), names, name.as_bytes(), now);
        }
        self.terminals.drop_unused();
        self.wake_pseudo(id);
    }

    /// Whoever waits for anything of a pseudo-terminal looks again.
    fn wake_pseudo(&mut self, id: TerminalId) {
        for key in [
            WaitKey::TerminalReadable(id),
            WaitKey::TerminalWritable(id),
            WaitKey::MasterReadable(id),
            WaitKey::MasterWritable(id),
        ] {
            self.wakes.wake(key);
        }
    }

    /// A request may have changed what a terminal reads, shows or takes.
    pub(crate) fn terminal_changed(&mut self, id: TerminalId) {
        if id == TerminalId::CONSOLE { self.feed_terminal() } else { self.wake_pseudo(id) }
    }

    pub(crate) fn read_terminal(
        &mut self,
        id: TerminalId,
        job: Job,
        out: &mut [u8],
        (nonblocking, patience): (bool, Patience),
    ) -> Io<usize> {
        if self.terminals.is_gone(id) {
            return Ok(0);
        }
        let count = self.terminals.get_mut(id)?.read(job, out, nonblocking, patience);
        if id == TerminalId::CONSOLE {
            self.feed_terminal();
        } else if count.is_ok_and(|count| count > 0) {
            self.wakes.wake(WaitKey::MasterWritable(id));
        }
        count
    }

    pub(crate) fn write_terminal(&mut self, id: TerminalId, job: Job, bytes: &[u8]) -> Io<usize> {
        if self.terminals.is_gone(id) {
            return Err(Errno::EIO.into());
        }
        let count = self.terminals.get_mut(id)?.write(job, bytes)?;
        if id != TerminalId::CONSOLE {
            self.wakes.wake(WaitKey::MasterReadable(id));
        }
        Ok(count)
    }

    pub(crate) fn read_master(&mut self, id: TerminalId, out: &mut [u8]) -> Io<usize> {
        let count = self.terminals.pseudo_mut(id)?.read(out, id)?;
        self.wakes.wake(WaitKey::TerminalWritable(id));
        Ok(count)
    }

    /// Types: what is written to a master.
    pub(crate) fn write_master(&mut self, id: TerminalId, bytes: &[u8]) -> Io<usize> {
        let terminal = self.terminals.get_mut(id)?;
        let count = bytes.iter().take_while(|byte| terminal.receive(**byte)).count();
        if count == 0 && !bytes.is_empty() {
            return Err(Stop::wait(WaitKey::MasterWritable(id)));
        }
        self.wakes.wake(WaitKey::TerminalReadable(id));
        // What was typed is shown, and may have let output go on.
        self.wakes.wake(WaitKey::TerminalWritable(id));
        self.wakes.wake(WaitKey::MasterReadable(id));
        Ok(count)
    }

    /// The leader of a session has ended: a terminal that controlled the session is free.
    pub fn session_ended(&mut self, session: u32) {
        self.terminals.session_ended(session);
        self.terminals.drop_unused();
    }

    /// The process group in the foreground of the terminal that controls this session, if one does.
    #[must_use]
    pub fn foreground(&self, session: u32) -> Option<u32> {
        let terminal = self.terminals.controlling(session)?;
        self.terminals.get(terminal).ok()?.foreground()
    }
}
