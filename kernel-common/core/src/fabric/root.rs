//! Whether two instances have the same root.

use alloc::vec::Vec;

use maize_mm::ImageSource;
use maize_vfs::cpio::Members;

/// Bytes looked at at either end of a file.
const SAMPLE: u64 = 64;

/// A number that tells roots apart: of every file its path, place and length, and the bytes at its
/// ends. `hidden` are members that are no files of the root and differ from instance to instance.
///
/// It guards against a fabric that was put together wrongly. Peers that lie about it harm nobody
/// but the processes that run on them, which they can harm anyway.
pub(super) fn fingerprint(image: &dyn ImageSource, hidden: &[Vec<u8>]) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    for member in Members::new(image).map_while(Result::ok) {
        if hidden.contains(&member.path) {
            continue;
        }
        hash.add(&member.path);
        hash.add(&member.data.to_le_bytes());
        hash.add(&member.len.to_le_bytes());
        let mut sample = [0; SAMPLE as usize];
        let len = member.len.min(SAMPLE);
        for at in [member.data, member.data + member.len - len] {
            image.read(at, &mut sample[..len as usize]);
            hash.add(&sample[..len as usize]);
        }
    }
    hash.0
}

/// The 64-bit FNV-1a hash.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}
