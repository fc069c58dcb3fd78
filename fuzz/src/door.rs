//! Requests at the gate: whatever passes names one object or one listing of its own registry, in one way.
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
    let headers = headers
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim().as_bytes()))
        .collect();
    let request = Request { method, target, headers };
    let Ok(passage) = rules.judge(&request) else { return };
    let registry = passage.user.registry();
    assert_eq!(registry.as_str(), "population");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match passage.action {
        Action::Look | Action::List => assert!(method != "PUT" && path.trim_end_matches('/') == "/registries"),
        Action::Read(key) => {
            assert!(matches!(method, "GET" | "HEAD"));
            assert_eq!(path, format!("/registries/{key}"));
            assert!(key == ObjectKey::Embassy || key.registry() == Some(registry));
        }
        Action::Put { key, length } => {
            assert!(method == "PUT" && !passage.user.is_retrieval() && length <= 64 << 20);
            assert_eq!(path, format!("/registries/{key}"));
            assert_eq!(key.registry(), Some(registry));
            assert!(query.is_empty() || query.trim_matches('&').starts_with("x-id="));
        }
    }
});
