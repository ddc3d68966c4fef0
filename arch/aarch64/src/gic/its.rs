//! The interrupt translation service of a GICv3 (Arm IHI 0069, chapter 5): a device's write of an
//! *event* to the service raises a *locality-specific interrupt* (LPI) at one processor.
//!
//! The machine's first instance sets the service up, for itself and its siblings: instance `i` owns
//! the events `i * EVENTS..(i + 1) * EVENTS` of every device, which raise as many LPIs at its core. So
//! a sibling needs nothing of the service but its address. Translations are made once; nothing
//! changes them later.
#![allow(unsafe_code, reason = "device registers, and tables that hardware reads")]

use core::ops::Range;
use core::ptr::NonNull;

use super::{GicError, Message};

/// Messages of each instance.
pub const EVENTS: u32 = 4;

/// Most instances of a machine.
pub const INSTANCES: u32 = 16;

/// The first LPI.
pub const FIRST_LPI: u32 = 8192;

/// Most devices that raise messages.
const DEVICES: u64 = 32;

const PAGE: u64 = 4096;
const BLOCK: u64 = 64 * 1024;

/// Bytes of the command queue.
const QUEUE: u64 = BLOCK;
/// `log2` of the number of interrupts whose settings the table holds, less one: numbers up to 16383.
const ID_BITS: u64 = 13;
/// Bytes of a device's translations: two words for each event.
const ITT: u64 = (EVENTS * INSTANCES) as u64 * 16;

const _: () = assert!((EVENTS * INSTANCES).is_power_of_two());

/// Normal memory, inner write-back, inner shareable: as the kernel maps it.
const CACHEABLE: u64 = 7 << 59 | 1 << 10;
const CACHEABLE_LPI: u64 = 7 << 7 | 1 << 10;
const VALID: u64 = 1 << 63;

/// Physical addresses of the tables in the memory given to the service.
///
/// Pending tables first, since each must begin at a multiple of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    start: u64,
}

impl Tables {
    /// Bytes that the tables take.
    pub const LEN: u64 = INSTANCES as u64 * BLOCK + QUEUE + 4 * PAGE + DEVICES * ITT;

    /// The tables from physical `start` on. `None` if that is no multiple of 64 KiB.
    #[must_use]
    pub const fn new(start: u64) -> Option<Tables> {
        if start.is_multiple_of(BLOCK) { Some(Tables { start }) } else { None }
    }

    /// Where they begin.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    const fn pending(self, instance: u32) -> u64 {
        self.start + instance as u64 * BLOCK
    }

    const fn queue(self) -> u64 {
        self.start + INSTANCES as u64 * BLOCK
    }

    const fn devices(self) -> u64 {
        self.queue() + QUEUE
    }

    const fn collections(self) -> u64 {
        self.devices() + PAGE
    }

    /// Two pages: a byte for each LPI up to 16383.
    const fn settings(self) -> u64 {
        self.collections() + PAGE
    }

    const fn translations(self, device: u64) -> u64 {
        self.settings() + 2 * PAGE + device * ITT
    }

    /// `GICR_PROPBASER` of every redistributor.
    #[must_use]
    pub const fn settings_register(self) -> u64 {
        self.settings() | CACHEABLE_LPI | ID_BITS
    }

    /// `GICR_PENDBASER` of an instance's redistributor: the table is zero.
    #[must_use]
    pub const fn pending_register(self, instance: u32) -> u64 {
        const ZERO: u64 = 1 << 62;
        self.pending(instance) | CACHEABLE_LPI | ZERO
    }
}

/// The LPIs of one instance, as the interrupts of its devices' messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lpis {
    translater: u64,
    next: u32,
    end: u32,
}

