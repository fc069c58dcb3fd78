//! Segments read back as written; whatever our writer would not have written is refused.

use std::io::Write as _;

use bytes::Bytes;
use dataembassy_archive::segment::{MAX_MEMBERS, MAX_PLAIN_BYTES, SegmentError};
use dataembassy_archive::{
    CompressionLevel, CopyKey, Member, MemberName, OpenError, SealError, SegmentPosition, SegmentReader,
    SegmentWriter,
};
use dataembassy_ledger::Sha256Digest;
use proptest::prelude::*;

use crate::sample::{self, file, frame, part, seal, tar_member, whole};

const MIB: usize = 1024 * 1024;

fn refused(plain: &[u8]) -> SegmentError {
    let key = CopyKey::generate();
    sample::read(&key, &seal(&key, &frame(plain))).unwrap_err()
}

fn end() -> [u8; 1024] {
    [0; 1024]
}

#[test]
fn a_segment_reads_back_as_written() {
    let key = CopyKey::generate();
    for position in [SegmentPosition::Inner, SegmentPosition::Last] {
        let sealed = sample::write(&key, &sample::members(), position);
        assert_eq!(
            sample::read(&key, &sealed).unwrap(),
            (sample::members(), position)
        );
        let empty = sample::write(&key, &[], position);
        assert_eq!(sample::read(&key, &empty).unwrap(), (Vec::new(), position));
    }
}

#[test]
fn the_digest_is_that_of_the_sealed_bytes() {
    let mut writer = SegmentWriter::new(
        &CopyKey::generate().recipient(),
        CompressionLevel::new(1).unwrap(),
    )
    .unwrap();
    writer.add(&whole("a", &vec![7; 300_000])).unwrap();
    assert_eq!(writer.members(), 1);
    let sealed = writer.finish(SegmentPosition::Last).unwrap();
    assert_eq!(sealed.sha256, Sha256Digest::of(&sealed.bytes));
    assert_eq!(sealed.plain_bytes, 512 + 300_000 + 32 + 1024);
}

#[test]
fn another_key_does_not_open_a_segment() {
    let sealed = sample::write(&CopyKey::generate(), &sample::members(), SegmentPosition::Last);
    let error = sample::read(&CopyKey::generate(), &sealed).unwrap_err();
    assert!(
        matches!(error, SegmentError::NotOpened(OpenError::OtherKey)),
        "{error}"
    );
}

#[test]
fn every_single_change_to_a_segment_is_found() {
    let key = CopyKey::generate();
    let sealed = sample::write(&key, &sample::members()[..3], SegmentPosition::Last).to_vec();
    for place in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1 << (place % 8);
        assert!(sample::read(&key, &changed).is_err(), "bit flipped at {place}");
        assert!(sample::read(&key, &sealed[..place]).is_err(), "cut at {place}");
        let mut shorter = sealed.clone();
        shorter.remove(place);
        assert!(sample::read(&key, &shorter).is_err(), "byte removed at {place}");
    }
    assert!(sample::read(&key, &[sealed.as_slice(), b"x"].concat()).is_err());
    assert!(sample::read(&key, &[sealed.as_slice(), sealed.as_slice()].concat()).is_err());
}

#[test]
fn the_tar_crate_builds_the_same_headers() {
    let members = sample::members();
    let plain: Vec<u8> = members
        .iter()
        .flat_map(|member| tar_member(&member.name.to_string(), &member.body, |_| {}))
        .collect();
    let key = CopyKey::generate();
    let (read, position) = sample::read(&key, &seal(&key, &frame(&plain))).unwrap();
    assert_eq!((read, position), (members, SegmentPosition::Inner));
}

