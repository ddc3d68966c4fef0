//! What a home tells a member about an area.

use maize_abi::Isa;
use maize_abi::migration::PRIVATE;
use maize_abi::pte::Access;
use maize_hal::Arch;
use maize_mm::{Area, AreaFlags, ObjectId, PageStore, Sharing, SpaceId, StoreError};
use maize_wire::InstanceId;
use serde::{Deserialize, Serialize};

use super::{ObjectName, SpaceKey};
use crate::fabric::message::{AskArea, NoArea, TellArea};
use crate::state::State;

/// Where a member finds the pages of an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Pages {
    /// They are kept coherent.
    Object {
        object: ObjectName,
        /// Bytes the object can hold.
        len: u64,
        /// Whether the object ends with the space.
        private: bool,
    },
    /// They are in the root image, which every instance has: start and length there.
    Image(u64, u64),
    /// The page of the migration-request word, of which every instance has its own.
    Request,
}

/// An area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AreaRecord {
    start: u64,
    end: u64,
    /// Bits of [`Access`].
    access: u8,
    pages: Pages,
    /// The object's page at `start`.
    first: u64,
}

impl AreaRecord {
    /// Whether it shows this object, kept coherent.
    pub(crate) fn is_of(&self, object: ObjectId) -> bool {
        matches!(self.pages, Pages::Object { object: shown, .. } if ObjectId::from(shown) == object)
    }

    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    /// Where a page of an object is shown.
    pub(crate) fn address_of(&self, object: ObjectId, index: u64) -> Option<u64> {
        const PAGE: u64 = maize_abi::PAGE_SIZE as u64;
        let pages = index.checked_sub(self.first).filter(|_| self.is_of(object))?;
        let address = self.start.checked_add(pages.checked_mul(PAGE)?)?;
        (address < self.end).then_some(address)
    }
}

impl<A: Arch> State<A> {
    /// Answers a member that does not know what is at an address.
    pub(crate) fn tell_area(&mut self, from: InstanceId, ask: AskArea) {
        let area = self.describe_area(from, &ask);
        self.answer(from, ask.id, TellArea { id: ask.id, area }.into());
    }

    pub(crate) fn describe_area(
        &mut self,
        from: InstanceId,
        ask: &AskArea,
    ) -> Result<AreaRecord, NoArea> {
        let space = self.groups.led_space(ask.space, self.fabric.me, from).ok_or(NoArea::Fault)?;
        if self.isa_of(from) != Some(<A::Isa as Isa>::KIND) && PRIVATE.contains(&ask.address) {
            return self.describe_private(space, ask);
        }
        let access = Access::from_bits_truncate(ask.access);
        let area = self.memory.area_for(space, ask.address, access).map_err(|_| NoArea::Fault)?;
        let pages = self.pages_of(&area)?;
        if let Pages::Object { .. } = pages {
            self.memory.tell_of(area.object);
        }
        if let Pages::Object { private: true, .. } = pages
            && let Some(group) = self.groups.led.get_mut(&space)
        {
            group.private.insert(area.object);
        }
        Ok(AreaRecord {
            start: area.start,
            end: area.end,
            access: area.access.bits(),
            pages,
            first: area.first,
        })
    }

    /// Where a member of another instruction set finds what is that one's own: its code.
    fn describe_private(&self, space: SpaceId, ask: &AskArea) -> Result<AreaRecord, NoArea> {
        const PAGE: u64 = maize_abi::PAGE_SIZE as u64;
        let process = self.processes.values().find(|process| process.space == Some(space));
        let pair = process.and_then(|process| process.pair.as_ref()).ok_or(NoArea::Fault)?;
        let (segment, (start, len)) = pair.private(ask.address).ok_or(NoArea::Fault)?;
        let access = segment.access & !Access::WRITE;
        if !access.contains(Access::from_bits_truncate(ask.access)) {
            return Err(NoArea::Fault);
        }
        Ok(AreaRecord {
            start: segment.start,
            end: segment.file_end,
            access: access.bits(),
            pages: Pages::Image(start, len),
            first: segment.offset / PAGE,
        })
    }

    fn pages_of(&self, area: &Area) -> Result<Pages, NoArea> {
        if area.flags.contains(AreaFlags::INSTANCE_PRIVATE) {
            return Err(NoArea::Unsupported);
        }
        if self.is_move_page(area.object) {
            return Ok(Pages::Request);
        }
        let private = self.memory.is_private(area.object);
        let read_only = !area.effective().contains(Access::WRITE);
        if !private
            && area.sharing == Sharing::Private
            && read_only
            && let Some((start, len)) = self.memory.pristine_image(area.object)
        {
            return Ok(Pages::Image(start, len));
        }
        let len = self.memory.object_len(area.object).ok_or(NoArea::Fault)?;
        Ok(Pages::Object { object: area.object.into(), len, private })
    }

    /// Adds an area that the home has told of to a replica.
    pub(crate) fn learn_area(&mut self, key: SpaceKey, record: &AreaRecord) -> Result<(), NoArea> {
        let object = self.local_object(key, record)?;
        let access = Access::from_bits_truncate(record.access);
        let (sharing, access) = match record.pages {
            // Stores go to the page that all instances share.
            Pages::Object { .. } => (Sharing::Shared, access),
            Pages::Image(..) => (Sharing::Private, access & !Access::WRITE),
            Pages::Request => (Sharing::Shared, Access::READ),
        };
        const PAGE: u64 = maize_abi::PAGE_SIZE as u64;
        if record.start >= record.end
            || !record.start.is_multiple_of(PAGE)
            || !record.end.is_multiple_of(PAGE)
            || record.first.checked_add((record.end - record.start) / PAGE).is_none()
        {
            return Err(NoArea::Fault);
        }
        let area = Area {
            start: record.start,
            end: record.end,
            access,
            may: access,
            sharing,
            flags: AreaFlags::empty(),
            object,
            first: record.first,
            label: None,
        };
        let Some(replica) = self.groups.replicas.get(&key) else { return Err(NoArea::Fault) };
        let space = replica.space();
        self.memory.add_replica_area(&mut self.arch, space, area);
        Ok(())
    }

    /// The object for a range of the root image that areas of other instances' processes map.
    pub(crate) fn image_object(&mut self, start: u64, len: u64) -> Result<ObjectId, StoreError> {
        if let Some(object) = self.groups.images.get(&(start, len)) {
            return Ok(*object);
        }
        let object = self.memory.store(&mut self.arch).create_from_image(start, len)?;
        self.groups.images.insert((start, len), object);
        Ok(object)
    }

    /// The object that stands for an area's pages here.
    fn local_object(&mut self, key: SpaceKey, record: &AreaRecord) -> Result<ObjectId, NoArea> {
        match record.pages {
            Pages::Request => self.move_page().map_err(|_| NoArea::Unsupported),
            Pages::Image(start, len) => {
                self.image_object(start, len).map_err(|_| NoArea::Unsupported)
            }
            Pages::Object { object, len, private } => {
                let object = ObjectId::from(object);
                if object.home == self.fabric.me.0 {
                    let known = self.memory.has_object(object);
                    return if known { Ok(object) } else { Err(NoArea::Fault) };
                }
                if self.memory.create_replica(object, len).is_err() {
                    // It is known already, perhaps only as one that a sibling maps.
                    self.memory.set_replica_len(object, len);
                }
                if private && let Some(replica) = self.groups.replicas.get_mut(&key) {
                    replica.own(object);
                }
                Ok(object)
            }
        }
    }
}
