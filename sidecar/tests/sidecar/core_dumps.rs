//! A process that dies leaves nothing of its memory behind, wherever its system puts cores.

use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use dataembassy_testkit::process::free_ports;

/// Something secret in a process's memory: everybody has their environment there.
const CANARY: &str = "canary-in-the-memory-of-a-process";
/// What the programs have that ours start. With 0 they would leave cores where the system hands those to a program.
const LIMITS: [&str; 2] = ["1", "1"];
const PATIENCE: Duration = Duration::from_mins(1);

/// Begins a program in a folder, where nothing limits core files.
fn begin(place: &Path, program: &str, arguments: &[&str]) -> Child {
    Command::new("sh")
        .args(["-c", "ulimit -c unlimited && exec \"$@\"", "sh", program])
        .args(arguments)
        .env("CANARY", CANARY)
        .current_dir(place)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until something is so; fails if the process ends before.
fn until(child: &mut Child, what: &str, is_so: impl Fn(u32) -> bool) {
    let began = Instant::now();
    while !is_so(child.id()) {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before there was {what}"
        );
        assert!(began.elapsed() < PATIENCE, "there is no {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Ends a process by a signal that asks for a core.
fn end(child: &mut Child, signal: &str) -> ExitStatus {
    let began = Instant::now();
    loop {
        // More than once: the runtime of Rust takes the first SIGSEGV, for it may be a stack that overflows.
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success(), "SIG{signal} cannot be sent");
        thread::sleep(Duration::from_millis(20));
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(began.elapsed() < PATIENCE, "SIG{signal} does not end it");
    }
}

/// Whether a file of the folder holds the canary.
fn is_left_in(place: &Path) -> bool {
    fs::read_dir(place).unwrap().any(|entry| {
        let content = fs::read(entry.unwrap().path()).unwrap();
        content
            .windows(CANARY.len())
            .any(|part| part == CANARY.as_bytes())
    })
}

/// How large a core file a process may leave at most: the limit that counts, and the one up to which it may be raised.
fn limits(process: u32) -> [String; 2] {
    let all = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = all
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"))
        .unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    [words.next().unwrap(), words.next().unwrap()]
}

/// A program that nobody has told to leave no core: or this machine would show nothing.
#[track_caller]
fn assert_this_machine_dumps(signal: &str) {
    let place = tempfile::tempdir().unwrap();
    let mut sleeper = begin(place.path(), "sleep", &["600"]);
    until(&mut sleeper, "a sleeper", |process| {
        fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name == "sleep\n")
    });
    let status = end(&mut sleeper, signal);
    assert!(
        status.core_dumped(),
        "this machine dumps no cores at all, so nothing can be shown here: see core(5)"
    );
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    // Others are files elsewhere, or go to a program.
    if !pattern.starts_with(['|', '/']) {
        assert!(is_left_in(place.path()), "a core that is dumped has the canary");
    }
}

#[test]
fn a_process_of_ours_that_dies_leaves_no_core_with_its_secrets() {
    for signal in ["ABRT", "SEGV"] {
        assert_this_machine_dumps(signal);
        let place = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [gate, status, metrics] = free_ports::<3>().unwrap().map(|port| format!("127.0.0.1:{port}"));
        let mut process = begin(
            place.path(),
            env!("CARGO_BIN_EXE_dataembassy-sidecar"),
            &[
                "gate",
                "--config-dir",
                folder.path().to_str().unwrap(),
                "--gate-address",
                &gate,
                "--status-address",
                &status,
                "--metrics-address",
                &metrics,
            ],
        );
        until(&mut process, "an answer at its status port", |_| {
            TcpStream::connect(&status).is_ok()
        });
        assert_eq!(limits(process.id()), LIMITS);
        let ended = end(&mut process, signal);
        assert!(ended.signal().is_some(), "it ended by itself: {ended}");
        assert!(!ended.core_dumped(), "SIG{signal} left a core");
        assert!(
            !is_left_in(place.path()),
            "SIG{signal} left a core with the canary"
        );
    }
}

/// What `pg_dump` and `pg_restore` are left with: of what else we forbid to ourselves, beginning another program takes all back.
#[test]
fn a_program_with_the_limit_that_ours_hand_on_leaves_no_core_either() {
    for signal in ["ABRT", "SEGV"] {
        assert_this_machine_dumps(signal);
        let place = tempfile::tempdir().unwrap();
        let limit = format!("--core={}:{}", LIMITS[0], LIMITS[1]);
        let mut sleeper = begin(place.path(), "prlimit", &[&limit, "sleep", "600"]);
        until(&mut sleeper, "a sleeper", |process| {
            fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name == "sleep\n")
        });
        assert_eq!(limits(sleeper.id()), LIMITS);
        let ended = end(&mut sleeper, signal);
        assert!(ended.signal().is_some(), "it ended by itself: {ended}");
        assert!(!ended.core_dumped(), "SIG{signal} left a core");
        assert!(
            !is_left_in(place.path()),
            "SIG{signal} left a core with the canary"
        );
    }
}
