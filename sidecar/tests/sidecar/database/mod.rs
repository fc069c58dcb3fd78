//! The server of an activated registry, as its container runs it: begun, begun again, killed, and restored into.

mod restored;
mod script;

use std::time::Duration;

use dataembassy_contract::database::{READY_SCRIPT, SCRIPT, USER};
use dataembassy_sidecar::postgresql::{
    Connection, Source,
    source::{AddressGuard, Credentials, Network, Tls, TlsMode, Way},
};
use dataembassy_sidecar::resolver::Resolver;
use dataembassy_testkit::{
    authority::Authority,
    postgresql::{PASSWORD, PodContainer, programs},
    process::free_port,
};

/// A managed database's container and Secret.
struct Managed {
    container: PodContainer,
    port: u16,
    authority: Authority,
}

impl Managed {
    /// One with everything that it needs; nothing runs yet.
    fn new(major: u32) -> Self {
        let port = free_port().unwrap();
        let variables = [
            ("DATABASE_DATA_DIR", "/srv/data"),
            ("DATABASE_RUN_DIR", "/srv/run"),
            ("DATABASE_SECRET_DIR", "/srv/secret"),
            ("DATABASE_ADDRESS", "127.0.0.1"),
            ("DATABASE_LOOK_SECONDS", "1"),
            ("DATABASE_PORT", &port.to_string()),
        ];
        let folders = ["data", "run", "secret"];
        let container = PodContainer::new(major, u32::try_from(USER).unwrap(), &folders, &variables).unwrap();
        let managed = Self {
            container,
            port,
            authority: Authority::new("an authority").unwrap(),
        };
        managed.container.give("secret/username", "postgres").unwrap();
        managed.container.give("secret/password", PASSWORD).unwrap();
        managed.certify(&managed.authority);
        managed
    }

    /// Puts a certificate of this authority into the Secret.
    fn certify(&self, authority: &Authority) {
        let signed = authority.sign(&["localhost"]).unwrap();
        self.container.give("secret/tls.key", &signed.key).unwrap();
        self.container
            .give("secret/tls.crt", &signed.certificate)
            .unwrap();
    }

    /// Begins it, and waits until the kubelet would let sessions in.
    fn start(&mut self) {
        self.container.start(SCRIPT).unwrap();
        self.container.until(READY_SCRIPT).unwrap();
    }

    fn started(major: u32) -> Self {
        let mut managed = Self::new(major);
        managed.start();
        managed
    }

    /// The way in that a client has who knows this authority and this password.
    fn source(&self, database: &str, authority: &Authority, password: &str) -> Source {
        Source {
            way: Way::Network(Network {
                host: "localhost".into(),
                port: self.port,
                credentials: Credentials {
                    password: Some(password.into()),
                    client_certificate: None,
                },
                tls: Tls {
                    mode: TlsMode::VerifyFull,
                    authorities: authority.certificate().into_bytes(),
                },
                resolver: Resolver::default(),
                address_guard: AddressGuard::none(),
            }),
            database: database.into(),
            user: "postgres".into(),
            connect_timeout: Duration::from_secs(20),
            programs: programs().unwrap().to_owned(),
        }
    }

    async fn session(&self, database: &str) -> Connection {
        let source = self.source(database, &self.authority, PASSWORD);
        Connection::open(&source).await.unwrap()
    }

    /// One value, as text.
    async fn value(&self, database: &str, query: &str) -> String {
        let mut session = self.session(database).await;
        let rows = session.query(format!("SELECT ({query})::text")).await.unwrap();
        rows[0].text(0).unwrap().to_owned()
    }

    async fn execute(&self, database: &str, statements: &str) {
        self.session(database).await.execute(statements).await.unwrap();
    }
}
