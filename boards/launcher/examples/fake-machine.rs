//! Takes the place of QEMU in the launcher's tests: it gets QEMU's arguments, reads the boot record
//! from the RAM disk and plays a kernel whose "program" does what its name says. An instance without
//! a program does what it is told, see [`Machine::serve`].

#![allow(unsafe_code, reason = "takes over descriptors that are named by number")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::time::Duration;

use maize_hostlink::boot::{Action, Console, MAGIC, Program, WindowSize};
use maize_hostlink::control::{Level, Output, Stats};
use maize_hostlink::frame::{Channel, Decoder, MAX_PAYLOAD, encode};
use maize_hostlink::{BootRecord, KernelMessage, LauncherMessage, VERSION};

const NOTHING: Program =
    Program { path: Vec::new(), argv: Vec::new(), env: Vec::new(), cwd: Vec::new() };

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The two streams, by the descriptors in QEMU's arguments.
struct Machine {
    link: File,
    console: File,
    decoder: Decoder,
    record: BootRecord,
    /// Nothing in a machine that serves.
    program: Program,
}

/// What came from the launcher.
#[derive(Debug, PartialEq)]
enum Event {
    Input(Vec<u8>),
    Message(LauncherMessage),
    Closed,
}

fn chardev(arguments: &[String], id: &str) -> Result<File> {
    let prefix = format!("socket,id={id},fd=");
    let found = arguments.iter().find_map(|argument| argument.strip_prefix(&prefix));
    let fd: RawFd = found.ok_or("no such chardev")?.parse()?;
    // SAFETY: the launcher lets this process inherit the descriptors that it names in the arguments,
    // and each is taken here once, so nothing else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn boot_record(ram_disk: &[u8]) -> Result<BootRecord> {
    let start = ram_disk.windows(MAGIC.len()).rposition(|window| window == MAGIC);
    Ok(BootRecord::decode(ram_disk.get(start.ok_or("no boot record")?..).unwrap_or_default())?)
}

impl Machine {
    fn send(&mut self, message: &KernelMessage) -> Result<()> {
        let mut bytes = Vec::new();
        message.encode(self.record.instance, &mut bytes)?;
        Ok(self.link.write_all(&bytes)?)
    }

    fn output(&mut self, channel: Channel, data: &[u8]) -> Result<()> {
        let mut bytes = Vec::new();
        for chunk in data.chunks(MAX_PAYLOAD) {
            encode(channel, 0, chunk, &mut bytes)?;
        }
        Ok(self.link.write_all(&bytes)?)
    }

    /// The next thing from the launcher.
    fn event(&mut self) -> Result<Event> {
        loop {
            let mut byte = [0];
            if self.link.read(&mut byte)? == 0 {
                return Ok(Event::Closed);
            }
            let mut input = &byte[..];
            if let Some(frame) = self.decoder.next_frame(&mut input)? {
                return Ok(match frame.channel {
                    Channel::Stdin => Event::Input(frame.payload.to_vec()),
                    _ => Event::Message(LauncherMessage::decode(frame.payload)?),
                });
            }
        }
    }

    fn credit(&mut self, bytes: u32) -> Result<()> {
        self.send(&KernelMessage::StdinCredit { bytes })
    }

    fn argument(&self, index: usize) -> String {
        let word = self.program.argv.get(index).cloned().unwrap_or_default();
        String::from_utf8_lossy(&word).into_owned()
    }

    fn number(&self, index: usize) -> Result<usize> {
        Ok(self.argument(index).parse()?)
    }

    /// Plays the program; its `wait4` status.
    fn play(&mut self) -> Result<i32> {
        let name = self.argument(0);
        match name.trim_start_matches("/fake/") {
            "echo" => {
                let words: Vec<_> =
                    (1..self.program.argv.len()).map(|n| self.argument(n)).collect();
                self.output(Channel::Stdout, format!("{}\n", words.join(" ")).as_bytes())?;
            }
            "exit" => return Ok(i32::try_from(self.number(1)?)? << 8),
            "killed" => return Ok(i32::try_from(self.number(1)?)?),
            "cat" => return self.cat(),
            "flood" => {
                let block: Vec<u8> = (0..=255u8).cycle().take(MAX_PAYLOAD).collect();
                for _ in 0..self.number(1)? {
                    self.output(Channel::Stdout, &block)?;
                }
            }
            "both" => {
                for n in 0..1000 {
                    self.output(Channel::Stdout, format!("out {n}\n").as_bytes())?;
                    self.output(Channel::Stderr, format!("err {n}\n").as_bytes())?;
                }
            }
            "until-closed" => {
                for _ in 0..100 {
                    self.output(Channel::Stdout, &[b'y'; MAX_PAYLOAD])?;
                }
                return match self.event()? {
                    Event::Message(LauncherMessage::OutputClosed(Output::Stdout)) => Ok(13),
                    other => Err(format!("unexpected {other:?}").into()),
                };
            }
            "hang" => std::thread::sleep(Duration::from_secs(1000)),
            "die" => std::process::exit(3),
            "garbage" => self.link.write_all(b"this is no frame")?,
            "panic" => {
                self.console.write_all(b"booting\nkernel panic: out of luck\n  #0 0x1234\n")?;
                std::process::exit(35);
            }
            "report" => self.send(&KernelMessage::Report {
                level: Level::Error,
                text: "killed by a fault".to_owned(),
            })?,
            "stats" => {
                let counters = vec![("syscall.read".to_owned(), 5)];
                self.send(&KernelMessage::Stats(Stats { counters, histograms: Vec::new() }))?;
            }
            "terminal" => return self.terminal(),
            "old" => self.send(&KernelMessage::Hello { version: VERSION + 1 })?,
            "complain" => {
                // As QEMU does when it does not like an argument.
                return Err(std::process::Command::new("sh")
                    .args(["-c", "echo 'qemu: no such machine' >&2; exit 1"])
                    .exec()
                    .into());
            }
            other => return Err(format!("no such program {other}").into()),
        }
        Ok(0)
    }

