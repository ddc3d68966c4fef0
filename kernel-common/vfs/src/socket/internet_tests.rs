use alloc::format;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::{o, poll};
use maize_abi::socket::{ipproto, ipv6, shut, so, tcp};
use proptest::prelude::*;

use super::{Address, Family, Sent, SocketKind, SocketOption, SocketValue};
use crate::testing::Fixture;
use crate::{FileId, Patience, Stop, WaitKey};

const IN: u16 = poll::POLLIN | poll::POLLRDNORM;
const OUT: u16 = poll::POLLOUT | poll::POLLWRNORM;

fn at(text: &str) -> Address {
    Address::Internet(text.parse().unwrap())
}

fn made(f: &mut Fixture, family: Family, kind: SocketKind, status: u32) -> FileId {
    f.with(|vfs, env, caller| vfs.make_socket(env, caller, (family, kind), status).unwrap())
}

fn stream(f: &mut Fixture, status: u32) -> FileId {
    made(f, Family::Inet, SocketKind::Stream, status)
}

fn listener(f: &mut Fixture, at: &Address, backlog: u32) -> FileId {
    let server = stream(f, 0);
    f.bind(server, at).unwrap();
    f.listen(server, backlog);
    server
}

fn name(f: &Fixture, file: FileId) -> Address {
    f.vfs.socket_name(file).unwrap().unwrap().into_owned()
}

fn peer(f: &Fixture, file: FileId) -> Result<Address, Errno> {
    Ok(f.vfs.peer_name(file)?.unwrap().into_owned())
}

fn set(f: &mut Fixture, file: FileId, option: SocketOption, value: i32) -> Result<(), Errno> {
    f.vfs.set_socket_option(file, option, SocketValue::Number(value))
}

fn error(f: &mut Fixture, file: FileId) -> SocketValue {
    f.vfs.socket_option(file, SocketOption::Told(so::SO_ERROR)).unwrap()
}

#[test]
fn only_the_machine_itself_is_reached() {
    let mut f = Fixture::new();
    let one = stream(&mut f, 0);
    assert_eq!(f.connect(one, &at("192.0.2.1:80")), Err(Errno::ENETUNREACH.into()));
    assert_eq!(f.bind(one, &at("192.0.2.1:80")), Err(Errno::EADDRNOTAVAIL));
    assert_eq!(f.connect(one, &at("127.0.0.1:80")), Err(Errno::ECONNREFUSED.into()));
    let six = made(&mut f, Family::Inet6, SocketKind::Datagram, 0);
    let sent = f.send_to(six, b"x", Some(&at("[2001:db8::1]:80")), &[]);
    assert_eq!(sent, Err(Errno::ENETUNREACH.into()));
    f.close(one);
    f.close(six);
    assert!(f.is_empty());
}

#[test]
fn ports_are_given_back() {
    let mut f = Fixture::new();
    for _ in 0..3 {
        let server = listener(&mut f, &at("0.0.0.0:80"), 5);
        let client = stream(&mut f, 0);
        f.connect(client, &at("127.0.0.1:80")).unwrap();
        assert_eq!(peer(&f, client), Ok(at("127.0.0.1:80")));
        let accepted = f.accept(server).unwrap();
        f.listen(server, 7);
        assert_eq!(peer(&f, accepted), Ok(name(&f, client)));
        assert_eq!(name(&f, accepted), at("127.0.0.1:80"));
        f.close(server);
        // The connection has the port as long as it is there.
        let next = stream(&mut f, 0);
        assert_eq!(f.bind(next, &at("0.0.0.0:80")), Err(Errno::EADDRINUSE));
        f.close(client);
        f.close(accepted);
        assert_eq!(f.bind(next, &at("0.0.0.0:80")), Ok(()));
        f.close(next);
        assert!(f.is_empty());
    }
}

