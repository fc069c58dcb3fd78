//! Object keys parse to what they were built from, and nothing else parses.

use dataembassy_ledger::key::{CopyObject, MAX_KEY_LENGTH, ObjectKey, ReportForm};
use dataembassy_ledger::{CopyId, OrderId, PartNumber, RegistryId, SegmentNumber, Sequence, Term};
use proptest::prelude::*;

const COPY: &str = "0123456789abcdef0123456789abcdef";

fn any_key() -> impl Strategy<Value = ObjectKey> {
    let registry = "[a-z0-9][a-z0-9-]{1,38}[a-z0-9]".prop_map(|text| text.parse::<RegistryId>().unwrap());
    let object = prop_oneof![
        (1_u64..=9999).prop_map(|n| CopyObject::Manifest(PartNumber::new(n).unwrap())),
        (1_u64..=9999).prop_map(|n| CopyObject::Inventory(PartNumber::new(n).unwrap())),
        (1_u64..=99_999_999).prop_map(|n| CopyObject::Segment(SegmentNumber::new(n).unwrap())),
    ];
    let order = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|text| text.parse::<OrderId>().unwrap());
    let form = prop_oneof![Just(ReportForm::Json), Just(ReportForm::Html)];
    let sequence = (1_u64..=999_999_999_999).prop_map(|n| Sequence::new(n).unwrap());
    let term = (1_u64..=9999).prop_map(|n| Term::new(n).unwrap());
    (
        registry,
        term,
        sequence,
        any::<[u8; 16]>(),
        object,
        order,
        form,
        0..5,
    )
        .prop_map(
            |(registry, term, sequence, copy, object, order, form, which)| match which {
                0 => ObjectKey::Embassy,
                1 => ObjectKey::Source {
                    registry,
                    term,
                    sequence,
                },
                2 => ObjectKey::Custody { registry, sequence },
                3 => ObjectKey::Copy {
                    registry,
                    copy: CopyId::from_bytes(copy),
                    object,
                },
                _ => ObjectKey::Report {
                    registry,
                    order,
                    form,
                },
            },
        )
}

#[test]
fn keys_look_as_the_design_draws_them() {
    for text in [
        "embassy.json".to_owned(),
        "registries/population/source/0001-000000000042".to_owned(),
        "registries/population/custody/000000000007".to_owned(),
        format!("registries/population/copies/{COPY}/manifest-0001"),
        format!("registries/population/copies/{COPY}/inventory-0012"),
        format!("registries/population/copies/{COPY}/00000123"),
        "registries/population/reports/drill-7.json".to_owned(),
        "registries/population/reports/drill-7.html".to_owned(),
    ] {
        assert_eq!(text.parse::<ObjectKey>().unwrap().to_string(), text);
    }
}

#[test]
fn nothing_else_is_a_key() {
    for text in [
        "",
        "/embassy.json",
        "embassy.json/",
        "Embassy.json",
        "registries",
        "registries/",
        "registries//source/0001-000000000001",
        "registries/population",
        "registries/population/",
        "registries/population/source/",
        "registries/population/source/1-000000000001",
        "registries/population/source/0001-1",
        "registries/population/source/0000-000000000001",
        "registries/population/source/0001-000000000000",
        "registries/population/source/0001-000000000001/x",
        "registries/population/source/0001_000000000001",
        "registries/population/source/+001-000000000001",
        "registries/population/source/0001-00000000000１",
        "registries/population/custody/0001-000000000001",
        "registries/../population/custody/000000000001",
        "registries/Population/custody/000000000001",
        "registries/population/copies/0123/00000001",
        "registries/population/reports/a.json.html",
        "registries/population/reports/.json",
        "registries/population/reports/a",
        "registries/population/other/000000000001",
    ] {
        assert!(text.parse::<ObjectKey>().is_err(), "{text:?} must be refused");
    }
    for object in [
        "",
        "0",
        "00000000",
        "0000001",
        "manifest-0000",
        "manifest-1",
        "manifest-00001",
        "inventory-",
        "00000001.x",
    ] {
        let text = format!("registries/population/copies/{COPY}/{object}");
        assert!(text.parse::<ObjectKey>().is_err(), "{text:?} must be refused");
    }
}

proptest! {
    #[test]
    fn a_key_parses_to_what_it_was_built_from(key in any_key()) {
        let text = key.to_string();
        prop_assert!(text.len() <= MAX_KEY_LENGTH);
        prop_assert_eq!(text.parse::<ObjectKey>(), Ok(key));
    }

    #[test]
    fn one_changed_byte_never_gives_the_same_key(key in any_key(), place: prop::sample::Index, byte in 0x20_u8..0x7f) {
        let mut text = key.to_string().into_bytes();
        let place = place.index(text.len());
        prop_assume!(text[place] != byte);
        text[place] = byte;
        let text = String::from_utf8(text).unwrap();
        if let Ok(other) = text.parse::<ObjectKey>() {
            prop_assert_ne!(&other, &key);
            prop_assert_eq!(other.to_string(), text);
        }
    }

    #[test]
    fn whatever_parses_prints_the_same(text in "(registries/)?[a-z0-9/.-]{0,80}") {
        if let Ok(key) = text.parse::<ObjectKey>() {
            prop_assert_eq!(key.to_string(), text);
        }
    }
}

#[test]
fn a_copys_objects_stand_below_its_prefix_and_its_prefix_ends_with_a_slash() {
    let (registry, copy): (RegistryId, _) = ("population".parse().unwrap(), CopyId::from_bytes([7; 16]));
    let prefix = ObjectKey::copy_prefix(&registry, copy);
    let object = CopyObject::Segment(SegmentNumber::new(1).unwrap());
    let key = ObjectKey::Copy {
        registry,
        copy,
        object,
    };
    assert_eq!(key.to_string(), format!("{prefix}00000001"));
    assert!(prefix.ends_with(&format!("/{copy}/")), "{prefix}");
}

#[test]
fn the_longest_key_is_a_key() {
    let text = format!("registries/{}/reports/{}.html", "a".repeat(40), "b".repeat(63));
    assert_eq!(text.len(), MAX_KEY_LENGTH);
    assert_eq!(text.parse::<ObjectKey>().unwrap().to_string(), text);
}
