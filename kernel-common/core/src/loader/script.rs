//! Scripts: `#!interpreter argument`.

/// Bytes of a script's start that are looked at.
pub const HEAD_LEN: usize = 256;

/// What a script's first line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interpreter<'a> {
    /// Path of the program to run.
    pub path: &'a [u8],
    /// Its one argument, spaces inside included.
    pub argument: Option<&'a [u8]>,
}

/// Reads the first line of a file that starts with `head`; `None` if it is no script or its line
/// names no interpreter or does not end in the first [`HEAD_LEN`] bytes.
#[must_use]
pub fn parse(head: &[u8]) -> Option<Interpreter<'_>> {
    let rest = head.strip_prefix(b"#!")?;
    let window = &rest[..rest.len().min(HEAD_LEN - 2)];
    let line = match window.iter().position(|b| *b == b'\n') {
        Some(end) => &window[..end],
        // A file that ends without a newline is whole; a longer line may be cut in the path.
        None if rest.len() <= HEAD_LEN - 2 => window,
        None => return None,
    };
    if line.contains(&0) {
        return None;
    }
    let line = line.trim_ascii();
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let (path, argument) = match line.iter().position(blank) {
        Some(at) => (&line[..at], Some(line[at..].trim_ascii())),
        None => (line, None),
    };
    (!path.is_empty()).then_some(Interpreter { path, argument })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_once() {
        let i = parse(b"#! /bin/sh -e x \nrest").unwrap();
        assert_eq!((i.path, i.argument), (&b"/bin/sh"[..], Some(&b"-e x"[..])));
        assert_eq!(parse(b"#!/bin/sh").unwrap().argument, None);
        assert_eq!(parse(b"#!\n"), None);
        assert_eq!(parse(b"#!   \n"), None);
        assert_eq!(parse(b"/bin/sh\n"), None);
        let mut long = [b'a'; 300];
        long[..2].copy_from_slice(b"#!");
        assert_eq!(parse(&long), None);
    }
}
