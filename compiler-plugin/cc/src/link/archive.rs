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
    pub(crate) bitcode: Vec<u8>,
    /// Whether the program has it whatever it refers to.
    pub(crate) wanted: bool,
}

/// Files to link: objects are wanted, members of archives only when something refers to them.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Input>, CompileError> {
    let mut inputs = Vec::new();
    for path in paths {
        let bytes = std::fs::read(path).map_err(CompileError::file(path))?;
        if is_bitcode(&bytes) {
            let name = path.display().to_string();
            inputs.push(Input { name, bitcode: bytes, wanted: true });
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
        let name = format!("{}({name})", path.display());
        inputs.push(Input { name, bitcode: data, wanted: false });
    }
    Ok(())
}

/// What a module defines and what it needs.
#[derive(Debug, Default)]
struct Symbols {
    strong: BTreeSet<String>,
    weak: BTreeSet<String>,
    needed: BTreeSet<String>,
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
pub(crate) fn merge(inputs: Vec<Input>, roots: &BTreeSet<String>) -> Result<Module, CompileError> {
    let mut whole = Module::empty("program");
    let mut tables = Vec::new();
    for input in &inputs {
        tables.push(symbols(&Module::read(&input.bitcode, &input.name)?));
    }
    for index in choose(&inputs, &tables, roots) {
        if let Some(input) = inputs.get(index) {
            let module = whole.sibling(&input.bitcode, &input.name)?;
            whole.link(module, &input.name)?;
        }
    }
    Ok(whole)
}

/// Which inputs a program needs, in their order.
fn choose(inputs: &[Input], tables: &[Symbols], roots: &BTreeSet<String>) -> BTreeSet<usize> {
    // As linkers do: the first member that defines a symbol is taken, a weak definition too.
    let mut definers: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, table) in tables.iter().enumerate() {
        for name in table.strong.iter().chain(&table.weak) {
            definers.entry(name).or_insert(index);
        }
    }
    let mut chosen = BTreeSet::new();
    let mut defined: HashSet<&str> = HashSet::new();
    let mut next: Vec<usize> = (0..inputs.len()).rev().collect();
    next.retain(|index| inputs.get(*index).is_some_and(|input| input.wanted));
    let mut wanted: Vec<&str> = roots.iter().map(String::as_str).collect();
    loop {
        while let Some(index) = next.pop() {
            let Some(table) = tables.get(index).filter(|_| chosen.insert(index)) else { continue };
            defined.extend(table.strong.iter().chain(&table.weak).map(String::as_str));
            wanted.extend(table.needed.iter().map(String::as_str));
        }
        let Some(name) = wanted.pop() else { return chosen };
        if !defined.contains(name) {
            next.extend(definers.get(name));
        }
    }
}
