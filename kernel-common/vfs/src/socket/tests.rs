use alloc::vec;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::{o, poll};
use maize_abi::socket::{shut, so};
use proptest::prelude::*;

use super::{Address, Credentials, Family, Received, Sent, SocketKind, SocketOption, SocketValue};
use crate::testing::Fixture;
use crate::{FileId, Io, Patience, Stop, WaitKey};

impl Fixture {
    pub(super) fn pair(&mut self, kind: SocketKind) -> (FileId, FileId) {
        self.with(|vfs, env, caller| vfs.make_socket_pair(env, caller, kind, 0).unwrap())
    }

    pub(super) fn socket(&mut self, kind: SocketKind) -> FileId {
        self.with(|vfs, env, caller| vfs.make_socket(env, caller, (Family::Unix, kind), 0).unwrap())
    }

    pub(super) fn bind(&mut self, file: FileId, address: &Address) -> Result<(), Errno> {
        let address = Some(address.clone());
        self.with(|vfs, env, caller| vfs.bind_socket(env, caller, file, address))
    }

    pub(super) fn listen(&mut self, file: FileId, backlog: u32) {
        self.with(|vfs, _, caller| vfs.listen(caller, file, backlog).unwrap());
    }

    pub(super) fn connect(&mut self, file: FileId, to: &Address) -> Io<()> {
        self.with(|vfs, env, caller| vfs.connect(env, caller, file, Some(to), Patience::Left))
    }

    pub(super) fn accept(&mut self, file: FileId) -> Io<FileId> {
        self.with(|vfs, env, caller| vfs.accept(env, caller, file, 0, Patience::Left))
    }

    pub(super) fn send(&mut self, file: FileId, bytes: &[u8]) -> Io<usize> {
        self.send_to(file, bytes, None, &[])
    }

    pub(super) fn send_to(
        &mut self,
        file: FileId,
        bytes: &[u8],
        to: Option<&Address>,
        files: &[FileId],
    ) -> Io<usize> {
        let sent = Sent { files, to, ..Sent::bytes(bytes) };
        self.with(|vfs, env, caller| vfs.send(env, caller, file, sent, Patience::Left))
    }

    pub(super) fn receive(&mut self, file: FileId, room: usize) -> Io<(Vec<u8>, Received)> {
        let mut out = vec![0; room];
        let received = self.vfs.receive(file, &mut out, (false, false), None, Patience::Left)?;
        out.truncate(received.count);
        Ok((out, received))
    }

    pub(super) fn text(&mut self, file: FileId, room: usize) -> Vec<u8> {
        self.receive(file, room).unwrap().0
    }

    /// What is left when everything is closed.
    pub(super) fn is_empty(&self) -> bool {
        self.vfs.sockets.is_empty() && self.vfs.bound.is_empty() && self.vfs.ports.is_empty()
    }
}

fn path(name: &str) -> Address {
    Address::Path(name.as_bytes().to_vec())
}

const IN: u16 = poll::POLLIN | poll::POLLRDNORM;
const OUT: u16 = poll::POLLOUT | poll::POLLWRNORM | poll::POLLWRBAND;

#[test]
fn a_stream_joins_what_was_sent_and_ends_with_its_other_end() {
    let mut f = Fixture::new();
    let (a, b) = f.pair(SocketKind::Stream);
    assert_eq!((f.poll(a), f.poll(b)), (OUT, OUT));
    assert!(matches!(f.receive(b, 9), Err(Stop::Wait { key: WaitKey::SocketReadable(_), .. })));
    assert_eq!(f.send(a, b"one"), Ok(3));
    assert_eq!(f.send(a, b"two"), Ok(3));
    assert_eq!(f.poll(b), IN | OUT);
    assert_eq!(f.text(b, 4), b"onet");
    f.close(a);
    assert_eq!(f.text(b, 9), b"wo");
    assert_eq!(f.text(b, 9), b"");
    assert_eq!(f.send(b, b"x"), Err(Stop::BrokenPipe));
    assert_eq!(f.poll(b), IN | OUT | poll::POLLHUP | poll::POLLRDHUP);
    f.close(b);
    assert!(f.is_empty());
}

