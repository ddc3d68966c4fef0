//! What `./maize run` promises, on the real kernels. Ignored unless asked for, since each test boots
//! a machine: `cargo test -p maize-runs -- --ignored x86_64 --test-threads=1`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use maize_hostlink::boot::{Console, Isa, WindowSize};
use maize_launcher::gdb;
use maize_launcher::input::Input;
use maize_launcher::machine::GdbStart;
use maize_launcher::ramdisk::GuestFile;
use maize_launcher::root::{Root, fetch_busybox};
use maize_launcher::run::{Ending, run};
use maize_launcher::topology::Topology;
use maize_launcher::workspace::Workspace;
use maize_runs::dynamic::DynamicProgram;
use maize_runs::{outcome, program, script, shell};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn output_is_the_programs(isa: Isa) {
    let outcome = outcome(script(isa, "echo out; echo err >&2; printf '\\000\\377'")).unwrap();
    assert_eq!(outcome.stdout, b"out\n\0\xff");
    assert_eq!(text(&outcome.stderr), "err\n");
    assert_eq!(outcome.ending, Ending::Exited(0));
}

fn statuses_are_the_programs(isa: Isa) {
    assert_eq!(shell(isa, "exit 7").unwrap().1, 7);
    assert_eq!(shell(isa, "kill -9 $$").unwrap().1, 137);
    assert_eq!(shell(isa, "kill -TERM $$").unwrap().1, 143);
}

fn arguments_and_environment_arrive(isa: Isa) {
    let mut config =
        program(isa, &["sh", "-c", "printf '%s|' \"$@\" $A \"$PWD\"", "x", "a b", "", "ä\n"]);
    config.environment.push(b"A=c".to_vec());
    config.directory = "/usr/local".to_owned();
    assert_eq!(text(&outcome(config).unwrap().stdout), "a b||ä\n|c|/usr/local|");
}

fn input_comes_byte_for_byte_and_ends(isa: Isa) {
    let data: Vec<u8> = (0..1_000_003u32).map(|n| (n * 31 % 251) as u8).collect();
    let mut config = program(isa, &["cat"]);
    config.input = Input::bytes(data.clone());
    assert!(outcome(config).unwrap().stdout == data);
    assert_eq!(shell(isa, "read line; echo \"$? [$line]\"").unwrap().0, "1 []\n");
}

fn much_output_is_carried(isa: Isa) {
    const MIB: usize = 32;
    let started = Instant::now();
    let outcome = outcome(program(isa, &["dd", "if=/dev/zero", "bs=64k", "count=512"])).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(outcome.stdout.len(), MIB << 20);
    assert!(outcome.stdout.iter().all(|byte| *byte == 0));
    println!("{MIB} MiB of output in {seconds:.2} s");
}

fn files_of_the_host_are_in_the_root(isa: Isa) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(folder.path().join("d/f"), vec![b'x'; 5000]).unwrap();
    let mut config = script(
        isa,
        "wc -c < /data/d/f; ls -l /data/d; echo more >> /data/d/f; tail -c 5 /data/d/f; \
         wc -c < /tmp/data/d/f; echo tmp >> /tmp/mine; cat /tmp/mine",
    );
    let at = |guest: &str| GuestFile { host: folder.path().to_owned(), guest: guest.to_owned() };
    config.files = vec![at("/data"), at("/tmp/data")];
    let seen = text(&outcome(config).unwrap().stdout);
    assert!(seen.starts_with("5000\n") && seen.ends_with("more\n5000\ntmp\n"), "{seen}");
    assert!(!text(&std::fs::read(folder.path().join("d/f")).unwrap()).contains("more"));

    // A program of the host, in a root that has nothing else: busybox under another name.
    let mine = folder.path().join("mine");
    std::fs::write(&mine, fetch_busybox(isa, &Workspace::find().unwrap()).unwrap()).unwrap();
    std::fs::set_permissions(&mine, PermissionsExt::from_mode(0o755)).unwrap();
    let mut config = program(isa, &[mine.to_str().unwrap(), "x"]);
    config.program = mine.to_str().unwrap().to_owned();
    let empty = tempfile::tempdir().unwrap();
    config.root = Root::Directory(empty.path().to_owned());
    let refused = outcome(config).unwrap();
    assert_eq!(refused.ending, Ending::Exited(127 << 8));
    assert!(text(&refused.stderr).contains("applet not found"), "{refused:?}");
}

