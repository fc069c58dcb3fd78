//! `store check`: finds out what a store, or the gate before it, really does with deposit credentials.
//!
//! Everything happens in a registry `check-<8 hex digits>` with its own deposit user of that name, never in a real one. What the store
//! must do and does not is a reason not to use it; what it lets through beside is a reason to let nobody but the gate reach it; and
//! what a gate lets through is a hole in the gate. The objects that are left behind are a few bytes each, and locked like all others.

mod doors;
mod duties;
mod eyes;
mod ground;
mod outcome;
mod probe;
mod signature;
mod wire;

use clap::{Args, ValueEnum};
use dataembassy_contract::Reason;
use dataembassy_ledger::RegistryId;
use dataembassy_ledger::value::{InvalidValue, Term};
use jiff::Timestamp;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use std::path::PathBuf;

pub use outcome::CheckResult;
pub use probe::{Finding, Harm, Kind, Outcome};

use super::arguments::{StoreArguments, read_keys};
use super::{DepositKeys, StoreError, StoreSettings};
use duties::Lock;
use eyes::Eyes;
use ground::Ground;
use signature::Signer;
use wire::Wire;

/// Command line of `dataembassy-sidecar store check`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The endpoint is a gate's: whatever it does not refuse by itself is a hole, and ends the command with an error.
    #[arg(long)]
    through_gate: bool,
    /// A folder with the keys of a second user in two files, accessKeyId and secretAccessKey: the custodian's, or the store's root. It
    /// sees the locks, and shows that not even it can delete what is locked. Only at the store itself.
    #[arg(long, env = "DATAEMBASSY_STORE_WITNESS", conflicts_with = "through_gate")]
    witness: Option<PathBuf>,
    /// The term that the gate has for the registry of the check.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=9_999))]
    term: u64,
    /// The least default retention in days that the bucket must have, COMPLIANCE.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    least_days: u64,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line for each probe.
    Table,
    /// One JSON document of at most 128 KiB.
    Json,
}

/// What is checked, and as whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The store, or the gate before it.
    pub settings: StoreSettings,
    /// The deposit user of the registry for checks, whose name it has.
    pub deposit: DepositKeys,
    /// A user who may read locks and segments; only without a gate.
    pub witness: Option<DepositKeys>,
    /// Whether a gate stands before the store.
    pub through_gate: bool,
    /// The term that the gate has for the registry.
    pub term: Term,
    /// Whether a GOVERNANCE lock will do.
    pub governance_suffices: bool,
    /// The least default retention in days.
    pub least_days: u64,
}

/// Why a check could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The user is not one for checks.
    #[error(
        "'{name}' is not a user for checks: make a deposit user named check- and eight hex digits, such as check-0a1b2c3d, and give \
         its keys; a check never runs in a real registry"
    )]
    NotForChecks {
        /// Its name.
        name: String,
    },
    /// There is no key left that no check has used.
    #[error("no key is left for a probe ({0}): make a new user for checks")]
    NoKey(InvalidValue),
    /// The store cannot be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A probe cannot be signed.
    #[error(transparent)]
    NotSigned(#[from] signature::NotSigned),
    /// The connection was closed where an answer is due.
    #[error("the connection was closed without an answer to an ordinary request: is it an S3 endpoint?")]
    NoAnswer,
    /// Not even an ordinary put is taken.
    #[error(
        "an ordinary put of {key} by {user} was refused ({status} {code}): check the user's policy, that the bucket exists and, \
         through a gate, that it knows the registry"
    )]
    NothingTaken {
        /// The check's user.
        user: String,
        /// The key.
        key: String,
        /// The HTTP status.
        status: u16,
        /// The store's code, or the word of the gate's refusal.
        code: String,
    },
    /// One cannot see what came of a probe.
    #[error(
        "{user} may not {what} of the registry for checks ({status}): compare its policy with the template"
    )]
    CannotLook {
        /// What was tried.
        what: &'static str,
        /// Who tried.
        user: String,
        /// The HTTP status.
        status: u16,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl CheckError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NotForChecks { .. } => Reason::SecretInvalid,
            Self::Store(error) => error.reason(),
            Self::NothingTaken { .. } | Self::CannotLook { .. } => Reason::StoreAccessDenied,
            Self::NoAnswer => Reason::StoreFailed,
            Self::NoKey(_) | Self::NotSigned(_) | Self::NoRandomness => Reason::InternalError,
        }
    }
}

/// Runs `store check`: returns what is to be printed, and whether all is well.
pub async fn run(arguments: &Arguments) -> anyhow::Result<(String, Result<(), String>)> {
    let plan = Plan {
        settings: arguments.store.settings()?,
        deposit: arguments.store.keys()?,
        witness: arguments.witness.as_deref().map(read_keys).transpose()?,
        through_gate: arguments.through_gate,
        term: Term::new(arguments.term)?,
        governance_suffices: false,
        least_days: arguments.least_days,
    };
    let result = check(&plan).await?;
    let printed = match arguments.output {
        Output::Table => result.table().trim_end().to_owned(),
        Output::Json => serde_json::to_string_pretty(&result)?,
    };
    let verdict = if result.bad().is_empty() {
        Ok(())
    } else {
        Err(result.verdict())
    };
    Ok((printed, verdict))
}

/// Tries everything and says what came of it.
pub async fn check(plan: &Plan) -> Result<CheckResult, CheckError> {
    let name = &plan.deposit.access_key_id;
    let registry: RegistryId = name
        .parse()
        .ok()
        .filter(RegistryId::is_for_checks)
        .ok_or_else(|| CheckError::NotForChecks { name: name.clone() })?;
    let (bucket, region) = (plan.settings.bucket.clone(), plan.settings.region.clone());
    let wire = Wire::to(&plan.settings)?;
    let deposit = Signer::new(plan.deposit.clone(), region.clone());
    let witness = plan.witness.clone().filter(|_| !plan.through_gate);
    let eyes = Eyes {
        wire: wire.clone(),
        bucket: bucket.clone(),
        is_witness: witness.is_some(),
        user: witness.map_or_else(|| deposit.clone(), |keys| Signer::new(keys, region)),
    };
    let mut random = [0; 16];
    OsRng
        .try_fill_bytes(&mut random)
        .map_err(|_| CheckError::NoRandomness)?;
    let mut ground = Ground::new(
        wire,
        deposit,
        eyes,
        bucket.clone(),
        registry.clone(),
        plan.term,
        random,
    )?;
    let lock = Lock {
        governance_suffices: plan.governance_suffices,
        least_days: plan.least_days,
    };
    let duties = duties::check(&ground, lock).await?;
    ground.lock_configuration = duties.lock_configuration;
    let mut findings = duties.findings;
    findings.extend(doors::try_all(&ground, plan.through_gate).await?);
    Ok(CheckResult {
        endpoint: plan.settings.endpoint.to_string(),
        bucket,
        registry: registry.to_string(),
        through_gate: plan.through_gate,
        checked_at: Timestamp::now(),
        clock_ahead_seconds: duties.clock_ahead_seconds,
        findings,
    })
}
