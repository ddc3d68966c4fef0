//! Output processing and echo.

use maize_abi::termios::{lflag, oflag};

use super::{ECHO_RESERVE, OUTPUT_MAX, Terminal};

/// Whether `iscntrl` holds for an ASCII byte.
pub(super) const fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Whether this is a later byte of a UTF-8 character.
pub(super) const fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

impl Terminal {
    /// Shows a program's bytes as far as there is room and returns how many.
    pub(super) fn show(&mut self, bytes: &[u8]) -> usize {
        let mut count = 0;
        for byte in bytes {
            // The longest result of one byte is a tab's eight spaces.
            if self.output.len() + 8 > OUTPUT_MAX {
                break;
            }
            self.process(*byte);
            count += 1;
        }
        count
    }

    /// Puts one byte out, changed as the output modes ask.
    fn process(&mut self, byte: u8) {
        let flags = self.modes.oflag;
        if flags & oflag::OPOST == 0 {
            self.output.push_back(byte);
            return;
        }
        match byte {
            b'\n' => {
                if flags & oflag::ONLCR != 0 {
                    self.output.push_back(b'\r');
                }
                if flags & (oflag::ONLCR | oflag::ONLRET) != 0 {
                    self.column = 0;
                    self.edit_column = 0;
                }
            }
            b'\r' if flags & oflag::ONOCR != 0 && self.column == 0 => return,
            b'\r' if flags & oflag::OCRNL != 0 => {
                self.process_mapped_return();
                return;
            }
            b'\r' => {
                self.column = 0;
                self.edit_column = 0;
            }
            b'\t' => {
                let spaces = 8 - self.column % 8;
                self.column += spaces;
                if flags & oflag::TABDLY == oflag::XTABS {
                    self.output.extend(core::iter::repeat_n(b' ', spaces));
                    return;
                }
            }
            0x08 => self.column = self.column.saturating_sub(1),
            _ if !is_control(byte) && !is_continuation(byte) => self.column += 1,
            _ => {}
        }
        self.output.push_back(byte);
    }

    fn process_mapped_return(&mut self) {
        if self.modes.oflag & oflag::ONLRET != 0 {
            self.column = 0;
            self.edit_column = 0;
        }
        self.output.push_back(b'\n');
    }

    fn has_echo_room(&self) -> bool {
        self.output.len() + 8 <= OUTPUT_MAX + ECHO_RESERVE
    }

    /// Echoes a byte as it is, through output processing.
    pub(super) fn echo_raw(&mut self, byte: u8) {
        if self.has_echo_room() {
            self.process(byte);
        }
    }

    /// Echoes a byte so that control characters can be seen.
    pub(super) fn echo(&mut self, byte: u8) {
        if self.local(lflag::ECHOCTL) && is_control(byte) && byte != b'\t' {
            self.echo_raw(b'^');
            self.echo_raw(byte ^ 0x40);
        } else {
            self.echo_raw(byte);
        }
    }
}
