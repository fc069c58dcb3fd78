//! Both operators are killed again and again, at moments that nobody has chosen, while mirrors come, change and go. In the end everything is as it
//! was asked for last, and nothing was done twice.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::{cluster::Cluster, command::wait_for};
use dataembassy_testkit::seed::Dice;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::ListParams};

use super::kill;
use crate::{
    ledger,
    world::{PATIENCE, Subject, World, alone},
};

/// How many mirrors there are.
const MIRRORS: usize = 3;
/// The longest time between two kills, in milliseconds. Who was killed gives no lease up, so the next one waits up to 15 s for it.
const LONGEST: u64 = 25_000;

#[test]
fn operators_that_are_killed_at_any_moment_lose_nothing_and_do_nothing_twice() {
    alone(|world| killed(world, 6));
}

#[test]
#[ignore = "long: half an hour"]
fn operators_that_are_killed_at_any_of_two_hundred_moments_lose_nothing_and_do_nothing_twice() {
    alone(|world| killed(world, 200));
}

async fn killed(world: &'static World, times: usize) -> Result<()> {
    let dice = Dice::of_the_environment("killed operators");
    under_fire(world, &dice, times)
        .await
        .with_context(|| dice.how_to_replay())
}

async fn under_fire(world: &'static World, dice: &Dice, times: usize) -> Result<()> {
    let ministry = world.ministry(&format!("mortal-{times}")).await?;
    let mut lines = Vec::new();
    for number in 1..=MIRRORS {
        let subject = ministry
            .small_registry(&format!("mortal-{times}-{number}"))
            .await?;
        lines.push(Line { subject, last: None });
    }
    let (mut pauses, mut choices) = (dice.part("pauses"), dice.part("choices"));
    for turn in 0..times {
        let line = &mut lines[turn % MIRRORS];
        // The first one that there is is made again in any case.
        let again = choices.below(4) == 0 || turn == MIRRORS;
        line.go_on(turn, again).await?;
        tokio::time::sleep(Duration::from_millis(pauses.below(LONGEST))).await;
        let site = if choices.below(2) == 0 {
            world.home()
        } else {
            world.product.bed.embassy()
        };
        kill(site, "operator").await?;
    }
    for line in &lines {
        line.settled(world).await?;
    }
    let deployments = deployments(world.home(), &ministry.namespace).await?;
    ensure!(deployments.len() == MIRRORS, "there are {deployments:?}");
    for line in &lines {
        line.subject.delete().await?;
    }
    Ok(())
}

async fn deployments(home: &Cluster, namespace: &str) -> Result<Vec<String>> {
    let api: Api<Deployment> = Api::namespaced(home.client().clone(), namespace);
    let found = api.list(&ListParams::default()).await?;
    Ok(found.into_iter().filter_map(|one| one.metadata.name).collect())
}

/// A mirror, and what it was asked for last.
struct Line {
    subject: Subject,
    last: Option<String>,
}

impl Line {
    /// Asks for another copy: of a new mirror, of the one that there is, or of one that is made again.
    async fn go_on(&mut self, turn: usize, again: bool) -> Result<()> {
        let word = format!("turn {turn}");
        let there = self.last.is_some();
        if there && again {
            self.subject.delete().await?;
        }
        if there && !again {
            self.subject.mirror.trigger(&word).await?;
        } else {
            self.subject
                .apply(|spec| spec["trigger"] = word.as_str().into())
                .await?;
        }
        self.last = Some(word);
        Ok(())
    }

    /// Waits until what was asked for last is done; no trigger was answered by two copies.
    async fn settled(&self, world: &World) -> Result<()> {
        let mirror = &self.subject.mirror;
        let what = format!("the answer of mirror {}", self.subject.id);
        wait_for(&what, PATIENCE, || async {
            let answered = mirror.get().await?.status.and_then(|status| status.last_trigger);
            Ok((answered == self.last).then_some(()))
        })
        .await?;
        mirror
            .condition("Ready", ConditionStatus::True, None, PATIENCE)
            .await?;
        let entries = ledger::whole(world, &self.subject).await?;
        let answers: Vec<_> = ledger::triggers(&entries).into_iter().flatten().collect();
        let different: HashSet<_> = answers.iter().collect();
        ensure!(different.len() == answers.len(), "answered twice: {answers:?}");
        ensure!(
            answers.last().copied() == self.last.as_deref(),
            "not the last word: {answers:?}"
        );
        Ok(())
    }
}
