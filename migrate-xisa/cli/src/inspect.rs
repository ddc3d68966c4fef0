//! Shows a program's metadata.

use std::fmt::Write;

use maize_xisa_metadata::{Callee, Polls, Program, Site};
use serde::Serialize;

use crate::elf::Elf;

/// What of the metadata is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Sites of one function.
    pub function: Option<String>,
    /// One site.
    pub site: Option<u32>,
}

impl Wanted {
    /// The sites that are wanted, with their numbers.
    pub fn sites<'p>(&self, program: &'p Program) -> Vec<(u32, &'p Site)> {
        let in_function = |site: &Site| {
            let name = program.function_of(site).map(|function| &function.name);
            self.function.is_none() || name == self.function.as_ref()
        };
        program
            .numbered_sites()
            .filter(|(number, site)| self.site.is_none_or(|n| n == *number) && in_function(site))
            .collect()
    }

    /// Whether anything narrows it down.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        self.function.is_some() || self.site.is_some()
    }
}

/// What a call calls, in words.
#[must_use]
pub fn callee(site: &Site) -> &str {
    match &site.callee {
        Callee::Direct(name) => name,
        Callee::Indirect => "(through a pointer)",
    }
}

/// Where a site is in the source.
#[must_use]
pub fn place(program: &Program, site: &Site) -> String {
    let file = program.function_of(site).and_then(|f| f.file.as_deref()).unwrap_or("?");
    match site.location {
        Some(location) => format!("{file}:{}", location.line),
        None => file.to_owned(),
    }
}

/// The whole, or what is wanted of it, as text.
#[must_use]
pub fn text(elf: &Elf, wanted: &Wanted) -> String {
    let program = &elf.program;
    let mut out = String::new();
    if !wanted.is_narrow() {
        summary(&mut out, elf);
    }
    for (number, site) in wanted.sites(program) {
        let function = program.function_of(site).map_or("?", |f| f.name.as_str());
        let _ = writeln!(
            out,
            "site {number}: {function} calls {} at {}, record {} bytes, {} recomputed",
            callee(site),
            place(program, site),
            site.record_bytes,
            site.recomputed
        );
        for value in &site.values {
            let _ =
                writeln!(out, "  {:5}  {:14} {}", value.offset, value.kind.to_string(), value.name);
        }
    }
    out
}

fn summary(out: &mut String, elf: &Elf) {
    let program = &elf.program;
    let polls = match program.polls {
        Polls::None => "none",
        Polls::Calls => "at calls",
        Polls::Loops => "at calls and in loops",
    };
    let values: usize = program.sites.iter().map(|site| site.values.len()).sum();
    let most = program.sites.iter().map(|site| site.record_bytes).max().unwrap_or(0);
    let _ = writeln!(out, "{} program, build {}", elf.isa, program.build_id);
    let _ = writeln!(out, "metadata: {} bytes, polls {polls}", elf.metadata_bytes);
    let _ = writeln!(out, "thread-local variables: {} bytes", program.thread_locals.bytes);
    let _ = writeln!(
        out,
        "{} functions with {} sites, {} that only return; {values} values, largest record {most} bytes",
        program.functions.len(),
        program.sites.len(),
        program.transparent.len()
    );
    for (index, function) in (0_u32..).zip(&program.functions) {
        let sites: Vec<_> = program.sites.iter().filter(|site| site.function == index).collect();
        let bytes: u32 = sites.iter().map(|site| site.record_bytes).sum();
        let file = function.file.as_deref().unwrap_or("?");
        let _ =
            writeln!(out, "{:40} {:5} sites {bytes:8} bytes  {file}", function.name, sites.len());
    }
}

#[derive(Serialize)]
struct Json<'p> {
    isa: &'static str,
    build_id: String,
    functions: &'p [maize_xisa_metadata::Function],
    sites: Vec<JsonSite<'p>>,
}

#[derive(Serialize)]
struct JsonSite<'p> {
    number: u32,
    function: &'p str,
    callee: &'p str,
    line: Option<u32>,
    record_bytes: u32,
    recomputed: u32,
    values: Vec<JsonValue<'p>>,
}

#[derive(Serialize)]
struct JsonValue<'p> {
    offset: u32,
    r#type: String,
    name: &'p str,
}

/// The same for programs.
///
/// # Errors
/// What the serialiser says; it has nothing to say for these types.
pub fn json(elf: &Elf, wanted: &Wanted) -> serde_json::Result<String> {
    let program = &elf.program;
    let sites = wanted.sites(program).into_iter().map(|(number, site)| JsonSite {
        number,
        function: program.function_of(site).map_or("", |f| f.name.as_str()),
        callee: callee(site),
        line: site.location.map(|location| location.line),
        record_bytes: site.record_bytes,
        recomputed: site.recomputed,
        values: site
            .values
            .iter()
            .map(|v| JsonValue { offset: v.offset, r#type: v.kind.to_string(), name: &v.name })
            .collect(),
    });
    let build_id = program.build_id.to_string();
    let functions = &program.functions;
    let isa = elf.isa.name();
    serde_json::to_string_pretty(&Json { isa, build_id, functions, sites: sites.collect() })
}