#[test]
fn unread_bytes_reset_the_connection_once() {
    let mut f = Fixture::new();
    let (a, b) = f.pair(SocketKind::Stream);
    f.send(a, b"unread").unwrap();
    f.close(b);
    assert_eq!(f.poll(a) & poll::POLLERR, poll::POLLERR);
    assert_eq!(f.receive(a, 1).unwrap_err(), Errno::ECONNRESET.into());
    assert_eq!(f.text(a, 1), b"");
}

#[test]
fn messages_stay_apart_and_are_cut() {
    for kind in [SocketKind::Datagram, SocketKind::SeqPacket] {
        let mut f = Fixture::new();
        let (a, b) = f.pair(kind);
        assert_eq!(
            (f.send(a, b"first"), f.send(a, b""), f.send(a, b"third")),
            (Ok(5), Ok(0), Ok(5))
        );
        assert_eq!(f.vfs.receivable(b), Ok(5));
        let (text, received) = f.receive(b, 2).unwrap();
        assert_eq!((text.as_slice(), received.whole), (b"fi".as_slice(), 5));
        let (text, received) = f.receive(b, 2).unwrap();
        assert!(text.is_empty() && received.any);
        assert_eq!(f.text(b, 9), b"third");
        assert_eq!(f.send(a, &vec![0; 212_992]), Err(Errno::EMSGSIZE.into()));
    }
}

#[test]
fn a_full_sender_waits_until_something_is_received() {
    let mut f = Fixture::new();
    let (a, b) = f.pair(SocketKind::Stream);
    let mut sent = 0;
    let key = loop {
        match f.send(a, &[7; 50_000]) {
            Ok(count) => sent += count,
            Err(Stop::Wait { key, .. }) => break key,
            Err(stop) => panic!("{stop:?}"),
        }
    };
    assert!(sent <= 212_992 && f.poll(a) & poll::POLLOUT == 0);
    let _ = f.vfs.take_wakes();
    assert_eq!(f.text(b, 50_000).len(), 50_000);
    assert!(f.vfs.take_wakes().contains(&key));
    assert!(f.send(a, b"more").is_ok());
    f.vfs.set_status(a, o::O_NONBLOCK, o::O_NONBLOCK).unwrap();
    while f.send(a, &[7; 50_000]).is_ok() {}
    assert_eq!(f.send(a, b"x"), Err(Errno::EAGAIN.into()));
}

#[test]
fn connections_are_accepted_in_turn_and_wait_for_room() {
    for name in [path("/tmp/server"), Address::Abstract(b"server".to_vec())] {
        let mut f = Fixture::new();
        let server = f.socket(SocketKind::Stream);
        let clients: Vec<FileId> = (0..3).map(|_| f.socket(SocketKind::Stream)).collect();
        let missing =
            if matches!(name, Address::Path(_)) { Errno::ENOENT } else { Errno::ECONNREFUSED };
        assert_eq!(f.connect(clients[0], &name), Err(missing.into()));
        f.bind(server, &name).unwrap();
        assert_eq!(f.connect(clients[0], &name), Err(Errno::ECONNREFUSED.into()));
        assert_eq!(f.bind(clients[0], &name), Err(Errno::EADDRINUSE));
        f.listen(server, 1);
        assert!(matches!(f.accept(server), Err(Stop::Wait { .. })));
        f.connect(clients[0], &name).unwrap();
        f.connect(clients[1], &name).unwrap();
        let Err(Stop::Wait { key, .. }) = f.connect(clients[2], &name) else { panic!("no room") };
        f.send(clients[0], b"before").unwrap();
        let _ = f.vfs.take_wakes();
        let accepted = f.accept(server).unwrap();
        assert!(f.vfs.take_wakes().contains(&key));
        let (text, received) = f.receive(accepted, 9).unwrap();
        assert_eq!((text.as_slice(), received.from), (b"before".as_slice(), None));
        assert_eq!(f.vfs.peer_name(clients[0]).unwrap().as_deref(), Some(&name));
        assert_eq!(f.vfs.socket_name(accepted).unwrap().as_deref(), Some(&name));
        assert_eq!(f.connect(clients[0], &name), Err(Errno::EISCONN.into()));
        // Who was not accepted is told.
        f.close(server);
        assert_eq!(f.receive(clients[1], 1).unwrap_err(), Errno::ECONNRESET.into());
        assert_eq!(f.connect(clients[2], &name), Err(Errno::ECONNREFUSED.into()));
        for file in clients.into_iter().chain([accepted]) {
            f.close(file);
        }
        assert!(f.is_empty());
    }
}

