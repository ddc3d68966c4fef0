//! Input: line editing, echo, signals.

use maize_abi::signal::Signal;
use maize_abi::termios::{cc, iflag, lflag};

use super::output::{is_continuation, is_control};
use super::{INPUT_MAX, Terminal};

/// Linux's `__DISABLED_CHAR`: a control character of this value does not exist.
const DISABLED: u8 = 0;

/// How much of the line being typed is erased.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Erase {
    Character,
    Word,
    Line,
}

impl Terminal {
    /// Takes one byte from the keyboard. False if it cannot be taken until a program has read:
    /// nothing has happened then.
    pub(crate) fn receive(&mut self, byte: u8) -> bool {
        if self.hung_up {
            return true;
        }
        if self.is_full() {
            return false;
        }
        self.receive_byte(byte);
        true
    }

    /// Whether nothing can be taken until a program has read.
    pub(super) fn is_full(&self) -> bool {
        let len = self.input.len() + self.edit.len();
        // In canonical mode room for the end of a line is kept. A line that is longer than all
        // room can only lose characters; with another line before it there is something to read.
        match self.canonical() {
            true => len >= INPUT_MAX - 1 && !self.lines.is_empty(),
            false => len >= INPUT_MAX,
        }
    }

    fn input_flag(&self, flag: u32) -> bool {
        self.modes.iflag & flag != 0
    }

    fn is_control_char(&self, byte: u8, index: usize) -> bool {
        byte != DISABLED && byte == self.modes.cc[index]
    }

    fn receive_byte(&mut self, mut byte: u8) {
        if self.input_flag(iflag::ISTRIP) {
            byte &= 0x7f;
        }
        if core::mem::take(&mut self.literal) {
            self.insert_echoed(byte);
            return;
        }
        if self.stopped && self.input_flag(iflag::IXON) && self.input_flag(iflag::IXANY) {
            self.stop(false);
        }
        if self.flow_control(byte) || self.signal_char(byte) {
            return;
        }
        match byte {
            b'\r' if self.input_flag(iflag::IGNCR) => return,
            b'\r' if self.input_flag(iflag::ICRNL) => byte = b'\n',
            b'\n' if self.input_flag(iflag::INLCR) => byte = b'\r',
            _ => {}
        }
        if self.canonical() && self.line_char(byte) {
            return;
        }
        self.insert_echoed(byte);
    }

    fn flow_control(&mut self, byte: u8) -> bool {
        if !self.input_flag(iflag::IXON) {
            return false;
        }
        if self.is_control_char(byte, cc::VSTART) {
            self.stop(false);
            true
        } else if self.is_control_char(byte, cc::VSTOP) {
            self.stop(true);
            true
        } else {
            false
        }
    }

    fn signal_char(&mut self, byte: u8) -> bool {
        if !self.local(lflag::ISIG) {
            return false;
        }
        let signals = [
            (cc::VINTR, Signal::SIGINT),
            (cc::VQUIT, Signal::SIGQUIT),
            (cc::VSUSP, Signal::SIGTSTP),
        ];
        let found = signals.into_iter().find(|(index, _)| self.is_control_char(byte, *index));
        let Some((_, signal)) = found else { return false };
        if !self.local(lflag::NOFLSH) {
            self.flush_input();
            self.flush_output();
        }
        self.signal(signal);
        if self.input_flag(iflag::IXON) {
            self.stop(false);
        }
        if self.local(lflag::ECHO) {
            self.echo(byte);
        }
        true
    }

    /// Acts on a character that edits or ends a line.
    fn line_char(&mut self, byte: u8) -> bool {
        let extended = self.local(lflag::IEXTEN);
        if self.is_control_char(byte, cc::VERASE) {
            self.erase(Erase::Character, byte);
        } else if self.is_control_char(byte, cc::VKILL) {
            self.erase(Erase::Line, byte);
        } else if extended && self.is_control_char(byte, cc::VWERASE) {
            self.erase(Erase::Word, byte);
        } else if extended && self.is_control_char(byte, cc::VLNEXT) {
            self.literal = true;
            if self.local(lflag::ECHO) && self.local(lflag::ECHOCTL) {
                self.echo_raw(b'^');
                self.echo_raw(0x08);
            }
        } else if extended && self.local(lflag::ECHO) && self.is_control_char(byte, cc::VREPRINT) {
            self.echo(byte);
            self.echo_raw(b'\n');
            for at in 0..self.edit.len() {
                self.echo(self.edit[at]);
            }
        } else if byte == b'\n' {
            if self.local(lflag::ECHO | lflag::ECHONL) {
                self.echo_raw(b'\n');
            }
            self.end_line(Some(byte));
        } else if self.is_control_char(byte, cc::VEOF) {
            self.end_line(None);
        } else if self.is_control_char(byte, cc::VEOL)
            || extended && self.is_control_char(byte, cc::VEOL2)
        {
            if self.local(lflag::ECHO) {
                self.echo(byte);
            }
            self.end_line(Some(byte));
        } else {
            return false;
        }
        true
    }

