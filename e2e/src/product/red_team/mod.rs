//! What somebody tries who owns home: each registry's deposit credentials, its signing key, and every request that S3 and MinIO know.
//!
//! Every attempt goes through the gate, as home's only way. What is to be true afterwards is that no committed byte was read, changed or
//! lost, and that the attempts were counted. Beside them stands what home's administrator can try without a request: a registry that is
//! [`hostile`] to whoever restores it, and an activation in home's own cluster.

mod attempts;
mod custody;
mod forgeries;
pub mod hostile;
mod uprising;

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result, ensure};
use dataembassy_contract::gate::REFUSED_HEADER;
use dataembassy_ledger::{
    ObjectKey, RegistryId, Sha256Digest, SigningKey,
    entry::{SourceBody, SourceEntry},
};
use dataembassy_testkit::minio::{BUCKET, Credentials, SignedClient};
use hyper::{Method, StatusCode};

use super::{Product, embassy};
use crate::{bed::secrets, cluster::Site};

/// An attempt that was not refused, or not by whom it should have been.
#[derive(Debug)]
pub struct Slip {
    /// What was tried.
    pub what: &'static str,
    /// What the gate, or the store behind it, answered.
    pub status: StatusCode,
}

impl fmt::Display for Slip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.what, self.status)
    }
}

/// What it came to when everything was tried once.
#[derive(Debug, Default)]
pub struct Round {
    /// How much was tried.
    pub tried: u64,
    /// How often a gate has said by its own word that it refuses: so much it must have counted. An attempt whose connection was cut is none of
    /// these, nor one that the store has refused.
    pub refused: u64,
    /// What was not refused.
    pub slips: Vec<Slip>,
}

/// All versions of a registry's objects in the store, by key and version: size, `ETag`, and the digest of what was read of it.
pub type Holdings = BTreeMap<(String, String), String>;

/// Whatever was there is there, as it was; what was added is not asked for.
pub fn nothing_lost(before: &Holdings, after: &Holdings) -> Result<()> {
    for (version, is) in before {
        let now = after.get(version);
        ensure!(
            now == Some(is),
            "{} (version {}) was {is} and is {}",
            version.0,
            version.1,
            now.map_or("gone", String::as_str)
        );
    }
    Ok(())
}

/// A team that has all of home's credentials for one registry.
pub struct RedTeam {
    registry: RegistryId,
    signer: SigningKey,
    home: SignedClient,
    root: SignedClient,
}

impl RedTeam {
    /// Takes the deposit credentials and the signing key out of home's Secrets.
    pub async fn of(product: &Product, namespace: &str, registry: &str) -> Result<Self> {
        let home = product.bed.home();
        let mut keys = secrets::read(home, namespace, &format!("{registry}-deposit"))
            .await?
            .context("there are no deposit credentials")?;
        let mut take = |key: &str| {
            keys.remove(key)
                .with_context(|| format!("the Secret has no {key}"))
        };
        let credentials = Credentials {
            access_key: take("accessKeyId")?,
            secret_key: take("secretAccessKey")?,
        };
        let signing = secrets::read(home, namespace, &format!("{registry}-signing-key"))
            .await?
            .context("there is no signing key")?;
        let signer = signing
            .get("ssh-privatekey")
            .context("the Secret has no ssh-privatekey")?;
        let authority = embassy::gate_authority(product).await?;
        let store = product.bed.store().await?;
        Ok(Self {
            registry: registry.parse()?,
            signer: SigningKey::from_openssh(signer)?,
            home: SignedClient::new(&authority, format!("{}:443", Site::Embassy.node()), credentials)?,
            root: store.into_root(),
        })
    }

    /// What the registry has in the store now, as the store's root sees it: heads alone, however large it is.
    pub async fn holdings(&self) -> Result<Holdings> {
        self.look(&Method::HEAD).await
    }

    /// The same with every byte read, of a registry that is small.
    pub async fn contents(&self) -> Result<Holdings> {
        self.look(&Method::GET).await
    }

