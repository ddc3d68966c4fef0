use maize_coherence::{directory::Directory, voting::Voting};
use maize_coherence_model::*;
fn run<P: Subject>(setup: Setup, depth: Option<usize>, prog: bool) {
    let o = check(Fabric::<P>::new(setup.clone()), depth);
    println!("{} {}x{} {:?}: {o}", P::NAME, setup.nodes, setup.pages, setup.program);
    if let Some(c) = &o.counter_example {
        println!("{c}");
        return;
    }
    if prog {
        println!("   {}", progress(&Fabric::<P>::new(setup)));
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n: usize = a[2].parse().unwrap();
    let p: u8 = a[3].parse().unwrap();
    let k: u8 = a[4].parse().unwrap();
    let mut s = Setup::new(n, p, k);
    let mut prog = true;
    let mut depth = None;
    for x in &a[5..] {
        if x == "crash" {
            s.crashes = (0..n as u8).collect();
        }
        if let Some(c) = x.strip_prefix("crash=") {
            s.crashes = vec![c.parse().unwrap()];
        }
        if let Some(c) = x.strip_prefix("evict=") {
            s.evictions = c.parse().unwrap();
        }
        if let Some(c) = x.strip_prefix("discard=") {
            s.discards = c.parse().unwrap();
        }
        if let Some(c) = x.strip_prefix("clock=") {
            s.clock_readings = c.parse().unwrap();
        }
        if let Some(c) = x.strip_prefix("depth=") {
            depth = Some(c.parse().unwrap());
            prog = false;
        }
        if x == "short" {
            s.short_holds = true;
        }
        if x == "noprog" {
            prog = false;
        }
        if let Some(c) = x.strip_prefix("counts=") {
            s.program = Program::Any(c.split(',').map(|x| x.parse().unwrap()).collect());
        }
    }
    if a[1] == "v" { run::<Voting<1>>(s, depth, prog) } else { run::<Directory<1>>(s, depth, prog) }
}
