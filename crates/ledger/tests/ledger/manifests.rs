//! Manifests read back as written, are cut into parts, and are refused when a line is not right.

use std::process::Command;

use dataembassy_ledger::manifest::{
    MAX_PART_BYTES, MAX_SEGMENT_BYTES, ManifestError, ManifestReader, ManifestWriter, SegmentRecord,
};
use dataembassy_ledger::{SegmentNumber, Sha256Digest};
use proptest::prelude::*;

fn record(number: u64, size: u64) -> SegmentRecord {
    SegmentRecord {
        number: SegmentNumber::new(number).unwrap(),
        version: format!("version.{number}").parse().unwrap(),
        size,
        sha256: Sha256Digest::of(&number.to_be_bytes()),
    }
}

fn write(records: &[SegmentRecord], part_bytes: usize) -> Vec<Vec<u8>> {
    let mut writer = ManifestWriter::with_part_bytes(part_bytes);
    let mut parts: Vec<Vec<u8>> = records
        .iter()
        .filter_map(|record| writer.push(record).unwrap())
        .collect();
    parts.push(writer.finish().unwrap());
    parts
}

fn read(parts: &[Vec<u8>]) -> Result<Vec<SegmentRecord>, ManifestError> {
    let mut reader = ManifestReader::new();
    let mut records = Vec::new();
    for part in parts {
        records.extend(reader.read_part(part)?);
    }
    Ok(records)
}

#[test]
fn a_manifest_says_number_version_size_and_digest() {
    let parts = write(&[record(1, 10)], usize::MAX);
    let digest = Sha256Digest::of(&1_u64.to_be_bytes());
    assert_eq!(
        String::from_utf8(parts[0].clone()).unwrap(),
        format!("# 1 version.1 10\n{digest}  00000001\n")
    );
}

#[test]
fn sha256sum_checks_a_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let mut records = Vec::new();
    for number in [1, 2, 5] {
        let body = format!("segment {number}");
        std::fs::write(folder.path().join(format!("{number:08}")), &body).unwrap();
        records.push(SegmentRecord {
            sha256: Sha256Digest::of(body.as_bytes()),
            ..record(number, body.len() as u64)
        });
    }
    std::fs::write(
        folder.path().join("manifest-0001"),
        &write(&records, usize::MAX)[0],
    )
    .unwrap();
    let check = || {
        Command::new("sha256sum")
            .args(["--check", "--strict", "manifest-0001"])
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let output = check();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "00000001: OK\n00000002: OK\n00000005: OK\n"
    );
    std::fs::write(folder.path().join("00000002"), "segment x").unwrap();
    assert!(!check().status.success());
}

#[test]
fn a_segment_put_again_keeps_its_place_under_a_higher_number() {
    let records = [record(1, 1), record(4, 1), record(3, 1)];
    assert_eq!(read(&write(&records, usize::MAX)).unwrap(), records);
    let mut writer = ManifestWriter::new();
    writer.push(&records[0]).unwrap();
    assert_eq!(
        writer.push(&records[0]),
        Err(ManifestError::NamedTwice { number: 1 })
    );
}

#[test]
fn sizes_out_of_bounds_are_refused() {
    for size in [0, MAX_SEGMENT_BYTES + 1] {
        assert_eq!(
            ManifestWriter::new().push(&record(1, size)),
            Err(ManifestError::WrongSize { number: 1, size })
        );
        let part = format!("# 1 v {size}\n{}  00000001\n", Sha256Digest::of(b""));
        assert_eq!(
            ManifestReader::new().read_part(part.as_bytes()),
            Err(ManifestError::WrongSize { number: 1, size })
        );
    }
}

#[test]
fn a_manifest_without_segments_is_none() {
    assert_eq!(ManifestWriter::new().finish(), Err(ManifestError::Empty));
    assert_eq!(ManifestReader::new().read_part(b""), Err(ManifestError::Empty));
}

#[test]
fn writer_and_reader_count_segments_and_bytes() {
    let (mut writer, mut reader) = (ManifestWriter::new(), ManifestReader::new());
    assert_eq!((writer.segments(), writer.sealed_bytes()), (0, 0));
    for (number, size) in [(1, 10), (2, 32)] {
        writer.push(&record(number, size)).unwrap();
    }
    assert_eq!((writer.segments(), writer.sealed_bytes()), (2, 42));
    reader.read_part(&writer.finish().unwrap()).unwrap();
    assert_eq!((reader.segments(), reader.sealed_bytes()), (2, 42));
}

