//! Judges an activation together with its embassy, its registries and other activations. What comes out holds only values that were checked.

use std::collections::BTreeSet;

use dataembassy_contract::{Duration, Reason};
use dataembassy_crds::{
    ActivatedRegistry, ActivatedState, ActivationMode, ActivationPhase, ActivationState, EmbassyActivation,
    RegistryPhase,
};
use dataembassy_ledger::activation::Approvers;
use dataembassy_ledger::{PublicKey, RegistryId, Timestamp};
use kube::ResourceExt;

use crate::activation::dereference::Found;
use crate::activation::{adoption, last_copy, names, restores};
use crate::custody::validate::judge_signers;
use crate::embassy::validate::{CheckedEmbassy, Refusal, check_referred, duration, public_key};
use crate::restore::validate::judge_host;

/// An activation that was judged and found valid.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Who may order it.
    pub approvers: Approvers,
    /// Until when it may be carried out.
    pub valid_until: Timestamp,
    /// How long each step may take.
    pub deadlines: Deadlines,
    /// Its registries, in the order of the spec.
    pub registries: Vec<CheckedRegistry>,
}

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Cut and fence together.
    pub fence: Duration,
    /// The database.
    pub database: Duration,
    /// The restore.
    pub restore: Duration,
    /// Letting applications in.
    pub serve: Duration,
    /// Shutting them out, from the approval on.
    pub close: Duration,
    /// The last copy.
    pub copy: Duration,
    /// The release.
    pub release: Duration,
}

impl Deadlines {
    /// Those that the spec names.
    pub fn of(activation: &EmbassyActivation) -> Result<Self, Refusal> {
        let named = &activation.spec.deadlines;
        Ok(Self {
            fence: duration("spec.deadlines.fence", &named.fence)?,
            database: duration("spec.deadlines.database", &named.database)?,
            restore: duration("spec.deadlines.restore", &named.restore)?,
            serve: duration("spec.deadlines.serve", &named.serve)?,
            close: duration("spec.deadlines.close", &named.close)?,
            copy: duration("spec.deadlines.copy", &named.copy)?,
            release: duration("spec.deadlines.release", &named.release)?,
        })
    }
}

/// A registry that was judged.
#[derive(Clone, Debug)]
pub struct CheckedRegistry {
    /// Its id.
    pub id: RegistryId,
    /// Those that are served before it.
    pub after: Vec<RegistryId>,
    /// At `StoodDown`: who writes the next term.
    pub home_signer: Option<PublicKey>,
    /// The newest that its copy may be, where a moment was named.
    pub at_or_before: Option<Timestamp>,
}

/// Judges an activation; the first thing that is wrong is said.
pub fn validate(activation: &EmbassyActivation, found: &Found) -> Result<Checked, Refusal> {
    let spec = &activation.spec;
    let embassy = check_referred(&spec.embassy_ref.name, found.embassy.as_deref())?;
    let approvers = judge_approvers(activation, &embassy)?;
    let valid_until = moment("spec.validUntil", &spec.valid_until)?;
    let deadlines = Deadlines::of(activation)?;
    if spec.mode == ActivationMode::Rehearse && spec.state == ActivationState::StoodDown {
        let message = "a rehearsal is not stood down: it cleans up by itself; leave spec.state at Active";
        return Err(Refusal::new(Reason::InvalidName, message));
    }
    judge_removed(activation)?;
    judge_adopted(activation)?;
    let mut registries = Vec::new();
    let mut services = BTreeSet::new();
    for registry in &spec.registries {
        let checked = judge_registry(activation, registry, &registries)?;
        judge_service(registry, &mut services)?;
        judge_moved(activation, registry)?;
        judge_rehearsal(activation, registry)?;
        judge_custody(registry, activation, found, &embassy, &approvers)?;
        judge_rivals(activation, registry, found)?;
        judge_last_copy(activation, registry, found)?;
        registries.push(checked);
    }
    Ok(Checked {
        approvers,
        valid_until,
        deadlines,
        registries,
    })
}

