//! Checked values accept one spelling and nothing else.

use std::str::FromStr;

use dataembassy_ledger::value::{BucketName, DatabaseVersion, EmbassyName, StoreEndpoint, SystemIdentifier};
use dataembassy_ledger::{
    CopyId, OrderId, PublicKey, Recipient, RegistryId, Sequence, Sha256Digest, SigningKey, StoreId, Term,
    Timestamp, Trigger, VersionId,
};
use proptest::prelude::*;

fn refuses<T: FromStr>(texts: &[&str]) {
    for text in texts {
        assert!(text.parse::<T>().is_err(), "{text:?} must be refused");
    }
}

#[test]
fn a_registry_id_is_a_dns_label_of_3_to_40_characters() {
    for text in [
        "pop",
        "population",
        "land-register-2",
        &"a".repeat(40),
        "check-0badcafe",
    ] {
        assert_eq!(text.parse::<RegistryId>().unwrap().as_str(), text);
    }
    refuses::<RegistryId>(&[
        "",
        "ab",
        &"a".repeat(41),
        "-ab",
        "ab-",
        "Abc",
        "a_b",
        "a.b",
        "a/b",
        "äbc",
        "abc\n",
        " abc",
    ]);
}

#[test]
fn ids_and_digests_are_lower_case_hex_of_their_length() {
    let hex = "0123456789abcdef".repeat(2);
    assert_eq!(hex.parse::<StoreId>().unwrap().to_string(), hex);
    assert_eq!(hex.parse::<CopyId>().unwrap().to_string(), hex);
    refuses::<CopyId>(&[
        "",
        &hex[1..],
        &format!("{hex}0"),
        &hex.to_uppercase(),
        &hex.replace('0', "g"),
    ]);
    let digest = hex.repeat(2);
    assert_eq!(digest.parse::<Sha256Digest>().unwrap().to_string(), digest);
    refuses::<Sha256Digest>(&[&hex, &digest.to_uppercase(), &format!(" {}", &digest[1..])]);
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Sha256Digest::of(b"").to_string(), empty);
}

#[test]
fn numbers_start_at_1_and_end_where_their_key_ends() {
    assert!(Sequence::new(0).is_err());
    assert_eq!(Sequence::new(999_999_999_999), Ok(Sequence::LAST));
    assert!(Sequence::new(1_000_000_000_000).is_err());
    assert_eq!(Sequence::LAST.next(), None);
    assert!(Term::new(0).is_err());
    assert!(Term::new(10_000).is_err());
    assert!(Term::new(u64::from(u32::MAX) + 2).is_err());
}

#[test]
fn a_time_is_utc_with_milliseconds_and_nothing_else() {
    let text = "2026-11-23T11:10:00.042Z";
    assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
    let finer: jiff::Timestamp = "2026-11-23T11:10:00.042999Z".parse().unwrap();
    assert_eq!(Timestamp::from_jiff(finer).unwrap().to_string(), text);
    refuses::<Timestamp>(&[
        "2026-11-23T11:10:00Z",
        "2026-11-23T11:10:00.0420Z",
        "2026-11-23t11:10:00.042Z",
        "2026-11-23T11:10:00.042z",
        "2026-11-23 11:10:00.042Z",
        "2026-11-23T11:10:60.042Z",
        "2026-11-23T24:00:00.000Z",
        "2026-02-30T11:10:00.042Z",
        "1969-12-31T23:59:59.999Z",
        "2026-11-23T11:10:00,042Z",
        "2026-11-23T11:10+00:00.0",
    ]);
}

#[test]
fn texts_are_bounded() {
    refuses::<VersionId>(&["", "a b", "a\n", "ä", &"v".repeat(1025)]);
    refuses::<Trigger>(&["", "a\nb", "a\u{7f}", &"t".repeat(254)]);
    refuses::<Recipient>(&[
        "",
        "age1",
        "AGE1QL3",
        "age1é",
        "ssh-ed25519 AAAA",
        &format!("age1{}", "q".repeat(4093)),
    ]);
    refuses::<OrderId>(&["", "-a", "a-", "A", &"a".repeat(64)]);
    refuses::<SystemIdentifier>(&["", "-1", "12a", &"1".repeat(21)]);
    refuses::<DatabaseVersion>(&["", "17\n", &"1".repeat(65)]);
}

