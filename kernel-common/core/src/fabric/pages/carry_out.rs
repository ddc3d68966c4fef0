//! What the page protocol wants done with frames and page tables, done.

use alloc::boxed::Box;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access as Rights;
use maize_coherence::shared::{AHEAD_MAX, Ahead};
use maize_coherence::{Access, Failure, NodeId, PageKey};
use maize_hal::{Arch, Frame};
use maize_mm::ObjectId;
use maize_wire::{InstanceId, Page as Content};

use super::machine::{self, Brings, Deed};
use super::name::page_of;
use super::{AtHand, Page};
use crate::state::State;
use crate::timer::TimerAction;
use crate::wait::WaitKey;

/// What a page may be used for that the protocol grants `access` to.
pub(super) fn rights_of(access: Access) -> Rights {
    if access == Access::Write { Rights::all() } else { Rights::READ | Rights::EXECUTE }
}

impl<A: Arch> State<A> {
    pub(super) fn carry_out(&mut self, deed: Deed, content: AtHand<'_>) {
        match deed {
            Deed::Send { to, page, bytes, brings } => self.send_page(to, page, bytes, brings),
            Deed::Lend { to, page, access, window, ahead } => {
                self.lend(to, page, (access, window), ahead);
            }
            Deed::Fill(page) => self.fill_page(page),
            Deed::Install(page) => {
                self.install_content(page, content, Rights::empty());
            }
            Deed::Stash(page) => self.stash(page, content),
            Deed::InstallStashed(page) => self.install_stashed(page),
            Deed::Adopt(page, frame) => self.adopt_frame(page, frame),
            Deed::Map(page, access) => self.set_rights(page, access),
            Deed::Locate(page, frame) => self.locate_page(page, frame),
            Deed::MapWindow(page) => self.map_window(page),
            Deed::ToWindow(page) => self.move_to_window(page),
            Deed::FromWindow(page) => self.move_from_window(page),
            Deed::Unmap(page) => self.unmap_page(page),
            Deed::Release(page) => self.release_page(page),
            Deed::Wake(page) => {
                let (object, index) = page_of(page);
                self.wake(WaitKey::Page(object, index));
                self.resume_copies(object, index);
            }
            Deed::Timer(page, at) => {
                // Whoever wants the page may have asked before it came, and asks only once: a thread
                // that waits for another page meanwhile must not keep this one for ever.
                let timer = self.timers.add(at, TimerAction::PageHold(page.into()));
                if let Some(before) = self.fabric.pages.hold_ends.insert(page, timer) {
                    self.timers.cancel(before);
                }
            }
            Deed::Fail(page, failure) => {
                let (object, index) = page_of(page);
                self.fabric.pages.failed.insert((object, index), failure);
                self.wake(WaitKey::Page(object, index));
                self.resume_copies(object, index);
            }
        }
    }

    /// The frame with the page's content here. The home of a page that was never sent has it, or
    /// makes it as a local fault would.
    pub(super) fn content_frame(&mut self, page: PageKey) -> Option<Frame> {
        let (object, index) = page_of(page);
        if let Some(frame) = self.fabric.pages.departing.get(&page) {
            return Some(*frame);
        }
        if let Some((frame, _)) = self.memory.page(object, index) {
            return Some(frame);
        }
        if !self.fabric.pages.is_home(object) {
            return None;
        }
        self.memory.materialise(&mut self.arch, object, index).ok().flatten()
    }

    /// The page's content; `None` if that is zeros: such a page is made where it is wanted.
    fn content_to_send(&mut self, page: PageKey) -> Option<Box<Content>> {
        let Some(frame) = self.content_frame(page) else {
            log::error!("no frame for a page that is sent: {page:?}");
            return None;
        };
        let mut copy = self.fabric.take_spare();
        self.arch.read(frame, 0, copy.bytes_mut());
        if copy.0.iter().all(|word| *word == 0) {
            self.fabric.give_spare(Some(copy));
            return None;
        }
        Some(copy)
    }

    fn send_page(&mut self, to: NodeId, page: PageKey, message: Vec<u8>, brings: Brings) {
        let (mut content, mut frames) = (None, Vec::new());
        match brings {
            Brings::Nothing => {}
            Brings::Content => content = self.content_to_send(page),
            Brings::Place => frames.extend(self.window_number(page)),
        }
        let page = Page { page: page.into(), message, frames };
        self.post(InstanceId(to.0), page.into(), content);
    }

    /// Tells a sibling which frames to map.
    fn lend(&mut self, to: NodeId, page: PageKey, (access, window): (Access, bool), ahead: Ahead) {
        let mut frames = Vec::new();
        let mut named = Ahead::default();
        let message = match self.frame_to_lend(page) {
            Some(frame) => {
                frames.push(frame.0);
                for bit in (0..AHEAD_MAX).filter(|bit| ahead.pages & 1 << bit != 0) {
                    let next = PageKey { index: page.index + 1 + u32::from(bit), ..page };
                    if let Some(frame) = self.frame_to_lend(next) {
                        frames.push(frame.0);
                        named.pages |= 1 << bit;
                        named.writable |= ahead.writable & 1 << bit;
                    }
                }
                machine::mapping(access, window, named)
            }
            None => {
                log::error!("no frame of a page that is to be lent: {page:?}");
                machine::no_mapping()
            }
        };
        self.stats.fabric.pages_lent += frames.len() as u64;
        self.post(InstanceId(to.0), Page { page: page.into(), message, frames }.into(), None);
    }

