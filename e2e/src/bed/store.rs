//! The embassy's object store: a real MinIO with TLS, and its users.

use std::net::IpAddr;

use anyhow::{Context, Result};
use dataembassy_testkit::minio::{BUCKET, BucketKind, Credentials, SignedClient, StoreUser};

use super::secrets;
use crate::{
    cluster::{Cluster, EMBASSY_NAMES, Site, pki::Authority},
    command::wait_for,
};

/// Where pods of the embassy reach the store: at the port that its own pod listens at, because policies judge packets when a Service's
/// address and port have become a pod's. Its certificate also names `gate.embassy.example` and the node's address.
pub const ENDPOINT: &str = "https://store.embassy.example:9000";
/// The port in it.
const PORT: u16 = 9000;

const NAMESPACE: &str = "store";
const ROOT: &str = "store-root";
const TLS: &str = "store-tls";

/// The store of a running bed.
pub struct Store {
    ca: String,
    root: SignedClient,
}

impl Store {
    /// Starts the store in the embassy, unless it is there, with the bucket that copies go to.
    pub(super) async fn deploy(embassy: &Cluster) -> Result<()> {
        embassy.namespace(NAMESPACE).await?;
        if secrets::read(embassy, NAMESPACE, TLS).await?.is_none() {
            let authority = Authority::make("embassy store")?;
            let mut names = EMBASSY_NAMES.to_vec();
            names.push("store.store.svc.cluster.local");
            let server = authority.server(&names, &[IpAddr::V4(Site::Embassy.node())])?;
            let root = [("accessKeyId", "root"), ("secretAccessKey", &secrets::password())];
            secrets::write(embassy, NAMESPACE, ROOT, &root).await?;
            let tls = [
                ("ca.crt", authority.certificate()),
                ("tls.crt", &server.certificate),
                ("tls.key", &server.key),
            ];
            secrets::write(embassy, NAMESPACE, TLS, &tls).await?;
        }
        let node = Site::Embassy.node().to_string();
        embassy
            .apply(&include_str!("../../manifests/store.yaml").replace("NODE", &node))
            .await?;
        embassy
            .rolled_out("deployment/store", NAMESPACE, super::STARTS)
            .await?;
        let store = Self::connect(embassy).await?;
        // The pod is ready before its Service is known to the node.
        if !store.answers().await? {
            store.make_bucket(BUCKET, BucketKind::Locked).await?;
        }
        Ok(())
    }

    /// A handle on the store that runs in the embassy.
    pub(super) async fn connect(embassy: &Cluster) -> Result<Self> {
        let absent = "the embassy has no store: run `cargo e2e up` first";
        let mut tls = secrets::read(embassy, NAMESPACE, TLS).await?.context(absent)?;
        let mut root = secrets::read(embassy, NAMESPACE, ROOT).await?.context(absent)?;
        let ca = tls
            .remove("ca.crt")
            .context("the store's Secret has no authority")?;
        let credentials = Credentials {
            access_key: root.remove("accessKeyId").context(absent)?,
            secret_key: root.remove("secretAccessKey").context(absent)?,
        };
        let root = SignedClient::new(&ca, Self::address(), credentials)?;
        Ok(Self { ca, root })
    }

    /// The store as this machine reaches it, `host:port`.
    #[must_use]
    pub fn address() -> String {
        format!("{}:{PORT}", Site::Embassy.node())
    }

    /// The certificate of the authority that signed the store's, in PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// Requests of the root user, past every policy: for arranging faults and for looking at what is there.
    #[must_use]
    pub const fn root(&self) -> &SignedClient {
        &self.root
    }

    /// The key of the first segment of a registry's copy.
    pub async fn first_segment(&self, registry: &str, copy: &str) -> Result<String> {
        let prefix = format!("registries/{registry}/copies/{copy}/");
        let versions = self.root.versions(BUCKET, &prefix).await?;
        versions
            .into_iter()
            .map(|version| version.key)
            .find(|key| key[prefix.len()..].parse::<u32>().is_ok())
            .with_context(|| format!("there is no segment under {prefix}"))
    }

    /// The same, for somebody who keeps it.
    #[must_use]
    pub fn into_root(self) -> SignedClient {
        self.root
    }

    /// Makes a bucket.
    pub async fn make_bucket(&self, name: &str, kind: BucketKind) -> Result<()> {
        self.root.make_bucket(name, kind).await
    }

    /// Waits until it answers, as after the node has died under it; says whether its bucket is there.
    pub async fn answers(&self) -> Result<bool> {
        let answered = || async { self.has_bucket(BUCKET).await.map(Some) };
        wait_for("the store", super::STARTS, answered).await
    }

    async fn has_bucket(&self, name: &str) -> Result<bool> {
        let answer = self
            .root
            .send(hyper::Method::HEAD, &format!("/{name}"), &[], &[], Vec::new())
            .await?;
        Ok(answer.status().is_success())
    }

    /// Makes a store user with its policy, or gives an existing one the same again.
    pub async fn user(&self, user: &StoreUser) -> Result<Credentials> {
        self.root.add_user(BUCKET, user).await
    }

    /// The user with which a registry's copies are deposited; it bears the registry's name.
    pub async fn deposit_user(&self, registry: &str) -> Result<Credentials> {
        self.user(&StoreUser::Deposit {
            registry: registry.to_owned(),
        })
        .await
    }
}
