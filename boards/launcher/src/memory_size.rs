//! Amounts of memory as people write them: `256M`, `1G`.

use std::fmt;
use std::str::FromStr;

/// An amount of memory: a whole number of MiB, from [`MemorySize::MIN`] to [`MemorySize::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize {
    mib: u32,
}

/// Why a text is no [`MemorySize`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemorySizeError {
    /// Not digits and one of `M` and `G`.
    #[error("memory size `{0}`: write it as 256M or 1G")]
    Syntax(String),
    /// Out of range.
    #[error("memory size `{0}`: must be from {min} to {max}", min = MemorySize::MIN, max = MemorySize::MAX)]
    Range(String),
}

impl MemorySize {
    /// Least memory of a machine.
    pub const MIN: Self = Self { mib: 32 };
    /// Most memory of a machine.
    pub const MAX: Self = Self { mib: 64 * 1024 };
    /// Memory of a machine when nothing is said.
    pub const DEFAULT: Self = Self { mib: 512 };

    /// Memory of a machine with that many instances, if this is what one with up to four has: each
    /// further instance adds a quarter.
    #[must_use]
    pub fn for_instances(self, instances: u16) -> Self {
        let more = u32::from(instances.saturating_sub(4)) * (self.mib / 4);
        Self { mib: (self.mib + more).min(Self::MAX.mib) }
    }

    /// The amount in MiB.
    #[must_use]
    pub const fn mib(self) -> u32 {
        self.mib
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mib.is_multiple_of(1024) {
            write!(f, "{}G", self.mib / 1024)
        } else {
            write!(f, "{}M", self.mib)
        }
    }
}

impl FromStr for MemorySize {
    type Err = MemorySizeError;

    fn from_str(text: &str) -> Result<Self, MemorySizeError> {
        let syntax = || MemorySizeError::Syntax(text.to_owned());
        let (digits, factor) = if let Some(digits) = text.strip_suffix(['M', 'm']) {
            (digits, 1)
        } else if let Some(digits) = text.strip_suffix(['G', 'g']) {
            (digits, 1024)
        } else {
            return Err(syntax());
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(syntax());
        }
        digits
            .parse::<u32>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .map(|mib| Self { mib })
            .filter(|size| (Self::MIN..=Self::MAX).contains(size))
            .ok_or_else(|| MemorySizeError::Range(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, mib, shown) in [("256M", 256, "256M"), ("1G", 1024, "1G"), ("2048m", 2048, "2G")]
        {
            let size: MemorySize = text.parse().unwrap();
            assert_eq!((size.mib(), size.to_string().as_str()), (mib, shown));
        }
    }

    #[test]
    fn bad_sizes_have_names() {
        for text in ["", "M", "256", "-1M", "+1G", "1.5G", "12K"] {
            assert_eq!(text.parse::<MemorySize>(), Err(MemorySizeError::Syntax(text.into())));
        }
        for text in ["1M", "65G", "99999999999999G", "4194304G"] {
            assert_eq!(text.parse::<MemorySize>(), Err(MemorySizeError::Range(text.into())));
        }
    }
}
