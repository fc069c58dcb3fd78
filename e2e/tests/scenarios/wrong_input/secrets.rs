//! Secrets that are missing, lack a key, or hold what is none.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use dataembassy_contract::Reason;
use dataembassy_e2e::bed::secrets;
use dataembassy_ledger::SigningKey;
use futures::FutureExt as _;
use serde_json::json;

use super::{MENDED, end, side_by_side, told};
use crate::world::{Ministry, Subject, World, together};

/// What stands where a key should be.
const NO_KEY: &str = "this is no key and yet nobody should read it";

#[test]
fn a_secret_that_is_missing_or_lacks_a_key_is_named_and_used_once_it_is_there() {
    together(scenario);
}

async fn scenario(world: &'static World) -> Result<()> {
    let ministry = world.ministry("wrong-secrets").await?;
    side_by_side(
        world,
        &ministry,
        vec![
            ("the dump role's", the_dump_roles(world, &ministry).boxed_local()),
            ("two at once", two_at_once(world, &ministry).boxed_local()),
            ("the signing key", the_signing_key(world, &ministry).boxed_local()),
        ],
    )
    .await?;
    end(world, &ministry, &[NO_KEY]).await
}

async fn the_dump_roles(world: &World, ministry: &Ministry) -> Result<()> {
    let subject = ministry.small_registry("dump-secret").await?;
    let absent = format!("{}-absent", subject.id);
    subject
        .apply(|spec| spec["source"]["postgresql"]["credentialsRef"]["name"] = json!(absent))
        .await?;
    let words = [
        absent.as_str(),
        "is missing",
        "create it with username and password",
    ];
    for condition in ["Ready", "SourceReachable"] {
        told(condition, Reason::SecretMissing, &words)
            .by_mirror(&subject.mirror)
            .await
            .context("no Secret")?;
    }
    let whole = read(world, &subject, "dump").await?;
    write(world, &subject, &absent, &[("username", &whole["username"])]).await?;
    let words = [absent.as_str(), "lacks the key password", "add it"];
    for condition in ["Ready", "SourceReachable"] {
        told(condition, Reason::SecretKeyMissing, &words)
            .by_mirror(&subject.mirror)
            .await
            .context("no password in it")?;
    }
    let data: Vec<_> = whole
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    write(world, &subject, &absent, &data).await?;
    subject.mirror.copied(1, MENDED).await.map(drop)
}

async fn two_at_once(world: &World, ministry: &Ministry) -> Result<()> {
    let subject = ministry.small_registry("two-secrets").await?;
    let (half, empty) = (format!("{}-half", subject.id), format!("{}-empty", subject.id));
    let deposit = read(world, &subject, "deposit").await?;
    write(
        world,
        &subject,
        &half,
        &[("accessKeyId", &deposit["accessKeyId"])],
    )
    .await?;
    write(
        world,
        &subject,
        &empty,
        &[("ca.pem", "the authority is under another key")],
    )
    .await?;
    subject
        .apply(|spec| {
            spec["depositCredentialsRef"]["name"] = json!(half);
            spec["source"]["postgresql"]["tls"]["caRef"]["name"] = json!(empty);
        })
        .await?;
    let of_deposit = [half.as_str(), "lacks the key secretAccessKey", "add it"];
    let of_authority = [empty.as_str(), "ca.crt", "create it"];
    let both = [of_deposit, of_authority].concat();
    for (condition, reason, words) in [
        ("Ready", Reason::SecretMissing, &both[..]),
        ("StoreReachable", Reason::SecretKeyMissing, &of_deposit),
        ("SourceReachable", Reason::SecretMissing, &of_authority),
    ] {
        told(condition, reason, words).by_mirror(&subject.mirror).await?;
    }
    write(
        world,
        &subject,
        &half,
        &[
            ("accessKeyId", &deposit["accessKeyId"]),
            ("secretAccessKey", &deposit["secretAccessKey"]),
        ],
    )
    .await?;
    let authority = read(world, &subject, "ca").await?;
    write(world, &subject, &empty, &[("ca.crt", &authority["ca.crt"])]).await?;
    subject.mirror.copied(1, MENDED).await.map(drop)
}

async fn the_signing_key(world: &World, ministry: &Ministry) -> Result<()> {
    let subject = ministry.small_registry("own-key").await?;
    let own = format!("{}-signer", subject.id);
    subject
        .apply(|spec| spec["signing"] = json!({"signerRef": {"name": own}}))
        .await?;
    let words = [own.as_str(), "is missing", "create it with ssh-privatekey"];
    told("Ready", Reason::SecretMissing, &words)
        .by_mirror(&subject.mirror)
        .await
        .context("no Secret")?;
    write(world, &subject, &own, &[("ssh-privatekey", NO_KEY)]).await?;
    told("Ready", Reason::SecretInvalid, &["signing key", "OpenSSH"])
        .by_mirror(&subject.mirror)
        .await
        .context("no key in it")?;
    let key = SigningKey::from_seed(&rand::random()).to_openssh()?;
    write(world, &subject, &own, &[("ssh-privatekey", &key)]).await?;
    subject.mirror.copied(1, MENDED).await.map(drop)
}

/// The values of one of the Secrets that the subject came with.
async fn read(world: &World, subject: &Subject, suffix: &str) -> Result<BTreeMap<String, String>> {
    let name = format!("{}-{suffix}", subject.id);
    secrets::read(world.home(), &subject.namespace, &name)
        .await?
        .with_context(|| format!("there is no Secret {name}"))
}

async fn write(world: &World, subject: &Subject, name: &str, data: &[(&str, &str)]) -> Result<()> {
    secrets::write(world.home(), &subject.namespace, name, data).await
}
