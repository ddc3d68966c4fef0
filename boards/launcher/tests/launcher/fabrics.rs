//! Several machines that are no QEMU: which of them a run needs, who is stopped when, who returns.

use std::time::{Duration, Instant};

use crate::on_fake_machine::{config, launcher, live, run};
use maize_hostlink::{KernelMessage, LauncherMessage};
use maize_launcher::live::{Event, Live, Order};
use maize_launcher::run::Ending;
use maize_window::WindowHeader;

const LIMIT: Duration = Duration::from_secs(90);

/// Waits until all of these instances are up; the machines' processes.
fn all_up(live: &mut Live, instances: usize) -> Vec<u32> {
    let (mut up, mut processes) = (0, Vec::new());
    let came = live.wait_until(LIMIT, |event| {
        match event {
            Event::Started { process, .. } => processes.push(*process),
            Event::Said { message: KernelMessage::Up { .. }, .. } => up += 1,
            _ => {}
        }
        up == instances
    });
    assert!(came, "{:?}", live.seen());
    processes
}

/// One letter for what the process does: `T` is stopped, `Z` or nothing has ended.
fn state(process: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('Z')
}

fn wait_for_state(process: u32, wanted: impl Fn(char) -> bool) {
    let end = Instant::now() + LIMIT;
    while !wanted(state(process)) {
        assert!(Instant::now() < end, "process {process} is in state {}", state(process));
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The instance has given the peer up.
fn gives_up(live: &Live, instance: u16, peer: u16) {
    live.order(Order::Tell(instance, LauncherMessage::StopInstance { instance: peer }));
}

fn is_told(live: &mut Live, instance: u16, peer: u16) -> bool {
    let text = format!("{peer} has stopped in epoch 1");
    live.wait_until(LIMIT, |event| {
        matches!(event, Event::Said { instance: who, message: KernelMessage::Report { text: said, .. } }
            if *who == instance && *said == text)
    })
}

#[test]
fn a_program_runs_on_the_first_of_several_machines() {
    for topology in ["x86_64+aarch64", "aarch64+x86_64+x86_64+aarch64"] {
        let mut config = config("exit", &["7"]);
        config.topology = topology.parse().unwrap();
        config.stats = true;
        let outcome = run(config);
        assert_eq!(outcome.ending, Ending::Exited(7 << 8), "{:?}", outcome.consoles);
        let counted = outcome.stats.instances().count();
        assert_eq!(counted, outcome.consoles.len(), "every machine has counted: {outcome:?}");
        assert_eq!(outcome.consoles.len(), topology.matches('+').count() + 1);
    }
}

#[test]
fn the_window_is_there_before_the_machines_and_only_between_machines() {
    let mut live_run = live("x86_64*2+aarch64");
    let window = live_run.window(LIMIT).unwrap();
    let header = WindowHeader::read(&window.window()).unwrap();
    assert_eq!(header.layout.instances(), 3);
    assert_ne!(header.fabric, 0);
    all_up(&mut live_run, 2);
    assert_eq!(live_run.dismiss().unwrap().ending, Ending::Dismissed);
    let live_run = live("x86_64*4");
    assert!(live_run.window(LIMIT).is_none());
}

#[test]
fn a_machine_without_the_program_may_end() {
    let output = launcher(&["run", "-T", "x86_64+aarch64", "--timeout", "1"], "hang", &[]).output();
    assert_eq!(output.unwrap().status.code(), Some(124));
    let mut run = live("x86_64+aarch64+aarch64");
    all_up(&mut run, 3);
    run.order(Order::Tell(1, LauncherMessage::Signal(2)));
    assert!(run.wait_until(LIMIT, |event| {
        matches!(event, Event::Ended { machine: 1, how } if how == "ended (exit status: 3)")
    }));
    // Nobody minds: the others still answer, and the end is theirs to decide.
    gives_up(&run, 2, 1);
    assert!(is_told(&mut run, 2, 1));
    let outcome = run.dismiss().unwrap();
    assert_eq!(outcome.ending, Ending::Dismissed);
    let lost = "machine 1/aarch64 ended (exit status: 3); lost: instance 1";
    assert!(outcome.reports.iter().any(|(_, text)| text == lost), "{:?}", outcome.reports);
}

#[test]
fn a_machine_that_was_given_up_is_stopped_before_anybody_is_told() {
    let mut run = live("x86_64+aarch64+x86_64");
    let processes = all_up(&mut run, 3);
    gives_up(&run, 0, 1);
    assert!(is_told(&mut run, 0, 1), "{:?}", run.seen());
    wait_for_state(processes[1], |state| state != 'T');
    // While it is held it stays stopped, whoever asks.
    run.order(Order::Hold(1));
    wait_for_state(processes[1], |state| state == 'T');
    gives_up(&run, 0, 1);
    assert!(is_told(&mut run, 0, 1));
    gives_up(&run, 2, 1);
    assert!(is_told(&mut run, 2, 1));
    assert_eq!(state(processes[1]), 'T');
    run.order(Order::Release(1));
    wait_for_state(processes[1], |state| state != 'T');
    assert_eq!(run.dismiss().unwrap().ending, Ending::Dismissed);
    assert!(processes.iter().all(|process| state(*process) == 'Z'));
}

#[test]
fn a_machine_that_somebody_else_stopped_is_theirs_to_continue() {
    use rustix::process::{Pid, Signal, kill_process};
    let mut run = live("x86_64+aarch64");
    let processes = all_up(&mut run, 2);
    let process = Pid::from_raw(processes[1].cast_signed()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    wait_for_state(processes[1], |state| state == 'T');
    gives_up(&run, 0, 1);
    assert!(is_told(&mut run, 0, 1));
    assert_eq!(state(processes[1]), 'T');
    kill_process(process, Signal::CONT).unwrap();
    wait_for_state(processes[1], |state| state != 'T');
    // It is back under a new epoch, so the old one needs no stop any more.
    run.order(Order::Tell(1, LauncherMessage::StartInstance { instance: 1 }));
    assert!(run.wait_until(LIMIT, |event| {
        matches!(event, Event::Said { message: KernelMessage::Up { epoch: 2, .. }, .. })
    }));
    gives_up(&run, 0, 1);
    assert!(is_told(&mut run, 0, 1));
}

#[test]
fn a_machine_returns_under_its_number() {
    let mut run = live("x86_64+aarch64*3+x86_64");
    let processes = all_up(&mut run, 3);
    run.order(Order::Kill(1));
    assert!(run.wait_until(LIMIT, |event| {
        matches!(event, Event::Ended { machine: 1, how } if how.contains("signal: 9"))
    }));
    run.order(Order::Restart(1));
    let mut again = 0;
    assert!(run.wait_until(LIMIT, |event| {
        if let Event::Started { machine: 1, process } = event {
            again = *process;
        }
        matches!(event, Event::Said { instance: 1, message: KernelMessage::Up { .. } })
    }));
    assert_ne!(again, processes[1]);
    gives_up(&run, 4, 2);
    assert!(is_told(&mut run, 4, 2));
    // One that runs is ended first.
    run.order(Order::Restart(2));
    assert!(run.wait_until(LIMIT, |event| {
        matches!(event, Event::Said { instance: 4, message: KernelMessage::Up { .. } })
    }));
    let outcome = run.dismiss().unwrap();
    let again = |name: &str| {
        let text = format!("machine {name}: started again");
        outcome.reports.iter().filter(|(_, said)| *said == text).count()
    };
    assert_eq!((again("1/aarch64"), again("2/x86_64")), (1, 1), "{:?}", outcome.reports);
}

#[test]
fn machines_return_by_themselves_if_that_is_wanted() {
    let mut config = config("echo", &[]);
    config.topology = "x86_64+aarch64".parse().unwrap();
    config.exercise = Some(Vec::new());
    config.restart_machines = true;
    let mut run =
        Live::start(config, &maize_launcher::workspace::Workspace::find().unwrap()).unwrap();
    all_up(&mut run, 2);
    for _ in 0..2 {
        run.order(Order::Tell(1, LauncherMessage::Signal(2)));
        assert!(run.wait_until(LIMIT, |event| {
            matches!(event, Event::Said { instance: 1, message: KernelMessage::Up { .. } })
        }));
    }
    run.order(Order::Kill(1));
    assert!(run.wait_until(LIMIT, |event| matches!(event, Event::Ended { machine: 1, .. })));
    assert!(!run.wait_until(Duration::from_millis(300), |event| {
        matches!(event, Event::Started { .. })
    }));
}

#[test]
fn nothing_is_left_of_a_window() {
    let mut run = live("x86_64+aarch64");
    let window = run.window(LIMIT).unwrap();
    let fabric = WindowHeader::read(&window.window()).unwrap().fabric;
    drop(window);
    all_up(&mut run, 2);
    assert!(descriptors_of_window(fabric) > 0);
    drop(run);
    assert_eq!(descriptors_of_window(fabric), 0);
    let shared = std::fs::read_dir("/dev/shm").unwrap().filter_map(Result::ok);
    let left = shared.filter(|e| e.file_name().to_string_lossy().contains("maize")).count();
    assert_eq!(left, 0);
}

/// How many descriptors this process, which has other tests' windows too, has of a fabric's.
fn descriptors_of_window(fabric: u64) -> usize {
    let name = format!("/memfd:maize-window-{fabric:x} (deleted)");
    let files = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    let targets = files.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy() == name).count()
}
