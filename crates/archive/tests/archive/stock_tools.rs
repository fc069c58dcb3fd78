//! A copy opens with age, zstd and tar alone, and what those make opens with this crate.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dataembassy_archive::{CopyKey, Identities, Recipients, SegmentPosition};
use dataembassy_ledger::Recipient;

use crate::inventories;
use crate::sample::{self, part, whole};

/// Runs a line of shell in a folder; its standard output.
fn shell(folder: &Path, line: &str) -> Vec<u8> {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", line])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A folder with a person's `identity.txt` made by age-keygen, and a copy key sealed to it as `copy.key.age`.
fn folder_with_keys() -> (tempfile::TempDir, CopyKey) {
    let folder = tempfile::tempdir().unwrap();
    shell(folder.path(), "age-keygen -o identity.txt 2>/dev/null");
    let recipient = String::from_utf8(shell(folder.path(), "age-keygen -y identity.txt")).unwrap();
    let recipient: Recipient = recipient.trim_end().parse().unwrap();
    let key = CopyKey::generate();
    let wrapped = key.wrap(&Recipients::parse([&recipient]).unwrap()).unwrap();
    fs::write(folder.path().join("copy.key.base64"), wrapped).unwrap();
    shell(
        folder.path(),
        "base64 -d copy.key.base64 | age -d -i identity.txt > copy.key",
    );
    (folder, key)
}

#[test]
fn a_copy_opens_with_age_zstd_and_tar() {
    let (folder, key) = folder_with_keys();
    let at = folder.path();
    let toc = whole("toc.dat", b"PGDMP");
    let inner = [
        part("1.dat", 1, 0, b"c\n"),
        part("1.dat", 0, 0, b"a\n"),
        part("1.dat", 0, 1, b"b\n"),
        toc,
    ];
    let last = [dataembassy_archive::Member::table_end(sample::file("1.dat"))];
    fs::write(
        at.join("00000001"),
        sample::write(&key, &inner, SegmentPosition::Inner),
    )
    .unwrap();
    fs::write(
        at.join("00000002"),
        sample::write(&key, &last, SegmentPosition::Last),
    )
    .unwrap();
    shell(
        at,
        "for n in 00000001 00000002; do age -d -i copy.key $n | zstd -d; done | tar -x",
    );
    let found = shell(at, "find archive parts -type f | LC_ALL=C sort");
    let expected = "archive/toc.dat\nparts/1.dat/000000.00000000\nparts/1.dat/000000.00000001\nparts/1.dat/000001.00000000\nparts/1.dat/999999.99999999\n";
    assert_eq!(String::from_utf8(found).unwrap(), expected);
    let joined = shell(at, "find parts/1.dat -type f | LC_ALL=C sort | xargs cat");
    assert_eq!(joined, b"a\nb\nc\n\\.\n\n\n");
    assert_eq!(fs::read(at.join("archive/toc.dat")).unwrap(), b"PGDMP");
}

#[test]
fn tar_lists_members_with_the_attributes_that_the_format_names() {
    let (folder, key) = folder_with_keys();
    let sealed = sample::write(&key, &[whole("toc.dat", b"PGDMP")], SegmentPosition::Last);
    fs::write(folder.path().join("00000001"), sealed).unwrap();
    let list = shell(
        folder.path(),
        "age -d -i copy.key 00000001 | zstd -d | TZ=UTC tar -tv --numeric-owner --full-time",
    );
    let list = String::from_utf8(list).unwrap();
    let words: Vec<_> = list.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "-rw-r--r--",
            "0/0",
            "5",
            "1970-01-01",
            "00:00:00",
            "archive/toc.dat"
        ]
    );
}

#[test]
fn zstd_finds_one_frame_with_a_checksum_and_a_small_window() {
    let (folder, key) = folder_with_keys();
    let body = vec![7; 1024 * 1024];
    let members: Vec<_> = (0..10).map(|chunk| part("1.dat", 0, chunk, &body)).collect();
    let sealed = sample::write(&key, &members, SegmentPosition::Inner);
    fs::write(folder.path().join("00000001"), sealed).unwrap();
    let list = shell(
        folder.path(),
        "age -d -i copy.key 00000001 > s.zst; zstd -lv s.zst; zstd -t --memory=8MB s.zst 2>&1",
    );
    let list = String::from_utf8(list).unwrap();
    assert!(list.contains("XXH64"), "{list}");
    let frames = list
        .lines()
        .find(|line| line.contains("Zstandard Frames"))
        .unwrap();
    assert!(frames.trim_end().ends_with(": 1"), "{list}");
}

#[test]
fn a_segment_made_by_hand_opens() {
    let (folder, key) = folder_with_keys();
    let at = folder.path();
    fs::create_dir_all(at.join("parts/1.dat")).unwrap();
    fs::create_dir(at.join("archive")).unwrap();
    fs::write(at.join("archive/toc.dat"), b"PGDMP").unwrap();
    fs::write(at.join("parts/1.dat/000000.00000000"), b"a\nb\n").unwrap();
    let tar = "tar --format=ustar --blocking-factor=2 --mtime=@0 --owner=:0 --group=:0 --numeric-owner --mode=0644 -c";
    let line = format!(
        "{tar} archive/toc.dat parts/1.dat/000000.00000000 | zstd -q --check -3 | age -r {} > made",
        key.recipient()
    );
    shell(at, &line);
    let (members, position) = sample::read(&key, &fs::read(at.join("made")).unwrap()).unwrap();
    assert_eq!(
        members,
        [whole("toc.dat", b"PGDMP"), part("1.dat", 0, 0, b"a\nb\n")]
    );
    assert_eq!(position, SegmentPosition::Last);
}

#[test]
fn a_copy_key_sealed_by_age_opens() {
    let (folder, key) = folder_with_keys();
    let at = folder.path();
    let sealed = shell(at, "age -r $(age-keygen -y identity.txt) copy.key | base64 -w0");
    let identities = Identities::parse(&fs::read_to_string(at.join("identity.txt")).unwrap()).unwrap();
    let opened = CopyKey::unwrap(std::str::from_utf8(&sealed).unwrap(), &identities).unwrap();
    assert_eq!(opened.recipient().to_string(), key.recipient().to_string());
    // The same line also opens copies directly, for people whose identities only the age program can use.
    let direct: CopyKey = fs::read_to_string(at.join("copy.key")).unwrap().parse().unwrap();
    assert_eq!(direct.recipient().to_string(), key.recipient().to_string());
    assert!(STANDARD.decode(&sealed).is_ok());
}

#[test]
fn an_inventory_opens_with_age_and_zstd() {
    let (folder, key) = folder_with_keys();
    for (number, part) in (1..).zip(inventories::write(&key, inventories::lines(), 1)) {
        fs::write(folder.path().join(format!("inventory-{number:04}")), part).unwrap();
    }
    let text = shell(
        folder.path(),
        "for part in inventory-*; do age -d -i copy.key $part | zstd -d; done",
    );
    let text = String::from_utf8(text).unwrap();
    let kinds: Vec<_> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "header",
            "role",
            "membership",
            "settings",
            "tablespace",
            "extension",
            "table",
            "sequence",
            "largeObjects",
            "notCarried",
            "warning",
            "end"
        ]
    );
}
