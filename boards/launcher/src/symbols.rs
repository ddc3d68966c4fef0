//! Names for the addresses in a kernel's backtraces.

use std::cell::OnceCell;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Symbols and lines of one kernel.
///
/// Frames of inlined functions are shown too, so one address may give several lines.
pub struct Symbols {
    loader: addr2line::Loader,
    workspace: PathBuf,
}

impl std::fmt::Debug for Symbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbols").finish_non_exhaustive()
    }
}

impl Symbols {
    /// Reads the symbols of an ELF file; paths below `workspace` are shown relative to it.
    pub fn load(kernel: &Path, workspace: &Path) -> Result<Self, String> {
        let loader = addr2line::Loader::new(kernel)
            .map_err(|error| format!("{}: {error}", kernel.display()))?;
        Ok(Self { loader, workspace: workspace.to_owned() })
    }

    /// The line of a backtrace with the functions that its address is in; other lines as they are.
    #[must_use]
    pub fn annotate(&self, line: &str) -> String {
        let Some(address) = backtrace_address(line) else {
            return line.to_owned();
        };
        let mut text = line.to_owned();
        for (depth, place) in self.places(address).iter().enumerate() {
            if depth > 0 {
                text.push_str("\n       inlined in");
            }
            let _ = write!(text, " {place}");
        }
        text
    }

    /// Innermost function first, each as `function (file:line)`.
    fn places(&self, return_address: u64) -> Vec<String> {
        // A return address may be the first one after the function that called.
        let probe = return_address.wrapping_sub(1);
        let symbol = self.loader.find_symbol(probe);
        let symbol = symbol.map(|name| addr2line::demangle_auto(name.into(), None).into_owned());
        let mut places = Vec::new();
        if let Ok(mut frames) = self.loader.find_frames(probe) {
            while let Ok(Some(frame)) = frames.next() {
                // With line tables only, the outermost function has no name but its symbol.
                let name = frame.function.and_then(|f| Some(f.demangle().ok()?.into_owned()));
                let Some(name) = name.or_else(|| symbol.clone()) else { continue };
                let name = strip_hash(&name);
                places.push(match frame.location.and_then(|l| Some((l.file?, l.line?))) {
                    Some((file, line)) => format!("{name} ({}:{line})", self.shorten(file)),
                    None => name.to_owned(),
                });
            }
        }
        if places.is_empty() {
            places.extend(symbol.map(|name| strip_hash(&name).to_owned()));
        }
        places
    }

    /// The function of the kernel that an address is in, without what is inlined there.
    #[must_use]
    pub fn function(&self, address: u64) -> Option<String> {
        let symbol = self.loader.find_symbol(address)?;
        let name = addr2line::demangle_auto(symbol.into(), None);
        Some(strip_hash(&name).to_owned())
    }

    fn shorten(&self, file: &str) -> String {
        let relative = Path::new(file).strip_prefix(&self.workspace);
        relative.map_or_else(|_| file.to_owned(), |path| path.display().to_string())
    }
}

/// Symbols that are read when the first backtrace is to be shown, since reading takes time.
#[derive(Debug)]
pub struct LazySymbols {
    kernel: PathBuf,
    workspace: PathBuf,
    loaded: OnceCell<Result<Symbols, String>>,
}

impl LazySymbols {
    /// Symbols of an ELF file that need not exist.
    #[must_use]
    pub fn new(kernel: &Path, workspace: &Path) -> Self {
        Self { kernel: kernel.to_owned(), workspace: workspace.to_owned(), loaded: OnceCell::new() }
    }

    /// As [`Symbols::annotate`]; a kernel whose symbols cannot be read leaves lines as they are.
    #[must_use]
    pub fn annotate(&self, line: &str) -> String {
        if backtrace_address(line).is_none() {
            return line.to_owned();
        }
        let loaded = self.loaded.get_or_init(|| Symbols::load(&self.kernel, &self.workspace));
        loaded.as_ref().map_or_else(|_| line.to_owned(), |symbols| symbols.annotate(line))
    }
}

/// The address in a line such as `  #3 0xffffffff80001234`, which has `[2] ` in front if it comes
/// from another instance than the machine's first.
fn backtrace_address(line: &str) -> Option<u64> {
    let numbered = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    let line = match numbered {
        Some((number, rest)) if number.parse::<u16>().is_ok() => rest,
        _ => line,
    };
    let mut words = line.trim_start().strip_prefix('#')?.split_whitespace();
    words.next()?.parse::<u32>().ok()?;
    u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()
}

/// A demangled legacy name without `::h0123456789abcdef`.
fn strip_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            path
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_backtraces_only() {
        assert_eq!(backtrace_address("  #0 0xffffffff80001234"), Some(0xffff_ffff_8000_1234));
        assert_eq!(backtrace_address("#12 0x40 extra"), Some(0x40));
        assert_eq!(backtrace_address("[15]   #1 0x40"), Some(0x40));
        for line in [
            "[x] #1 0x40",
            "[1] [2] #1 0x40",
            "[1]",
            "",
            "#0",
            "#x 0x40",
            "0x40",
            "#0 40",
            "#1 0xzz",
            "page #3 at 0x40",
        ] {
            assert_eq!(backtrace_address(line), None, "{line}");
        }
    }

    #[inline(never)]
    fn landmark() -> u64 {
        std::hint::black_box(7)
    }

    /// The test's own program is the ELF file: where it is loaded is asked of the system.
    #[test]
    fn a_function_of_this_program_is_named() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let program = std::env::current_exe().unwrap();
        let first = maps.lines().find(|line| line.ends_with(program.to_str().unwrap())).unwrap();
        let base = u64::from_str_radix(first.split('-').next().unwrap(), 16).unwrap();
        let function: fn() -> u64 = landmark;
        assert_eq!(function(), 7);
        let workspace = crate::workspace::Workspace::find().unwrap();
        let symbols = Symbols::load(&program, workspace.root()).unwrap();
        let line = format!("  #0 {:#x}", function as usize as u64 - base + 2);
        let named = symbols.annotate(&line);
        assert!(
            named.contains("symbols::tests::landmark (boards/launcher/src/symbols.rs:"),
            "{named}"
        );
        assert_eq!(symbols.annotate("nothing here"), "nothing here");
    }

    #[test]
    fn hashes_are_cut() {
        assert_eq!(strip_hash("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(strip_hash("a::hello"), "a::hello");
    }
}
