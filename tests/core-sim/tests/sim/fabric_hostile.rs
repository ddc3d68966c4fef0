//! A peer that says anything at all: the kernel goes on, and the peer is closed by name.

use maize_abi::Sysno;
use maize_abi::isa::x86_64::X86_64;
use maize_arch_host::{HostArch, Reg, Script, ScriptedHost};
use maize_core::{FabricSettings, Kernel, LinkTransport, Step};
use maize_core_sim::fabric::links;
use maize_core_sim::scripts::{go, sleep};
use maize_core_sim::{config, program, root_with};
use maize_hal::{Frame, FrameRange, Interrupts, Nanos};
use maize_launcher::cpio;
use maize_link::{Event, Outgoing};
use maize_simnet::{NetConfig, Network, SimFabric};
use maize_wire::{Class, Epoch, InstanceId, Kind, PAGE_WORDS};
use proptest::prelude::*;

const HELLO: Kind = Kind(16);
pub(crate) const RUN: Kind = Kind(19);

/// A kernel, and the links of a peer that the test speaks for.
pub(crate) struct Duel {
    pub(crate) kernel: Kernel<HostArch<X86_64>>,
    pub(crate) host: ScriptedHost,
    network: Network,
    peer: SimFabric,
    now: Nanos,
    pub(crate) status: Option<u32>,
    /// What the kernel has sent.
    pub(crate) heard: Vec<(Kind, Vec<u8>)>,
}

impl Duel {
    pub(crate) fn new(script: &Script) -> Duel {
        let mut archive = cpio::Writer::new();
        assert!(archive.tree(&root_with::<X86_64>(script)).is_ok());
        let network = Network::new(NetConfig::new(1), 2);
        let frames = FrameRange { start: Frame(16), end: Frame(16 + 2048) };
        let arch = HostArch::<X86_64>::new(frames, 1);
        let host = ScriptedHost::default();
        let image = Box::new(archive.finish());
        let host_end = Box::new(host.clone());
        let kernel = Kernel::new(arch, host_end, &[frames], &[], image, config(0, 2, 1));
        let mut kernel = kernel.unwrap_or_else(|error| unreachable!("{error}"));
        let fabric = network.start(InstanceId(0), Epoch::FIRST, links());
        let transport = LinkTransport::new(fabric, network.doorbell(InstanceId(0)));
        kernel.join(transport.boxed(), FabricSettings::default());
        let peer = network.start(InstanceId(1), Epoch::FIRST, links());
        let mut duel =
            Duel { kernel, host, network, peer, now: Nanos(0), status: None, heard: Vec::new() };
        // The greeting is echoed: the peer is just such an instance.
        duel.run(200);
        let hello = duel.heard.iter().find(|(kind, _)| *kind == HELLO).cloned();
        let (kind, body) = hello.unwrap_or_else(|| unreachable!("no greeting"));
        assert!(duel.say(kind, &body, false));
        duel.run(200);
        assert_eq!(duel.kernel.peers(), [1]);
        assert!(duel.kernel.spawn(program()).is_ok());
        duel
    }

    /// Lets both sides have their turns.
    pub(crate) fn run(&mut self, turns: usize) {
        for _ in 0..turns {
            self.now = self.now + Nanos(2_000);
            self.network.advance_to(self.now);
            self.kernel.with_arch(|arch| {
                arch.wires().advance_to(self.now);
                arch.wires().stop_at(self.now + Nanos(1_000));
                arch.wires().raise(Interrupts::DOORBELL);
            });
            self.kernel.wait_for_interrupt();
            if self.status.is_none()
                && let Step::Halted { status } = self.kernel.step()
            {
                self.status = Some(status);
            }
            self.peer.heard_doorbell();
            while let Some((_, event)) = self.peer.poll(self.now) {
                if let Event::Message(message) = event {
                    self.heard.push((message.kind, self.peer.body().to_vec()));
                }
            }
            self.peer.notify(&mut |_| {});
        }
    }

