//! Stores that are not there, not the right ones, not ours to use, or not made for it.

use anyhow::{Context, Result};
use dataembassy_contract::Reason;
use dataembassy_e2e::{
    bed::{link, secrets},
    cluster::ASTRAY_NAME,
};
use dataembassy_testkit::{
    authority::Authority,
    minio::{BUCKET, BucketKind, StoreUser},
};
use futures::FutureExt as _;
use serde_json::{Value, json};

use super::{MENDED, end, side_by_side, told};
use crate::{
    embassy::Embassy,
    world::{Ministry, Subject, World, together},
};

const WRONG_SECRET: &str = "a-wrong-secret-that-nobody-else-has";
/// A port of the store's machine where nobody listens, and one that swallows what is sent to it.
const REFUSING_PORT: u16 = 9;
const SWALLOWING_PORT: u16 = 10;

#[test]
fn a_store_that_cannot_be_used_is_told_with_the_reason_and_used_once_it_can_be() {
    together(scenario);
}

async fn scenario(world: &'static World) -> Result<()> {
    let ministry = world.ministry("wrong-store").await?;
    link::swallow(SWALLOWING_PORT).await?;
    side_by_side(
        world,
        &ministry,
        vec![
            ("addresses", addresses(world, &ministry).boxed_local()),
            ("proofs", proofs(world, &ministry).boxed_local()),
            ("buckets", buckets(world, &ministry).boxed_local()),
            ("locks", locks(world, &ministry).boxed_local()),
        ],
    )
    .await?;
    end(world, &ministry, &[WRONG_SECRET]).await
}

/// A mirror and the `DataEmbassy` that is wrong for it.
struct Line {
    world: &'static World,
    subject: Subject,
    embassy: Embassy,
}

impl Line {
    async fn new(world: &'static World, ministry: &Ministry, stem: &str) -> Result<Self> {
        Ok(Self {
            world,
            subject: ministry.small_registry(stem).await?,
            embassy: Embassy::new(world, stem).await?,
        })
    }

    /// Changes the `DataEmbassy` and waits until the mirror says what that makes of the store.
    async fn says(&self, reason: Reason, words: &[&str], change: impl FnOnce(&mut Value)) -> Result<()> {
        self.embassy.apply(change).await?;
        self.mirror().await?;
        told("StoreReachable", reason, words)
            .by_mirror(&self.subject.mirror)
            .await
    }

    async fn mirror(&self) -> Result<()> {
        self.subject
            .apply(|spec| spec["embassyRef"]["name"] = json!(self.embassy.name))
            .await
    }

    /// The store user of the registry may use this bucket, and no other.
    async fn may_use(&self, bucket: &str) -> Result<()> {
        let registry = self.subject.id.clone();
        let store = self.world.product.bed.store().await?;
        store
            .root()
            .add_user(bucket, &StoreUser::Deposit { registry })
            .await
            .map(drop)
    }

    /// Puts everything right.
    async fn mended(&self) -> Result<()> {
        self.may_use(BUCKET).await?;
        self.embassy.apply(|_| ()).await?;
        self.mirror().await?;
        self.subject.mirror.copied(1, MENDED).await.context("mended")?;
        self.embassy.delete().await
    }
}

async fn addresses(world: &'static World, ministry: &Ministry) -> Result<()> {
    let line = Line::new(world, ministry, "store-places").await?;
    let (refusing, swallowing) = (
        format!("https://store.embassy.example:{REFUSING_PORT}"),
        format!("https://store.embassy.example:{SWALLOWING_PORT}"),
    );
    let (unknown, astray) = (
        "https://nowhere.embassy.example",
        format!("https://{ASTRAY_NAME}"),
    );
    for (endpoint, reason, words) in [
        (
            refusing.as_str(),
            Reason::StoreUnreachable,
            &["check endpoint, network policies and the store"][..],
        ),
        (
            &swallowing,
            Reason::StoreUnreachable,
            &["check endpoint, network policies and the store"],
        ),
        (unknown, Reason::StoreUnreachable, &["check endpoint"]),
        (
            &astray,
            Reason::NotSovereign,
            &[
                "169.254.169.254",
                "link-local",
                "give the address of the store or database",
            ],
        ),
    ] {
        let words: Vec<&str> = words.iter().copied().chain([endpoint]).collect();
        line.says(reason, &words, |spec| spec["store"]["endpoint"] = json!(endpoint))
            .await
            .context(endpoint.to_owned())?;
    }
    line.mended().await
}

