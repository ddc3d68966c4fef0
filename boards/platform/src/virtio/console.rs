//! A port of a virtio console device as a byte stream that never waits.
//!
//! It is port 1, a serial port, and not the console that port 0 is: from a console QEMU drops what
//! its reader has no room for, while a serial port keeps the buffer until there is room.
//!
//! `virtio-drivers` has a console driver, but its `send` spins until the device has taken the bytes,
//! which is as long as the launcher does not read; so its queues are used directly.
#![allow(unsafe_code, reason = "lends buffers to a device")]

use alloc::vec::Vec;
use core::ptr::NonNull;

use bitflags::bitflags;
use maize_abi::PAGE_SIZE;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;
use virtio_drivers::transport::pci::VirtioPciError;

use super::{MsixTransport, VirtioError};
use crate::ByteStream;
use crate::dma::{self, VirtioHal};

/// The port of the host link.
const PORT: u32 = 1;

/// Its queues. Before them come those of port 0, which is not used, and the two control queues.
const RECEIVE: u16 = 4;
const TRANSMIT: u16 = 5;

/// The queue by which the driver tells the device about ports.
const CONTROL: u16 = 3;
const CONTROL_BUFFERS: usize = 4;

/// Kinds of control messages.
const DEVICE_READY: u16 = 0;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;

/// Buffers of one page in each direction.
const RECEIVE_BUFFERS: usize = 16;
const TRANSMIT_BUFFERS: usize = 64;

bitflags! {
    /// Features that are asked for. Event indices are left out: `virtio-drivers` compares them
    /// without regard to their wrapping.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Features: u64 {
        const MULTIPORT = 1 << 1;
        const VERSION_1 = 1 << 32;
    }
}

/// One page of DMA memory.
#[derive(Clone, Copy, Debug)]
struct Buffer(NonNull<[u8]>);

impl Buffer {
    fn allocate() -> Result<Buffer, VirtioError> {
        let (_, page) = dma::allocate(1).ok_or(VirtioError::NoMemory)?;
        Ok(Buffer(NonNull::slice_from_raw_parts(page, PAGE_SIZE)))
    }

    /// The buffer's bytes.
    ///
    /// # Safety
    /// The buffer is not lent to the device, or is being lent or taken back by this very call.
    unsafe fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the page was given out to this buffer alone, and the caller vouches that the
        // device does not write it meanwhile.
        unsafe { self.0.as_mut() }
    }
}

/// One direction: a queue and the buffers lent to the device, by token.
struct Direction<const SIZE: usize> {
    queue: VirtQueue<VirtioHal, SIZE>,
    idle: Vec<Buffer>,
    lent: [Option<Buffer>; SIZE],
}

impl<const SIZE: usize> Direction<SIZE> {
    fn new(transport: &mut MsixTransport, index: u16) -> Result<Self, VirtioError> {
        let queue = VirtQueue::new(transport, index, false, false)?;
        let idle = (0..SIZE).map(|_| Buffer::allocate()).collect::<Result<_, _>>()?;
        Ok(Direction { queue, idle, lent: [None; SIZE] })
    }

    fn note_lent(&mut self, token: u16, buffer: Buffer) {
        if let Some(slot) = self.lent.get_mut(usize::from(token)) {
            *slot = Some(buffer);
        }
    }

    /// The next buffer that the device is done with and its token, still in the queue's books.
    fn used(&mut self) -> Option<(u16, Buffer)> {
        let token = self.queue.peek_used()?;
        let buffer = self.lent.get_mut(usize::from(token)).and_then(Option::take);
        if buffer.is_none() {
            log::error!("the host link's device gave a buffer back that it does not have");
        }
        Some((token, buffer?))
    }
}

/// The host link's device.
pub struct VirtioConsole {
    transport: MsixTransport,
    receive: Direction<RECEIVE_BUFFERS>,
    transmit: Direction<TRANSMIT_BUFFERS>,
    control: Direction<CONTROL_BUFFERS>,
    /// Received bytes not yet taken: buffer, next byte, end.
    current: Option<(Buffer, usize, usize)>,
}

impl core::fmt::Debug for VirtioConsole {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VirtioConsole").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl VirtioConsole {
    /// Starts the device and lends it buffers to receive into.
    ///
    /// # Errors
    /// [`VirtioError`] if it offers not what is needed or memory is short.
    pub(super) fn new(mut transport: MsixTransport) -> Result<VirtioConsole, VirtioError> {
        let features = transport.begin_init(Features::all());
        if !features.contains(Features::VERSION_1) {
            // A legacy device: the transport cannot drive it.
            return Err(VirtioPciError::MissingCommonConfig.into());
        }
        if !features.contains(Features::MULTIPORT) {
            return Err(VirtioError::NoSerialPort);
        }
        let control = Direction::new(&mut transport, CONTROL)?;
        let receive = Direction::new(&mut transport, RECEIVE)?;
        let mut transmit = Direction::new(&mut transport, TRANSMIT)?;
        if !transport.interrupts() {
            return Err(VirtioError::VectorRefused);
        }
        transmit.queue.set_dev_notify(false);
        transport.finish_init();
        let mut console = VirtioConsole { transport, receive, transmit, control, current: None };
        console.lend_receive_buffers()?;
        // What the device answers is known: the launcher gives it this port, open at its side.
        console.tell(0, DEVICE_READY)?;
        console.tell(PORT, PORT_READY)?;
        console.tell(PORT, PORT_OPEN)?;
        Ok(console)
    }

