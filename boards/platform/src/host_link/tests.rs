use super::*;
use maize_hostlink::boot::WindowSize;
use proptest::prelude::*;

/// A stream with limited room whose other end the test holds.
#[derive(Default)]
struct Pipe {
    to_kernel: VecDeque<u8>,
    from_kernel: Vec<u8>,
    room: usize,
}

impl ByteStream for Pipe {
    fn send(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room);
        self.room -= n;
        self.from_kernel.extend_from_slice(&bytes[..n]);
        n
    }

    fn receive(&mut self, out: &mut [u8]) -> usize {
        let n = out.len().min(self.to_kernel.len());
        for (slot, byte) in out.iter_mut().zip(self.to_kernel.drain(..n)) {
            *slot = byte;
        }
        n
    }

    fn flushed(&mut self) -> bool {
        true
    }
}

fn link() -> HostLink<Pipe> {
    HostLink::new(Pipe { room: usize::MAX, ..Pipe::default() }, 0)
}

fn say(link: &mut HostLink<Pipe>, channel: Channel, payload: &[u8]) {
    let mut bytes = Vec::new();
    frame::encode(channel, 0, payload, &mut bytes).unwrap();
    link.stream.to_kernel.extend(bytes);
}

fn command(link: &mut HostLink<Pipe>, message: LauncherMessage) {
    let mut bytes = Vec::new();
    message.encode(0, &mut bytes).unwrap();
    link.stream.to_kernel.extend(bytes);
}

/// What the kernel said, as the launcher decodes it.
fn heard(link: &HostLink<Pipe>) -> (Vec<u8>, Vec<KernelMessage>) {
    let (mut stdout, mut messages) = (Vec::new(), Vec::new());
    let (mut decoder, mut input) = (Decoder::new(), &link.stream.from_kernel[..]);
    while let Some(frame) = decoder.next_frame(&mut input).unwrap() {
        match frame.channel {
            Channel::Stdout => stdout.extend_from_slice(frame.payload),
            Channel::Control => messages.push(KernelMessage::decode(frame.payload).unwrap()),
            other => panic!("frame on {other:?}"),
        }
    }
    (stdout, messages)
}

#[test]
fn hello_comes_first_and_exit_after_the_output() {
    let mut link = link();
    assert_eq!(link.write(OutputStream::Stdout, b"out"), 3);
    link.phase("memory", Nanos(5));
    link.report(Report::Ready { at: Nanos(9) });
    link.report(Report::Exited { status: 0x300 });
    let (stdout, messages) = heard(&link);
    assert_eq!(stdout, b"out");
    assert_eq!(
        messages,
        [
            KernelMessage::Hello { version: maize_hostlink::VERSION },
            KernelMessage::StdinCredit { bytes: INPUT_WINDOW },
            KernelMessage::Ready { since_entry_ns: 9, phases: vec![("memory".into(), 5)] },
            KernelMessage::Exited { status: 0x300 },
        ]
    );
}

#[test]
fn output_is_refused_in_part_and_nothing_is_lost() {
    let mut link = link();
    link.stream.room = 1000;
    let data: Vec<u8> = (0..2 * OUTPUT_LIMIT).map(|i| (i % 251) as u8).collect();
    let mut taken = link.write(OutputStream::Stdout, &data);
    assert!(taken < data.len() && taken > OUTPUT_LIMIT / 2, "took {taken}");
    assert_eq!(link.write(OutputStream::Stdout, &data[taken..]), 0, "no room, nothing taken");
    assert!(!link.flushed());
    link.report(Report::Fault { text: "still goes in".into() });
    while taken < data.len() {
        link.stream.room += 70_000;
        taken += link.write(OutputStream::Stdout, &data[taken..]);
        assert!(link.pending() <= OUTPUT_LIMIT + 100, "holds {}", link.pending());
    }
    link.stream.room = usize::MAX;
    assert!(link.flushed());
    let (stdout, messages) = heard(&link);
    assert!(stdout == data);
    assert_eq!(messages.len(), 3);
}

#[test]
fn input_is_credited_as_it_is_consumed() {
    let mut link = link();
    let piece = vec![b'x'; MAX_PAYLOAD];
    say(&mut link, Channel::Stdin, &piece);
    let Some(HostEvent::Input(bytes)) = link.poll() else { panic!("no input") };
    assert_eq!(bytes.len(), MAX_PAYLOAD);
    link.consumed(1);
    let (_, messages) = heard(&link);
    assert_eq!(messages.last(), Some(&KernelMessage::StdinCredit { bytes: 1 }), "all was used up");
    link.consumed(MAX_PAYLOAD - 1);
    say(&mut link, Channel::Stdin, &piece);
    say(&mut link, Channel::Stdin, b"");
    assert!(matches!(link.poll(), Some(HostEvent::Input(_))));
    assert_eq!(link.poll(), Some(HostEvent::InputClosed));
    assert_eq!(link.poll(), None);
    assert_eq!(link.failure(), None);
}

