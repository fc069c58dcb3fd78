//! Inventories read back as written, line by line, and are refused when a line is missing or wrong.

use std::collections::BTreeMap;

use dataembassy_archive::inventory::{
    Database, End, Extension, Header, InventoryError, InventoryReader, InventoryWriter, LargeObjects, Line,
    LocaleProvider, MAX_LINE_BYTES, MAX_PART_BYTES, MAX_PLAIN_BYTES, Membership, NotCarried, Planner, Role,
    SequenceValue, Server, Setting, Settings, Table, TableRange, Tablespace, Warning,
};
use dataembassy_archive::row_digest::HashSum;
use dataembassy_archive::{CompressionLevel, CopyKey, OpenError, RowDigest, SealError};
use dataembassy_ledger::{CopyId, Sha256Digest, Timestamp};
use proptest::prelude::*;

use crate::sample::{file, frame, seal};

pub(crate) fn header() -> Header {
    Header {
        format: String::new(),
        registry: "population".parse().unwrap(),
        copy_id: CopyId::from_bytes([3; 16]),
        taken_at: Timestamp::from_millisecond(1_795_000_000_000).unwrap(),
        server: Server {
            version: "15.18 (Debian 15.18-1)".parse().unwrap(),
            version_number: 150_018,
            system_identifier: "7571239876543210987".parse().unwrap(),
            settings: BTreeMap::from([("lc_monetary".to_owned(), "et_EE.UTF-8".to_owned())]),
        },
        database: Database {
            name: "rahvastik".to_owned(),
            oid: 16_384,
            owner: "Omanik".to_owned(),
            encoding: "LATIN1".to_owned(),
            locale_provider: LocaleProvider::Libc,
            collate: "C".to_owned(),
            ctype: "C".to_owned(),
            locale: None,
            icu_rules: None,
            collation_version: Some("2.36".to_owned()),
            connection_limit: -1,
            tablespace: "pg_default".to_owned(),
            acl: Some(vec!["=Tc/Omanik".to_owned()]),
            comment: Some("Müller\n\"x\"".to_owned()),
        },
        planner: Planner {
            pg_dump_version: "15.18".parse().unwrap(),
            toc: file("toc.dat"),
            toc_bytes: 12_345,
            toc_sha256: Sha256Digest::of(b"toc"),
            toc_entries: 99,
        },
    }
}

pub(crate) fn table(number: u32) -> Table {
    let range = TableRange {
        range: 0,
        chunks: 2,
        rows: 10,
        bytes: 1_100_000,
    };
    Table {
        dump_id: number,
        schema: "DATA".to_owned(),
        name: format!("x\n{number}"),
        oid: 20_000 + number,
        file: file(&format!("{number}.dat")),
        copy_statement: b"COPY \"DATA\".\"M\xfcller\" (id) FROM stdin;\n".to_vec(),
        ranges: vec![
            range,
            TableRange {
                range: 1,
                chunks: 0,
                rows: 0,
                bytes: 0,
            },
        ],
        rows: 10,
        bytes: 1_100_000,
        digest: HashSum(u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)),
    }
}

/// One line of each kind between header and end.
pub(crate) fn lines() -> Vec<Line> {
    let (public, someone) = (|| "public".to_owned(), || "someone".to_owned());
    vec![
        Line::Role(Box::new(Role {
            name: someone(),
            superuser: false,
            inherit: true,
            create_role: false,
            create_database: false,
            login: true,
            replication: false,
            bypass_row_security: false,
            connection_limit: 5,
            valid_until: Some("infinity".to_owned()),
            comment: None,
            password_verifier: None,
        })),
        Line::Membership(Membership {
            role: "readers".to_owned(),
            member: someone(),
            grantor: "postgres".to_owned(),
            admin: false,
            inherit: Some(true),
            set: None,
        }),
        Line::Settings(Settings {
            role: Some(someone()),
            in_database: true,
            settings: vec![Setting {
                name: "search_path".to_owned(),
                value: "\"DATA\", public".to_owned(),
            }],
        }),
        Line::Tablespace(Tablespace {
            name: "fast".to_owned(),
            owner: someone(),
            location: "/srv/fast".to_owned(),
            options: vec!["random_page_cost=1".to_owned()],
            acl: None,
            comment: None,
        }),
        Line::Extension(Extension {
            name: "hstore".to_owned(),
            version: "1.8".to_owned(),
            schema: public(),
        }),
        Line::Table(Box::new(table(1))),
        Line::Sequence(SequenceValue {
            dump_id: 7,
            schema: public(),
            name: "s".to_owned(),
            last_value: i64::MIN,
            is_called: true,
        }),
        Line::LargeObjects(LargeObjects {
            objects: 3,
            bytes: 1 << 40,
            digest: HashSum(5),
        }),
        Line::NotCarried(NotCarried {
            what: "rows of a foreign table".to_owned(),
            name: "f".to_owned(),
            reason: "they live on another server".to_owned(),
        }),
        Line::Warning(Warning {
            text: "pg_dump: warning: …".to_owned(),
        }),
    ]
}

