//! The metrics of a process, and what the reference pages say of them: one list, so that the two cannot drift.

use std::fmt::Write as _;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::{Metric, Registry, Unit};

/// The media type of what [`Catalog::encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One metric, for the reference page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name with its unit, without suffixes such as `_total`.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it counts, as a sentence without a full stop.
    pub help: &'static str,
    /// Its labels; each has values from a closed set.
    pub labels: &'static [&'static str],
}

/// The metrics of one process.
#[derive(Debug)]
pub struct Catalog {
    registry: Registry,
    descriptions: Vec<Description>,
}

impl Catalog {
    /// An empty list whose names begin with `prefix` and an underscore.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self {
            registry: Registry::with_prefix(prefix),
            descriptions: Vec::new(),
        }
    }

    /// Adds a metric. `metric` is a handle that shares its values: keep a clone to count with.
    pub fn add<M: Metric + Clone>(
        &mut self,
        name: &'static str,
        help: &'static str,
        unit: Option<Unit>,
        labels: &'static [&'static str],
        metric: &M,
    ) {
        let full = match &unit {
            Some(unit) => format!("{name}_{}", unit.as_str()),
            None => name.to_owned(),
        };
        let kind = metric.metric_type().as_str().to_owned();
        match unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit, metric.clone()),
            None => self.registry.register(name, help, metric.clone()),
        }
        self.descriptions.push(Description {
            name: full,
            kind,
            help,
            labels,
        });
    }

    /// All values in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String fails only if a metric's own encoder does; what was written until then is still true.
        if encode(&mut text, &self.registry).is_err() {
            let _ = writeln!(text, "# EOF");
        }
        text
    }

    /// What there is, in the order in which it was added.
    #[must_use]
    pub fn descriptions(&self) -> &[Description] {
        &self.descriptions
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn what_is_counted_is_encoded_and_described_under_one_name() {
        let mut catalog = Catalog::new("dataembassy_sidecar");
        let sealed: Counter = Counter::default();
        catalog.add(
            "sealed",
            "Bytes that were sealed",
            Some(Unit::Bytes),
            &[],
            &sealed,
        );
        sealed.inc_by(7);
        assert!(
            catalog
                .encode()
                .contains("dataembassy_sidecar_sealed_bytes_total 7"),
            "{}",
            catalog.encode()
        );
        assert_eq!(catalog.descriptions()[0].name, "sealed_bytes");
        assert_eq!(catalog.descriptions()[0].kind, "counter");
    }
}
