//! A debugger on one machine of a fabric.

use std::collections::BTreeSet;
use std::io::Write as _;

use maize_hostlink::KernelMessage;
use maize_hostlink::boot::Isa;
use maize_launcher::gdb;
use maize_launcher::input::Input;
use maize_launcher::live::{Event, Live};
use maize_launcher::machine::GdbStart;
use maize_launcher::run::{DEAD_AFTER, Ending};
use maize_launcher::workspace::Workspace;
use maize_runs::script;

use crate::harness::BOOT_LIMIT;

/// For how long the debugger holds the machine, in seconds: longer than a silent peer is waited for where there is no
/// debugger.
const HELD: u64 = 2 * DEAD_AFTER.as_secs() + 2;

#[test]
#[ignore = "boots machines"]
fn one_of_two_machines_is_held_and_nobody_takes_it_for_dead() {
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard");
    let (stdin, mut keys) = std::io::pipe().unwrap();
    let mut config = script(Isa::X86_64, "read word; echo $word");
    config.topology = "x86_64+x86_64".parse().unwrap();
    config.gdb = Some(GdbStart::Run);
    config.dead_after = DEAD_AFTER;
    config.input = Input::descriptor(stdin.into());
    let workspace = Workspace::find().unwrap();
    let mut live = Live::start(config, &workspace).unwrap();
    let mut linked = BTreeSet::new();
    let all_are = live.wait_until(BOOT_LIMIT, |event| {
        if let Event::Said { instance, message: KernelMessage::PeerUp { .. } } = event {
            linked.insert(*instance);
        }
        linked.len() == 2
    });
    assert!(all_are, "{:?}", live.seen());
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
    // Only now the program ends.
    keys.write_all(b"done\n").unwrap();
    let outcome = live.outcome().unwrap();
    let consoles = outcome.consoles.concat();
    assert_eq!(outcome.ending, Ending::Exited(0), "{consoles}");
    assert_eq!(outcome.stdout, b"done\n");
    // At the end of the program its instance leaves; nobody goes before.
    let mut gone = consoles.lines().filter(|line| line.contains("is down"));
    assert!(gone.all(|line| line.ends_with(": left")), "{consoles}");
}
