//! Reading `newc` cpio archives, the format of Linux's initial RAM disks.
//!
//! Hand-written because the crates that read cpio take a damaged archive for one that has ended,
//! while a kernel must say what is wrong with its root, and where. Several archives may follow one
//! another, with any number of zero bytes between them, as Linux allows. Bytes are copied out
//! before they are looked at, so an image that changes meanwhile can give wrong files but no
//! wrong memory access.

use alloc::vec::Vec;
use core::fmt;

use maize_abi::file::PATH_MAX;
use maize_mm::ImageSource;

/// What is wrong with an archive, and the offset of the member's header in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpioError {
    /// Offset in the image of the header that is wrong.
    pub at: u64,
    /// What is wrong.
    pub fault: CpioFault,
}

/// What is wrong with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpioFault {
    /// The image ends inside a header.
    CutHeader,
    /// No `newc` header where one must be.
    BadMagic,
    /// A number that is not eight hexadecimal digits.
    BadNumber,
    /// An empty name, one of 4096 bytes or more, one not ended by its only zero byte, or one with
    /// a component `..` or of more than 255 bytes.
    BadName,
    /// The image ends inside a member's name or data.
    CutMember,
    /// A symbolic link whose target is empty or has 4096 bytes or more.
    BadTarget,
    /// The tree cannot hold the member: too many files, or a directory in the place of a file.
    NotAdded,
}

impl fmt::Display for CpioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            CpioFault::CutHeader => "image ends inside a header",
            CpioFault::BadMagic => "no newc header",
            CpioFault::BadNumber => "malformed number",
            CpioFault::BadName => "malformed name",
            CpioFault::CutMember => "image ends inside a member",
            CpioFault::BadTarget => "malformed link target",
            CpioFault::NotAdded => "member does not fit into the tree",
        };
        write!(f, "root image, offset {:#x}: {what}", self.at)
    }
}

impl core::error::Error for CpioError {}

/// One member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Offset of its header in the image.
    pub at: u64,
    /// Path without leading, trailing or double slashes and `.` components; empty for the root.
    pub path: Vec<u8>,
    /// File type and permissions, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Links the file had when it was archived.
    pub nlink: u32,
    /// Modification time, seconds since the epoch.
    pub mtime: u32,
    /// Which file it is: members of one archive with the same identity are links to one file.
    pub identity: FileIdentity,
    /// Major and minor number of a device file.
    pub rdev: (u32, u32),
    /// Offset of its data in the image.
    pub data: u64,
    /// Bytes of data.
    pub len: u64,
}

/// What tells files of an archive apart: archive, inode number, device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileIdentity {
    archive: u32,
    ino: u32,
    dev: (u32, u32),
}

/// The members of the archives in an image, in order. Ends after the first error.
pub struct Members<'a, I: ImageSource + ?Sized> {
    image: &'a I,
    at: u64,
    archive: u32,
    /// Whether a header must follow: not between archives.
    inside: bool,
    done: bool,
}

const HEADER: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";

impl<'a, I: ImageSource + ?Sized> Members<'a, I> {
    /// The members of `image`.
    pub const fn new(image: &'a I) -> Members<'a, I> {
        Members { image, at: 0, archive: 0, inside: false, done: false }
    }

    /// Copies `out.len()` bytes from `at` on; false if there are fewer.
    fn read(&self, at: u64, out: &mut [u8]) -> bool {
        let end = at.checked_add(out.len() as u64);
        let whole = end.is_some_and(|end| end <= self.image.len());
        if whole {
            self.image.read(at, out);
        }
        whole
    }

    /// Finds the next header between archives; false at the end of the image.
    fn skip_zeros(&mut self) -> bool {
        let mut block = [0; 512];
        while self.at < self.image.len() {
            let len = (self.image.len() - self.at).min(block.len() as u64) as usize;
            if !self.read(self.at, &mut block[..len]) {
                return false;
            }
            match block[..len].iter().position(|byte| *byte != 0) {
                Some(zeros) => {
                    self.at += zeros as u64;
                    return true;
                }
                None => self.at += len as u64,
            }
        }
        false
    }

    fn read_member(&mut self) -> Result<Option<Member>, CpioFault> {
        let mut header = [0; HEADER];
        if !self.read(self.at, &mut header) {
            return Err(CpioFault::CutHeader);
        }
        if !matches!(&header[..6], b"070701" | b"070702") {
            return Err(CpioFault::BadMagic);
        }
        let mut fields = [0_u32; 13];
        for (field, digits) in fields.iter_mut().zip(header[6..].chunks_exact(8)) {
            *field = hexadecimal(digits).ok_or(CpioFault::BadNumber)?;
        }
        let [ino, mode, uid, gid, nlink, mtime, len, major, minor, rmajor, rminor, name_len, _] =
            fields;
        if name_len < 2 || name_len as usize > PATH_MAX {
            return Err(CpioFault::BadName);
        }
        let mut name = alloc::vec![0; name_len as usize];
        if !self.read(self.at + HEADER as u64, &mut name) {
            return Err(CpioFault::CutMember);
        }
        if name.pop() != Some(0) || name.contains(&0) {
            return Err(CpioFault::BadName);
        }
        // Name and data are padded to multiples of 4 bytes, counted from the image's start.
        let data = (self.at + HEADER as u64 + u64::from(name_len)).next_multiple_of(4);
        let end = data + u64::from(len);
        if end > self.image.len() {
            return Err(CpioFault::CutMember);
        }
        let at = self.at;
        self.at = end.next_multiple_of(4);
        if name == TRAILER {
            return Ok(None);
        }
        Ok(Some(Member {
            at,
            path: clean_path(&name).ok_or(CpioFault::BadName)?,
            mode,
            uid,
            gid,
            nlink,
            mtime,
            identity: FileIdentity { archive: self.archive, ino, dev: (major, minor) },
            rdev: (rmajor, rminor),
            data,
            len: u64::from(len),
        }))
    }
}

impl<I: ImageSource + ?Sized> Iterator for Members<'_, I> {
    type Item = Result<Member, CpioError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            if !self.inside && !self.skip_zeros() {
                self.done = true;
                break;
            }
            self.inside = true;
            let at = self.at;
            match self.read_member() {
                Ok(Some(member)) => return Some(Ok(member)),
                Ok(None) => {
                    self.archive = self.archive.saturating_add(1);
                    self.inside = false;
                }
                Err(fault) => {
                    self.done = true;
                    return Some(Err(CpioError { at, fault }));
                }
            }
        }
        None
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0_u32, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

