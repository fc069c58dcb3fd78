//! From a name to its addresses: by the system's resolver, or, in a test, by one that changes its mind.
//!
//! Nothing is judged here. Who connects asks once, judges what it was told, and connects to just that: a name that is asked for a second
//! time may lead elsewhere.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::net::lookup_host;

/// The addresses of a name, or why there are none.
type Answer = BoxFuture<'static, io::Result<Vec<IpAddr>>>;

/// Who is asked for the addresses of a name.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(&str) -> Answer + Send + Sync>);

impl Resolver {
    /// One that asks `answer`.
    pub fn new(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// The addresses of a name, or the one that is written as an address.
    pub async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        (self.0)(name).await
    }
}

impl Default for Resolver {
    /// The system's.
    fn default() -> Self {
        Self::new(|name| {
            let name = name.to_owned();
            async move {
                let addresses = lookup_host((name.as_str(), 0)).await?;
                let addresses: Vec<IpAddr> = addresses.map(|address| address.ip()).collect();
                io::Result::Ok(addresses)
            }
            .boxed()
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Resolver")
    }
}
