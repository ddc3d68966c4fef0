//! The log and the panic report, on the board's debug console.
//!
//! The instances of a machine share its console. A line is written whole, and lines of all but the
//! machine's first instance begin with the instance's number: `[3] kernel panic: …`.

use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::hooks;
use crate::siblings::{ConsoleTurn, membership};

/// Writes text to the debug console, in pieces; nowhere before hooks are installed.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Write for Raw {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(hooks) = hooks() {
            (hooks.console)(text.as_bytes());
        }
        Ok(())
    }
}

/// Begins each line with an instance's number.
struct Numbered(u16);

impl Write for Numbered {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                write!(Raw, "\n[{}] ", self.0)?;
            }
            Raw.write_str(line)?;
        }
        Ok(())
    }
}

/// Writes one line, or several that stay together.
pub fn line(text: fmt::Arguments<'_>) {
    let _turn = ConsoleTurn::take();
    let sibling = membership().filter(|membership| membership.index != 0);
    let _ = match sibling.map(|membership| membership.number) {
        Some(number) => write!(Raw, "[{number}] ").and_then(|()| Numbered(number).write_fmt(text)),
        None => Raw.write_fmt(text),
    };
    let _ = Raw.write_str("\n");
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let (level, target) = (record.level(), record.target());
            let target = target.strip_prefix("maize_").unwrap_or(target);
            line(format_args!("[{level:5} {target}] {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Sends the log to the console from `level` up.
pub fn log_to_console(level: LevelFilter) {
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(level);
    }
}
