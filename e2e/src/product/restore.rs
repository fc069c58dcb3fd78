//! Restores: `RegistryRestore`s with retrieval credentials and the identity that a keyholder brings, and the page for those who have only stock
//! tools.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dataembassy_crds::{ConditionStatus, RegistryRestore, RestorePhase};
use dataembassy_testkit::minio::StoreUser;
use kube::Api;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{
    EMBASSY, Product, conditions,
    job::{self, Ended, Job},
};
use crate::{
    bed::{Database, Options, Store, secrets},
    cluster::{Cluster, Site},
    command::wait_for,
    registries::{self, Registry},
};

/// Where restores run.
pub const NAMESPACE: &str = "restores";
/// The major version of the server that copies are restored into, unless another one is wanted.
pub const MAJOR: u32 = 17;

/// The server that copies are restored into, started if it is not there.
pub async fn server(product: &Product) -> Result<Database> {
    server_of(product, MAJOR).await
}

/// The same, of a major version, 15 or 17.
pub async fn server_of(product: &Product, major: u32) -> Result<Database> {
    let name = name_of(major);
    product
        .bed
        .postgresql(Site::Embassy, NAMESPACE, &name, major, &Options::default())
        .await
}

fn name_of(major: u32) -> String {
    if major == MAJOR {
        "restored".to_owned()
    } else {
        format!("restored-{major}")
    }
}

/// What is restored, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The registry's id in the store.
    pub registry: &'a str,
    /// Which of the samples it is: what the database must be like, and which roles must be there.
    pub sample: Registry,
    /// The public key that its entries are signed with.
    pub signer: &'a str,
    /// The major version of the server.
    pub major: u32,
    /// The database, on the server of [`server`]. One that is there already is dropped.
    pub database: &'a str,
}

/// Restores a copy by a `RegistryRestore` into a new, empty database; returns how long that took.
pub async fn restore(
    product: &Product,
    wanted: &Wanted<'_>,
    sequence: i64,
    deadline: Duration,
) -> Result<Duration> {
    let restore = begin(product, wanted, |spec| {
        spec["copy"] = json!({"sequence": sequence});
    })
    .await?;
    let ended = restore.ended(deadline).await?;
    let status = ended.status.context("it has no status")?;
    let restored = status.restored.with_context(|| {
        let conditions = status.conditions.iter();
        let said: Vec<_> = conditions.map(|condition| condition.message.as_str()).collect();
        format!(
            "copy {sequence} of {} was not restored: {}",
            wanted.registry,
            said.join("; ")
        )
    })?;
    ensure!(
        status.copy.is_some_and(|copy| copy.sequence == sequence),
        "another copy than {sequence} was restored"
    );
    Ok(Duration::from_secs(restored.seconds.unsigned_abs()))
}

/// Asks for a restore in the embassy, into a new, empty database, of which `change` may change its mind.
pub async fn begin(
    product: &Product,
    wanted: &Wanted<'_>,
    change: impl FnOnce(&mut Value),
) -> Result<Restoring> {
    let target = server_of(product, wanted.major).await?;
    let admin = make_room(&target, wanted.database).await?;
    registries::create_database(&admin, wanted.sample, wanted.database).await?;
    let retrieval = bring_keys(product, wanted.registry).await?;
    let server = name_of(wanted.major);
    let mut manifest = json!({
        "apiVersion": "dataembassy.io/v1alpha1",
        "kind": "RegistryRestore",
        "metadata": {"name": wanted.database, "namespace": NAMESPACE},
        "spec": {
            "embassyRef": {"name": EMBASSY},
            "registry": {"id": wanted.registry},
            "retrievalCredentialsRef": {"name": retrieval},
            "identityRef": {"name": "identity"},
            "target": {
                "host": target.host(),
                "database": wanted.database,
                "tls": {"caRef": {"name": format!("{server}-ca")}},
                "credentialsRef": {"name": format!("{server}-superuser")},
            },
            "trustSource": true,
            "allowedExtensions": ["registry_codes"],
            "deadline": "30m",
        },
    });
    change(&mut manifest["spec"]);
    let restoring = Restoring::of(product.bed.embassy(), NAMESPACE, wanted.database);
    restoring.ask(&manifest).await?;
    Ok(restoring)
}

/// A `RegistryRestore`, as whoever asked for it sees it.
#[derive(Clone)]
pub struct Restoring {
    cluster: Cluster,
    api: Api<RegistryRestore>,
    namespace: String,
    name: String,
}

