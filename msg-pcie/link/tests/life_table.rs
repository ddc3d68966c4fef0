//! The state table of SPEC.md is what the code does: every state × every input.
//!
//! `UPDATE_SPEC=1 cargo test -p maize-link --test life_table` writes the table anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

use std::{env, fmt::Write as _, fs};

use maize_hal::Nanos;
use maize_link::{
    Act, Corruption, Input, Leave, Life, LifeConfig, Lifeline, News, Outcome, PeerView,
};
use maize_window::{Presence, State};
use maize_wire::{Epoch, Session};

const SPEC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/SPEC.md");
const BEGIN: &str = "<!-- the table, checked by tests/life_table.rs -->\n";
const END: &str = "<!-- end of the table -->";

fn epoch(number: u32) -> Epoch {
    Epoch::new(number).unwrap()
}

/// This side is in its epoch 7, the peer in its epoch 5.
fn session() -> Session {
    Session { local: epoch(7), remote: epoch(5) }
}

fn view(number: u32, state: State, attached: bool, left: Leave, beat: u64) -> PeerView {
    PeerView {
        presence: Some(Presence { epoch: epoch(number), state, beat }),
        attached: attached.then_some(session()),
        left,
    }
}

/// A machine, and the time on its clock.
#[derive(Clone)]
struct Machine(Lifeline, Nanos);

impl Machine {
    fn step(mut self, after: u64, input: Input) -> (Machine, Outcome) {
        self.1 = self.1 + Nanos::from_millis(after);
        let outcome = self.0.step(self.1, input);
        (self, outcome)
    }

    fn then(self, after: u64, input: Input) -> Machine {
        self.step(after, input).0
    }
}

const UP: fn() -> Input = || Input::Look(view(5, State::Up, true, Leave::Unsaid, 1));

fn states() -> Vec<(&'static str, Machine)> {
    let unattached = Input::Look(view(5, State::Up, false, Leave::Unsaid, 1));
    let down = Machine(Lifeline::new(LifeConfig::default(), epoch(7)), Nanos(0));
    let joining = down.clone().then(0, unattached);
    let up = joining.clone().then(100, UP());
    let suspect = (0..6).fold(up.clone(), |machine, _| machine.then(200, UP()));
    let barred = up.clone().then(1, Input::Look(view(5, State::Left, false, Leave::Closed, 2)));
    let dead = up.clone().then(1, Input::Corrupt(Corruption::Presence));
    let fenced = up.clone().then(1, unattached);
    let closed = up.clone().then(1, Input::Close);
    vec![
        ("Down", down),
        ("Down, 5 barred", barred),
        ("Joining 5", joining),
        ("Up 5", up),
        ("Suspect 5", suspect),
        ("Dead 5", dead),
        ("Fenced 5", fenced),
        ("Closed", closed),
    ]
}

/// Inputs, with how many looks of 200 ms they take.
fn inputs() -> Vec<(&'static str, u32, Input)> {
    let nobody = PeerView { presence: None, attached: None, left: Leave::Unsaid };
    let look = |number, state, attached, left, beat| {
        Input::Look(view(number, state, attached, left, beat))
    };
    let not = Leave::Unsaid;
    vec![
        ("nobody there", 1, Input::Look(nobody)),
        ("5 starting", 1, look(5, State::Starting, false, not, 2)),
        ("5 up, not attached", 1, look(5, State::Up, false, not, 2)),
        ("5 up, not attached: silence", 1, look(5, State::Up, false, Leave::Silent, 2)),
        ("5 up, closed", 1, look(5, State::Up, false, Leave::Closed, 2)),
        ("5 up, attached, beats", 1, look(5, State::Up, true, not, 2)),
        ("5 up, attached, 1.2 s no beat", 6, UP()),
        ("5 up, attached, 2 s no beat", 10, UP()),
        ("5 left", 1, look(5, State::Left, false, Leave::Closed, 2)),
        ("6 starting", 1, look(6, State::Starting, false, Leave::Restarting, 1)),
        ("6 up", 1, look(6, State::Up, false, Leave::Restarting, 1)),
        ("4 up", 1, look(4, State::Up, true, not, 2)),
        ("found corrupt", 1, Input::Corrupt(Corruption::Presence)),
        ("stop confirmed", 1, Input::Stopped),
        ("close", 1, Input::Close),
        ("rejoin as 8", 1, Input::Rejoin(epoch(8))),
    ]
}

