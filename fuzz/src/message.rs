//! What a database server sends, from whoever answers at its address: messages are read one by one and rows in one go, both say the same, and
//! nobody holds more than has come.
#![no_main]

// By their paths: the sidecar's crate would have its object store client and its TLS stack instrumented too.
#[allow(dead_code)]
#[path = "../../sidecar/src/postgresql/connection/frames.rs"]
mod frames;
#[allow(dead_code)]
#[path = "../../sidecar/src/postgresql/connection/server_error.rs"]
mod server_error;
#[path = "../../crates/testkit/src/sips.rs"]
mod sips;

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use frames::Frames;
use libfuzzer_sys::fuzz_target;
use server_error::ServerError;
use sips::Sips;

/// The most that a message may have for whoever wants it whole.
const LIMIT: usize = 70_000;
/// How much of many rows is taken at a time.
const AT_ONCE: usize = 1_000;
/// The tag of a row, or of a part of one.
const ROW: u8 = b'd';

/// What reading ends with; the sidecar's own has more, which reading does not use.
#[derive(Debug)]
#[allow(dead_code)]
pub(crate) enum ConnectionError {
    Lost(io::Error),
    Protocol(String),
    AnswerTooLarge { limit: usize },
}

/// What comes of a future that waits for nothing.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ready) => ready,
        Poll::Pending => panic!("what is in memory is there"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((step, wire)) = bytes.split_first() else { return };
    let step = usize::from(*step) + 1;
    let rows = one_by_one(wire, step);
    assert!(in_one_go(wire, step).starts_with(&rows));
});

/// The rows of all messages up to the first one that is none.
fn one_by_one(wire: &[u8], step: usize) -> Vec<u8> {
    let mut frames = Frames::new(Sips(wire, step));
    let (mut rows, mut held) = (Vec::new(), 0);
    while let Ok(frame) = now(frames.next()) {
        let Ok(body) = now(frames.body(LIMIT)) else { break };
        assert_eq!(body.len(), frame.length);
        held += body.len();
        match frame.tag {
            ROW => rows.extend_from_slice(&body),
            b'E' | b'N' => {
                let said = ServerError::from_body(&body);
                // What is not text becomes three bytes each, and a few words are ours.
                assert!(said.to_string().len() <= 3 * body.len() + 1_000);
            }
            _ => {}
        }
    }
    assert!(held <= wire.len(), "{held} bytes were read out of {}", wire.len());
    rows
}

fn in_one_go(wire: &[u8], step: usize) -> Vec<u8> {
    let mut frames = Frames::new(Sips(wire, step));
    let (mut rows, mut room, mut tag) = (Vec::new(), BytesMut::new(), 0);
    while let Ok(available) = now(frames.available()) {
        if available == 0 {
            let Ok(frame) = now(frames.next()) else { break };
            tag = frame.tag;
        } else if tag == ROW {
            frames.gather(ROW, &mut room, AT_ONCE);
            assert!(room.len() <= AT_ONCE);
            rows.extend_from_slice(&room.split());
        } else {
            frames.take(available);
        }
    }
    rows
}
