//! Where headers, the C library and the runtime are.

use std::path::{Path, PathBuf};

use maize_xisa_metadata::Isa;

use crate::CompileError;

/// Names the folder if it is elsewhere.
pub const VARIABLE: &str = "MAIZE_SYSROOT";

/// A folder with `include/`, `lib/libc.a` (bitcode) and `lib/ISA/*.a` (machine code).
#[derive(Clone, Debug)]
pub struct Sysroot(PathBuf);

impl Sysroot {
    /// The folder that an option or the environment names, or the one beside this program: the
    /// nearest `.maize/xisa/sysroot` in the folders above it.
    ///
    /// # Errors
    /// [`CompileError::Usage`] if there is none.
    pub fn find(option: Option<&Path>) -> Result<Self, CompileError> {
        if let Some(path) = option {
            return Ok(Self(path.to_owned()));
        }
        if let Some(path) = std::env::var_os(VARIABLE) {
            return Ok(Self(path.into()));
        }
        let program = std::env::current_exe().unwrap_or_default();
        program
            .ancestors()
            .map(|folder| folder.join(".maize/xisa/sysroot"))
            .find(|folder| folder.is_dir())
            .map(Self)
            .ok_or_else(|| {
                let text = "no sysroot: `./maize test xisa` makes one; --sysroot or MAIZE_SYSROOT \
                            names another";
                CompileError::Usage(text.to_owned())
            })
    }

    /// All of it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Headers.
    #[must_use]
    pub fn include(&self) -> PathBuf {
        self.0.join("include")
    }

    /// The C library's archive of bitcode.
    #[must_use]
    pub fn c_library(&self) -> PathBuf {
        self.0.join("lib/libc.a")
    }

    /// Folder of other libraries.
    #[must_use]
    pub fn libraries(&self) -> PathBuf {
        self.0.join("lib")
    }

    /// Archives of machine code that every program needs: the runtime, and the compiler's own
    /// functions.
    ///
    /// # Errors
    /// [`CompileError::File`] if they are not there.
    pub fn native_libraries(&self, isa: Isa) -> Result<Vec<PathBuf>, CompileError> {
        let folder = self.0.join("lib").join(isa.name());
        // The runtime's archive has functions of the same names for a target without registers for
        // floating point: the program's own come first.
        let files = ["libbuiltins.a", "libmaize_xisa_runtime.a"].map(|name| folder.join(name));
        for file in &files {
            std::fs::metadata(file).map_err(CompileError::file(file))?;
        }
        Ok(files.into())
    }
}
