//! Random operations against a model that spells out every page, on both page-table formats.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod machine;
mod oracle;

use std::collections::BTreeMap;

use maize_abi::pte::{Access, PteFormat};
use maize_mm::{
    Advice, AreaFlags, Backing, Budget, MapError, MapRequest, ObjectId, OldRange, PageStore,
    Placement, Relocation, Sharing, SpaceId,
};
use proptest::prelude::*;

use machine::{FORMATS, Machine, PAGE, RW};
use oracle::{Content, Model, ModelFile, ModelPage, ModelSpace, OFFSETS, file_page};

/// Pages of the window in which most of the test takes place, so that operations meet.
const WINDOW: u64 = 24;
const WINDOW_START: u64 = 0x10_0000;
const HEAP: u64 = 0x800_0000;
const FILES: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Map {
        at: u64,
        pages: u64,
        access: u8,
        sharing: Sharing,
        file: Option<(usize, u64)>,
        fixed: bool,
    },
    Unmap {
        at: u64,
        pages: u64,
    },
    Protect {
        at: u64,
        pages: u64,
        access: u8,
    },
    Remap {
        at: u64,
        pages: u64,
        new: u64,
        to: Option<u64>,
        keep: bool,
    },
    Brk {
        pages: u64,
    },
    Fork,
    Exit,
    Store {
        at: u64,
        word: usize,
        value: u64,
    },
    Load {
        at: u64,
    },
    Discard {
        at: u64,
        pages: u64,
    },
    Flag {
        at: u64,
        pages: u64,
        flag: u8,
    },
    Truncate {
        file: usize,
        len: u64,
    },
    WriteFile {
        file: usize,
        index: u64,
        word: usize,
        value: u64,
    },
    Background {
        budget: u32,
    },
}

fn sharing() -> impl Strategy<Value = Sharing> {
    prop_oneof![3 => Just(Sharing::Private), 2 => Just(Sharing::Shared)]
}

fn op() -> impl Strategy<Value = Op> {
    let at = || 0..WINDOW;
    let pages = || 1..9u64;
    // Mostly readable and writable, so that something happens.
    let access = || prop_oneof![4 => Just(3u8), 2 => 0..8u8];
    let file = prop::option::of((0..FILES, 0..6u64));
    prop_oneof![
        4 => (at(), pages(), access(), sharing(), file, any::<bool>()).prop_map(
            |(at, pages, access, sharing, file, fixed)| Op::Map { at, pages, access, sharing, file, fixed }),
        2 => (at(), pages()).prop_map(|(at, pages)| Op::Unmap { at, pages }),
        2 => (at(), pages(), access()).prop_map(|(at, pages, access)| Op::Protect { at, pages, access }),
        2 => (at(), pages(), pages(), prop::option::of(at()), any::<bool>()).prop_map(
            |(at, pages, new, to, keep)| Op::Remap { at, pages, new, to, keep }),
        1 => (0..6u64).prop_map(|pages| Op::Brk { pages }),
        2 => Just(Op::Fork),
        1 => Just(Op::Exit),
        12 => (0..WINDOW + 4, 0..2usize, 1..u64::MAX).prop_map(
            |(at, word, value)| Op::Store { at, word, value }),
        6 => (0..WINDOW + 4).prop_map(|at| Op::Load { at }),
        2 => (at(), pages()).prop_map(|(at, pages)| Op::Discard { at, pages }),
        1 => (at(), pages(), 0..4u8).prop_map(|(at, pages, flag)| Op::Flag { at, pages, flag }),
        1 => (0..FILES, 0..16u64).prop_map(|(file, half)| Op::Truncate { file, len: half * PAGE / 2 }),
        2 => (0..FILES, 0..6u64, 0..2usize, any::<u64>()).prop_map(
            |(file, index, word, value)| Op::WriteFile { file, index, word, value }),
        1 => (1..40u32).prop_map(|budget| Op::Background { budget }),
    ]
}