pub(crate) fn write(
    key: &CopyKey,
    lines: impl IntoIterator<Item = Line>,
    part_bytes: u64,
) -> Vec<bytes::Bytes> {
    let level = CompressionLevel::DEFAULT;
    let mut writer = InventoryWriter::with_part_bytes(&key.recipient(), level, header(), part_bytes).unwrap();
    let mut parts: Vec<_> = lines
        .into_iter()
        .filter_map(|line| writer.push(&line).unwrap())
        .collect();
    parts.push(writer.finish().unwrap());
    parts.into_iter().map(|part| part.bytes).collect()
}

pub(crate) fn read(key: &CopyKey, parts: &[impl AsRef<[u8]>]) -> Result<(Vec<Line>, End), InventoryError> {
    let mut reader = InventoryReader::new(key);
    let mut found = Vec::new();
    for part in parts {
        let mut lines = reader.part(part.as_ref())?;
        while let Some(line) = lines.next_line()? {
            found.push(line);
        }
    }
    Ok((found, reader.finish()?))
}

#[test]
fn an_inventory_reads_back_as_written() {
    let key = CopyKey::generate();
    let (found, end) = read(&key, &write(&key, lines(), u64::MAX)).unwrap();
    let expected_header = Header {
        format: "dataembassy-inventory/1".to_owned(),
        ..header()
    };
    assert_eq!(found[0], Line::Header(Box::new(expected_header)));
    assert_eq!(found[1..=lines().len()], lines());
    assert_eq!(found.last(), Some(&Line::End(end)));
    assert_eq!(
        end,
        End {
            lines: 11,
            tables: 1,
            rows: 10,
            bytes: 1_100_000
        }
    );
}

#[test]
fn ten_thousand_tables_take_several_parts_and_come_back() {
    let key = CopyKey::generate();
    let parts = write(
        &key,
        (0..10_000).map(|number| Line::Table(Box::new(table(number)))),
        100_000,
    );
    assert!(parts.len() > 2, "{}", parts.len());
    let (found, end) = read(&key, &parts).unwrap();
    assert_eq!((found.len(), end.tables, end.rows), (10_002, 10_000, 100_000));
}

#[test]
fn a_missing_repeated_or_swapped_part_is_found() {
    let key = CopyKey::generate();
    let parts = write(
        &key,
        (0..3000).map(|number| Line::Table(Box::new(table(number)))),
        20_000,
    );
    assert!(parts.len() > 3);
    let without = |at: usize| [&parts[..at], &parts[at + 1..]].concat();
    assert!(matches!(
        read(&key, &without(0)),
        Err(InventoryError::OutOfPlace { line: 1 })
    ));
    assert!(matches!(read(&key, &without(1)), Err(InventoryError::WrongSums)));
    assert!(matches!(
        read(&key, &without(parts.len() - 1)),
        Err(InventoryError::Incomplete)
    ));
    let twice = [&parts[..2], &parts[1..]].concat();
    assert!(matches!(read(&key, &twice), Err(InventoryError::WrongSums)));
    let beyond = [&parts[..], &parts[1..2]].concat();
    assert!(matches!(
        read(&key, &beyond),
        Err(InventoryError::OutOfPlace { .. })
    ));
    assert!(matches!(
        read(&CopyKey::generate(), &parts),
        Err(InventoryError::NotOpened(OpenError::OtherKey))
    ));
}

