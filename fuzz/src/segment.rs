//! Segments: whatever is read is within the grammar, and is written and read the same again.
#![no_main]

mod sealed;

use dataembassy_archive::member::MAX_BODY_BYTES;
use dataembassy_archive::segment::SegmentError;
use dataembassy_archive::{CompressionLevel, Member, SegmentPosition, SegmentReader, SegmentWriter};
use libfuzzer_sys::fuzz_target;

fn read(object: &[u8]) -> Result<(Vec<Member>, SegmentPosition), SegmentError> {
    let mut reader = SegmentReader::new(object, &sealed::KEY)?;
    let mut members = Vec::new();
    while let Some(member) = reader.next_member()? {
        assert!(member.body.len() <= MAX_BODY_BYTES);
        members.push(member);
    }
    Ok((members, reader.position().expect("the segment has ended")))
}

fuzz_target!(|input: &[u8]| {
    for object in sealed::objects(input) {
        let Ok((members, position)) = read(&object) else { continue };
        let level = CompressionLevel::new(1).expect("1 is a level");
        let mut writer = SegmentWriter::new(&sealed::KEY.recipient(), level).expect("a segment begins");
        for member in &members {
            writer.add(member).expect("what was read can be written");
        }
        let written = writer.finish(position).expect("a segment ends");
        assert_eq!(read(&written.bytes).expect("what was written can be read"), (members, position));
    }
});
