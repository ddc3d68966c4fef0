//! Pages that ping-pong between machines, in frames that both see.
//!
//! The home moves such a page into a frame of its own part of the window; whoever wants it afterwards
//! maps that frame, and the page costs no message any more. Whether a mapping is still of use is found
//! out by taking its rights away from time to time: an access brings them back without a message.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::pte::Access as Rights;
use maize_coherence::{NodeId, PageKey};
use maize_hal::{Arch, Frame, FrameRange, Nanos};
use maize_mm::ObjectId;
use maize_wire::InstanceId;

use super::machine::{Happened, Nature};
use super::name::page_of;
use crate::state::State;
use crate::timer::TimerAction;
use crate::wait::WaitKey;

/// How often mappings are looked at. One goes after it was not used between two looks.
const LOOK_EVERY: Nanos = Nanos::from_millis(50);

/// Frames that all machines of a fabric see, as this one numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowFrames {
    /// All of them, as many for each instance, in the order of their ids.
    pub all: FrameRange,
    /// Frames of one instance.
    pub each: u64,
}

impl WindowFrames {
    /// The frames that an instance gives to its pages; none if there are too many instances.
    #[must_use]
    pub fn of(&self, instance: u16) -> FrameRange {
        let place =
            |number: u64| Frame((self.all.start.0 + number * self.each).min(self.all.end.0));
        FrameRange { start: place(instance.into()), end: place(u64::from(instance) + 1) }
    }

    /// The frame that an instance of another machine names.
    pub(super) fn named(&self, by: InstanceId, number: u64) -> Option<Frame> {
        let own = self.of(by.0);
        (number < own.len()).then(|| Frame(own.start.0 + number))
    }
}

/// What this instance knows of pages in the window.
#[derive(Debug, Default)]
pub(super) struct Windowed {
    /// The frames that others have said their pages are in.
    located: BTreeMap<PageKey, Frame>,
    /// Pages that may be mapped here.
    mapped: BTreeSet<PageKey>,
    /// Pages of this instance that are there.
    promoted: BTreeSet<PageKey>,
    /// A machine that could write them is gone, and may come back before it knows: frames are not used
    /// for other pages any more.
    closed: bool,
    looks: bool,
}

impl Windowed {
    /// Pages in the window of an object range.
    fn promoted_in(&self, object: ObjectId, range: &Range<u64>) -> Vec<PageKey> {
        let within = |page: &&PageKey| {
            let (of, index) = page_of(**page);
            of == object && range.contains(&index)
        };
        self.promoted.iter().filter(within).copied().collect()
    }

    /// No frame is given to another page.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// An object has ended.
    pub(super) fn forget(&mut self, object: ObjectId) {
        self.drop_range(object, &(0..u64::MAX));
    }

    /// Pages of a range begin another life.
    pub(super) fn drop_range(&mut self, object: ObjectId, range: &Range<u64>) {
        let other = |page: PageKey| {
            let (of, index) = page_of(page);
            of != object || !range.contains(&index)
        };
        self.located.retain(|page, _| other(*page));
        self.mapped.retain(|page| other(*page));
        self.promoted.retain(|page| other(*page));
    }

    /// The page has no mapping here.
    pub(super) fn unmapped(&mut self, page: PageKey) {
        self.mapped.remove(&page);
    }

    /// What is here of the page is of no use.
    pub(super) fn released(&mut self, page: PageKey) {
        self.mapped.remove(&page);
        self.promoted.remove(&page);
    }
}

impl<A: Arch> State<A> {
    /// Pages that may still move into the window, at an event that can have one moved. Instructions are never fetched from
    /// there: nobody would hear that they have changed.
    pub(super) fn window_room(&mut self, happened: &Happened<'_>) -> u32 {
        let (Happened::Message { page, nature: Nature::Hot, .. }
        | Happened::Fault { page, .. }
        | Happened::Hot(page)) = happened
        else {
            return 0;
        };
        let (object, index) = page_of(*page);
        let pages = &self.fabric.pages;
        if !pages.promotes || pages.windowed.closed || !pages.is_home(object) {
            return 0;
        }
        if self.memory.is_executable(object, index) {
            return 0;
        }
        u32::try_from(self.memory.frames().free_in_window()).unwrap_or(u32::MAX)
    }

    /// The number of the window frame that a page of this instance is in.
    pub(super) fn window_number(&mut self, page: PageKey) -> Option<u64> {
        let frame = self.content_frame(page)?;
        let own = self.fabric.settings.window?.of(self.fabric.me.0);
        (own.start <= frame && frame < own.end).then(|| frame.0 - own.start.0)
    }

    /// Another instance has said which frame a page is in. Of its own pages the home knows better.
    pub(super) fn locate_page(&mut self, page: PageKey, frame: Frame) {
        if !self.fabric.pages.is_home(page_of(page).0) {
            self.fabric.pages.windowed.located.insert(page, frame);
        }
    }

