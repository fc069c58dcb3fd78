//! Keys, members and ways to build sealed objects that our own writer would never build.

use std::io::Write as _;

use bytes::Bytes;
use dataembassy_archive::segment::SegmentError;
use dataembassy_archive::{
    CompressionLevel, CopyKey, FileName, Member, MemberName, SegmentPosition, SegmentReader, SegmentWriter,
};

pub(crate) fn file(name: &str) -> FileName {
    name.parse().unwrap()
}

pub(crate) fn whole(name: &str, body: &[u8]) -> Member {
    Member::new(MemberName::whole(file(name)), Bytes::copy_from_slice(body)).unwrap()
}

pub(crate) fn part(name: &str, range: u32, chunk: u32, body: &[u8]) -> Member {
    let name = MemberName::part(file(name), range, chunk).unwrap();
    Member::new(name, Bytes::copy_from_slice(body)).unwrap()
}

pub(crate) fn members() -> Vec<Member> {
    vec![
        whole("toc.dat", b"PGDMP"),
        whole("roles.sql", b""),
        part("4021.dat", 0, 0, b"1\tAnna\n2\tBoris\n"),
        part("4021.dat", 0, 1, &[b'x'; 512]),
        part("4021.dat", 1, 0, &[b'\n'; 513]),
        Member::table_end(file("4021.dat")),
    ]
}

pub(crate) fn write(key: &CopyKey, members: &[Member], position: SegmentPosition) -> Bytes {
    let mut writer = SegmentWriter::new(&key.recipient(), CompressionLevel::DEFAULT).unwrap();
    for member in members {
        writer.add(member).unwrap();
    }
    writer.finish(position).unwrap().bytes
}

pub(crate) fn read(key: &CopyKey, sealed: &[u8]) -> Result<(Vec<Member>, SegmentPosition), SegmentError> {
    let mut reader = SegmentReader::new(sealed, key)?;
    let mut members = Vec::new();
    while let Some(member) = reader.next_member()? {
        members.push(member);
    }
    Ok((members, reader.position().unwrap()))
}

/// One zstd frame as the format wants it.
pub(crate) fn frame(plain: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Any content in an age file for the key.
pub(crate) fn seal(key: &CopyKey, content: &[u8]) -> Vec<u8> {
    let recipient: age::x25519::Recipient = key.recipient().to_string().parse().unwrap();
    age::encrypt(&recipient, content).unwrap()
}

/// A tar member with any header that the `tar` crate can build.
pub(crate) fn tar_member(name: &str, body: &[u8], change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(body.len() as u64);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_device_major(0).unwrap();
    header.set_device_minor(0).unwrap();
    change(&mut header);
    // The `tar` crate spells checksums with seven digits, GNU tar and the format with six and a blank.
    header.set_cksum();
    let checksum = format!("{:06o}\0 ", header.cksum().unwrap());
    header.as_mut_bytes()[148..156].copy_from_slice(checksum.as_bytes());
    let mut member = header.as_bytes().to_vec();
    member.extend_from_slice(body);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}