async fn proofs(world: &'static World, ministry: &Ministry) -> Result<()> {
    let line = Line::new(world, ministry, "store-proofs").await?;
    let other = Authority::new("another authority")?.certificate();
    line.says(
        Reason::StoreTlsFailed,
        &["gate.embassy.example", "caBundle"],
        |spec| {
            spec["store"]["caBundle"] = json!(other);
        },
    )
    .await
    .context("another authority")?;
    let (home, namespace) = (world.home(), &line.subject.namespace);
    let name = format!("{}-deposit", line.subject.id);
    let right = secrets::read(home, namespace, &name)
        .await?
        .context("there are no credentials")?;
    for (what, user, secret, code) in [
        (
            "a wrong secret",
            &right["accessKeyId"],
            WRONG_SECRET,
            "SignatureDoesNotMatch",
        ),
        (
            "an unknown user",
            &line.world.unique("nobody"),
            WRONG_SECRET,
            "InvalidAccessKeyId",
        ),
    ] {
        let data = [("accessKeyId", user.as_str()), ("secretAccessKey", secret)];
        secrets::write(home, namespace, &name, &data).await?;
        let words = [code, "correct accessKeyId and secretAccessKey"];
        line.says(Reason::StoreCredentialsRefused, &words, |_| ())
            .await
            .context(what)?;
    }
    let right: Vec<_> = right
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    secrets::write(home, namespace, &name, &right).await?;
    line.mended().await
}

async fn buckets(world: &'static World, ministry: &Ministry) -> Result<()> {
    let line = Line::new(world, ministry, "store-buckets").await?;
    let (missing, blank) = (world.unique("missing"), world.unique("blank"));
    // A store tells that a bucket does not exist only to who may use it.
    let words = [missing.as_str(), "compare the user's policy", "check that bucket"];
    line.says(Reason::StoreAccessDenied, &words, |spec| {
        spec["store"]["bucket"] = json!(missing);
    })
    .await
    .context("a bucket that is not the user's")?;
    line.may_use(&missing).await?;
    let words = [
        missing.as_str(),
        "has no bucket",
        "correct the name",
        "store init",
    ];
    line.says(Reason::BucketMissing, &words, |spec| {
        spec["store"]["bucket"] = json!(missing);
    })
    .await
    .context("a bucket that is missing")?;
    world
        .product
        .bed
        .store()
        .await?
        .make_bucket(&blank, BucketKind::Locked)
        .await?;
    line.may_use(&blank).await?;
    let words = [blank.as_str(), "has no embassy.json", "run `store init`"];
    line.says(Reason::StoreNotInitialised, &words, |spec| {
        spec["store"]["bucket"] = json!(blank);
    })
    .await
    .context("a bucket that was not made ready")?;
    line.mended().await
}

async fn locks(world: &'static World, ministry: &Ministry) -> Result<()> {
    let line = Line::new(world, ministry, "store-locks").await?;
    for (stem, kind, reason, words) in [
        (
            "plain",
            BucketKind::Plain,
            Reason::NoVersioning,
            &["versioning off", "switch it on"][..],
        ),
        (
            "versioned",
            BucketKind::Versioned,
            Reason::NoObjectLock,
            &["no Object Lock", "COMPLIANCE for at least 1 day"],
        ),
        (
            "lockable",
            BucketKind::Lockable,
            Reason::NoObjectLock,
            &["no default retention", "COMPLIANCE for at least 1 day"],
        ),
    ] {
        let bucket = world.unique(stem);
        world
            .product
            .bed
            .store()
            .await?
            .make_bucket(&bucket, kind)
            .await?;
        line.may_use(&bucket).await?;
        let words: Vec<&str> = words.iter().copied().chain([bucket.as_str()]).collect();
        line.says(reason, &words, |spec| spec["store"]["bucket"] = json!(bucket))
            .await
            .context(stem)?;
    }
    line.may_use(BUCKET).await?;
    let words = [BUCKET, "COMPLIANCE for 1 day", "COMPLIANCE for at least 14 days"];
    line.says(Reason::NoObjectLock, &words, |spec| {
        spec["immutability"]["lockOnArrival"] = json!("14d");
    })
    .await
    .context("locks that are too short")?;
    line.mended().await
}
