//! The configuration in effect, with what outlives it: the lanes' counts and allowances, and the connections to a store that stays the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataembassy_contract::config::{SovereigntyConfig, StoreConfig};
use dataembassy_ledger::RegistryId;
use dataembassy_ledger::door::Rules;

use super::configuration::Configuration;
use super::lane::Lane;
use super::metrics::Metrics;
use super::upstream::Upstream;
use crate::store::StoreError;

/// What requests are judged and passed on by.
pub(super) struct Effective {
    rules: Rules,
    lanes: BTreeMap<RegistryId, Arc<Lane>>,
    upstream: Arc<Upstream>,
    store: (StoreConfig, SovereigntyConfig),
}

impl Effective {
    /// Puts a configuration in the place of the one before.
    pub(super) fn adopt(
        configuration: Configuration,
        before: Option<&Self>,
        metrics: &Metrics,
    ) -> Result<Self, StoreError> {
        let upstream = match before {
            Some(before) if before.store == configuration.store => Arc::clone(&before.upstream),
            _ => Arc::new(Upstream::new(&configuration.settings)?),
        };
        let mut lanes = BTreeMap::new();
        for (registry, config) in &configuration.lanes {
            let lane = match before.and_then(|before| before.lanes.get(registry)) {
                Some(lane) => {
                    lane.configure(config);
                    Arc::clone(lane)
                }
                None => Arc::new(Lane::new(registry.clone(), config, metrics.clone())),
            };
            lanes.insert(registry.clone(), lane);
        }
        if let Some(before) = before {
            let gone = before
                .lanes
                .iter()
                .filter(|(registry, _)| !lanes.contains_key(*registry));
            gone.for_each(|(_, lane)| lane.close());
        }
        Ok(Self {
            rules: configuration.rules,
            lanes,
            upstream,
            store: configuration.store,
        })
    }

    pub(super) const fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn lane(&self, registry: &RegistryId) -> Option<&Arc<Lane>> {
        self.lanes.get(registry)
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.lanes.values()
    }

    pub(super) const fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }
}
