//! `maize-cc`: compiles and links C programs whose threads can move between instruction sets. By the name
//! `maize-c++` it links what C++ programs need, too.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use maize_cc::frontend;
use maize_cc::link::{self, Request};
use maize_cc::options::{File, Goal, Options};
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
    match options.goal {
        Goal::Version => {
            println!(
                "maize-cc {} (clang 22, for every instruction set)",
                env!("CARGO_PKG_VERSION")
            );
            return Ok(());
        }
        Goal::Machine => {
            println!("maize-unknown-linux-musl");
            return Ok(());
        }
        Goal::FrontEnd | Goal::Objects | Goal::Program => {}
    }
    if options.files.is_empty() {
        return Err(CompileError::Usage("no input files".to_owned()));
    }
    let sysroot = Sysroot::find(options.sysroot.as_deref())?;
    match options.goal {
        Goal::FrontEnd => preprocess(&options, &sysroot),
        Goal::Objects => compile_objects(&options, &sysroot),
        _ => make_program(&options, &sysroot),
    }
}

fn preprocess(options: &Options, sysroot: &Sysroot) -> Result<(), CompileError> {
    let mut arguments = options.front_end.clone();
    for file in &options.files {
        if let File::Source(path, _) = file {
            arguments.push(path.display().to_string());
        }
    }
    if let Some(output) = &options.output {
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
    let object = options.output.clone().unwrap_or_else(|| path.with_extension("o"));
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

fn write(path: &Path, bytes: &[u8]) -> Result<(), CompileError> {
    std::fs::write(path, bytes).map_err(|error| CompileError::File { path: path.to_owned(), error })
}

fn compile_objects(options: &Options, sysroot: &Sysroot) -> Result<(), CompileError> {
    let sources: Vec<_> = options
        .files
        .iter()
        .filter_map(|file| match file {
            File::Source(path, language) => Some((path, language.as_ref())),
            _ => None,
        })
        .collect();
    if sources.len() > 1 && options.output.is_some() {
        return Err(CompileError::Usage("-o with -c and several sources".to_owned()));
    }
    for (path, language) in sources {
        let bitcode = compile(options, sysroot, path, language)?;
        let named = || PathBuf::from(path.file_name().unwrap_or_default()).with_extension("o");
        write(&options.output.clone().unwrap_or_else(named), &bitcode)?;
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
    let request = Request {
        inputs,
        output: options.output.clone().unwrap_or_else(|| "a.out".into()),
        level: options.link_level(),
        polls: options.polls,
        library: options.library,
        steps: options.steps.clone(),
    };
    link::link(&request, sysroot).map(drop)
}