#[test]
fn headers_of_any_other_kind_are_refused() {
    type Change = fn(&mut tar::Header);
    let changes: [Change; 16] = [
        |header| header.set_mode(0o600),
        |header| header.set_uid(1),
        |header| header.set_gid(1),
        |header| header.set_mtime(1),
        |header| header.set_entry_type(tar::EntryType::Symlink),
        |header| header.set_entry_type(tar::EntryType::Link),
        |header| header.set_entry_type(tar::EntryType::Directory),
        |header| header.set_entry_type(tar::EntryType::XHeader),
        |header| header.set_entry_type(tar::EntryType::XGlobalHeader),
        |header| header.set_entry_type(tar::EntryType::GNULongName),
        |header| header.set_entry_type(tar::EntryType::GNUSparse),
        |header| header.as_mut_bytes()[156] = 0,
        |header| header.set_link_name_literal("x").unwrap(),
        |header| header.set_username("root").unwrap(),
        |header| header.as_mut_bytes()[345] = b'x',
        |header| header.as_mut_bytes()[511] = 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let error = refused(&tar_member("archive/a", b"body", change));
        assert!(
            matches!(error, SegmentError::WrongHeader { at: 0 }),
            "{index}: {error}"
        );
    }
    for name in [
        "a",
        "../a",
        "archive/../a",
        "archive/A",
        "archive/a/b",
        "parts/a/999999.00000000",
        "",
    ] {
        let error = refused(&tar_member(name, b"body", |_| {}));
        assert!(
            matches!(error, SegmentError::WrongHeader { at: 0 }),
            "{name}: {error}"
        );
    }
    let good = tar_member("archive/b", b"body", |_| {});
    let second = [good, tar_member("a", b"body", |_| {})].concat();
    assert!(matches!(refused(&second), SegmentError::WrongHeader { at: 1024 }));
    let mut wrong_sum = tar_member("archive/a", b"body", |_| {});
    wrong_sum[148] ^= 1;
    assert!(matches!(refused(&wrong_sum), SegmentError::WrongHeader { .. }));
}

#[test]
fn bodies_end_where_their_headers_say() {
    let one = tar_member("archive/a", b"body", |_| {});
    assert!(matches!(refused(&one[..700]), SegmentError::CutOff));
    assert!(matches!(refused(&one[..100]), SegmentError::CutOff));
    let mut padded = one.clone();
    padded[1023] = 1;
    assert!(matches!(refused(&padded), SegmentError::NotZero { .. }));
    assert!(matches!(
        refused(&[one.as_slice(), &one].concat()),
        SegmentError::Duplicate { .. }
    ));
    let large = tar_member("archive/a", &vec![0; MIB + 1], |_| {});
    assert!(matches!(refused(&large), SegmentError::InvalidMember(_)));
    let wrong_end = tar_member("parts/a/999999.99999999", b"\\.\n", |_| {});
    assert!(matches!(refused(&wrong_end), SegmentError::InvalidMember(_)));
}

#[test]
fn the_end_of_the_archive_is_two_blocks_and_nothing_after() {
    let one = tar_member("archive/a", b"body", |_| {});
    let with = |tail: &[u8]| [one.as_slice(), tail].concat();
    assert!(matches!(refused(&with(&end()[..512])), SegmentError::CutOff));
    assert!(matches!(
        refused(&with(&[end().as_slice(), &[0]].concat())),
        SegmentError::NotZero { .. }
    ));
    assert!(matches!(
        refused(&with(&[end().as_slice(), &one].concat())),
        SegmentError::NotZero { .. }
    ));
    let mut broken = end();
    broken[600] = 1;
    assert!(matches!(refused(&with(&broken)), SegmentError::NotZero { .. }));
}

#[test]
fn a_frame_of_any_other_form_is_refused() {
    let key = CopyKey::generate();
    let plain = [tar_member("archive/a", b"body", |_| {}), end().to_vec()].concat();
    let refused = |content: &[u8]| sample::read(&key, &seal(&key, content)).unwrap_err();
    let without_checksum = zstd::encode_all(plain.as_slice(), 3).unwrap();
    assert!(matches!(
        refused(&without_checksum),
        SegmentError::NotOpened(OpenError::WrongFrame)
    ));
    let good = frame(&plain);
    // One that needs a dictionary, and one of a newer form.
    for bit in [0b1, 0b10, 0b1000] {
        let mut other = good.clone();
        other[4] |= bit;
        assert!(matches!(
            refused(&other),
            SegmentError::NotOpened(OpenError::WrongFrame)
        ));
    }
    let two = [good.as_slice(), &good].concat();
    assert!(matches!(
        refused(&two),
        SegmentError::NotOpened(OpenError::TrailingData)
    ));
    let skippable = [b"\x50\x2A\x4D\x18\x01\0\0\0x".as_slice(), &good].concat();
    assert!(matches!(
        refused(&skippable),
        SegmentError::NotOpened(OpenError::WrongFrame)
    ));
    let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    wide.include_checksum(true).unwrap();
    wide.window_log(24).unwrap();
    wide.write_all(&plain).unwrap();
    wide.flush().unwrap();
    assert!(matches!(
        refused(&wide.finish().unwrap()),
        SegmentError::NotOpened(OpenError::Unreadable(_))
    ));
    let mut wrong_checksum = good.clone();
    *wrong_checksum.last_mut().unwrap() ^= 1;
    assert!(matches!(
        refused(&wrong_checksum),
        SegmentError::NotOpened(OpenError::Unreadable(_))
    ));
    refused(&good[..good.len() - 1]);
    refused(b"");
    refused(&plain);
}