fn the_machine_is_as_asked(isa: Isa) {
    assert_eq!(shell(isa, "uname -m").unwrap().0, format!("{isa}\n"));
    let mut config = script(isa, "sed -n 's/^MemTotal: *//p' /proc/meminfo");
    config.memory = "128M".parse().unwrap();
    let seen = text(&outcome(config).unwrap().stdout);
    let kib: u64 = seen.split(' ').next().unwrap().parse().unwrap();
    assert!((64 * 1024..=128 * 1024).contains(&kib), "{seen}");
}

fn a_small_machine_runs_a_shell(isa: Isa) {
    // The names and inodes take more than the heap that the kernel starts with.
    let mut config = script(isa, "cd /tmp; seq 1 20000 | xargs mkdir && ls | wc -l");
    config.memory = "64M".parse().unwrap();
    assert_eq!(text(&outcome(config).unwrap().stdout), "20000\n");
}

fn a_terminal_is_one(isa: Isa) {
    let mut config = script(isa, "stty size; test -t 0 && test -t 1 && test -t 2 && echo all");
    config.console = Console::Terminal(WindowSize { rows: 33, columns: 99 });
    // The session makes the user's terminal raw: it must have one.
    let (_user, terminal) = terminal();
    config.input = Input::descriptor(terminal.into());
    assert_eq!(text(&outcome(config).unwrap().stdout), "33 99\r\nall\r\n");
    assert_eq!(shell(isa, "test -t 0 || test -t 1 || test -t 2; echo $?").unwrap().0, "1\n");
}

fn terminal() -> (std::os::fd::OwnedFd, std::fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&user).unwrap();
    unlockpt(&user).unwrap();
    let path = ptsname(&user, Vec::new()).unwrap().into_string().unwrap();
    (user, std::fs::File::options().read(true).write(true).open(path).unwrap())
}

fn a_program_that_hangs_ends_with_the_time(isa: Isa) {
    // A busy host may need the longer times for the boot.
    assert!([8, 40, 200].into_iter().any(|limit| {
        let config = script(isa, "echo begun; exec sleep 1000").timeout(Duration::from_secs(limit));
        let outcome = run(config, &Workspace::find().unwrap()).unwrap();
        assert_eq!(outcome.ending, Ending::TimedOut);
        text(&outcome.stdout) == "begun\n"
    }));
}

fn counters_are_given_when_asked_for(isa: Isa) {
    let mut config = script(isa, "echo x");
    config.stats = true;
    let outcome = outcome(config).unwrap();
    let stats = outcome.stats.sum();
    let writes = stats.counters.iter().find(|(name, _)| name == "syscall.write");
    assert!(writes.is_some_and(|(_, count)| *count > 0), "{:?}", stats.counters);
    assert!(outcome.ready.is_some());
}

fn a_debugger_stops_the_kernel(isa: Isa) {
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard");
    // As the launcher's own process is what keeps the record of ports, both sides are threads of it.
    let run = std::thread::spawn(move || {
        let mut config = script(isa, "echo done");
        config.gdb = Some(GdbStart::Wait);
        outcome(config).unwrap()
    });
    let workspace = Workspace::find().unwrap();
    let socket = || gdb::ports(&workspace).unwrap().first().map(|port| port.socket.clone());
    while !socket().is_some_and(|path| path.exists()) {
        assert!(!run.is_finished(), "the run ended without a debugger");
        std::thread::sleep(Duration::from_millis(20));
    }
    let logged = format!("set logging file {}", heard.display());
    let commands = [
        &logged,
        "set logging enabled on",
        "hbreak maize_main",
        "continue",
        "backtrace",
        "info registers pc",
        "delete",
        "detach",
    ];
    let mut arguments = vec!["-batch".to_owned()];
    arguments.extend(commands.iter().flat_map(|text| ["-ex".to_owned(), (*text).to_owned()]));
    assert!(gdb::attach(&workspace, 0, &arguments).unwrap().success());
    let heard = std::fs::read_to_string(heard).unwrap();
    assert!(heard.contains("#0") && heard.contains("maize_main"), "{heard}");
    assert_eq!(text(&run.join().unwrap().stdout), "done\n");
}

