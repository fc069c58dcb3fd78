//! The process: configuration in, one keeper for each registry, reports out, until it is told to end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataembassy_contract::Reason;
use dataembassy_ledger::RegistryId;
use dataembassy_ledger::store_document::VerifiedStoreDocument;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::configuration::Configuration;
use super::embassy::{self, StoreLook};
use super::office::Office;
use super::reading::{Library, Reader};
use super::registry::{Assignment, Holdings, Identity, Keeper};
use super::space;
use crate::process::beginning::Beginning;
use crate::process::report::note;
use crate::store::{Store, StoreError};

/// Between the first two looks at a store that was not found; twice as long each time, up to the length of a cycle. The network lets a new pod
/// through a moment after it begins.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A custodian at work.
pub struct Custodian {
    office: Arc<Office>,
    effective: watch::Receiver<Option<Arc<Configuration>>>,
    ending: CancellationToken,
    beginning: Beginning,
    store: Option<Connected>,
    document: Option<VerifiedStoreDocument>,
    /// When the lock of the store's document is looked at next.
    document_due: Instant,
    keepers: BTreeMap<RegistryId, Employed>,
    library: watch::Sender<Option<Arc<Library>>>,
    /// Whoever reads back; none before it begins.
    reader: Option<AbortHandle>,
    tasks: JoinSet<()>,
    /// Requests of clients that were let go of.
    requests: u64,
}

/// A client of the store, and what it was made of.
struct Connected {
    store: Store,
    configuration: Arc<Configuration>,
}

/// A keeper at work.
struct Employed {
    assignments: watch::Sender<Option<Arc<Assignment>>>,
    holdings: Arc<Holdings>,
    dismissal: CancellationToken,
    task: AbortHandle,
}

impl Custodian {
    /// A custodian that has not begun.
    #[must_use]
    pub fn new(
        office: Arc<Office>,
        effective: watch::Receiver<Option<Arc<Configuration>>>,
        ending: CancellationToken,
    ) -> Self {
        Self {
            office,
            effective,
            ending,
            beginning: Beginning::now(),
            store: None,
            document: None,
            document_due: Instant::now(),
            keepers: BTreeMap::new(),
            library: watch::channel(None).0,
            reader: None,
            tasks: JoinSet::new(),
            requests: 0,
        }
    }

