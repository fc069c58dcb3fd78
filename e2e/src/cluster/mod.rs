//! One real Kubernetes cluster of one node, from its processes up.
//!
//! ```text
//! network     namespaces, the link between the sites, a wire to this machine
//! cgroup      what the kubelet puts pods into
//! pki         certificates
//! configuration, component   what each process reads, and how it is started
//! process     processes that outlive this one
//! policy      NetworkPolicies as nftables rules
//! load_balancer  the node's address for Services that ask for one
//! kept_logs   what pods have logged, those too that are gone
//! kept_secrets   what Secrets have held, those too that are gone
//! lifecycle   bringing a cluster up, and leaving nothing of it
//! remains     what is left of it all the same
//! overview    what of both clusters runs
//! container   one container as the kernel sees it
//! access      what a test does with it: apply, wait, exec, logs, Helm
//! authorization  who may do what in it
//! ```

mod access;
pub mod authorization;
mod cgroup;
mod component;
mod configuration;
pub mod container;
pub mod kept_logs;
pub mod kept_secrets;
mod lifecycle;
pub mod load_balancer;
pub mod network;
mod overview;
pub mod pki;
pub mod policy;
mod process;
mod remains;
mod runtime;
mod site;

use std::path::PathBuf;

use anyhow::{Context, Error, Result};

pub use self::{
    access::Helm,
    component::{Component, KEEP_LOGS, PROVIDE_NETWORK},
    configuration::{ASTRAY_NAME, EMBASSY_NAMES},
    lifecycle::{destroy, down, is_up, put_disk_back, runs, up},
    overview::Overview,
    remains::remains,
    site::{BED, BEDS, Site, bed_number, state, state_of},
};
use crate::cache::Cache;

/// A running cluster.
#[derive(Clone)]
pub struct Cluster {
    site: Site,
    cache: Cache,
    client: kube::Client,
}

impl Cluster {
    /// A handle on a cluster that is up.
    pub async fn connect(site: Site, cache: &Cache) -> Result<Self> {
        bed_number().map_err(Error::msg)?;
        let path = site.folder().join("admin.kubeconfig");
        let kubeconfig = kube::config::Kubeconfig::read_from(&path)
            .with_context(|| format!("the {site} cluster is not up: run `cargo e2e up` first"))?;
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
                .await?;
        let client = kube::Client::try_from(config)?;
        Ok(Self {
            site,
            cache: cache.clone(),
            client,
        })
    }

    /// Which one it is.
    #[must_use]
    pub const fn site(&self) -> Site {
        self.site
    }

    /// `home` or `embassy`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.site.name()
    }

    /// Where its programs are.
    #[must_use]
    pub const fn cache(&self) -> &Cache {
        &self.cache
    }

    /// A client with all rights.
    #[must_use]
    pub const fn client(&self) -> &kube::Client {
        &self.client
    }

    /// The kubeconfig of that client.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.site.folder().join("admin.kubeconfig")
    }
}
