//! Golden sealed objects. age draws a fresh key for each file, so they were written once and are only read since.
//!
//! `tests/vectors/copy.key` is the identity that opens all of them; `copy_key` is the same, sealed to `identity.txt`. What begins with
//! `fail_` is refused. `cargo test -p dataembassy-archive write_the_vectors -- --ignored` writes a new set, which changes the format only
//! if the set before is no longer read.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use age::secrecy::ExposeSecret as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dataembassy_archive::{CopyKey, Identities, Recipients, SegmentPosition};
use dataembassy_ledger::Recipient;

use crate::inventories;
use crate::sample::{self, frame, seal, tar_member};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn vector(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

fn copy_key() -> CopyKey {
    String::from_utf8(vector("copy.key")).unwrap().parse().unwrap()
}

#[test]
fn the_copy_key_opens_with_the_identity() {
    let identities = Identities::parse(&String::from_utf8(vector("identity.txt")).unwrap()).unwrap();
    let wrapped = String::from_utf8(vector("copy_key")).unwrap();
    let opened = CopyKey::unwrap(wrapped.trim_end(), &identities).unwrap();
    assert_eq!(opened.recipient().to_string(), copy_key().recipient().to_string());
}

#[test]
fn good_segments_hold_the_sample_members() {
    let read = |name| sample::read(&copy_key(), &vector(name)).unwrap();
    assert_eq!(read("segment_inner"), (sample::members(), SegmentPosition::Inner));
    assert_eq!(read("segment_last"), (Vec::new(), SegmentPosition::Last));
}

#[test]
fn the_good_inventory_holds_the_sample_lines() {
    let (lines, end) = inventories::read(&copy_key(), &[vector("inventory")]).unwrap();
    assert_eq!(lines[1..=inventories::lines().len()], inventories::lines());
    assert_eq!(end.lines, 11);
}

#[test]
fn vectors_that_must_fail_are_refused() {
    let mut count = 0;
    for file in fs::read_dir(folder()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if name.starts_with("fail_segment_") {
            assert!(sample::read(&copy_key(), &vector(&name)).is_err(), "{name}");
        } else if name.starts_with("fail_inventory_") {
            assert!(
                inventories::read(&copy_key(), &[vector(&name)]).is_err(),
                "{name}"
            );
        } else {
            continue;
        }
        count += 1;
    }
    assert_eq!(count, fail_vectors(&CopyKey::generate()).len());
}

fn fail_vectors(key: &CopyKey) -> BTreeMap<&'static str, Vec<u8>> {
    let member = |change: fn(&mut tar::Header)| tar_member("archive/a", b"body", change);
    let plain = |bytes: &[u8]| seal(key, &frame(bytes));
    let good = member(|_| {});
    let sealed = plain(&good);
    let armored = format!(
        "-----BEGIN AGE ENCRYPTED FILE-----\n{}\n-----END AGE ENCRYPTED FILE-----\n",
        STANDARD
            .encode(&sealed)
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect::<Vec<_>>()
            .join("\n")
    )
    .into_bytes();
    BTreeMap::from([
        (
            "fail_segment_symbolic_link",
            plain(&member(|header| header.set_entry_type(tar::EntryType::Symlink))),
        ),
        (
            "fail_segment_pax",
            plain(&member(|header| header.set_entry_type(tar::EntryType::XHeader))),
        ),
        (
            "fail_segment_mode",
            plain(&member(|header| header.set_mode(0o755))),
        ),
        ("fail_segment_time", plain(&member(|header| header.set_mtime(1)))),
        (
            "fail_segment_outside",
            plain(&tar_member("../a", b"body", |_| {})),
        ),
        (
            "fail_segment_duplicate",
            plain(&[good.as_slice(), &good].concat()),
        ),
        (
            "fail_segment_wrong_end",
            plain(&tar_member("parts/a/999999.99999999", b"\\.\n", |_| {})),
        ),
        ("fail_segment_cut_member", plain(&good[..600])),
        (
            "fail_segment_one_end_block",
            plain(&[good.as_slice(), &[0; 512]].concat()),
        ),
        (
            "fail_segment_after_end",
            plain(&[[0; 1024].as_slice(), &good].concat()),
        ),
        (
            "fail_segment_no_checksum",
            seal(key, &zstd::encode_all(good.as_slice(), 3).unwrap()),
        ),
        (
            "fail_segment_two_frames",
            seal(key, &[frame(&good), frame(&[0; 1024])].concat()),
        ),
        ("fail_segment_not_compressed", seal(key, &good)),
        ("fail_segment_cut_off", sealed[..sealed.len() - 1].to_vec()),
        ("fail_segment_trailing_byte", [sealed.as_slice(), b"\n"].concat()),
        ("fail_segment_armored", armored),
        (
            "fail_segment_other_key",
            seal(&CopyKey::generate(), &frame(&good)),
        ),
        (
            "fail_inventory_no_end",
            plain(b"{\"kind\":\"warning\",\"text\":\"\"}\n"),
        ),
        (
            "fail_inventory_no_line_feed",
            plain(b"{\"kind\":\"end\",\"lines\":0,\"tables\":0,\"rows\":0,\"bytes\":0}"),
        ),
        (
            "fail_inventory_no_header",
            plain(b"{\"kind\":\"end\",\"lines\":0,\"tables\":0,\"rows\":0,\"bytes\":0}\n"),
        ),
    ])
}

#[test]
#[ignore = "it writes the vectors"]
fn write_the_vectors() {
    let put = |name: &str, bytes: &[u8]| fs::write(folder().join(name), bytes).unwrap();
    let line = |identity: &age::x25519::Identity| format!("{}\n", identity.to_string().expose_secret());
    let (person, inside) = (
        age::x25519::Identity::generate(),
        age::x25519::Identity::generate(),
    );
    let key: CopyKey = line(&inside).parse().unwrap();
    let recipient: Recipient = person.to_public().to_string().parse().unwrap();
    put("identity.txt", line(&person).as_bytes());
    put("copy.key", line(&inside).as_bytes());
    let wrapped = key.wrap(&Recipients::parse([&recipient]).unwrap()).unwrap();
    put("copy_key", format!("{wrapped}\n").as_bytes());
    put(
        "segment_inner",
        &sample::write(&key, &sample::members(), SegmentPosition::Inner),
    );
    put("segment_last", &sample::write(&key, &[], SegmentPosition::Last));
    put(
        "inventory",
        &inventories::write(&key, inventories::lines(), u64::MAX)[0],
    );
    for (name, bytes) in fail_vectors(&key) {
        put(name, &bytes);
    }
}
