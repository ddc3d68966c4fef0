//! The front end: clang, for a neutral target.
//!
//! Its target is 64-bit, little-endian, passes a variable argument list by pointer and no struct by
//! value on the stack, and has a 128-bit `long double`, whatever the program will run on. It writes
//! bitcode that no pass has optimised yet.

use std::path::Path;
use std::process::{Command, Stdio};

use maize_llvm::{Machine, Module, Optimisation};

use crate::sysroot::Sysroot;
use crate::{CompileError, neutral};

/// The front end.
const CLANG: &str = "clang-22";

/// What makes the target neutral.
const TARGET: [&str; 21] = [
    "--target=riscv64-unknown-linux-musl",
    "-march=rv64gc",
    "-mabi=lp64d",
    "-U__riscv",
    "-U__riscv_xlen",
    "-D__maize__=1",
    "-fsigned-char",
    "-ffp-contract=off",
    "-fno-pic",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-discard-value-names",
    "-fno-sanitize=all",
    "-nostdlibinc",
    "-Qunused-arguments",
    "-Wno-unused-command-line-argument",
    "-Xclang",
    "-disable-llvm-passes",
    "-emit-llvm",
];

fn clang(arguments: &[String], sysroot: &Sysroot) -> Command {
    let mut command = Command::new(CLANG);
    command.args(TARGET).args(arguments);
    // The compiler's own headers come after these.
    if !arguments.iter().any(|argument| argument == "-nostdinc") {
        command.arg("-isystem").arg(sysroot.include());
    }
    command
}

/// Runs the front end for its own output only: `-E`, `-M`, `-fsyntax-only`.
///
/// # Errors
/// [`CompileError::FrontEnd`] once the front end has said why.
pub fn preprocess(arguments: &[String], sysroot: &Sysroot) -> Result<(), CompileError> {
    let status = clang(arguments, sysroot)
        .status()
        .map_err(|error| CompileError::Tool { program: CLANG.to_owned(), error })?;
    if status.success() { Ok(()) } else { Err(CompileError::FrontEnd(status)) }
}

/// Compiles a source file to neutral bitcode.
///
/// # Errors
/// [`CompileError::Refused`] with every place in the source that cannot move.
pub fn compile(
    source: &Path,
    arguments: &[String],
    sysroot: &Sysroot,
) -> Result<Vec<u8>, CompileError> {
    // Refusals name their line whether or not the program shall have debug information.
    let debug = arguments.iter().any(|a| a.starts_with("-g") && a != "-g0");
    let lines = if debug { &[][..] } else { &["-gline-tables-only"] };
    let output = clang(arguments, sysroot)
        .args(lines)
        .args(["-c", "-o", "-"])
        .arg(source)
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| CompileError::Tool { program: CLANG.to_owned(), error })?;
    if !output.status.success() {
        return Err(CompileError::FrontEnd(output.status));
    }
    let mut module = Module::read(&output.stdout, &source.display().to_string())?;
    let machine = Machine::new(neutral::TRIPLE, Optimisation::None)?;
    neutral::neutralise(&module, &machine)?;
    if !debug {
        module.strip_debug();
    }
    module.verify()?;
    Ok(module.bitcode())
}