    /// Sends a control message with value 1. There are buffers for all that are ever sent.
    fn tell(&mut self, port: u32, event: u16) -> Result<(), VirtioError> {
        let mut buffer = self.control.idle.pop().ok_or(VirtioError::NoMemory)?;
        let message = (u64::from(port) | u64::from(event) << 32 | 1 << 48).to_le_bytes();
        // SAFETY: the buffer is idle until `add` lends it, and then moves to `lent` for good.
        let token = unsafe {
            let page = buffer.bytes();
            page[..message.len()].copy_from_slice(&message);
            self.control.queue.add(&[&page[..message.len()]], &mut [])
        }?;
        self.control.note_lent(token, buffer);
        self.transport.notify(CONTROL);
        Ok(())
    }

    fn lend_receive_buffers(&mut self) -> Result<(), VirtioError> {
        let mut any = false;
        while let Some(mut buffer) = self.receive.idle.pop() {
            // SAFETY: the buffer is idle; it stays untouched until `pop_used` gives it back, since
            // it moves to `lent`.
            let token = unsafe { self.receive.queue.add(&[], &mut [buffer.bytes()]) }?;
            self.receive.note_lent(token, buffer);
            any = true;
        }
        if any && self.receive.queue.should_notify() {
            self.transport.notify(RECEIVE);
        }
        Ok(())
    }

    /// Takes back what the device has sent.
    fn reclaim(&mut self) {
        while let Some((token, mut buffer)) = self.transmit.used() {
            // SAFETY: this is the buffer that was lent with this token.
            let popped = unsafe { self.transmit.queue.pop_used(token, &[buffer.bytes()], &mut []) };
            if popped.is_err() {
                return;
            }
            self.transmit.idle.push(buffer);
        }
    }

    /// Whether everything has been sent. If not, an interrupt tells when the device has more done.
    fn all_sent(&mut self) -> bool {
        self.reclaim();
        if self.transmit.idle.len() < TRANSMIT_BUFFERS {
            self.transmit.queue.set_dev_notify(true);
            // What was done before the device could see that.
            self.reclaim();
        }
        self.transmit.idle.len() == TRANSMIT_BUFFERS
    }
}

impl ByteStream for VirtioConsole {
    fn send(&mut self, mut bytes: &[u8]) -> usize {
        let mut sent = 0;
        self.transmit.queue.set_dev_notify(false);
        while !bytes.is_empty() {
            if self.transmit.idle.is_empty() {
                self.reclaim();
            }
            if self.transmit.idle.is_empty() {
                self.transmit.queue.set_dev_notify(true);
                self.reclaim();
            }
            let Some(mut buffer) = self.transmit.idle.pop() else { break };
            let (now, rest) = bytes.split_at(bytes.len().min(PAGE_SIZE));
            // SAFETY: the buffer is idle until `add` lends it, and then moves to `lent`.
            let added = unsafe {
                let page = buffer.bytes();
                page[..now.len()].copy_from_slice(now);
                self.transmit.queue.add(&[&page[..now.len()]], &mut [])
            };
            let Ok(token) = added else {
                self.transmit.idle.push(buffer);
                break;
            };
            self.transmit.note_lent(token, buffer);
            sent += now.len();
            bytes = rest;
        }
        if sent > 0 && self.transmit.queue.should_notify() {
            self.transport.notify(TRANSMIT);
        }
        sent
    }

    fn receive(&mut self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < out.len() {
            let Some((mut buffer, at, end)) = self.current.take() else {
                let Some((token, mut buffer)) = self.receive.used() else { break };
                // SAFETY: this is the buffer that was lent with this token.
                let popped =
                    unsafe { self.receive.queue.pop_used(token, &[], &mut [buffer.bytes()]) };
                let Ok(len) = popped else { break };
                self.current = Some((buffer, 0, (len as usize).min(PAGE_SIZE)));
                continue;
            };
            let n = (end - at).min(out.len() - filled);
            // SAFETY: `pop_used` took the buffer back from the device.
            out[filled..filled + n].copy_from_slice(unsafe { &buffer.bytes()[at..at + n] });
            filled += n;
            if at + n < end {
                self.current = Some((buffer, at + n, end));
            } else {
                self.receive.idle.push(buffer);
                if self.lend_receive_buffers().is_err() {
                    break;
                }
            }
        }
        filled
    }

    fn flushed(&mut self) -> bool {
        self.all_sent()
    }
}