fn name(life: Life) -> String {
    match life {
        Life::Down { barred: None } => "Down".into(),
        Life::Down { barred: Some(epoch) } => format!("Down, {} barred", epoch.get()),
        Life::Joining { session } => format!("Joining {}", session.remote.get()),
        Life::Up { session } => format!("Up {}", session.remote.get()),
        Life::Suspect { session } => format!("Suspect {}", session.remote.get()),
        Life::Dead { session } => format!("Dead {}", session.remote.get()),
        Life::Fenced { session } => format!("Fenced {}", session.remote.get()),
        Life::Closed => "Closed".into(),
    }
}

fn cell(before: &str, machine: &Machine, times: u32, input: Input) -> String {
    let mut machine = machine.clone();
    let (mut acts, mut news) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let (next, outcome) = machine.step(200, input);
        machine = next;
        acts.extend(outcome.act);
        news.extend(outcome.news);
    }
    let after = name(machine.0.life());
    let mut text = if after == before { String::new() } else { format!("**{after}**") };
    for act in acts {
        match act {
            Act::Attach(with) => write!(text, " attach {}", with.remote.get()).unwrap(),
            Act::Detach(reason) => write!(text, " detach({reason:?})").unwrap(),
        }
    }
    for news in news {
        match news {
            News::Down(cause) => write!(text, " *Down({cause:?})*").unwrap(),
            news => write!(text, " *{news:?}*").unwrap(),
        }
    }
    if text.is_empty() { "-".into() } else { text.trim().into() }
}

fn table() -> String {
    let states = states();
    let mut table = String::new();
    for chunk in states.chunks(4) {
        let names: Vec<&str> = chunk.iter().map(|(name, _)| *name).collect();
        writeln!(table, "| input | {} |", names.join(" | ")).unwrap();
        writeln!(table, "|---|{}", "---|".repeat(chunk.len())).unwrap();
        for (input_name, times, input) in inputs() {
            let cells: Vec<String> =
                chunk.iter().map(|(name, machine)| cell(name, machine, times, input)).collect();
            writeln!(table, "| {input_name} | {} |", cells.join(" | ")).unwrap();
        }
        table.push('\n');
    }
    table
}

#[test]
fn states_are_what_they_are_called() {
    for (expected, machine) in states() {
        assert_eq!(name(machine.0.life()), expected);
    }
}

#[test]
fn the_table_of_the_specification_is_the_code_s() {
    let spec = fs::read_to_string(SPEC).unwrap();
    let (before, rest) = spec.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let table = table();
    if env::var_os("UPDATE_SPEC").is_some() {
        fs::write(SPEC, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert!(found == table, "SPEC.md says otherwise than the code:\n{table}");
    }
}

/// How many looks, so far apart, it takes until a silent peer is dead.
fn looks_until_dead(config: LifeConfig, apart: u64) -> u32 {
    let unattached = Input::Look(view(5, State::Up, false, Leave::Unsaid, 1));
    let machine = Machine(Lifeline::new(config, epoch(7)), Nanos(0));
    let mut machine = machine.then(0, unattached).then(100, UP());
    let mut looks = 0;
    while !matches!(machine.0.life(), Life::Dead { .. }) {
        machine = machine.then(apart, UP());
        looks += 1;
    }
    looks
}

#[test]
fn who_looks_late_looks_often_before_it_judges() {
    let usual = LifeConfig::default();
    assert_eq!(looks_until_dead(usual, 100), 18);
    assert_eq!(looks_until_dead(usual, 1_000), 9);
    assert_eq!(looks_until_dead(usual, 60_000), 9);
    assert_eq!(LifeConfig::dying_after(usual.dead_after), usual);
    let patient = LifeConfig::dying_after(Nanos::from_millis(4 * 1_800));
    assert_eq!(patient.suspect_after, Nanos::from_millis(4 * 1_000));
    assert_eq!(looks_until_dead(patient, 100), 4 * 18);
    assert_eq!(looks_until_dead(patient, 60_000), 4 * 9);
    let hasty = LifeConfig::dying_after(Nanos::from_millis(450));
    assert_eq!(looks_until_dead(hasty, 60_000), 9);
}
