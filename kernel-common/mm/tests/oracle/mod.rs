//! What memory should hold: every page of every space and file, spelled out.

use std::collections::BTreeMap;

use maize_abi::pte::Access;
use maize_mm::{FaultError, Sharing};

use crate::machine::{PAGE, image_byte};

/// The two words of a page that the test looks at: its first and its last.
pub(crate) type Words = [u64; 2];

/// Where the words are in a page.
pub(crate) const OFFSETS: [u64; 2] = [0, PAGE - 8];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Private, and no file behind it.
    Anonymous(Words),
    /// A file's page, mapped privately; `own` once written.
    PrivateFile { file: usize, index: u64, own: Option<Words> },
    /// A file's page, mapped shared.
    Shared { file: usize, index: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModelPage {
    pub(crate) access: Access,
    pub(crate) may: Access,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ModelSpace {
    pub(crate) pages: BTreeMap<u64, ModelPage>,
    pub(crate) heap_end: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct ModelFile {
    pub(crate) len: u64,
    pub(crate) pages: BTreeMap<u64, Words>,
    /// Where the file starts in the image and up to where it has not been cut.
    pub(crate) image: Option<(u64, u64)>,
}

impl ModelFile {
    pub(crate) fn words(&self, index: u64) -> Words {
        self.pages.get(&index).copied().unwrap_or_else(|| {
            OFFSETS.map(|offset| {
                let byte = |n: u64| {
                    let at = index * PAGE + offset + n;
                    self.image
                        .map_or(0, |(start, len)| if at < len { image_byte(start + at) } else { 0 })
                };
                u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(byte))
            })
        })
    }

    pub(crate) fn truncate(&mut self, len: u64) {
        if len < self.len {
            // What is cut off reads as zero later.
            if !len.is_multiple_of(PAGE) {
                let index = len / PAGE;
                let mut words = self.words(index);
                for (word, offset) in words.iter_mut().zip(OFFSETS) {
                    if index * PAGE + offset >= len {
                        *word = 0;
                    }
                }
                self.pages.insert(index, words);
            }
            self.pages.split_off(&len.div_ceil(PAGE));
            if let Some((_, uncut)) = &mut self.image {
                *uncut = (*uncut).min(len);
            }
        } else if !self.len.is_multiple_of(PAGE) {
            // What was stored behind the end through a mapping is cleared when the file grows.
            let index = self.len / PAGE;
            let mut words = self.words(index);
            for (word, offset) in words.iter_mut().zip(OFFSETS) {
                let at = index * PAGE + offset;
                if at >= self.len && at < len {
                    *word = 0;
                }
            }
            self.pages.insert(index, words);
        }
        self.len = len;
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) files: Vec<ModelFile>,
}

impl Model {
    fn check(&self, space: &ModelSpace, vpn: u64, access: Access) -> Result<ModelPage, FaultError> {
        let page = *space.pages.get(&vpn).ok_or(FaultError::NoMapping)?;
        let mut allowed = page.access;
        if !allowed.is_empty() {
            allowed |= Access::READ;
        }
        if !allowed.contains(access) {
            return Err(FaultError::Denied);
        }
        if let Content::PrivateFile { file, index, .. } | Content::Shared { file, index } =
            page.content
            && index >= self.files[file].len.div_ceil(PAGE)
        {
            return Err(FaultError::PastEnd);
        }
        Ok(page)
    }

    pub(crate) fn load(&self, space: &ModelSpace, vpn: u64) -> Result<Words, FaultError> {
        Ok(match self.check(space, vpn, Access::READ)?.content {
            Content::Anonymous(words) | Content::PrivateFile { own: Some(words), .. } => words,
            Content::PrivateFile { file, index, own: None } | Content::Shared { file, index } => {
                self.files[file].words(index)
            }
        })
    }

    pub(crate) fn store(
        &mut self,
        space: &mut ModelSpace,
        vpn: u64,
        word: usize,
        value: u64,
    ) -> Result<(), FaultError> {
        self.check(space, vpn, Access::WRITE)?;
        let Some(page) = space.pages.get_mut(&vpn) else { return Err(FaultError::NoMapping) };
        match &mut page.content {
            Content::Anonymous(words) | Content::PrivateFile { own: Some(words), .. } => {
                words[word] = value;
            }
            Content::PrivateFile { file, index, own } => {
                let mut words = self.files[*file].words(*index);
                words[word] = value;
                *own = Some(words);
            }
            Content::Shared { file, index } => {
                let mut words = self.files[*file].words(*index);
                words[word] = value;
                self.files[*file].pages.insert(*index, words);
            }
        }
        Ok(())
    }

    /// Private copies of what is behind a file's end go with it.
    pub(crate) fn cut_private(&self, space: &mut ModelSpace, cut: usize) {
        let end = self.files[cut].len.div_ceil(PAGE);
        for page in space.pages.values_mut() {
            if let Content::PrivateFile { file, index, own } = &mut page.content
                && *file == cut
                && *index >= end
            {
                *own = None;
            }
        }
    }
}

/// The pages of a mapping of `file` from page `first` on.
pub(crate) fn file_page(file: usize, index: u64, sharing: Sharing) -> Content {
    match sharing {
        Sharing::Shared => Content::Shared { file, index },
        Sharing::Private => Content::PrivateFile { file, index, own: None },
    }
}
