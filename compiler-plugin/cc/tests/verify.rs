//! `migrate-xisa verify` passes what the compiler makes, and names each of these planted defects.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail so")]

mod build;

use std::ops::Range;
use std::sync::OnceLock;

use build::Program;
use maize_xisa_metadata::address::OUTLINED_POLL_SUFFIX;
use maize_xisa_metadata::{Isa, Program as Metadata, SECTION, ValueType};
use migrate_xisa::code::{self, Base, Effect};
use migrate_xisa::unwind::Tables;
use migrate_xisa::verify::{Property, verify};
use migrate_xisa::{Elf, ElfError};
use object::{Object, ObjectSection, ObjectSymbol};

/// A program's file, to be damaged.
#[derive(Clone)]
struct File(Vec<u8>);

impl File {
    fn of(program: &Program, isa: Isa) -> Self {
        Self(std::fs::read(program.file(isa)).unwrap())
    }

    fn elf(&self) -> Elf {
        Elf::read(&self.0).unwrap()
    }

    fn section(&self, name: &str) -> Range<usize> {
        let file = object::File::parse(&*self.0).unwrap();
        let (start, length) = file.section_by_name(name).unwrap().file_range().unwrap();
        start as usize..(start + length) as usize
    }

    /// Where in the file an address is.
    fn offset(&self, address: u64) -> usize {
        let file = object::File::parse(&*self.0).unwrap();
        let section = file
            .sections()
            .find(|s| s.address() != 0 && (s.address()..s.address() + s.size()).contains(&address))
            .unwrap();
        (section.file_range().unwrap().0 + address - section.address()) as usize
    }

    fn change_metadata(&mut self, change: impl Fn(&mut Metadata)) {
        let range = self.section(SECTION);
        let mut program = self.elf().program;
        change(&mut program);
        let sealed = program.seal();
        assert_eq!(sealed.len(), range.len(), "the change must keep the section's length");
        self.0[range].copy_from_slice(&sealed);
    }

    /// The code of the first pad of a function.
    fn pad(&self, function: &str) -> Vec<code::Instruction> {
        let elf = self.elf();
        let start = elf.symbols[function].address;
        let tables = Tables::read(&elf).unwrap();
        let pad = tables.at(start).unwrap().pads.iter().find(|pad| pad.address != 0).unwrap();
        let bytes = &self.0[self.offset(pad.address)..][..256];
        code::decode(elf.isa, pad.address, bytes)
    }
}

struct Pair {
    x86_64: File,
    aarch64: File,
}

/// A sound program's files, built once.
fn pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| {
        let program = Program::freestanding("everything.c", &["-O2", "-g"]);
        let [x86_64, aarch64] = Isa::ALL.map(|isa| File::of(&program, isa));
        Pair { x86_64, aarch64 }
    })
}

/// What is found when the x86_64 file is damaged so.
fn found(pair: &Pair, damage: impl Fn(&mut File)) -> Vec<Property> {
    let mut file = pair.x86_64.clone();
    damage(&mut file);
    let report = verify(&file.elf(), &pair.aarch64.elf()).unwrap();
    let mut properties: Vec<_> = report.findings.iter().map(|f| f.property).collect();
    properties.sort_unstable();
    properties.dedup();
    properties
}

#[test]
fn what_the_compiler_makes_is_verified() {
    for source in ["everything.c", "sort.c"] {
        for options in [&["-O0"][..], &["-O1"], &["-O2", "-g"], &["-O3"], &["-O2", "--polls=calls"]]
        {
            let program = Program::freestanding(source, options);
            let [first, second] = Isa::ALL.map(|isa| File::of(&program, isa).elf());
            let report = verify(&first, &second).unwrap();
            assert!(report.findings.is_empty(), "{source} {options:?}: {report:#?}");
            assert!(report.pads >= 2 * report.sites && report.sites > 5, "{report:#?}");
        }
    }
}

#[test]
fn programs_of_the_c_library_are_verified() {
    for (source, option) in [("hosted.c", "-lm"), ("threads.c", "-pthread")] {
        let program = Program::hosted(source, &["-O2", option]);
        let [first, second] = Isa::ALL.map(|isa| File::of(&program, isa).elf());
        let report = verify(&first, &second).unwrap();
        assert!(report.findings.is_empty(), "{source}: {report:#?}");
        assert!(report.sites > 100, "{report:#?}");
    }
}

#[test]
fn the_address_of_what_a_machine_can_do_itself_is_verified() {
    let text = "#include <math.h>\ndouble (*volatile root)(double) = sqrt;\n\
                int main(void) { return root(4) != 2; }\n";
    let program = Program::of_hosted_text(text, &["-O2", "-lm"]);
    let [first, second] = Isa::ALL.map(|isa| File::of(&program, isa).elf());
    assert!(first.symbols.contains_key("sqrt.slot"));
    let report = verify(&first, &second).unwrap();
    assert!(report.findings.is_empty(), "{report:#?}");
    assert_eq!(Isa::ALL.map(|isa| program.run(isa, &[]).status), [0, 0]);
}

#[test]
fn a_moved_symbol_is_found() {
    let damage = |file: &mut File| {
        let parsed = object::File::parse(&*file.0).unwrap();
        let index = parsed.symbols().find(|s| s.name() == Ok("seed")).unwrap().index().0;
        let at = file.section(".symtab").start + 24 * index + 8;
        file.0[at] += 8;
    };
    assert_eq!(found(pair(), damage), [Property::Symbols]);
}

#[test]
fn another_byte_of_data_is_found() {
    let damage = |file: &mut File| {
        let at = file.section(".maize.rodata").start;
        file.0[at] ^= 1;
    };
    assert_eq!(found(pair(), damage), [Property::Data]);
}

