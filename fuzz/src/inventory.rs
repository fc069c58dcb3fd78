//! Inventories: whatever line is read is written and read the same again.
#![no_main]

mod sealed;

use dataembassy_archive::inventory::{InventoryError, InventoryReader, Line, MAX_LINE_BYTES};
use libfuzzer_sys::fuzz_target;

fn read(object: &[u8]) -> Result<(), InventoryError> {
    let mut reader = InventoryReader::new(&sealed::KEY);
    let mut lines = reader.part(object)?;
    while let Some(line) = lines.next_line()? {
        let text = serde_json::to_string(&line).expect("what was read can be written");
        assert!(text.len() <= 8 * MAX_LINE_BYTES);
        assert_eq!(serde_json::from_str::<Line>(&text).expect("what was written can be read"), line);
    }
    reader.finish().map(drop)
}

/// Lines that are valid JSON are read even where an inventory of them would not be.
fn header() -> &'static [u8] {
    concat!(
        r#"{"kind":"header","format":"dataembassy-inventory/1","registry":"population","copyId":"03030303030303030303030303030303","#,
        r#""takenAt":"2026-11-18T11:06:40.000Z","server":{"version":"17.12","versionNumber":170012,"systemIdentifier":"7","settings":{}},"#,
        r#""database":{"name":"d","oid":1,"owner":"o","encoding":"UTF8","localeProvider":"libc","collate":"C","ctype":"C","connectionLimit":-1,"#,
        r#""tablespace":"pg_default"},"planner":{"pgDumpVersion":"17.12","toc":"toc.dat","tocBytes":1,"#,
        r#""tocSha256":"0000000000000000000000000000000000000000000000000000000000000000","tocEntries":1}}"#,
        "\n"
    )
    .as_bytes()
}

fuzz_target!(|input: &[u8]| {
    for object in sealed::objects(input) {
        let _ = read(&object);
    }
    let [.., with_header] = sealed::objects(&[header(), input].concat());
    let _ = read(&with_header);
});
