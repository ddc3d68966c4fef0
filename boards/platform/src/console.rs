//! The log and the panic report, on the board's debug console.

use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::hooks;

/// Writes text to the debug console; nowhere before hooks are installed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(hooks) = hooks() {
            (hooks.console)(text.as_bytes());
        }
        Ok(())
    }
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
            let _ = writeln!(Console, "[{level:5} {target}] {}", record.args());
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
