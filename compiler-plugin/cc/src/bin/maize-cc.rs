//! `maize-cc`: compiles and links C programs whose threads can move between instruction sets. By the name
//! `maize-c++` it links what C++ programs need, too.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use maize_cc::frontend;
use maize_cc::link::{self, Request};
use maize_cc::options::{File, Goal, Options, Question, is_assembly};
use maize_cc::sysroot::Sysroot;
use maize_cc::{CompileError, neutral};

/// What a program in C++ needs besides the C library.
const CXX_LIBRARY: &str = "-lmaize-c++";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ CompileError::Refused(_)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("maize-cc: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), CompileError> {
    let mut words = std::env::args();
    let is_cxx = words.next().is_some_and(|name| name.ends_with("c++"));
    let options = Options::parse(words.chain(is_cxx.then(|| CXX_LIBRARY.to_owned())))?;
    for word in &options.ignored {
        eprintln!("maize-cc: warning: {word} has no effect");
    }
    if options.verbose {
        eprintln!("{}", version());
    }
    match &options.goal {
        Goal::Version => {
            println!("{}", version());
            return Ok(());
        }
        Goal::Help => {
            print!("{HELP}");
            return Ok(());
        }
        Goal::Machine => {
            println!("maize-unknown-linux-musl");
            return Ok(());
        }
        Goal::Answer(Question::Linker) => return link::tell_version(),
        _ => {}
    }
    let sysroot = Sysroot::find(options.sysroot.as_deref())?;
    if let Goal::Answer(question) = &options.goal {
        return answer(question, &sysroot);
    }
    if options.files.is_empty() {
        return Err(CompileError::Usage("no input files".to_owned()));
    }
    match options.goal {
        Goal::FrontEnd => preprocess(&options, &sysroot),
        Goal::Objects => compile_objects(&options, &sysroot),
        _ => make_program(&options, &sysroot),
    }
}

/// What is said of this compiler.
fn version() -> String {
    format!("maize-cc {} (clang 22, for every instruction set)", env!("CARGO_PKG_VERSION"))
}

const HELP: &str = "\
Usage: maize-cc [OPTION|FILE]...

Compiles and links C for x86_64 and aarch64 at once, so that a thread can move between them:
`-o prog` makes prog.x86_64 and prog.aarch64. It takes the options of gcc and clang, and

  --polls=none|calls|loops  where a thread looks whether it is asked to move [loops]
  --save-steps=FOLDER       writes the program as LLVM assembly after each step
  --sysroot=FOLDER          headers and libraries, also by MAIZE_SYSROOT
";

/// Answers a question of a build system's.
fn answer(question: &Question, sysroot: &Sysroot) -> Result<(), CompileError> {
    match question {
        Question::FrontEnd(word) => frontend::preprocess(std::slice::from_ref(word), sysroot)?,
        Question::Tool(name) => println!("{}", tool(name).display()),
        Question::File(name) => {
            let path = sysroot.libraries().join(name);
            // As gcc says it of a file that it does not have.
            println!("{}", if path.exists() { &path } else { Path::new(name) }.display());
        }
        Question::Sysroot => println!("{}", sysroot.folder().display()),
        Question::Known(answer) => println!("{answer}"),
        Question::Linker => link::tell_version()?,
    }
    Ok(())
}

/// The program that does a tool's work for bitcode.
fn tool(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    match name {
        "ar" => own.with_file_name("maize-ar"),
        "cc" | "gcc" | "clang" | "cpp" => own,
        "nm" | "ranlib" | "strip" | "objcopy" | "objdump" | "readelf" | "size" | "strings" => {
            format!("llvm-{name}-22").into()
        }
        "ld" => "ld.lld-22".into(),
        _ => name.into(),
    }
}

