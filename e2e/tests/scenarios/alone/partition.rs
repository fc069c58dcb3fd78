//! The link carries one way only: whoever sends hears nothing, or whoever listens is heard by nobody. No answer is ever a refusal. Or it
//! loses a share of what it carries.

use anyhow::{Result, ensure};
use dataembassy_e2e::bed::link::{Fault, break_link, mend_link};
use dataembassy_ledger::entry::SourceBody;

use crate::{
    ledger,
    world::{PATIENCE, Subject, World, alone},
};

/// The trigger that is given while packets are lost.
const LOSSY: &str = "lossy";
/// What a link loses that is bad and still one, in percent.
const LOST: u8 = 10;
/// The faults, with the trigger that is given under each.
const WAYS: [(Fault, &str); 2] = [(Fault::Mute, "mute"), (Fault::Deaf, "deaf")];

#[test]
fn a_link_that_carries_one_way_only_is_told_within_a_minute_and_costs_no_copy() {
    alone(one_way);
}

async fn one_way(world: &'static World) -> Result<()> {
    let ministry = world.ministry("partition").await?;
    let subject = ministry.small_registry("severed").await?;
    subject.apply(|_| {}).await?;
    subject.mirror.copied(1, PATIENCE).await?;
    let outcome = each_way(&subject).await;
    // Whatever came of it, the others need the link.
    mend_link().await?;
    outcome?;
    break_link(Fault::Lossy(LOST)).await?;
    let outcome = lossy(&subject).await;
    mend_link().await?;
    outcome?;
    // An entry whose answer was lost is the same copy, and none was made twice.
    let entries = ledger::whole(world, &subject).await?;
    for word in WAYS.map(|(_, word)| word).into_iter().chain([LOSSY]) {
        let answers = entries.iter().filter(|entry| {
            let SourceBody::Copy(copy) = &entry.body;
            copy.trigger
                .as_ref()
                .is_some_and(|trigger| trigger.as_str() == word)
        });
        ensure!(answers.count() == 1, "{word} was not answered by one copy");
    }
    subject.delete().await
}

/// What is lost is sent again: a copy comes of it, while the link is as it is.
async fn lossy(subject: &Subject) -> Result<()> {
    subject.mirror.trigger(LOSSY).await?;
    let copy = i64::try_from(WAYS.len())? + 2;
    subject.mirror.copied(copy, PATIENCE).await.map(drop)
}

async fn each_way(subject: &Subject) -> Result<()> {
    for (copy, (fault, word)) in (2..).zip(WAYS) {
        break_link(fault).await?;
        subject.outlives("Store", copy, word, mend_link).await?;
    }
    Ok(())
}