#[test]
fn a_public_key_is_ed25519_and_loses_its_comment() {
    let key = SigningKey::from_seed(&[7; 32]).public_key();
    let text = key.to_string();
    assert_eq!(
        format!("{text} someone@home\n").parse::<PublicKey>().unwrap(),
        key
    );
    assert!(serde_json::from_str::<PublicKey>(&format!("\"{text}\"")).is_ok());
    assert!(serde_json::from_str::<PublicKey>(&format!("\"{text} someone@home\"")).is_err());
    let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=";
    refuses::<PublicKey>(&["", "ssh-ed25519", "ssh-ed25519 AAAA", ecdsa]);
}

#[test]
fn a_signing_key_shows_its_public_half_only() {
    let key = SigningKey::from_seed(&[7; 32]);
    let shown = format!("{key:?}");
    assert!(shown.contains(&key.public_key().to_string()));
    assert!(!key.to_openssh().unwrap().lines().any(|line| shown.contains(line)));
}

proptest! {
    #[test]
    fn every_value_reads_back_what_it_prints(bytes: [u8; 16], number in 1_u64..=999_999_999_999, millisecond in 0_i64..253_402_207_200_000) {
        let id = CopyId::from_bytes(bytes);
        prop_assert_eq!(id.to_string().parse::<CopyId>(), Ok(id));
        let sequence = Sequence::new(number).unwrap();
        prop_assert_eq!(serde_json::to_string(&sequence).unwrap(), number.to_string());
        let time = Timestamp::from_millisecond(millisecond).unwrap();
        prop_assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
        let digest = Sha256Digest::of(&bytes);
        prop_assert_eq!(digest.to_string().parse::<Sha256Digest>(), Ok(digest));
    }

    #[test]
    fn no_text_makes_a_time_that_prints_otherwise(text in "[0-9TZ:.+-]{20,26}") {
        if let Ok(time) = text.parse::<Timestamp>() {
            prop_assert_eq!(time.to_string(), text);
        }
    }
}

#[test]
fn only_check_and_eight_hex_digits_is_a_registry_for_checks() {
    let is = |id: &str| id.parse::<RegistryId>().unwrap().is_for_checks();
    assert!(is("check-0a1b2c3d"));
    for real in [
        "population",
        "check-0a1b2c3",
        "check-0a1b2c3d4",
        "check-0a1b2c3g",
        "xcheck-0a1b2c3d",
    ] {
        assert!(!is(real), "{real}");
    }
}

#[test]
fn where_a_store_is_and_whose_it_is_has_one_narrow_form() {
    for text in [
        "http://a",
        "https://store.example:9000",
        &format!("https://{}", "a".repeat(504)),
    ] {
        assert_eq!(text.parse::<StoreEndpoint>().unwrap().as_str(), text);
    }
    refuses::<StoreEndpoint>(&[
        "",
        "http://",
        "https://",
        "ftp://a",
        "store.example",
        "https://a b",
        "https://\u{e4}",
        &format!("https://{}", "a".repeat(505)),
    ]);
    for text in ["abc", "a.b-c", &"a".repeat(63)] {
        assert_eq!(text.parse::<BucketName>().unwrap().as_str(), text);
    }
    refuses::<BucketName>(&[
        "",
        "ab",
        ".ab",
        "ab.",
        "-ab",
        "ab-",
        "aBc",
        "a_b",
        "a/b",
        &"a".repeat(64),
    ]);
    for text in ["l", "luxembourg-2", &"a".repeat(63)] {
        assert_eq!(text.parse::<EmbassyName>().unwrap().as_str(), text);
    }
    refuses::<EmbassyName>(&["", "-a", "a-", "A", "a.b", &"a".repeat(64)]);
}

#[test]
fn time_begins_with_the_epoch_and_is_counted_in_milliseconds() {
    let time = |millisecond| Timestamp::from_millisecond(millisecond);
    assert_eq!(time(0).unwrap().to_string(), "1970-01-01T00:00:00.000Z");
    assert!(time(-1).is_err());
    assert_eq!(time(42).unwrap().as_millisecond(), 42);
}