#[test]
fn datagrams_go_where_they_are_told_and_say_where_from() {
    let mut f = Fixture::new();
    let (one, two) = (f.socket(SocketKind::Datagram), f.socket(SocketKind::Datagram));
    let (a, b) = (path("/tmp/a"), path("/tmp/b"));
    f.bind(one, &a).unwrap();
    f.bind(two, &b).unwrap();
    assert_eq!(f.send(one, b"x"), Err(Errno::ENOTCONN.into()));
    f.send_to(one, b"x", Some(&b), &[]).unwrap();
    assert_eq!(f.receive(two, 9).unwrap().1.from.as_deref(), Some(&a));
    f.connect(two, &a).unwrap();
    // It is connected to one, so another may not send to it.
    let other = f.socket(SocketKind::Datagram);
    assert_eq!(f.send_to(other, b"x", Some(&b), &[]), Err(Errno::EPERM.into()));
    f.close(one);
    assert_eq!(f.send(two, b"x"), Err(Errno::ECONNREFUSED.into()));
    assert_eq!(f.send(two, b"x"), Err(Errno::ENOTCONN.into()));
    let stream = f.socket(SocketKind::Stream);
    assert_eq!(f.connect(stream, &b), Err(Errno::EPROTOTYPE.into()));
}

#[test]
fn a_receiver_takes_few_messages_of_strangers() {
    let mut f = Fixture::new();
    let (one, two) = (f.socket(SocketKind::Datagram), f.socket(SocketKind::Datagram));
    let name = Address::Abstract(b"n".to_vec());
    f.bind(two, &name).unwrap();
    f.connect(one, &name).unwrap();
    for _ in 0..11 {
        f.send(one, b"x").unwrap();
    }
    let Err(Stop::Wait { key, .. }) = f.send(one, b"x") else { panic!("no end") };
    assert_eq!(f.poll(one), 0);
    let _ = f.vfs.take_wakes();
    f.text(two, 1);
    assert!(f.vfs.take_wakes().contains(&key));
    assert_eq!(f.poll(one), OUT);
}

#[test]
fn files_come_along_and_are_closed_if_nobody_takes_them() {
    let mut f = Fixture::new();
    let (a, b) = f.pair(SocketKind::Stream);
    let (read, write) = f.with(|vfs, env, caller| vfs.make_pipe(env, caller, 0).unwrap());
    f.send(a, b"before").unwrap();
    f.send_to(a, b"with", None, &[write]).unwrap();
    f.send_to(a, b"after", None, &[write]).unwrap();
    f.close(write);
    let (text, received) = f.receive(b, 99).unwrap();
    assert_eq!(
        (text.as_slice(), received.files.as_slice()),
        (b"beforewith".as_slice(), [write].as_slice())
    );
    f.close(write);
    assert_eq!(f.poll(read), 0);
    // The second was never received.
    f.close(b);
    assert_eq!(f.poll(read), poll::POLLHUP);
    let (c, d) = f.pair(SocketKind::Stream);
    let many = [d; 250];
    for _ in 0..4 {
        f.send_to(c, b"x", None, &many).unwrap();
    }
    assert_eq!(f.send_to(c, b"x", None, &many), Err(Errno::ETOOMANYREFS.into()));
    f.close(d);
    f.close(c);
    assert_eq!(f.vfs.sockets_under_way, 0);
}

#[test]
fn what_is_shut_down_ends() {
    let mut f = Fixture::new();
    let (a, b) = f.pair(SocketKind::Stream);
    f.send(a, b"last").unwrap();
    f.vfs.shut_down(a, shut::SHUT_WR).unwrap();
    assert_eq!(f.send(a, b"x"), Err(Stop::BrokenPipe));
    assert_eq!((f.text(b, 9), f.text(b, 9)), (b"last".to_vec(), Vec::new()));
    f.send(b, b"back").unwrap();
    assert_eq!(f.text(a, 9), b"back");
    assert_eq!(f.vfs.shut_down(a, 3), Err(Errno::EINVAL));
}

