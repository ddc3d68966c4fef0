//! Options, as gcc and clang take them.

use std::path::{Path, PathBuf};

use maize_xisa_metadata::Polls;

use crate::CompileError;
use crate::link::Library;

/// What is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Only what the front end itself prints.
    FrontEnd,
    /// An object of each source.
    Objects,
    /// A program.
    Program,
    /// A line on this compiler.
    Version,
    /// The name of the target.
    Machine,
}

/// A command line, understood.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is to be made.
    pub goal: Goal,
    /// Where it goes.
    pub output: Option<PathBuf>,
    /// Files, in their order: sources, objects and archives.
    pub files: Vec<File>,
    /// Folders of `-l` libraries.
    pub folders: Vec<PathBuf>,
    /// Passed to the front end.
    pub front_end: Vec<String>,
    /// Optimisation, 0 to 3, if it is said.
    pub level: Option<u8>,
    /// Where to place polls.
    pub polls: Polls,
    /// Whether the C library is linked.
    pub library: Library,
    /// The sysroot that an option names.
    pub sysroot: Option<PathBuf>,
    /// Folder for the program at each step.
    pub steps: Option<PathBuf>,
    /// Options that mean nothing here, for a warning.
    pub ignored: Vec<String>,
}

/// A file of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// To be compiled, in the language that was named before it, if one was.
    Source(PathBuf, Option<String>),
    /// An object or an archive.
    Object(PathBuf),
    /// `-l` of this name.
    Library(String),
}

/// Options with a value in the next word, for the front end.
const WITH_VALUE: [&str; 14] = [
    "-I",
    "-D",
    "-U",
    "-include",
    "-isystem",
    "-idirafter",
    "-iquote",
    "-imacros",
    "-MF",
    "-MT",
    "-MQ",
    "-Xclang",
    "-Xpreprocessor",
    "-isysroot",
];

/// Libraries that are part of the C library.
const IN_C_LIBRARY: [&str; 8] = ["c", "m", "pthread", "rt", "dl", "util", "crypt", "xnet"];

/// Options of the front end that only speak of a native target or of linking.
const IGNORED_STARTS: [&str; 12] = [
    "-fPI",
    "-fpi",
    "-fPIE",
    "-fno-pi",
    "-fno-PI",
    "-fstack-protector",
    "-fcf-protection",
    "-Wl,",
    "-mtune=",
    "-flto",
    "-fno-plt",
    "-fuse-ld=",
];

/// Options that have their effect anyway.
const IGNORED: [&str; 13] = [
    "-static",
    "-pipe",
    "-s",
    "-no-pie",
    "-pie",
    "-rdynamic",
    "-nopie",
    "-fno-lto",
    "-static-pie",
    "-fvisibility=hidden",
    "-funwind-tables",
    "-fasynchronous-unwind-tables",
    "-mno-red-zone",
];

fn usage(text: String) -> CompileError {
    CompileError::Usage(text)
}

fn is_cxx(path: &Path) -> bool {
    let endings = ["cc", "cp", "cpp", "cxx", "c++", "C", "ii"];
    path.extension().and_then(|e| e.to_str()).is_some_and(|ending| endings.contains(&ending))
}

fn is_source(path: &Path) -> bool {
    matches!(path.extension().and_then(|e| e.to_str()), Some("c" | "i" | "bc" | "ll"))
        || is_cxx(path)
}

