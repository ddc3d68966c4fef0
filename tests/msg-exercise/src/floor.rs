//! What messages cost at the very least in the memory that a link lies in: lines with a header that is
//! checked, and copies of pages, without anything that makes a link of them (no classes, no room to
//! look after, no doorbells, no counts, no sessions).

use maize_window::Window;
use maize_wire::PAGE_WORDS;

/// Words of memory that are needed, from the first on. The first two lines are the bare words'.
pub(crate) const WORDS: usize = (FIRST_PAGE + PAGES) * PAGE_WORDS;

/// Lines of each direction, in turn.
const LINES: u64 = 64;
/// The first line of each side.
const FIRST_LINE: [usize; 2] = [64, 128];
/// The page at which pages start.
const FIRST_PAGE: usize = 4;
/// Pages that may be on their way: as many as a link's ring takes.
const PAGES: usize = 16;
/// What a header says: three words, as in a frame.
const HEADER: [u64; 2] = [0x0001_0000_0008_0101, 0x0000_0001_0001_0000];
/// A line in which there is nothing.
const NOTHING: u64 = 0;

fn line(side: usize, round: u64) -> usize {
    FIRST_LINE[side] + (round % LINES) as usize
}

/// Clears what an earlier run has left, of one side.
pub(crate) fn clear_lines<W: Window>(memory: &W, side: usize) {
    (0..LINES).for_each(|round| memory.store(line(side, round) * 8, NOTHING));
}

/// Sends a number in a line of its own, with a header.
#[inline]
pub(crate) fn send_line<W: Window>(memory: &W, side: usize, round: u64) {
    memory.store(line(side, round + 1) * 8, NOTHING);
    let [first, second] = HEADER;
    memory.store_line(line(side, round), stamp(round), [first, second, round, round]);
}

/// The number that the other side has sent in its line, if it has; an error if it is anything else
/// than what is due.
#[inline]
pub(crate) fn receive_line<W: Window>(
    memory: &W,
    from: usize,
    round: u64,
) -> Option<Result<u64, ()>> {
    let (found, [first, second, third, number]) = memory.load_line(line(from, round), NOTHING)?;
    let [expected_first, expected_second] = HEADER;
    let differs =
        found ^ stamp(round) | first ^ expected_first | second ^ expected_second | third ^ round;
    Some(if differs == 0 { Ok(number) } else { Err(()) })
}

const fn stamp(round: u64) -> u64 {
    round | 1 << 63
}

/// Whether there is a place for the page of that number, when `taken` have been taken.
pub(crate) const fn has_place(number: u64, taken: u64) -> bool {
    number < taken + PAGES as u64
}

/// Where the page of that number lies.
pub(crate) const fn page_word(number: u64) -> usize {
    (FIRST_PAGE + (number % PAGES as u64) as usize) * PAGE_WORDS
}
