//! What a scenario is given: the running bed with the product, a namespace at home, and registries on shared servers.

use std::{
    collections::HashSet,
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use dataembassy_crds::{ConditionStatus, RegistryMirror};
use dataembassy_e2e::{
    bed::{Bed, Database, Options, postgresql::DUMP_ROLE, secrets},
    cache::Cache,
    cluster::{Cluster, Site},
    command::wait_for,
    product::{
        EMBASSY, Product,
        mirror::Mirror,
        registry,
        restore::{self, Wanted},
    },
    registries::{self, Amount, Registry},
};
use serde_json::{Value, json};
use tokio::{
    runtime::Runtime,
    sync::{Mutex, OnceCell, RwLock},
};
use tokio_postgres::Client;

/// Within this time of being applied, a mirror is to have its first copy; of a fault, its reason is to be read.
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
/// The longest that anything else may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);
/// Where the servers are that scenarios share.
pub(crate) const SERVERS: &str = "servers";

/// Clients belong to the runtime that they were made on, so all scenarios share one.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static WORLD: OnceCell<World> = OnceCell::const_new();
/// Held to read by scenarios that get along with each other, to write by those that do not.
static COMPANY: RwLock<()> = RwLock::const_new(());

/// The running bed, and what scenarios share on it.
pub(crate) struct World {
    /// The product on the bed.
    pub(crate) product: Product,
    /// Six hex digits that tell this run's registries and namespaces from an earlier one's: ledgers are for ever.
    run: String,
    servers: [(u32, OnceCell<Database>); 2],
    /// The registries' ids that scenarios of this run have taken.
    taken: Mutex<HashSet<String>>,
}

/// Runs a scenario beside others.
pub(crate) fn together<F>(scenario: impl FnOnce(&'static World) -> F)
where
    F: Future<Output = Result<()>>,
{
    RUNTIME.block_on(async {
        let _company = COMPANY.read().await;
        report(scenario(World::get().await).await);
    });
}

/// Runs a scenario while no other runs, because it takes away what they need.
pub(crate) fn alone<F>(scenario: impl FnOnce(&'static World) -> F)
where
    F: Future<Output = Result<()>>,
{
    RUNTIME.block_on(async {
        let _company = COMPANY.write().await;
        report(scenario(World::get().await).await);
    });
}

/// Fails with the whole chain of causes.
fn report(outcome: Result<()>) {
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}

impl World {
    async fn get() -> &'static Self {
        WORLD.get_or_init(|| async { Self::open().await.unwrap() }).await
    }

    async fn open() -> Result<Self> {
        let bed = Bed::running(&Cache::locate()?).await?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok(Self {
            product: Product::running(&bed).await?,
            run: format!("{:06x}", seconds & 0xff_ffff),
            servers: [15, 17].map(|major| (major, OnceCell::new())),
            taken: Mutex::default(),
        })
    }

    /// The cluster where mirrors run.
    pub(crate) fn home(&self) -> &Cluster {
        self.product.bed.home()
    }

    /// A name that no other run uses.
    pub(crate) fn unique(&self, stem: &str) -> String {
        format!("{stem}-{}", self.run)
    }

    /// A registry with three rows, in a namespace of its own, and one copy that the embassy has.
    pub(crate) async fn mirrored(&'static self, stem: &str) -> Result<Subject> {
        let ministry = self.ministry(stem).await?;
        let subject = ministry.small_registry(stem).await?;
        subject.mirrored().await?;
        Ok(subject)
    }

    /// The shared server of a major version, 15 or 17.
    pub(crate) async fn server(&self, major: u32) -> Result<&Database> {
        let (_, server) = self
            .servers
            .iter()
            .find(|(of, _)| *of == major)
            .context("there are servers of 15 and 17")?;
        server
            .get_or_try_init(|| {
                let name = format!("pg{major}");
                let options = Options {
                    access: careless_access(major),
                    ..Options::default()
                };
                async move {
                    let bed = &self.product.bed;
                    bed.postgresql(Site::Home, SERVERS, &name, major, &options).await
                }
            })
            .await
    }

    /// A namespace at home of the scenario's own.
    pub(crate) async fn ministry(&'static self, stem: &str) -> Result<Ministry> {
        let namespace = self.unique(stem);
        self.home().namespace(&namespace).await?;
        Ok(Ministry {
            world: self,
            namespace,
        })
    }
}

/// Has a mirror copied each minute. Who does so deletes it in the end: others need the machine.
pub(crate) fn every_minute(spec: &mut Value) {
    spec["schedule"] = json!({"cron": "* * * * *"});
}

/// Databases whose names begin with `cleartext-` ask the dump role for its password in the clear; 15 knows no such patterns.
fn careless_access(major: u32) -> Vec<String> {
    let rule = format!("hostssl /^cleartext- {DUMP_ROLE} all password");
    if major >= 16 { vec![rule] } else { Vec::new() }
}

/// Who owns a scenario's registries: a namespace at home.
#[derive(Clone)]
pub(crate) struct Ministry {
    world: &'static World,
    /// The namespace's name.
    pub(crate) namespace: String,
}

impl Ministry {
    /// A registry in a new database on a shared server, filled, with its Secrets and its deposit user; not mirrored yet.
    pub(crate) async fn registry(
        &self,
        stem: &str,
        sample: Registry,
        major: u32,
        amount: &Amount,
    ) -> Result<Subject> {
        let subject = self.empty(stem, sample, major).await?;
        registries::load(&subject.connect().await?, sample, amount).await?;
        Ok(subject)
    }

    /// The same with a single table of three rows: for scenarios that are not about data.
    pub(crate) async fn small_registry(&self, stem: &str) -> Result<Subject> {
        let subject = self.empty(stem, Registry::Population, 17).await?;
        let table = "CREATE TABLE public.person AS SELECT n AS id, 'person ' || n AS name FROM generate_series(1, 3) n";
        subject.connect().await?.batch_execute(table).await?;
        Ok(subject)
    }

    /// The same with nothing in it.
    pub(crate) async fn empty(&self, stem: &str, sample: Registry, major: u32) -> Result<Subject> {
        let server = self.world.server(major).await?.clone();
        let id = self.world.unique(stem);
        let is_first = self.world.taken.lock().await.insert(id.clone());
        ensure!(
            is_first,
            "two scenarios call a registry '{stem}': give one of them another name"
        );
        let admin = server.connect("postgres").await?;
        registries::create_database(&admin, sample, &id).await?;
        let home = self.world.home();
        registry::deposit_user(&self.world.product, &self.namespace, &id).await?;
        let subject = Subject {
            mirror: Mirror::of(home, &self.namespace, &id),
            namespace: self.namespace.clone(),
            world: self.world,
            server,
            sample,
            id,
        };
        for suffix in ["dump", "ca"] {
            subject.bring(suffix).await?;
        }
        Ok(subject)
    }
}

/// A registry of a scenario. Its database, its mirror and its Secrets bear its id.
#[derive(Clone)]
pub(crate) struct Subject {
    /// Its id, unique in the store for ever.
    pub(crate) id: String,
    /// Which sample it is made like.
    pub(crate) sample: Registry,
    /// Where its mirror and its Secrets are.
    pub(crate) namespace: String,
    /// The server its database is on.
    pub(crate) server: Database,
    /// Its mirror, once it is applied.
    pub(crate) mirror: Mirror,
    world: &'static World,
}

impl Subject {
    /// Brings a Secret of the shared server, such as `ca`, into the scenario's namespace, as `<id>-<suffix>`.
    pub(crate) async fn bring(&self, suffix: &str) -> Result<()> {
        let home = self.world.home();
        let name = format!("{}-{suffix}", self.server.host());
        let secret = secrets::read(home, SERVERS, &name)
            .await?
            .with_context(|| format!("the server has no Secret {name}"))?;
        let data: Vec<_> = secret
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        secrets::write(home, &self.namespace, &format!("{}-{suffix}", self.id), &data).await
    }

    /// The way to its source or to the store is as bad as can be until it is mended: that is told within a minute, the end of it too, and what was
    /// asked for meanwhile is copied.
    pub(crate) async fn outlives<F>(
        &self,
        end: &str,
        copy: i64,
        trigger: &str,
        mend: impl FnOnce() -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let (reachable, unreachable) = (format!("{end}Reachable"), format!("{end}Unreachable"));
        let message = self
            .mirror
            .condition(&reachable, ConditionStatus::False, Some(&unreachable), MINUTE)
            .await?;
        ensure!(!message.is_empty(), "nothing is said of what was tried");
        self.mirror.trigger(trigger).await?;
        mend().await?;
        self.mirror
            .condition(&reachable, ConditionStatus::True, None, MINUTE)
            .await?;
        self.mirror.copied(copy, PATIENCE).await.map(drop)
    }

    /// A superuser's session in its database.
    pub(crate) async fn connect(&self) -> Result<Client> {
        self.server.connect(&self.id).await
    }

    /// Its mirror as a resource: copied at once, and then once a year.
    pub(crate) fn manifest(&self) -> Value {
        let id = &self.id;
        json!({
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "RegistryMirror",
            "metadata": {"name": id, "namespace": self.namespace},
            "spec": {
                "registry": {"id": id},
                "embassyRef": {"name": EMBASSY},
                "depositCredentialsRef": {"name": format!("{id}-deposit")},
                "source": {"postgresql": {
                    "host": self.server.full_host(),
                    "database": id,
                    "tls": {"caRef": {"name": format!("{id}-ca")}},
                    "credentialsRef": {"name": format!("{id}-dump")},
                }},
                "schedule": {"cron": "0 0 1 1 *"},
                "objectives": {"rpo": "1h"},
                // Many sidecars share the bed's one node.
                "sidecar": {"resources": {"requests": {"cpu": "5m", "memory": "24Mi"}}},
            },
        })
    }

    /// A restore of it at home as a resource, into a database of its own server, with what keyholders bring for it.
    pub(crate) async fn homecoming(&self, database: &str) -> Result<Value> {
        let (product, id) = (&self.world.product, &self.id);
        let (home, store) = (self.world.home(), product.bed.store().await?);
        self.bring("superuser").await?;
        restore::bring_identity(product, home, &self.namespace).await?;
        let retrieval = restore::bring_retrieval(&store, home, &self.namespace, id).await?;
        Ok(json!({
            "apiVersion": "dataembassy.io/v1alpha1",
            "kind": "RegistryRestore",
            "metadata": {"name": id, "namespace": self.namespace},
            "spec": {
                "embassyRef": {"name": EMBASSY},
                "registry": {"id": id},
                "retrievalCredentialsRef": {"name": retrieval},
                "identityRef": {"name": "identity"},
                "target": {
                    "host": self.server.full_host(),
                    "database": database,
                    "tls": {"caRef": {"name": format!("{id}-ca")}},
                    "credentialsRef": {"name": format!("{id}-superuser")},
                },
                "acceptDifferentCollation": true,
            },
        }))
    }

    /// Has the embassy accept the registry: from then on the gate lets its copies through.
    pub(crate) async fn accept(&self) -> Result<()> {
        registry::accept(&self.world.product, &self.namespace, &self.id).await
    }

    /// Applies its mirror, changed as the scenario needs it. The embassy accepts the registry first, if that is where the mirror leads.
    pub(crate) async fn apply(&self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut manifest = self.manifest();
        change(&mut manifest["spec"]);
        if manifest["spec"]["embassyRef"]["name"] == EMBASSY {
            self.accept().await?;
        }
        self.world.home().apply(&manifest.to_string()).await.map(drop)
    }

    /// Applies its mirror as it is and waits for the first copy.
    pub(crate) async fn mirrored(&self) -> Result<RegistryMirror> {
        self.apply(|_| ()).await?;
        self.mirror.copied(1, PATIENCE).await
    }

    /// Waits until its mirror, at its newest generation, no longer has a condition that exists only while true.
    pub(crate) async fn until_gone(&self, kind: &str, deadline: Duration) -> Result<()> {
        let what = format!("the end of {kind} of mirror {}", self.id);
        wait_for(&what, deadline, || async {
            let mirror = self.mirror.get().await?;
            let generation = mirror.metadata.generation;
            let gone = mirror.status.is_some_and(|status| {
                status.observed_generation == generation
                    && status.conditions.iter().all(|condition| condition.type_ != kind)
            });
            Ok(gone.then_some(()))
        })
        .await
    }

    /// Deletes its mirror.
    pub(crate) async fn delete(&self) -> Result<()> {
        let arguments = [
            "delete",
            "registrymirror",
            &self.id,
            "--namespace",
            &self.namespace,
        ];
        self.world.home().kubectl(arguments).await.map(drop)
    }

    /// What a restore of it is asked for.
    pub(crate) fn wanted<'a>(&'a self, signer: &'a str, database: &'a str) -> Wanted<'a> {
        Wanted {
            registry: &self.id,
            sample: self.sample,
            signer,
            major: restore::MAJOR,
            database,
        }
    }
}

/// How many rows a [small registry](Ministry::small_registry) has.
pub(crate) async fn persons(client: &Client) -> Result<i64> {
    let row = client
        .query_one("SELECT count(*) FROM public.person", &[])
        .await?;
    Ok(row.get(0))
}

/// A table whose rows take their time to be restored, so many milliseconds each, and none to be made: one sees how far it is.
pub(crate) fn slow(rows: u32, milliseconds: u32) -> String {
    let is_right = |does: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION public.is_right(n bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE \
             AS 'BEGIN {does}RETURN true; END';"
        )
    };
    let sleeps = format!("PERFORM pg_sleep({milliseconds}::float8 / 1000); ");
    format!(
        "{} CREATE TABLE public.slow (n bigint CHECK (public.is_right(n)));
         INSERT INTO public.slow SELECT generate_series(1, {rows}); {}",
        is_right(""),
        is_right(&sleeps)
    )
}