struct Run {
    machine: Machine,
    model: Model,
    files: Vec<ObjectId>,
    spaces: Vec<(SpaceId, ModelSpace, BTreeMap<u64, AreaFlags>)>,
}

impl Run {
    fn new(format: PteFormat, budget: u32) -> Run {
        let mut machine = Machine::new(format, 1500, 8);
        machine.budget = budget;
        let mut store = machine.memory.store(&mut machine.hw);
        let files = vec![
            store.create(4 * PAGE).unwrap(),
            store.create_from_image(100, 5 * PAGE + 100).unwrap(),
            store.create(PAGE / 2).unwrap(),
        ];
        let lens = [(4 * PAGE, None), (5 * PAGE + 100, Some(100)), (PAGE / 2, None)];
        let model = Model {
            files: lens
                .into_iter()
                .map(|(len, start)| ModelFile {
                    len,
                    pages: BTreeMap::new(),
                    image: start.map(|start| (start, len)),
                })
                .collect(),
        };
        let mut run = Run { machine, model, files, spaces: Vec::new() };
        run.first_space();
        run
    }

    fn first_space(&mut self) {
        let space = self.machine.space();
        self.machine.memory.set_heap_start(space, HEAP).unwrap();
        let model = ModelSpace { heap_end: HEAP, ..ModelSpace::default() };
        self.spaces.push((space, model, BTreeMap::new()));
    }

    /// The address of page `at`: in the window, or behind it in the heap.
    fn va(at: u64) -> u64 {
        if at < WINDOW { WINDOW_START + at * PAGE } else { HEAP + (at - WINDOW) * PAGE }
    }

