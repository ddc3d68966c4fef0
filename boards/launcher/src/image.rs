//! Turns an aarch64 kernel's ELF file into the flat `Image` that QEMU boots with the device tree's
//! address in `x0`.

use std::path::{Path, PathBuf};

use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Endianness, elf};

/// Largest image made, in bytes: what lies further apart than this is a wrong linker script.
pub const MAX_LEN: u64 = 64 * 1024 * 1024;

/// Offset and value of the magic number in the header of an arm64 `Image`.
const MAGIC: (usize, &[u8; 4]) = (56, b"ARM\x64");

/// Why an ELF file gives no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file could not be read, or the image not written.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// Not a 64-bit little-endian ELF file, or a damaged one.
    #[error("kernel image")]
    Elf(#[from] object::Error),
    /// No segment is loaded.
    #[error("kernel image: the ELF file has no loadable segment")]
    Empty,
    /// The segments span too much.
    #[error("kernel image: segments span {0} bytes, limit is {MAX_LEN}")]
    TooLong(u64),
    /// The lowest segment does not begin with an arm64 image header.
    #[error("kernel image: no arm64 Image header at the lowest address")]
    NoHeader,
}

/// The loadable segments laid out by physical address, from the lowest one.
pub fn flatten(file: &[u8]) -> Result<Vec<u8>, ImageError> {
    let parsed = ElfFile64::<Endianness>::parse(file)?;
    let endian = parsed.endian();
    let segments: Vec<_> = parsed
        .elf_program_headers()
        .iter()
        .filter(|segment| segment.p_type(endian) == elf::PT_LOAD && segment.p_filesz(endian) > 0)
        .collect();
    let start = segments.iter().map(|s| s.p_paddr(endian)).min().ok_or(ImageError::Empty)?;
    let mut image = Vec::new();
    for segment in segments {
        let data = segment.data(endian, file).map_err(|()| ImageError::Empty)?;
        let offset = segment.p_paddr(endian) - start;
        let end = offset.saturating_add(data.len() as u64);
        if end > MAX_LEN {
            return Err(ImageError::TooLong(end));
        }
        let (offset, end) = (offset as usize, end as usize);
        if image.len() < end {
            image.resize(end, 0);
        }
        if let Some(place) = image.get_mut(offset..end) {
            place.copy_from_slice(data);
        }
    }
    let (at, magic) = MAGIC;
    if image.get(at..at + magic.len()) == Some(magic) {
        Ok(image)
    } else {
        Err(ImageError::NoHeader)
    }
}

/// Writes the image of an ELF file beside it, if it is not there yet or older; its path.
pub fn image_of(kernel: &Path) -> Result<PathBuf, ImageError> {
    let image = kernel.with_extension("image");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| ImageError::File(path, error)
    };
    let modified = |path: &Path| path.metadata().and_then(|m| m.modified());
    let built = modified(kernel).map_err(failed(kernel))?;
    if modified(&image).is_ok_and(|made| made > built) {
        return Ok(image);
    }
    let flat = flatten(&std::fs::read(kernel).map_err(failed(kernel))?)?;
    // Written aside and renamed: another launcher may be reading it.
    let aside = kernel.with_extension(format!("image.{}", std::process::id()));
    std::fs::write(&aside, flat).map_err(failed(&aside))?;
    std::fs::rename(&aside, &image).map_err(failed(&image))?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with these segments: physical address and data.
    fn elf(segments: &[(u64, &[u8])]) -> Vec<u8> {
        let mut file = vec![0u8; 64];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[16] = 2;
        file[18] = 183;
        file[20] = 1;
        file[32] = 64;
        file[52] = 64;
        file[54] = 56;
        file[56] = segments.len() as u8;
        let mut offset = 64 + 56 * segments.len() as u64;
        for (address, data) in segments {
            let len = data.len() as u64;
            file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
            for field in [offset, 0xffff_0000_0000_0000, *address, len, len + 100, 4096] {
                file.extend(field.to_le_bytes());
            }
            offset += len;
        }
        for (_, data) in segments {
            file.extend(*data);
        }
        file
    }

    fn header() -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[56..60].copy_from_slice(b"ARM\x64");
        bytes
    }

    #[test]
    fn segments_lie_by_physical_address() {
        let image = flatten(&elf(&[(0x4008_0080, b"data"), (0x4008_0000, &header())])).unwrap();
        assert_eq!(image.len(), 0x84);
        assert_eq!(&image[0x80..], b"data");
        assert_eq!(&image[64..0x80], [0; 64]);
    }

    #[test]
    fn what_is_no_kernel_has_a_name() {
        let kind = |file: &[u8]| flatten(file).unwrap_err();
        assert!(matches!(kind(b"text"), ImageError::Elf(_)));
        assert!(matches!(kind(&elf(&[])), ImageError::Empty));
        assert!(matches!(kind(&elf(&[(0, b"x")])), ImageError::NoHeader));
        assert!(matches!(
            kind(&elf(&[(0, &header()), (u64::MAX - 3, b"x")])),
            ImageError::TooLong(_)
        ));
        let mut cut = elf(&[(0, &header())]);
        cut.truncate(130);
        assert!(flatten(&cut).is_err());
    }
}