#[test]
fn a_part_that_was_not_read_to_its_end_does_not_count() {
    let key = CopyKey::generate();
    let parts = write(&key, lines(), u64::MAX);
    let mut reader = InventoryReader::new(&key);
    let mut part = reader.part(&parts[0][..]).unwrap();
    while !matches!(part.next_line().unwrap(), Some(Line::End(_))) {}
    // Nor can another one be read after it.
    assert!(matches!(
        reader.part(&parts[0][..]),
        Err(InventoryError::Incomplete)
    ));
    assert!(matches!(reader.finish(), Err(InventoryError::Incomplete)));
}

#[test]
fn sums_are_known_while_an_inventory_is_written() {
    let key = CopyKey::generate();
    let mut writer = InventoryWriter::new(&key.recipient(), CompressionLevel::DEFAULT, header()).unwrap();
    for number in 1..=2 {
        writer.push(&Line::Table(Box::new(table(number)))).unwrap();
    }
    let expected = End {
        lines: 3,
        tables: 2,
        rows: 20,
        bytes: 2_200_000,
    };
    assert_eq!(writer.sums(), expected);
    let digest = RowDigest {
        rows: 10,
        sum: table(2).digest,
    };
    assert_eq!(table(2).row_digest(), digest);
}

#[test]
fn every_single_change_to_an_inventory_is_found() {
    let key = CopyKey::generate();
    let part = write(&key, lines(), u64::MAX).remove(0).to_vec();
    for place in 0..part.len() {
        let mut changed = part.clone();
        changed[place] ^= 1 << (place % 8);
        assert!(read(&key, &[changed]).is_err(), "bit flipped at {place}");
        assert!(read(&key, &[&part[..place]]).is_err(), "cut at {place}");
    }
}

#[test]
fn header_and_end_cannot_be_pushed() {
    let key = CopyKey::generate();
    let mut writer = InventoryWriter::new(&key.recipient(), CompressionLevel::DEFAULT, header()).unwrap();
    assert!(matches!(
        writer.push(&Line::Header(Box::new(header()))),
        Err(SealError::LineOutOfPlace)
    ));
    assert!(matches!(
        writer.push(&Line::End(End::default())),
        Err(SealError::LineOutOfPlace)
    ));
}

#[test]
fn a_line_has_at_most_1_mib() {
    let key = CopyKey::generate();
    let warning = |length: usize| {
        Line::Warning(Warning {
            text: "w".repeat(length),
        })
    };
    assert_eq!(
        (MAX_LINE_BYTES, MAX_PART_BYTES, MAX_PLAIN_BYTES),
        (1 << 20, 8 << 20, 1 << 30)
    );
    let around = r#"{"kind":"warning","text":""}"#.len() + 1;
    let mut writer = InventoryWriter::new(&key.recipient(), CompressionLevel::DEFAULT, header()).unwrap();
    writer.push(&warning(MAX_LINE_BYTES - around)).unwrap();
    let error = writer.push(&warning(MAX_LINE_BYTES - around + 1)).unwrap_err();
    assert!(matches!(error, SealError::LineTooLong { .. }));
    // One that stands in the reader's memory together with the end of the longest is a line like any other.
    writer.push(&warning(1_000)).unwrap();
    let part = writer.finish().unwrap();
    assert_eq!(read(&key, &[part.bytes]).unwrap().0.len(), 4);

    let header = serde_json::to_string(&Line::Header(Box::new(Header {
        format: "dataembassy-inventory/1".to_owned(),
        ..self::header()
    })))
    .unwrap();
    let text_of = |length| serde_json::to_string(&warning(length)).unwrap();
    for text in [
        format!("{header}\n{}\n", text_of(MAX_LINE_BYTES - around + 1)),
        format!("{header}\n{}\n", text_of(MAX_LINE_BYTES)),
        format!("{header}\n{}", "x".repeat(3 * MAX_LINE_BYTES)),
    ] {
        let error = read(&key, &[seal(&key, &frame(text.as_bytes()))]).unwrap_err();
        assert!(
            matches!(error, InventoryError::LineTooLong { line: 2 }),
            "{error}"
        );
    }
}

