//! Programs with threads: what they share changes in ways whose order does not matter, or in steps that
//! a barrier or a condition orders, so that a program has one result whichever thread is faster.

use std::fmt::Write;

use super::Generator;

/// What every such program begins with. The host's compiler has no migration points.
const HEAD: &str = r"#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#ifdef __maize__
void __maize_migrate(void);
#else
#define __maize_migrate() ((void)0)
#endif
";

/// Ways to change what all threads share, with a value `v`.
const SHARED: [&str; 8] = [
    "atomic_fetch_add(&added, v);",
    "atomic_fetch_xor_explicit(&mixed, v * 31, memory_order_relaxed);",
    "for (U old = most; old < v && !atomic_compare_exchange_weak(&most, &old, v);) continue;",
    "pthread_mutex_lock(&lock); guarded += v; pairs[v % 4] ^= guarded - guarded + v; pthread_mutex_unlock(&lock);",
    "pthread_mutex_lock(&lock); guarded ^= f0(v, 1.5, &mine, 2) & 0; guarded += v >> 3; pthread_mutex_unlock(&lock);",
    "pthread_mutex_lock(&lock); list = push(v); pthread_mutex_unlock(&lock);",
    "while (atomic_flag_test_and_set(&spin)) sched_yield(); spun += v % 1000; atomic_flag_clear(&spin);",
    "to[me][v % CELLS] += v;",
];

impl Generator {
    /// A program of several threads, with the C library; the host's compiler takes it too.
    pub(crate) fn threads(seed: u64) -> String {
        let mut this = Self::new(seed ^ 0x7468_7265_6164, false);
        let (threads, phases) = (this.random.u8(2..6), this.random.u8(2..5));
        this.text += HEAD;
        this.text += "#include <sched.h>\n#include <stdlib.h>\n";
        let last = this.functions() - 1;
        let _ = writeln!(
            this.text,
            "enum {{ THREADS = {threads}, PHASES = {phases}, CELLS = 8 }};\n\
             static U cells[2][THREADS][CELLS], guarded, chained, spun, pairs[4], turns;\n\
             static _Atomic U added, mixed, most;\nstatic atomic_flag spin = ATOMIC_FLAG_INIT;\n\
             static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;\n\
             static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;\n\
             static pthread_barrier_t barrier;\n\
             static struct Item {{ struct Item *next; U value; }} *list;\n\
             static struct Item *push(U value) {{\n  struct Item *item = malloc(sizeof *item);\n\
             \x20 item->next = list;\n  item->value = value;\n  return item;\n}}\n\
             static void *work(void *argument) {{\n  U me = (U)argument, mine = me * 77 + 1;\n\
             \x20 for (U phase = 0; phase < PHASES; phase++) {{\n\
             \x20   U (*from)[CELLS] = cells[phase & 1], (*to)[CELLS] = cells[~phase & 1], v;\n\
             \x20   for (U i = 0; i < CELLS; i++)\n\
             \x20     to[me][i] = f{last}(from[(me + phase + 1) % THREADS][i], i * 0.75, &mine, 3)\n\
             \x20                 + from[me][i * 3 % CELLS];"
        );
        for _ in 0..this.random.u8(3..8) {
            let function = this.random.usize(..=last);
            let (cell, factor) = (this.random.u8(..8), this.random.u16(1..));
            let change = this.pick(&SHARED);
            let _ = writeln!(
                this.text,
                "    v = f{function}(to[me][{cell}] * {factor}, 2.5, &mine, 2);\n    {change}"
            );
        }
        let step = this.pick(&["pthread_barrier_wait(&barrier);", TAKE_TURNS]);
        let _ = writeln!(
            this.text,
            "    {step}\n    pthread_barrier_wait(&barrier);\n  }}\n\
             \x20 return (void *)(mine ^ made);\n}}\n\
             int main(void) {{\n  pthread_t all[THREADS];\n  U sum = 0, items = 0;\n\
             \x20 pthread_barrier_init(&barrier, NULL, THREADS);"
        );
        for function in 0..=last {
            let _ = writeln!(this.text, "  table[{function}] = f{function};");
        }
        this.text += "  for (U i = 1; i < THREADS; i++) pthread_create(&all[i], NULL, work, (void *)i);\n\
                      \x20 sum = (U)work(NULL);\n\
                      \x20 for (U i = 1; i < THREADS; i++) {\n    void *result;\n\
                      \x20   pthread_join(all[i], &result);\n    sum = sum * 31 + (U)result;\n  }\n\
                      \x20 for (U i = 0; i < 2 * THREADS * CELLS; i++) sum = sum * 31 + (&cells[0][0][0])[i];\n\
                      \x20 for (struct Item *item = list; item; item = item->next) items += item->value;\n\
                      \x20 printf(\"%lx %lx %lx %lx %lx %lx %lx %lx %lx\\n\", sum, items, added, mixed, most,\n\
                      \x20        guarded, chained, spun, turns);\n\
                      \x20 return printf(\"%lx %lx %lx %lx\\n\", pairs[0], pairs[1], pairs[2], pairs[3]) < 0;\n}\n";
        this.text
    }
}

/// Each thread waits for the one before it, and changes what depends on their order.
const TAKE_TURNS: &str = "pthread_mutex_lock(&lock);\n\
    \x20   while (turns % THREADS != me) pthread_cond_wait(&turned, &lock);\n\
    \x20   chained = chained * 31 + f0(chained, 0.5, &mine, 2);\n    turns++;\n\
    \x20   pthread_cond_broadcast(&turned);\n    pthread_mutex_unlock(&lock);";
