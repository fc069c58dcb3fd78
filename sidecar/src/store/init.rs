//! `store init`: makes a bucket a store by writing `embassy.json` once. It makes nothing that it cannot verify.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::Args;
use dataembassy_ledger::value::{StoreId, Timestamp};
use dataembassy_ledger::{ObjectKey, SigningKey, StoreDocument};
use rand::TryRngCore as _;
use rand::rngs::OsRng;

use super::arguments::{StoreArguments, read_text};
use super::ledger::{LedgerError, read_document};
use super::{PutOutcome, Requirements, Store, probe};

/// Command line of `dataembassy-sidecar store init`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The custodian's private key, OpenSSH form; it signs embassy.json.
    #[arg(long, env = "DATAEMBASSY_CUSTODIAN_KEY")]
    custodian_key: PathBuf,
    /// Makes the custodian's key if the file does not exist; its public half goes beside it as `<file>.pub`.
    #[arg(long)]
    generate_key: bool,
    /// The least default retention in days that the bucket must have, COMPLIANCE.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    least_days: u64,
}

/// What `store init` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Initialised {
    /// It wrote `embassy.json`.
    Written,
    /// `embassy.json` was there already and names this key.
    Already,
}

/// Runs `store init` and returns what it did, one line each.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Vec<String>> {
    let mut told = Vec::new();
    let store = arguments.store.connect()?;
    let requirements = Requirements {
        governance_suffices: false,
        least_days: arguments.least_days,
    };
    let found = probe(&store, requirements).await?;
    told.push(format!(
        "bucket {} at {}: versioning on, Object Lock COMPLIANCE for {} days by default",
        store.bucket(),
        store.endpoint(),
        found.locked_days
    ));
    let key = custodian_key(arguments, &mut told)?;
    let line = match initialise(&store, &key).await? {
        Initialised::Written => "embassy.json written",
        Initialised::Already => "embassy.json is there already and names this key; nothing written",
    };
    told.push(line.to_owned());
    let document = read_document(&store).await?;
    told.push(format!(
        "store id {}, embassy.json SHA-256 {}",
        document.document.store_id, document.digest
    ));
    told.push(format!("custodian key {}", key.public_key()));
    Ok(told)
}

/// Writes `embassy.json` if there is none, and fails if there is one that names another key.
pub async fn initialise(store: &Store, key: &SigningKey) -> anyhow::Result<Initialised> {
    match read_document(store).await {
        Ok(found) => {
            ensure!(
                found.document.custodian_key == key.public_key(),
                "embassy.json is there already and names custodian key {}: this bucket is another store",
                found.document.custodian_key
            );
            return Ok(Initialised::Already);
        }
        Err(LedgerError::NotInitialised { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut id = [0; 16];
    OsRng
        .try_fill_bytes(&mut id)
        .context("the system gives no random numbers")?;
    let document = StoreDocument {
        store_id: StoreId::from_bytes(id),
        custodian_key: key.public_key(),
        at: Timestamp::from_jiff(jiff::Timestamp::now())?,
    };
    let object = document.sign(key)?;
    let bytes = Bytes::from(object.bytes);
    let outcome = store
        .put(&ObjectKey::Embassy, bytes.clone(), object.digest)
        .await?;
    // Whoever came between must be known before anything builds on it.
    let found = read_document(store).await?;
    ensure!(
        outcome != PutOutcome::Exists && found.digest == object.digest,
        "somebody else wrote embassy.json at the same time: run `store init` again to see whose it is"
    );
    // Whoever may write a key twice may fork a ledger.
    ensure!(
        store.put(&ObjectKey::Embassy, bytes, object.digest).await? == PutOutcome::Exists,
        "the store at {} took embassy.json a second time although it was told not to (If-None-Match): it cannot hold a ledger; use a \
         store with conditional writes, and a new bucket",
        store.endpoint()
    );
    Ok(Initialised::Written)
}

fn custodian_key(arguments: &Arguments, told: &mut Vec<String>) -> anyhow::Result<SigningKey> {
    let path = &arguments.custodian_key;
    if path.exists() {
        return Ok(SigningKey::from_openssh(&read_text(path)?)?);
    }
    if !arguments.generate_key {
        bail!(
            "{} does not exist: give the custodian's key, or --generate-key to make one",
            path.display()
        );
    }
    let mut seed = [0; 32];
    OsRng
        .try_fill_bytes(&mut seed)
        .context("the system gives no random numbers")?;
    let key = SigningKey::from_seed(&seed);
    seed.fill(0);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{} cannot be made", path.display()))?;
    std::io::Write::write_all(&mut file, key.to_openssh()?.as_bytes())?;
    let public = path.with_file_name(format!(
        "{}.pub",
        path.file_name()
            .context("the custodian's key needs a file name")?
            .to_string_lossy()
    ));
    std::fs::write(&public, format!("{}\n", key.public_key()))
        .with_context(|| format!("{} cannot be written", public.display()))?;
    told.push(format!(
        "custodian key made: {} and {}",
        path.display(),
        public.display()
    ));
    Ok(key)
}