#[test]
fn more_input_than_credit_ends_listening() {
    let mut link = link();
    for _ in 0..2 {
        say(&mut link, Channel::Stdin, &vec![b'x'; MAX_PAYLOAD]);
    }
    assert!(matches!(link.poll(), Some(HostEvent::Input(_))));
    assert_eq!(link.poll(), Some(HostEvent::InputClosed));
    assert_eq!(link.failure(), Some(LinkError::Credit));
}

#[test]
fn control_messages_become_events() {
    let mut link = link();
    command(&mut link, LauncherMessage::WindowSize(WindowSize { rows: 24, columns: 80 }));
    command(&mut link, LauncherMessage::Signal(2));
    command(&mut link, LauncherMessage::Signal(0));
    command(&mut link, LauncherMessage::OutputClosed(Output::Stdout));
    command(&mut link, LauncherMessage::Shutdown);
    assert_eq!(link.poll(), Some(HostEvent::WindowSize { rows: 24, cols: 80 }));
    assert_eq!(link.poll(), Some(HostEvent::Signal(Signal::SIGINT)));
    assert_eq!(link.poll(), Some(HostEvent::OutputClosed(OutputStream::Stdout)));
    assert_eq!(link.poll(), Some(HostEvent::Shutdown));
    assert_eq!(link.write(OutputStream::Stdout, b"into the void"), 13);
    assert_eq!(heard(&link).0, b"");
}

#[test]
fn what_concerns_the_fabric_is_kept_apart() {
    let mut link = link();
    let order = LauncherMessage::PeerStopped { peer: 2, epoch: 7 };
    let mut bytes = Vec::new();
    order.encode(3, &mut bytes).unwrap();
    link.stream.to_kernel.extend(bytes);
    command(&mut link, LauncherMessage::StatsRequest);
    assert_eq!(link.take_order(), None, "nothing was read yet");
    assert_eq!(link.poll(), Some(HostEvent::StatsRequest));
    assert_eq!(link.take_order(), Some((3, order)));
    assert_eq!(link.take_order(), None);
}

#[test]
fn the_launcher_cannot_send_output() {
    let mut link = link();
    say(&mut link, Channel::Stderr, b"x");
    assert_eq!(link.poll(), Some(HostEvent::InputClosed));
    assert_eq!(link.failure(), Some(LinkError::Direction(Channel::Stderr)));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut link = link();
        link.stream.to_kernel.extend(bytes);
        let events = core::iter::from_fn(|| link.poll()).count();
        prop_assert!(events < 2000);
    }
}

#[test]
fn a_siblings_frames_are_passed_on_whole_and_unchanged() {
    let pipe = Pipe { room: usize::MAX, ..Pipe::default() };
    let mut sibling = HostLink::relayed(pipe, 3, 0);
    sibling.tell(&KernelMessage::Up { instance: 3, epoch: 2 });
    assert_eq!(sibling.write(OutputStream::Stdout, b"hello"), 5);
    sibling.pump();
    assert!(sibling.stream.from_kernel.is_empty() && !sibling.flushed());
    let mut first = link();
    while let Some(frame) = sibling.first_frame() {
        assert!(first.pass_on(3, frame));
        sibling.drop_frame();
    }
    assert!(sibling.flushed());
    first.pump();
    let (stdout, messages) = heard(&first);
    assert_eq!(stdout, b"hello");
    assert_eq!(messages.last(), Some(&KernelMessage::Up { instance: 3, epoch: 2 }));
}

#[test]
fn a_sibling_speaks_for_itself_only() {
    let mut frames = Vec::new();
    KernelMessage::Exited { status: 0 }.encode(3, &mut frames).unwrap();
    let mut first = link();
    let before = first.pending();
    assert!(!first.pass_on(2, &frames), "as another instance");
    assert!(!first.pass_on(3, &frames[..frames.len() - 1]), "half a frame");
    assert!(!first.pass_on(3, b"junk"));
    let mut input = Vec::new();
    frame::encode(Channel::Stdin, 3, b"x", &mut input).unwrap();
    assert!(!first.pass_on(3, &input), "as the launcher");
    assert_eq!(first.pending(), before);
    assert!(first.pass_on(3, &frames));
}

#[test]
fn what_is_for_a_sibling_is_not_for_the_core() {
    let mut first = link();
    let mut bytes = Vec::new();
    LauncherMessage::StatsRequest.encode(3, &mut bytes).unwrap();
    first.stream.to_kernel.extend(&bytes);
    assert_eq!(first.poll(), None);
    assert_eq!(first.take_order(), Some((3, LauncherMessage::StatsRequest)));
    let mut sibling = HostLink::relayed(Pipe::default(), 3, 0);
    let (head, tail) = bytes.split_at(5);
    sibling.hear(head);
    assert!(!sibling.has_events());
    sibling.hear(tail);
    assert!(sibling.has_events());
    assert_eq!(sibling.poll(), Some(HostEvent::StatsRequest));
}
