//! Where traces must not go, whatever the collector's name leads to.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::net::lookup_host;
use tower::Service;

/// Why something must not be connected to, if it must not.
type Verdict = Result<(), String>;

/// Says whether an address may be connected to, and a name asked for; the error is the reason why not.
#[derive(Clone)]
pub struct AddressGuard {
    addresses: Arc<dyn Fn(IpAddr) -> Verdict + Send + Sync>,
    names: Arc<dyn Fn(&str) -> Verdict + Send + Sync>,
}

impl AddressGuard {
    /// A guard that asks `judge` about every address, and lets every name through.
    pub fn new(judge: impl Fn(IpAddr) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self {
            addresses: Arc::new(judge),
            names: Arc::new(|_: &str| Ok(())),
        }
    }

    /// The same guard, which asks `judge` about every name as well: by its addresses alone nobody can tell whose it is.
    #[must_use]
    pub fn with_names(self, judge: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self {
            names: Arc::new(judge),
            ..self
        }
    }

    /// A guard that lets every address and every name through.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| Ok(()))
    }

    pub(crate) fn judge(&self, address: IpAddr) -> Result<(), String> {
        (self.addresses)(address)
    }

    pub(crate) fn judge_name(&self, name: &str) -> Result<(), String> {
        (self.names)(name)
    }
}

impl fmt::Debug for AddressGuard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AddressGuard")
    }
}

/// Judges a name, asks the system's resolver, and judges each address. A connection goes to one of these, and nobody asks again for it.
#[derive(Clone, Debug)]
pub(crate) struct GuardedResolver(pub(crate) AddressGuard);

impl Service<Name> for GuardedResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.0.clone();
        Box::pin(async move {
            guard.judge_name(name.as_str()).map_err(io::Error::other)?;
            let addresses: Vec<SocketAddr> = lookup_host((name.as_str(), 0)).await?.collect();
            for address in &addresses {
                guard.judge(address.ip()).map_err(io::Error::other)?;
            }
            Ok(addresses.into_iter())
        })
    }
}
