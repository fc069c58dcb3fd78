//! Judges a drill together with its embassy and its registry. What comes out holds only values that were checked, so building cannot fail.

use dataembassy_contract::drill::{DrillConfig, Pick};
use dataembassy_contract::{Duration, Reason, Schedule};
use dataembassy_crds::{DrillPick, DrillServer, RegistryCustody, RegistryDrill, RegistryDrillSpec, Sidecar};
use dataembassy_ledger::{RegistryId, Sha256Digest};
use kube::ResourceExt;

use crate::assertion;
use crate::custody::validate::judge_signers;
use crate::drill::dereference::Found;
use crate::drill::names;
use crate::embassy::validate::{Refusal, check_referred, duration, quantity};

/// A drill that was judged and found valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Everything that a run is told, without its order and its time.
    pub config: DrillConfig,
    /// The Secret with retrieval credentials.
    pub retrieval: String,
    /// The Secret with the identity that opens the copy.
    pub identity: String,
    /// The throw-away database.
    pub server: DrillServer,
    /// Settings of the container that opens the copy.
    pub sidecar: Sidecar,
    /// The port of the store.
    pub store_port: u16,
    /// The networks that the store may be in; empty where any may.
    pub store_networks: Vec<String>,
}

/// When runs begin, and how long one may take: judged for itself, because a run at work goes on when something else is not valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// The schedule.
    pub schedule: Schedule,
    /// The longest that one run may take, its further attempts included.
    pub deadline: Duration,
}

/// Judges when runs begin.
pub fn timing(spec: &RegistryDrillSpec) -> Result<Timing, Refusal> {
    let schedule = &spec.schedule;
    Ok(Timing {
        deadline: duration("spec.schedule.deadline", &schedule.deadline)?,
        schedule: Schedule::parse(&schedule.cron, &schedule.time_zone)
            .map_err(|error| Refusal::new(error.reason(), format!("spec.{error}")))?,
    })
}

/// Judges a drill; the first thing that is wrong is said.
pub fn validate(drill: &RegistryDrill, found: &Found) -> Result<Checked, Refusal> {
    let spec = &drill.spec;
    let registry: RegistryId = spec
        .registry
        .id
        .parse()
        .map_err(|error| Refusal::new(Reason::InvalidName, format!("spec.registry.id: {error}")))?;
    let embassy = check_referred(&spec.embassy_ref.name, found.embassy.as_deref())?;
    let custody = judge_custody(drill, found.custody.as_deref())?;
    let (signers, floor) = judge_signers(custody, &embassy)?;
    timing(spec)?;
    let rto = spec.rto.as_deref().or(custody.spec.rto.as_deref());
    let store = embassy.config(&spec.embassy_ref.name, registry.as_str());
    if !(0..=3).contains(&spec.retries) {
        return Err(Refusal::new(Reason::InvalidName, "spec.retries must be 0 to 3"));
    }
    Ok(Checked {
        name: drill.name_any(),
        namespace: drill.namespace().unwrap_or_default(),
        uid: drill.uid().unwrap_or_default(),
        retrieval: spec.retrieval_credentials_ref.name.clone(),
        identity: spec.identity_ref.name.clone(),
        sidecar: spec.sidecar.clone().unwrap_or_default(),
        store_port: embassy.store_port(),
        store_networks: embassy.networks().to_vec(),
        config: DrillConfig {
            drill: names::full(drill),
            order: String::new(),
            registry: registry.to_string(),
            store: store.store,
            sovereignty: store.sovereignty,
            signers,
            custodian_keys: store.custodian_keys,
            floor,
            pick: match spec.pick {
                DrillPick::Latest => Pick::Latest,
                DrillPick::Random => Pick::Random,
                DrillPick::OldestUndrilled => Pick::OldestUndrilled,
            },
            allowed_extensions: spec.allowed_extensions.clone(),
            jobs: u16::try_from(spec.jobs)
                .ok()
                .filter(|jobs| (1..=64).contains(jobs))
                .ok_or_else(|| Refusal::new(Reason::InvalidName, "spec.jobs must be 1 to 64"))?,
            rto_seconds: rto.map(|rto| seconds("spec.rto", rto)).transpose()?,
            deadline_seconds: 0,
            database_limit_bytes: quantity("spec.server.volumeSize", &spec.server.volume_size)?,
            schema_digest: spec.schema_digest.as_deref().map(schema_digest).transpose()?,
            assertions: assertion::judge(&spec.assertions)?,
        },
        server: judge_server(&spec.server)?,
    })
}

/// Whether results of this drill count, by the registry's own word. Whoever may make resources in a namespace that counts can have the
/// custodian sign that a copy passed, so people at the embassy say which one does.
#[must_use]
pub fn counts(drill: &RegistryDrill, custody: &RegistryCustody) -> bool {
    let drills = custody.spec.drills.as_ref();
    drills.is_some_and(|drills| Some(&drills.namespace) == drill.metadata.namespace.as_ref())
}

fn judge_custody<'c>(
    drill: &RegistryDrill,
    custody: Option<&'c RegistryCustody>,
) -> Result<&'c RegistryCustody, Refusal> {
    let registry = &drill.spec.registry.id;
    let Some(custody) = custody else {
        let message = format!(
            "no RegistryCustody of this embassy is about the registry '{registry}', so nobody says whose signatures count: make it, or \
             make a drill with another spec.registry.id or spec.embassyRef.name"
        );
        return Err(Refusal::new(Reason::UnknownRegistry, message));
    };
    if counts(drill, custody) {
        return Ok(custody);
    }
    let (name, namespace) = (custody.name_any(), drill.namespace().unwrap_or_default());
    let message = match &custody.spec.drills {
        Some(drills) => format!(
            "the RegistryCustody {name} counts drills of the namespace {} only: make this one there, or name {namespace} in its \
             spec.drills.namespace",
            drills.namespace
        ),
        None => format!(
            "the RegistryCustody {name} has no spec.drills, so no drill of '{registry}' counts: name {namespace} in its \
             spec.drills.namespace"
        ),
    };
    Err(Refusal::new(Reason::DrillNotAllowed, message))
}

fn seconds(field: &str, text: &str) -> Result<u64, Refusal> {
    duration(field, text).map(Duration::as_secs)
}

fn schema_digest(text: &str) -> Result<String, Refusal> {
    let digest: Sha256Digest = text
        .parse()
        .map_err(|error| Refusal::new(Reason::InvalidName, format!("spec.schemaDigest: {error}")))?;
    Ok(digest.to_string())
}

fn judge_server(server: &DrillServer) -> Result<DrillServer, Refusal> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@-".contains(&byte);
    if server.image.is_empty() || !server.image.bytes().all(fits) {
        let message = "spec.server.image is not the name of an image: write it like postgres:17";
        return Err(Refusal::new(Reason::InvalidName, message));
    }
    Ok(server.clone())
}
