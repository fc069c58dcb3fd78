//! Another way from home to the store: through this process, where requests can be held, lost and counted.
//!
//! It listens at the embassy's node, so that pods at home come to it over the link as they come to the store; what it passes on
//! reaches the store over this machine's wire.

use std::ops::Deref;

use anyhow::Result;
use dataembassy_testkit::{authority::Authority, fault_proxy::FaultProxy};
use tokio::net::TcpListener;

use super::Store;
use crate::cluster::{Site, network};

/// The name under which it is reached.
pub const HOST: &str = "gate.embassy.example";

/// An open detour; it closes when it is dropped.
pub struct Detour {
    authority: Authority,
    proxy: FaultProxy,
}

impl Detour {
    /// Opens one, with an authority of its own.
    pub fn open(store: &Store) -> Result<Self> {
        let authority = Authority::new("detour")?;
        let certificate = authority.sign(&[HOST])?;
        let listener = TcpListener::from_std(network::listen(Site::Embassy)?)?;
        let proxy = FaultProxy::listen(listener, &certificate, Store::address(), store.ca())?;
        Ok(Self { authority, proxy })
    }

    /// Where pods find it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://{HOST}:{}", self.proxy.port())
    }

    /// The certificate of its authority, in PEM.
    #[must_use]
    pub fn ca(&self) -> String {
        self.authority.certificate()
    }
}

impl Deref for Detour {
    type Target = FaultProxy;

    fn deref(&self) -> &FaultProxy {
        &self.proxy
    }
}
