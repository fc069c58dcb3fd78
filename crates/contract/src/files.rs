//! Where the sidecar finds what the operator gives it: files, relative to its configuration folder, and variables; and the ports it
//! answers on.

/// The folder that the operator mounts into the sidecar's container.
pub const CONFIG_DIR: &str = "/etc/dataembassy";
/// The configuration: one JSON document, a [`MirrorConfig`](crate::config::MirrorConfig).
pub const CONFIG_FILE: &str = "config.json";
/// The store's access key id, in the deposit Secret's key `accessKeyId`.
pub const DEPOSIT_ACCESS_KEY_ID: &str = "secrets/deposit/accessKeyId";
/// The store's secret access key, in the deposit Secret's key `secretAccessKey`.
pub const DEPOSIT_SECRET_ACCESS_KEY: &str = "secrets/deposit/secretAccessKey";
/// The dump role's name, in the database Secret's key `username`.
pub const DATABASE_USERNAME: &str = "secrets/database/username";
/// The dump role's password, in the database Secret's key `password`; absent where a client certificate is used.
pub const DATABASE_PASSWORD: &str = "secrets/database/password";
/// The dump role's client certificate chain in PEM, in the database Secret's key `tls.crt`; optional.
pub const DATABASE_CERTIFICATE: &str = "secrets/database/tls.crt";
/// The private key of the client certificate in PEM, in the database Secret's key `tls.key`; optional.
pub const DATABASE_CERTIFICATE_KEY: &str = "secrets/database/tls.key";
/// The authorities that may sign the database server's certificate, PEM, in the CA Secret's key `ca.crt`.
pub const DATABASE_CA: &str = "secrets/database-ca/ca.crt";
/// The key that signs ledger entries, an OpenSSH private key, in the signing Secret's key `ssh-privatekey`.
pub const SIGNING_KEY: &str = "secrets/signing/ssh-privatekey";

/// The store's access key id of the custodian, in the custody Secret's key `accessKeyId`.
pub const CUSTODY_ACCESS_KEY_ID: &str = "secrets/custody/accessKeyId";
/// The store's secret access key of the custodian, in the custody Secret's key `secretAccessKey`.
pub const CUSTODY_SECRET_ACCESS_KEY: &str = "secrets/custody/secretAccessKey";
/// The key that signs custody entries, an OpenSSH private key, in the custodian's signing Secret's key `ssh-privatekey`.
pub const CUSTODY_SIGNING_KEY: &str = "secrets/signing/ssh-privatekey";
/// The access key id of the user that the store is probed with, in the check Secret's key `accessKeyId`; optional.
pub const CHECK_ACCESS_KEY_ID: &str = "secrets/check/accessKeyId";
/// Its secret access key, in the check Secret's key `secretAccessKey`; optional.
pub const CHECK_SECRET_ACCESS_KEY: &str = "secrets/check/secretAccessKey";
/// The certificate chain that a gate shows, PEM, in the gate's TLS Secret's key `tls.crt`.
pub const GATE_CERTIFICATE: &str = "secrets/tls/tls.crt";
/// The private key of that certificate, PEM, in the gate's TLS Secret's key `tls.key`.
pub const GATE_CERTIFICATE_KEY: &str = "secrets/tls/tls.key";

/// The store's access key id of a restore, in the retrieval Secret's key `accessKeyId`.
pub const RETRIEVAL_ACCESS_KEY_ID: &str = "secrets/retrieval/accessKeyId";
/// The store's secret access key of a restore, in the retrieval Secret's key `secretAccessKey`.
pub const RETRIEVAL_SECRET_ACCESS_KEY: &str = "secrets/retrieval/secretAccessKey";
/// The age identity that opens a copy, in the identity Secret's key `identity.txt`.
pub const IDENTITY: &str = "secrets/identity/identity.txt";
/// Where a container leaves its last words for whoever reads its pod's status, at most 4,096 bytes.
pub const TERMINATION_MESSAGE: &str = "/dev/termination-log";

/// The folder that both containers of a drill share: an emptyDir.
pub const CELL_DIR: &str = "/cell";
/// The folder in it that the database of a drill has its socket in, named as PostgreSQL names it with port 5432.
pub const CELL_SOCKET_DIR: &str = "/cell/socket";
/// The folder that only the database container of a drill has: an emptyDir with the data directory in it.
pub const CELL_DATA_DIR: &str = "/cell-data";

/// The authorities that an `https` collector of traces is checked against, PEM; absent where there are none.
pub const OTLP_CA: &str = "otlp/ca.crt";

/// The variable that says where traces go, OTLP over HTTP; they go nowhere where it is not set.
pub const OTLP_ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The variable that names the file with the authorities that an `https` collector is checked against.
pub const OTLP_CERTIFICATE_VARIABLE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

/// The port of `/status`, `/livez` and `/readyz`.
pub const STATUS_PORT: u16 = 8080;
/// The port of `/metrics`.
pub const METRICS_PORT: u16 = 9090;
/// The port at which a gate takes requests for the store.
pub const GATE_PORT: u16 = 8443;
/// The path of the report.
pub const STATUS_PATH: &str = "/status";
