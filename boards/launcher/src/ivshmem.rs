//! The server of QEMU's `ivshmem-doorbell` devices: it gives each machine the window's memory and,
//! of every machine, one event for each vector, which is how one machine interrupts another.
//!
//! QEMU specifies the protocol in `docs/specs/ivshmem-spec.txt`: 64-bit little-endian numbers, some
//! with a file descriptor. A new client is sent
//!
//! 1. the version, 0; its own id; −1 with the window's memory;
//! 2. for each client that is there the client's id with an event, once for each vector;
//! 3. its own id with its own events.
//!
//! The others are sent the new client's id with its events, and a bare id when a client has left.
//! Clients send nothing. Here a client is a machine, its id the machine's number, also after it was
//! started again, and the connection a socket pair, of which nothing is seen outside.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::event::EventfdFlags;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// The version of the protocol.
const VERSION: i64 = 0;

/// The number that comes with the window's memory.
const MEMORY: i64 = -1;

/// One message: a number, and perhaps a descriptor.
#[derive(Debug)]
struct Message(i64, Option<Arc<OwnedFd>>);

/// The connection to one machine.
#[derive(Debug)]
struct Client {
    stream: UnixStream,
    events: Vec<Arc<OwnedFd>>,
    /// What its socket has no room for: a machine may be stopped.
    outgoing: VecDeque<Message>,
}

/// The server of one fabric.
#[derive(Debug)]
pub struct Server {
    memory: Arc<OwnedFd>,
    vectors: u16,
    clients: Vec<Option<Client>>,
}

impl Server {
    /// A server without clients, for that many machines, with that many vectors for each.
    pub fn new(memory: BorrowedFd<'_>, machines: usize, vectors: u16) -> io::Result<Self> {
        let memory = Arc::new(memory.try_clone_to_owned()?);
        Ok(Self { memory, vectors, clients: (0..machines).map(|_| None).collect() })
    }

    /// Connects a machine; the device's end of the connection. A machine of that number that was
    /// connected before has left.
    pub fn connect(&mut self, machine: usize) -> io::Result<OwnedFd> {
        self.disconnect(machine);
        let id = i64::try_from(machine).map_err(io::Error::other)?;
        let (stream, device) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let event = || rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let events: Vec<_> =
            (0..self.vectors).map(|_| event().map(Arc::new)).collect::<Result<_, Errno>>()?;
        let with = |id: i64, events: &[Arc<OwnedFd>]| -> Vec<Message> {
            events.iter().map(|event| Message(id, Some(Arc::clone(event)))).collect()
        };
        let mut outgoing = VecDeque::from([Message(VERSION, None), Message(id, None)]);
        outgoing.push_back(Message(MEMORY, Some(Arc::clone(&self.memory))));
        for (peer, client) in (0i64..).zip(&mut self.clients) {
            if let Some(client) = client {
                outgoing.extend(with(peer, &client.events));
                client.outgoing.extend(with(id, &events));
            }
        }
        outgoing.extend(with(id, &events));
        let slot = self.clients.get_mut(machine).ok_or(io::ErrorKind::InvalidInput)?;
        *slot = Some(Client { stream, events, outgoing });
        self.flush();
        Ok(device.into())
    }

    /// Tells the other machines that this one has left, if it was there.
    pub fn disconnect(&mut self, machine: usize) {
        let Some(Some(_)) = self.clients.get_mut(machine).map(Option::take) else { return };
        for client in self.clients.iter_mut().flatten() {
            client.outgoing.push_back(Message(machine as i64, None));
        }
        self.flush();
    }

    /// Sends what the machines' sockets have room for. What a machine that ends cannot be sent is
    /// dropped: its end is noticed by its process.
    pub fn flush(&mut self) {
        for client in self.clients.iter_mut().flatten() {
            while let Some(message) = client.outgoing.front() {
                match send(&client.stream, message) {
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => {}
                    Ok(()) | Err(_) => {
                        client.outgoing.pop_front();
                    }
                }
            }
        }
    }

    /// The sockets that have to become writable before [`Server::flush`] can go on.
    pub fn waits_for(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let waiting = |client: &&Client| !client.outgoing.is_empty();
        self.clients.iter().flatten().filter(waiting).map(|client| client.stream.as_fd())
    }
}

