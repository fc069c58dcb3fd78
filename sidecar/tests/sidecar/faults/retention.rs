//! A custodian that lets copies go at a store that has each fault there is: what stays, stays whole, and nothing goes that was not recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::bench::REGISTRY;
use crate::bench::custodian::{Custodian, CustodianBench, newest_only};
use crate::gate::bench::peak_kib;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::entry::{CustodyBody, CustodyEntry};
use dataembassy_testkit::fabricated::{MadeCopy, Shape};
use dataembassy_testkit::fault_proxy::{FaultProxy, Toxic};
use dataembassy_testkit::minio::{BUCKET, BucketKind};
use dataembassy_testkit::seed::Dice;
use hyper::Method;

use super::{MOST_MEMORY, PLACES, assert_no_panic, assert_patient, each, poison};

/// Versions of a whole copy: three segments, inventory, manifest.
const WHOLE: usize = 5;
/// For how long a copy must be in every plan that lets it go: longer than until what was found damaged is looked at again, or a lie about a
/// copy's bytes would let it go.
const PLANNED: &str = "40s";
/// How long a toxic lasts.
const LASTS: Duration = Duration::from_secs(4);
/// How long one that meets nothing but puts, which are few, is waited for.
const LONGEST_OF_PUTS: Duration = Duration::from_secs(16);
const DEADLINE: Duration = Duration::from_secs(150);

struct Subject {
    bench: CustodianBench,
    custodian: Custodian,
    made: Vec<MadeCopy>,
    /// The entries of the custody chain that were read so far, by their keys.
    entries: BTreeMap<String, CustodyBody>,
}

impl Subject {
    /// Keeps the newest whole copy and no other; locks last for two seconds.
    async fn start() -> Self {
        let mut bench = CustodianBench::start_with(BucketKind::Lockable).await;
        bench.lock = Some(Duration::from_secs(2));
        bench.timing.push(("--prove-every", "1s"));
        bench.timing.push(("--expire-every", PLANNED));
        bench.config.immutability.lock_on_arrival = "2s".parse().unwrap();
        bench.config.registries[0].retention = newest_only();
        bench.write_config();
        let made = bench.copies(2, &Shape::default()).await;
        let custodian = bench.custodian();
        Self {
            bench,
            custodian,
            made,
            entries: BTreeMap::new(),
        }
    }

    async fn versions(&self, copy: &MadeCopy) -> usize {
        self.bench.folder(copy.body.copy_id).await.len()
    }

    /// The copies of which not everything is there. One listing tells of all of them: it is asked for several times a second.
    async fn gone(&self) -> BTreeSet<u64> {
        let prefix = format!("registries/{REGISTRY}/copies/");
        let keys = self.bench.minio.keys(BUCKET, &prefix).await.unwrap();
        let registry = self.bench.ledger.registry();
        let is_gone = |copy: &&MadeCopy| {
            let folder = ObjectKey::copy_prefix(registry, copy.body.copy_id);
            keys.iter().filter(|key| key.starts_with(&folder)).count() != WHOLE
        };
        let gone = self.made.iter().filter(is_gone);
        gone.map(|copy| copy.reference.sequence.get()).collect()
    }

    /// Which copies the custody chain has let go, each once. What was read of the chain is not read again.
    async fn recorded(&mut self) -> BTreeSet<u64> {
        let prefix = format!("registries/{REGISTRY}/custody/");
        let keys = self.bench.minio.keys(BUCKET, &prefix).await.unwrap();
        let unread = keys.iter().filter(|key| !self.entries.contains_key(*key));
        let unread: Vec<_> = unread.collect();
        for key in unread {
            let bytes = self.bench.minio.get(BUCKET, key).await.unwrap();
            let body = CustodyEntry::verify(&bytes).unwrap().entry.body;
            self.entries.insert(key.clone(), body);
        }
        let mut recorded = BTreeSet::new();
        for key in &keys {
            match &self.entries[key] {
                CustodyBody::Expiry(body) => {
                    for copy in &body.copies {
                        assert!(
                            recorded.insert(copy.sequence.get()),
                            "{copy:?} was recorded twice"
                        );
                    }
                }
                CustodyBody::Proof(_) => {}
                other => panic!("nobody asked for {other:?}"),
            }
        }
        recorded
    }

    /// What is not whole any more was recorded, and the newest copy is there and stays.
    async fn assert_kept(&mut self, name: &str) {
        let gone = self.gone().await;
        // Asked afterwards: whatever is gone by now was recorded before.
        let recorded = self.recorded().await;
        assert!(
            gone.is_subset(&recorded),
            "{name}: {gone:?} are gone, and recorded were {recorded:?}"
        );
        let newest = self.made.last().unwrap().reference.sequence.get();
        assert!(
            !gone.contains(&newest) && !recorded.contains(&newest),
            "{name}: copy {newest}, the newest, went: {:#?}",
            self.custodian.registry().await
        );
    }

    async fn until_only_newest(&self) {
        let begun = Instant::now();
        let (newest, older) = self.made.split_last().unwrap();
        for copy in older.iter().rev() {
            while self.versions(copy).await > 0 {
                assert!(
                    begun.elapsed() < DEADLINE,
                    "copy {} is still there: {:#?}",
                    copy.reference.sequence.get(),
                    self.custodian.registry().await
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        assert_eq!(self.versions(newest).await, WHOLE);
    }

    /// Lets a copy arrive, and others go, while something is wrong; whether that has struck any request.
    async fn suffers(&mut self, toxic: Toxic, name: &str, dice: &mut Dice, farthest: u64) -> bool {
        let before = self.bench.proxy.asked();
        poison(&self.bench.proxy, toxic, dice, farthest, |_, _| true);
        self.made.extend(self.bench.copies(1, &Shape::default()).await);
        let begun = Instant::now();
        let is_awaited = |proxy: &FaultProxy| {
            let is_rare = !toxic.meets(&Method::GET) && proxy.faults_met() == 0;
            begun.elapsed() < if is_rare { LONGEST_OF_PUTS } else { LASTS }
        };
        while is_awaited(&self.bench.proxy) {
            self.assert_kept(name).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let has_struck = self.bench.proxy.faults_met() > 0;
        assert_patient(name, self.bench.proxy.asked() - before, begun);
        self.bench.proxy.heal();
        let peak = peak_kib(self.custodian.process_id());
        assert!(peak < MOST_MEMORY, "{name}: the custodian took {peak} KiB");
        has_struck
    }

    async fn ends_whole(mut self) {
        self.until_only_newest().await;
        // As somebody reads the chain who has never seen it.
        self.entries.clear();
        self.assert_kept("the end").await;
        let recorded = self.recorded().await;
        assert_eq!(recorded.len(), self.made.len() - 1, "{recorded:?}");
        let prefix = format!("registries/{REGISTRY}/source/");
        let entries = self.bench.minio.keys(BUCKET, &prefix).await.unwrap();
        assert_eq!(
            entries.len(),
            self.made.len(),
            "entries stay, each in one version"
        );
        assert_no_panic(&self.bench.log());
    }
}

async fn retention_suffers(rounds: u64) {
    let dice = Dice::of_the_environment("retention's matrix");
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
async fn retention_lets_nothing_go_because_of_a_fault_of_the_store() {
    retention_suffers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: each fault at ten places, which takes a quarter of an hour"]
async fn retention_lets_nothing_go_because_of_a_fault_at_many_places() {
    retention_suffers(10).await;
}
