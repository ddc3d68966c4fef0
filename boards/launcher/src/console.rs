//! The kernels' consoles: kept for the case of failure, logged, and shown on request.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;

use crate::symbols::LazySymbols;

/// Lines kept of one console.
pub const MAX_LINES: usize = 20_000;

/// Longest line, in bytes; a longer one is cut in pieces.
pub const MAX_LINE: usize = 4096;

/// How a kernel begins the line that says it cannot go on.
pub const PANIC_PREFIX: &str = "kernel panic:";

/// Whose panic a line reports: the number of a sibling, whose lines begin with it in brackets, or
/// `Some(None)` for the machine's first instance. `None` if the line reports no panic.
#[must_use]
pub fn panicking(line: &str) -> Option<Option<u16>> {
    let (before, _) = line.split_once(PANIC_PREFIX)?;
    let number = before.strip_prefix('[').and_then(|rest| rest.strip_suffix("] "));
    Some(number.and_then(|number| number.parse().ok()))
}

/// One console of one machine.
#[derive(Debug)]
pub struct Console {
    /// Shown before each line.
    pub name: String,
    partial: Vec<u8>,
    lines: VecDeque<String>,
    dropped: usize,
    panic: Option<String>,
}

impl Console {
    /// A console with nothing on it.
    #[must_use]
    pub fn new(name: String) -> Self {
        Self { name, partial: Vec::new(), lines: VecDeque::new(), dropped: 0, panic: None }
    }

    /// Takes what came, and gives each line that is complete, with backtraces' functions named.
    pub fn feed(&mut self, bytes: &[u8], symbols: Option<&LazySymbols>) -> Vec<String> {
        let mut finished = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                finished.push(self.take_partial(symbols));
            } else {
                self.partial.push(byte);
                if self.partial.len() >= MAX_LINE {
                    finished.push(self.take_partial(symbols));
                }
            }
        }
        finished
    }

    /// The last line, if no newline ended it.
    pub fn finish(&mut self, symbols: Option<&LazySymbols>) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take_partial(symbols))
    }

    fn take_partial(&mut self, symbols: Option<&LazySymbols>) -> String {
        let text = String::from_utf8_lossy(&self.partial).into_owned();
        self.partial.clear();
        // A terminal's carriage returns and escapes are not for a log.
        let text: String = text.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        let text = symbols.map_or_else(|| text.clone(), |symbols| symbols.annotate(&text));
        if self.panic.is_none() && panicking(&text) == Some(None) {
            self.panic = Some(text.clone());
        }
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(text.clone());
        text
    }

    /// The line by which the machine's first instance said that it cannot go on.
    #[must_use]
    pub fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    /// Whether nothing came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Everything kept, one line each, after a line that names the console.
    #[must_use]
    pub fn transcript(&self) -> String {
        let mut text = format!("--- console of {} ---\n", self.name);
        if self.dropped > 0 {
            text.push_str(&format!("({} lines before)\n", self.dropped));
        }
        if self.lines.is_empty() {
            text.push_str("(nothing)\n");
        }
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// Where lines of consoles go as they come.
#[derive(Debug, Default)]
pub struct ConsoleLog {
    /// A file that gets every line.
    pub file: Option<File>,
    /// Whether standard error gets every line.
    pub verbose: bool,
    /// Whether standard error gets the kernels' warnings.
    pub warnings: bool,
    /// Whether standard error is a terminal in raw mode.
    pub raw_terminal: bool,
}

impl ConsoleLog {
    /// Passes on one line of the console `name`.
    pub fn line(&mut self, name: &str, line: &str) {
        if let Some(file) = &mut self.file {
            // A full disk is no reason to end the program that runs.
            let _ = writeln!(file, "{name}: {line}");
        }
        if self.verbose {
            self.show(&format!("{name}: {line}"));
        }
    }

    /// Writes a text to standard error, a line at least.
    pub fn show(&self, text: &str) {
        let end = if self.raw_terminal { "\r\n" } else { "\n" };
        let mut out = String::new();
        for line in text.lines() {
            out.push_str(line);
            out.push_str(end);
        }
        let _ = std::io::stderr().write_all(out.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_from_any_pieces() {
        let mut console = Console::new("m".into());
        assert!(console.feed(b"one\r", None).is_empty());
        assert_eq!(console.feed(b"\ntwo\nthr\x1b[0mee", None), ["one", "two"]);
        assert_eq!(console.finish(None).unwrap(), "thr[0mee");
        assert_eq!(console.finish(None), None);
        assert_eq!(console.transcript(), "--- console of m ---\none\ntwo\nthr[0mee\n");
    }

    #[test]
    fn a_panic_is_noticed_and_the_first_counts() {
        let mut console = Console::new("m".into());
        console.feed(b"kernel panic: first\nmaize: panic: second\n", None);
        assert_eq!(console.panic(), Some("kernel panic: first"));
    }

    #[test]
    fn a_siblings_panic_is_its_own() {
        let mut console = Console::new("m".into());
        console.feed(b"[3] kernel panic: mine\n", None);
        assert_eq!(console.panic(), None);
        assert_eq!(panicking("[3] kernel panic: mine"), Some(Some(3)));
        assert_eq!(panicking("[INFO x] kernel panic: odd"), Some(None));
        assert_eq!(panicking("[3] all is well"), None);
    }

    #[test]
    fn garbage_stays_bounded() {
        let mut console = Console::new("m".into());
        let lines = console.feed(&vec![0xff; MAX_LINE * 3 + 1], None);
        assert_eq!(lines.len(), 3);
        for _ in 0..MAX_LINES + 5 {
            console.feed(b"x\n", None);
        }
        assert!(console.transcript().contains("(8 lines before)"));
    }
}
