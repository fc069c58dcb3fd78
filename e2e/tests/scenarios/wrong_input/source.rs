//! Databases that are not there, not the right ones, or not to be trusted.

use anyhow::{Context, Result};
use dataembassy_contract::Reason;
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{
    bed::{postgresql::DUMP_ROLE, secrets},
    cluster::ASTRAY_NAME,
    command::wait_for,
};
use dataembassy_testkit::authority::Authority;
use futures::FutureExt as _;
use serde_json::json;

use super::{MENDED, end, side_by_side, told};
use crate::world::{MINUTE, Ministry, Subject, World, together};

const WRONG_PASSWORD: &str = "a-wrong-password-that-nobody-else-has";

#[test]
fn a_database_that_cannot_be_read_is_told_with_the_reason_and_read_once_it_can_be() {
    together(scenario);
}

async fn scenario(world: &'static World) -> Result<()> {
    let ministry = world.ministry("wrong-source").await?;
    side_by_side(
        world,
        &ministry,
        vec![
            ("places", places(world, &ministry).boxed_local()),
            ("proofs", proofs(world, &ministry).boxed_local()),
            ("cleartext", cleartext(&ministry).boxed_local()),
        ],
    )
    .await?;
    end(world, &ministry, &[WRONG_PASSWORD]).await
}

async fn says(subject: &Subject, reason: Reason, words: &[&str]) -> Result<()> {
    told("SourceReachable", reason, words)
        .by_mirror(&subject.mirror)
        .await?;
    // The store has no part in it.
    subject
        .mirror
        .condition("StoreReachable", ConditionStatus::True, None, MINUTE)
        .await
        .map(drop)
}

async fn places(world: &World, ministry: &Ministry) -> Result<()> {
    let subject = ministry.small_registry("places").await?;
    let host = format!("nowhere.{}.svc.cluster.local", ministry.namespace);
    let change = |field: &'static str, value: serde_json::Value| {
        let subject = &subject;
        async move {
            subject
                .apply(|spec| spec["source"]["postgresql"][field] = value)
                .await
        }
    };
    change("host", json!(host)).await?;
    says(
        &subject,
        Reason::SourceUnreachable,
        &[&host, "spec.source.postgresql.host"],
    )
    .await
    .context("a host that does not exist")?;
    change("port", json!(5433)).await?;
    let place = format!("{}:5433", subject.server.full_host());
    says(
        &subject,
        Reason::SourceUnreachable,
        &[&place, "check host, port and network policies"],
    )
    .await
    .context("a port where nobody listens")?;
    change("host", json!(ASTRAY_NAME)).await?;
    says(&subject, Reason::NotSovereign, &["169.254.169.254", "link-local"])
        .await
        .context("a name that leads to a link-local address")?;
    change("host", json!("169.254.169.254")).await?;
    let words = ["spec.source.postgresql.host", "169.254.169.254", "link-local"];
    told("Stalled", Reason::NotSovereign, &words)
        .by_mirror(&subject.mirror)
        .await
        .context("a link-local address")?;
    let database = format!("{}-gone", subject.id);
    change("database", json!(database)).await?;
    says(
        &subject,
        Reason::DatabaseMissing,
        &[&database, "spec.source.postgresql.database"],
    )
    .await
    .context("a database that does not exist")?;
    world.home().apply(&subject.manifest().to_string()).await?;
    subject.mirror.copied(1, MENDED).await.map(drop)
}

async fn proofs(world: &World, ministry: &Ministry) -> Result<()> {
    let subject = ministry.small_registry("proofs").await?;
    let (home, namespace) = (world.home(), &subject.namespace);
    let (login, other_ca) = (format!("{}-dump", subject.id), format!("{}-other-ca", subject.id));
    let right = secrets::read(home, namespace, &login)
        .await?
        .context("there is no login")?;
    let login_with = |password: String| {
        let login = &login;
        async move {
            let data = [("username", DUMP_ROLE), ("password", password.as_str())];
            secrets::write(home, namespace, login, &data).await
        }
    };
    login_with(WRONG_PASSWORD.to_owned()).await?;
    subject.apply(|_| ()).await?;
    let words = [
        DUMP_ROLE,
        "password",
        "check username and password in the credentials Secret",
    ];
    says(&subject, Reason::SourceAuthenticationFailed, &words)
        .await
        .context("a wrong password")?;
    let other = Authority::new("another authority")?.certificate();
    secrets::write(home, namespace, &other_ca, &[("ca.crt", &other)]).await?;
    subject
        .apply(|spec| spec["source"]["postgresql"]["tls"]["caRef"]["name"] = json!(other_ca))
        .await?;
    let host = subject.server.full_host();
    says(&subject, Reason::SourceTlsFailed, &[&host, "tls.caRef"])
        .await
        .context("another authority")?;
    login_with(right["password"].clone()).await?;
    subject.apply(|_| ()).await?;
    subject.mirror.copied(1, MENDED).await.map(drop)
}

/// Its name is what makes the server ask for the password as it is: see the servers' access rules.
async fn cleartext(ministry: &Ministry) -> Result<()> {
    let subject = ministry.small_registry("cleartext").await?;
    let admin = subject.connect().await?;
    // A server that was there before has the rule in its file soon, and follows it when it is told to.
    wait_for("the rule in the server's file", MINUTE, || async {
        let rules = "SELECT FROM pg_hba_file_rules WHERE auth_method = 'password'";
        let there = admin.query_opt(rules, &[]).await?.is_some();
        Ok(there.then_some(()))
    })
    .await?;
    admin.batch_execute("SELECT pg_reload_conf()").await?;
    subject.apply(|_| ()).await?;
    let words = ["clear text", "refused", "scram-sha-256", "pg_hba.conf"];
    says(&subject, Reason::SourceAuthenticationRefused, &words).await
}