fn send(stream: &UnixStream, Message(number, descriptor): &Message) -> Result<(), Errno> {
    let bytes = number.to_le_bytes();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptor = descriptor.as_ref().map(|descriptor| [descriptor.as_fd()]);
    if let Some(descriptor) = &descriptor {
        control.push(SendAncillaryMessage::ScmRights(descriptor));
    }
    // A stream socket takes these few bytes whole or not at all.
    rustix::net::sendmsg(stream, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    use std::io::IoSliceMut;

    /// What a device reads: numbers, each with what is known of its descriptor.
    struct Device(UnixStream);

    impl Device {
        fn new(fd: OwnedFd) -> Self {
            let stream = UnixStream::from(fd);
            stream.set_nonblocking(true).unwrap();
            Self(stream)
        }

        fn receive(&self) -> Option<(i64, Option<OwnedFd>)> {
            let mut bytes = [0; 8];
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match rustix::net::recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(message) => assert_eq!(message.bytes, 8),
                Err(Errno::AGAIN) => return None,
                Err(error) => panic!("{error}"),
            }
            let mut descriptors = control.drain().flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
                _ => Vec::new(),
            });
            Some((i64::from_le_bytes(bytes), descriptors.next()))
        }

        /// Every number that has come, and the descriptors of the last clients' events.
        fn receive_all(&self) -> (Vec<(i64, bool)>, Vec<OwnedFd>) {
            let (mut numbers, mut descriptors) = (Vec::new(), Vec::new());
            while let Some((number, descriptor)) = self.receive() {
                numbers.push((number, descriptor.is_some()));
                descriptors.extend(descriptor);
            }
            (numbers, descriptors)
        }
    }

    fn server(vectors: u16) -> Server {
        let memory = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&memory, 4096).unwrap();
        Server::new(memory.as_fd(), 3, vectors).unwrap()
    }

    #[test]
    fn clients_hear_of_each_other_in_the_order_of_the_protocol() {
        let mut server = server(2);
        let first = Device::new(server.connect(0).unwrap());
        let (numbers, descriptors) = first.receive_all();
        assert_eq!(numbers, [(0, false), (0, false), (-1, true), (0, true), (0, true)]);
        assert_eq!(rustix::fs::fstat(&descriptors[0]).unwrap().st_size, 4096);
        let third = Device::new(server.connect(2).unwrap());
        let (numbers, theirs) = third.receive_all();
        let (peer, own) = ([(0, true), (0, true)], [(2, true), (2, true)]);
        assert_eq!(numbers, [&[(0, false), (2, false), (-1, true)][..], &peer, &own].concat());
        let (numbers, events) = first.receive_all();
        assert_eq!(numbers, own);
        // Ringing the second event of the third machine is heard there, and only there.
        rustix::io::write(&events[1], &1u64.to_ne_bytes()).unwrap();
        let mut count = [0; 8];
        assert_eq!(rustix::io::read(&theirs[3], &mut count), Err(Errno::AGAIN));
        rustix::io::read(&theirs[4], &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
    }

    #[test]
    fn a_machine_that_left_returns_under_its_number() {
        let mut server = server(1);
        let first = Device::new(server.connect(0).unwrap());
        let second = Device::new(server.connect(1).unwrap());
        first.receive_all();
        drop(second);
        server.disconnect(1);
        server.disconnect(1);
        assert_eq!(first.receive_all().0, [(1, false)], "told once");
        let second = Device::new(server.connect(1).unwrap());
        assert_eq!(first.receive_all().0, [(1, true)]);
        assert_eq!(second.receive_all().0.last(), Some(&(1, true)));
        // Without a word of its end.
        let _second = server.connect(1).unwrap();
        assert_eq!(first.receive_all().0, [(1, false), (1, true)]);
        assert!(server.connect(3).is_err());
    }

    #[test]
    fn a_machine_that_reads_nothing_makes_nobody_wait_and_misses_nothing() {
        const RETURNS: usize = 500;
        let mut server = server(16);
        let stopped = Device::new(server.connect(0).unwrap());
        for _ in 0..RETURNS {
            let _second = server.connect(1).unwrap();
            server.disconnect(1);
        }
        assert_eq!(server.waits_for().count(), 1);
        let (mut bare, mut events) = (0, 0);
        while server.waits_for().count() > 0 {
            for (number, descriptor) in stopped.receive_all().0 {
                bare += usize::from(number == 1 && !descriptor);
                events += usize::from(number == 1 && descriptor);
            }
            server.flush();
        }
        for (number, descriptor) in stopped.receive_all().0 {
            bare += usize::from(number == 1 && !descriptor);
            events += usize::from(number == 1 && descriptor);
        }
        assert_eq!((bare, events), (RETURNS, RETURNS * 16));
    }
}
