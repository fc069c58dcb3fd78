//! Judges a mirror together with its embassy. What comes out holds only values that were checked, so building cannot fail.

use dataembassy_contract::config::{
    Floor, MirrorConfig, MirrorIdentity, ObjectivesConfig, PostgresqlConfig, PostgresqlTls, PreviousKey,
    ScheduleConfig, SourceConfig, SourceIdentity, TlsMode,
};
use dataembassy_contract::{Reason, Schedule, Sovereignty};
use dataembassy_crds::{self as crds, RegistryMirror, Sidecar};
use dataembassy_ledger::{RegistryId, Sha256Digest};
use kube::ResourceExt;

pub use crate::embassy::validate::Refusal;
use crate::embassy::validate::{check_referred, duration, public_key};
use crate::heads;
use crate::mirror::abroad::{self, Held, Reach};
use crate::mirror::dereference::Found;
use crate::mirror::names;

/// A mirror that was judged and found valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Everything that the sidecar is told, without the floor.
    pub config: MirrorConfig,
    /// The last ledger head that is known.
    pub floor: Option<Floor>,
    /// The Secrets that its volume holds.
    pub secrets: Secrets,
    /// Whether the signing key is the operator's to make.
    pub makes_signing_key: bool,
    /// Whether there should be a pod.
    pub runs: bool,
    /// Settings of the pod.
    pub sidecar: Sidecar,
    /// The port of the store.
    pub store_port: u16,
    /// The networks that the store may be in; empty where any may.
    pub store_networks: Vec<String>,
    /// At the embassy: what the pod reaches besides.
    pub abroad: Option<Reach>,
}

/// Names of Secrets in the mirror's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Deposit credentials.
    pub deposit: String,
    /// The dump role.
    pub database: String,
    /// Authorities of the database's certificate.
    pub database_ca: String,
    /// The key that signs entries.
    pub signing: String,
}

/// Judges a mirror; the first thing that is wrong is said.
pub fn validate(mirror: &RegistryMirror, found: &Found) -> Result<Checked, Refusal> {
    let spec = &mirror.spec;
    let name = mirror.name_any();
    let registry: RegistryId = spec
        .registry
        .id
        .parse()
        .map_err(|error| Refusal::new(Reason::InvalidName, format!("spec.registry.id: {error}")))?;
    let embassy = check_referred(&spec.embassy_ref.name, found.embassy.as_deref())?;
    if let Some(rival) = &found.rival {
        let message = format!(
            "the registry id '{registry}' belongs to the mirror {rival}, which has made a copy or is older: delete one of the two, or make this one \
             with another id"
        );
        return Err(Refusal::new(Reason::RegistryTaken, message));
    }
    let held = found
        .abroad
        .as_ref()
        .map(|abroad| abroad::judge(mirror, abroad, &embassy))
        .transpose()?;
    let postgresql = judge_source(&spec.source)?;
    let schedule = judge_schedule(&spec.schedule)?;
    let signing = spec.signing.clone().unwrap_or_default();
    let own_key = signing.signer_ref.as_ref().map(|secret| secret.name.clone());
    let config = MirrorConfig {
        mirror: MirrorIdentity {
            namespace: mirror.namespace().unwrap_or_default(),
            name: name.clone(),
            uid: mirror.uid().unwrap_or_default(),
        },
        generation: mirror.metadata.generation.unwrap_or_default(),
        registry: registry.to_string(),
        adopt_release: spec.registry.adopt_release.as_deref().map(release).transpose()?,
        embassy: embassy.config(&spec.embassy_ref.name, registry.as_str()),
        source: SourceConfig {
            accepted_identity: spec
                .source
                .accepted_identity
                .as_ref()
                .map(source_identity)
                .transpose()?,
            postgresql: Some(postgresql.config),
        },
        previous_keys: previous_keys(&signing.previous_keys)?,
        signers: held.as_ref().map(|held| held.signers.clone()).unwrap_or_default(),
        schedule,
        trigger: trigger(spec.trigger.as_ref(), held.as_ref()).cloned(),
        suspend: spec.suspend,
        objectives: ObjectivesConfig {
            rpo: duration("spec.objectives.rpo", &spec.objectives.rpo)?,
        },
        floor: None,
    };
    Ok(Checked {
        secrets: Secrets {
            deposit: spec.deposit_credentials_ref.name.clone(),
            database: postgresql.credentials,
            database_ca: postgresql.ca,
            signing: match (&held, &own_key) {
                (Some(held), _) => held.signing.clone(),
                (None, Some(own_key)) => own_key.clone(),
                (None, None) => names::signing_key(&name),
            },
        },
        // At the embassy the activation has made it: no other key writes the term.
        makes_signing_key: held.is_none() && own_key.is_none(),
        runs: runs(mirror, trigger(spec.trigger.as_ref(), held.as_ref())),
        sidecar: spec.sidecar.clone().unwrap_or_default(),
        store_port: embassy.store_port(),
        store_networks: embassy.networks().to_vec(),
        floor: floor(mirror, found, held.as_ref()),
        abroad: held.map(|held| held.reach),
        config,
    })
}

/// The trigger that counts: a registry that goes home is asked for its last copy, whatever its mirror was asked for before.
fn trigger<'t>(own: Option<&'t String>, held: Option<&'t Held>) -> Option<&'t String> {
    held.and_then(|held| held.trigger.as_ref()).or(own)
}

