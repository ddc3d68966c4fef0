//! A peer that was lent futexes, driven message by message: honest orders that are rare, and answers that
//! are none.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use maize_arch_host::{Reg, Script};
use maize_core_sim::scripts::{
    FUTEX_PRIVATE, FUTEX_WAIT, FUTEX_WAKE, bump, end_thread, go, sleep, start_thread, wait_until,
    wake,
};
use maize_wire::Kind;

use super::fabric_hostile::{Duel, RUN, varint};

const TRAPPED: Kind = Kind(20);
const RECALL: Kind = Kind(37);
const RECALLED: Kind = Kind(38);

/// Traps as `Trapped` names them.
const SYSCALL: u8 = 0;
const WAITING: u8 = 5;

/// Numbers of x86_64's `futex` and `exit`.
const FUTEX: u64 = 202;
const EXIT: u64 = 60;

/// Turns that any answer comes within.
const PATIENCE: usize = 3_000;

/// Registers of an x86_64 thread, in the order of its state.
const REGISTERS: usize = 20;
const RAX: usize = 0;
const RDX: usize = 3;
const RSI: usize = 4;
const RDI: usize = 5;
const R10: usize = 10;
const RIP: usize = 16;

/// Takes a number off that postcard has written.
fn take_varint(rest: &mut &[u8]) -> u64 {
    let len = rest.iter().position(|byte| byte & 128 == 0).unwrap() + 1;
    let (bytes, others) = rest.split_at(len);
    *rest = others;
    bytes.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 127))
}

/// What is made of a recall of the futexes in a word's page.
type Answer = fn(Vec<u8>, u64) -> Vec<u8>;

/// A thread that was sent to the peer.
#[derive(Clone, Debug)]
struct Visitor {
    tid: u64,
    sequence: u64,
    regs: [u64; REGISTERS],
    /// Whether it has brought a futex that the peer is to serve.
    lent: bool,
}

impl Visitor {
    /// Of the body of a `Run`: request id, space, process, registers without their zeros, the rest, pages
    /// whose futexes are lent.
    fn of(body: &[u8]) -> Visitor {
        let mut rest = body;
        let [tid, sequence, ..] = [(); 5].map(|()| take_varint(&mut rest));
        let len = take_varint(&mut rest) as usize;
        // A byte for each eight words says which are not zero, behind how many there are.
        let mut packed = &rest[2..len];
        let mut regs = [0; REGISTERS];
        for words in regs.chunks_mut(8) {
            let (present, others) = packed.split_first().unwrap();
            packed = others;
            for (n, word) in words.iter_mut().enumerate() {
                if present >> n & 1 != 0 {
                    let (bytes, others) = packed.split_first_chunk().unwrap();
                    (*word, packed) = (u64::from_le_bytes(*bytes), others);
                }
            }
        }
        Visitor { tid, sequence, regs, lent: body.last() != Some(&0) }
    }

    /// The body of a `Trapped` by which it goes home, with a call of the program's.
    fn calls(&self, number: u64, args: [u64; 4], trap: u8) -> Vec<u8> {
        let mut regs = self.regs;
        let [first, second, third, fourth] = args;
        (regs[RAX], regs[RDI], regs[RSI]) = (number, first, second);
        (regs[RDX], regs[R10]) = (third, fourth);
        let mut packed = vec![REGISTERS as u8, 0];
        for words in regs.chunks(8) {
            packed.push(words.iter().rev().fold(0, |bits, word| bits << 1 | u8::from(*word != 0)));
            words
                .iter()
                .filter(|word| **word != 0)
                .for_each(|word| packed.extend(word.to_le_bytes()));
        }
        let head = [varint(self.tid), varint(self.sequence), varint(packed.len() as u64)].concat();
        // An FPU state without a word in it, the trap, no time used or shown.
        [head, packed, vec![2, 0, 0, trap, 0, 0]].concat()
    }

    /// One entry of a `RecalledFutexes`: it waits on `word`.
    fn waits_on(&self, word: u64) -> Vec<u8> {
        [varint(self.tid), varint(word), varint(u32::MAX.into())].concat()
    }
}

impl Duel {
    /// The next message of a kind.
    fn hear(&mut self, kind: Kind) -> Vec<u8> {
        for _ in 0..PATIENCE {
            if let Some(at) = self.heard.iter().position(|(heard, _)| *heard == kind) {
                return self.heard.remove(at).1;
            }
            self.run(1);
        }
        unreachable!("nothing of {kind:?}: {:?} {:#?}", self.status, self.kernel.counters());
    }

    fn arrival(&mut self) -> Visitor {
        Visitor::of(&self.hear(RUN))
    }

    fn futex(&mut self, who: &Visitor, address: u64, op: u64, value: u64) {
        let body = who.calls(FUTEX, [address, op | FUTEX_PRIVATE, value, 0], SYSCALL);
        assert!(self.say(TRAPPED, &body, false));
    }

    /// Has a visitor call about a futex until it is lent; it is at the peer then.
    fn borrow(&mut self, mut who: Visitor, word: u64) -> Visitor {
        for _ in 0..40 {
            if who.lent {
                return who;
            }
            self.futex(&who, word, FUTEX_WAKE, 1);
            who = self.arrival();
        }
        unreachable!("not lent: {:#?}", self.kernel.counters());
    }
}

