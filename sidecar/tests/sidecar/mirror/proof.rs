//! Home learns from the custody chain alone whether its copies are whole.

use dataembassy_contract::Reason;
use dataembassy_contract::report::{CheckState, Report};
use dataembassy_ledger::entry::{
    BrokenCopy, CopyFault, CustodyBody, DrillBody, EntryRef, IntactCopy, ProofBody, ReportForms, ReportRef,
    Standing,
};
use dataembassy_ledger::value::{CopyId, Sha256Digest, Timestamp};

use crate::bench::mirror::MirrorBench;
use crate::bench::sequence;

#[tokio::test]
async fn home_says_what_the_embassy_has_proven_and_believes_only_its_custodian() {
    let mut bench = MirrorBench::start(17).await;
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let silent = |report: &Report| {
        report.intact.state == CheckState::Unknown && report.intact.message.contains("spec.custodianKeys")
    };
    let report = sidecar.until("no custodian key to be named", silent).await;
    assert_eq!(report.intact.reason, Reason::NotYetKnown);

    bench.trust_custodian();
    let unproven = |report: &Report| report.intact.message.contains("holds no proof");
    sidecar.until("no proof", unproven).await;

    let head: EntryRef = bench.ledger().await.head_reference().unwrap();
    let read_back_at = Timestamp::from_jiff(jiff::Timestamp::now()).unwrap();
    let intact = IntactCopy {
        sequence: head.sequence,
        digest: head.digest,
        at: read_back_at,
    };
    let proof = ProofBody {
        intact: Some(intact),
        standing: Some(Standing::default()),
        ..ProofBody::new(head)
    };
    bench.append_custody(CustodyBody::Proof(proof.clone())).await;
    let report = sidecar
        .until("the proof", |report| report.intact.state == CheckState::True)
        .await;
    assert_eq!(report.intact.reason, Reason::Proven);
    assert!(
        report
            .intact
            .message
            .contains(": the latest copy, copy 1, taken at"),
        "{}",
        report.intact.message
    );
    let proven = report.last_proof.unwrap();
    assert_eq!((proven.sequence, proven.digest), (1, head.digest.to_string()));
    assert_eq!(proven.read_back_at, read_back_at.as_jiff());
    assert_eq!(proven.taken_at, report.last_copy.map(|copy| copy.taken_at));

    let broken = BrokenCopy {
        sequence: sequence(1),
        fault: CopyFault::Changed,
    };
    let proof = ProofBody {
        intact: None,
        broken: vec![broken],
        ..proof
    };
    bench.append_custody(CustodyBody::Proof(proof)).await;
    let report = sidecar
        .until("the broken copy", |report| {
            report.intact.state == CheckState::False
        })
        .await;
    assert_eq!(report.intact.reason, Reason::ObjectChanged);
    assert_eq!(report.last_proof, None);
    sidecar
        .until_metric(r#"dataembassy_mirror_faults{about="proof",reason="ObjectChanged"} 1"#)
        .await;
}

#[tokio::test]
async fn home_says_what_the_embassys_drills_have_shown() {
    let mut bench = MirrorBench::start(17).await;
    bench.trust_custodian();
    let sidecar = bench.sidecar();
    sidecar.until_copy(1).await;
    let undrilled = |report: &Report| report.drilled.reason == Reason::NeverDrilled;
    let report = sidecar.until("no drill", undrilled).await;
    assert_eq!(report.drilled.state, CheckState::Unknown);

    let head: EntryRef = bench.ledger().await.head_reference().unwrap();
    let at = Timestamp::from_jiff(jiff::Timestamp::now()).unwrap();
    let drill = |order: &str, passed| {
        let report = ReportRef {
            version: "1".parse().unwrap(),
            size: 1,
            sha256: Sha256Digest::of(b"a report"),
        };
        CustodyBody::Drill(DrillBody {
            order: order.parse().unwrap(),
            source_entry: head,
            copy_id: CopyId::from_bytes([1; 16]),
            passed,
            started_at: at,
            ended_at: at,
            reports: ReportForms {
                json: report.clone(),
                html: report,
            },
        })
    };
    bench.append_custody(drill("nightly-1", true)).await;
    let report = sidecar
        .until("the drill", |report| report.drilled.state == CheckState::True)
        .await;
    assert_eq!(report.drilled.reason, Reason::Drilled);
    let last = report.last_drilled.unwrap();
    assert_eq!(
        (last.sequence, last.at, last.order.as_str()),
        (1, at.as_jiff(), "nightly-1")
    );

    bench.append_custody(drill("nightly-2", false)).await;
    let report = sidecar
        .until("the failure", |report| report.drilled.state == CheckState::False)
        .await;
    assert_eq!(report.drilled.reason, Reason::DrillFailed);
    assert!(
        report.drilled.message.contains("copy 1 did not pass the drill"),
        "{}",
        report.drilled.message
    );
    assert_eq!(report.last_drilled, None);
    sidecar
        .until_metric(r#"dataembassy_mirror_faults{about="drill",reason="DrillFailed"} 1"#)
        .await;
}
