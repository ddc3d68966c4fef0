//! System calls with arguments that make no sense: named errors, never a panic.

use maize_abi::Isa;
use maize_abi::isa::{aarch64::Aarch64, x86_64::X86_64};
use maize_arch_host::{CODE, DATA, Reg, Script, ScriptRegs};
use maize_core_sim::{Sim, root_with};
use proptest::prelude::*;

/// One system call: number and arguments.
type Call = [u64; 7];

/// Values that are near a bound of something, and some that are not.
fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0_u64..16,
        2 => prop::sample::select(vec![
            u64::MAX, u64::MAX - 4095, i64::MAX as u64, i64::MIN as u64,
            0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 4096, 4097, 1 << 20, 1 << 40,
            0x7fff_ffff_e000, 0x7fff_ffff_f000, 0xffff_ffff_f000, 0xffff_8000_0000_0000,
            (-100_i64) as u64,
        ]),
        4 => (0_u64..0x10_0000).prop_map(|n| DATA + n),
        1 => (0_u64..0x2000).prop_map(|n| CODE + n),
        1 => any::<u64>(),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let number = prop_oneof![20 => 0_u64..460, 1 => any::<u64>()];
    (number, prop::array::uniform6(argument()))
        .prop_map(|(nr, a)| [nr, a[0], a[1], a[2], a[3], a[4], a[5]])
}

/// Makes the calls one after another. Strings and numbers to point at lie in the data.
fn script(calls: &[Call]) -> Script {
    let mut s = Script::new();
    s.data(b"/program\0/proc/self/maps\0/tmp/x\0..\0");
    s.data(&[1, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    for call in calls {
        for (n, value) in call[1..].iter().enumerate() {
            s.imm(Reg::A(n as u8), *value);
        }
        s.imm(Reg::Nr, call[0]).raw_syscall();
    }
    s.exit(0);
    s
}

/// Steps after which a program that waits for what never comes is left alone.
const STEPS: u64 = 20_000;

fn survives<I: Isa>(calls: &[Call], seed: u64)
where
    I::Regs: ScriptRegs,
{
    let mut sim = Sim::<I>::new(&root_with::<I>(&script(calls)), seed);
    // Waiting for ever, ending early and running long are all in order; panicking is not.
    let _ = sim.run(STEPS);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_call_panics_on_x86_64(calls in prop::collection::vec(call(), 1..24), seed: u64) {
        survives::<X86_64>(&calls, seed);
    }

    #[test]
    fn no_call_panics_on_aarch64(calls in prop::collection::vec(call(), 1..24), seed: u64) {
        survives::<Aarch64>(&calls, seed);
    }
}