fn clean_path(name: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return None,
            _ if part.len() > maize_abi::file::NAME_MAX => return None,
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ArchiveBuilder, regular};
    use proptest::prelude::*;

    fn paths(image: &[u8]) -> Result<Vec<Vec<u8>>, CpioFault> {
        Members::new(&image.to_vec()).map(|m| m.map(|m| m.path).map_err(|e| e.fault)).collect()
    }

    #[test]
    fn archives_follow_one_another() {
        let mut image = ArchiveBuilder::default().file("a", b"hello").dir("/d/").finish();
        image.extend_from_slice(&[0; 1000]);
        image.resize(image.len().next_multiple_of(4), 0);
        let second = ArchiveBuilder::default().file("./d//x", b"").finish();
        image.extend_from_slice(&second);
        assert_eq!(paths(&image), Ok(alloc::vec![b"a".to_vec(), b"d".to_vec(), b"d/x".to_vec()]));
        let members: Vec<_> = Members::new(&image).map(Result::unwrap).collect();
        assert_ne!(members[0].identity.archive, members[2].identity.archive);
        let first = &members[0];
        assert_eq!(&image[first.data as usize..][..first.len as usize], b"hello");
    }

    #[test]
    fn damage_is_named_with_its_place() {
        let image = ArchiveBuilder::default().file("first", b"12345").file("second", b"x").finish();
        let second = image.windows(6).rposition(|w| w == b"second").unwrap() - HEADER;
        let error = |image: &[u8]| Members::new(&image.to_vec()).find_map(Result::err);

        let mut bad = image.clone();
        bad[second] = b'x';
        let at = second as u64;
        assert_eq!(error(&bad), Some(CpioError { at, fault: CpioFault::BadMagic }));
        let mut bad = image.clone();
        bad[second + 20] = b'g';
        assert_eq!(error(&bad), Some(CpioError { at, fault: CpioFault::BadNumber }));
        let cut = &image[..second + 50];
        assert_eq!(error(cut), Some(CpioError { at, fault: CpioFault::CutHeader }));
        let cut = &image[..second + HEADER + 3];
        assert_eq!(error(cut), Some(CpioError { at, fault: CpioFault::CutMember }));
        for name in ["a/../b", ".."] {
            let bad = ArchiveBuilder::default().file(name, b"").finish();
            assert_eq!(error(&bad), Some(CpioError { at: 0, fault: CpioFault::BadName }));
        }
        // An archive without its trailer has lost members.
        let at = image.windows(10).rposition(|w| w == TRAILER).unwrap() - HEADER;
        let error = error(&image[..at]);
        assert_eq!(error, Some(CpioError { at: at as u64, fault: CpioFault::CutHeader }));
    }

    proptest! {
        #[test]
        fn no_image_makes_it_panic_or_loop(
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut image = ArchiveBuilder::default()
                .file("bin/x", &[1; 300])
                .member("l", 0o120_777, b"bin/x", regular())
                .dir("d")
                .finish();
            for (at, value) in flips {
                let at = at.index(image.len());
                image[at] = value;
            }
            image.truncate(cut.index(image.len()) + 1);
            let members: Vec<_> = Members::new(&image).collect();
            prop_assert!(members.len() <= image.len() / HEADER + 1);
            for member in members.into_iter().flatten() {
                prop_assert!(member.data + member.len <= image.len() as u64);
            }
        }
    }
}
