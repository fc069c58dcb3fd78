//! How a command line names a store: the flags that `store` and `restore` share.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use dataembassy_contract::{Endpoint, Sovereignty, sovereignty::Loopback};

use super::{DepositKeys, Store, StoreSettings};

/// Where a store is, and as whom it is reached.
#[derive(Debug, Args)]
pub struct StoreArguments {
    /// The store's endpoint, such as `https://store.embassy.example:9000`.
    #[arg(long, env = "DATAEMBASSY_STORE_ENDPOINT")]
    endpoint: String,
    /// The bucket, made with versioning, Object Lock and a default retention.
    #[arg(long, env = "DATAEMBASSY_STORE_BUCKET")]
    bucket: String,
    /// The region that requests are signed for.
    #[arg(long, env = "DATAEMBASSY_STORE_REGION", default_value = "us-east-1")]
    region: String,
    /// A file with the certificates that may sign the store's, PEM; without it, those of the system.
    #[arg(long, env = "DATAEMBASSY_STORE_CA")]
    ca_bundle: Option<PathBuf>,
    /// A folder with the store user's keys in two files: accessKeyId and secretAccessKey.
    #[arg(long, env = "DATAEMBASSY_STORE_CREDENTIALS")]
    credentials: PathBuf,
    /// Lets plain HTTP through, for a test store.
    #[arg(long)]
    allow_insecure: bool,
    /// Lets loopback addresses through, for a store on the same machine.
    #[arg(long)]
    allow_loopback: bool,
}

impl StoreArguments {
    /// Reads the files that are named and prepares the client; nothing is sent yet.
    pub fn connect(&self) -> anyhow::Result<Store> {
        Ok(Store::connect(&self.settings()?, &self.keys()?)?)
    }

    /// Where the store is.
    pub(crate) fn settings(&self) -> anyhow::Result<StoreSettings> {
        let endpoint = Endpoint::parse(&self.endpoint, self.allow_insecure)?;
        let sovereignty = Sovereignty::default().with_loopback(loopback(self.allow_loopback));
        let bundle = self.ca_bundle.as_deref().map(read_text).transpose()?;
        let settings = StoreSettings::new(endpoint, self.bucket.clone(), self.region.clone(), sovereignty)?;
        Ok(settings.with_ca_bundle(bundle)?)
    }

    /// As whom it is reached.
    pub(super) fn keys(&self) -> anyhow::Result<DepositKeys> {
        read_keys(&self.credentials)
    }
}

/// The same flags where all of them may be left out, because there may be another way to know the store, or no store at all.
#[derive(Debug)]
pub(crate) struct OptionalStore {
    /// The store, if an endpoint was given.
    pub given: Option<StoreArguments>,
    /// Whether loopback addresses are let through.
    pub loopback: Loopback,
}

impl FromArgMatches for OptionalStore {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = matches.contains_id("endpoint");
        Ok(Self {
            given: given
                .then(|| StoreArguments::from_arg_matches(matches))
                .transpose()?,
            loopback: loopback(matches.get_flag("allow_loopback")),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for OptionalStore {
    fn augment_args(command: Command) -> Command {
        // Of an update nothing is required.
        StoreArguments::augment_args_for_update(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

const fn loopback(allowed: bool) -> Loopback {
    if allowed {
        Loopback::Allowed
    } else {
        Loopback::Refused
    }
}

/// A store user's keys in a folder.
pub(super) fn read_keys(folder: &Path) -> anyhow::Result<DepositKeys> {
    Ok(DepositKeys {
        access_key_id: read_line(&folder.join("accessKeyId"))?,
        secret_access_key: read_line(&folder.join("secretAccessKey"))?,
    })
}

/// A file that the command line names.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// A secret in a file of its own, without the line feed that editors add.
pub(crate) fn read_line(path: &Path) -> anyhow::Result<String> {
    Ok(read_text(path)?.trim_end_matches(['\r', '\n']).to_owned())
}
