//! Plays the input as the script of a hostile peer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| {
    let _ = maize_msg_fabric::hostile::play(script);
});
