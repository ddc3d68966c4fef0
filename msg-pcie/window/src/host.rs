//! Windows in a memfd: what the launcher creates, and what tests share between threads and
//! processes.
#![allow(unsafe_code, reason = "a mapped file is reached through its address")]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    ptr::NonNull,
};

use memmap2::{MmapOptions, MmapRaw};

use crate::Mapping;

/// A file of shared memory and this process's mapping of it.
pub struct HostWindow {
    file: File,
    map: MmapRaw,
}

impl HostWindow {
    /// Creates a window of that many bytes in a new memfd, filled with zeros.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(name: &str, bytes: u64) -> io::Result<HostWindow> {
        let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?;
        let file = File::from(fd);
        file.set_len(bytes)?;
        HostWindow::from_file(file)
    }

    /// Maps an existing window, such as `/proc/PID/fd/N` of the process that created it.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<HostWindow> {
        HostWindow::from_file(File::options().read(true).write(true).open(path)?)
    }

    /// Maps the whole of a file.
    ///
    /// # Errors
    /// What the system says; `InvalidInput` if the file's size cannot be a window's.
    pub fn from_file(file: File) -> io::Result<HostWindow> {
        let map = MmapOptions::new().map_raw(&file)?;
        let window = HostWindow { file, map };
        window.map_words().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(window)
    }

    /// A second mapping of the same memory at another address, as another instance would have.
    ///
    /// # Errors
    /// What the system says.
    pub fn again(&self) -> io::Result<HostWindow> {
        HostWindow::from_file(self.file.try_clone()?)
    }

    /// The memory.
    ///
    /// # Panics
    /// Never: the size was checked when the file was mapped.
    #[must_use]
    #[expect(clippy::expect_used, reason = "`from_file` refused any size that would fail here")]
    pub fn window(&self) -> Mapping<'_> {
        self.map_words().expect("the size was checked")
    }

    fn map_words(&self) -> Option<Mapping<'_>> {
        let base = NonNull::new(self.map.as_mut_ptr())?;
        // SAFETY: the mapping is readable, writable and lives as long as `self`, which the
        // returned lifetime borrows; nothing but the returned value gives access to it. (A file
        // that somebody truncates raises SIGBUS, which ends the process, not its soundness.)
        unsafe { Mapping::new(base, self.map.len()) }.ok()
    }
}

impl AsFd for HostWindow {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Window;
    use std::{format, os::fd::AsRawFd};

    #[test]
    fn two_mappings_are_one_memory() {
        let one = HostWindow::create("maize-test", 8192).unwrap();
        let two = one.again().unwrap();
        one.window().store_release(1000, 42);
        assert_eq!(two.window().load_acquire(1000), 42);
        let fd = one.as_fd().as_raw_fd();
        let path = format!("/proc/self/fd/{fd}");
        let three = HostWindow::open(Path::new(&path)).unwrap();
        assert_eq!(three.window().fetch_add(1000, 1), 42);
        assert_eq!(one.window().load(1000), 43);
    }

    #[test]
    fn odd_sizes_are_refused() {
        assert!(HostWindow::create("maize-test", 0).is_err());
        assert!(HostWindow::create("maize-test", 4100).is_err());
    }
}
