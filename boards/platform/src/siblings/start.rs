//! Starting and stopping siblings.
//!
//! Nothing here waits: what was begun goes on with each [`Siblings::poll`]. An instance is stopped
//! before it is started again, its stop is confirmed and nobody borrows memory of it before that is
//! written, and it starts from a fresh copy of the image, as the next incarnation.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use maize_hal::{FrameRange, Nanos};
use maize_ivshmem::Addresses;
use maize_window::{Presence, PresenceCell, State, Window, WindowHeader};
use maize_wire::InstanceId;

use super::partition::{self, MAX_RANGES, MAX_SIBLINGS};
use super::{BootBlock, SharedMemory};

/// Time that a core may take to start or to stop.
const PATIENCE: Nanos = Nanos::from_millis(5000);

/// Time that the others may take to give up what they borrow of an instance that has stopped: they hear of
/// it with their next heartbeat.
const BORROWERS_PATIENCE: Nanos = Nanos::from_millis(60_000);

/// How a board starts and stops cores.
pub trait Cores {
    /// Begins to start a core that does nothing, in the image at physical address `image` with the
    /// boot block at `block`. Returns at once.
    fn start(&mut self, index: u16, core: u64, image: u64, block: u64);

    /// Begins to stop a core; instance `index` of the machine was told to stop itself. Returns at
    /// once.
    fn stop(&mut self, index: u16, core: u64);

    /// Goes on with what was begun last, and says whether it is done. A stop is done when whatever
    /// ran on the core can do nothing any more.
    fn poll(&mut self, index: u16, core: u64) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not started, or stopped.
    Off,
    /// Its core is to reach the kernel.
    Starting { since: Nanos },
    /// It runs, or has ended by itself.
    Up,
    /// Its core is to come to rest.
    Stopping { since: Nanos, again: bool },
    /// It is off, and to start when nobody borrows memory of it.
    Borrowed { since: Nanos },
    /// Its core neither started nor stopped in time.
    Stuck,
}

struct Sibling {
    number: u16,
    slot: FrameRange,
    ram: Vec<FrameRange>,
    others: Vec<FrameRange>,
    incarnation: u32,
    phase: Phase,
}

/// What has become of a sibling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiblingNews {
    /// It runs, for the first time or anew.
    Started,
    /// It has stopped and can do nothing any more.
    Stopped,
    /// It did not start in time.
    NotStarted,
    /// It did not stop in time: its memory must not be used.
    NotStopped,
    /// It was not started again, as another instance goes on using memory of it.
    StillBorrowed,
}

impl fmt::Display for SiblingNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "has started",
            Self::Stopped => "has stopped",
            Self::NotStarted => "did not start in time",
            Self::NotStopped => "did not stop in time",
            Self::StillBorrowed => "was not started: others still use its memory",
        })
    }
}

/// The siblings of a machine's first instance, in its hands.
pub struct Siblings {
    shared: SharedMemory,
    /// What is the same in every boot block.
    block: BootBlock,
    image_frames: u64,
    load: Box<dyn Fn(u64)>,
    cores: Box<dyn Cores>,
    siblings: Vec<Sibling>,
}

impl fmt::Debug for Siblings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Siblings").field("count", &self.siblings.len()).finish_non_exhaustive()
    }
}

/// What a [`Siblings`] is made of.
pub(super) struct SiblingParts {
    /// The shared memory, published.
    pub(super) shared: SharedMemory,
    /// Address of firmware's description of the machine, and what the board adds to it.
    pub(super) firmware: (u64, [u64; super::PLATFORM_WORDS]),
    /// The first instance's own image.
    pub(super) image: FrameRange,
    /// Numbers in the fabric, cores and shares of all instances of the machine, the first included.
    pub(super) numbers: Vec<u16>,
    /// See `numbers`.
    pub(super) machine_cores: Vec<u64>,
    /// See `numbers`.
    pub(super) shares: Vec<Vec<FrameRange>>,
    /// Slots of all but the first: room for an image as large as the first's, then tables.
    pub(super) slots: Vec<FrameRange>,
    /// Writes a pristine image to a physical address.
    pub(super) load: Box<dyn Fn(u64)>,
    /// Starts and stops cores.
    pub(super) cores: Box<dyn Cores>,
}