impl Restoring {
    /// A handle on a restore, whether it is there yet or not.
    #[must_use]
    pub fn of(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(cluster.client().clone(), namespace),
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Asks for it. One of that name that was asked for before goes first: each is done once.
    pub async fn ask(&self, manifest: &Value) -> Result<()> {
        self.delete().await?;
        self.cluster.apply(&manifest.to_string()).await.map(drop)
    }

    /// Deletes it, with everything that was made for it.
    pub async fn delete(&self) -> Result<()> {
        let arguments = [
            "delete",
            "registryrestore",
            &self.name,
            "--namespace",
            &self.namespace,
            "--ignore-not-found",
            "--cascade=foreground",
            "--wait",
        ];
        self.cluster.kubectl(arguments).await.map(drop)
    }

    /// The resource as it is now.
    pub async fn get(&self) -> Result<RegistryRestore> {
        Ok(self.api.get(&self.name).await?)
    }

    /// The resource, once it has ended, well or not.
    pub async fn ended(&self, deadline: Duration) -> Result<RegistryRestore> {
        let what = format!("the end of restore {}", self.name);
        let ended = wait_for(&what, deadline, || async {
            let restore = self.get().await?;
            let phase = restore.status.as_ref().map(|status| status.phase);
            Ok(matches!(phase, Some(RestorePhase::Restored | RestorePhase::Failed)).then_some(restore))
        })
        .await;
        match ended {
            Ok(restore) => Ok(restore),
            Err(error) => Err(error.context(conditions::told(&self.api, &self.name).await)),
        }
    }

    /// Waits until a condition has a status and a reason; returns its message.
    pub async fn condition(
        &self,
        kind: &str,
        status: ConditionStatus,
        reason: &str,
        deadline: Duration,
    ) -> Result<String> {
        conditions::wait(&self.api, &self.name, kind, status, Some(reason), deadline).await
    }
}

/// Drops the database that is to be restored into; the session that did it is returned.
async fn make_room(target: &Database, database: &str) -> Result<Client> {
    let admin = target.connect("postgres").await?;
    admin
        .batch_execute(&format!("DROP DATABASE IF EXISTS \"{database}\" WITH (FORCE)"))
        .await?;
    Ok(admin)
}

/// What keyholders bring for a restore in the embassy, as Secrets: the store's authority, the retrieval user's keys (their Secret's name is
/// returned), and the identity.
async fn bring_keys(product: &Product, id: &str) -> Result<String> {
    let embassy = product.bed.embassy();
    super::embassy::open_namespace(embassy, NAMESPACE).await?;
    let store = product.bed.store().await?;
    secrets::write(embassy, NAMESPACE, "store-ca", &[("ca.crt", store.ca())]).await?;
    bring_identity(product, embassy, NAMESPACE).await?;
    bring_retrieval(&store, embassy, NAMESPACE, id).await
}

/// The identity that opens copies, as the Secret `identity`.
pub async fn bring_identity(product: &Product, cluster: &Cluster, namespace: &str) -> Result<()> {
    let identity = [("identity.txt", product.keys.identity.as_str())];
    secrets::write(cluster, namespace, "identity", &identity).await
}

/// A registry's retrieval user, as a Secret whose name is returned.
pub async fn bring_retrieval(store: &Store, cluster: &Cluster, namespace: &str, id: &str) -> Result<String> {
    let user = StoreUser::Retrieval {
        registry: id.to_owned(),
    };
    let user = store.user(&user).await?;
    let keys = [
        ("accessKeyId", user.access_key.as_str()),
        ("secretAccessKey", &user.secret_key),
    ];
    let name = format!("{id}-retrieval");
    secrets::write(cluster, namespace, &name, &keys).await?;
    Ok(name)
}

/// Opens the latest copy by the break-glass page's own commands, in an image of stock tools that holds none of our code, into a new database,
/// which the page itself makes. The page starts from a trust sheet, which is printed first.
pub async fn break_glass(product: &Product, wanted: &Wanted<'_>, deadline: Duration) -> Result<Ended> {
    let target = server_of(product, wanted.major).await?;
    make_room(&target, wanted.database).await?;
    let retrieval = bring_keys(product, wanted.registry).await?;
    let embassy = product.bed.embassy();
    let sheet = super::custody::trust_sheet(product, &[wanted.registry]).await?;
    let paper = [
        ("custodian.pub", product.keys.custodian_public.as_str()),
        ("trust-sheet.txt", &sheet),
    ];
    let keys = format!("{}-trust-sheet", wanted.registry);
    secrets::write(embassy, NAMESPACE, &keys, &paper).await?;
    let server = name_of(wanted.major);
    let superuser = format!("{server}-superuser");
    let authority = format!("{server}-ca");
    let page = std::fs::read_to_string(std::path::Path::new(super::TREE).join("docs/break-glass.md"))?;
    let script = format!("{PROLOGUE}\n{}", blocks(&page)?);
    let environment = vec![
        ("STORE_CA", "/run/store-ca/ca.crt".to_owned()),
        ("REGISTRY", wanted.registry.to_owned()),
        ("ACCESS_KEYS", format!("/run/{retrieval}")),
        ("IDENTITY", "/run/identity/identity.txt".to_owned()),
        ("CUSTODIAN", format!("/run/{keys}/custodian.pub")),
        ("SHEET", format!("/run/{keys}/trust-sheet.txt")),
        ("DATABASE", wanted.database.to_owned()),
        ("PGHOST", target.host().to_owned()),
        ("PGUSER", "postgres".to_owned()),
        ("PGSSLMODE", "verify-full".to_owned()),
        ("PGSSLROOTCERT", format!("/run/{authority}/ca.crt")),
        ("PGPASSFILE", "/tmp/pgpass".to_owned()),
        ("PASSWORD_FILE", format!("/run/{superuser}/password")),
    ];
    let job = Job {
        namespace: NAMESPACE,
        name: &format!("break-glass-{}", wanted.database),
        image: job::STOCK,
        command: &["bash", "-c"],
        arguments: vec![script],
        environment,
        secrets: &["store-ca", &retrieval, "identity", &keys, &superuser, &authority],
        deadline,
    };
    job::run(embassy, &job).await
}

/// What a person does before opening the page: an empty folder, and a password file for psql.
const PROLOGUE: &str = "set -eu
mkdir /tmp/opened && cd /tmp/opened
umask 077
printf '*:*:*:postgres:%s\n' \"$(cat \"$PASSWORD_FILE\")\" > \"$PGPASSFILE\"";

/// The shell blocks of a page, in order.
fn blocks(page: &str) -> Result<String> {
    let blocks: Vec<_> = page
        .split("\n```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block))
        .collect();
    ensure!(
        blocks.len() > 5,
        "the break-glass page has only {} shell blocks",
        blocks.len()
    );
    Ok(blocks.join("\n"))
}
