//! Physical memory as firmware's parsers see it, under the boot tables.
#![allow(unsafe_code, reason = "reads memory at its physical address")]

use maize_firmware::{MemoryKind, MemoryMap, PhysRange, PhysicalMemory};

/// The first 4 GiB, which the boot tables map at their own addresses.
///
/// Without a map anything there may be read but byte 0, whose address is no pointer: the start
/// information is read so, by the boot protocol's word. With a map only what it calls memory of any
/// kind, so that no table can lead to a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LowMemory<'a> {
    map: Option<&'a MemoryMap>,
}

impl<'a> LowMemory<'a> {
    /// # Safety
    /// The boot tables are in use as long as the value is.
    pub(crate) const unsafe fn new(map: Option<&'a MemoryMap>) -> LowMemory<'a> {
        LowMemory { map }
    }

    fn allows(&self, wanted: &PhysRange) -> bool {
        if wanted.start == 0 || wanted.end > 1 << 32 {
            return false;
        }
        self.map.is_none_or(|map| {
            let memory = |kind| kind != MemoryKind::Unusable;
            map.ranges().iter().any(|r| memory(r.kind) && r.range.contains(wanted))
        })
    }
}

impl PhysicalMemory for LowMemory<'_> {
    fn read(&self, address: u64, out: &mut [u8]) -> bool {
        match PhysRange::new(address, out.len() as u64) {
            Some(wanted) if self.allows(&wanted) => {}
            Some(_) => return false,
            None => return out.is_empty(),
        }
        for (from, to) in (address..).zip(out) {
            // SAFETY: below 4 GiB and so mapped under the boot tables (`new`); any value is a byte.
            *to = unsafe { (from as *const u8).read_volatile() };
        }
        true
    }
}