    /// Works until it is told to end.
    pub async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        while !self.ending.is_cancelled() {
            self.replace_the_fallen();
            let configuration = self.effective.borrow_and_update().clone();
            let mut until_next = self.office.timing.cycle;
            if let Some(configuration) = configuration {
                self.work(&configuration).await;
                if self.document.is_none() {
                    until_next = until_next.min(pause);
                    pause = until_next * 2;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(until_next) => {}
                () = self.ending.cancelled() => {}
                changed = self.effective.changed() => {
                    if changed.is_err() {
                        self.ending.cancel();
                    }
                }
            }
        }
        self.keepers.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Whoever has ended without being told to has met something that nobody has thought of. For the others it is no reason to end, and it is
    /// replaced: what it knew is in the store. One that cannot go on stays silent, which its registry's freshness tells.
    fn replace_the_fallen(&mut self) {
        if self.reader.as_ref().is_none_or(AbortHandle::is_finished) {
            if self.reader.is_some() {
                tracing::error!("whoever reads back has ended unexpectedly, and is replaced");
            }
            let (office, library) = (Arc::clone(&self.office), self.library.subscribe());
            let reader = Reader::new(office, library, self.ending.clone());
            self.reader = Some(self.tasks.spawn(reader.run()));
        }
        self.keepers.retain(|registry, keeper| {
            let has_fallen = keeper.task.is_finished();
            if has_fallen {
                tracing::error!(%registry, "the keeper of a registry has ended unexpectedly, and is replaced");
            }
            !has_fallen
        });
    }

    async fn work(&mut self, configuration: &Arc<Configuration>) {
        let store = match self.connect(configuration) {
            Ok(store) => store,
            Err(error) => {
                let found = Err((error.reason(), error.to_string()));
                self.office.board.write(|report| note(&mut report.store, found));
                return;
            }
        };
        let look = embassy::look(&store, configuration).await;
        self.take_over(&look, &store);
        let now = Instant::now();
        if look.document.is_some() && look.clocks_agree && self.document_due <= now {
            self.document_due = now + embassy::keep_document(&store, &configuration.lock).await;
        }
        self.employ(configuration, &store);
        self.stock(configuration, &store);
        self.office.metrics.requests(self.requests + store.requests());
        self.look_ahead(configuration);
        while self.tasks.try_join_next().is_some() {}
    }

    fn look_ahead(&self, configuration: &Configuration) {
        let (flows, now) = (self.office.board.flows(), Timestamp::now());
        let known = flows.len() == configuration.registries.len();
        let capacity = configuration.capacity_bytes;
        let space = self.office.board.write(|report| {
            report.space = space::forecast(&flows, known, capacity, &report.space, now);
            report.space.clone()
        });
        self.office
            .metrics
            .space(space.used_bytes, capacity, space.full_at);
    }

    /// The client that fits the configuration; the one there is, as long as it does.
    fn connect(&mut self, configuration: &Arc<Configuration>) -> Result<Store, StoreError> {
        if let Some(connected) = &self.store {
            let before = &connected.configuration;
            if before.place == configuration.place && before.keys == configuration.keys {
                return Ok(connected.store.clone());
            }
            self.requests += connected.store.requests();
        }
        let store = Store::connect(&configuration.store, &configuration.keys)?;
        let configuration = Arc::clone(configuration);
        self.store = Some(Connected {
            store: store.clone(),
            configuration,
        });
        Ok(store)
    }

    fn take_over(&mut self, look: &StoreLook, store: &Store) {
        if let Some((reason, message)) = &look.fault {
            self.beginning
                .tell(*reason, message, "the store is not as it must be");
        }
        let found = look.fault.clone().map_or(Ok(()), Err);
        let is_up = found.is_ok();
        self.office.board.write(|report| {
            note(&mut report.store, found);
            report.clock_difference_seconds = look.clock_difference;
        });
        let unknown = look.unknown.clone();
        let count = unknown.as_ref().map_or(0, Vec::len);
        if let Some(unknown) = unknown {
            self.office.board.unknown(unknown);
        }
        self.office.compared_clocks(look.clocks_agree);
        if let Some(days) = look.locked_days {
            self.office.looked_at_bucket(days);
        }
        self.office.metrics.store(is_up, look.clock_difference, count);
        match (&look.document, &look.fault) {
            (Some(document), _) => {
                let store_id = Some(document.document.store_id.to_string());
                self.office.board.write(|report| report.store_id = store_id);
                self.document = Some(document.clone());
            }
            // Another store than the one that was agreed on: nothing of it is believed.
            (
                None,
                Some((Reason::StoreMismatch | Reason::StoreNotInitialised | Reason::LedgerUnreadable, _)),
            ) => {
                tracing::error!(
                    endpoint = store.endpoint(),
                    "this is not the store that was agreed on: every registry waits"
                );
                self.office.board.write(|report| report.store_id = None);
                self.document = None;
            }
            // It cannot be read now; what was read before still holds.
            (None, _) => {}
        }
    }

    /// Gives each registry a keeper, and each keeper what it works with.
    fn employ(&mut self, configuration: &Arc<Configuration>, store: &Store) {
        let accepted = |id: &RegistryId| configuration.registries.iter().any(|one| one.registry == *id);
        let gone: Vec<RegistryId> = self.keepers.keys().filter(|id| !accepted(id)).cloned().collect();
        for registry in gone {
            if let Some(keeper) = self.keepers.remove(&registry) {
                keeper.dismissal.cancel();
            }
            self.office.board.forget(registry.as_str());
            self.office.metrics.forget(&registry);
            tracing::info!(%registry, "a registry is not kept any more; its copies stay");
        }
        for settings in &configuration.registries {
            let registry = &settings.registry;
            if !self.keepers.contains_key(registry) {
                self.hire(registry);
            }
            let Some(keeper) = self.keepers.get(registry) else {
                continue;
            };
            let assignment = self.document.as_ref().map(|document| Assignment {
                store: store.clone(),
                identity: Identity {
                    store_id: document.document.store_id,
                    genesis: document.digest,
                    registry: registry.clone(),
                },
                settings: Arc::clone(settings),
                configuration: Arc::clone(configuration),
            });
            keeper.assignments.send_if_modified(|known| {
                let is_same = match (known.as_ref(), &assignment) {
                    (Some(known), Some(new)) => {
                        Arc::ptr_eq(&known.configuration, &new.configuration)
                            && known.identity.genesis == new.identity.genesis
                    }
                    (None, None) => true,
                    _ => false,
                };
                if !is_same {
                    *known = assignment.map(Arc::new);
                }
                !is_same
            });
        }
    }

    /// Tells the reader what there is to read. It does not begin before the store is known to be the right one.
    fn stock(&self, configuration: &Arc<Configuration>, store: &Store) {
        let is_known = self.document.is_some();
        self.library.send_if_modified(|known| {
            let is_kept = |(id, holdings): &(RegistryId, Arc<Holdings>)| {
                let keeper = self.keepers.get(id);
                keeper.is_some_and(|keeper| Arc::ptr_eq(&keeper.holdings, holdings))
            };
            let is_same = known.as_ref().is_some_and(|known| {
                Arc::ptr_eq(&known.configuration, configuration)
                    && known.shelves.len() == self.keepers.len()
                    && known.shelves.iter().all(is_kept)
            });
            let stays = if is_known { is_same } else { known.is_none() };
            if stays {
                return false;
            }
            *known = is_known.then(|| {
                let shelves = self.keepers.iter();
                let shelves = shelves.map(|(id, keeper)| (id.clone(), Arc::clone(&keeper.holdings)));
                Arc::new(Library {
                    store: store.clone(),
                    configuration: Arc::clone(configuration),
                    shelves: shelves.collect(),
                })
            });
            true
        });
    }

    fn hire(&mut self, registry: &RegistryId) {
        let (sender, receiver) = watch::channel(None);
        let (holdings, dismissal) = (Arc::<Holdings>::default(), self.ending.child_token());
        let keeper = Keeper::new(
            registry.clone(),
            Arc::clone(&self.office),
            Arc::clone(&holdings),
            receiver,
            dismissal.clone(),
        );
        let keeper = Employed {
            assignments: sender,
            holdings,
            dismissal,
            task: self.tasks.spawn(keeper.run()),
        };
        self.keepers.insert(registry.clone(), keeper);
        tracing::info!(%registry, since = %Timestamp::now(), "a registry is kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custodian::board::Board;
    use crate::custodian::metrics::Metrics;
    use crate::custodian::office::Timing;
    use crate::custodian::registry::TallyKey;

    #[tokio::test]
    async fn whoever_has_fallen_is_replaced_and_the_others_stay() {
        let board = Board::new("test".to_owned(), Timestamp::now());
        let key = TallyKey::from_bytes([7; 16]);
        let office = Office::new("test".to_owned(), Timing::default(), key, board, Metrics::new());
        let configurations = watch::channel(None).1;
        let ending = CancellationToken::new();
        let mut custodian = Custodian::new(Arc::new(office), configurations, ending.clone());
        let [population, health] = ["population", "health"].map(|id| id.parse::<RegistryId>().unwrap());
        custodian.replace_the_fallen();
        custodian.hire(&population);
        custodian.hire(&health);
        let reader = custodian.reader.clone().unwrap().id();
        let fallen = custodian.tasks.spawn(async {});
        while !fallen.is_finished() {
            tokio::task::yield_now().await;
        }
        custodian.keepers.get_mut(&health).unwrap().task = fallen.clone();
        custodian.replace_the_fallen();
        assert_eq!(custodian.keepers.keys().collect::<Vec<_>>(), [&population]);
        assert_eq!(custodian.reader.replace(fallen).unwrap().id(), reader);
        custodian.replace_the_fallen();
        assert!(!custodian.reader.unwrap().is_finished());
        ending.cancel();
    }
}
