//! The way between a sidecar and its database is cut, both ways or one way only: what is sent vanishes on the node, and nobody is told.

use std::net::Ipv4Addr;

use anyhow::Result;
use dataembassy_e2e::bed::link::{Severed, rejoin, sever};

use crate::{
    policies::pod_address,
    world::{SERVERS, Subject, World, together},
};

/// What vanishes, with the trigger that is given meanwhile. The sidecar is the first of the two.
const WAYS: [(Severed, &str); 3] = [
    (Severed::Both, "cut"),
    (Severed::First, "mute"),
    (Severed::Second, "deaf"),
];

#[test]
fn a_database_that_is_cut_off_both_ways_or_one_is_told_within_a_minute_and_costs_no_copy() {
    together(severed);
}

async fn severed(world: &'static World) -> Result<()> {
    let subject = world.mirrored("apart").await?;
    let sidecar = format!(
        "app.kubernetes.io/component=mirror,app.kubernetes.io/instance={}",
        subject.id
    );
    let server = format!("app={}", subject.server.host());
    let pods = [
        pod_address(world.home(), &subject.namespace, &sidecar).await?,
        pod_address(world.home(), SERVERS, &server).await?,
    ];
    let outcome = each_way(&subject, pods).await;
    // Whatever came of it, another pod may have the address tomorrow.
    rejoin(pods).await?;
    outcome?;
    subject.delete().await
}

async fn each_way(subject: &Subject, pods: [Ipv4Addr; 2]) -> Result<()> {
    for (copy, (what, word)) in (2..).zip(WAYS) {
        sever(pods, what).await?;
        subject.outlives("Source", copy, word, || rejoin(pods)).await?;
    }
    Ok(())
}
