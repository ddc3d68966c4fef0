//! Links objects and archives of bitcode into one ELF per instruction set.

pub mod archive;
mod constructors;
mod handlers;
pub(crate) mod library;
pub mod script;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use maize_llvm::{Linkage, Machine, Module, Optimisation, Value};
use maize_xisa_metadata::{BuildId, Isa, Polls, Program, SECTION};
use object::write::{Object, SectionFlags};
use object::{Architecture, BinaryFormat, Endianness, SectionKind};
use sha2::{Digest, Sha256};

use crate::migrate::PollForm;
use crate::sysroot::Sysroot;
use crate::{CompileError, migrate, neutral};

/// The linker.
const LINKER: &str = "ld.lld-22";

/// What is linked, and how.
#[derive(Debug)]
pub struct Request {
    /// Objects and archives, in their order.
    pub inputs: Vec<PathBuf>,
    /// Where the program goes; each file's name gets the instruction set's at its end.
    pub output: PathBuf,
    /// How much to optimise, 0 to 3.
    pub level: u8,
    /// Where to place polls.
    pub polls: Polls,
    /// Whether the C library is linked.
    pub library: Library,
    /// A folder for the program at each step, for a look at it.
    pub steps: Option<PathBuf>,
}

/// Whether the C library is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// The sysroot's.
    C,
    /// None: the program brings its entry, `__maize_entry`.
    None,
}

/// The function that the runtime enters with the address of the arguments.
pub const ENTRY: &str = "__maize_entry";

/// Whose costs a program is optimised by while it is one for both. By x86_64's, sums are not vectorised in
/// loops and loads are gathered into vectors, which aarch64 pays for; by these, both have fewer instructions.
const COSTS: Isa = Isa::Aarch64;

/// The LLVM name of an instruction set's target.
#[must_use]
pub fn triple(isa: Isa) -> &'static str {
    match isa {
        Isa::X86_64 => "x86_64-unknown-linux-gnu",
        Isa::Aarch64 => "aarch64-unknown-linux-gnu",
    }
}

/// The file of a program for an instruction set.
#[must_use]
pub fn program_file(output: &Path, isa: Isa) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".");
    name.push(isa.name());
    PathBuf::from(name)
}

/// Links a program.
///
/// # Errors
/// [`CompileError`] says what is missing or refused.
pub fn link(request: &Request, sysroot: &Sysroot) -> Result<Program, CompileError> {
    let level = match request.level {
        0 => Optimisation::None,
        1 => Optimisation::Less,
        2 => Optimisation::Usual,
        _ => Optimisation::Most,
    };
    let machine = Machine::new(neutral::TRIPLE, level)?;
    let costs = Machine::new(triple(COSTS), level)?;
    let mut module = whole_program(request, sysroot, (&machine, &costs))?;
    let steps = Steps(request.steps.as_deref());
    steps.write(&module, "optimised")?;
    let thread_locals = thread_locals(&module);
    if request.level > 1 {
        migrate::prepare(&mut module, &costs, request.polls)?;
    }
    let form = if request.level > 0 { PollForm::Outlined } else { PollForm::InPlace };
    let split = migrate::split(&module, &machine, (request.polls, form))?;
    steps.write(&module, "split")?;
    module.verify()?;
    module.run_passes(migrate::CLEAN_UP, &machine)?;
    migrate::finish(&module, &machine)?;
    steps.write(&module, "finished")?;
    module.verify()?;
    let bitcode = module.bitcode();
    let mut program = Program {
        build_id: BuildId([0; 16]),
        polls: request.polls,
        thread_locals,
        functions: split.functions,
        transparent: split.transparent,
        sites: split.sites,
    };
    program.build_id = build_id(&bitcode, &program);
    program.check().map_err(|error| CompileError::Internal(error.to_string()))?;
    let work = tempfile::tempdir().map_err(CompileError::file(Path::new("a temporary folder")))?;
    let script = work.path().join("script");
    std::fs::write(&script, script::text()).map_err(CompileError::file(&script))?;
    let write = |isa| write_program(request, sysroot, isa, level, &bitcode, &program, work.path());
    std::thread::scope(|scope| {
        let files = Isa::ALL.map(|isa| scope.spawn(move || write(isa)));
        files.into_iter().try_for_each(|file| {
            file.join().unwrap_or_else(|_| {
                Err(CompileError::Internal("a code generator ended early".to_owned()))
            })
        })
    })?;
    link_host_name(&request.output)?;
    Ok(program)
}

