//! What happens before the watches have listed what there is.

use std::sync::Arc;
use std::time::Duration;

use crate::world::{World, client, settings};
use dataembassy_operator::metrics::Metrics;
use dataembassy_operator::run::{Context, Stores};
use kube::runtime::reflector::store;
use kube::runtime::watcher::Event;

/// A store of kube's wakes but the last of those who wait for it: a reconcile that began before a slow watch was up would wait for ever.
#[tokio::test]
async fn every_reconcile_that_waits_for_a_slow_watch_goes_on_when_it_is_up() {
    let (client, _) = client(|_| None);
    let (pods, mut writer) = store();
    let stores = Stores {
        pods,
        ..World::default().stores()
    };
    let context = Arc::new(Context::new(client, settings(), Metrics::default(), stores, None));
    let reconciles: Vec<_> = (0..3)
        .map(|_| {
            let context = context.clone();
            tokio::spawn(async move { context.ready().await })
        })
        .collect();
    let announcing = {
        let context = context.clone();
        tokio::spawn(async move { context.complete().await })
    };
    // All of them have begun to wait.
    tokio::task::yield_now().await;
    assert!(reconciles.iter().all(|reconcile| !reconcile.is_finished()));
    writer.apply_watcher_event(&Event::Init);
    writer.apply_watcher_event(&Event::InitDone);
    for task in reconciles.into_iter().chain([announcing]) {
        tokio::time::timeout(Duration::from_secs(10), task)
            .await
            .expect("it waits for ever")
            .unwrap();
    }
}