    fn apply(&mut self, who: usize, op: &Op) {
        let count = self.spaces.len();
        let who = who % count;
        if std::env::var_os("TRACE_OPS").is_some() {
            eprintln!("{who}/{count} {op:?}");
        }
        let (id, space, flags) = &mut self.spaces[who];
        let id = *id;
        match *op {
            Op::Map { at, pages, access, sharing, file, fixed } => {
                let va = Run::va(at);
                let access = Access::from_bits_truncate(access);
                // A private mapping of the image's file without write access has no object yet.
                let may = if file.is_some_and(|(_, first)| first == 5) && sharing == Sharing::Shared
                {
                    Access::READ | Access::EXECUTE
                } else {
                    Access::all()
                };
                let access = access & may;
                let backing = match file {
                    Some((file, first)) => {
                        Backing::Object { object: self.files[file], offset: first * PAGE }
                    }
                    None => Backing::Anonymous,
                };
                let request = MapRequest {
                    placement: if fixed { Placement::Fixed(va) } else { Placement::Anywhere(va) },
                    may,
                    sharing,
                    backing,
                    ..MapRequest::anonymous(Placement::Anywhere(0), pages * PAGE - 17, access)
                };
                let start = self.machine.map(id, &request).unwrap();
                if fixed {
                    assert_eq!(start, va);
                } else {
                    let free = (0..pages).all(|n| !space.pages.contains_key(&(start / PAGE + n)));
                    assert!(free, "{start:#x} is in use");
                    let wanted = (0..pages).all(|n| !space.pages.contains_key(&(va / PAGE + n)));
                    assert_eq!(start == va, wanted);
                }
                let anonymous_file = (sharing == Sharing::Shared && file.is_none()).then(|| {
                    let len = pages * PAGE;
                    self.model.files.push(ModelFile { len, pages: BTreeMap::new(), image: None });
                    self.model.files.len() - 1
                });
                for n in 0..pages {
                    let content = match (file, anonymous_file) {
                        (Some((file, first)), _) => file_page(file, first + n, sharing),
                        (None, Some(file)) => file_page(file, n, sharing),
                        (None, None) => Content::Anonymous([0; 2]),
                    };
                    flags.remove(&(start / PAGE + n));
                    space.pages.insert(start / PAGE + n, ModelPage { access, may, content });
                }
            }
            Op::Unmap { at, pages } => {
                let va = Run::va(at);
                self.machine.unmap(id, va, pages * PAGE).unwrap();
                for vpn in va / PAGE..va / PAGE + pages {
                    space.pages.remove(&vpn);
                    flags.remove(&vpn);
                }
            }
            Op::Protect { at, pages, access } => {
                let va = Run::va(at);
                let access = Access::from_bits_truncate(access);
                let result = self.machine.protect(id, (va, pages * PAGE), access);
                let mut expected = Ok(());
                // A whole area is refused at once: what comes before it has changed.
                let mut changed = Vec::new();
                for vpn in va / PAGE..va / PAGE + pages {
                    match space.pages.get(&vpn) {
                        None => {
                            expected = Err(MapError::NotMapped);
                            break;
                        }
                        Some(page) if !page.may.contains(access) => {
                            expected = Err(MapError::Forbidden);
                            break;
                        }
                        Some(_) => changed.push(vpn),
                    }
                }
                assert_eq!(result, expected);
                for vpn in changed {
                    space.pages.get_mut(&vpn).unwrap().access = access;
                }
            }
            Op::Remap { at, pages, new, to, keep } => {
                let va = Run::va(at);
                let relocation = match to {
                    Some(to) => Relocation::MoveTo(Run::va(to)),
                    None => Relocation::MayMove,
                };
                let keep = keep && new == pages;
                let old_range = if keep { OldRange::Kept } else { OldRange::Unmapped };
                let result = self.machine.memory.remap(
                    &mut self.machine.hw,
                    id,
                    (va, pages * PAGE),
                    new * PAGE,
                    relocation,
                    old_range,
                );
                self.machine.finish(id);
                let moved: Vec<_> = (0..pages.min(new))
                    .map_while(|n| space.pages.get(&(va / PAGE + n)).copied())
                    .collect();
                let Ok(start) = result else { return };
                if to.is_none() && new < pages {
                    // Shrinks where it is, whatever lies in it.
                    assert_eq!(start, va);
                    for vpn in va / PAGE + new..va / PAGE + pages {
                        space.pages.remove(&vpn);
                        flags.remove(&vpn);
                    }
                    return;
                }
                assert_eq!(moved.len() as u64, pages.min(new), "moved a hole");
                if let Some(to) = to {
                    assert_eq!(start, Run::va(to));
                } else if start != va {
                    assert!((0..new).all(|n| !space.pages.contains_key(&(start / PAGE + n))));
                }
                let old_flags: Vec<_> =
                    (0..pages).map(|n| flags.get(&(va / PAGE + n)).copied()).collect();
                for n in 0..new {
                    space.pages.remove(&(start / PAGE + n));
                    flags.remove(&(start / PAGE + n));
                }
                for n in 0..pages {
                    let vpn = va / PAGE + n;
                    if keep {
                        space.pages.get_mut(&vpn).unwrap().content = Content::Anonymous([0; 2]);
                    } else {
                        space.pages.remove(&vpn);
                        flags.remove(&vpn);
                    }
                }
                let last = moved[moved.len() - 1];
                for n in 0..new {
                    let page = moved.get(n as usize).copied().unwrap_or_else(|| {
                        let further = n - (moved.len() as u64 - 1);
                        let content = match last.content {
                            Content::Anonymous(_) => Content::Anonymous([0; 2]),
                            Content::PrivateFile { file, index, .. } => {
                                Content::PrivateFile { file, index: index + further, own: None }
                            }
                            Content::Shared { file, index } => {
                                Content::Shared { file, index: index + further }
                            }
                        };
                        ModelPage { content, ..last }
                    });
                    space.pages.insert(start / PAGE + n, page);
                    let flag = old_flags.get(n as usize).or(old_flags.last()).copied().flatten();
                    if let Some(flag) = flag {
                        flags.insert(start / PAGE + n, flag);
                    }
                }
            }
            Op::Brk { pages } => {
                let end = HEAP + pages * PAGE + 5;
                let now = self.machine.memory.brk(&mut self.machine.hw, id, end).unwrap();
                self.machine.finish(id);
                let (old, new) = (space.heap_end.div_ceil(PAGE), end.div_ceil(PAGE));
                let blocked = new > old && (old..=new).any(|vpn| space.pages.contains_key(&vpn));
                assert_eq!(now == end, !blocked);
                if blocked {
                    assert_eq!(now, space.heap_end);
                    return;
                }
                for vpn in old..new {
                    let content = Content::Anonymous([0; 2]);
                    space.pages.insert(vpn, ModelPage { access: RW, may: Access::all(), content });
                    flags.remove(&vpn);
                }
                for vpn in new..old {
                    space.pages.remove(&vpn);
                    flags.remove(&vpn);
                }
                space.heap_end = end;
            }
            Op::Fork => {
                if count == 5 {
                    return;
                }
                let mut copy = space.clone();
                let copied_flags = flags.clone();
                for (&vpn, &flag) in &copied_flags {
                    if flag == AreaFlags::NO_FORK {
                        copy.pages.remove(&vpn);
                    } else if flag == AreaFlags::WIPE_ON_FORK
                        && let Some(page) = copy.pages.get_mut(&vpn)
                    {
                        page.content = Content::Anonymous([0; 2]);
                    }
                }
                let mut copied_flags = copied_flags;
                copied_flags.retain(|_, flag| *flag != AreaFlags::NO_FORK);
                let child = self.machine.fork(id);
                self.spaces.push((child, copy, copied_flags));
            }
            Op::Exit => {
                let (id, _, _) = self.spaces.swap_remove(who);
                self.machine.memory.destroy_space(id);
                if self.spaces.is_empty() {
                    self.first_space();
                }
            }
            Op::Store { at, word, value } => {
                let va = Run::va(at);
                let result = self.machine.store(id, va + OFFSETS[word], value);
                assert_eq!(result, self.model.store(space, va / PAGE, word, value));
            }
            Op::Load { at } => self.check(who, Run::va(at) / PAGE),
            Op::Discard { at, pages } => {
                let va = Run::va(at);
                let result = self.machine.memory.advise(
                    &mut self.machine.hw,
                    id,
                    va,
                    pages * PAGE,
                    Advice::DontNeed,
                );
                self.machine.finish(id);
                let mut holes = false;
                for vpn in va / PAGE..va / PAGE + pages {
                    match space.pages.get_mut(&vpn).map(|page| &mut page.content) {
                        Some(Content::Anonymous(words)) => *words = [0; 2],
                        Some(Content::PrivateFile { own, .. }) => *own = None,
                        Some(Content::Shared { .. }) => {}
                        None => holes = true,
                    }
                }
                assert_eq!(result, if holes { Err(MapError::NotMapped) } else { Ok(()) });
            }
            Op::Flag { at, pages, flag } => {
                let va = Run::va(at);
                let set = [
                    AreaFlags::empty(),
                    AreaFlags::NO_FORK,
                    AreaFlags::empty(),
                    AreaFlags::WIPE_ON_FORK,
                ];
                let mut set = set[usize::from(flag)];
                let vpns = va / PAGE..va / PAGE + pages;
                // The system call refuses WIPEONFORK for other memory.
                let anonymous = vpns.clone().all(|vpn| {
                    space.pages.get(&vpn).is_none_or(|p| matches!(p.content, Content::Anonymous(_)))
                });
                if set == AreaFlags::WIPE_ON_FORK && !anonymous {
                    set = AreaFlags::NO_FORK;
                }
                let both = AreaFlags::NO_FORK | AreaFlags::WIPE_ON_FORK;
                let result = self.machine.memory.advise(
                    &mut self.machine.hw,
                    id,
                    va,
                    pages * PAGE,
                    Advice::Set(set, both),
                );
                self.machine.finish(id);
                let covered = vpns.clone().all(|vpn| space.pages.contains_key(&vpn));
                assert_eq!(result.is_ok(), covered);
                for vpn in vpns.filter(|vpn| space.pages.contains_key(vpn)) {
                    flags.insert(vpn, set);
                }
            }
            Op::Truncate { file, len } => {
                self.machine
                    .memory
                    .store(&mut self.machine.hw)
                    .truncate(self.files[file], len)
                    .unwrap();
                self.model.files[file].truncate(len);
                for (_, space, _) in &mut self.spaces {
                    self.model.cut_private(space, file);
                }
            }
            Op::WriteFile { file, index, word, value } => {
                let at = index * PAGE + OFFSETS[word];
                let mut store = self.machine.memory.store(&mut self.machine.hw);
                assert_eq!(store.write(self.files[file], at, &value.to_le_bytes()), Ok(8));
                let model = &mut self.model.files[file];
                if at + 8 > model.len {
                    model.truncate(at + 8);
                }
                let mut words = model.words(index);
                words[word] = value;
                model.pages.insert(index, words);
            }
            Op::Background { budget } => {
                let _ = self
                    .machine
                    .memory
                    .run_background(&mut self.machine.hw, &mut Budget::new(budget));
            }
        }
        assert_eq!(self.machine.hw.violation(), None);
    }

