//! A custodian that counts and reads back at a store that has each fault there is, while copies go on arriving. One copy is truly damaged: of
//! that one nobody may ever say that it is intact.

use std::time::{Duration, Instant};

use crate::bench::REGISTRY;
use crate::bench::custodian::{Custodian, CustodianBench, damage, on_disk};
use crate::gate::bench::peak_kib;
use dataembassy_contract::custodian::RegistryReport;
use dataembassy_contract::report::CheckState;
use dataembassy_ledger::entry::CustodyBody;
use dataembassy_ledger::key::CopyObject;
use dataembassy_testkit::fabricated::Shape;
use dataembassy_testkit::fault_proxy::Toxic;
use dataembassy_testkit::minio::BUCKET;
use dataembassy_testkit::seed::Dice;
use hyper::Method;

use super::{MOST_MEMORY, PLACES, assert_no_panic, assert_patient, each, poison};

/// How long a toxic lasts where nothing meets it.
const LONGEST: Duration = Duration::from_secs(4);
/// The same of one that meets nothing but puts, which are few.
const LONGEST_OF_PUTS: Duration = Duration::from_secs(16);
/// How long a toxic lasts after it was met.
const SHORTEST: Duration = Duration::from_millis(1_500);
/// What was found wrong is looked at again after half a minute, whether it was a lie or not.
const HEALING: Duration = Duration::from_secs(150);
/// The copy that is damaged on the store's disk.
const DAMAGED: u64 = 1;

struct Subject {
    bench: CustodianBench,
    custodian: Custodian,
    copies: u64,
}

impl Subject {
    async fn start() -> Self {
        let mut bench = CustodianBench::start().await;
        bench.timing.push(("--prove-every", "1s"));
        let made = bench.copies(2, &Shape::default()).await;
        let object = CopyObject::Segment(made[0].segments[1].number);
        let object = bench.ledger.object(made[0].body.copy_id, object);
        damage(&on_disk(&bench.minio, &object.to_string()));
        let custodian = bench.custodian();
        let subject = Self {
            bench,
            custodian,
            copies: 2,
        };
        subject
            .until("the damage to be found", Duration::from_mins(1), |report| {
                report.verification.verified == 1 && !report.alarms.is_empty()
            })
            .await;
        subject
    }

    /// Waits until the report is as it is wanted; in all of them, the damaged copy is not called intact.
    async fn until(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&RegistryReport) -> bool,
    ) -> RegistryReport {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < patience {
            if let Some(report) = self.custodian.registry().await {
                self.assert_honest(what, &report);
                if wanted(&report) {
                    return report;
                }
                last = Some(report);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("waited in vain for {what}; the last report: {last:#?}");
    }

    fn assert_honest(&self, what: &str, report: &RegistryReport) {
        assert_ne!(report.intact.state, CheckState::True, "{what}: {report:#?}");
        let mut damaged = report.copies.iter().filter(|copy| copy.sequence == DAMAGED);
        assert!(
            damaged.all(|copy| copy.intact != CheckState::True),
            "{what}: {report:#?}"
        );
        assert!(
            u64::from(report.verification.verified) < self.copies,
            "{what}: {report:#?}"
        );
        assert!(
            report.copies.iter().all(|copy| copy.sequence <= self.copies),
            "{what}: {report:#?}"
        );
    }

    /// Lets copies arrive while something is wrong; whether that has struck any request.
    async fn suffers(&mut self, toxic: Toxic, name: &str, dice: &mut Dice, farthest: u64) -> bool {
        let before = self.bench.proxy.asked();
        poison(&self.bench.proxy, toxic, dice, farthest, |_, _| true);
        self.copies += 1;
        self.bench.copies(1, &Shape::default()).await;
        let longest = if toxic.meets(&Method::GET) {
            LONGEST
        } else {
            LONGEST_OF_PUTS
        };
        let (begun, mut met) = (Instant::now(), None);
        while begun.elapsed() < longest && met.is_none_or(|met: Instant| met.elapsed() < SHORTEST) {
            if met.is_none() && self.bench.proxy.faults_met() > 0 && begun.elapsed() > SHORTEST {
                met = Some(Instant::now());
            }
            if let Some(report) = self.custodian.registry().await {
                self.assert_honest(name, &report);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let has_struck = self.bench.proxy.faults_met() > 0;
        assert_patient(name, self.bench.proxy.asked() - before, begun);
        self.bench.proxy.heal();
        let copies = self.copies;
        let is_known = |report: &RegistryReport| {
            report
                .source_head
                .as_ref()
                .is_some_and(|head| head.sequence == copies)
        };
        let what = format!("the copy that came amid {name}");
        self.until(&what, HEALING, is_known).await;
        let peak = peak_kib(self.custodian.process_id());
        assert!(peak < MOST_MEMORY, "{name}: the custodian took {peak} KiB");
        has_struck
    }

    /// Everything is known again, and said rightly.
    async fn ends_whole(self) {
        let copies = self.copies;
        let is_right = |report: &RegistryReport| {
            let others = report
                .alarms
                .iter()
                .filter(|alarm| alarm.sequence != Some(DAMAGED));
            u64::from(report.verification.verified) == copies - 1
                && u64::from(report.verification.copies) == copies
                && report.ledger.state == CheckState::True
                && others.count() == 0
                && report.alarms.len() == 1
        };
        self.until("everything to be right", HEALING, is_right).await;
        let report = self.custodian.report().await.unwrap();
        assert_eq!(report.store.state, CheckState::True, "{report:#?}");
        let view = self.bench.view().await;
        assert!(view.head().is_some());
        let entries = self.bench.custody_entries().await;
        assert!(
            entries.iter().all(|entry| matches!(entry, CustodyBody::Proof(_))),
            "{entries:#?}"
        );
        for chain in ["source", "custody"] {
            let prefix = format!("registries/{REGISTRY}/{chain}/");
            let keys = self.bench.minio.keys(BUCKET, &prefix).await.unwrap();
            let mut once = keys.clone();
            once.dedup();
            assert_eq!(keys, once, "an entry has two versions");
        }
        assert_no_panic(&self.bench.log());
    }
}

async fn a_custodian_suffers(rounds: u64) {
    let dice = Dice::of_the_environment("the custodian's matrix");
    let mut subject = Subject::start().await;
    for (toxic, name, mut dice) in each(&dice, rounds, Toxic::ALL) {
        let mut has_struck = false;
        for farthest in PLACES {
            has_struck = has_struck || subject.suffers(toxic, &name, &mut dice, farthest).await;
        }
        assert!(has_struck, "{name} has struck nothing");
    }
    Box::pin(subject.ends_whole()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custodian_believes_no_fault_of_its_store_and_knows_everything_when_it_is_over() {
    a_custodian_suffers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: each fault at ten places, which takes a quarter of an hour"]
async fn a_custodian_believes_no_fault_of_its_store_at_many_places() {
    a_custodian_suffers(10).await;
}
