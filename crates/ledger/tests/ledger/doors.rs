//! What a gate lets through, and that nothing else passes.

mod bounds;

use dataembassy_ledger::door::{Action, Lane, MAX_HEADERS_LENGTH, Passage, Refusal, Request, Rules, User};
use dataembassy_ledger::{ObjectKey, RegistryId, Term};
use proptest::prelude::*;
use proptest::sample::select;

const COPY: &str = "registries/population/copies/0123456789abcdef0123456789abcdef";
const ENTRY: &str = "registries/population/source/0001-000000000042";
const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn registry(id: &str) -> RegistryId {
    id.parse().unwrap()
}

fn rules() -> Rules {
    let lane = Lane {
        term: Term::new(1).unwrap(),
        fenced: false,
        home_may_retrieve: false,
    };
    let open = Lane {
        home_may_retrieve: true,
        ..lane.clone()
    };
    let fenced = Lane {
        fenced: true,
        ..lane.clone()
    };
    let lanes = [("population", lane), ("business", open), ("land", fenced)];
    Rules {
        bucket: "registries".into(),
        lanes: lanes.map(|(id, lane)| (registry(id), lane)).into(),
    }
}

/// A request that can be changed before it is judged.
#[derive(Clone, Debug)]
struct Draft {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Draft {
    fn of(user: &str, method: &str, target: &str) -> Self {
        let signature = "0123456789abcdef".repeat(4);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={user}/20261123/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        let headers = [
            ("host", "gate.embassy.example"),
            ("authorization", &authorization),
            ("x-amz-date", "20261123T120000Z"),
            ("x-amz-content-sha256", DIGEST),
            ("user-agent", "aws-sdk-rust/1.3"),
        ];
        Self {
            method: method.into(),
            target: target.into(),
            headers: headers.map(|(name, value)| (name.into(), value.into())).into(),
        }
    }

    fn get(target: &str) -> Self {
        Self::of("population", "GET", target)
    }

    fn put(user: &str, key: &str, length: u64) -> Self {
        Self::of(user, "PUT", &format!("/registries/{key}?x-id=PutObject"))
            .with("content-length", &length.to_string())
            .with("if-none-match", "*")
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| header != name);
        self
    }

    fn judge(&self) -> Result<Passage, Refusal> {
        rules().judge(&Request {
            method: &self.method,
            target: &self.target,
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes()))
                .collect(),
        })
    }

    fn action(&self) -> Result<Action, Refusal> {
        self.judge().map(|passage| passage.action)
    }
}

#[test]
fn every_refusal_is_counted_under_a_word_of_the_reference() {
    let every = [
        Refusal::NotSigned,
        Refusal::UnknownUser,
        Refusal::RetrievalClosed,
        Refusal::Method,
        Refusal::Target,
        Refusal::Query,
        Refusal::Header,
        Refusal::Body,
        Refusal::OtherPlace,
        Refusal::Fenced,
        Refusal::OtherTerm,
        Refusal::Unconditional,
        Refusal::NoDigest,
        Refusal::NoLength,
        Refusal::Length { limit: 1 },
        Refusal::Malformed,
        Refusal::Quota { limit: 1 },
        Refusal::Rate { limit: 1 },
        Refusal::Commits,
        Refusal::Busy,
        Refusal::Slow,
        Refusal::Incomplete,
    ];
    assert_eq!(every.map(|refusal| refusal.word()), Refusal::WORDS);
    for word in Refusal::IN_GOOD_FAITH {
        assert!(Refusal::WORDS.contains(&word), "{word}");
    }
}

/// At most 8 KiB of names and values together, whatever they are; and the last byte of them counts.
#[test]
fn headers_are_counted_by_their_bytes() {
    let plain = || Draft::put("population", ENTRY, 1000).without("user-agent");
    let bytes = |draft: &Draft| -> usize {
        let of = |(name, value): &(String, String)| name.len() + value.len();
        draft.headers.iter().map(of).sum()
    };
    let optional = [
        "user-agent",
        "x-amz-user-agent",
        "amz-sdk-request",
        "amz-sdk-invocation-id",
    ];
    let full = optional.into_iter().fold(plain(), |draft, name| {
        let left = MAX_HEADERS_LENGTH - bytes(&draft) - name.len();
        draft.with(name, &"x".repeat(left.min(2048)))
    });
    assert_eq!(bytes(&full), MAX_HEADERS_LENGTH);
    full.judge().unwrap();
    let mut over = full;
    over.headers.last_mut().unwrap().1.push('x');
    assert_eq!(over.judge().unwrap_err(), Refusal::Header);
}

