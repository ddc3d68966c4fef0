//! What is run: programs and scripts, and how long each may take.

use std::fmt;
use std::path::Path;

/// A C library that programs are linked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Libc {
    /// musl.
    Musl,
    /// The GNU C library.
    Glibc,
}

impl Libc {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Musl, Self::Glibc];

    /// As it appears in the names of folders and cases.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Musl => "musl",
            Self::Glibc => "glibc",
        }
    }
}

/// One thing to run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// `tests/programs/NAME.c` with a C library.
    Program {
        /// The library.
        libc: Libc,
        /// The file's name without `.c`.
        name: String,
    },
    /// `tests/programs/NAME.sh`, run by Debian's busybox.
    Script {
        /// The file's name without `.sh`.
        name: String,
    },
    /// `tests/programs/foreign/NAME.sh`, run by Debian's busybox, with programs that nobody here wrote.
    Foreign {
        /// The file's name without `.sh`.
        name: String,
    },
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { libc, name } => write!(f, "{}-{name}", libc.name()),
            Self::Script { name } => write!(f, "sh-{name}"),
            Self::Foreign { name } => write!(f, "foreign-{name}"),
        }
    }
}

/// Seconds after which the driver kills a case, on the host and, counted by the guest, in QEMU:
/// an emulated core is 10 to 50 times slower, its host may be busy, and a wait that hangs should not eat the whole
/// run.
pub const SECONDS: u32 = 240;

/// Seconds for a script, which starts hundreds of processes.
pub const SCRIPT_SECONDS: u32 = 900;

impl Case {
    /// How long it may take, in seconds.
    #[must_use]
    pub const fn seconds(&self) -> u32 {
        match self {
            Self::Program { .. } => SECONDS,
            Self::Script { .. } | Self::Foreign { .. } => SCRIPT_SECONDS,
        }
    }
}

/// Every case in a folder, sorted: each `.c` once for each library, each `.sh` once.
pub fn all(folder: &Path) -> std::io::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned) else {
            continue;
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("c") => {
                cases.extend(Libc::ALL.map(|libc| Case::Program { libc, name: name.clone() }));
            }
            Some("sh") => cases.push(Case::Script { name }),
            _ => {}
        }
    }
    cases.sort();
    Ok(cases)
}

/// Where a runner has its files, as the driver sees them.
pub trait Layout {
    /// A program's file.
    fn program(&self, libc: Libc, name: &str) -> String;
    /// The command that runs a script.
    fn script(&self, name: &str) -> Vec<String>;
    /// The command that runs a script with foreign programs.
    fn foreign(&self, name: &str) -> Vec<String>;
}

/// The driver's manifest: a line `NAME SECONDS PROGRAM [ARGUMENT]...` for each case.
#[must_use]
pub fn manifest(cases: &[Case], layout: &impl Layout) -> String {
    let mut text = String::new();
    for case in cases {
        let command = match case {
            Case::Program { libc, name } => vec![layout.program(*libc, name)],
            Case::Script { name } => layout.script(name),
            Case::Foreign { name } => layout.foreign(name),
        };
        text += &format!("{case} {} {}\n", case.seconds(), command.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain;

    impl Layout for Plain {
        fn program(&self, libc: Libc, name: &str) -> String {
            format!("/p/{}/{name}", libc.name())
        }
        fn script(&self, name: &str) -> Vec<String> {
            vec!["/sh".to_owned(), format!("/p/{name}.sh")]
        }
        fn foreign(&self, name: &str) -> Vec<String> {
            vec!["/sh".to_owned(), format!("/f/{name}.sh")]
        }
    }

    #[test]
    fn a_folder_is_listed_and_written_down() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.c", "a.c", "check.h", "tools.sh", "Makefile"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let cases = all(folder.path()).unwrap();
        assert_eq!(
            manifest(&cases, &Plain),
            "musl-a 240 /p/musl/a\nmusl-b 240 /p/musl/b\nglibc-a 240 /p/glibc/a\n\
             glibc-b 240 /p/glibc/b\nsh-tools 900 /sh /p/tools.sh\n"
        );
    }
}
