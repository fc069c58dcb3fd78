//! Requests at the gate: whatever passes names one object or one listing of its own registry, in one way, whoever reads it.
//!
//! Input: `<method> <target>` on the first line, then a header on each line.
#![no_main]

use dataembassy_ledger::door::{Action, Lane, Request, Rules};
use dataembassy_ledger::{ObjectKey, Term};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let lane = Lane {
        term: Term::new(1).expect("in bounds"),
        fenced: false,
        home_may_retrieve: true,
    };
    let rules = Rules {
        bucket: "registries".into(),
        lanes: [("population".parse().expect("an id"), lane)].into(),
    };
    let (first, headers) = text.split_once('\n').unwrap_or((text, ""));
    let Some((method, target)) = first.split_once(' ') else { return };
    let headers: Vec<_> = headers
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim().as_bytes()))
        .collect();
    let request = Request {
        method,
        target,
        headers: headers.clone(),
    };
    let Ok(passage) = rules.judge(&request) else { return };
    let registry = passage.user.registry();
    assert_eq!(registry.as_str(), "population");
    let own = "registries/population/";
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let values = |name: &str| -> Vec<String> {
        let pairs = lenient(query);
        pairs.into_iter().filter(|pair| pair.0.eq_ignore_ascii_case(name)).map(|pair| pair.1).collect()
    };
    let header = |name: &str| -> Vec<&[u8]> {
        let same = headers.iter().filter(|header| header.0.eq_ignore_ascii_case(name));
        same.map(|header| header.1).collect()
    };
    assert_eq!(header("host").len(), 1);
    assert_eq!(header("authorization").len(), 1);
    for hidden in ["transfer-encoding", "trailer", "upgrade", "te", "range", "x-amz-copy-source"] {
        assert!(header(hidden).is_empty(), "{hidden}");
    }
    match passage.action {
        Action::Look => assert!(method != "PUT" && path.trim_end_matches('/') == "/registries"),
        Action::List => {
            assert!(method == "GET" && path.trim_end_matches('/') == "/registries");
            let prefixes = values("prefix");
            assert_eq!(prefixes.len(), 1);
            for mark in prefixes.iter().chain(&values("key-marker")).chain(&values("start-after")) {
                assert!(mark.starts_with(own) && !mark.contains(".."), "{mark}");
            }
        }
        Action::Read(key) => {
            assert!(matches!(method, "GET" | "HEAD"));
            assert_eq!(path, format!("/registries/{key}"));
            assert!(key == ObjectKey::Embassy || key.registry() == Some(registry));
            assert!(values("versionId").iter().all(|id| !id.contains('/') && !id.contains("..")));
        }
        Action::Put { key, length } => {
            assert!(method == "PUT" && !passage.user.is_retrieval() && length <= 64 << 20);
            assert_eq!(path, format!("/registries/{key}"));
            assert_eq!(key.registry(), Some(registry));
            assert!(lenient(query).iter().all(|pair| pair.0 == "x-id"));
            assert_eq!(header("if-none-match"), [b"*"]);
            assert_eq!(header("content-length"), [length.to_string().as_bytes()]);
        }
    }
});

/// A query as the most lenient of stores reads it: pairs end at `&` and at `;`, a `+` is a blank, escapes are resolved in names too.
fn lenient(query: &str) -> Vec<(String, String)> {
    let pairs = query.split(['&', ';']).filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

fn decode(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                let number = std::str::from_utf8(&digits).ok();
                number.and_then(|number| u8::from_str_radix(number, 16).ok()).unwrap_or(b'%')
            }
            plain => plain,
        });
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
