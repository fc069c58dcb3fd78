//! Judges a restore together with its embassy and its registry. What comes out holds only values that were checked, so building cannot
//! fail.

use dataembassy_contract::config::{Floor, TlsMode};
use dataembassy_contract::custodian::SignerConfig;
use dataembassy_contract::restore::{CopyChoice, IfNotEmpty, RehearsalConfig, RestoreConfig, TargetConfig};
use dataembassy_contract::{Duration, Reason, Sovereignty};
use dataembassy_crds::{self as crds, RegistryMirror, RegistryRestore, Sidecar};
use dataembassy_ledger::RegistryId;
use kube::ResourceExt;

use crate::assertion;
use crate::custody::validate::judge_signers;
use crate::embassy::validate::{CheckedEmbassy, Refusal, check_referred, duration, public_key};
use crate::heads;
use crate::labels::DATABASE;
use crate::restore::dereference::Found;

/// A restore that was judged and found valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Everything that the Job is told.
    pub config: RestoreConfig,
    /// The Secrets that its volume holds.
    pub secrets: Secrets,
    /// The longest that it may take.
    pub deadline: Duration,
    /// Settings of the pod.
    pub sidecar: Sidecar,
    /// The managed database that its pod is let into, where it is one of an activation's.
    pub managed_database: Option<String>,
    /// Whether it only drops what a rehearsal has restored: then it needs neither the store nor a key.
    pub empties: bool,
    /// The port of the store.
    pub store_port: u16,
    /// The networks that the store may be in; empty where any may.
    pub store_networks: Vec<String>,
}

/// Names of Secrets in the restore's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Retrieval credentials.
    pub retrieval: String,
    /// The identity that opens the copy.
    pub identity: String,
    /// The restoring role.
    pub database: String,
    /// Authorities of the server's certificate.
    pub database_ca: String,
}

/// Judges a restore; the first thing that is wrong is said.
pub fn validate(restore: &RegistryRestore, found: &Found) -> Result<Checked, Refusal> {
    let spec = &restore.spec;
    let registry: RegistryId = spec.registry.id.parse().map_err(|error| {
        of_the_spec(Refusal::new(
            Reason::InvalidName,
            format!("spec.registry.id: {error}"),
        ))
    })?;
    let embassy = judge_embassy(&spec.embassy_ref.name, found)?;
    let (signers, floor) = judge_registry(restore, found, &embassy)?;
    let config = embassy.config(&spec.embassy_ref.name, registry.as_str());
    Ok(Checked {
        name: restore.name_any(),
        namespace: restore.namespace().unwrap_or_default(),
        uid: restore.uid().unwrap_or_default(),
        secrets: Secrets {
            retrieval: spec.retrieval_credentials_ref.name.clone(),
            identity: spec.identity_ref.name.clone(),
            database: spec.target.credentials_ref.name.clone(),
            database_ca: spec.target.tls.ca_ref.name.clone(),
        },
        deadline: duration("spec.deadline", &spec.deadline).map_err(of_the_spec)?,
        sidecar: spec.sidecar.clone().unwrap_or_default(),
        managed_database: restore.labels().get(DATABASE).cloned(),
        empties: spec.rehearsal.as_ref().is_some_and(|rehearsal| rehearsal.empties),
        store_port: embassy.store_port(),
        store_networks: embassy.networks().to_vec(),
        config: RestoreConfig {
            registry: registry.to_string(),
            store: config.store,
            sovereignty: config.sovereignty,
            signers,
            custodian_keys: config.custodian_keys,
            floor,
            copy: judge_copy(&spec.copy).map_err(of_the_spec)?,
            target: judge_target(&spec.target).map_err(of_the_spec)?,
            if_not_empty: match spec.if_not_empty {
                crds::IfNotEmpty::Refuse => IfNotEmpty::Refuse,
                crds::IfNotEmpty::Replace => IfNotEmpty::Replace,
                crds::IfNotEmpty::ReplaceUnfinished => IfNotEmpty::ReplaceUnfinished,
            },
            trust_source: spec.trust_source,
            allowed_extensions: spec.allowed_extensions.clone(),
            accept_different_collation: spec.accept_different_collation,
            jobs: u16::try_from(spec.jobs)
                .ok()
                .filter(|jobs| (1..=64).contains(jobs))
                .ok_or_else(|| of_the_spec(Refusal::new(Reason::InvalidName, "spec.jobs must be 1 to 64")))?,
            assertions: assertion::judge(&spec.assertions).map_err(of_the_spec)?,
            rehearsal: spec.rehearsal.as_ref().map(|rehearsal| RehearsalConfig {
                uid: rehearsal.uid.clone(),
                empties: rehearsal.empties,
            }),
        },
    })
}

/// What is wrong with the restore's own spec is not mended in it.
fn of_the_spec(mut refusal: Refusal) -> Refusal {
    refusal
        .message
        .push_str("; spec is immutable, so make a new RegistryRestore");
    refusal
}

