//! What the processor can do for user code: `AT_HWCAP`, `AT_HWCAP2` and `/proc/cpuinfo`, from its
//! identification registers.
//!
//! The bits are Linux's (`uapi/asm/hwcap.h`), set where Linux sets them, less what this kernel does
//! not keep for user code: SVE and SME (state not saved), pointer authentication (no keys), branch
//! targets and memory tagging (no such mappings), and reads of identification registers (not
//! emulated, so `HWCAP_CPUID` stays off and programs do not try).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// The processor's identification registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the architecture's, without ID_AA64 and _EL1")]
pub struct IdRegisters {
    pub midr: u64,
    pub isar0: u64,
    pub isar1: u64,
    pub isar2: u64,
    pub pfr0: u64,
    pub pfr1: u64,
    pub mmfr0: u64,
    pub mmfr1: u64,
    pub mmfr2: u64,
}

#[derive(Clone, Copy)]
enum Register {
    Isar0,
    Isar1,
    Isar2,
    Pfr0,
    Pfr1,
    Mmfr0,
    Mmfr1,
    Mmfr2,
}

/// One capability: the bit (from 64 on in `AT_HWCAP2`) and name, and the field that shows it.
struct Capability {
    bit: u32,
    name: &'static str,
    register: Register,
    shift: u32,
    /// Smallest value of the 4-bit field that has it.
    least: i8,
    /// Fields of floating point count from -1 (absent).
    signed: bool,
}

const fn cap(
    bit: u32,
    name: &'static str,
    register: Register,
    shift: u32,
    least: i8,
) -> Capability {
    let signed = matches!((register, shift), (Register::Pfr0, 16 | 20));
    Capability { bit, name, register, shift, least, signed }
}

/// Where `AT_HWCAP2` begins.
const SECOND: u32 = 64;

/// In the order of the bits, which is the order of `/proc/cpuinfo`.
const CAPABILITIES: &[Capability] = &[
    cap(0, "fp", Register::Pfr0, 16, 0),
    cap(1, "asimd", Register::Pfr0, 20, 0),
    cap(3, "aes", Register::Isar0, 4, 1),
    cap(4, "pmull", Register::Isar0, 4, 2),
    cap(5, "sha1", Register::Isar0, 8, 1),
    cap(6, "sha2", Register::Isar0, 12, 1),
    cap(7, "crc32", Register::Isar0, 16, 1),
    cap(8, "atomics", Register::Isar0, 20, 2),
    cap(9, "fphp", Register::Pfr0, 16, 1),
    cap(10, "asimdhp", Register::Pfr0, 20, 1),
    cap(12, "asimdrdm", Register::Isar0, 28, 1),
    cap(13, "jscvt", Register::Isar1, 12, 1),
    cap(14, "fcma", Register::Isar1, 16, 1),
    cap(15, "lrcpc", Register::Isar1, 20, 1),
    cap(16, "dcpop", Register::Isar1, 0, 1),
    cap(17, "sha3", Register::Isar0, 32, 1),
    cap(18, "sm3", Register::Isar0, 36, 1),
    cap(19, "sm4", Register::Isar0, 40, 1),
    cap(20, "asimddp", Register::Isar0, 44, 1),
    cap(21, "sha512", Register::Isar0, 12, 2),
    cap(23, "asimdfhm", Register::Isar0, 48, 1),
    cap(24, "dit", Register::Pfr0, 48, 1),
    cap(25, "uscat", Register::Mmfr2, 32, 1),
    cap(26, "ilrcpc", Register::Isar1, 20, 2),
    cap(27, "flagm", Register::Isar0, 52, 1),
    cap(28, "ssbs", Register::Pfr1, 4, 2),
    cap(29, "sb", Register::Isar1, 36, 1),
    cap(SECOND, "dcpodp", Register::Isar1, 0, 2),
    cap(SECOND + 7, "flagm2", Register::Isar0, 52, 2),
    cap(SECOND + 8, "frint", Register::Isar1, 32, 1),
    cap(SECOND + 13, "i8mm", Register::Isar1, 52, 1),
    cap(SECOND + 14, "bf16", Register::Isar1, 44, 1),
    cap(SECOND + 15, "dgh", Register::Isar1, 48, 1),
    cap(SECOND + 16, "rng", Register::Isar0, 60, 1),
    cap(SECOND + 19, "ecv", Register::Mmfr0, 60, 1),
    cap(SECOND + 20, "afp", Register::Mmfr1, 44, 1),
    cap(SECOND + 21, "rpres", Register::Isar2, 4, 1),
    cap(SECOND + 31, "wfxt", Register::Isar2, 0, 2),
];

impl IdRegisters {
    const fn field(&self, register: Register, shift: u32) -> u8 {
        let value = match register {
            Register::Isar0 => self.isar0,
            Register::Isar1 => self.isar1,
            Register::Isar2 => self.isar2,
            Register::Pfr0 => self.pfr0,
            Register::Pfr1 => self.pfr1,
            Register::Mmfr0 => self.mmfr0,
            Register::Mmfr1 => self.mmfr1,
            Register::Mmfr2 => self.mmfr2,
        };
        (value >> shift & 0xf) as u8
    }

