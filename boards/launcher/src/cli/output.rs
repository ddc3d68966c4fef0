//! Files for what a command finds out.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

/// A file that is made before anything is run or measured for it, and written after.
pub(super) struct OutputFile {
    path: PathBuf,
    file: File,
}

impl OutputFile {
    pub(super) fn create(path: PathBuf) -> anyhow::Result<Self> {
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        Ok(Self { path, file })
    }

    pub(super) fn write(mut self, text: &str) -> anyhow::Result<()> {
        self.file.write_all(text.as_bytes()).with_context(|| self.path.display().to_string())
    }
}