    pub(crate) fn say(&mut self, kind: Kind, body: &[u8], page: bool) -> bool {
        let page = page.then_some(&[7; PAGE_WORDS]);
        let message = Outgoing { class: Class::Normal, kind, contents: body, page };
        self.peer.send(self.now, InstanceId(0), message).is_ok()
    }
}

/// A program that goes to the peer, and one that stays at home and prints.
fn traveller() -> Script {
    let mut s = Script::new();
    let child = s.place();
    s.syscall_with(Sysno::Clone, &[17, 0, 0, 0, 0]);
    s.imm(Reg::S(5), 0).if_equal(Reg::Ret, Reg::S(5), child);
    sleep(&mut s, 3_000_000);
    s.print("home\n").exit(0);
    s.here(child);
    go(&mut s, 1);
    let spin = s.mark();
    s.spin(10).jump(spin);
    s
}

fn bodies() -> impl Strategy<Value = Vec<(u16, Vec<u8>, bool)>> {
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(0_u8..4, 0..40),
    ];
    prop::collection::vec((14_u16..40, body, prop::bool::weighted(0.1)), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_peer_may_say_anything(messages in bodies()) {
        let mut duel = Duel::new(&traveller());
        for (kind, body, page) in messages {
            duel.run(3);
            duel.say(Kind(kind), &body, page);
        }
        duel.run(2_500);
        // What is at home goes on, unless the peer has said that the fabric's program had ended.
        prop_assert_eq!(duel.host.stdout(), b"home\n".to_vec());
        prop_assert_eq!(duel.status, Some(0));
    }

    #[test]
    fn an_answer_may_be_anything(tail in prop::collection::vec(any::<u8>(), 0..60), kind in 20_u16..40) {
        let mut duel = Duel::new(&traveller());
        for _ in 0..100 {
            duel.run(3);
            if let Some((_, run)) = duel.heard.iter().find(|(kind, _)| *kind == RUN).cloned() {
                // The request's name, which comes first, and then something.
                let mut body = run[..2].to_vec();
                body.extend(&tail);
                duel.say(Kind(kind), &body, false);
                break;
            }
        }
        duel.run(2_500);
        prop_assert_eq!(duel.host.stdout(), b"home\n".to_vec());
        prop_assert_eq!(duel.status, Some(0));
    }
}

/// A number as postcard writes it.
pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A request of the page protocol for a page of an object of the kernel's own, or of the peer's.
fn request(home: u64, serial: u64, index: u64) -> Vec<u8> {
    // Segment 0, generation 0; the message is the directory's GetM, and lends no frame.
    let name = [varint(home << 54 | serial), varint(0), varint(index)].concat();
    let message = vec![0, 0, 1, 0, 0];
    [name, varint(message.len() as u64), message, varint(0)].concat()
}

#[test]
fn pages_that_nobody_sees_use_no_memory() {
    let mut s = Script::new();
    let spin = s.mark();
    s.spin(10).jump(spin);
    let mut duel = Duel::new(&s);
    duel.run(200);
    let free = |duel: &Duel| (16..16 + 2048).filter(|n| duel.kernel.is_free(Frame(*n))).count();
    let before = free(&duel);
    for n in 0..1_000 {
        let (home, serial) = (n % 2, 1 + n / 2 % 40);
        assert!(duel.say(Kind(17), &request(home, serial, 0x4000_0000 + n), false));
        duel.run(2);
    }
    duel.run(200);
    assert_eq!(duel.kernel.peers(), [1], "each request is one that the peer may send");
    assert!(duel.kernel.counter("fabric.unseen_pages") > 10);
    assert!(before.abs_diff(free(&duel)) < 8, "{before} frames were free, now {}", free(&duel));
}

#[test]
fn a_peer_that_breaks_the_rules_is_closed() {
    for (kind, body, page) in
        [(Kind(99), &[][..], false), (RUN, &[1, 2, 3], false), (HELLO, &[0; 33], false)]
    {
        let mut duel = Duel::new(&traveller());
        assert!(duel.say(kind, body, page));
        duel.run(100);
        assert_eq!(duel.kernel.counter("fabric.malformed"), 1, "{kind:?}");
        assert!(duel.kernel.peers().is_empty(), "{kind:?}");
    }
}
