//! Moves in user mode, asked for by the environment.
//!
//! - `MAIZE_MIGRATE=self:N` saves and enters the thread in place at every N-th migration point;
//! - `MAIZE_MIGRATE=leave:N:FILE` leaves at the N-th: writes the thread's state to FILE and the
//!   program's memory to FILE`.memory`, and ends with status [`LEFT`];
//! - `MAIZE_RESUME=FILE` goes on with such a state, on any instruction set.
//!
//! A state is one thread's; files other than the first three are not open on the other side.

/// Exit status of a program that has left.
pub const LEFT: i32 = 42;
/// Name of the variable that asks for moves.
pub const MIGRATE: &[u8] = b"MAIZE_MIGRATE=";
/// Name of the variable that names a state to go on with.
pub const RESUME: &[u8] = b"MAIZE_RESUME=";

/// What the environment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan<'a> {
    /// To stay until a kernel asks.
    Stay,
    /// To save and enter at every so many points.
    InPlace {
        /// How many.
        every: u64,
    },
    /// To leave.
    Leave {
        /// After how many points.
        after: u64,
        /// Where the state goes.
        file: &'a [u8],
    },
}

impl<'a> Plan<'a> {
    /// Reads the value of the variable. None if it says something else.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        if let Some(number) = value.strip_prefix(b"self:") {
            return Some(Self::InPlace { every: decimal(number)?.max(1) });
        }
        let rest = value.strip_prefix(b"leave:")?;
        let colon = rest.iter().position(|byte| *byte == b':')?;
        let (number, file) = rest.split_at(colon);
        let file = file.get(1..).filter(|file| !file.is_empty())?;
        Some(Self::Leave { after: decimal(number)?.max(1), file })
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read() {
        assert_eq!(Plan::parse(b"self:5"), Some(Plan::InPlace { every: 5 }));
        assert_eq!(Plan::parse(b"self:0"), Some(Plan::InPlace { every: 1 }));
        let file: &[u8] = b"a:b";
        assert_eq!(Plan::parse(b"leave:7:a:b"), Some(Plan::Leave { after: 7, file }));
        for wrong in [&b"self:"[..], b"self:-1", b"leave:7", b"leave:7:", b"leave::f", b""] {
            assert_eq!(Plan::parse(wrong), None);
        }
    }
}
