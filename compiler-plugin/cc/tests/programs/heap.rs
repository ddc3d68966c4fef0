//! A program in Rust without the standard library: ordered maps, trait objects, formatted text,
//! strings and vectors on the C library's heap. What it prints is the same everywhere.
#![cfg_attr(target_os = "none", no_std)]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::RefCell;
use core::ffi::{c_int, c_void};
use core::fmt::{self, Write};

unsafe extern "C" {
    fn aligned_alloc(alignment: usize, bytes: usize) -> *mut c_void;
    fn free(memory: *mut c_void);
    fn write(file: c_int, bytes: *const c_void, length: usize) -> isize;
    #[cfg(target_os = "none")]
    fn abort() -> !;
}

/// The C library's heap.
struct Heap;

// SAFETY: the C library's functions do what is asked of them, for any power of two from 16 on.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let alignment = layout.align().max(16);
        // SAFETY: the alignment is a power of two and divides the length.
        unsafe { aligned_alloc(alignment, layout.size().next_multiple_of(alignment)).cast() }
    }

    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: it came from `alloc`.
        unsafe { free(memory.cast()) }
    }
}

#[global_allocator]
static HEAP: Heap = Heap;

// On the host, for comparison, the standard library brings one.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(Output, "{info}");
    // SAFETY: it may be called at any time.
    unsafe { abort() }
}

/// The standard output.
struct Output;

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the text is as long as it says.
        let written = unsafe { write(1, text.as_ptr().cast(), text.len()) };
        if written == text.len() as isize { Ok(()) } else { Err(fmt::Error) }
    }
}

trait Shape {
    fn area(&self) -> f64;
    fn name(&self) -> String;
    fn grow(&mut self, by: f64);
}

#[derive(Debug, Clone)]
struct Rectangle(f64, f64);

#[derive(Debug, Clone)]
struct Polygon {
    corners: Vec<(f64, f64)>,
}

impl Shape for Rectangle {
    fn area(&self) -> f64 {
        self.0 * self.1
    }
    fn name(&self) -> String {
        format!("{self:?}")
    }
    fn grow(&mut self, by: f64) {
        self.0 *= by;
        self.1 *= by;
    }
}

impl Shape for Polygon {
    fn area(&self) -> f64 {
        let next = self.corners.iter().cycle().skip(1);
        let twice: f64 = self.corners.iter().zip(next).map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum();
        twice / 2.0
    }
    fn name(&self) -> String {
        format!("polygon of {}", self.corners.len())
    }
    fn grow(&mut self, by: f64) {
        self.corners.iter_mut().for_each(|(x, y)| (*x, *y) = (*x * by, *y * by));
    }
}

fn shapes(output: &mut dyn Write) -> fmt::Result {
    let corners =
        (0..6).map(|i| (f64::from(i % 3) * 1.5, f64::from(i / 3 * (3 - i % 3)))).collect();
    let mut all: Vec<Box<dyn Shape>> =
        alloc::vec![Box::new(Rectangle(2.0, 3.25)), Box::new(Polygon { corners })];
    for round in 1..4 {
        for shape in &mut all {
            shape.grow(1.0 + f64::from(round) / 8.0);
        }
        let line: Vec<String> =
            all.iter().map(|s| format!("{} {:.6}", s.name(), s.area())).collect();
        writeln!(output, "{round:>3} {}", line.join("; "))?;
    }
    Ok(())
}

fn words(output: &mut dyn Write) -> fmt::Result {
    let text = "the quick brown fox jumps over the lazy dog and the dog sleeps while the fox runs";
    let mut counts: BTreeMap<&str, (u32, BTreeSet<usize>)> = BTreeMap::new();
    for (at, word) in text.split(' ').enumerate() {
        let entry = counts.entry(word).or_default();
        entry.0 += 1;
        entry.1.insert(at);
    }
    let mut order: Vec<_> = counts.iter().collect();
    order.sort_by(|a, b| b.1.0.cmp(&a.1.0).then_with(|| b.0.cmp(a.0)));
    for (word, (count, places)) in order.iter().take(4) {
        writeln!(output, "{word:<8}|{count:^5}|{places:?}")?;
    }
    let range: Vec<_> = counts.range("g".."s").map(|(word, _)| word.to_uppercase()).collect();
    writeln!(output, "{range:?}")
}

/// A tree whose nodes know their parents' sum.
struct Node {
    key: u64,
    seen: Rc<RefCell<u64>>,
    children: [Option<Box<Node>>; 2],
}

impl Node {
    fn insert(&mut self, key: u64) -> usize {
        *self.seen.borrow_mut() += 1;
        let side = usize::from(key > self.key);
        match &mut self.children[side] {
            Some(child) => 1 + child.insert(key),
            empty => {
                let seen = Rc::clone(&self.seen);
                *empty = Some(Box::new(Node { key, seen, children: [None, None] }));
                1
            }
        }
    }

    fn visit(&self, depth: usize, f: &mut dyn FnMut(usize, u64)) {
        for (side, child) in self.children.iter().enumerate() {
            if side == 1 {
                f(depth, self.key);
            }
            if let Some(child) = child {
                child.visit(depth + 1, f);
            }
        }
    }
}

fn tree(output: &mut dyn Write) -> fmt::Result {
    let seen = Rc::new(RefCell::new(0));
    let mut root = Node { key: 1 << 30, seen: Rc::clone(&seen), children: [None, None] };
    let mut key = 1_u64;
    let mut deepest = 0;
    for _ in 0..300 {
        key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        deepest = deepest.max(root.insert(key >> 33));
    }
    let (mut last, mut ordered, mut sum) = (0, true, 0_u128);
    root.visit(0, &mut |depth, key| {
        ordered &= key >= last;
        last = key;
        sum += u128::from(key) * depth as u128;
    });
    writeln!(output, "ordered {ordered}, deepest {deepest}, seen {}, sum {sum}", seen.borrow())
}

fn numbers(output: &mut dyn Write) -> fmt::Result {
    let mut heap: BinaryHeap<(u32, String)> = BinaryHeap::new();
    let mut queue: VecDeque<u32> = (1..40).collect();
    while let Some(number) = queue.pop_front() {
        if number % 3 == 0 && number < 1000 {
            queue.push_back(number * 2 + 1);
        }
        heap.push((number.wrapping_mul(2_654_435_761) >> 20, number.to_string()));
    }
    let first: Vec<String> =
        (0..6).filter_map(|_| heap.pop()).map(|(a, b)| format!("{a}:{b}")).collect();
    writeln!(output, "{} {}", first.join(" "), heap.len())?;
    let parsed: Result<Vec<i64>, _> =
        "12 -7 9000000000 x".split(' ').map(str::parse::<i64>).collect();
    writeln!(output, "{parsed:?} {:#010x} {:e} {:?}", 48_879, 1234.5_f64, f32::MIN_POSITIVE)?;
    writeln!(output, "{:?} {:?}", 7_u32.checked_sub(8), char::from_u32(0x1f33d))
}

#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const u8) -> c_int {
    let output = &mut Output;
    let done = shapes(output).and_then(|()| words(output)).and_then(|()| tree(output));
    c_int::from(done.and_then(|()| numbers(output)).is_err())
}