    /// Makes the line being typed readable.
    fn end_line(&mut self, terminator: Option<u8>) {
        self.edit.extend(terminator);
        self.lines.push_back(self.edit.len());
        self.input.extend(self.edit.drain(..));
    }

    fn insert_echoed(&mut self, byte: u8) {
        // Only a line without an end comes so far: room is kept for the byte that ends it.
        if self.input.len() + self.edit.len() >= INPUT_MAX - 1 && self.canonical() {
            if self.input_flag(iflag::IMAXBEL) {
                self.echo_raw(0x07);
            }
            return;
        }
        if self.local(lflag::ECHO) {
            if self.canonical() && self.edit.is_empty() {
                self.edit_column = self.column;
            }
            if byte == b'\n' {
                self.echo_raw(byte);
            } else {
                self.echo(byte);
            }
        }
        if self.canonical() {
            self.edit.push(byte);
        } else {
            self.input.push_back(byte);
        }
    }

    /// Removes the last character of the line being typed: all bytes of a UTF-8 character.
    fn pop_character(&mut self) -> Option<u8> {
        let mut byte = self.edit.pop()?;
        if self.input_flag(iflag::IUTF8) {
            while is_continuation(byte) {
                byte = self.edit.pop()?;
            }
        }
        Some(byte)
    }

    fn erase(&mut self, what: Erase, typed: u8) {
        if self.edit.is_empty() {
            return;
        }
        let echo = self.local(lflag::ECHO);
        if what == Erase::Line {
            let visibly =
                self.local(lflag::ECHOK) && self.local(lflag::ECHOKE) && self.local(lflag::ECHOE);
            if !echo || !visibly {
                self.edit.clear();
                if echo {
                    self.echo(typed);
                    if self.local(lflag::ECHOK) {
                        self.echo_raw(b'\n');
                    }
                }
                return;
            }
        }
        let mut seen_word = false;
        while let Some(&last) = self.edit.last() {
            if what == Erase::Word {
                // Bytes above ASCII count as letters, so that a word of any script goes as one.
                let in_word = last.is_ascii_alphanumeric() || last == b'_' || !last.is_ascii();
                if seen_word && !in_word {
                    break;
                }
                seen_word |= in_word;
            }
            let Some(first) = self.pop_character() else { break };
            if echo {
                self.echo_erasure(what, first, typed);
            }
            if what == Erase::Character {
                break;
            }
        }
    }

    /// Takes an erased character off the screen.
    fn echo_erasure(&mut self, what: Erase, erased: u8, typed: u8) {
        if what == Erase::Character && !self.local(lflag::ECHOE) {
            self.echo(typed);
        } else if erased == b'\t' {
            let back = self.column.saturating_sub(self.typed_column()).min(8);
            for _ in 0..back {
                self.echo_raw(0x08);
            }
        } else {
            let mut width = usize::from(!is_control(erased));
            if is_control(erased) && self.local(lflag::ECHOCTL) {
                width = 2;
            }
            for _ in 0..width {
                self.echo_raw(0x08);
                self.echo_raw(b' ');
                self.echo_raw(0x08);
            }
        }
    }

    /// The column behind what is left of the line being typed.
    fn typed_column(&self) -> usize {
        self.edit.iter().fold(self.edit_column, |column, byte| match *byte {
            b'\t' => (column / 8 + 1) * 8,
            byte if is_control(byte) => column + if self.local(lflag::ECHOCTL) { 2 } else { 0 },
            byte if is_continuation(byte) => column,
            _ => column + 1,
        })
    }

    /// Carries what has been typed over a change between canonical and raw mode.
    pub(super) fn switch_canonical(&mut self) {
        if self.canonical() {
            // What was readable before stays so, as one line.
            if !self.input.is_empty() {
                self.lines.push_back(self.input.len());
            }
        } else {
            self.lines.clear();
            self.input.extend(self.edit.drain(..));
            self.literal = false;
        }
    }
}
