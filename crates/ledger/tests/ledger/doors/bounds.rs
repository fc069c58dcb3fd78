//! The last byte that passes, and the first that does not.

use dataembassy_ledger::door::{Action, Refusal, User};

use super::{COPY, Draft, ENTRY, registry};

#[test]
fn a_target_passes_up_to_its_last_byte() {
    let start = "/registries?versions&prefix=registries/population/source/&version-id-marker=";
    let listed = |length: usize| Draft::get(&format!("{start}{}", "v".repeat(length - start.len()))).action();
    assert_eq!(listed(4_096), Ok(Action::List));
    assert_eq!(listed(4_097), Err(Refusal::Target));
}

#[test]
fn each_kind_of_object_has_a_length_of_its_own() {
    for (key, limit) in [
        (ENTRY.to_owned(), 64 * 1024),
        (format!("{COPY}/manifest-0001"), 8 << 20),
        (format!("{COPY}/inventory-0001"), 8 << 20),
        (format!("{COPY}/00000001"), 64 << 20),
    ] {
        let put = |length| Draft::put("population", &key, length).judge().map(drop);
        assert_eq!(put(limit), Ok(()), "{key}");
        assert_eq!(put(limit + 1), Err(Refusal::Length { limit }), "{key}");
    }
}

#[test]
fn a_value_of_a_header_is_short_and_printable() {
    let with = |value: &str| {
        let put = Draft::put("population", ENTRY, 1).without("user-agent");
        put.with("user-agent", value).judge().map(drop)
    };
    assert_eq!(with(&"x".repeat(2_048)), Ok(()));
    for value in ["a\tb", "a\r\nb", "a\u{7f}", "a\u{e9}", &"x".repeat(2_049)] {
        assert_eq!(with(value), Err(Refusal::Header), "{value:?}");
    }
}

#[test]
fn a_digest_is_sixty_four_hex_digits() {
    for digest in ["abc", &"a".repeat(63), &"a".repeat(65), &"g".repeat(64)] {
        let with = |draft: Draft| {
            let draft = draft.without("x-amz-content-sha256");
            draft.with("x-amz-content-sha256", digest).judge().map(drop)
        };
        let read = Draft::get(&format!("/registries/{ENTRY}"));
        assert_eq!(with(read), Err(Refusal::Header), "{digest}");
        let put = Draft::put("population", ENTRY, 1);
        assert_eq!(with(put), Err(Refusal::NoDigest), "{digest}");
    }
}

#[test]
fn a_credential_is_read_to_its_last_letter() {
    let signed = |scope: &str, headers: &str, signature: &str| {
        let value = format!(
            "AWS4-HMAC-SHA256 Credential=population/{scope}/s3/aws4_request, SignedHeaders={headers}, Signature={signature}"
        );
        let look = Draft::get("/registries?versioning").without("authorization");
        look.with("authorization", &value).action()
    };
    let scope = "20261123/us-east-1";
    let (good, long, capitals) = ("a".repeat(64), "a".repeat(65), "A".repeat(64));
    let good = good.as_str();
    assert_eq!(signed(scope, "host;x-amz-date", good), Ok(Action::Look));
    for (scope, headers, signature) in [
        ("20261123/", "host", good),
        ("20261123/US-EAST-1", "host", good),
        ("2026112/us-east-1", "host", good),
        ("202611234/us-east-1", "host", good),
        (scope, "", good),
        (scope, "Host", good),
        (scope, "host x-amz-date", good),
        (scope, "host", &good[1..]),
        (scope, "host", long.as_str()),
        (scope, "host", capitals.as_str()),
    ] {
        assert_eq!(
            signed(scope, headers, signature),
            Err(Refusal::NotSigned),
            "{scope} {headers} {signature}"
        );
    }
}

/// A store on a file system may know what `.` and `..` are.
#[test]
fn a_mark_never_leaves_the_place_that_it_begins_in() {
    let marked = |mark: &str| {
        let place = "registries/population/source/";
        Draft::get(&format!(
            "/registries?versions&prefix={place}&key-marker={place}{mark}"
        ))
        .action()
    };
    assert_eq!(marked("0001-000000000042"), Ok(Action::List));
    for mark in [".a", "/a", "a..b", "a/../../../business/", "a//b", "a/.b", "a./b"] {
        assert_eq!(marked(mark), Err(Refusal::OtherPlace), "{mark}");
    }
}

#[test]
fn an_object_is_read_by_a_version_that_is_no_path() {
    for version in [".", "..", "a.."] {
        let target = format!("/registries/{ENTRY}?versionId={version}");
        assert_eq!(Draft::get(&target).action(), Err(Refusal::Query), "{version}");
    }
}

#[test]
fn whose_a_request_says_it_is_can_be_told_before_it_is_judged() {
    let claimed = |user: &str| {
        let draft = Draft::of(user, "DELETE", "/elsewhere");
        let mut headers = draft.headers.iter();
        let (_, value) = headers.find(|(name, _)| name == "authorization").unwrap();
        User::claimed(value.as_bytes())
    };
    assert_eq!(claimed("population"), Some(User::Deposit(registry("population"))));
    assert_eq!(claimed("land.retrieval"), Some(User::Retrieval(registry("land"))));
    assert_eq!(claimed("Population"), None);
    assert_eq!(User::claimed(b"Bearer token"), None);
    assert_eq!(User::claimed(b"AWS4-HMAC-SHA256 \xff"), None);
}