/// A thread that goes to the peer; what it does there the test says.
fn guest(s: &mut Script) {
    go(s, 1);
    end_thread(s);
}

/// The answer to a recall names a thread that is not there, or is about another page: its sender is closed,
/// and all who had asked for the futex go on.
#[test]
fn whatever_a_recall_is_answered_nobody_waits_for_ever() {
    let answers: [Answer; 3] = [
        |recall, _| [recall, vec![0]].concat(),
        |recall, word| [recall, vec![1, 99], varint(word), varint(1)].concat(),
        |mut recall, _| {
            // The page is what a recall names last.
            *recall.last_mut().unwrap() ^= 1;
            [recall, vec![0]].concat()
        },
    ];
    for (right, answer) in [true, false, false].into_iter().zip(answers) {
        let mut s = Script::new();
        let (word, done) = (s.data(&[0; 4096]), s.data(&[0; 4096]));
        let (away, other) = (s.place(), s.place());
        start_thread(&mut s, 0, away);
        start_thread(&mut s, 1, other);
        sleep(&mut s, 2_000_000);
        wake(&mut s, word, 1);
        wait_until(&mut s, done, 1);
        s.print("home\n").exit(0);
        s.here(other);
        sleep(&mut s, 2_000_000);
        wake(&mut s, word, 1);
        bump(&mut s, done);
        end_thread(&mut s);
        s.here(away);
        guest(&mut s);

        let mut duel = Duel::new(&s);
        let who = duel.arrival();
        let who = duel.borrow(who, word);
        // The thread that the word was lent to ends: the process does not end with the peer.
        assert!(duel.say(TRAPPED, &who.calls(EXIT, [0; 4], SYSCALL), false));
        let recall = duel.hear(RECALL);
        duel.run(100);
        assert!(duel.say(RECALLED, &answer(recall, word), false));
        duel.run(PATIENCE);
        assert_eq!((duel.host.stdout(), duel.status), (b"home\n".to_vec(), Some(0)));
        assert_eq!(duel.kernel.peers().is_empty(), !right);
    }
}

/// A thread waits where its futex is lent to. The futex is called back and the thread is woken at home, but
/// before it is there others have called often enough for the page to be lent again: it was woken.
#[test]
fn who_was_woken_at_home_does_not_wait_anew_where_it_came_from() {
    let mut s = Script::new();
    let word = s.data(&[0; 4096]);
    let (waiter, caller) = (s.place(), s.place());
    start_thread(&mut s, 0, waiter);
    sleep(&mut s, 500_000);
    start_thread(&mut s, 1, caller);
    sleep(&mut s, 2_000_000);
    wake(&mut s, word, 1);
    s.expect(Reg::Ret, 1, 7);
    let spin = s.mark();
    sleep(&mut s, 100_000);
    s.jump(spin);
    for body in [waiter, caller] {
        s.here(body);
        guest(&mut s);
    }
    let mut duel = Duel::new(&s);
    let waiter = duel.arrival();
    let caller = duel.arrival();
    let caller = duel.borrow(caller, word + 64);
    let answer = [duel.hear(RECALL), vec![1], waiter.waits_on(word)].concat();
    assert!(duel.say(RECALLED, &answer, false));
    duel.run(20);
    duel.borrow(Visitor { lent: false, ..caller }, word + 64);
    // And now it comes.
    let waits = waiter.calls(FUTEX, [word, FUTEX_WAIT | FUTEX_PRIVATE, 0, 0], WAITING);
    assert!(duel.say(TRAPPED, &waits, false));
    let back = duel.arrival();
    assert_eq!((back.tid, duel.status), (waiter.tid, None));
    assert_eq!((back.regs[RAX], back.regs[RIP]), (0, waiter.regs[RIP]), "its wait is over");
}

/// A peer names a thread as one that waits, and sends it home with another call: it waits no more.
#[test]
fn who_comes_home_with_another_call_is_in_no_queue() {
    let mut s = Script::new();
    let word = s.data(&[0; 4096]);
    let away = s.place();
    start_thread(&mut s, 0, away);
    sleep(&mut s, 2_000_000);
    wake(&mut s, word + 8, 1);
    s.expect(Reg::Ret, 0, 6);
    sleep(&mut s, 2_000_000);
    // Nobody waits on the one, and one thread on the other.
    wake(&mut s, word, 1);
    s.expect(Reg::Ret, 0, 7);
    wake(&mut s, word + 64, 1);
    s.expect(Reg::Ret, 1, 8).print("one\n").exit(0);
    s.here(away);
    guest(&mut s);
    let mut duel = Duel::new(&s);
    let who = duel.arrival();
    let who = duel.borrow(who, word);
    let answer = [duel.hear(RECALL), vec![1], who.waits_on(word)].concat();
    assert!(duel.say(RECALLED, &answer, false));
    duel.run(20);
    duel.futex(&who, word + 64, FUTEX_WAIT, 0);
    duel.run(PATIENCE);
    // The process ends when the peer has sent the thread home, which it does not.
    assert_eq!((duel.host.stdout(), duel.status), (b"one\n".to_vec(), None));
}
