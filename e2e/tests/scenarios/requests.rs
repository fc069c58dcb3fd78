//! What the operator at home asks of the API server, as that has written it down.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dataembassy_e2e::{
    command::wait_for,
    product::{OPERATOR, RELEASE_NAMESPACE},
};
use serde_json::Value;

use crate::world::{PATIENCE, World};

/// How often the operator renews its lease.
const RENEWAL: Duration = Duration::from_secs(4);
/// The most that is asked about a namespace while a fault in it lasts, and for how many renewals of the lease that is counted. Whoever tries again
/// without a wait asks ten times as much.
const WHILE_IT_LASTS: (usize, usize) = (30, 3);
/// The most that is asked about mirrors that are changed and mended all the time: at once, and between two renewals. Whoever tries again without a
/// wait asks hundreds of times in between.
const WHILE_IT_CHANGES: (usize, usize) = (200, 25);

/// What the operator asks from some moment on.
pub(crate) struct Requests {
    world: &'static World,
    seen: usize,
    begun: Instant,
}

impl Requests {
    /// From now on.
    pub(crate) fn since_now(world: &'static World) -> Result<Self> {
        let seen = world.home().audit_log()?.lines().count();
        Ok(Self {
            world,
            seen,
            begun: Instant::now(),
        })
    }

    /// How often such a time has begun since: whoever asks so many times within it may have asked so many times as often by now.
    pub(crate) fn spans_of(&self, span: Duration) -> Result<usize> {
        let over = self.begun.elapsed().as_millis() / span.as_millis();
        Ok(usize::try_from(over)? + 1)
    }

    /// Waits until the lease was renewed so many times: every four seconds.
    pub(crate) async fn until_renewed(&self, times: usize) -> Result<()> {
        wait_for("renewals of the lease", PATIENCE, || async {
            let renewed = self.all()?.iter().filter(|event| is_renewal(event)).count();
            Ok((renewed >= times).then_some(()))
        })
        .await
    }

    /// Fails where the operator is in a hurry about a namespace now, with a fault in it that it has told and cannot mend.
    pub(crate) async fn are_few(world: &'static World, namespace: &str) -> Result<()> {
        Self::since_now(world)?.stay_few(namespace, WHILE_IT_LASTS).await
    }

    /// Waits for so many renewals of the lease; fails where more than `most` is asked about a namespace in their time. On a busy machine they come
    /// late, and whoever is in no hurry asks as much more meanwhile.
    pub(crate) async fn stay_few(&self, namespace: &str, (most, renewals): (usize, usize)) -> Result<()> {
        self.until_renewed(renewals).await?;
        let most = most * self.spans_of(RENEWAL * u32::try_from(renewals)?)?;
        let asked = self.about(namespace)?;
        ensure!(
            asked.len() <= most,
            "the operator is in a hurry about {namespace}: {} requests within {renewals} renewals of its lease, and {most} at most: {asked:#?}",
            asked.len()
        );
        Ok(())
    }

    /// Fails where the operator was in a hurry about a namespace, in which somebody has changed things all the time.
    pub(crate) fn were_calm(&self, namespace: &str) -> Result<()> {
        let (at_once, between) = WHILE_IT_CHANGES;
        let renewals = self.all()?.iter().filter(|event| is_renewal(event)).count();
        let asked = self.about(namespace)?.len();
        let most = at_once + between * renewals;
        ensure!(
            asked <= most,
            "the operator was in a hurry about {namespace}: {asked} requests within {renewals} renewals of its lease"
        );
        Ok(())
    }

    /// What it asked about one namespace, as `verb resource name`.
    pub(crate) fn about(&self, namespace: &str) -> Result<Vec<String>> {
        let all = self.all()?;
        let about = all
            .iter()
            .filter(|event| event["objectRef"]["namespace"] == namespace);
        Ok(about.map(told).collect())
    }

    /// Everything that it asked, save for the lease.
    pub(crate) fn besides_the_lease(&self) -> Result<Vec<String>> {
        let all = self.all()?;
        let besides = all
            .iter()
            .filter(|event| event["objectRef"]["resource"] != "leases");
        Ok(besides.map(told).collect())
    }

    fn all(&self) -> Result<Vec<Value>> {
        let user = format!("system:serviceaccount:{RELEASE_NAMESPACE}:{OPERATOR}");
        let log = self.world.home().audit_log()?;
        let events = log.lines().skip(self.seen).filter(|line| line.ends_with('}'));
        let events = events.map(serde_json::from_str::<Value>);
        let mut requests = events.collect::<Result<Vec<_>, _>>()?;
        requests.retain(|event| event["user"]["username"] == user.as_str());
        Ok(requests)
    }
}

fn is_renewal(event: &Value) -> bool {
    event["objectRef"]["resource"] == "leases" && event["verb"] == "update"
}

fn told(event: &Value) -> String {
    let (verb, object) = (&event["verb"], &event["objectRef"]);
    let [verb, resource, name] =
        [verb, &object["resource"], &object["name"]].map(|word| word.as_str().unwrap_or_default());
    format!("{verb} {resource} {name}")
}