    /// Serves until the launcher is gone: the launcher's orders stand for what could happen.
    fn serve(&mut self) -> Result<()> {
        let instance = self.record.instance;
        self.send(&KernelMessage::Up { instance, epoch: 1 })?;
        loop {
            match self.event()? {
                // That sibling, or peer, was silent for too long.
                Event::Message(LauncherMessage::StopInstance { instance: peer }) => {
                    let cause = "silent".to_owned();
                    let down = KernelMessage::PeerDown { peer, epoch: 1, cause, awaits_stop: true };
                    self.send(&down)?;
                }
                Event::Message(LauncherMessage::PeerStopped { peer, epoch }) => {
                    let text = format!("{peer} has stopped in epoch {epoch}");
                    self.send(&KernelMessage::Report { level: Level::Info, text })?;
                }
                Event::Message(LauncherMessage::StartInstance { instance }) => {
                    self.send(&KernelMessage::Up { instance, epoch: 2 })?;
                }
                Event::Message(LauncherMessage::StatsRequest) => {
                    let counters = vec![("syscall.read".to_owned(), 7)];
                    self.send(&KernelMessage::Stats(Stats { counters, histograms: Vec::new() }))?;
                }
                Event::Message(LauncherMessage::Signal(_)) => {
                    self.console.write_all(b"kernel panic: told to\n")?;
                    std::process::exit(3);
                }
                Event::Message(LauncherMessage::Shutdown) | Event::Closed => return Ok(()),
                other => return Err(format!("unexpected {other:?}").into()),
            }
        }
    }

    /// Copies input to output with a small window, and checks that the credit is kept.
    fn cat(&mut self) -> Result<i32> {
        const WINDOW: u32 = 10_000;
        let mut credit = WINDOW;
        self.credit(WINDOW)?;
        loop {
            match self.event()? {
                Event::Input(bytes) if bytes.is_empty() => return Ok(0),
                Event::Input(bytes) => {
                    let len = u32::try_from(bytes.len())?;
                    credit = credit.checked_sub(len).ok_or("more input than credit")?;
                    self.output(Channel::Stdout, &bytes)?;
                    self.credit(len)?;
                    credit += len;
                }
                other => return Err(format!("unexpected {other:?}").into()),
            }
        }
    }

    /// Says the size of the terminal, then each byte typed until `q`, and changes of the size.
    fn terminal(&mut self) -> Result<i32> {
        let Console::Terminal(WindowSize { rows, columns }) = self.record.console else {
            return Ok(1 << 8);
        };
        self.output(Channel::Stdout, format!("size {rows} {columns}\r\n").as_bytes())?;
        self.credit(100_000)?;
        loop {
            match self.event()? {
                Event::Input(bytes) => {
                    for byte in bytes {
                        self.output(Channel::Stdout, format!("byte {byte}\r\n").as_bytes())?;
                        if byte == b'q' {
                            return Ok(0);
                        }
                    }
                }
                Event::Message(LauncherMessage::WindowSize(size)) => {
                    let text = format!("resized {} {}\r\n", size.rows, size.columns);
                    self.output(Channel::Stdout, text.as_bytes())?;
                }
                other => return Err(format!("unexpected {other:?}").into()),
            }
        }
    }
}

fn machine() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |option: &str| {
        let at = arguments.iter().position(|argument| argument == option)?;
        arguments.get(at + 1)
    };
    let record = boot_record(&std::fs::read(after("-initrd").ok_or("no -initrd")?)?)?;
    let program = match &record.action {
        Action::Run(program) => Some(program.clone()),
        Action::Serve => None,
    };
    let mut machine = Machine {
        link: chardev(&arguments, "link")?,
        console: chardev(&arguments, "console")?,
        decoder: Decoder::new(),
        record,
        program: program.clone().unwrap_or(NOTHING),
    };
    machine.console.write_all(b"fake kernel\n")?;
    machine.send(&KernelMessage::Hello { version: VERSION })?;
    if program.is_none() {
        return machine.serve();
    }
    machine.send(&KernelMessage::Ready { since_entry_ns: 1, phases: Vec::new() })?;
    let status = machine.play()?;
    machine.send(&KernelMessage::Exited { status })
}

fn main() -> ExitCode {
    match machine() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fake machine: {error}");
            ExitCode::FAILURE
        }
    }
}