#[test]
fn an_age_header_of_many_stanzas_is_refused_before_any_key_is_tried() {
    let key = CopyKey::generate();
    let people: Vec<_> = (0..60)
        .map(|_| age::x25519::Identity::generate().to_public())
        .collect();
    let recipient: age::x25519::Recipient = key.recipient().to_string().parse().unwrap();
    let all = people
        .iter()
        .chain([&recipient])
        .map(|recipient| recipient as &dyn age::Recipient);
    let mut writer = age::Encryptor::with_recipients(all)
        .unwrap()
        .wrap_output(Vec::new())
        .unwrap();
    writer.write_all(&frame(&end())).unwrap();
    let error = sample::read(&key, &writer.finish().unwrap()).unwrap_err();
    assert!(
        matches!(error, SegmentError::NotOpened(OpenError::NotAge)),
        "{error}"
    );
}

#[test]
fn a_writer_refuses_what_a_reader_would() {
    let mut writer = SegmentWriter::new(&CopyKey::generate().recipient(), CompressionLevel::DEFAULT).unwrap();
    writer.add(&whole("a", b"x")).unwrap();
    assert!(matches!(
        writer.add(&whole("a", b"x")),
        Err(SealError::Duplicate { .. })
    ));
    let large = Member {
        name: MemberName::whole(file("b")),
        body: Bytes::from(vec![0; MIB + 1]),
    };
    assert!(matches!(writer.add(&large), Err(SealError::InvalidMember(_))));
    let wrong_end = Member {
        name: MemberName::table_end(file("b")),
        body: Bytes::new(),
    };
    assert!(matches!(writer.add(&wrong_end), Err(SealError::InvalidMember(_))));
}

#[test]
fn levels_whose_window_readers_refuse_are_refused() {
    assert!(CompressionLevel::new(0).is_none());
    assert!(CompressionLevel::new(20).is_none());
    let level = |level| CompressionLevel::new(level).unwrap();
    let steps = [1, 2, 18, 19].map(|one| (level(one).easier(), level(one).harder()));
    let expected = [(1, 2), (1, 3), (17, 19), (18, 19)];
    assert_eq!(
        steps,
        expected.map(|(easier, harder)| (level(easier), level(harder)))
    );
    assert_eq!(CompressionLevel::default(), level(3));
    let key = CopyKey::generate();
    let mut writer = SegmentWriter::new(&key.recipient(), CompressionLevel::new(19).unwrap()).unwrap();
    writer.add(&part("a", 0, 0, &vec![1; MIB])).unwrap();
    let sealed = writer.finish(SegmentPosition::Last).unwrap();
    assert!(sample::read(&key, &sealed.bytes).is_ok());
}

/// 1 MiB that does not compress; nor does a row of them, as the window of level 1 is shorter.
fn noise() -> Bytes {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..MIB / 8).flat_map(|_| next()).collect()
}

#[test]
fn a_caller_who_cuts_when_it_is_full_gets_segments_of_about_16_mib() {
    let mut writer = SegmentWriter::new(
        &CopyKey::generate().recipient(),
        CompressionLevel::new(1).unwrap(),
    )
    .unwrap();
    let (mut chunk, noise) = (0, noise());
    while !writer.is_full() {
        chunk += 1;
        writer.add(&part("a", 0, chunk, &noise)).unwrap();
    }
    let estimate = writer.sealed_estimate();
    let sealed = writer.finish(SegmentPosition::Inner).unwrap().bytes.len() as u64;
    assert!((16 * MIB as u64..18 * MIB as u64).contains(&sealed), "{sealed}");
    assert!(
        sealed.abs_diff(estimate) < 256 * 1024,
        "estimated {estimate}, got {sealed}"
    );
}

#[test]
fn a_segment_never_passes_64_mib_even_if_nobody_cuts() {
    let mut writer = SegmentWriter::new(
        &CopyKey::generate().recipient(),
        CompressionLevel::new(1).unwrap(),
    )
    .unwrap();
    let noise = noise();
    let refused = (0..100).find_map(|chunk| writer.add(&part("a", 0, chunk, &noise)).err());
    assert!(matches!(refused, Some(SealError::SegmentFull)));
    let sealed = writer.finish(SegmentPosition::Inner).unwrap().bytes.len();
    assert!((60 * MIB..=64 * MIB).contains(&sealed), "{sealed}");
}

