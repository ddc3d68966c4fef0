//! The exhaustive runs of CI; see `Profile::ci` for what they cover. Run with `--nocapture` to see
//! the state counts; `maize-coherence-model --long` is the longer profile.

use maize_coherence_model::Profile;

#[test]
fn ci_profile() {
    Profile::ci().run().unwrap();
}

#[test]
#[ignore = "takes tens of minutes"]
fn long_profile() {
    Profile::long().run().unwrap();
}