/// Whether there should be a pod: while suspended only until the newest trigger was answered.
#[must_use]
pub fn runs(mirror: &RegistryMirror, trigger: Option<&String>) -> bool {
    let answered = mirror
        .status
        .as_ref()
        .and_then(|status| status.last_trigger.as_ref());
    !mirror.spec.suspend || (trigger.is_some() && trigger != answered)
}

struct Source {
    config: PostgresqlConfig,
    credentials: String,
    ca: String,
}

fn judge_source(source: &crds::Source) -> Result<Source, Refusal> {
    let Some(given) = &source.postgresql else {
        let message = "spec.source names no database: set exactly one engine, spec.source.postgresql";
        return Err(Refusal::new(Reason::NoEngine, message));
    };
    let out_of_bounds = |field: &str, bounds: &str| {
        Refusal::new(
            Reason::InvalidName,
            format!("spec.source.postgresql.{field} must be {bounds}"),
        )
    };
    Sovereignty::default()
        .judge_host(&given.host)
        .map_err(|error| Refusal::new(error.reason(), format!("spec.source.postgresql.host: {error}")))?;
    let port = u16::try_from(given.port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| out_of_bounds("port", "1 to 65535"))?;
    let max_connections = u32::try_from(given.max_connections)
        .ok()
        .filter(|connections| (3..=64).contains(connections))
        .ok_or_else(|| out_of_bounds("maxConnections", "3 to 64"))?;
    if given.database.len() > 63 || given.database.contains('\0') {
        return Err(out_of_bounds(
            "database",
            "at most 63 bytes, as PostgreSQL's names are",
        ));
    }
    Ok(Source {
        config: PostgresqlConfig {
            host: given.host.clone(),
            port,
            database: given.database.clone(),
            tls: PostgresqlTls {
                mode: match given.tls.mode {
                    crds::TlsMode::VerifyFull => TlsMode::VerifyFull,
                    crds::TlsMode::VerifyCa => TlsMode::VerifyCa,
                },
            },
            max_connections,
            max_snapshot_age: duration("spec.source.postgresql.maxSnapshotAge", &given.max_snapshot_age)?,
            yield_to_ddl_after: duration(
                "spec.source.postgresql.yieldToDDLAfter",
                &given.yield_to_ddl_after,
            )?,
            include_password_verifiers: given.include_password_verifiers,
        },
        credentials: given.credentials_ref.name.clone(),
        ca: given.tls.ca_ref.name.clone(),
    })
}

fn judge_schedule(given: &crds::Schedule) -> Result<ScheduleConfig, Refusal> {
    Schedule::parse(&given.cron, &given.time_zone)
        .map_err(|error| Refusal::new(error.reason(), format!("spec.{error}")))?;
    Ok(ScheduleConfig {
        cron: given.cron.clone(),
        time_zone: given.time_zone.clone(),
        deadline: duration("spec.schedule.deadline", &given.deadline)?,
    })
}

fn release(given: &str) -> Result<String, Refusal> {
    let digest: Sha256Digest = given.parse().map_err(|error| {
        Refusal::new(
            Reason::InvalidName,
            format!("spec.registry.adoptRelease: {error}"),
        )
    })?;
    Ok(digest.to_string())
}

fn source_identity(given: &crds::AcceptedIdentity) -> Result<SourceIdentity, Refusal> {
    let database_oid = u32::try_from(given.database_oid).map_err(|_| {
        Refusal::new(
            Reason::InvalidName,
            "spec.source.acceptedIdentity.databaseOid must be 1 to 4294967295",
        )
    })?;
    Ok(SourceIdentity {
        system_identifier: given.system_identifier.clone(),
        database_oid,
    })
}

/// Each signed from behind the one before it, so their order says which entries are whose.
fn previous_keys(given: &[crds::PreviousKey]) -> Result<Vec<PreviousKey>, Refusal> {
    if !given.is_sorted_by(|one, next| one.until_sequence < next.until_sequence) {
        let message = "spec.signing.previousKeys must stand in the order in which they signed, the oldest first, each with a higher untilSequence";
        return Err(Refusal::new(Reason::InvalidPublicKey, message));
    }
    let key = |given: &crds::PreviousKey| {
        Ok(PreviousKey {
            public_key: public_key("spec.signing.previousKeys", &given.public_key)?.to_string(),
            until_sequence: u64::try_from(given.until_sequence).unwrap_or_default(),
        })
    };
    given.iter().map(key).collect()
}

/// The highest head that is known, from the status and from the configuration that the sidecar has; at the embassy also from the registry's
/// custody, so that a new mirror knows where the ledger stands.
fn floor(mirror: &RegistryMirror, found: &Found, held: Option<&Held>) -> Option<Floor> {
    let of_status = mirror.status.as_ref().and_then(|status| status.head.as_ref());
    let of_config = found
        .config_map
        .as_deref()
        .and_then(|map| map.data.as_ref()?.get(dataembassy_contract::files::CONFIG_FILE))
        .and_then(|text| MirrorConfig::from_json(text.as_bytes()).ok())
        .and_then(|config| config.floor);
    let of_custody = held.and_then(|held| held.floor.clone());
    let known = of_config.into_iter().chain(of_custody);
    heads::floor(of_status, known.max_by_key(|floor| floor.sequence))
}
