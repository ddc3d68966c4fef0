//! Processor features: turning on what protects the kernel and what programs may use, and telling
//! programs about it.
#![allow(unsafe_code, reason = "control registers")]

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use raw_cpuid::{CpuId, CpuIdReaderNative};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};

use crate::xstate::XState;

type Cpuid = CpuId<CpuIdReaderNative>;

/// What the kernel itself asks of a processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// `rdfsbase` and its family.
    pub(crate) fsgsbase: bool,
    /// XSAVE with these components available, as CPUID says.
    pub(crate) xsave: Option<u64>,
    pub(crate) rdrand: bool,
    /// `AT_HWCAP`: CPUID leaf 1's edx.
    pub(crate) hwcap: u32,
}

impl Features {
    pub(crate) fn detect() -> Features {
        let id = CpuId::new();
        let basic = id.get_feature_info();
        let extended = id.get_extended_feature_info();
        let components = || {
            let leaf = raw_cpuid::cpuid!(0xd, 0);
            u64::from(leaf.edx) << 32 | u64::from(leaf.eax)
        };
        let xsave = basic.as_ref().is_some_and(raw_cpuid::FeatureInfo::has_xsave).then(components);
        Features {
            fsgsbase: extended.as_ref().is_some_and(raw_cpuid::ExtendedFeatures::has_fsgsbase),
            xsave,
            rdrand: basic.as_ref().is_some_and(raw_cpuid::FeatureInfo::has_rdrand),
            hwcap: raw_cpuid::cpuid!(1).edx,
        }
    }

    /// Turns on what there is: the kernel cannot execute (SMEP) or reach (SMAP) user memory, user
    /// code cannot read descriptor-table addresses (UMIP), pages of the kernel stay in the TLB
    /// (PGE), programs may use their FPU and set their segment bases.
    pub(crate) fn turn_on(&self) {
        let id = CpuId::new();
        let extended = id.get_extended_feature_info();
        let has =
            |check: fn(&raw_cpuid::ExtendedFeatures) -> bool| extended.as_ref().is_some_and(check);
        let mut cr4 =
            Cr4Flags::PHYSICAL_ADDRESS_EXTENSION | Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE;
        cr4.set(Cr4Flags::PAGE_GLOBAL, id.get_feature_info().is_some_and(|f| f.has_pge()));
        cr4.set(
            Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION,
            has(raw_cpuid::ExtendedFeatures::has_smep),
        );
        cr4.set(
            Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION,
            has(raw_cpuid::ExtendedFeatures::has_smap),
        );
        cr4.set(
            Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION,
            has(raw_cpuid::ExtendedFeatures::has_umip),
        );
        cr4.set(Cr4Flags::FSGSBASE, self.fsgsbase);
        cr4.set(Cr4Flags::OSXSAVE, self.xsave.is_some());
        let cr0 = Cr0Flags::PROTECTED_MODE_ENABLE
            | Cr0Flags::MONITOR_COPROCESSOR
            | Cr0Flags::EXTENSION_TYPE
            | Cr0Flags::NUMERIC_ERROR
            | Cr0Flags::WRITE_PROTECT
            | Cr0Flags::ALIGNMENT_MASK
            | Cr0Flags::PAGING;
        // SAFETY: paging, long mode and write protection stay as they are; the kernel has no user
        // pages mapped as its own, so SMEP and SMAP take nothing from it; each feature was just
        // found.
        unsafe {
            Cr4::write(cr4);
            Cr0::write(cr0);
        }
    }
}

/// Random bits of the processor's own.
pub(crate) fn rdrand() -> Option<u64> {
    let source = x86_64::instructions::random::RdRand::new()?;
    // Intel: ten tries fail together only on a broken part.
    (0..10).find_map(|_| source.get_u64())
}

