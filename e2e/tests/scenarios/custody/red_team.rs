//! Home is in the enemy's hands: a minute of everything that its credentials can be tried for, what its key can be made to sign, a registry that is
//! made to harm whoever restores it, and orders in home's own cluster.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dataembassy_crds::{ConditionStatus, DrillOutcome};
use dataembassy_e2e::{
    command::wait_for,
    product::{
        custody::{self, Custody},
        drill::Drilling,
        embassy,
        red_team::{RedTeam, hostile, nothing_lost},
    },
};
use serde_json::json;

use super::{PROVEN, proven};
use crate::world::{MINUTE, PATIENCE, Subject, World, together};

/// How long it goes on.
const ASSAULT: Duration = Duration::from_mins(1);
/// Everything of a drill on a machine that is busy with other things.
const DRILLED: Duration = Duration::from_mins(8);
/// A mebibyte: eight of them are the quota, and a copy has a few kilobytes.
const MEBI: usize = 1024 * 1024;

#[test]
fn a_minute_of_everything_that_home_can_try_costs_no_byte_and_is_counted() {
    together(assault);
}

async fn assault(world: &'static World) -> Result<()> {
    let ministry = world.ministry("red-team").await?;
    let (subject, other) = tokio::try_join!(
        ministry.small_registry("besieged"),
        ministry.small_registry("bystander")
    )?;
    subject.connect().await?.batch_execute(hostile::CONTENT).await?;
    let (custody, _) = tokio::try_join!(proven(world, &subject), other.mirrored())?;
    // Home knows by the ledger, so the custody chain has an entry that a forged one can come behind.
    let mirror = &subject.mirror;
    mirror
        .condition("Intact", ConditionStatus::True, None, PATIENCE)
        .await?;
    let team = RedTeam::of(&world.product, &ministry.namespace, &subject.id).await?;
    let before = team.contents().await?;
    tokio::try_join!(
        besieged(world, &team, &custody),
        flooded(world, &team, &custody),
        risen(world, &team, &ministry.namespace),
        drilled(world, &subject),
    )?;
    nothing_lost(&before, &team.contents().await?)?;
    custody
        .condition("Intact", ConditionStatus::True, None, MINUTE)
        .await?;
    let custodian = &world.product.keys.custodian_public;
    team.custodian_alone_has_spoken(custodian).await?;

    squatted(&team, &custody).await?;
    forge(&team, &custody, &other).await?;
    nothing_lost(&before, &team.contents().await?)?;
    team.custodian_alone_has_spoken(custodian).await?;
    subject.delete().await?;
    other.delete().await
}

/// Everything again and again for a minute: it is refused, counted and told.
async fn besieged(world: &World, team: &RedTeam, custody: &Custody) -> Result<()> {
    let known = embassy::refused_requests(&world.product, custody.name()).await?;
    let (began, mut tried, mut refused) = (Instant::now(), 0, 0);
    while began.elapsed() < ASSAULT {
        let round = team.attack().await?;
        let through: Vec<_> = round.slips.iter().map(ToString::to_string).collect();
        ensure!(through.is_empty(), "not refused: {}", through.join("; "));
        (tried, refused) = (tried + round.tried, refused + round.refused);
    }
    // Without answers there would be nothing to hold the count against.
    ensure!(
        refused >= tried / 2,
        "only {refused} of {tried} attempts were answered"
    );
    let counted = embassy::refused_requests(&world.product, custody.name()).await?;
    ensure!(
        counted >= known + refused,
        "{refused} of {tried} attempts were refused; what the gates count went from {known} to {counted}"
    );
    let (told, why) = (ConditionStatus::True, Some("RequestsRefused"));
    custody.condition("Suspicious", told, why, MINUTE).await.map(drop)
}

/// Meanwhile as much as the quota takes is put; it is told, and there is room again as soon as somebody gives it.
async fn flooded(world: &World, team: &RedTeam, custody: &Custody) -> Result<()> {
    let id = custody.name();
    custody::allow(&world.product, id, &json!({"quota": "8Mi"})).await?;
    // Until the gates have heard of it they take what comes, and the custodian counts it.
    wait_for("the flood to be stopped", PATIENCE, || async {
        let flood = team.flood(4, MEBI).await?;
        Ok((flood.taken == 0).then_some(()))
    })
    .await?;
    let (full, why) = (ConditionStatus::False, Some("QuotaExceeded"));
    custody.condition("SpaceSufficient", full, why, MINUTE).await?;
    custody::allow(&world.product, id, &json!({"quota": "1Gi"})).await?;
    wait_for("room behind the flood", PATIENCE, || async {
        let flood = team.flood(1, 64).await?;
        Ok((flood.taken == 1).then_some(()))
    })
    .await
}

/// Meanwhile home's administrator activates at home, with approvals of home's own key.
async fn risen(world: &World, team: &RedTeam, namespace: &str) -> Result<()> {
    let told = team.rise(world.home(), namespace, PATIENCE).await?;
    ensure!(told.contains("activated at the embassy"), "{told}");
    Ok(())
}

/// Meanwhile the embassy restores what home has made to harm it: every way was tried and refused, and no code of home's has run.
async fn drilled(world: &World, subject: &Subject) -> Result<()> {
    let drilling = Drilling::begin(&world.product, &subject.id, |spec| {
        spec["assertions"] = hostile::questions();
    })
    .await?;
    let ended = drilling.answered("first", DRILLED).await?;
    ensure!(ended.result == DrillOutcome::Passed, "{ended:?}");
    drilling.delete().await
}

/// A number far ahead that is taken is told.
async fn squatted(team: &RedTeam, custody: &Custody) -> Result<()> {
    ensure!(team.squat(40).await?, "the gate knows which number is next?");
    let (unsound, why) = (ConditionStatus::False, Some("LedgerGap"));
    let said = custody.condition("LedgerSound", unsound, why, MINUTE).await?;
    ensure!(said.contains("0001-000000000040"), "{said}");
    Ok(())
}

/// What home's own key has signed a gate lets through; the custodian tells it apart, and what was committed before stands.
async fn forge(team: &RedTeam, custody: &Custody, other: &Subject) -> Result<()> {
    let foreign = team.pass_off(&other.id).await?;
    let ahead = team.run_ahead().await?;
    // The copy must be read back before it is known that its segments are not there.
    let lost = custody
        .condition("Intact", ConditionStatus::False, Some("ObjectMissing"), PROVEN)
        .await?;
    ensure!(lost.contains(&format!("copy {foreign}:")), "{lost}");
    let unsound = custody
        .condition(
            "LedgerSound",
            ConditionStatus::False,
            Some("ForeignSignature"),
            MINUTE,
        )
        .await?;
    ensure!(unsound.contains(&ahead), "{unsound}");
    let points = custody.points().await?;
    let intact: Vec<_> = points
        .iter()
        .filter(|point| point.intact)
        .map(|point| point.sequence)
        .collect();
    ensure!(intact == [1], "only the first is a copy of home's: {points:?}");
    Ok(())
}
