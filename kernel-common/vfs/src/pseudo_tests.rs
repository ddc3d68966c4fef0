use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::{o, poll};
use maize_abi::signal::Signal;
use maize_abi::termios::request;
use proptest::prelude::*;

use crate::ioctl::Answer;
use crate::open::OpenHow;
use crate::pseudo::MOST;
use crate::testing::Fixture;
use crate::{
    At, FileId, Io, Patience, Place, Recipient, Stop, TerminalId, TerminalSignal, WaitKey,
};

const IN: u16 = poll::POLLIN | poll::POLLRDNORM;
const OUT: u16 = poll::POLLOUT | poll::POLLWRNORM;

impl Fixture {
    fn open(&mut self, path: &str, flags: u32) -> Result<FileId, Errno> {
        let how = OpenHow { flags: o::O_RDWR | flags, ..OpenHow::READ };
        self.with(|vfs, env, caller| vfs.open(env, caller, At::Cwd, path.as_bytes(), how))
    }

    fn ioctl(&mut self, file: FileId, number: u32, input: u32) -> Io<Answer> {
        let input = input.to_le_bytes();
        self.with(|vfs, env, caller| vfs.ioctl(env, caller, file, number, (0, &input)))
    }

    fn terminal(&mut self) -> (FileId, FileId) {
        let master = self.open("/dev/ptmx", 0).unwrap();
        self.ioctl(master, request::TIOCSPTLCK, 0).unwrap();
        let how = OpenHow { flags: o::O_RDWR | o::O_NOCTTY, ..OpenHow::READ };
        let peer = self.with(|vfs, env, caller| vfs.open_peer(env, caller, master, how));
        (master, peer.unwrap())
    }

    fn write(&mut self, file: FileId, bytes: &[u8]) -> Io<usize> {
        self.with(|vfs, env, caller| vfs.write(env, caller, file, Place::Position, bytes))
    }

    fn read(&mut self, file: FileId) -> Io<Vec<u8>> {
        let mut out = vec![0; 100];
        let count = self.with(|vfs, env, caller| {
            vfs.read(env, caller, file, Place::Position, &mut out, Patience::Left)
        })?;
        out.truncate(count);
        Ok(out)
    }
}

#[test]
fn each_side_wakes_who_waits_at_the_other() {
    let mut f = Fixture::new();
    let (master, slave) = f.terminal();
    let id = TerminalId(1);
    assert_eq!(f.read(master), Err(Stop::wait(WaitKey::MasterReadable(id))));
    assert_eq!(f.read(slave), Err(Stop::wait(WaitKey::TerminalReadable(id))));
    let _ = f.vfs.take_wakes();
    assert_eq!(f.write(slave, b"a\n"), Ok(2));
    assert_eq!(f.vfs.take_wakes(), [WaitKey::MasterReadable(id)]);
    assert_eq!((f.poll(master), f.poll(slave)), (IN | OUT, OUT));
    assert_eq!(f.read(master), Ok(b"a\r\n".to_vec()));
    assert_eq!(f.vfs.take_wakes(), [WaitKey::TerminalWritable(id)]);
    assert_eq!(f.write(master, b"key\n"), Ok(4));
    assert!(f.vfs.take_wakes().contains(&WaitKey::TerminalReadable(id)));
    assert_eq!(f.read(slave), Ok(b"key\n".to_vec()));
    assert_eq!(f.vfs.take_wakes(), [WaitKey::MasterWritable(id)]);
    f.close(slave);
    assert_eq!(f.vfs.take_wakes(), [WaitKey::MasterReadable(id)]);
    assert_eq!(f.read(master), Ok(b"key\r\n".to_vec()));
    assert_eq!(f.read(master), Err(Errno::EIO.into()));
    f.close(master);
    assert!(f.vfs.terminals.pseudo.is_empty());
}

