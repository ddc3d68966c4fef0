//! The log and the panic report, on the board's debug console.
//!
//! The instances of a machine share its console. A line is written whole, and lines of all but the
//! machine's first instance begin with the instance's number: `[3] kernel panic: …`. A console is
//! slow, so an instance that finds it taken keeps its lines and goes on.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use log::{LevelFilter, Log, Metadata, Record};
use spin::mutex::SpinMutex;

use crate::hooks;
use crate::siblings::{ConsoleTurn, membership};

/// Bytes that wait for a turn at a console that others use, at the most: a screenful. Who has more to
/// say waits for the turn.
const ROOM: usize = 4096;

/// Text on its way to the debug console.
struct Pending {
    bytes: [u8; ROOM],
    len: usize,
}

static PENDING: SpinMutex<Pending> = SpinMutex::new(Pending { bytes: [0; ROOM], len: 0 });

/// Whether text is pending: asked often, and mostly in vain.
static IS_PENDING: AtomicBool = AtomicBool::new(false);

impl Pending {
    /// Writes everything to the console, whose turn the caller has.
    fn flush(&mut self) {
        raw(&self.bytes[..self.len]);
        self.len = 0;
        IS_PENDING.store(false, Ordering::Relaxed);
    }
}

impl Write for Pending {
    /// Text for which there is no room goes out at once, and what waits in front of it.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = self.bytes.get_mut(self.len..).and_then(|free| free.get_mut(..text.len()));
        if let Some(place) = free {
            place.copy_from_slice(text.as_bytes());
            self.len += text.len();
            IS_PENDING.store(true, Ordering::Relaxed);
        } else {
            let _turn = ConsoleTurn::take();
            self.flush();
            raw(text.as_bytes());
        }
        Ok(())
    }
}

/// Writes to the debug console; nowhere before hooks are installed.
fn raw(bytes: &[u8]) {
    if let Some(hooks) = hooks()
        && !bytes.is_empty()
    {
        (hooks.console)(bytes);
    }
}

/// Writes straight to the console.
struct Raw;

impl Write for Raw {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        raw(text.as_bytes());
        Ok(())
    }
}

/// Begins each line with an instance's number.
struct Numbered<'a, W>(&'a mut W, u16);

impl<W: Write> Write for Numbered<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                write!(self.0, "\n[{}] ", self.1)?;
            }
            self.0.write_str(line)?;
        }
        Ok(())
    }
}

/// Writes a line, or several that stay together, as this instance's.
fn put(into: &mut impl Write, text: fmt::Arguments<'_>) -> fmt::Result {
    let sibling = membership().filter(|membership| membership.index != 0);
    match sibling.map(|membership| membership.number) {
        Some(number) => {
            write!(into, "[{number}] ")?;
            Numbered(&mut *into, number).write_fmt(text)?;
        }
        None => into.write_fmt(text)?,
    }
    into.write_str("\n")
}

/// Writes one line, or several that stay together. Nobody is waited for: while another instance has
/// the console the text is kept, for the next line or [`flush_if_free`].
pub fn line(text: fmt::Arguments<'_>) {
    let Some(mut pending) = PENDING.try_lock() else {
        // From a panic, or a fault, in the middle of another line.
        return line_at_once(text);
    };
    let _ = put(&mut *pending, text);
    if let Some(_turn) = ConsoleTurn::take_if_free() {
        pending.flush();
    }
}

/// Writes a line behind all that is pending; waits for a turn, for a bounded time.
pub fn line_at_once(text: fmt::Arguments<'_>) {
    let _turn = ConsoleTurn::take();
    if let Some(mut pending) = PENDING.try_lock() {
        pending.flush();
    }
    let _ = put(&mut Raw, text);
}

/// Writes what is pending if nobody else has the console.
#[inline]
pub fn flush_if_free() {
    if IS_PENDING.load(Ordering::Relaxed)
        && let (Some(mut pending), Some(_turn)) = (PENDING.try_lock(), ConsoleTurn::take_if_free())
    {
        pending.flush();
    }
}

/// Writes what is pending; waits for a turn, for a bounded time.
pub(crate) fn flush() {
    if IS_PENDING.load(Ordering::Relaxed)
        && let Some(mut pending) = PENDING.try_lock()
    {
        let _turn = ConsoleTurn::take();
        pending.flush();
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
            line(format_args!("[{level:5} {target}] {}", record.args()));
        }
    }

    fn flush(&self) {
        flush();
    }
}

/// Sends the log to the console from `level` up.
pub fn log_to_console(level: LevelFilter) {
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(level);
    }
}