#[test]
fn who_does_not_wait_learns_later() {
    let mut f = Fixture::new();
    let server_at = at("127.0.0.1:7");
    let hasty = |f: &mut Fixture| stream(f, o::O_NONBLOCK);
    let refused = hasty(&mut f);
    assert_eq!(f.connect(refused, &server_at), Err(Errno::EINPROGRESS.into()));
    let ended = poll::POLLHUP | poll::POLLRDHUP;
    assert_eq!(f.poll(refused), IN | OUT | ended | poll::POLLERR);
    assert_eq!(f.connect(refused, &server_at), Err(Errno::ECONNREFUSED.into()));
    let server = listener(&mut f, &server_at, 0);
    assert_eq!(f.connect(refused, &server_at), Err(Errno::EINPROGRESS.into()));
    assert_eq!((f.poll(refused), error(&mut f, refused)), (OUT, SocketValue::Number(0)));
    assert_eq!(f.connect(refused, &server_at), Ok(()));
    assert_eq!(f.connect(refused, &server_at), Err(Errno::EISCONN.into()));
    // One waits: there is no room for more.
    let (late, gone, last) = (hasty(&mut f), hasty(&mut f), hasty(&mut f));
    for file in [late, gone, last] {
        assert_eq!(f.connect(file, &server_at), Err(Errno::EINPROGRESS.into()));
        assert_eq!(f.connect(file, &server_at), Err(Errno::EALREADY.into()));
        assert_eq!((f.poll(file), f.send(file, b"x")), (0, Err(Errno::EAGAIN.into())));
        assert_eq!(peer(&f, file), Err(Errno::ENOTCONN));
    }
    f.close(gone);
    let first = f.accept(server).unwrap();
    assert_eq!((f.poll(late), f.poll(last)), (OUT, 0));
    assert_eq!(f.connect(late, &server_at), Ok(()));
    f.close(server);
    // Who was not accepted is reset, who was not even let in is refused.
    assert_eq!(error(&mut f, late), SocketValue::Number(Errno::ECONNRESET.number().into()));
    assert_eq!(error(&mut f, last), SocketValue::Number(Errno::ECONNREFUSED.number().into()));
    for file in [refused, late, last, first] {
        f.close(file);
    }
    assert!(f.is_empty());
}

#[test]
fn an_end_that_is_closed_leaves_the_other_half_open() {
    let mut f = Fixture::new();
    let server = listener(&mut f, &at("127.0.0.1:7"), 1);
    let client = stream(&mut f, 0);
    f.connect(client, &at("127.0.0.1:7")).unwrap();
    let accepted = f.accept(server).unwrap();
    f.vfs.shut_down(client, shut::SHUT_RD).unwrap();
    // Nobody tells the other end that it is not listened to.
    assert_eq!((f.send(accepted, b"lost"), f.poll(accepted)), (Ok(4), OUT));
    assert_eq!(f.text(client, 9), b"lost");
    f.close(accepted);
    assert_eq!(f.poll(client), IN | OUT | poll::POLLRDHUP);
    assert_eq!(f.text(client, 9), b"");
    assert_eq!(peer(&f, client), Ok(at("127.0.0.1:7")));
    assert_eq!(f.send(client, b"into the void"), Ok(13));
    assert_eq!(f.send(client, b"x"), Err(Stop::BrokenPipe));
    f.close(client);
    f.close(server);
    assert!(f.is_empty());
}

#[test]
fn datagrams_without_a_receiver_or_room_are_lost() {
    let mut f = Fixture::new();
    let (one, two) = (
        made(&mut f, Family::Inet, SocketKind::Datagram, 0),
        made(&mut f, Family::Inet6, SocketKind::Datagram, 0),
    );
    f.bind(two, &at("[::]:9")).unwrap();
    assert_eq!(f.send(one, b"x"), Err(Errno::EDESTADDRREQ.into()));
    assert_eq!(f.send_to(one, b"nobody", Some(&at("127.0.0.1:10")), &[]), Ok(6));
    assert_eq!(f.send_to(one, b"to six", Some(&at("127.0.0.2:9")), &[]), Ok(6));
    let (text, received) = f.receive(two, 99).unwrap();
    let Address::Internet(from) = name(&f, one) else { unreachable!() };
    let shown = at(&format!("[::ffff:127.0.0.1]:{}", from.port()));
    assert_eq!((text.as_slice(), received.from.as_deref()), (&b"to six"[..], Some(&shown)));
    assert!(matches!(f.receive(two, 9), Err(Stop::Wait { key: WaitKey::SocketReadable(_), .. })));
    // However much is sent, it takes no more than it has room for.
    f.connect(one, &at("127.0.0.1:9")).unwrap();
    for _ in 0..1000 {
        assert_eq!(f.send(one, &[7; 1000]), Ok(1000));
    }
    let mut there = 0;
    while f.receive(two, 2000).is_ok() {
        there += 1;
    }
    assert!((50..212).contains(&there), "{there}");
    f.close(two);
    assert_eq!(f.send(one, b"x"), Ok(1));
    assert_eq!(f.poll(one) & poll::POLLERR, poll::POLLERR);
    assert_eq!(f.send(one, b"x"), Err(Errno::ECONNREFUSED.into()));
    f.close(one);
    assert!(f.is_empty());
}

