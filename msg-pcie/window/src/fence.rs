//! Fences for which the instructions that compilers choose cost an emulator too much.
#![allow(unsafe_code, reason = "instructions that the language has no way to ask for")]

/// Keeps every access before it in front of every access behind it.
///
/// `core::sync::atomic::fence` does so too, but where there is no SSE2, as in kernels, compilers
/// make a locked read-modify-write of it. An emulator calls a function for that, which takes five
/// times as long as `mfence`; each notification of a peer has one.
#[cfg(all(target_arch = "x86_64", not(target_feature = "sse2"), not(miri)))]
#[inline]
pub(crate) fn full() {
    // Not declared to leave memory alone, so compilers move no access across it either.
    // SAFETY: the instruction changes nothing but the order of accesses, and every x86_64 has it.
    unsafe { core::arch::asm!("mfence", options(nostack, preserves_flags)) };
}

/// Keeps every access before it in front of every access behind it.
#[cfg(not(all(target_arch = "x86_64", not(target_feature = "sse2"), not(miri))))]
#[inline]
pub(crate) fn full() {
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}

/// Keeps every access before it in front of every *store* behind it.
///
/// Compilers make `dmb ish` of it, or `stlr` of a store behind it, and an emulator of either a full
/// barrier, since both also order stores and later loads of some kind. Two fences of which neither
/// does so ask for just what is needed: earlier loads, and earlier stores, in front of later stores.
#[cfg(all(target_arch = "aarch64", not(miri)))]
#[inline]
pub(crate) fn release() {
    // Not declared to leave memory alone, so compilers move no access across it either.
    // SAFETY: the instructions change nothing but the order of accesses, and every aarch64 has them.
    unsafe { core::arch::asm!("dmb ishld", "dmb ishst", options(nostack, preserves_flags)) };
}

/// Keeps every access before it in front of every *store* behind it.
#[cfg(not(all(target_arch = "aarch64", not(miri))))]
#[inline]
pub(crate) fn release() {
    core::sync::atomic::fence(core::sync::atomic::Ordering::Release);
}
