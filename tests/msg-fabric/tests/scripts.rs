//! Scripts of a hostile peer: the entry point of the fuzz target, by chance.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use maize_msg_fabric::hostile::play;
use proptest::prelude::*;

#[test]
fn an_honest_script_is_understood() {
    // Three short messages, then the attacker polls.
    let played = play(&[0, 0, 0, 9, 0, 1, 1, 0, 0, 9, 0, 1, 1, 0, 0, 9, 0, 1, 1, 7]);
    assert_eq!((played.messages, played.corruptions, played.sessions >= 1), (3, 0, true));
}

#[test]
fn garbage_in_the_ring_is_corruption() {
    // A message that is drained, then every low byte of the ring's next slots.
    let mut script = vec![0, 0, 0, 9, 0, 1, 1];
    for word in 0..64_u8 {
        script.extend([3, 0, word, 0, 1, 0xa5, 1, 2, 3, 4, 5, 6, 7]);
    }
    assert_eq!(play(&script).corruptions, 1);
}

proptest! {
    #[test]
    fn no_script_does_harm(script in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = play(&script);
    }
}
