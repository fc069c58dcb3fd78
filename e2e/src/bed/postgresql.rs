//! PostgreSQL servers in the clusters.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio_postgres::{Client, NoTls};

use super::secrets;
use crate::cluster::{Cluster, Site, pki::Authority};

/// The role that dumps, as section 6 of the design asks: it logs in, reads everything, and row security does not
/// hide anything from it.
pub const DUMP_ROLE: &str = "dump";

/// How a server differs from the usual.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Settings, by name.
    pub settings: BTreeMap<String, String>,
    /// Lines of `pg_hba.conf` that come before the usual ones.
    pub access: Vec<String>,
}

/// A server that runs in a cluster. Beside it, in its namespace, are the Secrets `<name>-superuser` and
/// `<name>-dump` (`username`, `password`) and `<name>-ca` (`ca.crt`); Service and certificate bear its name.
#[derive(Clone)]
pub struct Database {
    cluster: Cluster,
    namespace: String,
    name: String,
    password: String,
}

/// Starts a server and waits until it takes connections. One that is there already keeps its data and takes the
/// options that are new.
pub(super) async fn deploy(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    major: u32,
    options: &Options,
) -> Result<Database> {
    cluster.namespace(namespace).await?;
    let superuser = format!("{name}-superuser");
    if secrets::read(cluster, namespace, &superuser).await?.is_none() {
        make_secrets(cluster, namespace, name).await?;
    }
    let arguments: Vec<_> = options
        .settings
        .iter()
        .flat_map(|(key, value)| ["-c".to_owned(), format!("{key}={value}")])
        .collect();
    let manifest = include_str!("../../manifests/postgresql.yaml")
        .replace("NAMESPACE", namespace)
        .replace("NAME", name)
        .replace("MAJOR", &major.to_string())
        .replace("ARGUMENTS", &serde_json::to_string(&arguments)?)
        .replace(
            "HBA",
            &serde_json::to_string(&access(cluster.site(), &options.access))?,
        );
    cluster.apply(&manifest).await?;
    cluster
        .rolled_out(&format!("statefulset/{name}"), namespace, super::STARTS)
        .await?;
    let mut secret = secrets::read(cluster, namespace, &superuser)
        .await?
        .context("the superuser has no Secret")?;
    let password = secret
        .remove("password")
        .context("the superuser has no password")?;
    Ok(Database {
        cluster: cluster.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        password,
    })
}

async fn make_secrets(cluster: &Cluster, namespace: &str, name: &str) -> Result<()> {
    let authority = Authority::make(&format!("{name} database"))?;
    let names = [
        name.to_owned(),
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.cluster.local"),
    ];
    let server = authority.server(&names.each_ref().map(String::as_str), &[])?;
    let write = |suffix: &str, data: Vec<(&'static str, String)>| {
        let secret = format!("{name}-{suffix}");
        async move {
            let data: Vec<_> = data.iter().map(|(key, value)| (*key, value.as_str())).collect();
            secrets::write(cluster, namespace, &secret, &data).await
        }
    };
    let login = |role: &str| vec![("username", role.to_owned()), ("password", secrets::password())];
    write("ca", vec![("ca.crt", authority.certificate().to_owned())]).await?;
    write(
        "tls",
        vec![("tls.crt", server.certificate), ("tls.key", server.key)],
    )
    .await?;
    write("dump", login(DUMP_ROLE)).await?;
    // Last, for it says that all are there.
    write("superuser", login("postgres")).await
}

/// Who may connect: everybody with a password over TLS, and this machine, over a wire that nobody else is on.
fn access(site: Site, first: &[String]) -> String {
    let machine = site.wire().0;
    let usual = [
        "hostssl all all all scram-sha-256".to_owned(),
        format!("hostnossl all postgres {machine}/32 scram-sha-256"),
    ];
    let lines: Vec<_> = first.iter().chain(&usual).map(String::as_str).collect();
    lines.join("\n") + "\n"
}

impl Database {
    /// Its Service's name within the namespace, and the certificate's.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.name
    }

    /// Its Service's name for all namespaces of its cluster.
    #[must_use]
    pub fn full_host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }

    /// The server's pod.
    #[must_use]
    pub fn pod(&self) -> String {
        format!("{}-0", self.name)
    }

    /// A superuser's session, from this machine.
    pub async fn connect(&self, database: &str) -> Result<Client> {
        let (client, connection) = self
            .configuration(database)
            .await?
            .connect(NoTls)
            .await
            .with_context(|| {
                format!(
                    "cannot connect to {database} on {}/{} in {}",
                    self.namespace,
                    self.name,
                    self.cluster.name()
                )
            })?;
        // It ends with its client, or with the server: whoever asks next is told.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    /// How this machine connects as superuser. The address is the pod's: it holds until the pod is replaced.
    pub async fn configuration(&self, database: &str) -> Result<tokio_postgres::Config> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client().clone(), &self.namespace);
        let pod = pods.get(&self.pod()).await?;
        let address = pod.status.and_then(|status| status.pod_ip);
        let address = address.with_context(|| format!("the pod {} has no address", self.pod()))?;
        let mut config = tokio_postgres::Config::new();
        config
            .host(address)
            .user("postgres")
            .password(&self.password)
            .dbname(database);
        Ok(config)
    }

    /// Runs psql in the server's pod as superuser, with SQL on standard input; returns what it printed.
    pub async fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let mut kubectl = self.cluster.kubectl_command()?;
        kubectl.args([
            "exec",
            "--stdin",
            "--namespace",
            &self.namespace,
            &self.pod(),
            "--",
        ]);
        // The password is the pod's own file.
        kubectl.args(["sh", "-c", PSQL, "psql", database]);
        crate::command::output_with_input(&mut kubectl, sql.as_bytes()).await
    }
}

const PSQL: &str = "PGPASSWORD=$(cat /run/postgresql-secrets/superuser/password) PGSSLMODE=require \
                    exec psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -U postgres -d \"$1\" -f -";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_this_machine_connects_without_tls() {
        let access = access(Site::Home, &["hostssl all odd all password".to_owned()]);
        assert!(access.starts_with("hostssl all odd all password\n"));
        let open: Vec<_> = access
            .lines()
            .filter(|line| line.starts_with("host") && !line.starts_with("hostssl"))
            .collect();
        assert_eq!(open, ["hostnossl all postgres 192.0.2.5/32 scram-sha-256"]);
    }
}