#[test]
fn a_session_keeps_what_is_left_of_a_terminal_until_it_ends_or_has_another() {
    let mut f = Fixture::new();
    let (master, slave) = f.terminal();
    f.ioctl(slave, request::TIOCSCTTY, 0).unwrap();
    assert_eq!(f.vfs.foreground(10), Some(10));
    f.close(slave);
    f.close(master);
    let leader = |signal| TerminalSignal { to: Recipient::Process(10), signal };
    assert_eq!(f.vfs.take_signals(), [leader(Signal::SIGHUP), leader(Signal::SIGCONT)]);
    assert_eq!((f.vfs.foreground(10), f.vfs.terminals.pseudo.len()), (None, 1));
    assert_eq!(f.open("/dev/tty", 0), Err(Errno::ENXIO));
    // Another that comes is all there is.
    let (master, slave) = f.terminal();
    f.ioctl(slave, request::TIOCSCTTY, 0).unwrap();
    assert_eq!(f.vfs.terminals.pseudo.len(), 1);
    f.close(master);
    f.close(slave);
    let _ = f.vfs.take_signals();
    f.vfs.session_ended(10);
    let group = |signal| TerminalSignal { to: Recipient::Group(10), signal };
    // Those are sent before it is forgotten.
    assert_eq!(f.vfs.take_signals(), [group(Signal::SIGHUP), group(Signal::SIGCONT)]);
    assert!(f.vfs.terminals.pseudo.is_empty());
}

#[test]
fn there_are_so_many_and_no_more() {
    let mut f = Fixture::new();
    let mut all: Vec<FileId> = (0..MOST).map(|_| f.open("/dev/ptmx", 0).unwrap()).collect();
    assert_eq!(f.open("/dev/ptmx", 0), Err(Errno::ENOSPC));
    let middle = all.swap_remove(7);
    f.close(middle);
    let again = f.open("/dev/pts/ptmx", 0).unwrap();
    assert_eq!(f.ioctl(again, request::TIOCGPTN, 0), Ok(Answer::number(7)));
    all.push(again);
    for file in all {
        f.close(file);
    }
    assert!(f.vfs.terminals.pseudo.is_empty());
    assert_eq!(f.open("/dev/pts/7", 0), Err(Errno::ENOENT));
}

proptest! {
    /// Whatever is opened, written, asked and closed in whatever order: nothing panics, and
    /// nothing is left.
    #[test]
    fn random_use_leaves_nothing(
        steps in prop::collection::vec((0_u8..9, 0_usize..8, any::<u32>()), 1..200),
    ) {
        const REQUESTS: [u32; 16] = [
            request::TIOCSCTTY, request::TIOCNOTTY, request::TIOCPKT, request::TIOCSPTLCK,
            request::TCFLSH, request::TCXONC, request::TIOCSIG, request::TIOCGPTN,
            request::TIOCSPGRP, request::TIOCEXCL, request::TIOCSTI, request::FIONREAD,
            request::TIOCGSID, request::TCSBRK, request::TIOCSETD, request::TIOCGPKT,
        ];
        let mut f = Fixture::new();
        let mut files: Vec<FileId> = Vec::new();
        for (step, which, word) in steps {
            let file = files.get(which % files.len().max(1)).copied();
            match (step, file) {
                (0, _) => files.extend(f.open("/dev/ptmx", 0)),
                (1, _) => files.extend(f.open(&format!("/dev/pts/{which}"), word & o::O_NOCTTY)),
                (2, Some(master)) => {
                    let how = OpenHow { flags: o::O_RDWR, ..OpenHow::READ };
                    let peer = f.with(|vfs, env, caller| {
                        vfs.open_peer(env, caller, master, how)
                    });
                    files.extend(peer);
                }
                (3, Some(file)) => {
                    let _ = f.ioctl(file, REQUESTS[word as usize % REQUESTS.len()], word >> 8);
                }
                (4, Some(file)) => {
                    let _ = f.write(file, &word.to_le_bytes());
                }
                (5, Some(file)) => {
                    let _ = f.read(file);
                }
                (6, Some(file)) => {
                    files.retain(|other| *other != file);
                    f.close(file);
                }
                (7, Some(file)) => {
                    let _ = f.ioctl(file, request::TIOCSPTLCK, 0);
                }
                (8, Some(file)) => {
                    let _ = (f.poll(file), f.vfs.take_wakes(), f.vfs.take_signals());
                }
                _ => {}
            }
        }
        for file in files {
            f.close(file);
        }
        f.vfs.session_ended(10);
        prop_assert!(f.vfs.terminals.pseudo.is_empty());
    }
}
