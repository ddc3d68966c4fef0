//! A program that is linked dynamically, by the host's compilers, with the libraries that it needs.

use std::io;
use std::path::{Path, PathBuf};

use maize_hostlink::boot::Isa;
use maize_launcher::ramdisk::GuestFile;
use maize_launcher::run::RunConfig;
use maize_launcher::topology::Topology;
use maize_launcher::workspace::Workspace;

use crate::LIMIT;
use crate::compile::compile;

/// The program, built.
#[derive(Debug)]
pub struct DynamicProgram {
    /// Where the guest has what starts it.
    pub interpreter: String,
    program: PathBuf,
    files: Vec<GuestFile>,
    /// Kept as long as the files in it are wanted.
    _folder: tempfile::TempDir,
}

impl DynamicProgram {
    /// What it prints: it runs itself once more.
    pub const OUTPUT: &str = "main: one\nmain: two\nthread: one\nbase: 1\nlibraries: 1\n\
        main: one\nmain: two\nthread: one\nbase: 1\nlibraries: 1\nagain: 7\n";

    /// Compiles it and the library that it opens.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn build(isa: Isa) -> io::Result<Self> {
        let sources =
            Workspace::find().map_err(io::Error::other)?.root().join("tests/runs/dynamic");
        let folder = tempfile::tempdir()?;
        let (program, library) = (folder.path().join("program"), folder.path().join("library.so"));
        build(isa, &["-shared", "-fPIC"], &sources.join("library.c"), &library)?;
        build(isa, &["-pthread"], &sources.join("program.c"), &program)?;
        let (place, interpreter) = match isa {
            Isa::X86_64 => ("/lib64", "ld-linux-x86-64.so.2"),
            Isa::Aarch64 => ("/lib", "ld-linux-aarch64.so.1"),
        };
        let library = GuestFile { host: library, guest: "/lib/library.so".to_owned() };
        let mut files = vec![library];
        for (place, name) in [("/lib", "libc.so.6"), ("/lib", "libdl.so.2"), (place, interpreter)] {
            let host = compile(&compiler(isa), &[format!("-print-file-name={name}")])?;
            files.push(GuestFile { host: host.into(), guest: format!("{place}/{name}") });
        }
        let interpreter = format!("{place}/{interpreter}");
        Ok(Self { interpreter, program, files, _folder: folder })
    }

    /// A run of it, with all that it needs.
    #[must_use]
    pub fn run(&self, topology: Topology) -> RunConfig {
        let mut config =
            RunConfig::new(topology, self.program.to_string_lossy()).timeout(LIMIT).patient();
        config.files.clone_from(&self.files);
        config.environment.push(b"LD_LIBRARY_PATH=/lib".to_vec());
        config
    }
}

fn build(isa: Isa, options: &[&str], source: &Path, output: &Path) -> io::Result<()> {
    let (source, output) = (source.to_string_lossy(), output.to_string_lossy());
    let arguments = [&["-O1", "-o", &*output], options, &[&*source, "-ldl"]].concat();
    compile(&compiler(isa), &arguments).map(drop)
}

fn compiler(isa: Isa) -> String {
    format!("{isa}-linux-gnu-gcc")
}