/// Who may order it: people whose keys have no other role.
fn judge_approvers(activation: &EmbassyActivation, embassy: &CheckedEmbassy) -> Result<Approvers, Refusal> {
    let name = &activation.spec.embassy_ref.name;
    let Some(config) = embassy.approvers() else {
        let message = format!(
            "the DataEmbassy {name} names nobody who may order an activation: name approvers in its spec.activation, here and at home"
        );
        return Err(Refusal::new(Reason::NoApprovers, message));
    };
    let approvers = config.checked().map_err(|error| {
        Refusal::new(
            Reason::NoApprovers,
            format!("DataEmbassy {name}: spec.activation: {error}"),
        )
    })?;
    let twice = approvers
        .all()
        .iter()
        .find(|one| embassy.is_custodian_key(&one.key));
    match twice {
        Some(one) => Err(two_roles(&one.name, "one of its custodianKeys")),
        None => Ok(approvers),
    }
}

fn two_roles(approver: &str, role: &str) -> Refusal {
    let message = format!(
        "the key of the approver {approver} is {role} too, and a key has one role: replace it in the DataEmbassy's \
         spec.activation.approvers"
    );
    Refusal::new(Reason::KeyHasTwoRoles, message)
}

/// A moment in any spelling of RFC 3339.
fn moment(field: &str, text: &str) -> Result<Timestamp, Refusal> {
    let moment = text.parse::<jiff::Timestamp>().ok();
    moment
        .and_then(|moment| Timestamp::from_jiff(moment).ok())
        .ok_or_else(|| {
            let message = format!("{field}: {text} is no time such as 2026-12-01T12:00:00Z");
            Refusal::new(Reason::InvalidName, message)
        })
}

/// What was taken over from an activation that is gone is given back, and not served anew: a restore would go beside what was written.
fn judge_adopted(activation: &EmbassyActivation) -> Result<(), Refusal> {
    let mut states = activation.status.iter().flat_map(|status| &status.registries);
    let adopted = states.find(|state| state.adopted_order.is_some());
    match adopted.filter(|_| activation.spec.state == ActivationState::Active) {
        Some(state) => {
            let message = format!(
                "the registry {} was taken over from an activation that is gone, to be given back: leave spec.state at StoodDown",
                state.id
            );
            Err(Refusal::new(Reason::InvalidName, message))
        }
        None => Ok(()),
    }
}

/// For a rehearsal that cannot come to its end.
const WAY_OUT: &str = "Where that can never be, delete this resource, and drop yourself what it has restored into a database that somebody else keeps";

/// What has begun is not taken out of the list: nobody would know any more where it is served from, and by which key it goes on, or what of a
/// rehearsal is still to be dropped.
fn judge_removed(activation: &EmbassyActivation) -> Result<(), Refusal> {
    let begun = activation.status.iter().flat_map(|status| &status.registries);
    let rehearses = activation.spec.mode == ActivationMode::Rehearse;
    let holds = |state: &ActivatedState| match state.phase {
        _ if rehearses => state.rehearsed_in.is_some(),
        _ if state.fence.is_some() => true,
        RegistryPhase::Failed | RegistryPhase::Skipped | RegistryPhase::StoodDown => false,
        _ => true,
    };
    let mut removed = begun
        .filter(|state| (rehearses || !state.steps.is_empty()) && holds(state))
        .filter(|state| activation.spec.registries.iter().all(|one| one.id != state.id));
    match removed.next() {
        Some(state) => {
            let what = if rehearses {
                format!("let the rehearsal come to its end. {WAY_OUT}")
            } else {
                "stand down what is to go home".to_owned()
            };
            let message = format!(
                "the registry {} was taken out of spec.registries, but its activation has begun: put it back, and {what}",
                state.id
            );
            Err(Refusal::new(Reason::InvalidName, message))
        }
        None => Ok(()),
    }
}

/// What a rehearsal has restored is dropped where it was restored. Nobody would look for it in another database.
fn judge_moved(activation: &EmbassyActivation, registry: &ActivatedRegistry) -> Result<(), Refusal> {
    let mut states = activation.status.iter().flat_map(|status| &status.registries);
    let before = states.find(|state| state.id == registry.id);
    let Some(before) = before.and_then(|state| state.rehearsed_in.as_ref()) else {
        return Ok(());
    };
    let now = restores::target_of(activation, registry).map(|target| restores::place(&target));
    if now.as_ref() == Some(before) {
        return Ok(());
    }
    let message = format!(
        "spec.registries[{}].target is another database now, and the rehearsal has begun in {before}, which is not cleaned up yet: put the \
         target back until it is. {WAY_OUT}",
        registry.id
    );
    Err(Refusal::new(Reason::InvalidName, message))
}

