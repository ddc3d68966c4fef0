//! An instance that talks to some peers over one window and to others over another.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use maize_hal::Nanos;
use maize_link::{EnterError, Entrance, Event, FabricConfig, Life, Outgoing, enter, enter_windows};
use maize_msg_fabric::{HostFabric, create_window};
use maize_window::{HostWindow, PresenceCell, State, Window, WindowHeader};
use maize_wire::{Class, InstanceId, Kind, checksum::Coverage};

const NEAR: InstanceId = InstanceId(1);
const SIBLING: InstanceId = InstanceId(0);
const REMOTE: InstanceId = InstanceId(2);

fn windows() -> [HostWindow; 2] {
    [(); 2].map(|()| create_window(3, 16 << 20, Coverage::Off).unwrap())
}

fn entrance<'a>(window: &'a HostWindow, peer: InstanceId) -> Entrance<maize_window::Mapping<'a>> {
    Entrance { window: window.window(), peers: vec![peer] }
}

fn alone<'a>(window: &'a HostWindow, me: InstanceId, peer: InstanceId) -> HostFabric<'a> {
    let config = FabricConfig::default();
    enter_windows(&[entrance(window, peer)], me, Nanos(0), config).unwrap()
}

#[test]
fn messages_go_over_the_peers_window() {
    let [local, far] = windows();
    let config = FabricConfig::default();
    let both = [entrance(&local, SIBLING), entrance(&far, REMOTE)];
    // A predecessor was in one of the windows: the epoch is new in both.
    drop(alone(&far, NEAR, REMOTE));
    let mut near = enter_windows(&both, NEAR, Nanos(0), config).unwrap();
    let mut sibling = alone(&local, SIBLING, NEAR);
    let mut remote = alone(&far, REMOTE, NEAR);
    assert_eq!(near.epoch().get(), 2);
    for window in [&local, &far] {
        let layout = WindowHeader::read(&window.window()).unwrap().layout;
        let line = window.window().part(layout.presence(NEAR).unwrap()).unwrap();
        let presence = PresenceCell::new(line).read().unwrap();
        assert_eq!((presence.epoch, presence.state), (near.epoch(), State::Up));
    }
    for (to, body) in [(SIBLING, b"near"), (REMOTE, b"far!")] {
        let message = Outgoing { class: Class::Normal, kind: Kind(20), contents: body, page: None };
        let mut now = Nanos(0);
        while !matches!(near.life(to), Some(Life::Up { .. })) {
            now = now + Nanos::from_millis(50);
            assert!(now < Nanos::SECOND);
            near.poll(now);
            sibling.poll(now);
            remote.poll(now);
        }
        near.send(now, to, message).unwrap();
        let receiver = if to == SIBLING { &mut sibling } else { &mut remote };
        let got = (0..8).any(|_| matches!(receiver.poll(now), Some((NEAR, Event::Message(_)))));
        assert!(got && receiver.body() == body);
    }
}

#[test]
fn windows_that_disagree_are_refused() {
    let [local, _] = windows();
    let checked = create_window(3, 16 << 20, Coverage::All).unwrap();
    let both = [entrance(&local, SIBLING), entrance(&checked, REMOTE)];
    let entered = enter_windows(&both, NEAR, Nanos(0), FabricConfig::default());
    assert_eq!(entered.err(), Some(EnterError::Coverage));
    let none: [Entrance<maize_window::Mapping<'_>>; 0] = [];
    let entered = enter_windows(&none, NEAR, Nanos(0), FabricConfig::default());
    assert_eq!(entered.err(), Some(EnterError::NoWindow));
    let entered = enter(&local.window(), InstanceId(3), Nanos(0), FabricConfig::default());
    assert_eq!(entered.err(), Some(EnterError::NoSuchInstance(InstanceId(3))));
}