#[test]
fn a_deposit_user_puts_its_own_copies_and_entries() {
    for (key, length) in [
        (ENTRY.to_owned(), 64 * 1024),
        (format!("{COPY}/00000001"), 64 << 20),
        (format!("{COPY}/manifest-0001"), 8 << 20),
        (format!("{COPY}/inventory-0001"), 1),
    ] {
        let passage = Draft::put("population", &key, length).judge().unwrap();
        assert_eq!(passage.user, User::Deposit(registry("population")));
        let key: ObjectKey = key.parse().unwrap();
        assert_eq!(passage.action, Action::Put { key, length });
    }
}

#[test]
fn a_put_that_deviates_in_anything_is_refused() {
    let segment = format!("{COPY}/00000001");
    let put = || Draft::put("population", &segment, 1000);
    let of = |user: &str, key: &str, length| Draft::put(user, key, length);
    let elsewhere = segment.replace("population", "business");
    let custody = "registries/population/custody/000000000001";
    let report = "registries/population/reports/drill-1.json";
    let next_term = ENTRY.replace("0001-", "0002-");
    let entry_limit = 64 * 1024;
    for (draft, expected) in [
        (put().without("if-none-match"), Refusal::Unconditional),
        (
            put().without("if-none-match").with("if-none-match", "\"tag\""),
            Refusal::Unconditional,
        ),
        (put().without("content-length"), Refusal::NoLength),
        (
            put().without("content-length").with("content-length", "+5"),
            Refusal::NoLength,
        ),
        (
            put().without("content-length").with("content-length", "05"),
            Refusal::NoLength,
        ),
        (put().with("content-length", "1000"), Refusal::Header),
        (put().without("host"), Refusal::Header),
        (put().without("host").with("host", "gate,other"), Refusal::Header),
        (
            put().with("content-type", "multipart/form-data; boundary=b"),
            Refusal::Header,
        ),
        (
            put().with("content-type", "application/x-www-form-urlencoded"),
            Refusal::Header,
        ),
        (of("population", &segment, 0), Refusal::Length { limit: 64 << 20 }),
        (
            of("population", &segment, (64 << 20) + 1),
            Refusal::Length { limit: 64 << 20 },
        ),
        (
            of("population", ENTRY, entry_limit + 1),
            Refusal::Length { limit: entry_limit },
        ),
        (put().without("x-amz-content-sha256"), Refusal::NoDigest),
        (
            put()
                .without("x-amz-content-sha256")
                .with("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            Refusal::NoDigest,
        ),
        (
            put()
                .without("x-amz-content-sha256")
                .with("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            Refusal::NoDigest,
        ),
        (of("population", &elsewhere, 1), Refusal::OtherPlace),
        (of("population", custody, 1), Refusal::OtherPlace),
        (of("population", report, 1), Refusal::OtherPlace),
        (of("population", "embassy.json", 1), Refusal::OtherPlace),
        (of("population", &next_term, 1), Refusal::OtherTerm),
        (
            of("land", &segment.replace("population", "land"), 1),
            Refusal::Fenced,
        ),
        (of("business.retrieval", &elsewhere, 1), Refusal::OtherPlace),
        (of("health", &segment, 1), Refusal::UnknownUser),
        (of("minioadmin", &segment, 1), Refusal::UnknownUser),
        (of("Population", &segment, 1), Refusal::UnknownUser),
    ] {
        assert_eq!(draft.judge(), Err(expected), "{draft:?}");
    }
}

/// Each of these did something to a locked object on a real store, or is a way to something of the kind.
#[test]
fn the_other_doors_of_a_store_are_shut() {
    let segment = format!("{COPY}/00000001");
    let put = || Draft::put("population", &segment, 1000);
    for (name, value) in [
        ("x-amz-meta-snowball-auto-extract", "true"),
        ("x-amz-meta-minio-snowball-prefix", "registries/population"),
        ("x-minio-source-mtime", "2020-01-01T00:00:00Z"),
        ("x-minio-source-replication-request", "true"),
        ("x-amz-copy-source", "/registries/embassy.json"),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-retain-until-date", "2020-01-01T00:00:00Z"),
        ("x-amz-object-lock-legal-hold", "OFF"),
        ("x-amz-bypass-governance-retention", "true"),
        ("x-amz-acl", "public-read"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-server-side-encryption-customer-key", "a2V5"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("x-amz-website-redirect-location", "/"),
        ("x-amz-write-offset-bytes", "5"),
        ("x-amz-security-token", "token"),
        ("x-http-method-override", "DELETE"),
        ("transfer-encoding", "chunked"),
        ("content-encoding", "aws-chunked"),
        ("connection", "x-amz-date"),
        ("trailer", "x-amz-checksum-sha256"),
        ("if-none-match", "*"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=root"),
    ] {
        assert_eq!(put().with(name, value).judge(), Err(Refusal::Header), "{name}");
    }
    let target = format!("/registries/{segment}");
    for query in [
        "versionId=00000000-0000-0000-0000-000000000000",
        "uploadId=1&partNumber=1",
        "partNumber=1",
        "acl",
        "tagging",
        "retention",
        "legal-hold",
        "append",
        "x-id=PutObject&x-id=PutObject",
        "X-Amz-Signature=00",
        "x-id=%",
        "x-id=a+b",
        "x-id=%0a",
    ] {
        let mut draft = put();
        draft.target = format!("{target}?{query}");
        assert_eq!(draft.judge(), Err(Refusal::Query), "{query}");
    }
    for path in [
        format!("/other/{segment}"),
        format!("//registries/{segment}"),
        format!("/registries//{segment}"),
        format!("/registries/./{segment}"),
        format!("/registries/x/../{segment}"),
        target.replace("population", "p%6fpulation"),
        target.replace("population", "POPULATION"),
        target.replace("00000001", "1"),
        format!("{target}/"),
        format!("https://gate{target}"),
        "*".into(),
        String::new(),
        format!("/registriesX/{segment}"),
        "/registries/anything.txt".into(),
        format!("/{segment}"),
    ] {
        let mut draft = put();
        draft.target.clone_from(&path);
        assert_eq!(draft.judge(), Err(Refusal::Target), "{path}");
    }
    for method in [
        "POST", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "put", "COPY", "",
    ] {
        for target in [target.as_str(), "/registries", "/registries/"] {
            let draft = Draft::of("population", method, target);
            assert_eq!(draft.judge(), Err(Refusal::Method), "{method} {target}");
        }
    }
    assert_eq!(
        Draft::of("population", "PUT", "/registries").judge(),
        Err(Refusal::Method)
    );
}

#[test]
fn only_a_signature_in_the_header_counts() {
    let signed = |value: &str| {
        Draft::get("/registries")
            .without("authorization")
            .with("authorization", value)
    };
    let good = "AWS4-HMAC-SHA256 Credential=population/20261123/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=";
    let signature = "a".repeat(64);
    for value in [
        String::new(),
        "AWS population:c2lnbmF0dXJl".into(),
        "Bearer token".into(),
        good.into(),
        format!("{good}{signature}, Credential=business/20261123/us-east-1/s3/aws4_request"),
        format!("{}{signature}", good.replace("/s3/", "/sts/")),
        format!("{}{signature}", good.replace("population", "population/business")),
        format!("{}{signature}", good.replace("20261123", "tomorrow")),
        format!(
            "{}{signature}",
            good.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")
        ),
    ] {
        assert_eq!(signed(&value).judge(), Err(Refusal::NotSigned), "{value}");
    }
    assert_eq!(
        Draft::get("/registries").without("authorization").judge(),
        Err(Refusal::NotSigned)
    );
    let presigned = "/registries?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=population";
    assert_eq!(
        Draft::get(presigned).without("authorization").judge(),
        Err(Refusal::NotSigned)
    );
    assert_eq!(
        signed(&format!("{}{signature}", good.replace(", ", ","))).action(),
        Err(Refusal::Query)
    );
}

#[test]
fn a_deposit_user_reads_its_ledger_and_asks_about_the_bucket() {
    let read = |target: &str| Draft::get(target).action();
    for key in [
        "embassy.json",
        ENTRY,
        "registries/population/custody/000000000001",
    ] {
        let expected = Ok(Action::Read(key.parse().unwrap()));
        assert_eq!(read(&format!("/registries/{key}")), expected);
        assert_eq!(
            read(&format!("/registries/{key}?versionId=a-b&x-id=GetObject")),
            expected
        );
        assert_eq!(
            Draft::of("population", "HEAD", &format!("/registries/{key}")).action(),
            expected
        );
    }
    for target in [
        "/registries?versioning",
        "/registries/?object-lock=",
        "/registries?location",
    ] {
        assert_eq!(read(target), Ok(Action::Look), "{target}");
    }
    assert_eq!(
        Draft::of("population", "HEAD", "/registries").action(),
        Ok(Action::Look)
    );
    assert_eq!(
        read(&format!("/registries/{COPY}/00000001")),
        Err(Refusal::OtherPlace)
    );
    assert_eq!(
        read("/registries/registries/business/source/0001-000000000001"),
        Err(Refusal::OtherPlace)
    );
    assert_eq!(
        Draft::get(&format!("/registries/{ENTRY}"))
            .with("content-length", "5")
            .judge(),
        Err(Refusal::Body)
    );
    for (digest, expected) in [
        ("UNSIGNED-PAYLOAD", Ok(())),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", Err(Refusal::Header)),
    ] {
        let draft = Draft::get(&format!("/registries/{ENTRY}"))
            .without("x-amz-content-sha256")
            .with("x-amz-content-sha256", digest);
        assert_eq!(draft.judge().map(drop), expected);
    }
    let many = (0..33).fold(Draft::get(&format!("/registries/{ENTRY}")), |draft, number| {
        draft.with(&format!("accept{number}"), "a")
    });
    assert_eq!(many.judge(), Err(Refusal::Header));
}

#[test]
fn a_deposit_user_lists_its_chains_and_nothing_beside_them() {
    let read = |target: &str| Draft::get(target).action();
    for query in [
        "list-type=2&prefix=registries%2Fpopulation%2Fsource%2F&start-after=registries/population/source/0001-000000000042&max-keys=1000",
        "versions&prefix=registries/population/custody/&key-marker=registries/population/custody/000000000001&version-id-marker=b",
        "versions=&prefix=registries%2fpopulation%2fsource%2f0001-000000000042",
    ] {
        assert_eq!(read(&format!("/registries?{query}")), Ok(Action::List), "{query}");
    }
    for (query, expected) in [
        ("", Refusal::Query),
        ("policy", Refusal::Query),
        ("uploads", Refusal::Query),
        ("object-lock&policy", Refusal::Query),
        ("versioning=1", Refusal::Query),
        ("list-type=2", Refusal::Query),
        ("list-type=1&prefix=registries/population/source/", Refusal::Query),
        ("prefix=registries/population/source/", Refusal::Query),
        (
            "list-type=2&metadata=true&prefix=registries/population/source/",
            Refusal::Query,
        ),
        ("list-type=2&prefix=", Refusal::OtherPlace),
        ("list-type=2&prefix=registries/", Refusal::OtherPlace),
        (
            "versions&prefix=registries/population/copies/",
            Refusal::OtherPlace,
        ),
        ("versions&prefix=registries/business/source/", Refusal::OtherPlace),
        // A parser that throws pairs with a semicolon away would list everything.
        ("versions&prefix=registries/population/source/;a", Refusal::Query),
        (
            "versions&prefix=registries/population/source/..%2F..%2Fbusiness/",
            Refusal::OtherPlace,
        ),
        (
            "versions&prefix=registries/population/source/%3Ba",
            Refusal::OtherPlace,
        ),
        (
            "versions&prefix=registries/population/source/&key-marker=registries/business/source/0",
            Refusal::OtherPlace,
        ),
        (
            "list-type=2&prefix=registries/population/source/&start-after=registries/business/",
            Refusal::OtherPlace,
        ),
        (
            "versions&prefix=registries%252Fpopulation%252Fsource%252F",
            Refusal::OtherPlace,
        ),
    ] {
        assert_eq!(read(&format!("/registries?{query}")), Err(expected), "{query}");
    }
}

#[test]
fn a_retrieval_user_reads_by_version_and_only_while_it_may() {
    let copy = COPY.replace("population", "business");
    let read = |user: &str, target: &str| Draft::of(user, "GET", target).action();
    let segment = format!("/registries/{copy}/00000001");
    let expected = Ok(Action::Read(format!("{copy}/00000001").parse().unwrap()));
    assert_eq!(
        read("business.retrieval", &format!("{segment}?versionId=v")),
        expected
    );
    assert_eq!(read("business.retrieval", &segment), Err(Refusal::Query));
    for version in ["", "..", "../v", "a%2Fb", "a..b", "%00", "a b"] {
        let target = format!("{segment}?versionId={version}");
        assert_eq!(
            read("business.retrieval", &target),
            Err(Refusal::Query),
            "{version}"
        );
    }
    let list = "/registries?versions&prefix=registries/business/copies/";
    assert_eq!(read("business.retrieval", list), Ok(Action::List));
    assert_eq!(
        read("business.retrieval", &list.replace("business", "population")),
        Err(Refusal::OtherPlace)
    );
    for target in [list, "/registries/embassy.json", "/registries?versioning"] {
        assert_eq!(
            read("population.retrieval", target),
            Err(Refusal::RetrievalClosed),
            "{target}"
        );
    }
}

fn any_draft() -> impl Strategy<Value = Draft> {
    let user = select(vec![
        "population",
        "business",
        "land",
        "business.retrieval",
        "root",
    ]);
    let draft = select(vec![
        ("PUT", format!("/registries/{COPY}/00000001")),
        ("PUT", format!("/registries/{ENTRY}?x-id=PutObject")),
        ("GET", format!("/registries/{ENTRY}?versionId=a")),
        (
            "GET",
            "/registries?versions&prefix=registries%2Fpopulation%2Fsource%2F".into(),
        ),
        ("HEAD", "/registries".into()),
    ]);
    (user, draft).prop_map(|(user, (method, target))| {
        let draft = Draft::of(user, method, &target);
        if method == "PUT" {
            draft.with("content-length", "1000").with("if-none-match", "*")
        } else {
            draft
        }
    })
}

/// Something changed, in a place where it may matter.
fn any_change() -> impl Strategy<Value = (usize, usize, char)> {
    let character = prop_oneof![
        select("%./?&=-+ ,;:*\0aA0\u{e9}".chars().collect::<Vec<_>>()),
        any::<char>()
    ];
    (any::<usize>(), any::<usize>(), character)
}

proptest! {
    /// Whatever passes is what it is said to be, written in the only way there is to write it.
    #[test]
    fn what_passes_has_one_meaning(draft in any_draft(), changes in prop::collection::vec(any_change(), 0..4)) {
        let mut draft = draft;
        for (place, offset, character) in changes {
            let text = match place % (draft.headers.len() * 2 + 2) {
                0 => &mut draft.method,
                1 => &mut draft.target,
                at if at % 2 == 0 => &mut draft.headers[at / 2 - 1].0,
                at => &mut draft.headers[at / 2 - 1].1,
            };
            let mut changed: Vec<char> = text.chars().collect();
            let at = offset % (changed.len() + 1);
            if offset % 3 == 0 || at == changed.len() {
                changed.insert(at, character);
            } else {
                changed[at] = character;
            }
            *text = changed.into_iter().collect();
        }
        let Ok(passage) = draft.judge() else { return Ok(()) };
        let own = ObjectKey::registry_prefix(passage.user.registry());
        let user = match &passage.user {
            User::Deposit(registry) => registry.to_string(),
            User::Retrieval(registry) => format!("{registry}.retrieval"),
        };
        let header = |name: &str| draft.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
        let credential = format!("Credential={user}/");
        prop_assert!(header("authorization").is_some_and(|value| value.contains(&credential)));
        let (path, query) = draft.target.split_once('?').unwrap_or((&draft.target, ""));
        match passage.action {
            Action::Look => prop_assert!(path.trim_end_matches('/') == "/registries"),
            Action::List => {
                let prefix = format!("prefix={own}");
                prop_assert!(query.replace("%2F", "/").replace("%2f", "/").contains(&prefix));
            }
            Action::Read(key) => {
                prop_assert_eq!(path, format!("/registries/{key}"));
                prop_assert!(key == ObjectKey::Embassy || key.to_string().starts_with(&own));
                prop_assert!(draft.method == "GET" || draft.method == "HEAD");
            }
            Action::Put { key, length } => {
                prop_assert_eq!(path, format!("/registries/{key}"));
                prop_assert!(key.to_string().starts_with(&own));
                prop_assert_eq!(draft.method.as_str(), "PUT");
                prop_assert_eq!(header("if-none-match"), Some("*"));
                prop_assert_eq!(header("content-length").and_then(|text| text.parse().ok()), Some(length));
                prop_assert!(!query.contains("versionId") && !query.contains("uploadId"));
            }
        }
    }
}
