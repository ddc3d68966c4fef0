//! The launcher against a machine that is no QEMU: streams, statuses, failures, limits.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::on_fake_machine::{config, fake, launcher, run};
use maize_launcher::input::Input;
use maize_launcher::run::Ending;
use maize_launcher::workspace::PROFILE_VARIABLE;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn output_and_status_are_the_programs() {
    let outcome = run(config("echo", &["hello", "world"]));
    assert_eq!(outcome.ending, Ending::Exited(0));
    assert_eq!(text(&outcome.stdout), "hello world\n");
    assert!(outcome.consoles[0].contains("fake kernel"));
    assert!(outcome.ready.is_some());
    assert_eq!(run(config("exit", &["7"])).ending.status(), 7);
    assert_eq!(run(config("killed", &["11"])).ending.status(), 139);
}

#[test]
fn streams_are_apart_and_complete() {
    let outcome = run(config("both", &[]));
    let expected = |name: &str| (0..1000).map(|n| format!("{name} {n}\n")).collect::<String>();
    assert_eq!(text(&outcome.stdout), expected("out"));
    assert_eq!(text(&outcome.stderr), expected("err"));
}

#[test]
fn input_is_carried_within_the_credit_byte_for_byte() {
    let data: Vec<u8> = (0..3_000_001u32).map(|n| (n * 7 % 256) as u8).collect();
    let mut config = config("cat", &[]);
    config.input = Input::bytes(data.clone());
    let outcome = run(config);
    assert_eq!(outcome.ending, Ending::Exited(0), "{:?}", outcome.consoles);
    assert!(outcome.stdout == data);
    assert_eq!(run(config_with_empty_input()).stdout, b"");
}

fn config_with_empty_input() -> maize_launcher::run::RunConfig {
    config("cat", &[])
}

#[test]
fn failures_are_told_apart() {
    let failed = |program: &str| match run(config(program, &[])).ending {
        Ending::FabricFailed(reason) => reason,
        other => panic!("{program}: {other:?}"),
    };
    assert_eq!(failed("die"), "machine 0/x86_64 ended (exit status: 3) before the program did");
    assert!(failed("garbage").contains("frame begins with 0x74"));
    assert!(failed("panic").contains("out of luck") || failed("panic").contains("status: 35"));
    assert!(failed("old").contains("host link version"));
    let complained = run(config("complain", &[]));
    assert!(complained.consoles.iter().any(|c| c.contains("QEMU ---\nqemu: no such machine")));
}

/// Limits of time for a machine that hangs. On a busy host it may not have come to that by the first one.
const LIMITS: [u16; 3] = [1, 10, 60];

#[test]
fn a_hanging_machine_ends_with_the_time() {
    assert!(LIMITS.into_iter().any(|limit| {
        let outcome = run(config("hang", &[]).timeout(Duration::from_secs(limit.into())));
        assert_eq!(outcome.ending, Ending::TimedOut);
        outcome.consoles[0].contains("fake kernel")
    }));
}

#[test]
fn reports_and_counters_arrive() {
    let outcome = run(config("report", &[]));
    assert_eq!(outcome.reports[0].1, "killed by a fault");
    let outcome = run(config("stats", &[]));
    assert_eq!(outcome.stats.sum().counters, [("syscall.read".to_owned(), 5)]);
}

#[test]
fn the_command_line_has_the_same_streams_and_statuses() {
    let mut child = launcher(&["run"], "cat", &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"\0\xff binary\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"\0\xff binary\n");
    assert_eq!(output.status.code(), Some(0));

    let failed = launcher(&["run"], "panic", &[]).output().unwrap();
    assert_eq!(failed.status.code(), Some(125));
    assert!(text(&failed.stderr).contains("kernel panic: out of luck"), "{failed:?}");

    assert!(LIMITS.into_iter().any(|limit| {
        let limit = limit.to_string();
        let late = launcher(&["run", "--timeout", &limit], "hang", &[]).output().unwrap();
        assert_eq!(late.status.code(), Some(124));
        text(&late.stderr).contains("fake kernel")
    }));
}

#[test]
fn consoles_go_to_the_log_and_not_among_the_output() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let arguments = ["run", "--log", log.to_str().unwrap()];
    let output = launcher(&arguments, "echo", &["x"]).output().unwrap();
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("x\n".into(), String::new()));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "0/x86_64: fake kernel\n");
    let verbose = launcher(&["run", "-v"], "echo", &["x"]).output().unwrap();
    assert_eq!(text(&verbose.stderr), "0/x86_64: fake kernel\n");
}

#[test]
fn a_reader_that_leaves_is_told_to_the_program() {
    let mut child = launcher(&["run"], "until-closed", &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 13));
}

