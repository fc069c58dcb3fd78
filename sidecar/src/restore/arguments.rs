//! The command line of `dataembassy-sidecar restore`. Secrets come from files only.

use std::path::PathBuf;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use dataembassy_archive::Identities;
use dataembassy_contract::restore;
use dataembassy_ledger::{
    PublicKey, RegistryId,
    chain::{CustodianKey, SignerRange},
};

use super::{CONNECT_TIMEOUT, Options, copy::Choice, restoration::default_scratch};
use crate::{
    postgresql::source::{AddressGuard, ClientCertificate, Credentials, Network, Source, Tls, TlsMode, Way},
    resolver::Resolver,
    store::{
        LedgerSettings, Store,
        arguments::{StoreArguments, read_line, read_text},
    },
};

/// Command line of `dataembassy-sidecar restore`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The registry that is restored.
    #[arg(long)]
    registry: RegistryId,
    /// Which copy: `latest`, `latest-drilled` (the newest that passed its latest drill), `sequence:<number>`, or `at-or-before:<time>` such as `at-or-before:2026-11-23T12:00:00Z`.
    #[arg(long, default_value = "latest")]
    copy: Choice,
    /// The age identity file that opens the copy.
    #[arg(long, env = "DATAEMBASSY_IDENTITY_FILE")]
    identity_file: PathBuf,
    /// A public key whose copies are believed: 'ssh-ed25519 AAAA…'. Given once for each.
    #[arg(long = "signer", required = true)]
    signers: Vec<PublicKey>,
    /// The public key of the custodian, which embassy.json names: 'ssh-ed25519 AAAA…'. Given once for each.
    #[arg(long = "custodian-key", required = true)]
    custodian_keys: Vec<PublicKey>,
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    target: TargetArguments,
    /// What to do with a database that holds something already.
    #[arg(long, value_enum, default_value_t = IfNotEmpty::Refuse)]
    if_not_empty: IfNotEmpty,
    /// Restore owners, privileges, roles, settings, event triggers, publications and foreign servers too. Needs a
    /// superuser, and trust in everybody who could change definitions at the source.
    #[arg(long)]
    trust_source: bool,
    /// An extension that may be installed although the target does not call it trusted. Given once for each.
    #[arg(long = "allow-extension")]
    allowed_extensions: Vec<String>,
    /// Take a database that sorts text in another way than the source.
    #[arg(long)]
    accept_different_collation: bool,
    /// Sessions that load and build indexes at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// A folder for temporary files: the table of contents, and a socket, so its path must be short.
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// A file that the result is written to, as JSON.
    #[arg(long)]
    pub(super) result: Option<PathBuf>,
}

/// What to do with a database that holds something already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IfNotEmpty {
    /// Fail and write nothing.
    Refuse,
    /// Drop everything in it but extensions.
    Replace,
    /// Drop everything in it but extensions where it bears the mark of an unfinished restore of the same registry.
    ReplaceUnfinished,
}

impl From<IfNotEmpty> for restore::IfNotEmpty {
    fn from(asked: IfNotEmpty) -> Self {
        match asked {
            IfNotEmpty::Refuse => Self::Refuse,
            IfNotEmpty::Replace => Self::Replace,
            IfNotEmpty::ReplaceUnfinished => Self::ReplaceUnfinished,
        }
    }
}

#[derive(Debug, Args)]
struct TargetArguments {
    /// The server that is restored into: a name or an address.
    #[arg(long, env = "DATAEMBASSY_TARGET_HOST")]
    target_host: String,
    /// Its port.
    #[arg(long, env = "DATAEMBASSY_TARGET_PORT", default_value_t = 5432)]
    target_port: u16,
    /// The database; it exists and is empty.
    #[arg(long, env = "DATAEMBASSY_TARGET_DATABASE")]
    target_database: String,
    /// The role that restores: the database's owner, or a superuser.
    #[arg(long, env = "DATAEMBASSY_TARGET_USER")]
    target_user: String,
    /// A file with its password.
    #[arg(long, env = "DATAEMBASSY_TARGET_PASSWORD_FILE")]
    target_password_file: Option<PathBuf>,
    /// A file with its client certificate and a file with the key, PEM.
    #[arg(long, num_args = 2, value_names = ["CERTIFICATE", "KEY"])]
    target_client_certificate: Option<Vec<PathBuf>>,
    /// A file with the certificates that may sign the server's, PEM.
    #[arg(long, env = "DATAEMBASSY_TARGET_CA")]
    target_ca: PathBuf,
    /// Do not compare the name in the server's certificate.
    #[arg(long)]
    target_any_name: bool,
    /// Holds `<major>/bin/pg_restore`.
    #[arg(
        long,
        env = "DATAEMBASSY_POSTGRESQL_PROGRAMS",
        default_value = "/usr/lib/postgresql"
    )]
    postgresql_programs: PathBuf,
}

impl Arguments {
    pub(super) fn options(&self) -> Options {
        Options {
            rehearsal: None,
            if_not_empty: self.if_not_empty.into(),
            trusting: self.trust_source,
            allowed_extensions: self.allowed_extensions.clone(),
            accept_collation: self.accept_different_collation,
            create_database: false,
            jobs: usize::from(self.jobs),
            scratch: self.scratch.clone().unwrap_or_else(default_scratch),
            prepared_schemas: Vec::new(),
        }
    }

    pub(super) const fn choice(&self) -> Choice {
        self.copy
    }

    pub(super) fn identities(&self) -> anyhow::Result<Identities> {
        Ok(Identities::parse(&read_text(&self.identity_file)?)?)
    }

    pub(super) fn ledger(&self) -> LedgerSettings {
        LedgerSettings {
            registry: self.registry.clone(),
            signers: self.signers.iter().copied().map(SignerRange::always).collect(),
            custodians: self
                .custodian_keys
                .iter()
                .map(|key| CustodianKey {
                    key: *key,
                    until: None,
                })
                .collect(),
            floor: None,
        }
    }

    pub(super) fn store(&self) -> anyhow::Result<Store> {
        self.store.connect()
    }

    pub(super) fn target(&self) -> anyhow::Result<Source> {
        let target = &self.target;
        let client_certificate = match target.target_client_certificate.as_deref() {
            Some([chain, key]) => Some(ClientCertificate {
                chain: read_text(chain)?.into_bytes(),
                key: read_text(key)?.into_bytes(),
            }),
            _ => None,
        };
        let password = target
            .target_password_file
            .as_deref()
            .map(read_line)
            .transpose()?;
        ensure!(
            password.is_some() || client_certificate.is_some(),
            "give --target-password-file or --target-client-certificate: there is no way in without proof"
        );
        Ok(Source {
            way: Way::Network(Network {
                host: target.target_host.clone(),
                port: target.target_port,
                credentials: Credentials {
                    password,
                    client_certificate,
                },
                tls: Tls {
                    mode: if target.target_any_name {
                        TlsMode::VerifyCa
                    } else {
                        TlsMode::VerifyFull
                    },
                    authorities: read_text(&target.target_ca)?.into_bytes(),
                },
                resolver: Resolver::default(),
                // The person who restores names the target; what they can reach is theirs to say.
                address_guard: AddressGuard::none(),
            }),
            database: target.target_database.clone(),
            user: target.target_user.clone(),
            connect_timeout: CONNECT_TIMEOUT,
            programs: target.postgresql_programs.clone(),
        })
    }
}