impl Lpis {
    /// Those of instance `instance` of the machine; the service's registers are at physical `its`.
    #[must_use]
    pub const fn new(its: u64, instance: u32) -> Lpis {
        let first = instance * EVENTS;
        Lpis { translater: its + TRANSLATER, next: first, end: first + EVENTS }
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// [`GicError::OutOfMessages`].
    pub fn allocate(&mut self) -> Result<Message, GicError> {
        if self.next == self.end {
            return Err(GicError::OutOfMessages);
        }
        let event = self.next;
        self.next += 1;
        Ok(Message { address: self.translater, data: event, interrupt: FIRST_LPI + event })
    }
}

/// Offsets of the service's registers.
const CTLR: usize = 0x0;
const TYPER: usize = 0x8;
const CBASER: usize = 0x80;
const CWRITER: usize = 0x88;
const CREADR: usize = 0x90;
const BASER: Range<usize> = 0x100..0x140;
const TRANSLATER: u64 = 0x1_0040;

/// A command: four words.
type Command = [u64; 4];

/// Collection `collection` is the processor `target`.
const fn map_collection(collection: u32, target: u64) -> Command {
    [0x09, 0, VALID | target | collection as u64, 0]
}

/// Device `device` has the translations at physical `table`.
const fn map_device(device: u32, table: u64) -> Command {
    const EVENT_BITS: u64 = (EVENTS * INSTANCES).ilog2() as u64 - 1;
    [0x08 | (device as u64) << 32, EVENT_BITS, VALID | table, 0]
}

/// Event `event` of a device raises an LPI at a collection.
const fn map_event(device: u32, event: u32, lpi: u32, collection: u32) -> Command {
    let number = (lpi as u64) << 32 | event as u64;
    [0x0a | (device as u64) << 32, number, collection as u64, 0]
}

/// A collection's settings are read anew.
const fn invalidate(collection: u32) -> Command {
    [0x0d, 0, collection as u64, 0]
}

/// All before it has taken effect for the processor `target`.
const fn synchronise(target: u64) -> Command {
    [0x05, 0, target, 0]
}

/// A processor that LPIs go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Physical address of its redistributor.
    pub redistributor: u64,
    /// Its number, as the redistributor has it.
    pub number: u64,
}

/// What a service is set up from.
#[derive(Debug)]
pub struct ItsParts<'a> {
    /// The service's registers, mapped.
    pub registers: NonNull<u8>,
    /// Where its tables are.
    pub tables: Tables,
    /// The tables' memory, mapped.
    pub memory: NonNull<u8>,
    /// The processors of the instances, in order.
    pub targets: &'a [Target],
    /// The devices: on PCI, bus, device and function in 16 bits.
    pub devices: &'a [u32],
}

/// Sets the service up.
///
/// # Safety
/// `registers` are the mapping, as device memory, of a service's first 64 KiB; `memory` is that of
/// [`Tables::LEN`] bytes of RAM at `tables`, as Normal memory, both for good; the RAM is nobody
/// else's as long as the machine runs. Called once in a machine.
///
/// # Errors
/// [`GicError::NotReady`] if it does not take a table or a command.
pub unsafe fn set_up(parts: &ItsParts<'_>) -> Result<(), GicError> {
    let (registers, tables) = (Registers(parts.registers), parts.tables);
    // SAFETY: the caller's.
    unsafe { parts.memory.write_bytes(0, Tables::LEN as usize) };
    let settings = (tables.settings() - tables.start) as usize;
    // SAFETY: inside the memory. Each byte: priority 0xa0, a fixed bit, enabled.
    unsafe { parts.memory.add(settings).write_bytes(0xa3, 2 * PAGE as usize) };
    registers.write(CTLR, 0);
    registers.wait(CTLR, |value| value >> 31 & 1 == 1)?;
    for register in BASER.step_by(8) {
        const TYPE: u64 = 56;
        let start = match registers.read_long(register) >> TYPE & 7 {
            1 => tables.devices(),
            4 => tables.collections(),
            _ => continue,
        };
        // One page of 4 KiB: the type and size of an entry in the register cannot be changed.
        registers.write_long(register, VALID | CACHEABLE | start);
        const PAGE_SIZE: u64 = 3 << 8;
        if registers.read_long(register) & (VALID | PAGE_SIZE) != VALID {
            return Err(GicError::NotReady);
        }
    }
    registers.write_long(CBASER, VALID | CACHEABLE | tables.queue() | (QUEUE / PAGE - 1));
    registers.write_long(CWRITER, 0);
    registers.write(CTLR, 1);

    // A register says by what of a processor collections are told apart.
    const BY_ADDRESS: u64 = 1 << 19;
    let by_address = registers.read_long(TYPER) & BY_ADDRESS != 0;
    let target =
        |target: &Target| if by_address { target.redistributor } else { target.number << 16 };
    let mut queue = Queue { parts, registers, at: 0 };
    let targets = || (0..INSTANCES).zip(parts.targets);
    for (collection, at) in targets() {
        queue.push(map_collection(collection, target(at)));
    }
    for (index, device) in (0..DEVICES).zip(parts.devices) {
        queue.push(map_device(*device, tables.translations(index)));
        for (collection, _) in targets() {
            for event in collection * EVENTS..(collection + 1) * EVENTS {
                queue.push(map_event(*device, event, FIRST_LPI + event, collection));
            }
        }
        queue.run()?;
    }
    for (collection, at) in targets() {
        queue.push(invalidate(collection));
        queue.push(synchronise(target(at)));
    }
    queue.run()
}

