//! Programs that are built for both instruction sets and move between them in user mode.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail so")]

mod build;

use build::{Program, expected_everything};
use maize_xisa_metadata::Isa;

#[test]
fn both_files_give_the_same_answer() {
    let program = Program::freestanding("everything.c", &["-O2"]);
    for isa in Isa::ALL {
        let run = program.run(isa, &[]);
        assert_eq!((run.status, run.text.as_str()), (63, expected_everything()), "{isa}");
    }
}

#[test]
fn a_thread_is_saved_and_entered_at_every_point() {
    for options in [&["-O2"][..], &["-O0"], &["-O3", "--polls=calls"], &["-O1", "--polls=none"]] {
        let program = Program::freestanding("everything.c", options);
        for isa in Isa::ALL {
            for every in ["self:1", "self:4"] {
                let run = program.run(isa, &[("MAIZE_MIGRATE", every)]);
                let found = (run.status, run.text.as_str());
                assert_eq!(found, (63, expected_everything()), "{isa} {every} {options:?}");
            }
        }
    }
}

#[test]
fn a_thread_goes_from_one_instruction_set_to_the_other_and_back() {
    let program = Program::freestanding("everything.c", &["-O2", "-g"]);
    let trip = program.trip(3);
    assert_eq!((trip.status, trip.text.as_str()), (63, expected_everything()));
    assert!(trip.hops > 100, "{} hops", trip.hops);
}

#[test]
fn loops_and_callbacks_are_left_by_polls_alone() {
    let program = Program::freestanding("sort.c", &["-O2"]);
    let at_home = program.run(Isa::X86_64, &[]);
    assert!(at_home.text.starts_with("ordered 1 digest "), "{}", at_home.text);
    let trip = program.trip(97);
    assert_eq!((trip.status, &trip.text), (0, &at_home.text));
    assert!(trip.hops > 20, "{} hops", trip.hops);
    let none = Program::freestanding("sort.c", &["-O2", "--polls=none"]);
    assert_eq!(none.trip(1).hops, 0);
}

#[test]
fn a_state_of_another_build_is_refused() {
    let one = Program::freestanding("sort.c", &["-O2"]);
    let other = Program::freestanding("sort.c", &["-O1"]);
    let state = one.folder().join("state");
    let leave = format!("leave:30:{}", state.display());
    assert_eq!(one.run(Isa::X86_64, &[("MAIZE_MIGRATE", &leave)]).status, 42);
    let run = other.run(Isa::Aarch64, &[("MAIZE_RESUME", state.to_str().unwrap())]);
    assert_eq!(run.status, 127);
    assert!(run.errors.contains("another build") || run.errors.contains("does not fit"), "{run:?}");
}

#[test]
fn separate_compilation_and_archives_give_the_same_program() {
    let program = Program::from_archive("everything.c", &["-O2"]);
    let trip = program.trip(11);
    assert_eq!((trip.status, trip.text.as_str()), (63, expected_everything()));
}

#[test]
fn what_cannot_move_is_refused_with_its_line() {
    let source = "int f(int x) {\n  __asm__(\"nop\");\n  return x;\n}\n\
                  int twice(void) __attribute__((returns_twice));\n\
                  int g(void) {\n  return twice();\n}\n";
    let errors = build::refused(source);
    assert!(errors.contains("t.c:2: error: in `f`: inline assembly (`nop`)"), "{errors}");
    assert!(errors.contains("t.c:7: error: in `g`: a function that returns twice"), "{errors}");
}

#[test]
fn a_program_of_the_c_library_moves() {
    let program = Program::hosted("hosted.c", &["-O2", "-lm"]);
    let expected = include_str!("programs/hosted.txt");
    for isa in Isa::ALL {
        for every in ["self:1", "self:7"] {
            let run = program.run(isa, &[("MAIZE_MIGRATE", every)]);
            assert_eq!((run.status, run.text.as_str()), (0, expected), "{isa} {every} {run:?}");
        }
    }
    let trip = program.trip(13);
    assert_eq!((trip.status, trip.text.as_str()), (0, expected), "{}", trip.errors);
    assert!(trip.hops > 40, "{} hops", trip.hops);
}

#[test]
fn numbers_strings_and_the_heap_are_as_on_linux() {
    let program = Program::hosted("library.c", &["-O2", "-pthread"]);
    let expected = include_str!("programs/library.txt");
    for isa in Isa::ALL {
        for every in [None, Some("self:997")] {
            let environment: Vec<_> =
                every.map(|every| ("MAIZE_MIGRATE", every)).into_iter().collect();
            let run = program.run(isa, &environment);
            assert_eq!((run.status, run.text.as_str()), (0, expected), "{isa} {every:?} {run:?}");
        }
    }
}