    async fn look(&self, method: &Method) -> Result<Holdings> {
        let prefix = ObjectKey::registry_prefix(&self.registry);
        let mut holdings = Holdings::new();
        for version in self.root.versions(BUCKET, &prefix).await? {
            let path = format!("/{BUCKET}/{}", version.key);
            let query = [("versionId", version.id.as_str())];
            let answer = self
                .root
                .send(method.clone(), &path, &query, &[], Vec::new())
                .await?;
            let header = |name: &str| {
                let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or_default().to_owned()
            };
            let (status, length, tag) = (answer.status(), header("content-length"), header("etag"));
            let digest = Sha256Digest::of(answer.body());
            let is = format!("{status} {length} {tag} {digest}");
            holdings.insert((version.key, version.id), is);
        }
        ensure!(!holdings.is_empty(), "{prefix} is empty");
        Ok(holdings)
    }

    /// Fails unless everything that the registry had is there as it was, by the heads; what was added is not asked for.
    pub async fn still_holds(&self, before: &Holdings) -> Result<()> {
        nothing_lost(before, &self.holdings().await?)
    }

    /// Tries everything once.
    pub async fn attack(&self) -> Result<Round> {
        let newest = self.newest_entry(&self.registry).await?;
        let SourceBody::Copy(copy) = SourceEntry::verify(&newest)?.entry.body;
        // Beside it there may be whatever home's credentials have put.
        let prefix = ObjectKey::copy_prefix(&self.registry, copy.copy_id);
        let versions = self.root.versions(BUCKET, &prefix).await?;
        let is_segment = |key: &str| {
            key.rsplit('/')
                .next()
                .is_some_and(|name| name.parse::<u32>().is_ok())
        };
        let segment = versions
            .iter()
            .find(|version| is_segment(&version.key))
            .context("the registry has no segment")?;
        let mut attempts = attempts::with_credentials(self.registry.as_str(), &segment.key, &segment.id);
        attempts.extend(forgeries::attempts(&newest, &self.signer)?);
        attempts.extend(custody::attempts(
            &newest,
            &self.newest_custody().await?,
            &self.signer,
        )?);
        let mut round = Round::default();
        for attempt in attempts {
            round.tried += 1;
            let (what, is_for_the_store) = (attempt.what, attempt.is_for_the_store);
            // A connection that the gate closes on a body that it does not want is a refusal too.
            let Ok(answer) = attempt.send(&self.home).await else {
                continue;
            };
            let status = answer.status();
            let is_no = status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE;
            if answer.headers().contains_key(REFUSED_HEADER) {
                round.refused += 1;
            } else if !(is_for_the_store && is_no) {
                round.slips.push(Slip { what, status });
            }
        }
        Ok(round)
    }
}

/// What a flood came to.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// How many objects were taken.
    pub taken: usize,
    /// How many were refused.
    pub refused: usize,
}

impl RedTeam {
    /// Puts `objects` new segments of `size` bytes each, as our own client would put them, of a copy that never comes to an entry.
    pub async fn flood(&self, objects: usize, size: usize) -> Result<Flood> {
        let copy = hex::encode(rand::random::<[u8; 16]>());
        let mut flood = Flood { taken: 0, refused: 0 };
        for number in 1..=objects {
            let path = format!("/{BUCKET}/registries/{}/copies/{copy}/{number:08}", self.registry);
            if self.put(&path, vec![0_u8; size]).await? {
                flood.taken += 1;
            } else {
                flood.refused += 1;
            }
        }
        Ok(flood)
    }

    /// Puts something that is no entry where the registry's entry of this number belongs; whether that was taken.
    pub async fn squat(&self, sequence: u64) -> Result<bool> {
        let path = format!(
            "/{BUCKET}/registries/{}/source/0001-{sequence:012}",
            self.registry
        );
        self.put(&path, b"this place is taken".to_vec()).await
    }

    /// Whether a put that nothing is wrong with by its words is taken.
    async fn put(&self, path: &str, body: Vec<u8>) -> Result<bool> {
        let headers = [("if-none-match", "*")];
        let answer = self.home.send(Method::PUT, path, &[], &headers, body).await?;
        Ok(answer.status().is_success())
    }
}
