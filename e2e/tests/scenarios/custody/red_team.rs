//! Home is in the enemy's hands: a minute of everything that its credentials can be tried for, and what its key can be made to sign.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dataembassy_crds::ConditionStatus;
use dataembassy_e2e::product::{
    custody::Custody,
    embassy,
    red_team::{RedTeam, nothing_lost},
};

use super::{PROVEN, proven};
use crate::world::{MINUTE, Subject, World, together};

/// How long it goes on.
const ASSAULT: Duration = Duration::from_mins(1);

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
    let (custody, _) = tokio::try_join!(proven(world, &subject), other.mirrored())?;
    let team = RedTeam::of(&world.product, &ministry.namespace, &subject.id).await?;
    let before = team.contents().await?;
    let known = embassy::refused_requests(&world.product, &subject.id).await?;
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
    let counted = embassy::refused_requests(&world.product, &subject.id).await?;
    ensure!(
        counted >= known + refused,
        "{refused} of {tried} attempts were refused; what the gates count went from {known} to {counted}"
    );
    nothing_lost(&before, &team.contents().await?)?;
    custody
        .condition(
            "Suspicious",
            ConditionStatus::True,
            Some("RequestsRefused"),
            MINUTE,
        )
        .await?;
    custody
        .condition("Intact", ConditionStatus::True, None, MINUTE)
        .await?;

    forge(&team, &custody, &other).await?;
    nothing_lost(&before, &team.contents().await?)?;
    subject.delete().await?;
    other.delete().await
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
