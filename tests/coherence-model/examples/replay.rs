use maize_coherence::{directory::Directory, voting::Voting};
use maize_coherence_model::*;
use stateright::Model;
fn parse(line: &str) -> Step {
    let line = line.trim();
    let (name, rest) = line.split_once('(').unwrap();
    let nums: Vec<u8> = rest
        .split(|c: char| !c.is_ascii_digit())
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().unwrap())
        .collect();
    match name {
        "Begin" => Step::Begin(
            nums[0],
            if rest.contains("Read") { Op::Read(nums[1]) } else { Op::Write(nums[1]) },
            nums[2],
        ),
        "Retry" => Step::Retry(nums[0], nums[1]),
        "Deliver" => Step::Deliver(nums[0], nums[1], nums[2]),
        "Expire" => Step::Expire(nums[0], nums[1]),
        "Evict" => Step::Evict(nums[0], nums[1]),
        "WrittenBack" => Step::WrittenBack(nums[0], nums[1]),
        "Discard" => Step::Discard(nums[0]),
        "Apply" => Step::Apply(nums[0], nums[1]),
        "Crash" => Step::Crash(nums[0]),
        "Learn" => Step::Learn(nums[0]),
        _ => panic!("{line}"),
    }
}
fn go<P: Subject>(s: Setup, steps: Vec<Step>) {
    let f = Fabric::<P>::new(s);
    let mut w = f.init_states().pop().unwrap();
    for step in steps {
        println!("== {step:?}");
        w = f.next_state(&w, step).unwrap();
        w.show();
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n: usize = a[2].parse().unwrap();
    let p: u8 = a[3].parse().unwrap();
    let mut s = Setup::new(n, p, 9);
    s.crashes = (0..n as u8).collect();
    s.evictions = 9;
    s.discards = 9;
    let steps = std::io::stdin()
        .lines()
        .map(|l| l.unwrap())
        .filter(|l| l.contains('('))
        .map(|l| parse(&l))
        .collect();
    if a[1] == "v" { go::<Voting<1>>(s, steps) } else { go::<Directory<1>>(s, steps) }
}
