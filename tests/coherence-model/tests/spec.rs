//! The transition tables in `SPEC.md` are what the machines do. `UPDATE_SPEC=1` rewrites them.
#![allow(clippy::unwrap_used, reason = "the whole file is a test; its functions are parts of it")]

use std::fs;
use std::path::Path;

use maize_coherence_model::{DIRECTORY, Machine, Program, SHARED, Setup, VOTING, markdown};

fn setups() -> Vec<Setup> {
    let three =
        Setup { program: Program::Any(vec![1, 1, 1]), clock_readings: 1, ..Setup::new(3, 1, 0) };
    let two = Setup { clock_readings: 1, ..Setup::new(2, 1, 2) };
    vec![
        three.clone(),
        Setup { evictions: 1, discards: 1, ..two.clone() },
        Setup { promotions: 1, ..two.clone() },
        Setup { gifts: 1, short_holds: true, ..two.clone() },
        Setup { crashes: vec![0, 1], ..two },
    ]
}

fn domains() -> Vec<Setup> {
    let two = |accesses| Setup::domains(1, 2, 1, &[accesses; 2]);
    let layered = |accesses: &[u8]| Setup::domains(2, 2, 1, accesses);
    vec![
        layered(&[1; 4]),
        Setup { evictions: 1, discards: 1, ..two(1) },
        Setup { promotions: 1, ..two(2) },
        Setup { evictions: 1, crashes: vec![0, 1], ..two(1) },
        // A mapping that is wanted back, and one that is asked to grow.
        Setup { evictions: 1, ..layered(&[0, 2, 2, 0]) },
    ]
}

fn check(machine: &Machine, setups: &[Setup]) {
    let table = (machine.transitions)(setups);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernel-common/coherence/SPEC.md");
    let spec = fs::read_to_string(&path).unwrap();
    let (start, end) =
        (format!("<!-- table {} -->\n", machine.name), format!("<!-- end {} -->", machine.name));
    let from = spec.find(&start).unwrap() + start.len();
    let to = spec.find(&end).unwrap();
    let now = markdown(&table);
    if std::env::var_os("UPDATE_SPEC").is_some() {
        fs::write(&path, format!("{}{now}{}", &spec[..from], &spec[to..])).unwrap();
    } else {
        assert!(spec[from..to] == now, "SPEC.md is out of date: run with UPDATE_SPEC=1\n{now}");
    }
}

#[test]
fn the_tables_are_up_to_date() {
    // One after the other: both may rewrite the file.
    check(&VOTING, &setups());
    check(&DIRECTORY, &setups());
    check(&SHARED, &domains());
}
