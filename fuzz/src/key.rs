//! Object keys and member names: whatever parses prints the same.
#![no_main]

use dataembassy_archive::MemberName;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::key::MAX_KEY_LENGTH;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = text.parse::<ObjectKey>() {
        assert!(text.len() <= MAX_KEY_LENGTH);
        assert_eq!(key.to_string(), text);
    }
    if let Ok(name) = text.parse::<MemberName>() {
        assert!(text.len() <= MemberName::MAX_LENGTH);
        assert_eq!(name.to_string(), text);
    }
});