#[test]
fn a_segment_expands_to_at_most_1_gib() {
    let key = CopyKey::generate();
    let level = CompressionLevel::new(1).unwrap();
    let mut writer = SegmentWriter::new(&key.recipient(), level).unwrap();
    let mut members = 0;
    let mut add = |size: usize| {
        members += 1;
        let name = MemberName::part(file("a"), 0, members).unwrap();
        let added = writer.add(&Member {
            name,
            body: Bytes::from(vec![0; size]),
        });
        (added.is_ok(), writer.is_full())
    };
    for _ in 0..1020 {
        assert_eq!(add(MIB), (true, false));
    }
    // As much as leaves room for two of the largest members and what the compressor holds back; an empty one more is too much for that.
    assert_eq!(add(522_752), (true, false));
    assert_eq!(add(0), (true, true));
    // And for one of them.
    assert_eq!(add(MIB), (true, true));
    assert_eq!(add(524_288), (true, true));
    assert_eq!(add(0), (true, true));
    assert_eq!(add(0), (false, true));
    let sealed = writer.finish(SegmentPosition::Inner).unwrap();
    let mut reader = SegmentReader::new(&sealed.bytes[..], &key).unwrap();
    let mut found = 0;
    while reader.next_member().unwrap().is_some() {
        found += 1;
    }
    assert_eq!(found, 1025);

    // A hostile writer goes on.
    let body = vec![0; MIB];
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    for chunk in 0..1024 {
        let name = MemberName::part(file("a"), 0, chunk).unwrap().to_string();
        encoder.write_all(&tar_member(&name, &body, |_| {})).unwrap();
    }
    let sealed = seal(&key, &encoder.finish().unwrap());
    let mut reader = SegmentReader::new(sealed.as_slice(), &key).unwrap();
    let error = loop {
        match reader.next_member() {
            Ok(member) => assert!(
                member.is_some(),
                "the reader must refuse more than {MAX_PLAIN_BYTES} bytes"
            ),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SegmentError::TooLarge), "{error}");
}

#[test]
fn a_segment_has_at_most_65536_members() {
    let key = CopyKey::generate();
    let level = CompressionLevel::new(1).unwrap();
    let mut writer = SegmentWriter::new(&key.recipient(), level).unwrap();
    let name = |chunk: usize| MemberName::part(file("a"), 0, u32::try_from(chunk).unwrap()).unwrap();
    for chunk in 0..MAX_MEMBERS {
        assert!(!writer.is_full());
        writer
            .add(&Member {
                name: name(chunk),
                body: Bytes::new(),
            })
            .unwrap();
    }
    assert!(writer.is_full());
    let one_more = Member {
        name: name(MAX_MEMBERS),
        body: Bytes::new(),
    };
    assert!(matches!(writer.add(&one_more), Err(SealError::SegmentFull)));
    assert_eq!(writer.members(), MAX_MEMBERS);
    let sealed = writer.finish(SegmentPosition::Inner).unwrap().bytes;
    let (members, _) = sample::read(&key, &sealed).unwrap();
    assert_eq!(members.len(), MAX_MEMBERS);

    // A hostile writer goes on.
    let plain: Vec<u8> = (0..=MAX_MEMBERS)
        .flat_map(|chunk| tar_member(&name(chunk).to_string(), b"", |_| {}))
        .collect();
    let error = sample::read(&key, &seal(&key, &frame(&plain))).unwrap_err();
    assert!(matches!(error, SegmentError::TooLarge), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_members_read_back_as_written(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..20), last: bool) {
        let key = CopyKey::generate();
        let members: Vec<_> = (0_u32..).zip(&bodies).map(|(chunk, body)| part("1.dat", chunk / 3, chunk % 3, body)).collect();
        let position = if last { SegmentPosition::Last } else { SegmentPosition::Inner };
        prop_assert_eq!(sample::read(&key, &sample::write(&key, &members, position)).unwrap(), (members, position));
    }

    #[test]
    fn any_content_is_read_without_harm(content in prop::collection::vec(any::<u8>(), 0..3000)) {
        let key = CopyKey::generate();
        let _ = sample::read(&key, &content);
        let _ = sample::read(&key, &seal(&key, &content));
        let _ = sample::read(&key, &seal(&key, &frame(&content)));
    }
}