    fn has(&self, capability: &Capability) -> bool {
        let raw = self.field(capability.register, capability.shift) as i8;
        let value = if capability.signed && raw >= 8 { raw - 16 } else { raw };
        value >= capability.least
    }

    /// `AT_HWCAP` and `AT_HWCAP2`.
    #[must_use]
    pub fn hwcap(&self) -> [u64; 2] {
        let all = CAPABILITIES.iter().filter(|c| self.has(c)).fold(0_u128, |a, c| a | 1 << c.bit);
        [all as u64, (all >> SECOND) as u64]
    }

    /// Whether `RNDR` gives random numbers.
    #[must_use]
    pub const fn has_random(&self) -> bool {
        self.field(Register::Isar0, 60) >= 1
    }

    /// Bits of `FPCR` that a program may set: rounding, default NaN, flush to zero, alternative
    /// half precision, trap enables, and the alternative behaviours where the processor has them.
    #[must_use]
    pub const fn fpcr_mask(&self) -> u32 {
        const ALWAYS: u32 = 0x07c0_9f00;
        const FZ16: u32 = 1 << 19;
        const ALTERNATIVE: u32 = 7;
        let half = if matches!(self.field(Register::Pfr0, 16), 1..8) { FZ16 } else { 0 };
        let alternative = if self.field(Register::Mmfr1, 44) >= 1 { ALTERNATIVE } else { 0 };
        ALWAYS | half | alternative
    }

    /// `/proc/cpuinfo`'s lines; `ticks_per_second` is the timer's frequency.
    #[must_use]
    pub fn describe(&self, ticks_per_second: u64) -> Vec<(&'static str, String)> {
        let mut features = String::new();
        for capability in CAPABILITIES.iter().filter(|c| self.has(c)) {
            let separator = if features.is_empty() { "" } else { " " };
            let _ = write!(features, "{separator}{}", capability.name);
        }
        let hex = |value: u64| alloc::format!("{value:#x}");
        // Linux's loops per jiffy come from the timer here, and a loop is two "MIPS".
        let mips =
            alloc::format!("{}.{:02}", ticks_per_second / 500_000, ticks_per_second / 5_000 % 100);
        alloc::vec![
            ("BogoMIPS", mips),
            ("Features", features),
            ("CPU implementer", alloc::format!("{:#04x}", self.midr >> 24 & 0xff)),
            ("CPU architecture", String::from("8")),
            ("CPU variant", hex(self.midr >> 20 & 0xf)),
            ("CPU part", alloc::format!("{:#05x}", self.midr >> 4 & 0xfff)),
            ("CPU revision", alloc::format!("{}", self.midr & 0xf)),
        ]
    }
}

/// Bits of `FPSR` that a program may set: the sticky exception flags, saturation and the AArch32
/// condition flags.
pub const FPSR_MASK: u32 = 0xf800_009f;

#[cfg(test)]
mod tests {
    use super::*;

    /// A Cortex-A57 (r1p3), whose `Features` under Linux are known.
    const A57: IdRegisters = IdRegisters {
        midr: 0x411f_d073,
        isar0: 0x1_1120,
        isar1: 0,
        isar2: 0,
        pfr0: 0x2222,
        pfr1: 0,
        mmfr0: 0x1124,
        mmfr1: 0,
        mmfr2: 0,
    };

    fn line(all: &[(&str, String)], name: &str) -> String {
        all.iter().find(|(n, _)| *n == name).unwrap().1.clone()
    }

    #[test]
    fn a_cortex_a57_is_described_as_linux_does() {
        let lines = A57.describe(62_500_000);
        assert_eq!(line(&lines, "Features"), "fp asimd aes pmull sha1 sha2 crc32");
        assert_eq!(line(&lines, "BogoMIPS"), "125.00");
        assert_eq!(line(&lines, "CPU implementer"), "0x41");
        assert_eq!(line(&lines, "CPU part"), "0xd07");
        assert_eq!(line(&lines, "CPU revision"), "3");
        assert_eq!(A57.hwcap(), [0xfb, 0]);
        assert_eq!(A57.fpcr_mask(), 0x07c0_9f00);
        assert!(!A57.has_random());
    }

    #[test]
    fn everything_at_once_stays_inside_what_is_kept_for_programs() {
        let all = IdRegisters {
            midr: 0,
            isar0: u64::MAX,
            isar1: u64::MAX,
            isar2: u64::MAX,
            // Floating point's fields are signed: all ones says absent.
            pfr0: !0x00ff_0000 | 0x0011_0000,
            pfr1: u64::MAX,
            mmfr0: u64::MAX,
            mmfr1: u64::MAX,
            mmfr2: u64::MAX,
        };
        const EVTSTRM: u64 = 1 << 2;
        const CPUID: u64 = 1 << 11;
        const SVE: u64 = 1 << 22;
        const PACA_PACG: u64 = 3 << 30;
        let [first, second] = all.hwcap();
        assert_eq!(first & (EVTSTRM | CPUID | SVE | PACA_PACG), 0);
        const BTI_MTE: u64 = 3 << 17;
        const SVE2_AND_ON: u64 = 0x7e;
        assert_eq!(second & (BTI_MTE | SVE2_AND_ON), 0);
        let without = IdRegisters { pfr0: 0x00ff_0000, ..IdRegisters::default() };
        assert_eq!(without.hwcap(), [0, 0]);
    }
}
