//! What the driver prints, taken apart. The form is described in `tests/programs/driver/driver.c`.

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By `exit`, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// Killed by the driver after so many seconds.
    TimedOut(i32),
    /// Not started: the driver's `access` gave this error number.
    Absent(i32),
    /// The system stopped, or the driver did, while it ran; why, as far as known.
    Lost(String),
}

impl Ending {
    fn parse(words: &str) -> Option<Self> {
        let (kind, number) = words.split_once(' ')?;
        let number = number.parse().ok()?;
        match kind {
            "exited" => Some(Self::Exited(number)),
            "killed" => Some(Self::Killed(number)),
            "timeout" => Some(Self::TimedOut(number)),
            "absent" => Some(Self::Absent(number)),
            _ => None,
        }
    }
}

/// What a case came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// What it printed, on both streams.
    pub output: Vec<u8>,
}

/// The driver's output, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// Finished cases by name, in order.
    pub done: Vec<(String, Outcome)>,
    /// The case that had begun and not ended, and what it had printed.
    pub open: Option<(String, Vec<u8>)>,
    /// Whether the driver came to its end.
    pub finished: bool,
    /// What stands outside of every case: the driver's own complaints.
    pub outside: Vec<u8>,
}

impl Transcript {
    /// Takes apart what a driver that was given `mark` printed. Never fails: whatever does not fit is
    /// part of the output of the case that is open, or of `outside`.
    #[must_use]
    pub fn parse(text: &[u8], mark: &str) -> Self {
        let mut transcript = Self::default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let words = line
                .strip_suffix(b"\n")
                .and_then(|line| std::str::from_utf8(line).ok())
                .and_then(|line| line.strip_prefix(mark))
                .and_then(|rest| rest.strip_prefix(' '));
            if words.is_some_and(|words| transcript.take_mark(words)) {
                continue;
            }
            match &mut transcript.open {
                Some((_, output)) => output.extend_from_slice(line),
                None => transcript.outside.extend_from_slice(line),
            }
        }
        transcript
    }

    /// Acts on the words of a marked line; false if they do not fit what came before.
    fn take_mark(&mut self, words: &str) -> bool {
        match (words.split_once(' '), self.open.take()) {
            (Some(("begin", name)), None) => {
                self.open = Some((name.to_owned(), Vec::new()));
                true
            }
            (Some(("finished", _)), None) => {
                self.finished = true;
                true
            }
            (Some(("end", rest)), Some((name, mut output))) => {
                let ending = rest
                    .strip_prefix(name.as_str())
                    .and_then(|rest| rest.strip_prefix(' '))
                    .and_then(Ending::parse);
                let Some(ending) = ending else {
                    self.open = Some((name, output));
                    return false;
                };
                // The driver starts its mark on a new line.
                if output.last() == Some(&b'\n') {
                    output.pop();
                }
                self.done.push((name, Outcome { ending, output }));
                true
            }
            (_, open) => {
                self.open = open;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_apart() {
        let text = b"@7 begin a\none\ntwo\n\n@7 end a exited 0\n@7 begin b\nno newline\n\
                     @7 end b killed 11\n@7 begin c\n\n@7 end c timeout 60\n@7 finished 3\n";
        let transcript = Transcript::parse(text, "@7");
        assert!(transcript.finished && transcript.open.is_none());
        let [a, b, c] = transcript.done.as_slice() else { panic!("{transcript:?}") };
        assert_eq!(a.1, Outcome { ending: Ending::Exited(0), output: b"one\ntwo\n".into() });
        assert_eq!(b.1, Outcome { ending: Ending::Killed(11), output: b"no newline".into() });
        assert_eq!(c.1, Outcome { ending: Ending::TimedOut(60), output: b"".into() });
    }

    #[test]
    fn a_system_that_stops_leaves_its_case_open() {
        let transcript = Transcript::parse(b"@ begin a\n\n@ end a exited 1\n@ begin b\nhal", "@");
        assert_eq!(transcript.done.len(), 1);
        assert_eq!(transcript.open, Some(("b".to_owned(), b"hal".to_vec())));
        assert!(!transcript.finished);
    }

    #[test]
    fn marks_that_do_not_fit_are_output() {
        let text = b"driver: usage\n@ begin a\n@ end b exited 0\n@ begin x\n@ end a odd 1\n\n\
                     @ end a exited 0\n";
        let transcript = Transcript::parse(text, "@");
        assert_eq!(transcript.outside, b"driver: usage\n");
        let [(name, outcome)] = transcript.done.as_slice() else { panic!("{transcript:?}") };
        assert_eq!(name, "a");
        assert_eq!(outcome.output, b"@ end b exited 0\n@ begin x\n@ end a odd 1\n");
    }
}
