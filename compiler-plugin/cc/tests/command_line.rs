//! What build systems expect of a compiler's command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail so")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The compiler, in a folder.
fn compiler(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maize-cc"));
    command.current_dir(folder).args(words);
    if std::env::var_os("MAIZE_SYSROOT").is_none() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.maize/xisa/sysroot");
        command.env("MAIZE_SYSROOT", root);
    }
    command
}

fn compile(folder: &Path, words: &[&str]) -> String {
    let Output { status, stdout, stderr } = compiler(folder, words).output().unwrap();
    assert!(status.success(), "{words:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn refused(folder: &Path, words: &[&str]) -> String {
    let Output { status, stderr, .. } = compiler(folder, words).output().unwrap();
    assert_eq!(status.code(), Some(1), "{words:?}");
    String::from_utf8(stderr).unwrap()
}

const FREESTANDING: [&str; 4] = ["-ffreestanding", "-nostdlib", "--polls=none", "-O1"];
/// A program without a C library.
const PROGRAM: &str = "int __maize_entry(void *arguments) { return 0; }\n";

#[test]
fn a_device_that_a_program_is_written_to_stays_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("a.c"), PROGRAM).unwrap();
    std::os::unix::fs::symlink("/dev/null", at("device")).unwrap();
    let words: Vec<_> = FREESTANDING.into_iter().chain(["a.c", "-o", "device"]).collect();
    compile(folder.path(), &words);
    assert_eq!(std::fs::read_link(at("device")).unwrap(), Path::new("/dev/null"));
    assert!(!at("device.x86_64").exists() && !at("device.aarch64").exists());
}

#[test]
fn a_source_may_come_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let words: Vec<_> = FREESTANDING.into_iter().chain(["-x", "c", "-", "-o", "p"]).collect();
    let mut child = compiler(folder.path(), &words).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(PROGRAM.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(folder.path().join("p.aarch64").is_file());
}

#[test]
fn dependencies_are_named_for_the_object() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("sub")).unwrap();
    std::fs::write(at("sub/a.c"), "#include \"h.h\"\n").unwrap();
    std::fs::write(at("sub/h.h"), "").unwrap();
    for (words, file, target) in [
        (&["-MMD", "-c", "sub/a.c"][..], "a.d", "a.o:"),
        (&["-Wp,-MMD,wp.d", "-c", "sub/a.c", "-o", "b.o"], "wp.d", "b.o:"),
        (&["-MD", "-MF", "x.d", "-MT", "me", "-c", "sub/a.c"], "x.d", "me:"),
    ] {
        compile(folder.path(), words);
        let text = std::fs::read_to_string(at(file)).unwrap();
        assert!(text.starts_with(target) && text.contains("sub/h.h"), "{words:?}: {text}");
    }
}

#[test]
fn questions_are_answered_without_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |word: &str| compile(folder.path(), &[word]);
    assert!(ask("--version").starts_with("maize-cc") && ask("-v").starts_with("maize-cc"));
    assert!(ask("-print-prog-name=ar").ends_with("maize-ar\n"));
    assert!(ask("-print-file-name=libc.a").ends_with("/lib/libc.a\n"));
    assert_eq!(ask("-print-file-name=crt1.o"), "crt1.o\n");
    assert!(
        ask("-dumpversion").starts_with("22.") && ask("-print-search-dirs").contains("libraries")
    );
    assert!(ask("--help").contains("--polls"));
}

#[test]
fn what_cannot_be_compiled_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.s", "b.S"] {
        std::fs::write(folder.path().join(name), "").unwrap();
        assert!(refused(folder.path(), &["-c", name]).contains(&format!("{name}: assembly")));
    }
    assert!(refused(folder.path(), &["-r", "a.o"]).contains("-r: "));
    assert!(refused(folder.path(), &["@nothing"]).contains("nothing: "));
}