fn judge_registry(
    activation: &EmbassyActivation,
    registry: &ActivatedRegistry,
    before: &[CheckedRegistry],
) -> Result<CheckedRegistry, Refusal> {
    let field = format!("spec.registries[{}]", registry.id);
    let wrong = |message: String| Err(Refusal::new(Reason::InvalidName, message));
    let id: RegistryId = registry
        .id
        .parse()
        .map_err(|error| Refusal::new(Reason::InvalidName, format!("{field}.id: {error}")))?;
    let mut after: Vec<RegistryId> = Vec::new();
    for needed in &registry.depends_on {
        let Some(earlier) = before.iter().find(|earlier| earlier.id.as_str() == needed) else {
            return wrong(format!(
                "{field}.dependsOn: {needed} does not stand before {id} in spec.registries: add it there, or move it up"
            ));
        };
        if after.contains(&earlier.id) {
            return wrong(format!("{field}.dependsOn names {needed} twice: name it once"));
        }
        after.push(earlier.id.clone());
    }
    let home_signer = registry
        .home_signer
        .as_deref()
        .map(|key| public_key(&format!("{field}.homeSigner"), key))
        .transpose()?;
    if activation.spec.state == ActivationState::StoodDown && home_signer.is_none() {
        return wrong(format!(
            "{field}.homeSigner is missing: name the key of home's mirror, its status.signer, which writes the next term"
        ));
    }
    let at_or_before = registry.copy.at_or_before.as_deref();
    let at_or_before = at_or_before.map(|text| moment(&format!("{field}.copy.atOrBefore"), text));
    judge_names(&field, registry)?;
    if let Some(external) = &registry.target.external {
        judge_host(&format!("{field}.target.external.host"), &external.host)?;
    }
    Ok(CheckedRegistry {
        id,
        after,
        home_signer,
        at_or_before: at_or_before.transpose()?,
    })
}

/// The statement is printable ASCII, so that what approvers read is what they sign.
fn judge_names(field: &str, registry: &ActivatedRegistry) -> Result<(), Refusal> {
    let target = &registry.target;
    let database = match (&target.managed, &target.external) {
        (Some(managed), None) => managed.database.as_deref(),
        (None, Some(external)) => Some(external.database.as_str()),
        _ => {
            let message = format!("{field}.target: set exactly one of managed and external");
            return Err(Refusal::new(Reason::InvalidName, message));
        }
    };
    let is_plain = |name: &str| {
        (1..=63).contains(&name.len())
            && name.trim() == name
            && name.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    };
    match database {
        Some(name) if !is_plain(name) => {
            let message = format!(
                "{field}.target: the database's name must have 1 to 63 printable ASCII characters, neither beginning nor ending with a blank"
            );
            Err(Refusal::new(Reason::InvalidName, message))
        }
        _ => Ok(()),
    }
}

/// Two registries behind one Service would be one address with the contents of either.
fn judge_service(registry: &ActivatedRegistry, services: &mut BTreeSet<String>) -> Result<(), Refusal> {
    let Some(managed) = &registry.target.managed else {
        return Ok(());
    };
    let service = managed.service.as_ref().unwrap_or(&registry.id);
    if services.insert(service.clone()) {
        return Ok(());
    }
    let message = format!(
        "spec.registries[{}].target.managed.service: two registries would have the Service {service}: name each differently",
        registry.id
    );
    Err(Refusal::new(Reason::InvalidName, message))
}

/// A rehearsal restores into a database that somebody else keeps, and empties it of that again, only where they say that it may.
fn judge_rehearsal(activation: &EmbassyActivation, registry: &ActivatedRegistry) -> Result<(), Refusal> {
    let external = registry.target.external.as_ref();
    let is_kept = external.is_some_and(|external| !external.scratch);
    if activation.spec.mode != ActivationMode::Rehearse || !is_kept {
        return Ok(());
    }
    let message = format!(
        "spec.registries[{}].target.external: a rehearsal would restore into a database that somebody else keeps, and drop it again: rehearse on a \
         managed database, or name one that is made for this and set scratch: true",
        registry.id
    );
    Err(Refusal::new(Reason::InvalidName, message))
}