#[test]
fn addresses_are_read_as_they_are_written() {
    for address in [path("/tmp/x"), Address::Abstract(b"\0a\0".to_vec())] {
        let bytes = Address::to_bytes(Some(&address));
        assert_eq!(Address::from_bytes(Family::Unix, &bytes), Ok(address));
    }
    for bad in [&[][..], &[1, 0], &[2, 0, b'x'], &[1; 111]] {
        assert_eq!(Address::from_bytes(Family::Unix, bad), Err(Errno::EINVAL));
    }
}

#[test]
fn sockets_go_along_and_are_received() {
    let mut f = Fixture::new();
    let (a, b) = f.pair(SocketKind::Stream);
    let (c, d) = f.pair(SocketKind::SeqPacket);
    f.send_to(a, b"take", None, &[c]).unwrap();
    f.close(c);
    assert_eq!(f.vfs.sockets_under_way, 1);
    let got = f.receive(b, 9).unwrap().1;
    assert_eq!((got.files.as_slice(), f.vfs.sockets_under_way), ([c].as_slice(), 0));
    f.send(c, b"through").unwrap();
    assert_eq!(f.text(d, 9), b"through");
    for file in [a, b, c, d] {
        f.close(file);
    }
    assert!(f.is_empty());
}

#[test]
fn sockets_that_nobody_can_receive_are_closed() {
    let mut f = Fixture::new();
    let (pipe, end) = f.with(|vfs, env, caller| vfs.make_pipe(env, caller, 0).unwrap());
    // Each end is under way to the other, and one more socket hangs on them.
    let (a, b) = f.pair(SocketKind::Stream);
    let (c, d) = f.pair(SocketKind::Datagram);
    f.send_to(a, b"x", None, &[a]).unwrap();
    f.send_to(b, b"x", None, &[b, c]).unwrap();
    f.send_to(d, b"x", None, &[end]).unwrap();
    f.close(end);
    f.close(d);
    f.close(c);
    f.close(a);
    assert_eq!(f.vfs.sockets.len(), 3);
    assert_eq!(f.poll(pipe), 0);
    f.close(b);
    assert!(f.is_empty());
    assert_eq!((f.vfs.sockets_under_way, f.poll(pipe)), (0, poll::POLLHUP));

    // A listener that is under way to a connection that it has not accepted.
    let (listener, client) = (f.socket(SocketKind::Stream), f.socket(SocketKind::Stream));
    f.bind(listener, &path("server")).unwrap();
    f.listen(listener, 1);
    f.connect(client, &path("server")).unwrap();
    f.send_to(client, b"x", None, &[listener]).unwrap();
    f.close(listener);
    assert_eq!(f.vfs.sockets.len(), 1);
    assert_eq!(f.poll(client) & poll::POLLERR, poll::POLLERR);
    f.close(client);
    assert!(f.is_empty());
}

#[test]
fn a_long_chain_of_sockets_is_closed() {
    let mut f = Fixture::new();
    let (mut outer, last) = f.pair(SocketKind::Stream);
    f.close(last);
    for _ in 0..200 {
        let (a, b) = f.pair(SocketKind::Stream);
        f.send_to(a, b"x", None, &[outer]).unwrap();
        f.close(outer);
        f.close(a);
        outer = b;
    }
    f.close(outer);
    assert!(f.is_empty());
}

#[test]
fn who_has_sent_is_told_to_who_wants_to_know() {
    let mut f = Fixture::new();
    let (a, b) = f.pair(SocketKind::Stream);
    f.send(a, b"one").unwrap();
    assert_eq!(f.receive(b, 9).unwrap().1.sender, None);
    let option = SocketOption::from_number(so::SO_PASSCRED).unwrap();
    f.vfs.set_socket_option(b, option, SocketValue::Number(1)).unwrap();
    f.send(a, b"two").unwrap();
    f.send(a, b"three").unwrap();
    let other = Credentials { pid: 77, uid: 5, gid: 6 };
    let sent = Sent { sender: Some(other), ..Sent::bytes(b"four") };
    f.with(|vfs, env, caller| vfs.send(env, caller, a, sent, Patience::Left)).unwrap();
    let (bytes, got) = f.receive(b, 99).unwrap();
    assert_eq!((bytes.as_slice(), got.sender.map(|s| s.uid)), (b"twothree".as_slice(), Some(0)));
    let after = got.sender;
    let more = f.vfs.receive(b, &mut [0; 9], (false, false), after, Patience::Left).unwrap();
    assert!(!more.any);
    let (bytes, got) = f.receive(b, 99).unwrap();
    assert_eq!((bytes.as_slice(), got.sender), (b"four".as_slice(), Some(other)));
}

