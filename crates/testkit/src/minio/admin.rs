//! Store users by MinIO's administration interface, with the policies that we ship.

use anyhow::{Result, anyhow};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{pbkdf2, rand};
use hyper::Method;

use super::{Credentials, SignedClient};

const DEPOSIT: &str = include_str!("../../../../docs/store-policies/deposit.json");
const CUSTODY: &str = include_str!("../../../../docs/store-policies/custody.json");
const RETRIEVAL: &str = include_str!("../../../../docs/store-policies/retrieval.json");

/// Who a store user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUser {
    /// Puts new objects of one registry and reads its ledger; named like the registry.
    Deposit {
        /// The registry.
        registry: String,
    },
    /// The custodian.
    Custody,
    /// Reads one registry; named `<registry>.retrieval`.
    Retrieval {
        /// The registry.
        registry: String,
    },
}

impl StoreUser {
    /// The user's name, which is its access key.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Deposit { registry } => registry.clone(),
            Self::Custody => "custody".into(),
            Self::Retrieval { registry } => format!("{registry}.retrieval"),
        }
    }

    /// The policy that we ship for it.
    pub(crate) fn policy(&self, bucket: &str) -> String {
        let template = match self {
            Self::Deposit { .. } => DEPOSIT.to_owned(),
            Self::Custody => CUSTODY.to_owned(),
            Self::Retrieval { registry } => RETRIEVAL.replace("REGISTRY", registry),
        };
        template.replace("arn:aws:s3:::BUCKET", &format!("arn:aws:s3:::{bucket}"))
    }
}

impl SignedClient {
    /// Makes a store user with its policy; called on the root user's client.
    pub async fn add_user(&self, bucket: &str, user: &StoreUser) -> Result<Credentials> {
        let name = user.name();
        let credentials = self
            .set_secret(&name, &format!("secret-of-{name}-in-a-test"))
            .await?;
        let policy = format!("{name}-in-{bucket}");
        self.add_policy(&policy, user.policy(bucket)).await?;
        self.set_policies(&name, &policy).await?;
        Ok(credentials)
    }

    /// Denies a store user that is there every put below a prefix, until [`add_user`](Self::add_user) gives it its own policy again; called on
    /// the root user's client.
    pub async fn withhold_puts(&self, bucket: &str, user: &StoreUser, prefix: &str) -> Result<()> {
        let name = user.name();
        let withheld = format!("{name}-without-puts");
        let statement = serde_json::json!({
            "Effect": "Deny",
            "Action": ["s3:PutObject"],
            "Resource": [format!("arn:aws:s3:::{bucket}/{prefix}*")],
        });
        let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [statement]});
        self.add_policy(&withheld, policy.to_string()).await?;
        self.set_policies(&name, &format!("{name}-in-{bucket},{withheld}"))
            .await
    }

    async fn add_policy(&self, name: &str, policy: String) -> Result<()> {
        self.admin("add-canned-policy", &[("name", name)], policy.into())
            .await
    }

    /// Gives a user these policies, separated by commas, and no others.
    async fn set_policies(&self, user: &str, policies: &str) -> Result<()> {
        let query = [
            ("isGroup", "false"),
            ("policyName", policies),
            ("userOrGroup", user),
        ];
        self.admin("set-user-or-group-policy", &query, Vec::new()).await
    }

    /// Makes a store user without rights, or gives the one there is another secret.
    pub(super) async fn set_secret(&self, name: &str, secret_key: &str) -> Result<Credentials> {
        let account = serde_json::json!({"secretKey": secret_key, "status": "enabled"});
        let account = seal(&self.credentials().secret_key, account.to_string().as_bytes())?;
        self.admin("add-user", &[("accessKey", name)], account).await?;
        Ok(Credentials {
            access_key: name.to_owned(),
            secret_key: secret_key.to_owned(),
        })
    }

    async fn admin(&self, call: &str, query: &[(&str, &str)], body: Vec<u8>) -> Result<()> {
        self.expect(Method::PUT, &format!("/minio/admin/v3/{call}"), query, &[], body)
            .await
            .map(drop)
    }
}

/// Seals an administration request with the caller's secret, as MinIO asks: salt, algorithm, nonce, and one fragment of
/// AES-256-GCM whose associated data says that it is the last.
fn seal(password: &str, plain: &[u8]) -> Result<Vec<u8>> {
    const PBKDF2_AES_GCM: u8 = 2;
    const ROUNDS: u32 = 8192;
    const LAST: u8 = 0x80;
    let refused = |_| anyhow!("an administration request cannot be sealed");
    let (mut salt, mut prefix, mut key) = ([0; 32], [0; 8], [0; 32]);
    rand::fill(&mut salt).map_err(refused)?;
    rand::fill(&mut prefix).map_err(refused)?;
    let rounds = std::num::NonZeroU32::new(ROUNDS).unwrap_or(std::num::NonZeroU32::MIN);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        rounds,
        &salt,
        password.as_bytes(),
        &mut key,
    );
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).map_err(refused)?);
    let nonce = |fragment: u32| {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&prefix);
        nonce[8..].copy_from_slice(&fragment.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    };
    let mut associated = vec![LAST];
    let mut nothing = Vec::new();
    key.seal_in_place_append_tag(nonce(0), Aad::empty(), &mut nothing)
        .map_err(refused)?;
    associated.extend(nothing);
    let mut fragment = plain.to_vec();
    key.seal_in_place_append_tag(nonce(1), Aad::from(&associated), &mut fragment)
        .map_err(refused)?;
    Ok([&salt[..], &[PBKDF2_AES_GCM], &prefix, &fragment].concat())
}