#[test]
fn addresses_are_shared_only_by_consent() {
    let mut f = Fixture::new();
    let reuse = SocketOption::Number(so::SO_REUSEADDR);
    let only = SocketOption::Protocol(ipproto::IPPROTO_IPV6, ipv6::IPV6_V6ONLY);
    let first = listener(&mut f, &at("127.0.0.1:80"), 1);
    let second = stream(&mut f, 0);
    assert_eq!(f.bind(second, &at("127.0.0.2:80")), Ok(()));
    let third = stream(&mut f, 0);
    set(&mut f, third, reuse, 1).unwrap();
    assert_eq!(f.bind(third, &at("0.0.0.0:80")), Err(Errno::EADDRINUSE));
    let six = made(&mut f, Family::Inet6, SocketKind::Stream, 0);
    assert_eq!(f.bind(six, &at("[::]:80")), Err(Errno::EADDRINUSE));
    set(&mut f, six, only, 1).unwrap();
    assert_eq!(f.bind(six, &at("[::]:80")), Ok(()));
    assert_eq!(set(&mut f, six, only, 0), Err(Errno::EINVAL));
    let nodelay = SocketOption::Protocol(ipproto::IPPROTO_TCP, tcp::TCP_NODELAY);
    set(&mut f, first, nodelay, 7).unwrap();
    assert_eq!(f.vfs.socket_option(first, nodelay), Ok(SocketValue::Number(1)));
    let unknown = SocketOption::Protocol(ipproto::IPPROTO_TCP, 999);
    assert_eq!(f.vfs.socket_option(first, unknown), Err(Errno::ENOPROTOOPT));
    for file in [first, second, third, six] {
        f.close(file);
    }
    // Two that allow it may be bound to one address, until one listens.
    let (one, two) = (stream(&mut f, 0), stream(&mut f, 0));
    for file in [one, two] {
        set(&mut f, file, reuse, 1).unwrap();
        assert_eq!(f.bind(file, &at("127.0.0.1:80")), Ok(()));
    }
    f.listen(one, 1);
    let listened = f.with(|vfs, _, caller| vfs.listen(caller, two, 1));
    assert_eq!(listened, Err(Errno::EADDRINUSE));
    f.close(one);
    f.close(two);
    assert!(f.is_empty());
}

proptest! {
    /// Whatever is made, bound, connected, sent and closed in whatever order: nothing panics, what is
    /// received was sent, and nothing is left.
    #[test]
    fn random_use_leaves_nothing(
        steps in prop::collection::vec((0_u8..10, 0_usize..9, 0_usize..9, any::<u8>()), 1..250),
    ) {
        let mut f = Fixture::new();
        let mut files: Vec<FileId> = Vec::new();
        let hosts = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "[::]", "10.0.0.1"];
        for (step, which, other, byte) in steps {
            let to = at(&format!("{}:{}", hosts[other % hosts.len()], u16::from(byte) % 4));
            let Some(file) = files.get(which % files.len().max(1)).copied().filter(|_| step > 1) else {
                let family = if byte & 1 == 0 { Family::Inet } else { Family::Inet6 };
                let kind = if byte & 2 == 0 { SocketKind::Stream } else { SocketKind::Datagram };
                let status = if byte & 4 == 0 { o::O_NONBLOCK } else { 0 };
                files.push(made(&mut f, family, kind, status));
                continue;
            };
            match step {
                2 => {
                    let _ = f.bind(file, &to);
                }
                3 => {
                    let _ = f.with(|vfs, _, caller| vfs.listen(caller, file, u32::from(byte) % 3));
                }
                4 => {
                    let _ = f.connect(file, &to);
                }
                5 => files.extend(f.accept(file)),
                6 => {
                    let sent = Sent { to: (byte & 1 == 0).then_some(&to), ..Sent::bytes(&[42; 99]) };
                    let _ = f.with(|vfs, env, caller| vfs.send(env, caller, file, sent, Patience::Left));
                }
                7 => {
                    if let Ok((bytes, _)) = f.receive(file, usize::from(byte)) {
                        prop_assert!(bytes.iter().all(|byte| *byte == 42));
                    }
                }
                8 => {
                    let _ = (f.vfs.shut_down(file, u32::from(byte) % 3), f.poll(file));
                    let _ = (name(&f, file), peer(&f, file), f.vfs.take_wakes());
                }
                _ => {
                    files.retain(|open| *open != file);
                    f.close(file);
                }
            }
        }
        for file in files {
            f.close(file);
        }
        prop_assert!(f.is_empty());
    }
}
