//! What Rust's standard library asks of a system: threads, channels, files, processes, sockets, unwinding.
//! Prints the same wherever it runs right.

use std::collections::HashMap;
use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::time::{Duration, Instant};
use std::{env, fs, panic, thread};

fn threads() {
    let (sender, receiver) = mpsc::channel();
    let barrier = Arc::new(Barrier::new(4));
    let counts = Arc::new(RwLock::new(HashMap::new()));
    let sum = Arc::new(AtomicU64::new(0));
    let handles: Vec<_> = (0..4u64)
        .map(|n| {
            let (sender, barrier) = (sender.clone(), Arc::clone(&barrier));
            let (counts, sum) = (Arc::clone(&counts), Arc::clone(&sum));
            thread::Builder::new()
                .name(format!("worker {n}"))
                .spawn(move || {
                    barrier.wait();
                    for k in 0..500 {
                        sum.fetch_add(n * k, Ordering::Relaxed);
                        *counts.write().unwrap().entry(k % 5).or_insert(0u64) += 1;
                    }
                    sender.send(thread::current().name().map(str::to_owned)).unwrap();
                })
                .unwrap()
        })
        .collect();
    drop(sender);
    let mut names: Vec<_> = receiver.into_iter().flatten().collect();
    names.sort();
    for handle in handles {
        handle.join().unwrap();
    }
    let mut counts: Vec<_> = counts.read().unwrap().iter().map(|(k, v)| (*k, *v)).collect();
    counts.sort();
    println!("{names:?} {counts:?} {}", sum.load(Ordering::Relaxed));
    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    let other = Arc::clone(&pair);
    let ticks = thread::spawn(move || {
        for _ in 0..3 {
            *other.0.lock().unwrap() += 1;
            other.1.notify_one();
            thread::sleep(Duration::from_millis(2));
        }
    });
    let seen = pair.1.wait_while(pair.0.lock().unwrap(), |n| *n < 3).unwrap();
    println!("ticks {}", *seen);
    drop(seen);
    ticks.join().unwrap();
    let before = Instant::now();
    let late = pair.1.wait_timeout(pair.0.lock().unwrap(), Duration::from_millis(20)).unwrap().1;
    println!("{} {}", late.timed_out(), before.elapsed() >= Duration::from_millis(20));
}

fn files() {
    let folder = env::temp_dir().join(format!("rust-{}", std::process::id()));
    fs::create_dir_all(folder.join("a/b")).unwrap();
    fs::write(folder.join("a/one"), "first\nsecond\n").unwrap();
    let mut file = fs::File::options().read(true).append(true).open(folder.join("a/one")).unwrap();
    file.write_all(b"third\n").unwrap();
    file.seek(SeekFrom::Start(6)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    println!("{text:?} {}", file.metadata().unwrap().len());
    fs::rename(folder.join("a/one"), folder.join("a/b/two")).unwrap();
    std::os::unix::fs::symlink("b/two", folder.join("a/link")).unwrap();
    println!("{:?}", fs::read_link(folder.join("a/link")).unwrap());
    println!("{}", fs::copy(folder.join("a/link"), folder.join("copy")).unwrap());
    let mut names: Vec<_> = fs::read_dir(folder.join("a"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    println!("{names:?} {:?}", fs::read(folder.join("none")).unwrap_err().kind());
    fs::remove_dir_all(&folder).unwrap();
    println!("{}", folder.exists());
}

fn processes(own: &str) {
    let mut child = Command::new(own)
        .args(["count", "a b"])
        .env("WORD", "x y")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"one\ntwo\nthree\n").unwrap();
    let output = child.wait_with_output().unwrap();
    println!("{:?} {}", String::from_utf8(output.stdout).unwrap(), output.status);
    println!("{:?}", Command::new("/nowhere").status().unwrap_err().kind());
    println!("{:?}", Command::new(own).arg("abort").status().unwrap().signal());
}

fn sockets() {
    let (mut one, mut other) = UnixStream::pair().unwrap();
    one.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    println!("{:?}", one.read(&mut [0]).unwrap_err().kind());
    other.write_all(b"pair").unwrap();
    drop(other);
    let mut text = String::new();
    one.read_to_string(&mut text).unwrap();
    let path = env::temp_dir().join(format!("rust-{}.socket", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let address = path.clone();
    let client = thread::spawn(move || {
        let mut stream = UnixStream::connect(address).unwrap();
        stream.write_all(&[7; 100_000]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes).unwrap();
    write!(stream, "{} bytes", bytes.len()).unwrap();
    drop(stream);
    println!("{text} {}", client.join().unwrap());
    fs::remove_file(path).unwrap();
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("count") => {
            let lines = std::io::stdin().lock().lines().count();
            println!("{lines} {:?} {:?}", arguments[2], env::var("WORD").unwrap());
            std::process::exit(3);
        }
        Some("abort") => std::process::abort(),
        _ => {}
    }
    threads();
    files();
    processes(&env::current_exe().unwrap().into_os_string().into_string().unwrap());
    sockets();
    panic::set_hook(Box::new(|_| {}));
    let caught = panic::catch_unwind(|| vec![1][std::hint::black_box(3)]).is_err();
    let thread = thread::spawn(|| panic!("of a thread")).join().is_err();
    println!("{caught} {thread} {}", thread::available_parallelism().unwrap().get() > 0);
}