    /// Compares one page with the model.
    fn check(&mut self, who: usize, vpn: u64) {
        let (id, space, _) = &self.spaces[who];
        let expected = self.model.load(space, vpn);
        for (word, offset) in OFFSETS.into_iter().enumerate() {
            let found = self.machine.load(*id, vpn * PAGE + offset);
            assert_eq!(
                found,
                expected.map(|words| words[word]),
                "page {vpn:#x} word {word} of {id:?}"
            );
        }
    }

    fn check_all(&mut self) {
        for who in 0..self.spaces.len() {
            let vpns: Vec<u64> = self.spaces[who].1.pages.keys().copied().collect();
            for &vpn in &vpns {
                self.check(who, vpn);
            }
            let id = self.spaces[who].0;
            let mapped: Vec<u64> = self
                .machine
                .memory
                .areas(id)
                .unwrap()
                .flat_map(|area| area.start / PAGE..area.end / PAGE)
                .collect();
            assert_eq!(mapped, vpns, "areas of {id:?}");
        }
        for (&object, file) in self.files.iter().zip(&self.model.files) {
            let mut store = self.machine.memory.store(&mut self.machine.hw);
            assert_eq!(store.len(object), Ok(file.len));
            let mut bytes = vec![0; file.len as usize];
            assert_eq!(store.read(object, 0, &mut bytes), Ok(bytes.len()));
            for index in 0..file.len.div_ceil(PAGE) {
                for (word, offset) in file.words(index).into_iter().zip(OFFSETS) {
                    let at = (index * PAGE + offset) as usize;
                    if let Some(found) = bytes.get(at..at + 8) {
                        assert_eq!(found, word.to_le_bytes(), "file page {index} at {offset}");
                    }
                }
            }
        }
    }

    /// Ends everything and checks that no frame and no object is left.
    fn end(mut self) {
        for (id, _, _) in std::mem::take(&mut self.spaces) {
            self.machine.memory.destroy_space(id);
        }
        for object in std::mem::take(&mut self.files) {
            self.machine.memory.store(&mut self.machine.hw).release(object);
        }
        self.machine.settle();
        assert_eq!(self.machine.used(), 0, "frames leak");
        assert_eq!(self.machine.memory.usage().objects, 0, "objects leak");
    }
}

fn run(format: PteFormat, budget: u32, ops: &[(usize, Op)]) {
    let mut run = Run::new(format, budget);
    for (n, (who, op)) in ops.iter().enumerate() {
        run.apply(*who, op);
        if n % 16 == 15 {
            run.check_all();
        }
    }
    run.check_all();
    run.end();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn memory_holds_what_the_model_says(
        budget in 1..80u32,
        ops in prop::collection::vec((0..5usize, op()), 1..120),
    ) {
        for format in FORMATS {
            run(format, budget, &ops);
        }
    }
}
