//! The page for the day when none of our programs is at hand.

use anyhow::{Result, ensure};
use dataembassy_e2e::{
    product::restore,
    registries::{Amount, Registry},
    truth::{Difference, Kind, Scope, Truth, compare},
};

use crate::world::{PATIENCE, World, together};

#[test]
fn the_break_glass_page_opens_a_copy_with_stock_tools_alone() {
    together(opened_by_hand);
}

async fn opened_by_hand(world: &'static World) -> Result<()> {
    let ministry = world.ministry("break-glass").await?;
    let subject = ministry
        .registry("business", Registry::Business, 17, &Amount::of_scale(0.05))
        .await?;
    subject.mirrored().await?;
    let signer = subject.mirror.signer().await?;
    restore::break_glass(&world.product, &subject.wanted(&signer, &subject.id), PATIENCE).await?;

    let source = Truth::of(&subject.connect().await?).await?;
    let target = restore::server(&world.product).await?;
    let opened = Truth::of(&target.connect(&subject.id).await?).await?;
    for kind in [Kind::Rows, Kind::LargeObject, Kind::Constraint, Kind::Grant] {
        ensure!(source.count(kind) > 0, "no {kind:?} was compared");
    }
    let differences: Vec<_> = compare(&source, &opened, Scope::WHOLE)
        .iter()
        .filter(|difference| !is_left_to_people(difference))
        .map(ToString::to_string)
        .collect();
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

/// What the page leaves to whoever follows it, and says so: `pg_restore` brings what belongs to the database itself only to one that it makes
/// under the source's name, and `roles.sql` makes roles with their attributes, without their settings and comments.
fn is_left_to_people(difference: &Difference) -> bool {
    let role = difference.kind == Kind::Role
        && (difference.restored.is_some() || difference.object.ends_with(" sets"));
    role || difference.kind == Kind::Setting || difference.object == "the database"
}
