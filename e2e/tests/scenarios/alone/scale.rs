//! Many registries, long ledgers and a copy larger than any disk, in the pod that the operator makes if nobody says anything. Alone, for what a
//! custodian and an operator of that many take is all that there is of two processors.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dataembassy_crds::{ConditionStatus, RegistryCustody};
use dataembassy_e2e::{
    bed::{Store, secrets, store::ENDPOINT},
    cluster::container::{Container, Memory},
    command::wait_for,
    product::{RELEASE_NAMESPACE, custody::Custody, embassy},
};
use dataembassy_ledger::{Sha256Digest, SigningKey};
use dataembassy_testkit::{
    fabricated::{Depositor, MadeLedger, RECIPIENT, Shape},
    many::{self, Extent, MadeRegistry, Signers},
    minio::BucketKind,
};
use k8s_openapi::api::core::v1::ContainerStatus;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, alone};

/// The custodian's limit if nobody says anything, in bytes.
const LIMIT: u64 = 128 << 20;
/// A hundred registries of two hundred copies each.
const EXTENT: Extent = Extent {
    registries: 100,
    entries: 200,
    unproven: 5,
};
/// Within this time of a custodian's start every head is shown.
const KNOWN: Duration = Duration::from_mins(1);
/// Between two looks at all of them.
const PAUSE: Duration = Duration::from_secs(2);
/// Within this time everything is examined and read back.
const READ: Duration = Duration::from_mins(25);
/// The segments of a copy of 10 TB, of 16 MiB each.
const SEGMENTS: u64 = 650_000;

#[test]
#[ignore = "long: it makes 80,000 objects, and a manifest of 82 MB"]
fn the_custodians_default_limit_holds_for_100_registries_and_a_copy_of_10_terabytes() {
    alone(holds);
}

#[expect(clippy::print_stdout, reason = "how near the limits it came is worth knowing")]
async fn holds(world: &'static World) -> Result<()> {
    let scale = Scale::begin(world).await?;
    let (store, home) = (
        world.product.bed.store().await?,
        SigningKey::from_seed(&rand::random()),
    );
    let custodian = SigningKey::from_openssh(&world.product.keys.custodian)?;
    store.make_bucket(&scale.name, BucketKind::Locked).await?;
    let mut depositor = Depositor::connect(store.root(), &scale.name).await?;
    let origin = depositor.initialise(&custodian).await?;
    let signers = Signers {
        home: &home,
        custodian: &custodian,
    };
    let begun = Instant::now();
    let made = many::make(store.root(), &scale.name, origin, signers, EXTENT).await?;
    println!("{EXTENT:?} made in {:?}", begun.elapsed());

    let signer = home.public_key().to_string();
    let accepted: Vec<_> = made
        .iter()
        .map(|one| scale.custody(one, &signer).to_string())
        .collect();
    world
        .product
        .bed
        .embassy()
        .apply(&accepted.join("\n---\n"))
        .await?;
    scale.run(&store).await?;
    let (known, container) = scale.heads(&made).await?;
    println!("every head is known after {known:?}");
    ensure!(known <= KNOWN, "the heads were known after {known:?} only");

    // Beside everything else that it has to look at.
    let huge = Shape {
        segments: SEGMENTS,
        segment_bytes: 16 << 20,
        phantom: true,
        ..Shape::default()
    };
    let mut ledger = MadeLedger::new(origin, many::registry(EXTENT.registries + 1)?, home);
    // The store has closed what it was connected by: nobody has spoken for a minute.
    let mut depositor = Depositor::connect(store.root(), &scale.name).await?;
    let copy = ledger.copy(&mut depositor, &huge).await?;
    ensure!(
        copy.body.totals.sealed_bytes > 10_000_000_000_000,
        "{:?}",
        copy.body.totals
    );
    let id = ledger.registry().to_string();
    let manifest = scale.accepted(&id, &signer, copy.reference.sequence.get(), copy.reference.digest);
    world.product.bed.embassy().apply(&manifest.to_string()).await?;
    let custody = Custody::of(&world.product, &id);
    // Who reads it back misses them one by one, and may be heard before who counts them.
    let all = format!("{SEGMENTS} objects");
    let said = wait_for(&format!("{all} to be missed"), READ, || async {
        let said = custody
            .condition("Intact", ConditionStatus::False, Some("ObjectMissing"), READ)
            .await?;
        Ok(Some(said).filter(|said| said.contains(&all)))
    })
    .await?;
    println!("{SEGMENTS} segments judged: {said}");
    for one in &made {
        Custody::of(&world.product, one.ledger.registry().as_str())
            .condition("Intact", ConditionStatus::True, None, READ)
            .await?;
    }
    let memory = container.memory()?;
    println!("everything is read back after {:?}: {memory:?}", begun.elapsed());
    let Memory { limit, kills, .. } = memory;
    ensure!(limit == LIMIT && kills == 0, "{memory:?}");
    ensure!(
        scale.custodian().await?.restart_count == 0,
        "the custodian was started again"
    );
    scale.end(&made, &id).await
}

