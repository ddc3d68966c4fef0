//! Options, as gcc and clang take them.

use std::path::{Path, PathBuf};

use maize_xisa_metadata::Polls;

use crate::CompileError;
use crate::link::Library;

/// What is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Only what the front end itself prints.
    FrontEnd,
    /// An object of each source.
    Objects,
    /// A program.
    Program,
    /// A line on this compiler.
    Version,
    /// How it is used.
    Help,
    /// The name of the target.
    Machine,
    /// Where something is, or what it is called: by the option that asks.
    Answer(Question),
}

/// What build systems ask of a compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What the front end answers.
    FrontEnd(String),
    /// Where a tool is.
    Tool(String),
    /// Where a file of the libraries is.
    File(String),
    /// The folder that headers and libraries are in.
    Sysroot,
    /// What is known without looking.
    Known(&'static str),
    /// What the linker says of itself.
    Linker,
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
    /// Whether to say what is done.
    pub verbose: bool,
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

/// Options with which only the front end does anything.
const FRONT_END: [&str; 5] = ["-E", "-M", "-MM", "-fsyntax-only", "-###"];

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

/// Options with a value in the next word that says nothing here.
const WITHOUT_EFFECT: [&str; 10] = [
    "-Xlinker",
    "-Xassembler",
    "-z",
    "-u",
    "--param",
    "-rpath",
    "-soname",
    "-dumpbase",
    "-dumpdir",
    "-aux-info",
];

/// Options that would make another program than is made here, and why.
const REFUSED: [(&str, &str); 14] = [
    ("-S", "there is no one assembly of all targets"),
    ("-shared", "programs are static"),
    ("-r", "objects are bitcode, which an archive keeps together"),
    ("-T", "the places of sections are the same in every program"),
    ("-e", "programs begin at `main`"),
    ("-target", "the target is every instruction set"),
    ("--target", "the target is every instruction set"),
    ("-fopenmp", "there is no library for OpenMP"),
    ("-fsanitize", "there is no library for sanitizers"),
    ("-print-libgcc-file-name", "the compiler's own functions are not one file for all targets"),
    ("-Wl,-r", "objects are bitcode, which an archive keeps together"),
    ("-Wl,-T", "the places of sections are the same in every program"),
    ("-Wl,--wrap", "calls are bound before there is anything to link"),
    ("-Wl,--defsym", "symbols are bound before there is anything to link"),
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
const IGNORED: [&str; 14] = [
    "-m64",
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

/// Options without their effect, of which a warning tells.
const UNHEEDED: [&str; 8] = [
    "-ffast-math",
    "-march=native",
    "-pg",
    "--coverage",
    "-ftest-coverage",
    "-fprofile-arcs",
    "-fprofile-generate",
    "-finstrument-functions",
];

fn usage(text: String) -> CompileError {
    CompileError::Usage(text)
}

fn is_cxx(path: &Path) -> bool {
    let endings = ["cc", "cp", "cpp", "cxx", "c++", "C", "ii"];
    path.extension().and_then(|e| e.to_str()).is_some_and(|ending| endings.contains(&ending))
}

/// Whether a file is assembly, by its ending.
#[must_use]
pub fn is_assembly(path: &Path) -> bool {
    matches!(path.extension().and_then(|e| e.to_str()), Some("s" | "S" | "sx" | "asm"))
}

fn is_source(path: &Path) -> bool {
    matches!(path.extension().and_then(|e| e.to_str()), Some("c" | "i" | "bc" | "ll"))
        || is_cxx(path)
        || is_assembly(path)
}

/// Files within files of options, at the most: more name each other.
const MOST_RESPONSES: usize = 100;

/// Options, with those in the files that `@FILE` names.
fn with_responses(words: impl IntoIterator<Item = String>) -> Result<Vec<String>, CompileError> {
    let mut all = Vec::new();
    let mut next: Vec<String> = words.into_iter().collect();
    next.reverse();
    let mut files = 0;
    while let Some(word) = next.pop() {
        let Some(file) = word.strip_prefix('@') else {
            all.push(word);
            continue;
        };
        files += 1;
        if files > MOST_RESPONSES {
            return Err(usage(format!("{word}: too many files of options")));
        }
        let path = Path::new(file);
        let text = std::fs::read_to_string(path).map_err(CompileError::file(path))?;
        let words = shlex::split(&text)
            .ok_or_else(|| usage(format!("{word}: a quotation that does not end")))?;
        next.extend(words.into_iter().rev());
    }
    Ok(all)
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
            verbose: false,
            ignored: Vec::new(),
        };
        let mut words = with_responses(words)?.into_iter();
        let mut language = None;
        while let Some(word) = words.next() {
            let mut value =
                |name: &str| words.next().ok_or_else(|| usage(format!("{name} wants a value")));
            match word.as_str() {
                "-c" => options.goal = Goal::Objects,
                name if FRONT_END.contains(&name) => options.front_end.push(word),
                "--version" => options.goal = Goal::Version,
                "--help" => options.goal = Goal::Help,
                "-v" => options.verbose = true,
                "-dumpmachine" => options.goal = Goal::Machine,
                "-o" => options.output = Some(value("-o")?.into()),
                "-x" => language = Some(value("-x")?).filter(|language| language != "none"),
                "-L" => options.folders.push(value("-L")?.into()),
                "-l" => options.add_library(&value("-l")?),
                "-nostdlib" | "-nodefaultlibs" => options.library = Library::None,
                "-pthread" => options.front_end.push("-D_REENTRANT".to_owned()),
                "--sysroot" => options.sysroot = Some(value("--sysroot")?.into()),
                "--save-steps" => options.steps = Some(value("--save-steps")?.into()),
                name if WITH_VALUE.contains(&name) => {
                    let value = value(name)?;
                    options.front_end.extend([word, value]);
                }
                name if WITHOUT_EFFECT.contains(&name) => drop(value(name)?),
                name if IGNORED.contains(&name) => {}
                _ => options.parse_start(word, language.as_ref())?,
            }
        }
        // Where these are said, no object is wanted, whatever else is.
        if options.front_end.iter().any(|word| FRONT_END.contains(&word.as_str())) {
            options.goal = Goal::FrontEnd;
        }
        // As gcc's, for who only wants to know.
        if options.verbose && options.files.is_empty() && options.goal == Goal::Program {
            options.goal = Goal::Version;
        }
        Ok(options)
    }

    /// An option that asks something, or that would make another program.
    fn parse_question(&mut self, word: &str) -> Result<bool, CompileError> {
        let is = |name: &str| {
            word.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['=', ',']))
        };
        if let Some((name, why)) = REFUSED.iter().find(|(name, _)| is(name)) {
            return Err(usage(format!("{name}: {why}")));
        }
        let question = word.strip_prefix("-").unwrap_or(word);
        let question = question.strip_prefix("-").unwrap_or(question);
        let question = if let Some(name) = question.strip_prefix("print-prog-name=") {
            Question::Tool(name.to_owned())
        } else if let Some(name) = question.strip_prefix("print-file-name=") {
            Question::File(name.to_owned())
        } else if question == "print-sysroot" {
            Question::Sysroot
        } else if question == "print-multiarch" {
            Question::Known("")
        } else if ["print-multi-directory", "print-multi-os-directory"].contains(&question) {
            Question::Known(".")
        } else if question.starts_with("print-") || question == "dumpversion" {
            Question::FrontEnd(word.to_owned())
        } else if question == "dumpfullversion" {
            Question::FrontEnd("-dumpversion".to_owned())
        } else if ["-Wl,--version", "-Wl,-v", "-Wl,-V"].contains(&word) {
            Question::Linker
        } else {
            return Ok(false);
        };
        self.goal = Goal::Answer(question);
        Ok(true)
    }

    /// What is passed to the preprocessor as one word.
    fn parse_preprocessor(&mut self, words: &str) {
        let mut words = words.split(',');
        while let Some(word) = words.next() {
            self.front_end.push(word.to_owned());
            // With a file, where the compiler's own have none.
            if (word == "-MD" || word == "-MMD")
                && let Some(file) = words.next()
            {
                self.front_end.extend(["-MF".to_owned(), file.to_owned()]);
            }
        }
    }

    fn add_library(&mut self, name: &str) {
        if !IN_C_LIBRARY.contains(&name) {
            self.files.push(File::Library(name.to_owned()));
        }
    }

    fn parse_start(&mut self, word: String, language: Option<&String>) -> Result<(), CompileError> {
        if self.parse_question(&word)? {
        } else if let Some(words) = word.strip_prefix("-Wp,") {
            self.parse_preprocessor(words);
        } else if let Some(polls) = word.strip_prefix("--polls=") {
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
        } else if UNHEEDED.contains(&word.as_str()) || word.starts_with("-mcpu=") {
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
        assert_eq!((&options.goal, options.polls), (&Goal::Program, Polls::Calls));
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
        for line in ["-mavx2 a.c", "-shared a.c", "-S a.c", "-o", "--polls=often", "-O9"]
            .into_iter()
            .chain(["-r a.o", "--target=x86_64-linux-gnu a.c", "-target x", "-fopenmp a.c"])
            .chain(["-fsanitize=address a.c", "-Wl,--wrap=f a.o", "-Wl,-r a.o", "-T script a.o"])
        {
            assert!(matches!(parse(line), Err(CompileError::Usage(_))), "{line}");
        }
    }

    #[test]
    fn build_systems_get_their_answers() {
        let goal = |line: &str| parse(line).unwrap().goal;
        assert_eq!(goal("-print-prog-name=ar"), Goal::Answer(Question::Tool("ar".into())));
        assert_eq!(goal("--print-file-name=libc.a"), Goal::Answer(Question::File("libc.a".into())));
        let front_end = |word: &str| Goal::Answer(Question::FrontEnd(word.into()));
        assert_eq!(goal("-print-search-dirs"), front_end("-print-search-dirs"));
        assert_eq!(goal("-dumpfullversion"), front_end("-dumpversion"));
        assert_eq!((goal("-v"), goal("-v a.c -c")), (Goal::Version, Goal::Objects));
        assert_eq!((goal("-### a.c"), goal("-E -c a.c")), (Goal::FrontEnd, Goal::FrontEnd));
    }

    #[test]
    fn options_of_other_programs_are_passed_on_or_dropped() {
        let options = parse("-Wp,-MD,d/a.d -Wp,-DX=1,-DY --param a=b -u f -c a.c").unwrap();
        assert_eq!(options.front_end.join(" "), "-MD -MF d/a.d -DX=1 -DY");
        assert_eq!(options.files, [File::Source("a.c".into(), None)]);
        assert_eq!(parse("-pg --coverage a.c").unwrap().ignored, ["-pg", "--coverage"]);
    }

    #[test]
    fn files_of_options_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let [inner, outer] = ["inner", "outer"].map(|name| folder.path().join(name));
        std::fs::write(&inner, "-DA='x y'\n\"b c.c\"").unwrap();
        std::fs::write(&outer, format!("-O2 @{}\n-c", inner.display())).unwrap();
        let parse = |file: &Path| Options::parse([format!("@{}", file.display())]);
        let options = parse(&outer).unwrap();
        assert_eq!(
            (options.goal, options.front_end.join("|")),
            (Goal::Objects, "-O2|-DA=x y".into())
        );
        assert_eq!(options.files, [File::Source("b c.c".into(), None)]);
        std::fs::write(&inner, format!("@{}", outer.display())).unwrap();
        assert!(matches!(parse(&outer), Err(CompileError::Usage(_))));
        std::fs::write(&inner, "'").unwrap();
        assert!(matches!(parse(&inner), Err(CompileError::Usage(_))));
        assert!(matches!(parse(&folder.path().join("none")), Err(CompileError::File { .. })));
    }
}