#[test]
fn who_has_waited_to_send_learns_of_a_reset() {
    let mut f = Fixture::new();
    let (a, b) = f.pair(SocketKind::Stream);
    f.send(a, b"unread").unwrap();
    f.close(b);
    let waited = Sent { waited: true, ..Sent::bytes(b"x") };
    let sent = f.with(|vfs, env, caller| vfs.send(env, caller, a, waited, Patience::Left));
    assert_eq!(sent, Err(Stop::Error(Errno::ECONNRESET)));
    assert_eq!(f.send(a, b"x"), Err(Stop::BrokenPipe));
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize, usize, usize),
    Receive(usize, usize),
    Close(usize),
    Shut(usize, u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0_usize..6, 0_usize..3000, 0_usize..3).prop_map(|(s, n, f)| Step::Send(s, n, f)),
        5 => (0_usize..6, 0_usize..4000).prop_map(|(s, n)| Step::Receive(s, n)),
        1 => (0_usize..6).prop_map(Step::Close),
        1 => (0_usize..6, 0_u32..4).prop_map(|(s, how)| Step::Shut(s, how)),
    ]
}

proptest! {
    /// Whatever is done, nothing is left when all is closed, and a stream's bytes keep their order.
    #[test]
    fn nothing_is_lost_or_left(steps in prop::collection::vec(step(), 1..80)) {
        let mut f = Fixture::new();
        let kinds = [SocketKind::Stream, SocketKind::Datagram, SocketKind::SeqPacket];
        let files: Vec<FileId> = kinds.map(|kind| f.pair(kind)).into_iter().flat_map(|(a, b)| [a, b]).collect();
        let (read, write) = f.with(|vfs, env, caller| vfs.make_pipe(env, caller, 0).unwrap());
        for &file in &files {
            f.vfs.set_status(file, o::O_NONBLOCK, o::O_NONBLOCK).unwrap();
        }
        let mut open = [true; 6];
        let (mut sent, mut received) = ([0_u64; 2], [0_u64; 2]);
        for step in steps {
            match step {
                Step::Send(s, len, with) if open[s] => {
                    let from = sent.get(s).copied().unwrap_or(0);
                    let bytes: Vec<u8> = (from..from + len as u64).map(|n| (n % 251) as u8).collect();
                    let carried = [write, files[(s + len) % files.len()]];
                    let carried = match with {
                        0 => &carried[..0],
                        2 if open[(s + len) % files.len()] => &carried[1..],
                        _ => &carried[..1],
                    };
                    if let Ok(count) = f.send_to(files[s], &bytes, None, carried)
                        && let Some(sent) = sent.get_mut(s)
                    {
                        *sent += count as u64;
                    }
                }
                Step::Receive(s, room) if open[s] => {
                    if let Ok((bytes, got)) = f.receive(files[s], room) {
                        for file in got.files {
                            f.close(file);
                        }
                        if s < 2 {
                            for byte in bytes {
                                prop_assert_eq!(byte, (received[s] % 251) as u8);
                                received[s] += 1;
                            }
                            prop_assert!(received[s] <= sent[1 - s]);
                        }
                    }
                }
                Step::Close(s) if core::mem::take(&mut open[s]) => f.close(files[s]),
                Step::Shut(s, how) if open[s] => {
                    let _ = f.vfs.shut_down(files[s], how);
                }
                _ => {}
            }
        }
        for (file, open) in files.iter().zip(open) {
            if open {
                f.close(*file);
            }
        }
        prop_assert!(f.is_empty());
        f.close(write);
        prop_assert_eq!(f.poll(read), poll::POLLHUP);
    }
}
