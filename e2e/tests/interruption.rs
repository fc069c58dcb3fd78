//! Ctrl-C in the middle of the demo: it takes down what it has started. It needs its bed to itself.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers fail as the test does"
)]

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dataembassy_e2e::cluster::{Site, is_up, remains};
use rustix::process::{Pid, Signal, kill_process_group};

/// The longest that taking the bed down may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);
/// What the demo says when both clusters are up, its mirrors are applied, and nothing has come of them yet.
const AT_WORK: &str = "every mirror ready";

#[test]
fn an_interrupted_demo_takes_down_what_it_started_and_says_so() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_dataembassy-e2e"))
        .arg("demo")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // As in a terminal, the signal goes to all whom the demo has started in its own group.
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let before: Vec<String> = lines
        .by_ref()
        .take_while(|line| !line.contains(AT_WORK))
        .collect();
    assert!(
        Site::BOTH.into_iter().all(is_up),
        "the demo did not come as far as '{AT_WORK}':\n{}",
        before.join("\n")
    );
    let said = |words: &str| before.iter().position(|line| line.contains(words));
    let (announced, begun) = (said("bring up: two clusters"), said("1. Two Kubernetes clusters"));
    assert!(
        announced.is_some() && announced < begun,
        "it does not say first what it changes:\n{}",
        before.join("\n")
    );
    let group = Pid::from_raw(i32::try_from(demo.id()).unwrap()).unwrap();
    kill_process_group(group, Signal::INT).unwrap();
    let after: Vec<String> = lines.collect();
    let after = after.join("\n");
    let status = ended(&mut demo);
    assert_eq!(status, Some(1), "{after}");
    assert!(after.contains("taking everything down"), "{after}");
    assert!(after.ends_with("error: interrupted"), "{after}");
    for site in Site::BOTH {
        assert!(!is_up(site), "{site} is up");
        assert_eq!(remains(site).unwrap(), Vec::<String>::new());
    }
}

/// The exit status, once there is one.
fn ended(demo: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = demo.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > PATIENCE {
            demo.kill().unwrap();
            panic!("the demo does not end");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