    fn frame_to_lend(&mut self, page: PageKey) -> Option<Frame> {
        let (object, index) = page_of(page);
        if self.memory.page(object, index).is_none() {
            if self.fabric.pages.departing.contains_key(&page) {
                return None;
            }
            self.content_frame(page)?;
        }
        self.memory.lend_page(&mut self.arch, object, index)
    }

    /// A frame with `content` or zeros. Without one the page counts as lost.
    fn content_in_frame(&mut self, page: PageKey, content: AtHand<'_>) -> Option<Frame> {
        let Ok(frame) = self.memory.page_frame(&mut self.arch) else {
            log::error!("no frame for a page that arrives: {page:?}");
            self.fabric.pages.failed.insert(page_of(page), Failure::Lost);
            return None;
        };
        match content {
            Some(content) => self.arch.write(frame, 0, content.bytes()),
            None => self.arch.zero(frame, 0, PAGE_SIZE),
        }
        Some(frame)
    }

    /// Gives a page its initial content: at its home what it has or a local fault would make.
    fn fill_page(&mut self, page: PageKey) {
        if self.content_frame(page).is_none() {
            self.install_content(page, None, Rights::empty());
        }
    }

    /// Gives a page a frame, with `content` or zeros, that may be used for `rights`. False if there is no
    /// frame, or no use for it.
    pub(super) fn install_content(
        &mut self,
        page: PageKey,
        content: AtHand<'_>,
        rights: Rights,
    ) -> bool {
        let frame = self.content_in_frame(page, content);
        frame.is_some_and(|frame| self.install_with(page, frame, rights))
    }

    /// Keeps content until nobody maps the page's frame any more.
    fn stash(&mut self, page: PageKey, content: AtHand<'_>) {
        if let Some(frame) = self.content_in_frame(page, content) {
            self.fabric.pages.stashed.entry(page).or_default().push_back(frame);
        }
    }

    fn install_stashed(&mut self, page: PageKey) {
        let Entry::Occupied(mut stashed) = self.fabric.pages.stashed.entry(page) else { return };
        let frame = stashed.get_mut().pop_front();
        if stashed.get().is_empty() {
            stashed.remove();
        }
        if let Some(frame) = frame {
            self.install_frame(page, frame);
        }
    }

    /// A page's frame is another instance's of this machine.
    fn adopt_frame(&mut self, page: PageKey, frame: Frame) {
        self.stats.fabric.pages_mapped += 1;
        self.install_frame(page, frame);
    }

    /// Gives a page a frame; what it may be used for is said next.
    pub(super) fn install_frame(&mut self, page: PageKey, frame: Frame) {
        self.install_with(page, frame, Rights::empty());
    }

    fn install_with(&mut self, page: PageKey, frame: Frame, rights: Rights) -> bool {
        let (object, index) = page_of(page);
        if self.was_dropped(object, index) {
            self.stats.fabric.late_pages += 1;
            self.memory.frames().release(frame);
            return false;
        }
        let copy = (frame, rights);
        let installed = self.memory.install_page(&mut self.arch, object, index, copy);
        if installed.is_err() {
            self.memory.frames().release(frame);
        }
        if let Some(old) = self.fabric.pages.departing.remove(&page) {
            self.memory.frames().release(old);
        }
        installed.is_ok()
    }

    /// At the home, in the middle of a change: whether it has dropped a page that arrives. Its life ends
    /// with the change, and what was elsewhere until then must not be seen again.
    fn was_dropped(&self, object: ObjectId, index: u64) -> bool {
        let pages = &self.fabric.pages;
        pages.is_home(object)
            && pages.paused.contains_key(&object)
            && !self.memory.is_elsewhere(object, index)
    }

    fn set_rights(&mut self, page: PageKey, access: Access) {
        self.allow(page, rights_of(access));
    }

    /// Maps the page's frame with these rights, no more and no less.
    pub(super) fn allow(&mut self, page: PageKey, wanted: Rights) {
        let (object, index) = page_of(page);
        if self.memory.page(object, index).is_none() {
            if let Some(frame) = self.fabric.pages.departing.remove(&page) {
                let copy = (frame, Rights::empty());
                if self.memory.install_page(&mut self.arch, object, index, copy).is_err() {
                    self.memory.frames().release(frame);
                }
            } else if self.content_frame(page).is_none() {
                return;
            }
        }
        let Some((frame, rights)) = self.memory.page(object, index) else { return };
        if wanted.contains(rights) {
            // The frame is there: it cannot be refused.
            let _ = self.memory.install_page(&mut self.arch, object, index, (frame, wanted));
        } else {
            self.memory.protect_page_everywhere(&mut self.arch, object, index, wanted);
        }
    }

    fn unmap_page(&mut self, page: PageKey) {
        self.fabric.pages.windowed.unmapped(page);
        let (object, index) = page_of(page);
        if self.fabric.pages.departing.contains_key(&page) || self.content_frame(page).is_none() {
            return;
        }
        if let Some(frame) = self.memory.unmap_page_everywhere(&mut self.arch, object, index) {
            self.fabric.pages.departing.insert(page, frame);
        }
    }

    pub(super) fn release_page(&mut self, page: PageKey) {
        self.unmap_page(page);
        self.fabric.pages.windowed.released(page);
        if let Some(frame) = self.fabric.pages.departing.remove(&page) {
            self.memory.frames().release(frame);
        }
    }
}
