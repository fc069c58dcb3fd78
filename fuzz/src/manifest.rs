//! Manifest parts: whatever is read is written the same again.
#![no_main]

use dataembassy_ledger::manifest::{ManifestReader, ManifestWriter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|part: &[u8]| {
    let mut reader = ManifestReader::new();
    let Ok(records) = reader.read_part(part) else { return };
    assert_eq!(reader.segments(), records.len() as u64);
    let mut writer = ManifestWriter::new();
    for record in &records {
        assert_eq!(writer.push(record), Ok(None));
    }
    assert_eq!(writer.finish().as_deref(), Ok(part));
});
