//! The decoder against an oracle, in arbitrary pieces, and against garbage.

use maize_hostlink::frame::{self, Channel, Decoder, FrameError, HEADER_LEN, MAGIC, MAX_PAYLOAD};
use proptest::prelude::*;

type Owned = (Channel, u16, Vec<u8>);

/// Everything a decoder gives when the stream comes in pieces that end at `cuts`.
fn decode(stream: &[u8], mut cuts: Vec<usize>) -> (Vec<Owned>, Result<usize, FrameError>) {
    cuts.push(stream.len());
    cuts.sort_unstable();
    let (mut decoder, mut frames, mut start) = (Decoder::new(), Vec::new(), 0);
    for cut in cuts {
        let cut = cut.min(stream.len());
        let mut input = &stream[start..cut];
        start = cut;
        loop {
            match decoder.next_frame(&mut input) {
                Ok(Some(f)) => frames.push((f.channel, f.instance, f.payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        assert!(input.is_empty(), "None with input left");
        assert!(decoder.pending() <= HEADER_LEN + MAX_PAYLOAD);
    }
    (frames, Ok(decoder.pending()))
}

fn channel() -> impl Strategy<Value = Channel> {
    prop::sample::select(vec![Channel::Stdin, Channel::Stdout, Channel::Stderr, Channel::Control])
}

fn owned_frame() -> impl Strategy<Value = Owned> {
    (channel(), any::<u16>(), prop::collection::vec(any::<u8>(), 0..300))
}

/// The header written by hand from the table in the module's documentation.
fn oracle_bytes((channel, instance, payload): &Owned) -> Vec<u8> {
    let mut bytes = vec![0xA7];
    bytes.push(match channel {
        Channel::Stdin => 0,
        Channel::Stdout => 1,
        Channel::Stderr => 2,
        Channel::Control => 3,
    });
    bytes.extend([(instance % 256) as u8, (instance / 256) as u8]);
    let len = payload.len();
    bytes.extend([(len % 256) as u8, (len / 256 % 256) as u8, (len / 65536) as u8, 0]);
    bytes.extend(payload);
    bytes
}

proptest! {
    #[test]
    fn frames_survive_any_cutting(
        frames in prop::collection::vec(owned_frame(), 0..12),
        cuts in prop::collection::vec(0usize..4000, 0..40),
    ) {
        let mut stream = Vec::new();
        for (channel, instance, payload) in &frames {
            frame::encode(*channel, *instance, payload, &mut stream).unwrap();
        }
        prop_assert_eq!(&stream, &frames.iter().flat_map(oracle_bytes).collect::<Vec<_>>());
        let (seen, end) = decode(&stream, cuts);
        prop_assert_eq!(seen, frames);
        prop_assert_eq!(end, Ok(0));
    }

    #[test]
    fn garbage_gives_the_same_answer_however_it_is_cut(
        stream in prop::collection::vec(prop_oneof![Just(MAGIC), 0u8..5, any::<u8>()], 0..400),
        cuts in prop::collection::vec(0usize..400, 0..40),
    ) {
        prop_assert_eq!(decode(&stream, cuts), decode(&stream, Vec::new()));
    }

    #[test]
    fn a_changed_byte_never_passes_unseen_in_the_header(
        first in owned_frame(), at in 0usize..HEADER_LEN, with in any::<u8>(),
    ) {
        let mut stream = oracle_bytes(&first);
        prop_assume!(stream[at] != with);
        stream[at] = with;
        let (seen, end) = decode(&stream, Vec::new());
        prop_assert!(seen.first() != Some(&first) || end.is_err());
    }
}

#[test]
fn errors_have_names_and_stay() {
    let cases: [(&[u8], FrameError); 3] = [
        (b"Maize says hello\n", FrameError::BadMagic(b'M')),
        (&[MAGIC, 4, 0, 0, 0, 0, 0, 0], FrameError::UnknownChannel(4)),
        (&[MAGIC, 1, 0, 0, 1, 0, 1, 0], FrameError::TooLong(65537)),
    ];
    for (bytes, expected) in cases {
        let mut decoder = Decoder::new();
        let mut input = bytes;
        assert_eq!(decoder.next_frame(&mut input), Err(expected));
        let mut good: &[u8] = &[MAGIC, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(decoder.next_frame(&mut good), Err(expected), "no resynchronisation");
    }
}

#[test]
fn the_largest_frame_passes_and_one_more_byte_does_not() {
    let mut stream = Vec::new();
    let payload = vec![7; MAX_PAYLOAD];
    frame::encode(Channel::Stdout, 15, &payload, &mut stream).unwrap();
    assert_eq!(decode(&stream, vec![5, 9000]).0, [(Channel::Stdout, 15, payload)]);
    assert_eq!(
        frame::header(Channel::Stdout, 0, MAX_PAYLOAD + 1),
        Err(FrameError::TooLong(MAX_PAYLOAD as u64 + 1))
    );
}

#[test]
fn a_frame_that_is_cut_off_is_seen_at_the_end() {
    let (seen, end) = decode(&[MAGIC, 1, 0, 0, 9, 0, 0, 0, b'x'], Vec::new());
    assert!(seen.is_empty());
    assert_eq!(end, Ok(9));
}
