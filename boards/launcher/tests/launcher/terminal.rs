//! The launcher on a terminal: raw while the program runs, put back however it ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use crate::on_fake_machine::launcher;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// A terminal of 30 lines of 100, its user's end, and the launcher in its foreground.
struct Seat {
    user: File,
    terminal: File,
    child: Child,
    seen: String,
}

impl Seat {
    fn new(program: &str) -> Self {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let path = ptsname(&user, Vec::new()).unwrap().into_string().unwrap();
        let terminal = File::options().read(true).write(true).open(path).unwrap();
        resize(&user, 30, 100);
        let run = launcher(&["run", "--tty"], program, &[]);
        let stream = || OwnedFd::from(terminal.try_clone().unwrap());
        // The terminal must be the launcher's own for it to get signals from it; `setsid` becomes the
        // launcher, in the same process.
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(run.get_program())
            .args(run.get_args())
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        Self { user: File::from(user), terminal, child, seen: String::new() }
    }

    fn wait_for(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.seen.contains(text) {
            let count = self.user.read(&mut buffer).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }

    fn is_canonical(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }
}

fn resize(terminal: impl std::os::fd::AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

#[test]
fn keys_and_sizes_are_the_programs() {
    let mut seat = Seat::new("terminal");
    seat.wait_for("size 30 100\r\n");
    assert!(!seat.is_canonical());
    seat.user.write_all(b"a\x03\x1a").unwrap();
    seat.wait_for("byte 97\r\nbyte 3\r\nbyte 26\r\n");
    resize(&seat.user, 50, 132);
    seat.wait_for("resized 50 132\r\n");
    seat.user.write_all(b"q").unwrap();
    assert_eq!(seat.child.wait().unwrap().code(), Some(0));
    assert!(seat.is_canonical());
}

#[test]
fn the_terminal_is_put_back_when_a_machine_fails() {
    let mut seat = Seat::new("garbage");
    seat.wait_for("frame begins with 0x74");
    assert_eq!(seat.child.wait().unwrap().code(), Some(125));
    assert!(seat.is_canonical());
}

#[test]
fn the_terminal_is_put_back_when_the_launcher_is_told_to_end() {
    let mut seat = Seat::new("terminal");
    seat.wait_for("size 30 100\r\n");
    assert!(!seat.is_canonical());
    let pid = rustix::process::Pid::from_child(&seat.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    seat.child.wait().unwrap();
    assert!(seat.is_canonical());
}