#[test]
fn lines_of_another_form_are_refused() {
    let key = CopyKey::generate();
    let header = Header {
        format: "dataembassy-inventory/1".to_owned(),
        ..header()
    };
    let header = serde_json::to_string(&Line::Header(Box::new(header))).unwrap();
    let end = r#"{"kind":"end","lines":1,"tables":0,"rows":0,"bytes":0}"#;
    let read = |text: &str| read(&key, &[seal(&key, &frame(text.as_bytes()))]);
    assert!(read(&format!("{header}\n{end}\n")).is_ok());
    for line in [
        "",
        "{}",
        "[]",
        r#"{"kind":"unknown"}"#,
        r#"{"kind":"warning"}"#,
        r#"{"kind":"warning","text":"a","more":1}"#,
        r#"{"kind":"warning","text":"a","text":"b"}"#,
        r#"{"kind":"warning","kind":"warning","text":"b"}"#,
        r#"{"kind":"extension","name":"a","version":null,"schema":"s"}"#,
        r#"{"kind":"settings","role":null,"inDatabase":true,"settings":[]}"#,
        r#"{"kind":"warning","text":1.5}"#,
        r#"{"kind":"largeObjects","objects":1,"bytes":1,"digest":"5"}"#,
        r#"{"kind":"sequence","dumpId":1,"schema":"s","name":"n","lastValue":5,"isCalled":true}"#,
        r#"{"kind":"sequence","dumpId":1,"schema":"s","name":"n","lastValue":"05","isCalled":true}"#,
    ] {
        let end = end.replace(":1,", ":2,");
        let found = read(&format!("{header}\n{line}\n{end}\n"));
        assert!(
            matches!(found, Err(InventoryError::InvalidLine { line: 2, .. })),
            "{line}: {found:?}"
        );
    }
    let null = read(&format!("{header}\n{{\"kind\":null}}\n{end}\n")).unwrap_err();
    assert!(null.to_string().contains("or a whole number"), "{null}");
    assert!(matches!(
        read(&format!("{header}\n{end}")),
        Err(InventoryError::UnfinishedLine { line: 2 })
    ));
    assert!(matches!(
        read(&format!("{end}\n")),
        Err(InventoryError::OutOfPlace { line: 1 })
    ));
    assert!(matches!(
        read(&format!("{header}\n{header}\n{end}\n")),
        Err(InventoryError::OutOfPlace { line: 2 })
    ));
    assert!(matches!(
        read(&format!("{header}\n{end}\n{end}\n")),
        Err(InventoryError::OutOfPlace { .. })
    ));
    assert!(matches!(
        read(&format!("{header}\n")),
        Err(InventoryError::Incomplete)
    ));
    let twice = header.replacen("\"lc_monetary\":", "\"lc_monetary\":\"C\",\"lc_monetary\":", 1);
    assert!(matches!(
        read(&format!("{twice}\n{end}\n")),
        Err(InventoryError::InvalidLine { line: 1, .. })
    ));
    let newer = header.replacen("inventory/1", "inventory/2", 1);
    assert!(matches!(
        read(&format!("{newer}\n{end}\n")),
        Err(InventoryError::UnknownFormat)
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_text_reads_back_as_written(texts in prop::collection::vec(any::<String>(), 0..20), bytes in prop::collection::vec(any::<u8>(), 0..200), last_value: i64) {
        let key = CopyKey::generate();
        let mut lines: Vec<_> = texts.iter().map(|text| Line::Warning(Warning { text: text.clone() })).collect();
        let mut changed = table(1);
        changed.copy_statement = bytes;
        changed.name = texts.concat();
        lines.push(Line::Table(Box::new(changed)));
        lines.push(Line::Sequence(SequenceValue { dump_id: 1, schema: String::new(), name: String::new(), last_value, is_called: false }));
        let (found, _) = read(&key, &write(&key, lines.clone(), 1)).unwrap();
        prop_assert_eq!(&found[1..found.len() - 1], &lines[..]);
    }

    #[test]
    fn any_content_is_read_without_harm(content in prop::collection::vec(any::<u8>(), 0..500)) {
        let key = CopyKey::generate();
        let sealed = seal(&key, &frame(&content));
        prop_assert!(read(&key, &[sealed]).is_err());
    }
}