#[test]
fn a_call_without_its_pad_is_found() {
    let damage = |file: &mut File| {
        // The first table: two bytes, an encoding, a length, then calls of four numbers each.
        let start = file.section(".gcc_except_table").start;
        let mut at = start + 2;
        let mut number = |bytes: &[u8]| {
            let first = at;
            while bytes[at] & 0x80 != 0 {
                at += 1;
            }
            at += 1;
            first..at
        };
        assert_eq!(file.0[start..start + 2], [0xff, 0xff]);
        number(&file.0);
        number(&file.0);
        let pad = loop {
            let [_, _, pad, _] = [(); 4].map(|()| number(&file.0));
            if file.0[pad.clone()] != [0] {
                break pad;
            }
        };
        let last = pad.end - 1;
        file.0[pad].fill(0x80);
        file.0[last] = 0;
    };
    assert!(found(pair(), damage).contains(&Property::Calls));
}

#[test]
fn a_pad_that_saves_another_site_is_found() {
    saves_another_site("pair");
}

#[test]
fn a_poll_that_saves_another_site_is_found() {
    let elf = pair().x86_64.elf();
    let poll = elf.symbols.keys().find(|name| name.ends_with(OUTLINED_POLL_SUFFIX)).unwrap();
    saves_another_site(poll);
}

fn saves_another_site(function: &str) {
    let damage = |file: &mut File| {
        let pad = file.pad(function);
        let (register, _, _) = code::argument_registers(Isa::X86_64);
        let site = |e: &Effect| matches!(e, Effect::Set(r, _) if *r == register);
        let set = pad.iter().find(|i| i.effects.iter().any(site)).unwrap();
        let at = file.offset(set.address);
        assert_eq!(set.length, 5, "mov edi, number");
        file.0[at + 1] += 1;
    };
    assert_eq!(found(pair(), damage), [Property::Pads]);
}

#[test]
fn a_store_at_another_place_is_found() {
    let damage = |file: &mut File| {
        let pad = file.pad("pair");
        let at = |e: &Effect| match e {
            Effect::Store(_, memory) if matches!(memory.base, Base::Register(_)) => {
                Some(memory.offset)
            }
            _ => None,
        };
        let (store, offset) =
            pad.iter().find_map(|i| Some((i, i.effects.iter().find_map(at)?))).unwrap();
        let last = file.offset(store.address) + store.length as usize - 1;
        assert_eq!(i64::from(file.0[last]), offset);
        file.0[last] += 4;
    };
    assert_eq!(found(pair(), damage), [Property::Pads]);
}

#[test]
fn a_value_of_another_type_is_found() {
    let damage = |file: &mut File| {
        file.change_metadata(|program| {
            let values = program.sites.iter_mut().flat_map(|site| &mut site.values);
            let pointer = values.into_iter().find(|v| v.kind == ValueType::Pointer).unwrap();
            pointer.kind = ValueType::Double;
        });
    };
    assert_eq!(found(pair(), damage), [Property::Sites]);
}

#[test]
fn swapped_values_are_found() {
    let damage = |file: &mut File| {
        file.change_metadata(|program| {
            let site = program
                .sites
                .iter_mut()
                .find(|site| site.values.iter().filter(|v| v.kind.bytes() == 8).count() > 1)
                .unwrap();
            let wide: Vec<_> =
                (0..site.values.len()).filter(|i| site.values[*i].kind.bytes() == 8).collect();
            let (a, b) = (wide[0], wide[1]);
            site.values.swap(a, b);
            let (x, y) = (site.values[a].offset, site.values[b].offset);
            (site.values[a].offset, site.values[b].offset) = (y, x);
        });
    };
    assert_eq!(found(pair(), damage), [Property::Sites]);
}

#[test]
fn the_metadata_of_another_link_is_found() {
    let damage = |file: &mut File| file.change_metadata(|program| program.build_id.0[0] ^= 1);
    assert_eq!(found(pair(), damage), [Property::BuildId]);
}

#[test]
fn another_layout_of_thread_local_variables_is_found() {
    let damage = |file: &mut File| file.change_metadata(|p| p.thread_locals.bytes += 1);
    assert_eq!(found(pair(), damage), [Property::ThreadLocals]);
}

#[test]
fn an_unwind_table_that_is_not_found_is_found() {
    let damage = |file: &mut File| {
        let at = file.section(".eh_frame_hdr").start + 8;
        file.0[at] -= 1;
    };
    assert_eq!(found(pair(), damage), [Property::Unwind]);
}

#[test]
fn a_slot_that_leads_elsewhere_is_found() {
    let damage = |file: &mut File| {
        let at = file.section(".maize.slots").start;
        assert_eq!(file.0[at], 0xe9, "jmp");
        file.0[at + 1] ^= 0x10;
    };
    assert_eq!(found(pair(), damage), [Property::Slots]);
}

#[test]
fn files_that_are_no_pair_are_found() {
    let pair = pair();
    let report = verify(&pair.x86_64.elf(), &pair.x86_64.elf()).unwrap();
    assert_eq!(report.findings[0].property, Property::Pair);
}

#[test]
fn a_file_that_is_cut_short_or_damaged_is_refused() {
    let file = &pair().x86_64;
    for length in [0, 16, 100, 5_000, file.0.len() / 2, file.0.len() - 1] {
        assert!(Elf::read(&file.0[..length]).is_err(), "{length} bytes");
    }
    let mut damaged = file.clone();
    let at = file.section(SECTION).start + 100;
    damaged.0[at] ^= 0x40;
    assert!(matches!(Elf::read(&damaged.0), Err(ElfError::Metadata(_))));
}