impl Options {
    /// Understands a command line, without the program's name.
    ///
    /// # Errors
    /// [`CompileError::Usage`] for an option that would change the program and has no meaning here.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, CompileError> {
        let mut options = Self {
            goal: Goal::Program,
            output: None,
            files: Vec::new(),
            folders: Vec::new(),
            front_end: Vec::new(),
            level: None,
            polls: Polls::Loops,
            library: Library::C,
            sysroot: None,
            steps: None,
            ignored: Vec::new(),
        };
        let mut words = words.into_iter();
        let mut language = None;
        while let Some(word) = words.next() {
            let mut value =
                |name: &str| words.next().ok_or_else(|| usage(format!("{name} wants a value")));
            match word.as_str() {
                "-c" => options.goal = Goal::Objects,
                "-E" | "-M" | "-MM" | "-fsyntax-only" => {
                    options.goal = Goal::FrontEnd;
                    options.front_end.push(word);
                }
                "-S" => return Err(usage("-S: there is no one assembly of all targets".into())),
                "-shared" => return Err(usage("-shared: programs are static".into())),
                "--version" | "-v" => options.goal = Goal::Version,
                "-dumpmachine" => options.goal = Goal::Machine,
                "-o" => options.output = Some(value("-o")?.into()),
                "-x" => language = Some(value("-x")?).filter(|language| language != "none"),
                "-L" => options.folders.push(value("-L")?.into()),
                "-l" => options.add_library(&value("-l")?),
                "-T" | "-Xlinker" | "-z" => drop(value(&word)?),
                "-nostdlib" | "-nodefaultlibs" => options.library = Library::None,
                "-pthread" => options.front_end.push("-D_REENTRANT".to_owned()),
                "--sysroot" => options.sysroot = Some(value("--sysroot")?.into()),
                "--save-steps" => options.steps = Some(value("--save-steps")?.into()),
                name if WITH_VALUE.contains(&name) => {
                    let value = value(name)?;
                    options.front_end.extend([word, value]);
                }
                name if IGNORED.contains(&name) => {}
                _ => options.parse_start(word, language.as_ref())?,
            }
        }
        Ok(options)
    }

    fn add_library(&mut self, name: &str) {
        if !IN_C_LIBRARY.contains(&name) {
            self.files.push(File::Library(name.to_owned()));
        }
    }

    fn parse_start(&mut self, word: String, language: Option<&String>) -> Result<(), CompileError> {
        if let Some(polls) = word.strip_prefix("--polls=") {
            self.polls = match polls {
                "none" => Polls::None,
                "calls" => Polls::Calls,
                "loops" => Polls::Loops,
                _ => return Err(usage(format!("--polls=none, calls or loops, not `{polls}`"))),
            };
        } else if let Some(path) = word.strip_prefix("--sysroot=") {
            self.sysroot = Some(path.into());
        } else if let Some(path) = word.strip_prefix("--save-steps=") {
            self.steps = Some(path.into());
        } else if let Some(folder) = word.strip_prefix("-L") {
            self.folders.push(folder.into());
        } else if let Some(name) = word.strip_prefix("-l") {
            self.add_library(name);
        } else if let Some(path) = word.strip_prefix("-o") {
            self.output = Some(path.into());
        } else if let Some(level) = word.strip_prefix("-O") {
            self.level = Some(match level {
                "0" => 0,
                "" | "1" | "g" => 1,
                "2" | "s" | "z" => 2,
                "3" | "fast" => 3,
                _ => return Err(usage(format!("{word}: no such optimisation"))),
            });
            // `-Ofast` would let the two targets round differently.
            self.front_end.push(if level == "fast" { "-O3".to_owned() } else { word });
        } else if IGNORED_STARTS.iter().any(|start| word.starts_with(start)) {
        } else if word == "-ffast-math" || word == "-march=native" || word.starts_with("-mcpu=") {
            self.ignored.push(word);
        } else if word.starts_with("-m") {
            return Err(usage(format!("{word}: an option of one instruction set")));
        } else if word.starts_with('-') && word != "-" {
            self.front_end.push(word);
        } else {
            let path = PathBuf::from(&word);
            let is_source = language.is_some() || word == "-" || is_source(&path);
            self.files.push(if is_source {
                File::Source(path, language.cloned())
            } else {
                File::Object(path)
            });
        }
        Ok(())
    }

    /// How much to optimise a program. It is done when it is linked, where many build systems do not
    /// repeat how much their objects were to be optimised: then as usual.
    #[must_use]
    pub fn link_level(&self) -> u8 {
        let sources = self.files.iter().any(|file| matches!(file, File::Source(..)));
        self.level.unwrap_or(if sources { 0 } else { 2 })
    }

    /// Where `-l` of a name is.
    ///
    /// # Errors
    /// [`CompileError::Usage`] if it is nowhere.
    pub fn find_library(&self, name: &str, sysroot: &Path) -> Result<PathBuf, CompileError> {
        let file = format!("lib{name}.a");
        let folders = self.folders.iter().map(PathBuf::as_path).chain([sysroot]);
        folders
            .map(|folder| folder.join(&file))
            .find(|path| path.is_file())
            .ok_or_else(|| usage(format!("-l{name}: there is no {file} of bitcode")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, CompileError> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_usual_command_line_is_understood() {
        let line = "-O2 -g -Iinc -D X=1 -c a.c -o a.o -MD -MF a.d -Wall -std=c11 -fPIC -pthread";
        let options = parse(line).unwrap();
        assert_eq!(options.goal, Goal::Objects);
        assert_eq!(options.link_level(), 2);
        assert_eq!(options.output, Some("a.o".into()));
        assert_eq!(options.files, [File::Source("a.c".into(), None)]);
        let front_end = "-O2 -g -Iinc -D X=1 -MD -MF a.d -Wall -std=c11 -D_REENTRANT";
        assert_eq!(options.front_end.join(" "), front_end);
    }

    #[test]
    fn a_link_keeps_the_order_of_its_files() {
        let options = parse("a.o -Lx libb.a -lz -lm --polls=calls -o p -Wl,--gc-sections").unwrap();
        let library = File::Library("z".to_owned());
        let [a, b] = ["a.o", "libb.a"].map(|name| File::Object(name.into()));
        assert_eq!(options.files, [a, b, library]);
        assert_eq!((options.goal, options.polls), (Goal::Program, Polls::Calls));
        assert_eq!((options.link_level(), parse("a.c -o p").unwrap().link_level()), (2, 0));
    }

    #[test]
    fn sources_are_told_by_their_endings() {
        let options = parse("a.cc b.cpp c.o d.C e.bc").unwrap();
        let source = |name: &str| File::Source(name.into(), None);
        let object = File::Object("c.o".into());
        let wanted = [source("a.cc"), source("b.cpp"), object, source("d.C"), source("e.bc")];
        assert_eq!(options.files, wanted);
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for line in ["-mavx2 a.c", "-shared a.c", "-S a.c", "-o", "--polls=often", "-O9"] {
            assert!(matches!(parse(line), Err(CompileError::Usage(_))), "{line}");
        }
    }
}