/// Has the linker say which it is.
///
/// # Errors
/// [`CompileError::Tool`] if there is none.
pub fn tell_version() -> Result<(), CompileError> {
    let run = Command::new(LINKER).arg("--version").status();
    run.map(drop).map_err(|error| CompileError::Tool { program: LINKER.to_owned(), error })
}

/// A look at the program between steps.
struct Steps<'p>(Option<&'p Path>);

impl Steps<'_> {
    fn write(&self, module: &Module, name: &str) -> Result<(), CompileError> {
        let Some(folder) = self.0 else { return Ok(()) };
        let path = folder.join(format!("{name}.ll"));
        module.write_text(&path).map_err(CompileError::file(&path))
    }
}

/// Merges, lays out and optimises until nothing of the libraries is missing.
fn whole_program(
    request: &Request,
    sysroot: &Sysroot,
    (machine, costs): (&Machine, &Machine),
) -> Result<Module, CompileError> {
    let mut paths = request.inputs.clone();
    if request.library == Library::C {
        paths.push(sysroot.c_library());
    }
    let mut roots: BTreeSet<String> =
        library::ALWAYS.iter().chain(&[ENTRY]).map(|&name| name.to_owned()).collect();
    let inputs = archive::read(&paths)?;
    loop {
        let mut module = archive::merge(&inputs, &roots)?;
        // Merging is cheap, optimising is not: first everything that may be called.
        let count = roots.len();
        roots.extend(library::called_by_intrinsics(&module));
        roots.extend(library::made_by_optimisation(&module));
        if roots.len() > count {
            continue;
        }
        let before = roots.len();
        constructors::lower(&module);
        handlers::leave_out(&module);
        neutral::tls::lower(&module, machine)?;
        for function in module.functions() {
            function.set_local();
        }
        tune(&module, COSTS);
        let keep: Vec<_> = roots
            .iter()
            .cloned()
            .chain(["__maize_tls_size", "__maize_tls_alignment"].map(str::to_owned))
            .chain([maize_xisa_metadata::address::TLS_TEMPLATE.to_owned()])
            .map(|name| format!("preserve-gv={name}"))
            .collect();
        let passes =
            format!("internalize<{}>,globaldce,default<O{}>", keep.join(";"), request.level);
        module.run_passes(&passes, costs)?;
        let undefined = undefined(&module);
        let new = undefined.iter().any(|name| roots.insert(name.clone()));
        roots.extend(library::called_by_intrinsics(&module));
        if !new && roots.len() == before {
            return if undefined.is_empty() {
                Ok(module)
            } else {
                Err(CompileError::Undefined(undefined))
            };
        }
    }
}

/// Symbols that nothing in the program defines, but for those of the runtime.
fn undefined(module: &Module) -> Vec<String> {
    let functions = module.functions().into_iter().filter(|f| !f.is_intrinsic());
    functions
        .chain(module.variables())
        .filter(|global| global.is_declaration() && !global.is_unused())
        .filter(|global| global.linkage() != Linkage::LLVMExternalWeakLinkage)
        .map(Value::name)
        .filter(|name| !name.starts_with("__maize_") && !name.starts_with("llvm."))
        .collect()
}

fn thread_locals(module: &Module) -> maize_xisa_metadata::ThreadLocals {
    let number = |name: &str| {
        let value = module.variable(name).and_then(Value::initializer).and_then(Value::integer);
        value.and_then(|value| u64::try_from(value).ok())
    };
    maize_xisa_metadata::ThreadLocals {
        bytes: number("__maize_tls_size").unwrap_or(0),
        alignment: number("__maize_tls_alignment").unwrap_or(16),
    }
}