impl Siblings {
    /// The siblings, all of them off.
    #[must_use]
    pub(super) fn new(parts: SiblingParts) -> Siblings {
        let SiblingParts { shared, firmware, image, numbers, machine_cores, shares, slots, .. } =
            parts;
        let image_frames = image.len();
        let images = core::iter::once(image)
            .chain(slots.iter().map(|slot| cut(*slot, image_frames).0))
            .take(MAX_SIBLINGS);
        let block = BootBlock {
            number: 0,
            index: 0,
            restarts: 0,
            firmware: firmware.0,
            platform: firmware.1,
            device: None,
            shared: shared.frames,
            tables: image,
            images: images.collect(),
            cores: machine_cores.into_iter().take(MAX_SIBLINGS).collect(),
            ram: heapless::Vec::new(),
            others: heapless::Vec::new(),
        };
        let all: Vec<FrameRange> = shares.iter().flatten().copied().collect();
        let others = numbers.into_iter().zip(shares).skip(1).zip(slots);
        let siblings = others
            .map(|((number, ram), slot)| Sibling {
                number,
                slot,
                others: partition::of_others(&all, &ram),
                ram,
                incarnation: 0,
                phase: Phase::Off,
            })
            .collect();
        Siblings { shared, block, image_frames, load: parts.load, cores: parts.cores, siblings }
    }

    /// Tells siblings that are started from now on where the device to other machines lies.
    pub fn share_device(&mut self, device: Option<Addresses>) {
        self.block.device = device;
    }

    /// Starts all that are off, and waits until each runs or has had its time. Returns how many
    /// run.
    pub fn start_all(&mut self, now: &dyn Fn() -> Nanos) -> usize {
        for at in 0..self.siblings.len() {
            self.launch(at, now());
        }
        while self.is_busy() {
            while let Some((number, news)) = self.poll(now()) {
                if news != SiblingNews::Started {
                    log::error!("instance {number} {news}");
                }
            }
        }
        self.siblings.iter().filter(|sibling| sibling.phase == Phase::Up).count()
    }

