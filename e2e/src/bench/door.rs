//! By which door a copy comes to the store: it is where its requests are counted.

use anyhow::Result;
use dataembassy_testkit::{
    fault_proxy::FaultProxy,
    minio::{Minio, Traffic},
};
use hyper::header::CONTENT_LENGTH;

/// Who counts what is asked of the store.
#[derive(Clone, Copy)]
pub(super) enum Door<'a> {
    /// The store itself.
    Minio(&'a Minio),
    /// Who stands before it, and does not pass everything on.
    Proxy(&'a FaultProxy),
}

impl Door<'_> {
    /// What came by it so far.
    pub(super) async fn traffic(self) -> Result<Traffic> {
        match self {
            Self::Minio(minio) => minio.traffic().await,
            Self::Proxy(proxy) => through(proxy),
        }
    }
}

fn through(proxy: &FaultProxy) -> Result<Traffic> {
    let seen = proxy.seen();
    let lengths = seen.iter().filter_map(|request| {
        let length = request.headers.get(CONTENT_LENGTH)?;
        length.to_str().ok()?.parse::<f64>().ok()
    });
    Ok(Traffic {
        requests: f64::from(u32::try_from(seen.len())?),
        received: lengths.sum(),
    })
}