/// `/proc/cpuinfo` of one core.
pub(crate) fn describe(tsc_rate: u64, xstate: &XState) -> Vec<(&'static str, String)> {
    let id = CpuId::new();
    let vendor = id.get_vendor_info().map(|v| v.as_str().to_string()).unwrap_or_default();
    let brand = id.get_processor_brand_string();
    let brand = brand.map(|b| b.as_str().trim().to_string()).unwrap_or_default();
    let info = id.get_feature_info();
    let number = |get: fn(&raw_cpuid::FeatureInfo) -> u8| {
        info.as_ref().map(get).unwrap_or_default().to_string()
    };
    let sizes = id.get_processor_capacity_feature_info();
    let bits =
        |get: fn(&raw_cpuid::ProcessorCapacityAndFeatureInfo) -> u8| sizes.as_ref().map_or(48, get);
    let address_sizes = format!(
        "{} bits physical, {} bits virtual",
        bits(raw_cpuid::ProcessorCapacityAndFeatureInfo::physical_address_bits),
        bits(raw_cpuid::ProcessorCapacityAndFeatureInfo::linear_address_bits),
    );
    let khz = tsc_rate / 1000;
    alloc::vec![
        ("vendor_id", vendor),
        ("cpu family", number(raw_cpuid::FeatureInfo::family_id)),
        ("model", number(raw_cpuid::FeatureInfo::model_id)),
        ("model name", brand),
        ("stepping", number(raw_cpuid::FeatureInfo::stepping_id)),
        ("cpu MHz", format!("{}.{:03}", khz / 1000, khz % 1000)),
        ("fpu", "yes".into()),
        ("fpu_exception", "yes".into()),
        ("wp", "yes".into()),
        ("flags", flags(&id, xstate).join(" ")),
        ("bogomips", format!("{}.{:02}", khz / 500, khz / 5 % 100)),
        ("clflush size", "64".into()),
        ("cache_alignment", "64".into()),
        ("address sizes", address_sizes),
    ]
}

/// The names, as Linux has them, of the features that programs can use here.
fn flags(id: &Cpuid, xstate: &XState) -> Vec<&'static str> {
    let mut names = Vec::new();
    let mut add = |there: bool, name: &'static str| {
        if there {
            names.push(name);
        }
    };
    let avx = xstate.components.is_some_and(|c| c & 4 != 0);
    if let Some(f) = id.get_feature_info() {
        add(f.has_fpu(), "fpu");
        add(f.has_tsc(), "tsc");
        add(f.has_msr(), "msr");
        add(f.has_pae(), "pae");
        add(f.has_cmpxchg8b(), "cx8");
        add(f.has_apic(), "apic");
        add(f.has_cmov(), "cmov");
        add(f.has_clflush(), "clflush");
        add(f.has_mmx(), "mmx");
        add(f.has_fxsave_fxstor(), "fxsr");
        add(f.has_sse(), "sse");
        add(f.has_sse2(), "sse2");
        add(f.has_sse3(), "pni");
        add(f.has_pclmulqdq(), "pclmulqdq");
        add(f.has_ssse3(), "ssse3");
        add(f.has_fma() && avx, "fma");
        add(f.has_cmpxchg16b(), "cx16");
        add(f.has_sse41(), "sse4_1");
        add(f.has_sse42(), "sse4_2");
        add(f.has_movbe(), "movbe");
        add(f.has_popcnt(), "popcnt");
        add(f.has_aesni(), "aes");
        add(xstate.components.is_some(), "xsave");
        add(f.has_avx() && avx, "avx");
        add(f.has_f16c() && avx, "f16c");
        add(f.has_rdrand(), "rdrand");
        add(f.has_hypervisor(), "hypervisor");
    }
    if let Some(f) = id.get_extended_processor_and_feature_identifiers() {
        add(f.has_syscall_sysret(), "syscall");
        add(f.has_execute_disable(), "nx");
        add(f.has_rdtscp(), "rdtscp");
        add(f.has_64bit_mode(), "lm");
        add(f.has_lahf_sahf(), "lahf_lm");
        add(f.has_lzcnt(), "abm");
    }
    if let Some(f) = id.get_extended_feature_info() {
        add(f.has_fsgsbase(), "fsgsbase");
        add(f.has_bmi1(), "bmi1");
        add(f.has_avx2() && avx, "avx2");
        add(f.has_smep(), "smep");
        add(f.has_bmi2(), "bmi2");
        add(f.has_rep_movsb_stosb(), "erms");
        add(f.has_rdseed(), "rdseed");
        add(f.has_adx(), "adx");
        add(f.has_smap(), "smap");
        add(f.has_clflushopt(), "clflushopt");
        add(f.has_clwb(), "clwb");
        add(f.has_sha(), "sha_ni");
        add(f.has_umip(), "umip");
        add(f.has_vaes() && avx, "vaes");
    }
    names
}
