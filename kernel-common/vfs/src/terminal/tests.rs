use alloc::string::String;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::poll;
use maize_abi::signal::Signal;
use maize_abi::termios::{Termios, WindowSize, cc, iflag, lflag, oflag, request};
use proptest::prelude::*;

use super::control::Requester;
use super::*;
use crate::ioctl::Answer;

const SHELL: Job =
    Job { group: 10, session: 10, orphaned: false, ignores_ttin: false, ignores_ttou: false };

fn terminal() -> Terminal {
    let mut terminal = Terminal::default();
    terminal.control(10, 10);
    terminal
}

fn with_modes(change: impl FnOnce(&mut Termios)) -> Terminal {
    let mut terminal = terminal();
    change(&mut terminal.modes);
    terminal
}

fn type_in(terminal: &mut Terminal, keys: &[u8]) {
    for key in keys {
        assert!(terminal.receive(*key));
    }
}

fn read(terminal: &mut Terminal, len: usize) -> Io<Vec<u8>> {
    let mut out = alloc::vec![0; len];
    let count = terminal.read(SHELL, &mut out, false, Patience::Left)?;
    out.truncate(count);
    Ok(out)
}

fn shown(terminal: &mut Terminal) -> String {
    let bytes: Vec<u8> = terminal.output.drain(..).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is read and what is shown when these keys are typed in the default modes.
fn line(keys: &[u8]) -> (Vec<u8>, String) {
    let mut terminal = terminal();
    type_in(&mut terminal, keys);
    (read(&mut terminal, 100).expect("a line"), shown(&mut terminal))
}

const WAIT: Stop =
    Stop::Wait { key: WaitKey::TerminalReadable(TerminalId::CONSOLE), at_most: Nanos::NEVER };

#[test]
fn a_line_is_read_when_it_is_ended() {
    let mut t = terminal();
    type_in(&mut t, b"ab");
    assert_eq!(read(&mut t, 10), Err(WAIT));
    assert_eq!(t.poll() & poll::POLLIN, 0);
    type_in(&mut t, b"c\rnext\n");
    assert_eq!(t.poll() & poll::POLLIN, poll::POLLIN);
    assert_eq!(read(&mut t, 2), Ok(b"ab".to_vec()));
    assert_eq!(read(&mut t, 10), Ok(b"c\n".to_vec()));
    assert_eq!(read(&mut t, 10), Ok(b"next\n".to_vec()));
    assert_eq!(shown(&mut t), "abc\r\nnext\r\n");
}

#[test]
fn editing_shows_what_is_left() {
    for (keys, expected, screen) in [
        // VERASE, of an ordinary and of a control character, and with nothing to erase.
        (&b"\x7fab\x7fc\n"[..], &b"ac\n"[..], "ab\x08 \x08c\r\n"),
        (b"a\x01\x7fb\n", b"ab\n", "a^A\x08 \x08\x08 \x08b\r\n"),
        // A character of several bytes goes as one.
        ("é\x7fx\n".as_bytes(), b"x\n", "é\x08 \x08x\r\n"),
        // VWERASE takes a word and the blanks behind it.
        (
            b"one two  \x17x\n",
            b"one x\n",
            "one two  \x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08x\r\n",
        ),
        // VKILL takes the line.
        (b"ab\x15c\n", b"c\n", "ab\x08 \x08\x08 \x08c\r\n"),
        // VLNEXT takes the next character as it is.
        (b"a\x16\x03\n", b"a\x03\n", "a^\x08^C\r\n"),
        // VREPRINT shows the line again.
        (b"ab\x12c\n", b"abc\n", "ab^R\r\nabc\r\n"),
        // An erased tab goes back to where it began.
        (b"ab\t\x7fc\n", b"abc\n", "ab\t\x08\x08\x08\x08\x08\x08c\r\n"),
    ] {
        assert_eq!(line(keys), (expected.to_vec(), screen.into()), "{keys:?}");
    }
}

#[test]
fn end_of_file_ends_a_line_without_a_byte() {
    let mut t = terminal();
    type_in(&mut t, b"\x04");
    assert_eq!(read(&mut t, 10), Ok(Vec::new()));
    assert_eq!(read(&mut t, 10), Err(WAIT));
    type_in(&mut t, b"ab\x04");
    // The mark goes with the last byte: the next read waits.
    assert_eq!(read(&mut t, 2), Ok(b"ab".to_vec()));
    assert_eq!(read(&mut t, 2), Err(WAIT));
    assert_eq!(shown(&mut t), "ab");
}

#[test]
fn control_characters_are_signals() {
    let mut t = terminal();
    type_in(&mut t, b"gone\x03x\x1c\x1a");
    let signals: Vec<Signal> = t.take_signals().into_iter().map(|s| s.signal).collect();
    assert_eq!(signals, [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP]);
    assert_eq!(read(&mut t, 10), Err(WAIT));
    // Each flushes what was shown before it.
    assert_eq!(shown(&mut t), "^Z");

    let mut t = with_modes(|m| m.lflag |= lflag::NOFLSH);
    type_in(&mut t, b"kept\x03\n");
    assert_eq!(read(&mut t, 10), Ok(b"kept\n".to_vec()));
    assert_eq!(shown(&mut t), "kept^C\r\n");

    let mut t = with_modes(|m| m.lflag &= !lflag::ISIG);
    type_in(&mut t, b"\x03\n");
    assert_eq!((read(&mut t, 10), t.take_signals().len()), (Ok(b"\x03\n".to_vec()), 0));
}

#[test]
fn raw_mode_gives_bytes_by_count_and_time() {
    let raw = |min: u8, time: u8| {
        with_modes(|m| {
            m.lflag &= !(lflag::ICANON | lflag::ECHO);
            (m.cc[cc::VMIN], m.cc[cc::VTIME]) = (min, time);
        })
    };
    let within = |millis: u64| {
        Err(Stop::Wait {
            key: WaitKey::TerminalReadable(TerminalId::CONSOLE),
            at_most: Nanos::from_millis(millis),
        })
    };
    let mut t = raw(1, 0);
    assert_eq!(read(&mut t, 10), Err(WAIT));
    type_in(&mut t, b"a\r");
    assert_eq!(read(&mut t, 10), Ok(b"a\n".to_vec()));

    let mut t = raw(3, 0);
    type_in(&mut t, b"ab");
    assert_eq!(read(&mut t, 10), Err(WAIT));
    assert_eq!(t.poll() & poll::POLLIN, 0);
    assert_eq!(read(&mut t, 1), Ok(b"a".to_vec()));

    let mut t = raw(0, 0);
    assert_eq!(read(&mut t, 10), Ok(Vec::new()));

    let mut t = raw(0, 5);
    assert_eq!(read(&mut t, 10), within(500));
    let mut out = [0; 4];
    assert_eq!(t.read(SHELL, &mut out, false, Patience::Exhausted), Ok(0));

    let mut t = raw(4, 2);
    assert_eq!(read(&mut t, 10), Err(WAIT), "the time starts with the first byte");
    type_in(&mut t, b"ab");
    assert_eq!(read(&mut t, 10), within(200));
    assert_eq!(t.read(SHELL, &mut out, false, Patience::Exhausted), Ok(2));
}

#[test]
fn output_is_processed() {
    let mut t = terminal();
    assert_eq!(t.write(SHELL, b"a\nb\r\n"), Ok(5));
    assert_eq!(shown(&mut t), "a\r\nb\r\r\n");
    let mut t = with_modes(|m| m.oflag |= oflag::XTABS);
    assert_eq!(t.write(SHELL, b"ab\tc"), Ok(4));
    assert_eq!(shown(&mut t), "ab      c");
    let mut t = with_modes(|m| m.oflag &= !oflag::OPOST);
    assert_eq!(t.write(SHELL, b"a\n"), Ok(2));
    assert_eq!(shown(&mut t), "a\n");
}

#[test]
fn output_waits_for_room_and_for_start() {
    let mut t = terminal();
    let long = alloc::vec![b'x'; 2 * OUTPUT_MAX];
    let taken = t.write(SHELL, &long).expect("some room");
    assert!((OUTPUT_MAX - 8..=OUTPUT_MAX).contains(&taken), "{taken}");
    assert_eq!(
        t.write(SHELL, &long),
        Err(Stop::wait(WaitKey::TerminalWritable(TerminalId::CONSOLE)))
    );
    assert_eq!(t.poll() & poll::POLLOUT, 0);
    t.output_taken(OUTPUT_MAX);
    assert_eq!(t.write(SHELL, b"x"), Ok(1));
    type_in(&mut t, b"\x13");
    assert_eq!(t.output(), b"");
    assert_eq!(
        t.write(SHELL, b"x"),
        Err(Stop::wait(WaitKey::TerminalWritable(TerminalId::CONSOLE)))
    );
    type_in(&mut t, b"\x11");
    assert_eq!(t.output(), b"x");
}

fn ioctl(t: &mut Terminal, job: Job, number: u32, input: &[u8]) -> Io<Answer> {
    let has_terminal = t.session() == Some(job.session);
    let by = Requester { pid: job.group, privileged: false, job, has_terminal };
    let session_of = |group: u32| match group {
        10 | 20 => Some(10),
        30 => Some(30),
        _ => None,
    };
    t.control_request(Request { by, number, argument: 0, input, session_of: &session_of })
}

#[test]
fn background_processes_are_stopped() {
    let mut t = terminal();
    let job = Job { group: 20, ..SHELL };
    let mut out = [0; 1];
    let mut read =
        |t: &mut Terminal, job| t.read(job, &mut out, false, Patience::Left).unwrap_err();
    assert_eq!(read(&mut t, job), Stop::Background(Signal::SIGTTIN));
    assert_eq!(read(&mut t, Job { ignores_ttin: true, ..job }), Stop::Error(Errno::EIO));
    assert_eq!(read(&mut t, Job { orphaned: true, ..job }), Stop::Error(Errno::EIO));
    // Writing is free unless TOSTOP says otherwise; changing modes is not.
    assert_eq!(t.write(job, b"x"), Ok(1));
    t.modes.lflag |= lflag::TOSTOP;
    assert_eq!(t.write(job, b"x"), Err(Stop::Background(Signal::SIGTTOU)));
    assert_eq!(t.write(Job { ignores_ttou: true, ..job }, b"x"), Ok(1));
    let modes = Termios::default().to_bytes();
    let stopped = Err(Stop::Background(Signal::SIGTTOU));
    assert_eq!(ioctl(&mut t, job, request::TCSETS, &modes), stopped);
    assert_eq!(ioctl(&mut t, job, request::TIOCSPGRP, &20_i32.to_le_bytes()), stopped);
    let ignores = Job { ignores_ttou: true, ..job };
    assert_eq!(ioctl(&mut t, ignores, request::TIOCSPGRP, &20_i32.to_le_bytes()), Ok(Answer::DONE));
    assert_eq!(t.foreground(), Some(20));
}

#[test]
fn sessions_own_the_terminal() {
    let mut t = terminal();
    let error = |errno: Errno| Err(Stop::Error(errno));
    let group = |n: i32| n.to_le_bytes();
    assert_eq!(ioctl(&mut t, SHELL, request::TIOCGPGRP, b""), Ok(Answer::number(10)));
    assert_eq!(ioctl(&mut t, SHELL, request::TIOCSPGRP, &group(30)), error(Errno::EPERM));
    assert_eq!(ioctl(&mut t, SHELL, request::TIOCSPGRP, &group(99)), error(Errno::ESRCH));
    assert_eq!(ioctl(&mut t, SHELL, request::TIOCSPGRP, &group(-1)), error(Errno::EINVAL));
    let stranger = Job { group: 30, session: 30, ..SHELL };
    assert_eq!(ioctl(&mut t, stranger, request::TIOCGPGRP, b""), error(Errno::ENOTTY));
    assert_eq!(ioctl(&mut t, stranger, request::TIOCSCTTY, b""), error(Errno::EPERM));
    assert_eq!(ioctl(&mut t, SHELL, request::TIOCNOTTY, b""), Ok(Answer::DONE));
    let hangup = [Signal::SIGHUP, Signal::SIGCONT]
        .map(|signal| TerminalSignal { to: Recipient::Group(10), signal });
    assert_eq!(t.take_signals(), hangup);
    assert_eq!(ioctl(&mut t, stranger, request::TIOCSCTTY, b""), Ok(Answer::DONE));
    assert_eq!((t.session(), t.foreground()), (Some(30), Some(30)));
}

#[test]
fn a_new_size_is_told_once() {
    let mut t = terminal();
    let size = WindowSize { rows: 24, cols: 80 };
    t.resize(size);
    t.resize(size);
    assert_eq!(
        t.take_signals(),
        [TerminalSignal { to: Recipient::Group(10), signal: Signal::SIGWINCH }]
    );
    let told = ioctl(&mut t, SHELL, request::TIOCGWINSZ, b"");
    assert_eq!(told, Ok(Answer::bytes(&size.to_bytes())));
}

#[test]
fn modes_change_when_output_is_drained() {
    let mut t = terminal();
    let raw = Termios { lflag: 0, ..Termios::default() };
    assert_eq!(t.write(SHELL, b"x"), Ok(1));
    type_in(&mut t, b"typed");
    let wait = Err(Stop::wait(WaitKey::TerminalWritable(TerminalId::CONSOLE)));
    assert_eq!(ioctl(&mut t, SHELL, request::TCSETSW, &raw.to_bytes()), wait);
    t.output.clear();
    assert_eq!(ioctl(&mut t, SHELL, request::TCSETSW, &raw.to_bytes()), Ok(Answer::DONE));
    // What was being typed can now be read, and is a line again afterwards.
    assert_eq!(read(&mut t, 2), Ok(b"ty".to_vec()));
    let cooked = Termios::default().to_bytes();
    assert_eq!(ioctl(&mut t, SHELL, request::TCSETS, &cooked), Ok(Answer::DONE));
    assert_eq!(read(&mut t, 10), Ok(b"ped".to_vec()));
    type_in(&mut t, b"lost\n");
    t.output.clear();
    assert_eq!(ioctl(&mut t, SHELL, request::TCSETSF, &cooked), Ok(Answer::DONE));
    assert_eq!(read(&mut t, 10), Err(WAIT));
}

#[test]
fn a_line_that_is_too_long_keeps_its_end() {
    let mut t = with_modes(|m| m.lflag &= !lflag::ECHO);
    type_in(&mut t, &[b'x'; 2 * INPUT_MAX]);
    type_in(&mut t, b"\n");
    let mut len = 0;
    while let Ok(bytes) = read(&mut t, 1000) {
        len += bytes.len();
        assert!(len < INPUT_MAX || bytes.ends_with(b"\n"));
    }
    assert_eq!(len, INPUT_MAX);
    // With a whole line there to be read, more input waits outside.
    type_in(&mut t, b"line\n");
    let taken = (0..2 * INPUT_MAX).take_while(|_| t.receive(b'y')).count();
    assert_eq!(taken, INPUT_MAX - 6);
}

#[test]
fn a_hung_up_terminal_reads_what_is_left() {
    let mut t = terminal();
    type_in(&mut t, b"last\n");
    t.hang_up();
    assert_eq!(read(&mut t, 10), Ok(b"last\n".to_vec()));
    assert_eq!(read(&mut t, 10), Ok(Vec::new()));
    assert_eq!(t.write(SHELL, b"x"), Err(Stop::Error(Errno::EIO)));
}

/// The line that keys leave in canonical mode: a second, simpler description of editing.
fn edited(keys: &[u8]) -> Vec<Vec<u8>> {
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    for key in keys {
        match key {
            0x7f => drop(line.pop()),
            0x15 => line.clear(),
            0x04 => lines.push(core::mem::take(&mut line)),
            b'\n' | b'\r' => {
                line.push(b'\n');
                lines.push(core::mem::take(&mut line));
            }
            key => line.push(*key),
        }
    }
    lines
}

proptest! {
    #[test]
    fn lines_are_as_edited(
        keys in prop::collection::vec(prop::sample::select(b"abc \x7f\x15\x04\n\r".as_slice()), 0..200),
        echo in any::<bool>(),
    ) {
        let mut t = with_modes(|m| if !echo { m.lflag &= !lflag::ECHO });
        type_in(&mut t, &keys);
        for expected in edited(&keys) {
            prop_assert_eq!(read(&mut t, 1000), Ok(expected));
        }
        prop_assert_eq!(read(&mut t, 1000), Err(WAIT));
        prop_assert!(echo || shown(&mut t).is_empty());
    }

    #[test]
    fn any_input_in_any_mode_stays_bounded(
        keys in prop::collection::vec(any::<u8>(), 0..3000),
        (input, out, local) in (any::<u32>(), any::<u32>(), any::<u32>()),
        chars in prop::array::uniform19(any::<u8>()),
        switch in any::<prop::sample::Index>(),
    ) {
        let modes = Termios {
            iflag: input, oflag: out, lflag: local, cc: chars, ..Termios::default()
        };
        let mut t = terminal();
        let at = switch.index(keys.len() + 1);
        for (n, key) in keys.iter().enumerate() {
            if n == at {
                // The change is refused only where output has to be taken first.
                let _ = ioctl(&mut t, SHELL, request::TCSETS, &modes.to_bytes());
            }
            t.receive(*key);
            prop_assert!(t.input.len() + t.edit.len() <= INPUT_MAX);
            prop_assert!(t.output.len() <= OUTPUT_MAX + ECHO_RESERVE);
            prop_assert_eq!(t.lines.iter().sum::<usize>(), if t.canonical() { t.input.len() } else { 0 });
        }
        let mut out = [0; 512];
        let mut reads = 0;
        while let Ok(count) = t.read(SHELL, &mut out, true, Patience::Exhausted) {
            reads += 1;
            prop_assert!(count > 0 || reads <= keys.len() + 1);
            if count == 0 && t.lines.is_empty() {
                break;
            }
        }
    }
}

#[test]
fn return_and_newline_are_mapped() {
    for (flags, keys, expected) in [
        (iflag::ICRNL, b"\r", Some(b"\n")),
        (iflag::IGNCR, b"\r", None),
        (iflag::INLCR, b"\n", Some(b"\r")),
        (0, b"\r", Some(b"\r")),
    ] {
        let mut t = with_modes(|m| (m.iflag, m.lflag) = (flags, 0));
        type_in(&mut t, keys);
        assert_eq!(read(&mut t, 10).ok(), expected.map(|bytes| bytes.to_vec()));
    }
}
