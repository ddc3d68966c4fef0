//! Control messages and boot records: round trips, fixed bytes, hostile bytes.

use maize_hostlink::boot::{
    Action, Coherence, Console, Instance, Isa, MAX_LEN, Placement, Program, Sharing, WindowSize,
};
use maize_hostlink::control::{Histogram, Level, Output, Stats, shell_status};
use maize_hostlink::frame::{Channel, Decoder, HEADER_LEN};
use maize_hostlink::{BootRecord, BootRecordError, ControlError, KernelMessage, LauncherMessage};
use proptest::prelude::*;

fn record() -> BootRecord {
    BootRecord {
        action: Action::Run(Program {
            path: b"/bin/sh".to_vec(),
            argv: vec![b"sh".to_vec(), b"-c".to_vec(), b"echo \xff".to_vec()],
            env: vec![b"HOME=/root".to_vec()],
            cwd: b"/".to_vec(),
        }),
        console: Console::Terminal(WindowSize { rows: 24, columns: 80 }),
        instance: 1,
        instances: vec![
            Instance { machine: 0, isa: Isa::X86_64 },
            Instance { machine: 1, isa: Isa::Aarch64 },
        ],
        wall_clock_ns: 1_700_000_000_000_000_000,
        entropy: [9; 32],
        stats: true,
        fabric: 0x0123_4567_89ab_cdef,
        poll_ns: 50_000,
        dead_after_ms: 20_000,
        trace: true,
        debugged: true,
        sharing: Sharing {
            placement: Placement::List(vec![0, 1]),
            coherence: Coherence::Voting,
            migrate_every: 7,
            homes: Placement::Spread,
            move_processes_every: 9,
            balance: true,
            prefetch: 4,
            promote: true,
        },
        exercise: vec![1, 2, 3],
    }
}

fn histogram() -> Histogram {
    Histogram {
        name: "fault.write.ns".into(),
        unit: "ns".into(),
        count: 2,
        sum: 7,
        min: 3,
        max: 4,
        buckets: vec![(1, 1), (2, 1)],
    }
}

#[test]
fn kernel_messages_come_back() {
    let messages = [
        KernelMessage::Hello { version: 1 },
        KernelMessage::StdinCredit { bytes: u32::MAX },
        KernelMessage::Ready { since_entry_ns: 5, phases: vec![("memory".into(), 3)] },
        KernelMessage::Exited { status: 139 },
        KernelMessage::Stats(Stats {
            counters: vec![("syscall.read".into(), 4)],
            histograms: vec![histogram()],
        }),
        KernelMessage::Report { level: Level::Warning, text: "no such call".into() },
        KernelMessage::Up { instance: 15, epoch: 1 },
        KernelMessage::PeerUp { peer: 2, epoch: u32::MAX },
        KernelMessage::PeerDown { peer: 2, epoch: 9, cause: "silent".into(), awaits_stop: true },
        KernelMessage::Exercise { bytes: vec![0, 255] },
    ];
    let mut stream = Vec::new();
    for message in &messages {
        message.encode(3, &mut stream).unwrap();
    }
    let (mut decoder, mut input, mut seen) = (Decoder::new(), &stream[..], Vec::new());
    while let Some(frame) = decoder.next_frame(&mut input).unwrap() {
        assert_eq!((frame.channel, frame.instance), (Channel::Control, 3));
        seen.push(KernelMessage::decode(frame.payload).unwrap());
    }
    assert_eq!(seen, messages);
}

#[test]
fn launcher_messages_come_back_and_their_bytes_are_fixed() {
    let size = WindowSize { rows: 24, columns: 200 };
    let cases: [(LauncherMessage, &[u8]); 9] = [
        (LauncherMessage::WindowSize(size), &[0, 24, 0xc8, 0x01]),
        (LauncherMessage::Signal(2), &[1, 2]),
        (LauncherMessage::OutputClosed(Output::Stderr), &[2, 1]),
        (LauncherMessage::StatsRequest, &[3]),
        (LauncherMessage::Shutdown, &[4]),
        (LauncherMessage::PeerStopped { peer: 3, epoch: 300 }, &[5, 3, 0xac, 0x02]),
        (LauncherMessage::StopInstance { instance: 15 }, &[6, 15]),
        (LauncherMessage::StartInstance { instance: 1 }, &[7, 1]),
        (LauncherMessage::TasksRequest, &[8]),
    ];
    for (message, bytes) in cases {
        let mut stream = Vec::new();
        message.encode(0, &mut stream).unwrap();
        assert_eq!(&stream[HEADER_LEN..], bytes);
        assert_eq!(LauncherMessage::decode(bytes), Ok(message));
    }
}

#[test]
fn bad_control_messages_have_names() {
    assert_eq!(LauncherMessage::decode(&[]), Err(ControlError::Malformed));
    assert_eq!(LauncherMessage::decode(&[9]), Err(ControlError::Malformed));
    assert_eq!(LauncherMessage::decode(&[4, 0, 0]), Err(ControlError::Trailing(2)));
    let long = KernelMessage::Report { level: Level::Info, text: "x".repeat(70_000) };
    assert!(matches!(long.encode(0, &mut Vec::new()), Err(ControlError::Frame(_))));
}

#[test]
fn a_boot_record_comes_back_with_padding_behind_it() {
    let mut bytes = record().encode().unwrap();
    bytes.resize(4096, 0);
    assert_eq!(BootRecord::decode(&bytes), Ok(record()));
}

#[test]
fn bad_boot_records_have_names() {
    let good = record().encode().unwrap();
    let decode = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        edit(&mut bytes);
        BootRecord::decode(&bytes)
    };
    assert_eq!(decode(&|b| b.truncate(11)), Err(BootRecordError::Short));
    assert_eq!(decode(&|b| b.truncate(30)), Err(BootRecordError::Malformed));
    assert_eq!(decode(&|b| b[0] = b'm'), Err(BootRecordError::BadMagic));
    assert_eq!(decode(&|b| b[8] = 1), Err(BootRecordError::Version(1)), "the first version");
    assert_eq!(decode(&|b| b[8] = 77), Err(BootRecordError::Version(77)));
    assert_eq!(decode(&|b| b.resize(MAX_LEN + 1, 0)), Err(BootRecordError::TooLong(MAX_LEN + 1)));
    let stranger = BootRecord { instance: 2, ..record() }.encode().unwrap();
    assert_eq!(BootRecord::decode(&stranger), Err(BootRecordError::NoSuchInstance(2)));
    let sharing = Sharing { placement: Placement::List(vec![1, 2]), ..Sharing::default() };
    let nowhere = BootRecord { sharing, ..record() }.encode().unwrap();
    assert_eq!(BootRecord::decode(&nowhere), Err(BootRecordError::NoSuchCpu(2)));
}

#[test]
fn statuses_are_a_shells() {
    assert_eq!(shell_status(0), 0);
    assert_eq!(shell_status(3 << 8), 3);
    assert_eq!(shell_status(255 << 8), 255);
    assert_eq!(shell_status(9), 137);
    assert_eq!(shell_status(11 | 0x80), 139, "core dumped");
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = KernelMessage::decode(&bytes);
        let _ = LauncherMessage::decode(&bytes);
        let mut framed = record().encode().unwrap();
        framed.truncate(12);
        framed.extend(&bytes);
        let _ = BootRecord::decode(&framed);
    }

    #[test]
    fn mutated_records_never_panic(at in 0usize..160, with in any::<u8>()) {
        let mut bytes = record().encode().unwrap();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = with;
        }
        let _ = BootRecord::decode(&bytes);
    }
}
