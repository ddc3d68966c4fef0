//! Getting a page that is elsewhere.

use maize_abi::pte::Access as Rights;
use maize_coherence::{Access, Failure};
use maize_hal::{Arch, Nanos, Report};
use maize_mm::{FaultError, NeedPage, SpaceId};

use super::Pages;
use super::machine::Happened;
use super::name::segment;
use crate::handle::Handle;
use crate::state::State;
use crate::thread::Current;
use crate::wait::{Interruptible, WaitKey};

impl<A: Arch> State<A> {
    /// Asks for a page. True if it is here now.
    ///
    /// # Errors
    /// [`FaultError::PastEnd`] if its content, or who could hand it out, is lost.
    pub(crate) fn request_page(&mut self, need: NeedPage) -> Result<bool, FaultError> {
        let NeedPage { object, index, access } = need;
        let wanted = if access.contains(Rights::WRITE) { Rights::WRITE } else { Rights::READ };
        if !self.fabric.is_joined() {
            log::warn!("page {index} of {object:?} is on an instance that is not linked");
            return Err(FaultError::PastEnd);
        }
        let pages = &mut self.fabric.pages;
        let page = pages.key(object, index).ok_or(FaultError::PastEnd)?;
        if pages.is_home(object)
            && let Some(machine) = pages.machine(object.home)
        {
            machine.adopt(page);
        }
        let readable =
            self.memory.page(object, index).is_some_and(|(_, rights)| !rights.is_empty());
        let habits = &mut self.fabric.pages.habits;
        let for_writing = if wanted == Rights::WRITE {
            if readable {
                habits.upgraded(object, index);
            }
            true
        } else {
            !readable && habits.will_be_written(object, index)
        };
        let access = if for_writing { Access::Write } else { Access::Read };
        if need.access.contains(Rights::EXECUTE) {
            self.leave_window(page);
        }
        self.admit_rivals(object, index);
        self.tell_of(page, Happened::Fault { page, access });
        self.failure(need)?;
        let here = self.memory.page(object, index);
        let here = here.is_some_and(|(_, rights)| rights.contains(wanted));
        if !here {
            let asking = &mut self.fabric.pages.asking;
            if !asking.contains_key(&(object, index)) {
                asking.insert((object, index), 0);
            }
        }
        Ok(here)
    }

    /// Says how far pages beside one that is needed at `va` may be fetched ahead: to the end of the area.
    pub(crate) fn bound_prefetch(&mut self, space: SpaceId, va: u64, need: NeedPage) {
        let pages = &mut self.fabric.pages;
        // Nothing is fetched ahead of what is written.
        let writes = need.access.contains(Rights::WRITE);
        if writes || pages.prefetch == 0 || !pages.is_lead(need.object) {
            return;
        }
        let Some(area) = self.memory.area(space, va).filter(|area| area.object == need.object)
        else {
            return;
        };
        if let Some((segment, index)) = segment(need.object, need.index)
            && let Some(machine) = pages.machine(need.object.home)
        {
            let left = area.first + area.pages() - need.index;
            machine.bound(segment, index.saturating_add(u32::try_from(left).unwrap_or(u32::MAX)));
        }
    }

    fn failure(&mut self, need: NeedPage) -> Result<(), FaultError> {
        match self.fabric.pages.failed.remove(&(need.object, need.index)) {
            None | Some(Failure::Stale) => Ok(()),
            Some(failure @ (Failure::Lost | Failure::HomeDied)) => {
                log::warn!("page {} of {:?}: {failure:?}", need.index, need.object);
                // A program that goes on may touch any number of them.
                if !core::mem::replace(&mut self.fabric.pages.told_of_loss, true) {
                    let text = "a page was on an instance which is gone: who uses it gets SIGBUS";
                    self.host.report(Report::Fault { text: text.into() });
                }
                Err(FaultError::PastEnd)
            }
        }
    }

    /// Holds a page that came for a thread until it has been in user mode.
    fn hold_for(&mut self, current: Current, need: NeedPage) {
        if let Some(page) = self.fabric.pages.key(need.object, need.index) {
            let Pages { held, asking, contested, .. } = &mut self.fabric.pages;
            held.push((current.tid, page));
            if asking.remove(&(need.object, need.index)).is_some_and(|messages| messages > 1) {
                contested.insert(current.tid);
            }
        }
    }
}

impl<A: Arch> Handle<A> {
    /// Gets a page that another instance has, or the right to write one. The caller looks again:
    /// the page may have gone again, or mean something else.
    ///
    /// # Errors
    /// [`FaultError::PastEnd`] if it is lost.
    pub(crate) async fn obtain(&self, current: Current, need: NeedPage) -> Result<(), FaultError> {
        let here = self.with(|s| s.request_page(need))?;
        if here {
            self.with(|s| s.hold_for(current, need));
            return Ok(());
        }
        let key = [WaitKey::Page(need.object, need.index)];
        self.wait_for(current.task, &key, Nanos::NEVER, Interruptible::Not).await;
        self.with(|s| {
            s.hold_for(current, need);
            s.failure(need)
        })
    }
}