/// Has functions compiled for any processor of an instruction set, as clang does. Without a word, LLVM orders
/// and chooses x86_64's instructions as for an i586, whose unaligned vectors are slow.
fn tune(module: &Module, isa: Isa) {
    let (target, tune) = match isa {
        Isa::X86_64 => ("x86-64", "generic"),
        Isa::Aarch64 => ("generic", "generic"),
    };
    for function in module.functions().into_iter().filter(|f| !f.is_declaration()) {
        function.add_string_attribute("target-cpu", target);
        function.add_string_attribute("tune-cpu", tune);
    }
}

/// Says that files come from one link: a digest of the program that all of them are made of.
fn build_id(bitcode: &[u8], program: &Program) -> BuildId {
    let digest = Sha256::new().chain_update(bitcode).chain_update(program.seal()).finalize();
    let mut id = [0; 16];
    for (byte, of_digest) in id.iter_mut().zip(digest) {
        *byte = of_digest;
    }
    BuildId(id)
}

fn write_program(
    request: &Request,
    sysroot: &Sysroot,
    isa: Isa,
    level: Optimisation,
    bitcode: &[u8],
    program: &Program,
    work: &Path,
) -> Result<(), CompileError> {
    let folder = work.join(isa.name());
    std::fs::create_dir_all(&folder).map_err(CompileError::file(&folder))?;
    // A code generator changes the module: each gets its own.
    let mut module = Module::read(bitcode, "program")?;
    let machine = Machine::new(triple(isa), level)?;
    module.set_target(triple(isa), &machine.layout());
    tune(&module, isa);
    let code = folder.join("program.o");
    machine.write_object(&mut module, &code)?;
    let metadata = folder.join("metadata.o");
    let bytes = metadata_object(isa, program);
    std::fs::write(&metadata, bytes).map_err(CompileError::file(&metadata))?;
    let output = program_file(&request.output, isa);
    let run = Command::new(LINKER)
        .args(["-static", "-z", "norelro", "-z", "noexecstack", "--eh-frame-hdr", "--gc-sections"])
        .arg(format!("--build-id=0x{}", program.build_id))
        .arg("-T")
        .arg(work.join("script"))
        .arg(&code)
        .arg(&metadata)
        .args(library::aliases(&module))
        .args(sysroot.native_libraries(isa)?)
        .arg("-o")
        .arg(&output)
        .output()
        .map_err(|error| CompileError::Tool { program: LINKER.to_owned(), error })?;
    if run.status.success() {
        Ok(())
    } else {
        Err(CompileError::Linker(String::from_utf8_lossy(&run.stderr).trim().to_owned()))
    }
}

/// An object with nothing but the metadata's section, which no program loads.
fn metadata_object(isa: Isa, program: &Program) -> Vec<u8> {
    let architecture = match isa {
        Isa::X86_64 => Architecture::X86_64,
        Isa::Aarch64 => Architecture::Aarch64,
    };
    let mut object = Object::new(BinaryFormat::Elf, architecture, Endianness::Little);
    let section = object.add_section(Vec::new(), SECTION.as_bytes().to_vec(), SectionKind::Other);
    object.section_mut(section).flags = SectionFlags::Elf {
        sh_type: object::elf::SHT_PROGBITS,
        sh_flags: object::elf::SectionFlags(0),
    };
    object.append_section_data(section, &program.seal(), 8);
    object.write().unwrap_or_default()
}

/// Makes the program's plain name stand for the host's file, so that build systems find it.
fn link_host_name(output: &Path) -> Result<(), CompileError> {
    let Some(host) = Isa::ALL.into_iter().find(|isa| isa.name() == std::env::consts::ARCH) else {
        return Ok(());
    };
    let file = program_file(output, host);
    let Some(name) = file.file_name() else { return Ok(()) };
    let _ = std::fs::remove_file(output);
    std::os::unix::fs::symlink(name, output).map_err(CompileError::file(output))
}