#[test]
fn a_slow_reader_gets_everything() {
    let mut child = launcher(&["run"], "flood", &["100"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut buffer, mut total) = (vec![0; 65_536], 0usize);
    loop {
        let count = stdout.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        for (offset, byte) in buffer[..count].iter().enumerate() {
            assert_eq!(*byte, ((total + offset) % 256) as u8);
        }
        total += count;
        if total < 1_000_000 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!(total, 100 * 65_536);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_interrupt_takes_everything_down() {
    let mut child = launcher(&["run", "-v"], "hang", &[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut seen = vec![0; "0/x86_64: fake kernel\n".len()];
    child.stderr.take().unwrap().read_exact(&mut seen).unwrap();
    let machine = children_of(child.id());
    assert_eq!(machine.len(), 1);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!is_alive(machine[0]));
}

#[test]
fn an_interrupt_ends_a_wait_for_a_reader() {
    let mut child = launcher(&["run"], "flood", &["10"]).stdout(Stdio::piped()).spawn().unwrap();
    // Not by looking for the machine, which may come and go between two looks.
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let limit = Instant::now() + Duration::from_secs(60);
    while children_of(child.id()).iter().any(|pid| is_alive(*pid)) {
        assert!(Instant::now() < limit, "the machine does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn machines_do_not_outlive_a_launcher_that_is_killed() {
    let mut child = launcher(&["run", "-v"], "hang", &[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut seen = vec![0; "0/x86_64: fake kernel\n".len()];
    child.stderr.take().unwrap().read_exact(&mut seen).unwrap();
    let machine = children_of(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    let limit = Instant::now() + Duration::from_secs(60);
    while machine.iter().any(|pid| is_alive(*pid)) {
        assert!(Instant::now() < limit, "machine {machine:?} is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn wrong_usage_and_missing_things_are_named() {
    let fails = |arguments: &[&str], program: &str, status: i32, message: &str| {
        let output = launcher(arguments, program, &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
    };
    fails(&["run", "--topology", "z80"], "echo", 2, "unknown instruction set `z80`");
    fails(&["run", "--memory", "1K"], "echo", 2, "memory size `1K`");
    fails(&["run", "--file", "x"], "echo", 2, "write HOST:GUEST");
    fails(&["run", "--timeout", "0"], "echo", 2, "more than nothing");
    fails(&["run", "--place", "1,x"], "echo", 2, "`1,x` is no placement");
    fails(&["run", "--place", "3-2"], "echo", 2, "`3-2` is no range of CPUs");
    fails(&["run", "--place", "0-2", "-T", "x86_64*2"], "echo", 2, "there is no CPU 2 in x86_64*2");
    fails(&["run", "--coherence", "hope"], "echo", 2, "directory, voting");
    fails(&["run", "--migrate-every", "0"], "echo", 2, "0 is not in 1..");
    fails(&["run", "--file", "/none:/x"], "echo", 125, "maize: /none: No such file");
    fails(&["run", "--root", "/none"], "echo", 125, "maize: root file system: /none: No such file");
    fails(&["run"], "no-such-program", 125, "no such program");
    fails(&["run", "--emulator", "/no/qemu"], "echo", 125, "could not be started");
}

#[test]
fn groups_and_benchmarks_that_are_not_there_are_wrong_usage() {
    let ends = |arguments: &[&str], status: i32, message: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_maize-launcher")).args(arguments).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert!(text(&output.stderr).contains(message), "{output:?}");
    };
    ends(&["test", "nonsense"], 2, "no test group `nonsense`");
    ends(&["bench", "nonsense"], 2, "no benchmark `nonsense`");
    ends(&["bench", "boot", "--json", "/none/x"], 125, "maize: /none/x: No such file");
}

#[test]
fn what_was_asked_for_is_looked_at_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let dynamic = std::fs::read("/proc/self/exe").unwrap();
    std::fs::write(path("dynamic"), dynamic).unwrap();
    let fails = |arguments: &[&str], program: &str, message: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_maize-launcher"));
        // There is no such profile: to build a kernel would be another error.
        command.env(PROFILE_VARIABLE, "nobody-has-this").stdin(Stdio::null());
        let output = command.arg("run").args(arguments).args(["--", program]).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.as_str()), (Some(125), message));
    };
    let (mine, other) = match std::env::consts::ARCH {
        "aarch64" => ("aarch64", "x86_64"),
        isa => (isa, "aarch64"),
    };
    let root = ["--root", folder.path().to_str().unwrap(), "--topology", mine];
    let with_root = |more: &[&'static str]| [&root[..], more].concat();
    let program = path("dynamic");
    let why = "and shared libraries, which the guest does not have: add them (--root, --file), or link it \
               with -static";
    let loader = match mine {
        "aarch64" => "/lib/ld-linux-aarch64.so.1",
        _ => "/lib64/ld-linux-x86-64.so.2",
    };
    fails(&root, &program, &format!("maize: {program} needs {loader} {why}\n"));
    fails(&root, "/tmp", "maize: /tmp: is a directory, not a program\n");
    let foreign = format!("maize: {program} is a program for {mine}; this machine is {other}\n");
    fails(&[root[0], root[1], "--topology", other], &program, &foreign);
    for option in ["--log", "--stats-json", "--trace"] {
        fails(
            &with_root(&[option, "/none/x"]),
            "/dynamic",
            "maize: /none/x: No such file or directory (os error 2)\n",
        );
    }
    fails(
        &["--root", "/none"],
        "sh",
        "maize: root file system: /none: No such file or directory (os error 2)\n",
    );
}

#[test]
fn a_dry_run_shows_a_command_and_starts_nothing() {
    let output = launcher(&["run", "--dry-run"], "die", &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let line = text(&output.stdout);
    assert!(line.starts_with("qemu-system-x86_64 ") && line.contains("-accel tcg,thread=multi"));
    assert!(fake().exists());
}

fn children_of(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Whether the process exists and is no zombie.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