    /// Whether something was begun and [`Self::poll`] should be called soon.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let busy = |phase| match phase {
            Phase::Starting { .. } | Phase::Stopping { .. } | Phase::Borrowed { .. } => true,
            Phase::Off | Phase::Up | Phase::Stuck => false,
        };
        self.siblings.iter().any(|sibling| busy(sibling.phase))
    }

    /// Whether none of them runs any more: each has ended by itself or is off.
    #[must_use]
    pub fn have_ended(&self) -> bool {
        let control = self.shared.control();
        self.siblings.iter().enumerate().all(|(at, sibling)| {
            sibling.phase != Phase::Up || control.ended(index(at)) == sibling.incarnation
        })
    }

    /// Begins to stop the sibling with this number. `false` if there is none.
    pub fn stop(&mut self, number: u16, now: Nanos) -> bool {
        self.halt(number, now, false)
    }

    /// Begins to start the sibling with this number anew, from a fresh image; where it runs it is
    /// stopped before. `false` if there is none.
    pub fn start(&mut self, number: u16, now: Nanos) -> bool {
        self.halt(number, now, true)
    }

    fn halt(&mut self, number: u16, now: Nanos, again: bool) -> bool {
        let Some(at) = self.siblings.iter().position(|sibling| sibling.number == number) else {
            return false;
        };
        let index = index(at);
        let sibling = &mut self.siblings[at];
        match &mut sibling.phase {
            Phase::Stopping { again: later, .. } => *later = again,
            _ => {
                sibling.phase = Phase::Stopping { since: now, again };
                self.shared.control().ask_to_stop(index, sibling.incarnation);
                self.cores.stop(index, core(&self.block, index));
            }
        }
        true
    }

    /// Goes on with what was begun. Returns the number of a sibling of which there are news.
    pub fn poll(&mut self, now: Nanos) -> Option<(u16, SiblingNews)> {
        (0..self.siblings.len()).find_map(|at| {
            let news = self.advance(at, now)?;
            Some((self.siblings[at].number, news))
        })
    }

    fn advance(&mut self, at: usize, now: Nanos) -> Option<SiblingNews> {
        let index = index(at);
        let sibling = &mut self.siblings[at];
        let late = |since| now.since(since) > PATIENCE;
        match sibling.phase {
            Phase::Starting { since } => {
                self.cores.poll(index, core(&self.block, index));
                if self.shared.control().arrived(index) == sibling.incarnation {
                    sibling.phase = Phase::Up;
                    return Some(SiblingNews::Started);
                }
                if late(since) {
                    sibling.phase = Phase::Stuck;
                    return Some(SiblingNews::NotStarted);
                }
                None
            }
            Phase::Stopping { since, again } => {
                if self.cores.poll(index, core(&self.block, index)) {
                    sibling.phase = Phase::Off;
                    if let Some(epoch) = self.shared.end_presence(sibling.number) {
                        self.shared.control().confirm_stop(index, epoch);
                    }
                    if again {
                        sibling.phase = Phase::Borrowed { since: now };
                    }
                    return Some(SiblingNews::Stopped);
                }
                if late(since) {
                    sibling.phase = Phase::Stuck;
                    return Some(SiblingNews::NotStopped);
                }
                None
            }
            Phase::Borrowed { since } => {
                if !self.is_borrowed_from(index) {
                    self.launch(at, now);
                    return self.advance(at, now);
                }
                if now.since(since) > BORROWERS_PATIENCE {
                    self.siblings[at].phase = Phase::Off;
                    return Some(SiblingNews::StillBorrowed);
                }
                None
            }
            Phase::Off | Phase::Up | Phase::Stuck => None,
        }
    }

    /// Whether an instance that may run uses memory of the one at `lender`.
    fn is_borrowed_from(&self, lender: u16) -> bool {
        let control = self.shared.control();
        let runs = |place: u16| {
            let at = usize::from(place).checked_sub(1).and_then(|at| self.siblings.get(at));
            at.is_none_or(|sibling| match sibling.phase {
                Phase::Off | Phase::Borrowed { .. } => false,
                _ => control.ended(place) != sibling.incarnation,
            })
        };
        let mut places = (0..=self.siblings.len()).map(|place| place as u16);
        places.any(|place| place != lender && runs(place) && control.borrows_from(place, lender))
    }

    /// Loads and starts a sibling whose core is off.
    fn launch(&mut self, at: usize, now: Nanos) {
        let index = index(at);
        let sibling = &mut self.siblings[at];
        let (image, tables) = cut(sibling.slot, self.image_frames);
        (self.load)(image.start.address());
        let block = BootBlock {
            number: sibling.number,
            index,
            restarts: sibling.incarnation,
            tables,
            ram: sibling.ram.iter().copied().take(MAX_RANGES).collect(),
            others: sibling.others.iter().copied().take(MAX_RANGES).collect(),
            ..self.block.clone()
        };
        sibling.incarnation += 1;
        sibling.phase = Phase::Starting { since: now };
        self.shared.write_block(&block);
        let entry = self.shared.block_address(index);
        self.cores.start(index, core(&self.block, index), image.start.address(), entry);
    }
}

/// The place in the machine of the sibling at `at` of the list, which lacks the first instance.
const fn index(at: usize) -> u16 {
    // There are at most `MAX_SIBLINGS`.
    at as u16 + 1
}

fn core(block: &BootBlock, index: u16) -> u64 {
    block.cores.get(usize::from(index)).copied().unwrap_or_default()
}

/// A slot's image and tables.
const fn cut(slot: FrameRange, image_frames: u64) -> (FrameRange, FrameRange) {
    let middle = maize_hal::Frame(slot.start.0 + image_frames);
    (FrameRange { start: slot.start, end: middle }, FrameRange { start: middle, end: slot.end })
}