fn preprocess(options: &Options, sysroot: &Sysroot) -> Result<(), CompileError> {
    let mut arguments = options.front_end.clone();
    let tells_commands = arguments.iter().any(|word| word == "-###");
    if tells_commands {
        arguments.push("-c".to_owned());
    }
    for file in &options.files {
        match file {
            File::Source(path, language) => {
                let language = language.as_deref().unwrap_or("none");
                arguments.extend(["-x", language].map(str::to_owned));
                arguments.push(path.display().to_string());
            }
            File::Object(path) => arguments.push(path.display().to_string()),
            File::Library(_) => {}
        }
    }
    if let Some(output) = options.output.as_ref().filter(|_| !tells_commands) {
        arguments.extend(["-o".to_owned(), output.display().to_string()]);
    }
    frontend::preprocess(&arguments, sysroot)
}

/// Bitcode of a source, whether it is text or bitcode already.
fn compile(
    options: &Options,
    sysroot: &Sysroot,
    path: &Path,
    language: Option<&String>,
) -> Result<Vec<u8>, CompileError> {
    let mut arguments = options.front_end.clone();
    if let Some(language) = language {
        arguments.extend(["-x".to_owned(), language.clone()]);
    }
    if path.extension().is_some_and(|extension| extension == "bc") && language.is_none() {
        return neutral::from_bitcode(path);
    }
    if is_assembly(path) && language.is_none()
        || language.is_some_and(|language| language.starts_with("assembler"))
    {
        let text = format!("{}: assembly is of one instruction set", path.display());
        return Err(CompileError::Usage(text));
    }
    let object = options.output.clone().unwrap_or_else(|| object_of(path));
    if arguments.iter().any(|a| a == "-MD" || a == "-MMD") {
        if !arguments.iter().any(|a| a == "-MF") {
            let file = object.with_extension("d").display().to_string();
            arguments.extend(["-MF".to_owned(), file]);
        }
        if !arguments.iter().any(|a| a == "-MT" || a == "-MQ") {
            arguments.extend(["-MT".to_owned(), object.display().to_string()]);
        }
    }
    frontend::compile(path, &arguments, sysroot)
}

/// Where the object of a source goes if nothing is said.
fn object_of(source: &Path) -> PathBuf {
    PathBuf::from(source.file_name().unwrap_or_default()).with_extension("o")
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CompileError> {
    std::fs::write(path, bytes).map_err(|error| CompileError::File { path: path.to_owned(), error })
}

fn compile_objects(options: &Options, sysroot: &Sysroot) -> Result<(), CompileError> {
    let mut sources = Vec::new();
    for file in &options.files {
        match file {
            File::Source(path, language) => sources.push((path, language.as_ref())),
            File::Object(path) => {
                eprintln!("maize-cc: warning: {}: not used, as nothing is linked", path.display());
            }
            File::Library(_) => {}
        }
    }
    if sources.len() > 1 && options.output.is_some() {
        return Err(CompileError::Usage("-o with -c and several sources".to_owned()));
    }
    for (path, language) in sources {
        let bitcode = compile(options, sysroot, path, language)?;
        write(&options.output.clone().unwrap_or_else(|| object_of(path)), &bitcode)?;
    }
    Ok(())
}

fn make_program(options: &Options, sysroot: &Sysroot) -> Result<(), CompileError> {
    let work = tempfile::tempdir()
        .map_err(|error| CompileError::File { path: std::env::temp_dir(), error })?;
    let mut inputs = Vec::new();
    for (number, file) in options.files.iter().enumerate() {
        inputs.push(match file {
            File::Object(path) => path.clone(),
            File::Library(name) => options.find_library(name, &sysroot.libraries())?,
            File::Source(path, language) => {
                let object = work.path().join(format!("{number}.o"));
                write(&object, &compile(options, sysroot, path, language.as_ref())?)?;
                object
            }
        });
    }
    let output = options.output.clone().unwrap_or_else(|| "a.out".into());
    // Who writes to a device wants to know only whether there is a program.
    let kept = std::fs::metadata(&output).map_or(true, |facts| facts.is_file());
    let request = Request {
        inputs,
        output: if kept { output } else { work.path().join("program") },
        level: options.link_level(),
        polls: options.polls,
        library: options.library,
        steps: options.steps.clone(),
    };
    link::link(&request, sysroot).map(drop)
}