fn a_program_killed_by_a_fault_is_reported(isa: Isa) {
    // Busybox as an ELF file whose entry is not mapped.
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    let mut elf = fetch_busybox(isa, &Workspace::find().unwrap()).unwrap();
    elf[24..32].copy_from_slice(&0x10_0000u64.to_le_bytes());
    std::fs::write(&broken, elf).unwrap();
    std::fs::set_permissions(&broken, PermissionsExt::from_mode(0o755)).unwrap();
    let config = program(isa, &[broken.to_str().unwrap()]);
    assert_eq!(outcome(config).unwrap().ending.status(), 128 + 11);
}

fn programs_that_are_linked_dynamically_find_their_libraries(isa: Isa) {
    let built = DynamicProgram::build(isa).unwrap();
    // Without what starts it, it is refused before anything runs.
    let mut incomplete = built.run(Topology::single(isa));
    incomplete.files.retain(|file| file.guest != built.interpreter);
    let refused = run(incomplete, &Workspace::find().unwrap()).unwrap_err().to_string();
    assert!(refused.contains(&format!("needs {}", built.interpreter)), "{refused}");

    let outcome = outcome(built.run(Topology::single(isa))).unwrap();
    assert_eq!(text(&outcome.stdout), DynamicProgram::OUTPUT, "{outcome:?}");
}

/// A static program of Rust's standard library prints what it prints on Linux. Of the toolchain's targets
/// only the host's has that library.
#[test]
#[ignore = "boots a machine"]
fn programs_in_rust_run_as_on_linux_x86_64() {
    let folder = tempfile::tempdir().unwrap();
    let source = Workspace::find().unwrap().root().join("tests/runs/rust/program.rs");
    let built = folder.path().join("program");
    let compiled = Command::new("rustc")
        .args(["--edition=2024", "-Copt-level=1", "-Ctarget-feature=+crt-static", "-o"])
        .args([&built, &source])
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", text(&compiled.stderr));
    let linux = Command::new(&built).output().unwrap();
    assert!(linux.status.success(), "{linux:?}");
    let outcome = outcome(program(Isa::X86_64, &[built.to_str().unwrap()])).unwrap();
    assert_eq!(text(&outcome.stdout), text(&linux.stdout), "{outcome:?}");
    assert_eq!(outcome.ending, Ending::Exited(0));
}

/// The same tests on each instruction set.
macro_rules! on_each_isa {
    ($($name:ident)*) => {
        mod x86_64 {
            $(#[test] #[ignore = "boots a machine"] fn $name() { super::$name(maize_hostlink::boot::Isa::X86_64); })*
        }
        mod aarch64 {
            $(#[test] #[ignore = "boots a machine"] fn $name() { super::$name(maize_hostlink::boot::Isa::Aarch64); })*
        }
    };
}

on_each_isa! {
    output_is_the_programs
    statuses_are_the_programs
    arguments_and_environment_arrive
    input_comes_byte_for_byte_and_ends
    much_output_is_carried
    files_of_the_host_are_in_the_root
    the_machine_is_as_asked
    a_small_machine_runs_a_shell
    a_terminal_is_one
    a_program_that_hangs_ends_with_the_time
    counters_are_given_when_asked_for
    a_program_killed_by_a_fault_is_reported
    a_debugger_stops_the_kernel
    programs_that_are_linked_dynamically_find_their_libraries
}
