//! What a mirror is told, as an operator would write it.

use std::fs;

use anyhow::{Context as _, Result};
use dataembassy_contract::{config::MirrorConfig, files};
use dataembassy_testkit::minio::BUCKET;
use serde_json::json;

use super::rig::{DATABASE, MAX_CONNECTIONS, REGISTRY, Rig};

/// Where a mirror finds both servers, or who stands before them. All of them show certificates of the servers' own authorities.
pub(super) struct Servers {
    /// The database's port.
    pub(super) database: u16,
    /// The store's endpoint.
    pub(super) store: String,
}

impl Servers {
    /// The servers themselves.
    pub(super) fn of(rig: &Rig) -> Self {
        Self {
            database: rig.server.port(),
            store: rig.minio.endpoint(),
        }
    }
}

impl Rig {
    /// Writes the sidecar's configuration, with a schedule that never comes due.
    pub(super) fn configure(&self, trigger: &str, servers: &Servers) -> Result<()> {
        let store_ca = self.minio.authority().certificate();
        let document = json!({
            "mirror": {"namespace": "bench", "name": REGISTRY, "uid": "00000000-0000-4000-8000-000000000000"},
            "generation": 1,
            "registry": REGISTRY,
            "embassy": {
                "name": "bench",
                "store": {"endpoint": servers.store, "bucket": BUCKET, "region": "us-east-1", "caBundle": store_ca},
                "recipients": [{"name": "bench", "publicKey": self.recipient}],
                "custodianKeys": [{"publicKey": self.custodian}],
                "immutability": {"mode": "Compliance", "lockOnArrival": "1d"},
            },
            "source": {"postgresql": {
                "host": "localhost", "port": servers.database, "database": DATABASE, "tls": {"mode": "VerifyFull"},
                "maxConnections": MAX_CONNECTIONS, "maxSnapshotAge": "1h", "yieldToDDLAfter": "30s",
            }},
            "schedule": {"cron": "0 0 29 2 *", "timeZone": "UTC", "deadline": "1h"},
            "trigger": trigger,
            "suspend": true,
            "objectives": {"rpo": "1d"},
        });
        let config: MirrorConfig =
            serde_json::from_value(document).context("the configuration is not one")?;
        fs::write(self.path("config").join(files::CONFIG_FILE), config.to_json()?)?;
        Ok(())
    }
}