/// An embassy of the scenario's own, in the embassy's cluster, with a bucket of the same name.
struct Scale {
    world: &'static World,
    name: String,
}

impl Scale {
    async fn begin(world: &'static World) -> Result<Self> {
        let name = world.unique("scale");
        let root = secrets::read(world.product.bed.embassy(), "store", "store-root")
            .await?
            .context("the store has no root user")?;
        let keys: Vec<_> = root
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        // The custody user of the bed is bound to the bed's bucket.
        secrets::write(world.product.bed.embassy(), RELEASE_NAMESPACE, &name, &keys).await?;
        Ok(Self { world, name })
    }

    /// The acceptance of a registry, whose head somebody vouches for.
    fn custody(&self, made: &MadeRegistry, signer: &str) -> Value {
        let id = made.ledger.registry().as_str();
        self.accepted(id, signer, made.head.sequence.get(), made.head.digest)
    }

    fn accepted(&self, id: &str, signer: &str, sequence: u64, digest: Sha256Digest) -> Value {
        json!({
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "RegistryCustody",
            "metadata": {"name": id},
            "spec": {
                "embassyRef": {"name": self.name},
                "registry": {"id": id},
                "signers": [{"publicKey": signer}],
                "rpo": "1h",
                "retention": {"keepWithin": "30d"},
                "confirmedHead": {"sequence": sequence, "digest": digest.to_string()},
            },
        })
    }

    /// Has the operator run a custodian.
    async fn run(&self, store: &Store) -> Result<()> {
        let keys = &self.world.product.keys;
        let embassy = json!({
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "DataEmbassy",
            "metadata": {"name": self.name},
            "spec": {
                "store": {"endpoint": ENDPOINT, "bucket": self.name, "caBundle": store.ca()},
                "immutability": {"lockOnArrival": "1d"},
                "recipients": [{"name": "nobody", "publicKey": RECIPIENT}],
                "custodianKeys": [{"publicKey": keys.custodian_public}],
                "sovereignty": {"allowedHosts": ["store.embassy.example"]},
                "custodian": {
                    "credentialsRef": {"name": self.name},
                    "signerRef": {"name": "custodian-key"},
                    "storePods": {"namespace": "store", "port": 9000},
                    "gate": {"replicas": 1, "tlsRef": {"name": "gate-tls"}},
                },
            },
        });
        self.world
            .product
            .bed
            .embassy()
            .apply(&embassy.to_string())
            .await
            .map(drop)
    }

    /// The custodian's container, once it runs.
    async fn custodian(&self) -> Result<ContainerStatus> {
        wait_for("the custodian of many", PATIENCE, || async {
            let pod = embassy::pod_of(&self.world.product, &self.name, "custodian").await?;
            let containers = pod.status.and_then(|status| status.container_statuses);
            Ok(containers.and_then(|all| all.into_iter().next()))
        })
        .await
    }

    /// Waits until the resources show every head; tells how long after the custodian's start that was.
    async fn heads(&self, made: &[MadeRegistry]) -> Result<(Duration, Container)> {
        let status = self.custodian().await?;
        let begun = Instant::now();
        let id = status.container_id.as_deref().unwrap_or_default();
        let container = self.world.product.bed.embassy().container(id)?;
        let custodies: Api<RegistryCustody> = Api::all(self.world.product.bed.embassy().client().clone());
        wait_for("every head", 2 * KNOWN, || async {
            let all = custodies.list(&ListParams::default()).await?;
            let known = made.iter().filter(|one| {
                let shown = all
                    .items
                    .iter()
                    .find(|custody| custody.spec.registry.id == one.ledger.registry().as_str());
                let head = shown.and_then(|custody| custody.status.as_ref()?.source_head.as_ref());
                head.is_some_and(|head| head.digest == one.head.digest.to_string())
            });
            if known.count() == made.len() {
                return Ok(Some(()));
            }
            // A list of so many costs the machine as much as a good part of what is measured.
            tokio::time::sleep(PAUSE).await;
            Ok(None)
        })
        .await?;
        Ok((begun.elapsed(), container))
    }

    /// Ends the custody of everything; what is in the store is locked, and stays until the bed goes.
    async fn end(&self, made: &[MadeRegistry], huge: &str) -> Result<()> {
        let embassy = self.world.product.bed.embassy();
        let mut custodies = vec!["delete", "registrycustody", huge];
        custodies.extend(made.iter().map(|one| one.ledger.registry().as_str()));
        embassy.kubectl(custodies).await?;
        embassy.kubectl(["delete", "dataembassy", &self.name]).await?;
        embassy
            .kubectl(["delete", "secret", &self.name, "--namespace", RELEASE_NAMESPACE])
            .await
            .map(drop)
    }
}
