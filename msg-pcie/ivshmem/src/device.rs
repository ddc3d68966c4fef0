//! The device as one instance of the machine uses it.
#![allow(unsafe_code, reason = "maps device registers and memory")]

use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};

use maize_pci::{MsiMessage, MsixTable};
use maize_window::Mapping;
use safe_mmio::fields::{ReadPure, ReadPureWrite, WriteOnly};
use safe_mmio::{UniqueMmioPointer, field_shared, split_fields};

use crate::discovery::REGISTERS_LEN;
use crate::{Addresses, IvshmemError};

/// The registers (QEMU, `docs/specs/ivshmem-spec`).
#[derive(Debug)]
#[repr(C)]
struct Registers {
    /// For INTx only.
    mask: ReadPureWrite<u32>,
    /// For INTx only; reading clears it.
    status: WriteOnly<u32>,
    /// The id that the server has given.
    position: ReadPure<u32>,
    /// Writing `id << 16 | vector` rings.
    doorbell: WriteOnly<u32>,
}

const _: () = assert!(size_of::<Registers>() as u64 == REGISTERS_LEN);

/// How physical addresses become pointers. Both map for good, and give `None` if there is no room.
#[derive(Clone, Copy, Debug)]
pub struct Maps {
    /// Maps device registers.
    pub device: fn(u64, usize) -> Option<NonNull<u8>>,
    /// Maps ordinary memory, write-back cacheable.
    pub memory: fn(u64, usize) -> Option<NonNull<u8>>,
}

/// The device, mapped for one instance.
#[derive(Debug)]
pub struct Ivshmem {
    /// The memory that all machines share.
    pub window: Mapping<'static>,
    /// Where that begins, as this machine's processors address it.
    pub physical: u64,
    /// This machine's number.
    pub machine: u16,
    /// Rings others.
    pub bell: Bell,
    table: MsixTable,
    index: u16,
}

impl Ivshmem {
    /// Maps the device for the instance with that index inside its machine. Its vector is set by
    /// [`Self::listen`].
    ///
    /// # Errors
    /// [`IvshmemError`] if something cannot be mapped, or there is no vector for this instance.
    ///
    /// # Safety
    /// `addresses` are [`crate::find`]'s, found in this machine. What `maps` gives is mapped as it
    /// is said to be, at these addresses, and for good. The instance reaches the device by this
    /// value only.
    pub unsafe fn open(
        addresses: &Addresses,
        index: u16,
        maps: Maps,
    ) -> Result<Ivshmem, IvshmemError> {
        let Addresses { registers, window, table, vectors } = *addresses;
        if index >= vectors {
            return Err(IvshmemError::NoVector { index, vectors });
        }
        let map = |map: fn(u64, usize) -> Option<NonNull<u8>>, address: u64, size: u64| {
            let mapped = usize::try_from(size).ok().and_then(|len| map(address, len));
            mapped.ok_or(IvshmemError::NoMapping { address, size })
        };
        let pointer = map(maps.device, registers, REGISTERS_LEN)?;
        // SAFETY: the BAR has as many bytes (`find`) and is mapped as device memory for good.
        let registers: UniqueMmioPointer<'static, Registers> =
            unsafe { UniqueMmioPointer::new(pointer.cast()) };
        let position = field_shared!(registers, position).read();
        let machine = u16::try_from(position).map_err(|_| IvshmemError::NoId)?;
        let table_len = MsixTable::len_of(vectors);
        let pointer = map(maps.device, table, table_len)?;
        // SAFETY: the table has that many entries (`find`) and is mapped as device memory for good.
        let table = unsafe { MsixTable::attach(pointer, vectors) };
        let physical = window.address;
        let no_window = IvshmemError::NoMapping { address: window.address, size: window.size };
        let pointer = map(maps.memory, window.address, window.size)?;
        let bytes = usize::try_from(window.size).map_err(|_| no_window)?;
        // SAFETY: mapped for good, as ordinary memory; only windows over it are made of it, and
        // they use aligned 64-bit atomics. The page frames behind what links use may be given to
        // programs, and are reached as their RAM is: by raw pointers.
        let window = unsafe { Mapping::new(pointer, bytes) }.map_err(|_| no_window)?;
        // SAFETY: the field is named once.
        let doorbell = unsafe { split_fields!(registers, doorbell) };
        let bell = Bell { doorbell };
        Ok(Ivshmem { window, physical, machine, bell, table, index })
    }

    /// Lets `message` be sent for this instance's vector from now on. Rings before are lost.
    ///
    /// # Errors
    /// [`IvshmemError::Msix`] if the table has no such entry, which [`Self::open`] has ruled out.
    pub fn listen(&mut self, message: MsiMessage) -> Result<(), IvshmemError> {
        Ok(self.table.set(self.index, message)?)
    }
}

/// Rings instances of other machines.
#[derive(Debug)]
pub struct Bell {
    doorbell: UniqueMmioPointer<'static, WriteOnly<u32>>,
}

impl Bell {
    /// Rings the instance with index `index` inside machine `machine`. If there is none, nothing
    /// happens.
    #[inline]
    pub fn ring(&mut self, machine: u16, index: u16) {
        // What was written to the window is there before the interrupt is: a write to a device does
        // not wait for writes to memory on its own.
        fence(Ordering::SeqCst);
        self.doorbell.write(u32::from(machine) << 16 | u32::from(index));
    }
}
