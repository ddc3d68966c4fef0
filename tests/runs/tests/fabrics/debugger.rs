//! A debugger on one machine of a fabric.

use std::time::Duration;

use maize_hostlink::boot::Isa;
use maize_launcher::gdb;
use maize_launcher::machine::GdbStart;
use maize_launcher::run::{Ending, run};
use maize_launcher::workspace::Workspace;
use maize_runs::script;

/// For how long the debugger holds the machine: longer than a silent peer is waited for.
const HELD: u64 = 4;

#[test]
#[ignore = "boots machines"]
fn one_of_two_machines_is_held_and_nobody_takes_it_for_dead() {
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard");
    // As the launcher's own process is what keeps the record of ports, both sides are threads of it.
    let program = std::thread::spawn(|| {
        let mut config = script(Isa::X86_64, "sleep 9; echo done");
        config.topology = "x86_64+x86_64".parse().unwrap();
        config.gdb = Some(GdbStart::Run);
        config.verbose = true;
        config.log = None;
        run(config, &Workspace::find().unwrap()).unwrap()
    });
    let workspace = Workspace::find().unwrap();
    let are_there = || {
        let ports = gdb::ports(&workspace).unwrap();
        ports.len() == 2 && ports.iter().all(|port| port.socket.exists())
    };
    while !are_there() {
        assert!(!program.is_finished(), "the run ended without debuggers");
        std::thread::sleep(Duration::from_millis(20));
    }
    // The kernels come up and join meanwhile.
    std::thread::sleep(Duration::from_secs(3));
    let commands = [
        format!("set logging file {}", heard.display()),
        "set logging enabled on".to_owned(),
        "info registers pc".to_owned(),
        "info symbol $pc".to_owned(),
        format!("shell sleep {HELD}"),
        "detach".to_owned(),
    ];
    let mut arguments = vec!["-batch".to_owned()];
    arguments.extend(commands.into_iter().flat_map(|text| ["-ex".to_owned(), text]));
    assert!(gdb::attach(&workspace, 1, &arguments).unwrap().success());
    let heard = std::fs::read_to_string(heard).unwrap();
    assert!(heard.contains("in section .text"), "{heard}");
    let outcome = program.join().unwrap();
    let consoles = outcome.consoles.concat();
    assert_eq!(outcome.ending, Ending::Exited(0), "{consoles}");
    assert_eq!(outcome.stdout, b"done\n");
    // At the end of the program its instance leaves; nobody goes before.
    let mut gone = consoles.lines().filter(|line| line.contains("is down"));
    assert!(gone.all(|line| line.ends_with(": left")), "{consoles}");
}
