//! Objects and archives of bitcode, and which members of archives a program needs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use maize_llvm::{Linkage, Module, Value};
use object::read::archive::ArchiveFile;

use crate::CompileError;

/// A module that a link may take.
pub(crate) struct Input {
    /// Where it is from, for messages.
    pub(crate) name: String,
    /// Its bitcode.
    bitcode: Vec<u8>,
    /// Whether the program has it whatever it refers to.
    wanted: bool,
    /// What it defines by its archive's index. None: only the module itself says it.
    defines: Option<Vec<String>>,
}

/// Files to link: objects are wanted, members of archives only when something refers to them.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Input>, CompileError> {
    let mut inputs = Vec::new();
    for path in paths {
        let bytes = std::fs::read(path).map_err(CompileError::file(path))?;
        if is_bitcode(&bytes) {
            let name = path.display().to_string();
            inputs.push(Input { name, bitcode: bytes, wanted: true, defines: None });
        } else if bytes.starts_with(b"!<arch>\n") || bytes.starts_with(b"!<thin>\n") {
            read_archive(path, &bytes, &mut inputs)?;
        } else {
            return Err(content(path, "not an object of maize-cc, nor an archive of such objects"));
        }
    }
    Ok(inputs)
}

fn is_bitcode(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BC\xc0\xde") || bytes.starts_with(b"\xde\xc0\x17\x0b")
}

fn content(path: &Path, what: &str) -> CompileError {
    CompileError::Content { path: path.to_owned(), what: what.to_owned() }
}

fn read_archive(path: &Path, bytes: &[u8], inputs: &mut Vec<Input>) -> Result<(), CompileError> {
    let broken = |error: object::Error| content(path, &error.to_string());
    let archive = ArchiveFile::parse(bytes).map_err(broken)?;
    // An index, if the archive has one, saves reading every member.
    let mut index: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let symbols = archive.symbols().map_err(broken)?;
    let is_indexed = symbols.is_some();
    for symbol in symbols.into_iter().flatten() {
        let symbol = symbol.map_err(broken)?;
        let name = String::from_utf8_lossy(symbol.name()).into_owned();
        index.entry(symbol.offset().0).or_default().push(name);
    }
    for member in archive.members() {
        let member = member.map_err(broken)?;
        let name = String::from_utf8_lossy(member.name()).into_owned();
        let data = if archive.is_thin() {
            let file = path.parent().unwrap_or(Path::new(".")).join(&name);
            std::fs::read(&file).map_err(CompileError::file(&file))?
        } else {
            member.data(bytes).map_err(broken)?.to_vec()
        };
        if !is_bitcode(&data) {
            return Err(content(path, &format!("member {name} is not an object of maize-cc")));
        }
        inputs.push(Input {
            name: format!("{}({name})", path.display()),
            bitcode: data,
            wanted: false,
            defines: is_indexed.then(|| index.remove(&member_offset(&member)).unwrap_or_default()),
        });
    }
    Ok(())
}

/// Where a member's header is, which is what an index names.
fn member_offset(member: &object::read::archive::ArchiveMember<'_>) -> u64 {
    const HEADER_BYTES: u64 = 60;
    member.file_range().0.saturating_sub(HEADER_BYTES)
}

/// What a module defines and what it needs.
#[derive(Debug, Default)]
struct Symbols {
    strong: BTreeSet<String>,
    weak: BTreeSet<String>,
    needed: BTreeSet<String>,
}

impl Symbols {
    fn defined(&self) -> Vec<String> {
        self.strong.iter().chain(&self.weak).cloned().collect()
    }
}

fn symbols(module: &Module) -> Symbols {
    let mut symbols = Symbols::default();
    let aliases = module.aliases();
    for global in module.functions().into_iter().chain(module.variables()).chain(aliases) {
        let name = global.name();
        if name.starts_with("llvm.") || name.is_empty() {
            continue;
        }
        let declared = !global.is_alias() && global.is_declaration();
        match (declared, global.linkage()) {
            (true, Linkage::LLVMExternalWeakLinkage) => {}
            (true, _) => drop(symbols.needed.insert(name)),
            (false, Linkage::LLVMInternalLinkage | Linkage::LLVMPrivateLinkage) => {}
            (false, _) if is_weak(global) => drop(symbols.weak.insert(name)),
            (false, _) => drop(symbols.strong.insert(name)),
        }
    }
    symbols
}

fn is_weak(global: Value<'_>) -> bool {
    use Linkage as L;
    matches!(
        global.linkage(),
        L::LLVMWeakAnyLinkage
            | L::LLVMWeakODRLinkage
            | L::LLVMLinkOnceAnyLinkage
            | L::LLVMLinkOnceODRLinkage
            | L::LLVMCommonLinkage
            | L::LLVMAvailableExternallyLinkage
    )
}

/// Merges what a program needs of some inputs into one module, starting from `roots`.
pub(crate) fn merge(inputs: &[Input], roots: &BTreeSet<String>) -> Result<Module, CompileError> {
    let mut whole = Module::empty("program");
    let chosen = choose(inputs, roots)?;
    let mut modules = Vec::new();
    for input in chosen.into_iter().filter_map(|index| inputs.get(index)) {
        modules.push((whole.sibling(&input.bitcode, &input.name)?, &*input.name));
    }
    whole.link(modules)?;
    Ok(whole)
}

/// Which inputs a program needs, in their order.
fn choose(inputs: &[Input], roots: &BTreeSet<String>) -> Result<BTreeSet<usize>, CompileError> {
    let read = |input: &Input| -> Result<Symbols, CompileError> {
        Ok(symbols(&Module::read(&input.bitcode, &input.name)?))
    };
    // As linkers do: the first member that defines a symbol is taken, a weak definition too.
    let mut definers: BTreeMap<String, usize> = BTreeMap::new();
    for (index, input) in inputs.iter().enumerate() {
        let names = match &input.defines {
            Some(names) => names.clone(),
            None => read(input)?.defined(),
        };
        for name in names {
            definers.entry(name).or_insert(index);
        }
    }
    let mut chosen = BTreeSet::new();
    let mut defined: HashSet<String> = HashSet::new();
    let mut next: Vec<usize> = (0..inputs.len()).rev().collect();
    next.retain(|index| inputs.get(*index).is_some_and(|input| input.wanted));
    let mut wanted: Vec<String> = roots.iter().cloned().collect();
    loop {
        while let Some(index) = next.pop() {
            let Some(input) = inputs.get(index).filter(|_| chosen.insert(index)) else { continue };
            let symbols = read(input)?;
            wanted.extend(symbols.needed.iter().cloned());
            defined.extend(symbols.defined());
        }
        let Some(name) = wanted.pop() else { return Ok(chosen) };
        if !defined.contains(&name) {
            next.extend(definers.get(&name));
        }
    }
}