#[test]
fn a_fault_is_told_by_its_line() {
    let records: Vec<_> = (1..=3).map(|number| record(number, number)).collect();
    let part = String::from_utf8(write(&records, usize::MAX).remove(0)).unwrap();
    for (line, old, new) in [(3, "# 2 ", "# 7 "), (5, "# 3 ", "# 7 ")] {
        let error = ManifestReader::new()
            .read_part(part.replace(old, new).as_bytes())
            .unwrap_err();
        assert!(
            matches!(error, ManifestError::WrongOrder { line: found, found: 7, .. } if found == line),
            "{error}"
        );
    }
}

#[test]
fn a_line_that_is_none_is_told_by_its_place() {
    let records: Vec<_> = (1..=2).map(|number| record(number, number)).collect();
    let part = String::from_utf8(write(&records, usize::MAX).remove(0)).unwrap();
    let cut = part.rfind("# 2 ").unwrap() + "# 2 version.2 2\n".len();
    for (part, wrong) in [
        (part.replace("# 2 ", "#2 "), 3),
        (part.replace("  00000002", " 00000002"), 4),
        (part.replace("  00000002", "  0000002"), 4),
        (part[..cut].to_owned(), 4),
    ] {
        let error = ManifestReader::new().read_part(part.as_bytes()).unwrap_err();
        assert!(
            matches!(error, ManifestError::InvalidLine { line, .. } if line == wrong),
            "{error}"
        );
    }
}

#[test]
fn a_part_is_read_up_to_its_last_byte() {
    let read = |size: usize| ManifestReader::new().read_part(&vec![b'\n'; size]).unwrap_err();
    assert!(matches!(read(MAX_PART_BYTES), ManifestError::InvalidLine { .. }));
    let size = MAX_PART_BYTES + 1;
    assert_eq!(read(size), ManifestError::TooLarge { size });
}

/// Which numbers were seen is remembered in a bit for each that may be: 12 MiB for all.
#[test]
fn the_last_number_of_a_segment_takes_no_more_memory_than_there_is() {
    let records = [record(99_999_999, 1), record(1, 1)];
    assert_eq!(read(&write(&records, usize::MAX)).unwrap(), records);
}

#[test]
fn a_missing_or_swapped_part_is_found() {
    let records: Vec<_> = (1..=20).map(|number| record(number, number)).collect();
    let parts = write(&records, 300);
    assert!(parts.len() > 3);
    assert_eq!(read(&parts).unwrap(), records);
    assert!(matches!(
        read(&parts[1..]),
        Err(ManifestError::WrongOrder {
            line: 1,
            expected: 1,
            ..
        })
    ));
    let mut swapped = parts.clone();
    swapped.swap(1, 2);
    assert!(matches!(read(&swapped), Err(ManifestError::WrongOrder { .. })));
}

#[test]
fn lines_of_another_form_are_refused() {
    let sum = Sha256Digest::of(b"");
    for part in [
        format!("# 1 v 1\n{sum}  00000001"),
        format!("# 1 v 1\n{sum} 00000001\n"),
        format!("# 1 v 1\n{sum} *00000001\n"),
        format!("# 1 v 1\n{sum}  ./00000001\n"),
        format!("# 1 v 1\n{sum}  manifest-0001\n"),
        format!("# 1 v 1\n{sum}  0000001\n"),
        format!("# 1 v 01\n{sum}  00000001\n"),
        format!("# +1 v 1\n{sum}  00000001\n"),
        format!("# 1  v 1\n{sum}  00000001\n"),
        format!("# 1 v 1 \n{sum}  00000001\n"),
        format!("#1 v 1\n{sum}  00000001\n"),
        format!("# 1 v 1\r\n{sum}  00000001\n"),
        format!("# 1 v 1\n\n{sum}  00000001\n"),
        format!("# 1 v 1\n{}  00000001\n", sum.to_string().to_uppercase()),
        format!("# 1 v 18446744073709551616\n{sum}  00000001\n"),
        "# 1 v 1\n".to_owned(),
        "\n".to_owned(),
    ] {
        assert!(
            ManifestReader::new().read_part(part.as_bytes()).is_err(),
            "{part:?} must be refused"
        );
    }
}

proptest! {
    #[test]
    fn a_manifest_reads_back_as_written(
        numbers in prop::collection::hash_set(1_u64..100_000, 1..60),
        size in 1..=MAX_SEGMENT_BYTES,
        part_bytes in 1_usize..5000,
    ) {
        let records: Vec<_> = numbers.into_iter().map(|number| record(number, size)).collect();
        prop_assert_eq!(read(&write(&records, part_bytes)).unwrap(), records);
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = ManifestReader::new().read_part(&bytes);
    }
}