fn judge_embassy(name: &str, found: &Found) -> Result<CheckedEmbassy, Refusal> {
    if found.embassy.is_none() {
        let message = format!(
            "there is no DataEmbassy '{name}': create it, or make a new RegistryRestore with another spec.embassyRef.name"
        );
        return Err(Refusal::new(Reason::UnknownEmbassy, message));
    }
    check_referred(name, found.embassy.as_deref())
}

/// Whose signatures count, and the last head that is known: a restore believes nobody that the cluster does not.
fn judge_registry(
    restore: &RegistryRestore,
    found: &Found,
    embassy: &CheckedEmbassy,
) -> Result<(Vec<SignerConfig>, Option<Floor>), Refusal> {
    if let Some(custody) = &found.custody {
        return judge_signers(custody, embassy);
    }
    if let Some(mirror) = &found.mirror {
        let head = mirror.status.as_ref().and_then(|status| status.head.as_ref());
        return Ok((signers_of(mirror)?, heads::floor(head, None)));
    }
    let message = format!(
        "nobody here says whose signatures count for the registry '{}': at the embassy that is its RegistryCustody, at home a \
         RegistryMirror in this namespace; make it, or make a new RegistryRestore with another spec.registry.id or spec.embassyRef.name",
        restore.spec.registry.id
    );
    Err(Refusal::new(Reason::UnknownRegistry, message))
}

/// The keys of a mirror, one after the other.
fn signers_of(mirror: &RegistryMirror) -> Result<Vec<SignerConfig>, Refusal> {
    let signing = mirror.spec.signing.clone().unwrap_or_default();
    let mut signers = Vec::new();
    let mut from_sequence = 1;
    for previous in &signing.previous_keys {
        let until = u64::try_from(previous.until_sequence).unwrap_or_default();
        signers.push(SignerConfig {
            public_key: public_key("spec.signing.previousKeys", &previous.public_key)?.to_string(),
            from_sequence,
            until_sequence: Some(until),
        });
        from_sequence = until + 1;
    }
    let signer = mirror.status.as_ref().and_then(|status| status.signer.as_ref());
    let Some(signer) = signer else {
        // One that was never unsuspended has signed nothing; the keys of the time before are enough.
        if !signers.is_empty() {
            return Ok(signers);
        }
        let message = format!(
            "the RegistryMirror {} does not know its own key yet: wait until its status.signer is there, or, while it is suspended, \
             name the keys that signed the copies in its spec.signing.previousKeys",
            mirror.name_any()
        );
        return Err(Refusal::new(Reason::NotYetLoaded, message));
    };
    signers.push(SignerConfig {
        public_key: public_key("status.signer", signer)?.to_string(),
        from_sequence,
        until_sequence: None,
    });
    Ok(signers)
}

fn judge_copy(given: &crds::CopyChoice) -> Result<CopyChoice, Refusal> {
    match (given.latest_drilled, given.sequence, &given.at_or_before) {
        (false, None, None) => Ok(CopyChoice::Latest),
        (true, None, None) => Ok(CopyChoice::LatestDrilled),
        (false, Some(sequence), None) => u64::try_from(sequence)
            .ok()
            .filter(|sequence| *sequence > 0)
            .map(CopyChoice::Sequence)
            .ok_or_else(|| Refusal::new(Reason::InvalidName, "spec.copy.sequence must be 1 or more")),
        (false, None, Some(time)) => {
            let moment = time.parse::<jiff::Timestamp>().map_err(|_| {
                let message = format!("spec.copy.atOrBefore: {time} is no time such as 2026-11-23T12:00:00Z");
                Refusal::new(Reason::InvalidName, message)
            })?;
            Ok(CopyChoice::AtOrBefore(moment.to_string()))
        }
        _ => Err(Refusal::new(
            Reason::InvalidName,
            "set at most one of spec.copy.latestDrilled, spec.copy.sequence and spec.copy.atOrBefore",
        )),
    }
}

/// Refuses a database's host that is nobody's registry, before anything is done for it.
pub(crate) fn judge_host(field: &str, host: &str) -> Result<(), Refusal> {
    Sovereignty::default()
        .judge_host(host)
        .map_err(|error| Refusal::new(error.reason(), format!("{field}: {error}")))
}

fn judge_target(given: &crds::Target) -> Result<TargetConfig, Refusal> {
    if given.database.len() > 63 || given.database.contains('\0') {
        let message = "spec.target.database must be at most 63 bytes, as PostgreSQL's names are";
        return Err(Refusal::new(Reason::InvalidName, message));
    }
    judge_host("spec.target.host", &given.host)?;
    Ok(TargetConfig {
        host: given.host.clone(),
        port: u16::try_from(given.port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| Refusal::new(Reason::InvalidName, "spec.target.port must be 1 to 65535"))?,
        database: given.database.clone(),
        create_if_missing: given.create_if_missing,
        tls: match given.tls.mode {
            crds::TlsMode::VerifyFull => TlsMode::VerifyFull,
            crds::TlsMode::VerifyCa => TlsMode::VerifyCa,
        },
    })
}
