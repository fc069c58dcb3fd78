//! Wrong input: within a minute its reason is to be read, in words that name what is wrong and say what to do; once it is mended, copies
//! are made. What is secret is told nowhere.
//!
//! A theme is a test. It has one or more lines: mirrors that go through one fault after another, side by side, and are mended at the end.

mod api_server;
mod ledger;
mod operator;
mod secrets;
mod source;
mod store;

use std::{fmt, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use dataembassy_contract::Reason;
use dataembassy_crds::{Condition, DataEmbassy};
use dataembassy_e2e::{
    command::wait_for,
    product::{RELEASE_NAMESPACE, mirror::Mirror},
};
use futures::future::{LocalBoxFuture, join_all};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, api::ListParams};
use serde_json::Value;

use crate::{
    requests::Requests,
    world::{MINUTE, Ministry, World},
};

/// Within this time of being mended, a mirror is to have its copy.
const MENDED: Duration = Duration::from_secs(90);
/// The keys of Secrets whose values nobody may ever read anywhere else.
const SECRET_KEYS: [&str; 4] = ["password", "secretAccessKey", "ssh-privatekey", "tls.key"];

/// What is to be read about a fault.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    condition: &'a str,
    reason: Reason,
    /// What the message must have: what is wrong, and what to do about it.
    words: &'a [&'a str],
}

/// A reason, in a condition of whatever status, with words of its message.
pub(crate) const fn told<'a>(condition: &'a str, reason: Reason, words: &'a [&'a str]) -> Told<'a> {
    Told {
        condition,
        reason,
        words,
    }
}

impl Told<'_> {
    /// Waits until a mirror says it of its newest generation.
    pub(crate) async fn by_mirror(self, mirror: &Mirror) -> Result<()> {
        self.by(|| async {
            let found = mirror.get().await?;
            let conditions = found.status.map(|status| status.conditions);
            Ok((found.metadata.generation, conditions.unwrap_or_default()))
        })
        .await
    }

    /// Waits until a `DataEmbassy` says it of its newest generation.
    async fn by_embassy(self, world: &World, name: &str) -> Result<()> {
        let api: Api<DataEmbassy> = Api::all(world.home().client().clone());
        self.by(|| async {
            let found = api.get(name).await?;
            let conditions = found.status.map(|status| status.conditions);
            Ok((found.metadata.generation, conditions.unwrap_or_default()))
        })
        .await
    }

    async fn by<F>(self, ask: impl Fn() -> F) -> Result<()>
    where
        F: Future<Output = Result<(Option<i64>, Vec<Condition>)>>,
    {
        let what = self.to_string();
        let said = wait_for(&what, MINUTE, || async {
            let (generation, conditions) = ask().await?;
            Ok(self.is_among(&conditions, generation).then_some(()))
        });
        let Err(error) = said.await else { return Ok(()) };
        let (generation, conditions) = ask().await?;
        let shown = serde_json::to_string_pretty(&conditions)?;
        Err(error.context(format!("of generation {generation:?} is said: {shown}")))
    }

    fn is_among(self, conditions: &[Condition], generation: Option<i64>) -> bool {
        conditions.iter().any(|found| {
            found.type_ == self.condition
                && found.reason == self.reason.as_str()
                && Some(found.observed_generation) == generation
                && self.words.iter().all(|word| found.message.contains(word))
        })
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} to say {}, with {:?}",
            self.condition, self.reason, self.words
        )
    }
}

/// Goes through lines side by side; fails with all that failed, or where the operator was in a hurry about any of it.
async fn side_by_side(
    world: &'static World,
    ministry: &Ministry,
    lines: Vec<(&str, LocalBoxFuture<'_, Result<()>>)>,
) -> Result<()> {
    let requests = Requests::since_now(world)?;
    let ends = join_all(
        lines
            .into_iter()
            .map(|(name, line)| async move { (name, line.await) }),
    )
    .await;
    let failed: Vec<String> = ends
        .into_iter()
        .filter_map(|(name, end)| Some(format!("{name}: {:#}", end.err()?)))
        .collect();
    if failed.is_empty() {
        return requests.were_calm(&ministry.namespace);
    }
    bail!("{}", failed.join("\n\n"))
}

/// Applies what the API server must refuse, with these words; returns all that it says.
pub(crate) async fn refused(world: &World, manifest: &Value, words: &[&str]) -> Result<String> {
    let Err(error) = world.home().apply(&manifest.to_string()).await else {
        bail!("this was let in: {manifest}");
    };
    let said = format!("{error:#}");
    for word in words {
        ensure!(said.contains(word), "'{word}' is not in: {said}");
    }
    Ok(said)
}

/// Whatever a user can read about a ministry's mirrors: no value of its Secrets may be in it, nor any of these.
async fn nothing_secret_is_told(world: &World, ministry: &Ministry, more: &[&str]) -> Result<()> {
    let (home, namespace) = (world.home(), ministry.namespace.as_str());
    let secrets: Api<Secret> = Api::namespaced(home.client().clone(), namespace);
    let values = secrets.list(&ListParams::default()).await?.items.into_iter();
    let values = values.flat_map(|secret| secret.data.unwrap_or_default());
    let mut hidden: Vec<String> = more.iter().map(ToString::to_string).collect();
    for (_, ByteString(value)) in values.filter(|(key, _)| SECRET_KEYS.contains(&key.as_str())) {
        // Of a key in PEM form a line will do, but not its first one, which all keys have.
        let text = String::from_utf8_lossy(&value).into_owned();
        let line = text
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .max_by_key(|line| line.len());
        hidden.extend(line.map(str::to_owned));
    }
    ensure!(!hidden.is_empty(), "there is nothing to hide in {namespace}");

    let kinds = "registrymirrors,configmaps,deployments,pods,events";
    let objects = home
        .kubectl(["get", kinds, "--namespace", namespace, "-o", "yaml"])
        .await?;
    ensure!(
        objects.contains("kind: Event"),
        "nothing was told by events in {namespace}"
    );
    let mut read = vec![("what can be read in its namespace".to_owned(), objects)];
    let embassies = home
        .kubectl([
            "get",
            "dataembassies",
            "-o",
            "jsonpath={range .items[*]}{.status}{end}",
        ])
        .await?;
    read.push(("the status of a DataEmbassy".to_owned(), embassies));
    let pods = home
        .kubectl([
            "get",
            "pods",
            "--namespace",
            namespace,
            "-o",
            "jsonpath={.items[*].metadata.name}",
        ])
        .await?;
    for pod in pods.split_whitespace() {
        let log = home.logs(namespace, pod).await?;
        ensure!(!log.is_empty(), "{pod} has logged nothing");
        read.push((format!("the log of {pod}"), log));
    }
    let operator = home
        .logs(RELEASE_NAMESPACE, "deployment/dataembassy-operator")
        .await?;
    read.push(("the operator's log".to_owned(), operator));
    for (what, text) in read {
        let leaked = hidden.iter().filter(|secret| text.contains(*secret)).count();
        // Which one is not said: this is a log, too.
        ensure!(
            leaked == 0,
            "{what} holds {leaked} of {} secret values",
            hidden.len()
        );
    }
    Ok(())
}

/// Ends a theme: nothing secret was told, and its pods make room for those of others.
async fn end(world: &World, ministry: &Ministry, more: &[&str]) -> Result<()> {
    nothing_secret_is_told(world, ministry, more).await?;
    let arguments = ["delete", "namespace", &ministry.namespace, "--wait=false"];
    world
        .home()
        .kubectl(arguments)
        .await
        .context("clearing away")
        .map(drop)
}
