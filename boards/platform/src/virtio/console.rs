//! A virtio console as a byte stream that never waits.
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

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

/// Buffers of one page in each direction.
const RECEIVE_BUFFERS: usize = 16;
const TRANSMIT_BUFFERS: usize = 64;

bitflags! {
    /// Features that are asked for. Event indices are left out: `virtio-drivers` compares them
    /// without regard to their wrapping. Multiport is left out: there is one port.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Features: u64 {
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
        if transport.begin_init(Features::all()) != Features::all() {
            // A legacy device: the transport cannot drive it.
            return Err(VirtioPciError::MissingCommonConfig.into());
        }
        let receive = Direction::new(&mut transport, RECEIVE)?;
        let mut transmit = Direction::new(&mut transport, TRANSMIT)?;
        if !transport.interrupts() {
            return Err(VirtioError::VectorRefused);
        }
        transmit.queue.set_dev_notify(false);
        transport.finish_init();
        let mut console = VirtioConsole { transport, receive, transmit, current: None };
        console.lend_receive_buffers()?;
        Ok(console)
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
