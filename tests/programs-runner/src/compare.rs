//! What differs between Linux and another system.

use similar::TextDiff;

use crate::transcript::{Ending, Outcome};

/// How much of a difference is shown, in bytes: enough to see what broke.
const SHOWN: usize = 6000;

/// A named difference, or nothing.
#[must_use]
pub fn difference(linux: &Outcome, other: &Outcome) -> Option<String> {
    let mut text = String::new();
    if linux.ending != other.ending {
        text +=
            &format!("{} on Linux, {} here\n", describe(&linux.ending), describe(&other.ending));
    }
    if linux.output != other.output {
        let (expected, got) = (readable(&linux.output), readable(&other.output));
        let diff = TextDiff::from_lines(&expected, &got);
        let mut unified = diff.unified_diff().header("Linux", "here").to_string();
        if unified.len() > SHOWN {
            let cut = unified.floor_char_boundary(SHOWN);
            unified.truncate(cut);
            unified += "\n...\n";
        }
        text += &unified;
    }
    (!text.is_empty()).then_some(text)
}

/// What is wrong with a run on Linux itself, where every case must end well.
#[must_use]
pub fn failure(linux: &Outcome) -> Option<String> {
    (linux.ending != Ending::Exited(0))
        .then(|| format!("{} on Linux\n{}", describe(&linux.ending), readable(&linux.output)))
}

fn describe(ending: &Ending) -> String {
    match ending {
        Ending::Exited(status) => format!("exit status {status}"),
        Ending::Killed(signal) => format!("killed by signal {signal}"),
        Ending::TimedOut(seconds) => format!("not done after {seconds} s"),
        Ending::Absent(error) => format!("cannot be executed (error {error})"),
        Ending::Lost(why) => format!("the system was lost while it ran ({why})"),
    }
}

/// Text in which bytes that are not text can still be told apart.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.split_inclusive(|b| *b == b'\n').fold(String::new(), |mut text, line| {
            let (line, end) = match line.strip_suffix(b"\n") {
                Some(line) => (line, "\n"),
                None => (line, ""),
            };
            text += &line.escape_ascii().to_string();
            text + end
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ending: Ending, output: &[u8]) -> Outcome {
        Outcome { ending, output: output.to_vec() }
    }

    #[test]
    fn equal_outcomes_do_not_differ() {
        let one = outcome(Ending::Exited(0), b"a\n\xff\n");
        assert_eq!(difference(&one, &one), None);
    }

    #[test]
    fn endings_and_lines_are_named() {
        let linux = outcome(Ending::Exited(0), b"a\nb\n");
        let other = outcome(Ending::Killed(11), b"a\nc\n");
        let text = difference(&linux, &other).unwrap();
        assert!(text.contains("exit status 0 on Linux, killed by signal 11 here"), "{text}");
        assert!(text.contains("-b\n+c\n"), "{text}");
    }

    #[test]
    fn bytes_that_are_no_text_are_told_apart() {
        let one = outcome(Ending::Exited(0), b"\xfe\n");
        let other = outcome(Ending::Exited(0), b"\xff\n");
        assert!(difference(&one, &other).unwrap().contains("-\\xfe\n+\\xff\n"));
    }

    #[test]
    fn a_missing_newline_at_the_end_is_a_difference() {
        let one = outcome(Ending::Exited(0), b"a\n");
        let other = outcome(Ending::Exited(0), b"a");
        assert!(difference(&one, &other).is_some());
    }
}
