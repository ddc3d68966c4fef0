//! How far ahead to fetch.

/// One object's run of read misses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    next: u32,
    window: u32,
}

impl Stream {
    /// An access that would have been, or was, a miss; returns how many pages to fetch beyond it.
    pub(super) fn access(&mut self, index: u32, was_ahead: bool, most: u32) -> u32 {
        let follows = was_ahead || (index == self.next && index > 0);
        self.window = if follows { (self.window * 2).clamp(1, most) } else { self.window / 2 };
        self.next = index.saturating_add(1);
        self.window
    }

    /// A page that was fetched ahead went away unused.
    pub(super) fn wasted(&mut self) {
        self.window /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_doubles_in_a_run_and_halves_out_of_it() {
        let mut stream = Stream::default();
        let run: alloc::vec::Vec<u32> = (0..6).map(|i| stream.access(i, false, 8)).collect();
        assert_eq!(run, [0, 1, 2, 4, 8, 8]);
        assert_eq!(stream.access(100, false, 8), 4);
        assert_eq!(stream.access(7, false, 8), 2);
        stream.wasted();
        assert_eq!(stream.access(50, false, 8), 0);
        assert_eq!(stream.access(60, true, 8), 1, "a page fetched ahead was used");
    }
}