#[test]
fn jumps_find_their_frame_wherever_it_has_moved() {
    let expected = include_str!("programs/jumps.txt");
    for options in [&["-O2"][..], &["-O0"], &["-O3", "--polls=calls"]] {
        let program = Program::hosted("jumps.c", options);
        for isa in Isa::ALL {
            for every in [None, Some("self:1"), Some("self:7")] {
                let environment: Vec<_> =
                    every.map(|every| ("MAIZE_MIGRATE", every)).into_iter().collect();
                let run = program.run(isa, &environment);
                let found = (run.status, run.text.as_str());
                assert_eq!(found, (0, expected), "{isa} {every:?} {options:?} {}", run.errors);
            }
        }
        let trip = program.trip(13);
        assert_eq!((trip.status, trip.text.as_str()), (0, expected), "{options:?} {}", trip.errors);
        assert!(trip.hops > 20, "{} hops", trip.hops);
    }
}

#[test]
fn threads_are_saved_and_entered_beside_each_other() {
    let program = Program::hosted("threads.c", &["-O2", "-pthread"]);
    for isa in Isa::ALL {
        for every in ["self:1", "self:5"] {
            let run = program.run(isa, &[("MAIZE_MIGRATE", every)]);
            let expected = "total 3000 of 3000, own 33680\n";
            assert_eq!((run.status, run.text.as_str()), (0, expected), "{isa} {every} {run:?}");
        }
    }
}

#[test]
fn signals_are_handled_wherever_a_thread_is() {
    let expected = include_str!("programs/signals.txt");
    let program = Program::hosted("signals.c", &["-O2", "-pthread"]);
    for isa in Isa::ALL {
        for every in [None, Some("self:1"), Some("self:7")] {
            let environment: Vec<_> =
                every.map(|every| ("MAIZE_MIGRATE", every)).into_iter().collect();
            let run = program.run(isa, &environment);
            assert_eq!((run.status, run.text.as_str()), (0, expected), "{isa} {every:?} {run:?}");
        }
    }
    let alone = Program::hosted("signals.c", &["-O1", "-DALONE"]);
    let (expected, _) = expected.split_once("values:").unwrap();
    let trip = alone.trip(7);
    assert_eq!((trip.status, trip.text.as_str()), (0, expected), "{}", trip.errors);
    assert!(trip.hops > 5, "{} hops", trip.hops);
}

/// Before a frame's registers were taken while its signal's could lie on them, and masks were those of the
/// wrong moment, each run of this failed.
#[test]
fn signals_meet_every_instruction_of_a_move() {
    let program = Program::hosted("interrupt.c", &["-O2", "-pthread"]);
    for isa in Isa::ALL {
        for every in ["self:1", "self:7"] {
            let run = program.run(isa, &[("MAIZE_MIGRATE", every)]);
            let found = (run.status, run.text.as_str());
            assert_eq!(found, (0, "0 wrong, 1 enough\n"), "{isa} {every} {run:?}");
        }
    }
}

#[test]
fn a_storm_of_signals_meets_threads_at_any_point() {
    let program = Program::hosted("storm.c", &["-O2", "-pthread"]);
    let expected = include_str!("programs/storm.txt");
    for isa in Isa::ALL {
        for every in ["self:1", "self:7"] {
            let run = program.run(isa, &[("MAIZE_MIGRATE", every)]);
            assert_eq!((run.status, run.text.as_str()), (0, expected), "{isa} {every} {run:?}");
        }
    }
}

#[test]
fn numerical_kernels_with_threads_give_linux_s_results() {
    let program = Program::hosted("kernels.c", &["-O2", "-pthread", "-lm"]);
    let expected = include_str!("programs/kernels.txt");
    for isa in Isa::ALL {
        for every in ["self:1", "self:7"] {
            let run = program.run(isa, &[("MAIZE_MIGRATE", every)]);
            assert_eq!((run.status, run.text.as_str()), (0, expected), "{isa} {every} {run:?}");
        }
    }
}

#[test]
fn a_cxx_program_moves() {
    let program = Program::cxx("objects.cc", &["-O2", "-std=c++17"]);
    let expected = include_str!("programs/objects.txt");
    for isa in Isa::ALL {
        for every in ["self:1", "self:7"] {
            let run = program.run(isa, &[("MAIZE_MIGRATE", every)]);
            assert_eq!((run.status, run.text.as_str()), (0, expected), "{isa} {every} {run:?}");
        }
    }
    let trip = program.trip(5);
    assert_eq!((trip.status, trip.text.as_str()), (0, expected), "{}", trip.errors);
    assert!(trip.hops > 5, "{} hops", trip.hops);
    for (text, reason) in [
        ("int f() {\n  throw 1;\n}\n", "t.cc:2:3: error: cannot use 'throw'"),
        (
            "struct A { virtual ~A(); };\nstruct B : A {};\nB *f(A *a) { return dynamic_cast<B *>(a); }\n",
            "t.cc:3:21: error: use of dynamic_cast requires -frtti",
        ),
    ] {
        let errors = build::refused_in("t.cc", text);
        assert!(errors.contains(reason), "{errors}");
    }
}

#[test]
fn complex_numbers_events_and_processes_are_as_everywhere() {
    let program = Program::hosted("beyond.c", &["-O2", "-pthread"]);
    for isa in Isa::ALL {
        for every in ["self:1", "self:50"] {
            let run = program.run(isa, &[("MAIZE_MIGRATE", every)]);
            let found = (run.status, run.text.as_str());
            assert_eq!(found, (0, ""), "{isa} {every}: {}", run.errors);
        }
    }
}