fn judge_custody(
    registry: &ActivatedRegistry,
    activation: &EmbassyActivation,
    found: &Found,
    embassy: &CheckedEmbassy,
    approvers: &Approvers,
) -> Result<(), Refusal> {
    let Some(custody) = found.custody(&registry.id) else {
        let message = format!(
            "no RegistryCustody of the embassy {} is about the registry '{}': make it, or correct spec.registries",
            activation.spec.embassy_ref.name, registry.id
        );
        return Err(Refusal::new(Reason::UnknownRegistry, message));
    };
    let (signers, _) = judge_signers(custody, embassy)?;
    let signs = |key: &PublicKey| signers.iter().any(|signer| signer.public_key == key.to_string());
    match approvers.all().iter().find(|one| signs(&one.key)) {
        Some(one) => Err(two_roles(
            &one.name,
            &format!("a signer of the registry '{}'", registry.id),
        )),
        None => Ok(()),
    }
}

/// Nobody is asked to sign that a registry goes home while nothing can take its last copy.
fn judge_last_copy(
    activation: &EmbassyActivation,
    registry: &ActivatedRegistry,
    found: &Found,
) -> Result<(), Refusal> {
    if activation.spec.state != ActivationState::StoodDown {
        return Ok(());
    }
    let states = activation.status.iter().flat_map(|status| &status.registries);
    let mut states = states.filter(|state| state.id == registry.id);
    let is_begun = |state: &ActivatedState| {
        matches!(
            state.phase,
            RegistryPhase::StandingDown | RegistryPhase::StoodDown
        )
    };
    let Some(state) = states.find(|state| !is_begun(state) && last_copy::is_needed(registry, state)) else {
        return Ok(());
    };
    if state.fence.is_none() && found.opened_by(state).is_none() {
        return Err(Refusal::new(Reason::Unfenced, last_copy::unfenced(&registry.id)));
    }
    match last_copy::mirror(found, &registry.id) {
        Ok(_) => Ok(()),
        Err(why) => Err(Refusal::new(Reason::NoMirror, why)),
    }
}

/// A registry is served by one order at a time: of two activations that have not ended the later one gives way.
fn judge_rivals(
    activation: &EmbassyActivation,
    registry: &ActivatedRegistry,
    found: &Found,
) -> Result<(), Refusal> {
    let state = activation
        .status
        .iter()
        .flat_map(|status| &status.registries)
        .find(|state| state.id == registry.id);
    let is_home = state.is_some_and(|state| state.phase == RegistryPhase::StoodDown);
    if activation.spec.mode == ActivationMode::Rehearse || is_home {
        return Ok(());
    }
    let age = |one: &EmbassyActivation| {
        let made = one.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (made, one.uid())
    };
    let is_rival = |other: &EmbassyActivation| {
        other.uid() != activation.uid()
            && other.metadata.deletion_timestamp.is_none()
            && other.spec.mode == ActivationMode::Activate
            && other.spec.embassy_ref == activation.spec.embassy_ref
            && other.spec.registries.iter().any(|one| one.id == registry.id)
            && !has_stood_down(other)
            && age(other) < age(activation)
    };
    if let Some(rival) = found.others.iter().find(|other| is_rival(other)) {
        let message = format!(
            "the registry '{}' is in the EmbassyActivation {}, which is older and has not been stood down: stand it down, or delete it \
             while nothing of it is served",
            registry.id,
            names::full(rival)
        );
        return Err(Refusal::new(Reason::AlreadyActivated, message));
    }
    if adoption::heirloom(activation, &registry.id, found).is_some() {
        return Ok(());
    }
    match found.opened_by_another(&registry.id, state) {
        Some(order) => {
            let message = format!(
                "the registry '{}' is served from the embassy by the order {order}, which is none of this resource's: have it released \
                 to home first. If the EmbassyActivation that ordered it is gone, one of its name (the order's, without its last part), in its \
                 namespace and with spec.state StoodDown, gives the registry back",
                registry.id
            );
            Err(Refusal::new(Reason::AlreadyActivated, message))
        }
        None => Ok(()),
    }
}

fn has_stood_down(activation: &EmbassyActivation) -> bool {
    activation
        .status
        .as_ref()
        .is_some_and(|status| status.phase == ActivationPhase::StoodDown)
}