impl SharedMemory {
    /// Says in the window, for an instance that runs no more, that it has left: then its peers need not wait
    /// until it has been silent for long. Returns the epoch that it had.
    fn end_presence(&self, number: u16) -> Option<u32> {
        let header = WindowHeader::read(&self.window).ok()?;
        let line = self.window.part(header.layout.presence(InstanceId(number))?)?;
        let cell = PresenceCell::new(line);
        let last = cell.read()?;
        if last.state == State::Up {
            cell.publish(Presence { state: State::Left, ..last });
        }
        Some(last.epoch.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use alloc::vec;
    use core::cell::RefCell;
    use maize_hal::Frame;
    use maize_wire::{Epoch, PAGE_WORDS};

    use crate::siblings::{Membership, shared_frames};

    /// What the cores and images of a machine went through.
    #[derive(Default)]
    struct Events {
        loaded: Vec<u64>,
        started: Vec<(u16, u64, u64)>,
        stopped: Vec<u16>,
        /// Cores that do not do what they are told.
        deaf: bool,
    }

    struct FakeCores {
        shared: SharedMemory,
        events: Rc<RefCell<Events>>,
    }

    impl Cores for FakeCores {
        fn start(&mut self, index: u16, core: u64, image: u64, block: u64) {
            assert_eq!(block, self.shared.block_address(index));
            let mut events = self.events.borrow_mut();
            events.started.push((index, core, image));
            if !events.deaf {
                let mut words = [0; PAGE_WORDS];
                self.shared.pages.copy_out((1 + usize::from(index)) * PAGE_WORDS, &mut words);
                let block = BootBlock::from_words(&words).unwrap();
                assert_eq!(block.index, index);
                self.shared.control().arrive(index, block.restarts + 1);
            }
        }

        fn stop(&mut self, index: u16, _: u64) {
            self.events.borrow_mut().stopped.push(index);
        }

        fn poll(&mut self, _: u16, _: u64) -> bool {
            !self.events.borrow().deaf
        }
    }

    fn range(start: u64, end: u64) -> FrameRange {
        FrameRange { start: Frame(start), end: Frame(end) }
    }

    fn shared() -> SharedMemory {
        let frames = shared_frames(2 << 20);
        let words = vec![[0_u64; PAGE_WORDS]; frames as usize + 1].leak();
        let base = (words.as_mut_ptr() as u64).next_multiple_of(4096);
        let physical = range(0x1000, 0x1000 + frames);
        // SAFETY: leaked memory of that size and a page more, which nothing else reaches.
        let shared = unsafe { SharedMemory::new(physical, base.wrapping_sub(0x100_0000)) }.unwrap();
        shared.publish(4, 0).unwrap();
        shared
    }

    /// Instances 0, 1 and 3 of a fabric, the first of them this one.
    fn machine() -> (Siblings, SharedMemory, Rc<RefCell<Events>>) {
        let shared = shared();
        let events = Rc::new(RefCell::new(Events::default()));
        let loads = events.clone();
        let siblings = Siblings::new(SiblingParts {
            shared,
            firmware: (7, [0; 4]),
            image: range(512, 612),
            numbers: vec![0, 1, 3],
            machine_cores: vec![0x10, 0x11, 0x12],
            shares: vec![vec![range(1, 2)], vec![range(5000, 6000)], vec![range(6000, 7000)]],
            slots: vec![range(1024, 1536), range(1536, 2048)],
            load: Box::new(move |at| loads.borrow_mut().loaded.push(at)),
            cores: Box::new(FakeCores { shared, events: events.clone() }),
        });
        (siblings, shared, events)
    }

    #[test]
    fn all_are_loaded_and_started_once() {
        let (mut siblings, _, events) = machine();
        assert_eq!(siblings.start_all(&|| Nanos(0)), 2);
        let events = events.borrow();
        assert_eq!(events.loaded, [1024 << 12, 1536 << 12]);
        assert_eq!(events.started, [(1, 0x11, 1024 << 12), (2, 0x12, 1536 << 12)]);
        assert_eq!(siblings.poll(Nanos(0)), None);
    }

    #[test]
    fn memory_is_written_again_only_after_the_stop() {
        let (mut siblings, shared, events) = machine();
        siblings.start_all(&|| Nanos(0));
        let line = |number| {
            let header = WindowHeader::read(&shared.window).unwrap();
            let span = header.layout.presence(InstanceId(number)).unwrap();
            PresenceCell::new(shared.window.part(span).unwrap())
        };
        let epoch = Epoch::new(6).unwrap();
        line(3).publish(Presence { epoch, state: State::Up, beat: 1 });
        let first = Membership {
            control: shared.control(),
            index: 0,
            number: 0,
            incarnation: 1,
            numbers: [0, 1, 3].into_iter().collect(),
        };
        let has_stopped = |number, epoch| first.has_stopped(number, epoch);

        events.borrow_mut().deaf = true;
        assert!(siblings.start(3, Nanos(0)));
        assert!(siblings.is_busy() && siblings.poll(Nanos(1)).is_none());
        assert!(shared.control().must_stop(2, 1));
        assert_eq!((events.borrow().loaded.len(), has_stopped(3, 6)), (2, false));
        events.borrow_mut().deaf = false;
        assert_eq!(siblings.poll(Nanos(2)), Some((3, SiblingNews::Stopped)));
        assert!(has_stopped(3, 6) && !has_stopped(3, 5) && !has_stopped(1, 6));
        let left = line(3).read();
        assert_eq!(left, Some(Presence { epoch, state: State::Left, beat: 1 }));
        assert_eq!(siblings.poll(Nanos(3)), Some((3, SiblingNews::Started)));
        assert_eq!(shared.control().arrived(2), 2, "the next incarnation");
        assert!(!shared.control().must_stop(2, 2));
        assert_eq!(events.borrow().loaded.last(), Some(&(1536 << 12)));

        shared.control().end(1, 1);
        assert!(has_stopped(1, 9), "it ended itself");
        assert!(!siblings.start(2, Nanos(0)) && !siblings.stop(0, Nanos(0)), "not siblings");
    }

    #[test]
    fn memory_that_others_borrow_is_not_written() {
        let (mut siblings, shared, events) = machine();
        siblings.start_all(&|| Nanos(0));
        let control = shared.control();
        for borrower in [0, 1] {
            control.borrow_from(borrower, 2, true);
        }
        assert!(siblings.start(3, Nanos(0)));
        assert_eq!(siblings.poll(Nanos(1)), Some((3, SiblingNews::Stopped)));
        assert_eq!((siblings.poll(Nanos(2)), siblings.is_busy()), (None, true));
        control.borrow_from(0, 2, false);
        assert_eq!((siblings.poll(Nanos(3)), events.borrow().loaded.len()), (None, 2));
        // Who has ended uses nothing any more.
        control.end(1, 1);
        assert_eq!(siblings.poll(Nanos(4)), Some((3, SiblingNews::Started)));
        assert_eq!(events.borrow().loaded.len(), 3);

        control.borrow_from(0, 1, true);
        assert!(siblings.start(1, Nanos(0)));
        assert_eq!(siblings.poll(Nanos(0)), Some((1, SiblingNews::Stopped)));
        assert_eq!(siblings.poll(BORROWERS_PATIENCE), None);
        let late = BORROWERS_PATIENCE + Nanos::MILLI;
        assert_eq!(siblings.poll(late), Some((1, SiblingNews::StillBorrowed)));
        assert_eq!((siblings.is_busy(), events.borrow().loaded.len()), (false, 3));
        control.borrow_from(0, 1, false);
        assert!(siblings.start(1, late));
        assert_eq!(siblings.poll(late), Some((1, SiblingNews::Stopped)));
        assert_eq!(siblings.poll(late), Some((1, SiblingNews::Started)));
    }

    #[test]
    fn what_takes_too_long_is_told_and_tried_again() {
        let (mut siblings, _, events) = machine();
        siblings.start_all(&|| Nanos(0));
        events.borrow_mut().deaf = true;
        let late = PATIENCE + Nanos::MILLI;
        assert!(siblings.stop(1, Nanos(0)));
        assert_eq!(siblings.poll(PATIENCE), None);
        assert_eq!(siblings.poll(late), Some((1, SiblingNews::NotStopped)));
        assert!(!siblings.is_busy());
        assert_eq!(events.borrow().loaded.len(), 2, "its memory is left alone");
        events.borrow_mut().deaf = false;
        assert!(siblings.start(1, late));
        assert_eq!(siblings.poll(late), Some((1, SiblingNews::Stopped)));
        assert_eq!(siblings.poll(late), Some((1, SiblingNews::Started)));

        let (mut silent, _, events) = machine();
        events.borrow_mut().deaf = true;
        let clock = core::cell::Cell::new(0);
        let now = || {
            clock.set(clock.get() + 1);
            Nanos::from_millis(clock.get() * 500)
        };
        assert_eq!(silent.start_all(&now), 0);
    }
}
