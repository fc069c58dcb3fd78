//! Judges a registry in custody together with its embassy. What comes out holds only values that were checked.

use dataembassy_contract::config::Floor;
use dataembassy_contract::custodian::{CustodyConfig, DrillPolicy, PinConfig, RetentionConfig, SignerConfig};
use dataembassy_contract::{Duration, Reason};
use dataembassy_crds::{ConfirmedHead, CustodyDrills, DataEmbassy, Pin, RegistryCustody, Retention, Signer};
use dataembassy_ledger::{RegistryId, Sha256Digest};
use kube::ResourceExt;

pub use crate::embassy::validate::Refusal;
use crate::embassy::validate::{CheckedEmbassy, check_referred, duration, public_key, quantity};
use crate::heads;

/// The most registries of an embassy.
pub const MAX_REGISTRIES: usize = 512;

/// A registry in custody that was judged and found valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Everything that the custodian is told about it, without the floors.
    pub custody: CustodyConfig,
    /// The most bytes a second that may be put.
    pub bytes_per_second: Option<u64>,
    /// Whether home may read copies back.
    pub home_may_retrieve: bool,
}

/// Whom a registry shares its embassy with, as far as that speaks against it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// The older `RegistryCustody` that has the same registry id.
    pub rival: Option<String>,
    /// How many older ones the embassy has.
    pub older: usize,
}

/// Judges a registry in custody; the first thing that is wrong is said.
pub fn validate(
    custody: &RegistryCustody,
    embassy: Option<&DataEmbassy>,
    neighbours: &Neighbours,
) -> Result<Checked, Refusal> {
    let spec = &custody.spec;
    let registry: RegistryId = spec
        .registry
        .id
        .parse()
        .map_err(|error| Refusal::new(Reason::InvalidName, format!("spec.registry.id: {error}")))?;
    let embassy = judge_embassy(custody, embassy)?;
    if let Some(rival) = &neighbours.rival {
        let message = format!(
            "the registry id '{registry}' belongs to the RegistryCustody {rival}, which is older: delete one of the two"
        );
        return Err(Refusal::new(Reason::RegistryTaken, message));
    }
    if neighbours.older >= MAX_REGISTRIES {
        let message = format!(
            "the embassy keeps {MAX_REGISTRIES} older registries, and no more than that: delete one that is not needed any more"
        );
        return Err(Refusal::new(Reason::TooManyRegistries, message));
    }
    let optional =
        |field: &str, text: &Option<String>| text.as_deref().map(|text| quantity(field, text)).transpose();
    if let Some(rto) = &spec.rto {
        duration("spec.rto", rto)?;
    }
    Ok(Checked {
        custody: CustodyConfig {
            name: custody.name_any(),
            generation: custody.metadata.generation.unwrap_or_default(),
            registry: registry.to_string(),
            signers: spec
                .signers
                .iter()
                .map(|signer| judge_signer(signer, &embassy))
                .collect::<Result<_, _>>()?,
            rpo: duration("spec.rpo", &spec.rpo)?,
            quota_bytes: optional("spec.quota", &spec.quota)?,
            retention: judge_retention(&spec.retention)?,
            pins: spec.retention.pins.iter().map(pin).collect(),
            drills: spec.drills.as_ref().map(judge_drills).transpose()?,
            confirmed_head: spec.confirmed_head.as_ref().map(confirmed_head).transpose()?,
            source_floor: None,
            custody_floor: None,
        },
        bytes_per_second: optional("spec.rate", &spec.rate)?,
        home_may_retrieve: spec.home_may_retrieve,
    })
}

fn judge_drills(drills: &CustodyDrills) -> Result<DrillPolicy, Refusal> {
    Ok(DrillPolicy {
        every: duration("spec.drills.every", &drills.every)?,
    })
}

/// How old the latest copy may be, where that can be read.
#[must_use]
pub fn rpo(custody: &RegistryCustody) -> Option<Duration> {
    custody.spec.rpo.parse().ok()
}

fn judge_embassy(
    custody: &RegistryCustody,
    embassy: Option<&DataEmbassy>,
) -> Result<CheckedEmbassy, Refusal> {
    let name = &custody.spec.embassy_ref.name;
    let checked = check_referred(name, embassy)?;
    if embassy.is_none_or(|embassy| embassy.spec.custodian.is_none()) {
        let message = format!(
            "the DataEmbassy {name} has no spec.custodian, so nobody would keep this registry: set it, or correct spec.embassyRef.name"
        );
        return Err(Refusal::new(Reason::NoCustodian, message));
    }
    Ok(checked)
}

/// Whose signatures count for a registry that was accepted, and the last head of its source chain that is known.
pub fn judge_signers(
    custody: &RegistryCustody,
    embassy: &CheckedEmbassy,
) -> Result<(Vec<SignerConfig>, Option<Floor>), Refusal> {
    let signers = custody.spec.signers.iter();
    let signers = signers.map(|signer| judge_signer(signer, embassy));
    let head = custody
        .status
        .as_ref()
        .and_then(|status| status.source_head.as_ref());
    Ok((signers.collect::<Result<_, _>>()?, heads::floor(head, None)))
}

/// A key has one role: a custodian that could write copies would prove its own.
fn judge_signer(signer: &Signer, embassy: &CheckedEmbassy) -> Result<SignerConfig, Refusal> {
    let key = public_key("spec.signers", &signer.public_key)?;
    if embassy.is_custodian_key(&key) {
        let message = format!(
            "spec.signers: {key} is one of the DataEmbassy's custodianKeys, and a key has one role: replace one of the two"
        );
        return Err(Refusal::new(Reason::KeyHasTwoRoles, message));
    }
    let until_sequence = signer.until_sequence.map(number);
    let from_sequence = number(signer.from_sequence);
    if until_sequence.is_some_and(|until| until < from_sequence) {
        let message =
            format!("spec.signers: the last entry of {key} comes before its first: correct untilSequence");
        return Err(Refusal::new(Reason::InvalidName, message));
    }
    Ok(SignerConfig {
        public_key: key.to_string(),
        from_sequence,
        until_sequence,
    })
}

fn judge_retention(given: &Retention) -> Result<RetentionConfig, Refusal> {
    let count = |field: &str, count: i32, least: u32| {
        u32::try_from(count)
            .ok()
            .filter(|count| (least..=9_999).contains(count))
            .ok_or_else(|| {
                let message = format!("spec.retention.{field} must be {least} to 9999");
                Refusal::new(Reason::InvalidName, message)
            })
    };
    Ok(RetentionConfig {
        keep_within: duration("spec.retention.keepWithin", &given.keep_within)?,
        daily: count("daily", given.daily, 0)?,
        weekly: count("weekly", given.weekly, 0)?,
        monthly: count("monthly", given.monthly, 0)?,
        yearly: count("yearly", given.yearly, 0)?,
        minimum: count("minimum", given.minimum, 1)?,
        dry_run: given.dry_run,
    })
}

fn pin(pin: &Pin) -> PinConfig {
    PinConfig {
        sequence: number(pin.sequence),
        reason: pin.reason.clone(),
    }
}

fn confirmed_head(head: &ConfirmedHead) -> Result<Floor, Refusal> {
    let digest: Sha256Digest = head
        .digest
        .parse()
        .map_err(|error| Refusal::new(Reason::InvalidName, format!("spec.confirmedHead.digest: {error}")))?;
    Ok(Floor {
        sequence: number(head.sequence),
        digest: digest.to_string(),
    })
}

/// A number that the schema keeps at 1 or more.
fn number(given: i64) -> u64 {
    u64::try_from(given).unwrap_or_default()
}
