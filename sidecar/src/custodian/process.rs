//! The process: configuration in, one keeper for each registry, reports out, until it is told to end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use dataembassy_contract::Reason;
use dataembassy_ledger::RegistryId;
use dataembassy_ledger::store_document::VerifiedStoreDocument;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::configuration::Configuration;
use super::embassy::{self, StoreLook};
use super::office::Office;
use super::reading::{Library, Reader};
use super::registry::{Assignment, Holdings, Identity, Keeper};
use super::space;
use crate::process::report::note;
use crate::store::{Store, StoreError};

/// A custodian at work.
pub struct Custodian {
    office: Arc<Office>,
    effective: watch::Receiver<Option<Arc<Configuration>>>,
    ending: CancellationToken,
    store: Option<Connected>,
    document: Option<VerifiedStoreDocument>,
    /// When the lock of the store's document is looked at next.
    document_due: Instant,
    keepers: BTreeMap<RegistryId, Employed>,
    library: watch::Sender<Option<Arc<Library>>>,
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
            store: None,
            document: None,
            document_due: Instant::now(),
            keepers: BTreeMap::new(),
            library: watch::channel(None).0,
            tasks: JoinSet::new(),
            requests: 0,
        }
    }

    /// Works until it is told to end.
    pub async fn run(mut self) {
        let reader = Reader::new(
            Arc::clone(&self.office),
            self.library.subscribe(),
            self.ending.clone(),
        );
        self.tasks.spawn(reader.run());
        while !self.ending.is_cancelled() {
            let configuration = self.effective.borrow_and_update().clone();
            if let Some(configuration) = configuration {
                self.work(&configuration).await;
            }
            tokio::select! {
                () = tokio::time::sleep(self.office.timing.cycle) => {}
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
            tracing::warn!(%reason, %message, "the store is not as it must be");
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
            let is_same = known.as_ref().is_some_and(|known| {
                Arc::ptr_eq(&known.configuration, configuration) && known.shelves.len() == self.keepers.len()
            });
            if is_same == is_known {
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
        self.tasks.spawn(keeper.run());
        let keeper = Employed {
            assignments: sender,
            holdings,
            dismissal,
        };
        self.keepers.insert(registry.clone(), keeper);
        tracing::info!(%registry, since = %Timestamp::now(), "a registry is kept");
    }
}
