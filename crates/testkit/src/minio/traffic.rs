//! What a store was asked, as MinIO itself counts it.

use anyhow::{Context as _, Result};
use hyper::Method;

use super::Minio;

/// These are of this moment; those of the second version of MinIO's metrics are some seconds old.
const METRICS: &str = "/minio/metrics/v3/api/requests";
const REQUESTS: &str = "minio_api_requests_total";
const RECEIVED: &str = "minio_api_requests_traffic_received_bytes";

/// What a store was asked since it was started: whole numbers, written as its metrics are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Requests that it has answered, whatever the answer.
    pub requests: f64,
    /// Bytes that it has read of their bodies.
    pub received: f64,
}

impl Minio {
    /// What was asked of it so far, administration and metrics left out.
    pub async fn traffic(&self) -> Result<Traffic> {
        let answer = self
            .root()
            .expect(Method::GET, METRICS, &[], &[], Vec::new())
            .await?;
        Traffic::read(std::str::from_utf8(answer.body())?)
    }
}

impl Traffic {
    /// What came after `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            received: self.received - before.received,
        }
    }

    fn read(metrics: &str) -> Result<Self> {
        Ok(Self {
            requests: sum(metrics, REQUESTS)?,
            received: sum(metrics, RECEIVED)?,
        })
    }
}

/// The sum of a metric over all its labels; one that is zero is not there.
fn sum(metrics: &str, name: &str) -> Result<f64> {
    let of = |line: &str| {
        let (_, value) = line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once(' ')?;
        Some(value.parse::<f64>().with_context(|| format!("{name} is {value}")))
    };
    metrics.lines().filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# TYPE minio_api_requests_total counter
minio_api_requests_total{name=\"GetObject\",server=\"127.0.0.1:9000\",type=\"s3\"} 3
minio_api_requests_total{name=\"PutObject\",server=\"127.0.0.1:9000\",type=\"s3\"} 22
minio_api_requests_traffic_received_bytes{server=\"127.0.0.1:9000\",type=\"s3\"} 3.47e+08
minio_api_requests_ttfb_seconds_distribution{le=\"+Inf\",name=\"PutObject\",type=\"s3\"} 22
";

    #[test]
    fn requests_of_every_kind_are_added_up_and_nothing_is_no_error() {
        let told = Traffic::read(METRICS).unwrap();
        let expected = Traffic {
            requests: 25.0,
            received: 347_000_000.0,
        };
        assert_eq!(told, expected);
        assert_eq!(Traffic::read("").unwrap(), Traffic::default());
        assert!(Traffic::read("minio_api_requests_total{} many").is_err());
    }
}
