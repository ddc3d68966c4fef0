//! A page as it travels: 512 words, never serialised.

/// Bytes of a page, on both instruction sets.
pub const PAGE_BYTES: usize = 4096;
/// 64-bit words of a page.
pub const PAGE_WORDS: usize = PAGE_BYTES / 8;

/// A page's contents, aligned as a page, so that it is copied by whole words everywhere.
#[derive(Clone, Copy)]
#[repr(C, align(4096))]
pub struct Page(pub [u64; PAGE_WORDS]);

impl Page {
    /// A page of zeros.
    pub const ZERO: Page = Page([0; PAGE_WORDS]);

    /// The page's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; PAGE_BYTES] {
        bytemuck::cast_ref(&self.0)
    }

    /// The page's bytes, to write.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8; PAGE_BYTES] {
        bytemuck::cast_mut(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_little_endian_bytes() {
        let mut page = Page::ZERO;
        page.0[1] = 0x0102_0304_0506_0708;
        assert_eq!(page.bytes()[8..16], [8, 7, 6, 5, 4, 3, 2, 1]);
        page.bytes_mut()[0] = 0xff;
        assert_eq!(page.0[0], 0xff);
    }
}
