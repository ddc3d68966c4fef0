//! The life of an instance after its board has found the machine out.

use alloc::vec::Vec;

use maize_hal::{Arch, FrameRange};
use maize_hostlink::BootRecord;

use crate::{ByteStream, HostLink};

/// A machine, ready to run an instance.
#[derive(Debug)]
pub struct Machine<A, S> {
    /// The processor.
    pub arch: A,
    /// Frames that nothing uses yet.
    pub free: Vec<FrameRange>,
    /// Bytes of RAM that the instance has in all.
    pub ram: u64,
    /// The initial RAM disk, in place.
    pub initrd: &'static [u8],
    /// What the launcher asks for.
    pub record: BootRecord,
    /// The host link.
    pub link: HostLink<S>,
}

/// Runs an instance to its end.
pub fn run_instance<A: Arch, S: ByteStream>(machine: Machine<A, S>) -> ! {
    let _ = machine;
    crate::end(crate::End::Done)
}
