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
    let signer = public_key("status.signer", signer)?.to_string();
    // While keys are exchanged the status still has the one that was retired: it signs nothing more, as the mirror itself judges.
    if signers.last().is_none_or(|retired| retired.public_key != signer) {
        signers.push(SignerConfig {
            public_key: signer,
            from_sequence,
            until_sequence: None,
        });
    }
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

/// Refuses a database's host that is nobody's registry, or a commercial cloud's, before anything is done for it.
pub(crate) fn judge_host(field: &str, host: &str) -> Result<(), Refusal> {
    Sovereignty::default()
        .judge_destination(host)
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const KEYS: [&str; 3] = [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHn22dY2ve98n6oX/KkfPa8DMfEOcM9T9AbhjhFmkdyg",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIna4eWsf2rkersfzSH1sKhbJAaJ4huY1KC/eCtbuc+A",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFfnGTva3wvhnebyPhEW7tuz8SkNOETtLKBFVcKwsia9",
    ];

    fn mirror(previous: &Value, signer: Option<&str>) -> RegistryMirror {
        serde_json::from_value(json!({
            "apiVersion": "dataembassy.io/v1alpha1", "kind": "RegistryMirror", "metadata": {"name": "population"},
            "spec": {
                "registry": {"id": "population"}, "embassyRef": {"name": "luxembourg"}, "depositCredentialsRef": {"name": "d"},
                "source": {}, "schedule": {"cron": "0 3 * * *"}, "objectives": {"rpo": "30m"},
                "signing": {"previousKeys": previous},
            },
            "status": {"signer": signer},
        }))
        .unwrap()
    }

    #[test]
    fn each_key_of_a_mirror_counts_from_the_entry_after_the_last_of_the_one_before() {
        let previous = json!([
            {"publicKey": KEYS[0], "untilSequence": 4}, {"publicKey": KEYS[1], "untilSequence": 9},
        ]);
        let spans = |signer: Option<&str>| -> Vec<(u64, Option<u64>)> {
            let signers = signers_of(&mirror(&previous, signer)).unwrap();
            signers
                .iter()
                .map(|one| (one.from_sequence, one.until_sequence))
                .collect()
        };
        assert_eq!(spans(Some(KEYS[2])), [(1, Some(4)), (5, Some(9)), (10, None)]);
        assert_eq!(spans(None), [(1, Some(4)), (5, Some(9))]);
        // It is about to be exchanged, and signs nothing more.
        assert_eq!(spans(Some(KEYS[1])), [(1, Some(4)), (5, Some(9))]);
        let unknown = signers_of(&mirror(&json!([]), None)).unwrap_err();
        assert_eq!(unknown.reason, Reason::NotYetLoaded);
    }

    #[test]
    fn a_target_has_a_port_and_a_name_that_fits() {
        let fits = |port: i64, database: &str| {
            let given = json!({
                "host": "restored", "port": port, "database": database, "tls": {"caRef": {"name": "ca"}}, "credentialsRef": {"name": "c"},
            });
            judge_target(&serde_json::from_value(given).unwrap()).is_ok()
        };
        for (port, database, expected) in [
            (1, "d".repeat(63), true),
            (65_535, "d".to_owned(), true),
            (0, "d".to_owned(), false),
            (65_536, "d".to_owned(), false),
            (5_432, "d".repeat(64), false),
            (5_432, "a\0b".to_owned(), false),
        ] {
            assert_eq!(fits(port, &database), expected, "{port} {database:?}");
        }
    }

    #[test]
    fn a_copy_is_chosen_by_one_rule_and_its_number_begins_at_one() {
        let choice = |change: fn(&mut crds::CopyChoice)| {
            let mut choice = crds::CopyChoice::default();
            change(&mut choice);
            judge_copy(&choice)
        };
        assert_eq!(choice(|_| {}), Ok(CopyChoice::Latest));
        assert_eq!(
            choice(|one| one.latest_drilled = true),
            Ok(CopyChoice::LatestDrilled)
        );
        assert_eq!(choice(|one| one.sequence = Some(1)), Ok(CopyChoice::Sequence(1)));
        let two = |one: &mut crds::CopyChoice| {
            one.latest_drilled = true;
            one.sequence = Some(1);
        };
        for wrong in [choice(|one| one.sequence = Some(0)), choice(two)] {
            assert_eq!(wrong.unwrap_err().reason, Reason::InvalidName);
        }
    }
}
