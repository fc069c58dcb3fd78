//! Every door of `store check`, tried through a gate before a real store: none opens.

use dataembassy_contract::sovereignty::Loopback;
use dataembassy_contract::{Endpoint, Sovereignty};
use dataembassy_ledger::value::Term;
use dataembassy_sidecar::store::StoreSettings;
use dataembassy_sidecar::store::check::{CheckError, CheckResult, Finding, Kind, Outcome, Plan, check};
use dataembassy_testkit::minio::{BUCKET, Credentials, StoreUser};

use super::bench::{GateBench, lane};
use crate::bench::deposit_keys;

const CHECKS: &str = "check-0a1b2c3d";

async fn through(bench: &GateBench, user: &Credentials) -> Result<CheckResult, CheckError> {
    let endpoint = Endpoint::parse(&format!("https://{}", bench.gate), false).unwrap();
    let sovereignty = Sovereignty::default().with_loopback(Loopback::Allowed);
    let settings = StoreSettings::new(endpoint, BUCKET.into(), "us-east-1".into(), sovereignty).unwrap();
    let authority = bench.authority.certificate();
    check(&Plan {
        settings: settings.with_ca_bundle(Some(authority)).unwrap(),
        deposit: deposit_keys(user),
        witness: None,
        through_gate: true,
        term: Term::FIRST,
        governance_suffices: false,
        least_days: 1,
    })
    .await
}

async fn check_user(bench: &GateBench) -> Credentials {
    let registry = CHECKS.into();
    let user = StoreUser::Deposit { registry };
    bench.store.minio.add_user(BUCKET, &user).await.unwrap()
}

#[tokio::test]
async fn no_door_opens_through_a_gate_and_what_mirrors_need_passes() {
    let bench = GateBench::start_with(|config| config.lanes.push(lane(CHECKS))).await;
    let user = check_user(&bench).await;
    let result = through(&bench, &user).await.unwrap();
    assert!(
        result.bad().is_empty() && result.open_doors().is_empty(),
        "{}",
        result.table()
    );
    for finding in &result.findings {
        let is_well = match (finding.kind, finding.probe) {
            // What a lock does only a witness sees, who does not come through a gate.
            (_, "LockOnArrival" | "LockedDelete" | "LockedShorten") => finding.outcome == Outcome::NotTried,
            // The store itself answers these.
            (Kind::Duty | Kind::Wish, _) => finding.outcome == Outcome::Done,
            // Nobody can make the marker through a gate.
            (_, "PutOverDeleteMarker") => finding.outcome == Outcome::NotTried,
            _ => finding.outcome == Outcome::RefusedByGate,
        };
        assert!(is_well, "{finding:?}");
    }
    refused_for_what_is_wrong_with_them(&result);
    let place = format!("registries/{CHECKS}/");
    let keys = bench.store.minio.keys(BUCKET, "").await.unwrap();
    assert!(keys.iter().all(|key| key.starts_with(&place)), "{keys:?}");
}

/// A probe that a gate refuses for something that an attacker would have done better shows nothing.
fn refused_for_what_is_wrong_with_them(result: &CheckResult) {
    let code = |probe: &str| {
        let finding: &Finding = result.findings.iter().find(|one| one.probe == probe).unwrap();
        finding.code.as_str()
    };
    for by_header in [
        "UnpackConditionally",
        "Backdate",
        "BackdatedReplica",
        "ForeignTag",
        "ReplicaWithoutLock",
        "ShortLock",
        "LongLock",
        "LegalHold",
        "PublicObject",
        "Tags",
        "Metadata",
        "CustomerKey",
        "StoreKey",
        "StorageClass",
        "Redirect",
        "ContentEncoding",
        "Copy",
        "CopySegmentToChain",
        "TwoConditions",
        "ReadInsideEntry",
    ] {
        assert_eq!(code(by_header), "Header", "{by_header}");
    }
    for (probes, word) in [
        (
            &["PutWithoutCondition", "PutIfMatch", "ConditionByTag"][..],
            "Unconditional",
        ),
        (
            &["NewPutByVersionId", "UploadPart", "ReadLock", "ListEverything"],
            "Query",
        ),
        (
            &[
                "OtherRegistry",
                "CustodyEntry",
                "StoreDocument",
                "ReadSegment",
                "ListNeighbour",
            ],
            "OtherPlace",
        ),
        (
            &[
                "DeleteVersion",
                "DeleteMany",
                "MultipartStart",
                "SetVersioning",
                "MakeBucket",
            ],
            "Method",
        ),
        (&["UnsignedBody", "SignedChunks", "UnsignedTrailer"], "NoDigest"),
        (&["AnonymousPut", "PresignedPut", "OldSignature"], "NotSigned"),
        (&["OutsideGrammar", "ClimbingKey"], "Target"),
        (&["TooLong", "Empty"], "Length"),
        (&["OtherTerm"], "OtherTerm"),
    ] {
        for probe in probes {
            assert_eq!(code(probe), word, "{probe}");
        }
    }
}

#[tokio::test]
async fn a_gate_that_does_not_know_the_registry_for_checks_is_told_apart_from_one_without_holes() {
    let bench = GateBench::start().await;
    let user = check_user(&bench).await;
    let refused = through(&bench, &user).await.unwrap_err().to_string();
    assert!(
        refused.contains("UnknownUser") && refused.contains("knows the registry"),
        "{refused}"
    );
}