/// The service's registers.
#[derive(Clone, Copy, Debug)]
struct Registers(NonNull<u8>);

impl Registers {
    fn read(self, offset: usize) -> u32 {
        // SAFETY: `set_up`'s caller vouched for the mapping; the offset is a register's.
        unsafe { self.0.add(offset).cast::<u32>().read_volatile() }
    }

    fn read_long(self, offset: usize) -> u64 {
        // SAFETY: as above.
        unsafe { self.0.add(offset).cast::<u64>().read_volatile() }
    }

    fn write(self, offset: usize, value: u32) {
        // SAFETY: as above; the tables that the service is given are its own.
        unsafe { self.0.add(offset).cast::<u32>().write_volatile(value) }
    }

    fn write_long(self, offset: usize, value: u64) {
        // SAFETY: as above.
        unsafe { self.0.add(offset).cast::<u64>().write_volatile(value) }
    }

    fn wait(self, offset: usize, done: impl Fn(u32) -> bool) -> Result<(), GicError> {
        const PATIENCE: usize = 1_000_000;
        let found = (0..PATIENCE).find(|_| done(self.read(offset)));
        found.map(|_| ()).ok_or(GicError::NotReady)
    }
}

/// The command queue.
struct Queue<'a> {
    parts: &'a ItsParts<'a>,
    registers: Registers,
    at: u64,
}

impl Queue<'_> {
    /// Adds a command. Between two [`Self::run`]s there are far fewer than the queue holds.
    fn push(&mut self, command: Command) {
        let queue = self.parts.tables.queue() - self.parts.tables.start;
        // SAFETY: inside the memory, by `set_up`'s caller; nobody reads there before `run`.
        unsafe {
            self.parts.memory.add((queue + self.at) as usize).cast::<Command>().write(command);
        };
        self.at = (self.at + size_of::<Command>() as u64) % QUEUE;
    }

    /// Has the commands executed.
    fn run(&mut self) -> Result<(), GicError> {
        // The service reads the commands after it hears of them.
        #[cfg(target_os = "none")]
        aarch64_cpu::asm::barrier::dsb(aarch64_cpu::asm::barrier::SY);
        self.registers.write_long(CWRITER, self.at);
        // Its lowest bit says that it has stalled on one.
        let at = self.at as u32;
        self.registers.wait(CREADR, |value| value == at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_the_architectures() {
        assert_eq!(map_collection(3, 5 << 16), [9, 0, VALID | 5 << 16 | 3, 0]);
        assert_eq!(map_device(0x18, 0x4_0000), [8 | 0x18 << 32, 5, VALID | 0x4_0000, 0]);
        assert_eq!(map_event(0x18, 61, 8253, 15), [0xa | 0x18 << 32, 8253 << 32 | 61, 15, 0]);
        assert_eq!((invalidate(2), synchronise(7 << 16)), ([0xd, 0, 2, 0], [5, 0, 7 << 16, 0]));
    }

    #[test]
    fn tables_do_not_overlap_and_are_aligned() {
        assert_eq!(Tables::new(0x1000), None);
        let tables = Tables::new(0x5000_0000).unwrap();
        let places = [
            tables.pending(0),
            tables.pending(15),
            tables.queue(),
            tables.devices(),
            tables.collections(),
            tables.settings(),
            tables.translations(0),
            tables.translations(DEVICES - 1),
            tables.start() + Tables::LEN,
        ];
        let lens = [BLOCK, BLOCK, QUEUE, PAGE, PAGE, 2 * PAGE, ITT, ITT];
        for ((at, len), next) in places.iter().zip(lens).zip(&places[1..]) {
            assert!(at + len <= *next);
        }
        assert!(tables.pending(15).is_multiple_of(BLOCK) && tables.queue().is_multiple_of(BLOCK));
        assert!(tables.translations(1).is_multiple_of(256));
    }

    #[test]
    fn messages_of_instances_differ() {
        let mut first = Lpis::new(0x808_0000, 0);
        let mut last = Lpis::new(0x808_0000, 15);
        let message = |event| Message { address: 0x809_0040, data: event, interrupt: 8192 + event };
        assert_eq!((first.allocate(), first.allocate()), (Ok(message(0)), Ok(message(1))));
        assert_eq!(last.allocate(), Ok(message(60)));
        for _ in 0..3 {
            assert!(last.allocate().is_ok());
        }
        assert_eq!(last.allocate(), Err(GicError::OutOfMessages));
    }
}