    /// At the home: moves the content into a frame of the window.
    pub(super) fn move_to_window(&mut self, page: PageKey) {
        let Some(frame) = self.memory.frames().allocate_window() else {
            log::error!("no frame is left in the window for {page:?}");
            return;
        };
        self.stats.fabric.pages_promoted += 1;
        self.fabric.pages.windowed.promoted.insert(page);
        self.move_content(page, frame);
    }

    /// At the home: moves the content back into a frame that only this machine sees.
    pub(super) fn move_from_window(&mut self, page: PageKey) {
        self.fabric.pages.windowed.released(page);
        match self.memory.page_frame(&mut self.arch) {
            Ok(frame) => self.move_content(page, frame),
            // Nobody else maps the one that it is in.
            Err(_) => log::warn!("{page:?} stays in the window: there is no other frame"),
        }
        let (object, index) = page_of(page);
        self.wake(WaitKey::Page(object, index));
    }

    fn move_content(&mut self, page: PageKey, to: Frame) {
        match self.content_frame(page) {
            Some(from) => self.arch.copy_frame(to, from),
            None => log::error!("no frame for a page that is moved: {page:?}"),
        }
        self.install_frame(page, to);
    }

    /// Maps a page's frame in the window.
    pub(super) fn map_window(&mut self, page: PageKey) {
        let (object, index) = page_of(page);
        if let Some(frame) = self.fabric.pages.windowed.located.get(&page).copied()
            && self.memory.page(object, index).is_none_or(|(known, _)| known != frame)
        {
            self.install_frame(page, frame);
        }
        self.allow(page, Rights::READ | Rights::WRITE);
        self.fabric.pages.windowed.mapped.insert(page);
        self.look_later();
    }

    /// Has mappings looked at after a while, if there are any.
    fn look_later(&mut self) {
        let Windowed { mapped, looks, .. } = &mut self.fabric.pages.windowed;
        if !mapped.is_empty() && !core::mem::replace(looks, true) {
            let at = self.now() + LOOK_EVERY;
            self.timers.add(at, TimerAction::WindowLook);
        }
    }

    /// Gives mappings up that were not used since the last look, and finds out which of the others are.
    pub(crate) fn look_at_window(&mut self) {
        self.fabric.pages.windowed.looks = false;
        let mapped: Vec<PageKey> = self.fabric.pages.windowed.mapped.iter().copied().collect();
        for page in mapped {
            let (object, index) = page_of(page);
            match self.memory.page(object, index) {
                None => self.fabric.pages.windowed.unmapped(page),
                Some((_, rights)) if rights.is_empty() => self.give_window_up(page),
                Some(_) => {
                    let none = Rights::empty();
                    self.memory.protect_page_everywhere(&mut self.arch, object, index, none);
                }
            }
        }
        self.look_later();
    }

    /// Whether a page is in the window and mapped from there: here, or, at its home, by `peer`.
    pub(crate) fn is_in_window(&mut self, peer: InstanceId, object: ObjectId, index: u64) -> bool {
        let Some(page) = self.fabric.pages.key(object, index) else { return false };
        let Windowed { mapped, promoted, .. } = &self.fabric.pages.windowed;
        if !self.fabric.pages.is_home(object) {
            return mapped.contains(&page);
        }
        promoted.contains(&page)
            && self
                .fabric
                .pages
                .machine(object.home)
                .is_some_and(|machine| machine.is_used_in_window(page, NodeId(peer.0)))
    }

    /// A page that instructions are to be fetched from leaves the window.
    pub(super) fn leave_window(&mut self, page: PageKey) {
        let windowed = &self.fabric.pages.windowed;
        let (object, index) = page_of(page);
        if windowed.promoted.contains(&page) {
            self.retreat_pages(object, &(index..index + 1));
        } else if windowed.mapped.contains(&page) {
            self.give_window_up(page);
        }
    }

    fn give_window_up(&mut self, page: PageKey) {
        let lead = self.fabric.pages.is_lead(page_of(page).0);
        self.tell_of(page, if lead { Happened::Idle(page) } else { Happened::Evict(page) });
    }

    /// At the home: has everybody leave the window with pages of a range; one that is still there.
    pub(crate) fn retreat_pages(&mut self, object: ObjectId, range: &Range<u64>) -> Option<u64> {
        for page in self.fabric.pages.windowed.promoted_in(object, range) {
            self.tell_of(page, Happened::Retreat(page));
        }
        let left = self.fabric.pages.windowed.promoted_in(object, range);
        left.first().map(|page| page_of(*page).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_names_its_own_frames_only() {
        let all = FrameRange { start: Frame(1000), end: Frame(1033) };
        let window = WindowFrames { all, each: 16 };
        assert_eq!(window.of(1), FrameRange { start: Frame(1016), end: Frame(1032) });
        assert_eq!(window.named(InstanceId(1), 15), Some(Frame(1031)));
        assert_eq!(window.named(InstanceId(1), 16), None);
        assert_eq!(window.named(InstanceId(2), 1), None, "there is no room for a third");
        assert_eq!(window.named(InstanceId(u16::MAX), 0), None);
    }
}
