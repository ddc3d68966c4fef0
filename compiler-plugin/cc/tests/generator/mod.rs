//! Random programs without undefined behaviour: each has one result.

mod threads;

use std::fmt::Write;

use fastrand::Rng;

/// Writes a program whose functions hold values of many types across calls that may move.
pub(crate) struct Generator {
    random: Rng,
    text: String,
    /// Whether `long double`, which the host's compiler has another of, may be used.
    has_quads: bool,
}

const INTEGERS: [&str; 4] = ["a", "b", "c", "*p"];
const DOUBLES: [&str; 3] = ["x", "y", "box.weight"];

impl Generator {
    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        self.random.choice(from.iter().copied()).unwrap_or_default()
    }

    /// An integer expression without undefined behaviour: all arithmetic is unsigned.
    fn integer(&mut self, depth: u32) -> String {
        if depth == 0 || self.random.u8(..4) == 0 {
            return match self.random.u8(..4) {
                0 => format!("{}ul", self.random.u16(..)),
                1 => format!("room[{}]", self.random.u8(..4)),
                2 => "(U)box.key".to_owned(),
                _ => self.pick(&INTEGERS).to_owned(),
            };
        }
        let (left, right) = (self.integer(depth - 1), self.integer(depth - 1));
        match self.random.u8(..7) {
            0 => format!("({left} + {right})"),
            1 => format!("({left} - {right})"),
            2 => format!("({left} * {right})"),
            3 => format!("({left} ^ {right} >> {})", self.random.u8(1..60)),
            4 => format!("({left} / ({right} | 1))"),
            5 => format!("({left} < {right} ? {left} : {right})"),
            _ => format!("(U)(int)({left} & {right})"),
        }
    }

    fn double(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.pick(&DOUBLES).to_owned();
        }
        let (left, right) = (self.double(depth - 1), self.double(depth - 1));
        match self.random.u8(..4) {
            0 => format!("({left} + {right})"),
            1 => format!("({left} * 0.5 - {right})"),
            2 => format!("(double)({} & 1023)", self.integer(1)),
            _ => format!("({left} < {right} ? {left} : {right} * 0.25)"),
        }
    }

    fn call(&mut self, function: usize) -> String {
        let callee = match self.random.u8(..4) {
            0 => format!("table[{} % {function}]", self.integer(1)),
            _ => format!("f{}", self.random.usize(..function)),
        };
        let place = self.pick(&["p", "&a", "&room[1]", "&room[3]"]);
        format!("{callee}({}, {}, {place}, n - 1)", self.integer(1), self.double(1))
    }

    fn statement(&mut self, function: usize, depth: u32) {
        let kind = match self.random.u8(..if depth == 0 { 7 } else { 10 }) {
            5 if !self.has_quads => 6,
            kind => kind,
        };
        let line = match kind {
            0 => format!("{} = {};", self.pick(&INTEGERS), self.integer(3)),
            1 => format!("{} = {};", self.pick(&DOUBLES), self.double(2)),
            2 => format!("room[{} & 3] ^= {};", self.integer(1), self.integer(2)),
            3 if function > 0 => format!("{} += {};", self.pick(&INTEGERS), self.call(function)),
            4 => "__maize_migrate();".to_owned(),
            5 => format!("long_sum += (long double)({}) * 0.125L;", self.double(1)),
            6 => {
                format!("box = (struct Box){{{}, {}, {{1, 2}}}};", self.integer(1), self.double(1))
            }
            _ => String::new(),
        };
        let _ = writeln!(self.text, "  {line}");
        match kind {
            7 => {
                let condition = self.integer(2);
                let _ = writeln!(self.text, "  if ({condition} & 1) {{");
                self.block(function, depth - 1);
                let _ = writeln!(self.text, "  }} else {{");
                self.block(function, depth - 1);
                let _ = writeln!(self.text, "  }}");
            }
            8 => {
                let rounds = self.random.u8(2..6);
                let _ = writeln!(
                    self.text,
                    "  for (int i{depth} = 0; i{depth} < {rounds}; i{depth}++) {{"
                );
                self.block(function, depth - 1);
                let _ = writeln!(self.text, "  }}");
            }
            9 => {
                let value = self.integer(1);
                let _ = writeln!(self.text, "  switch ({value} & 3) {{");
                for case in 0..3 {
                    let _ = writeln!(self.text, "  case {case}: {{");
                    self.block(function, depth - 1);
                    let end = self.pick(&["break;", ""]);
                    let _ = writeln!(self.text, "  }} {end}");
                }
                let _ = writeln!(self.text, "  }}");
            }
            _ => {}
        }
    }

    fn block(&mut self, function: usize, depth: u32) {
        for _ in 0..self.random.u8(1..4) {
            self.statement(function, depth);
        }
    }

    fn new(seed: u64, has_quads: bool) -> Self {
        Self { random: Rng::with_seed(seed), text: String::new(), has_quads }
    }

    /// What all functions share, and functions that call those before them; how many.
    fn functions(&mut self) -> usize {
        let functions = self.random.usize(3..7);
        self.text += "typedef unsigned long U;\n\
                      struct Box { long key; double weight; short tag[2]; };\n\
                      static _Thread_local U made;\n\
                      typedef U (*F)(U, double, U *, int);\nstatic F table[8];\n";
        for function in 0..functions {
            let _ = writeln!(
                self.text,
                "static __attribute__((noinline)) U f{function}(U a, double x, U *p, int n) {{\n\
                 \x20 U b = a * 3 + 1, c = made++, room[4] = {{a, b, c, 7}};\n\
                 \x20 double y = x * 0.5;\n  struct Box box = {{(long)b, x, {{3, 4}}}};\n\
                 \x20 if (n <= 0) return a ^ *p;"
            );
            for _ in 0..self.random.u8(4..9) {
                self.statement(function, 2);
            }
            let (integer, double) = (self.integer(2), self.double(1));
            let _ = writeln!(
                self.text,
                "  return {integer} + (U)({double} < 1e6 ? 1 : 2) + room[2] + box.tag[1];\n}}"
            );
        }
        functions
    }

    /// A program of one thread, without a C library.
    pub(crate) fn program(seed: u64) -> String {
        let mut this = Self::new(seed, true);
        this.text += "#include \"start.h\"\nstatic long double long_sum;\n";
        let functions = this.functions();
        let _ = writeln!(this.text, "int main(void) {{\n  U start = 5, sum = 0;");
        for function in 0..functions {
            let _ = writeln!(this.text, "  table[{function}] = f{function};");
        }
        let _ = writeln!(
            this.text,
            "  for (int i = 0; i < 3; i++) sum = sum * 31 + f{}(i, i * 1.5, &start, 4);\n\
             \x20 print(\"%lx %lx %lx %a\\n\", sum, start, made, (double)long_sum);\n  return 0;\n}}",
            functions - 1
        );
        this.text
    }
}
