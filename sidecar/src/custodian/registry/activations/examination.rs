//! Whether the custodian may put its name to what is told of an activation. No I/O; the time is an argument.
//!
//! The result comes by way of the operator, whom nobody need believe. What people approved is judged anew by their signatures; that home was
//! fenced, or given its registry back, must stand in the chain; the copy must live in it, at or below the fence; and a success must not
//! contradict itself. That somebody could reach the database is the operator's word, and the report says so.

use dataembassy_contract::Reason;
use dataembassy_contract::activation::{ActivationReport, ActivationResult, Outcome};
use dataembassy_ledger::activation::{Approvers, Mode, State, Statement, endorsed};
use dataembassy_ledger::chain::{CustodyView, Opening, OpeningKind};
use dataembassy_ledger::entry::{EntryRef, ReportOutcome};
use dataembassy_ledger::value::{OrderId, RegistryId, Sequence, StoreId, Timestamp as LedgerTime};
use dataembassy_ledger::{PublicKey, Sha256Digest};
use jiff::Timestamp;

use super::report::Approved;
use crate::custodian::registry::documents::patience::{is_ahead, of_an_unknown_copy};
use crate::custodian::registry::holdings::{Held, HoldingsState};
use crate::custodian::registry::orders::{Attempt, Refusal};
use crate::custodian::registry::terms::judgement::{is_of_these, told};

/// By how much two lengths may differ that are made of times in whole seconds.
const ROUNDING: u64 = 2;
/// The steps that only an order takes that is meant.
const STEPS_OF_AN_ACTIVATION: [&str; 5] = ["cut", "fence", "serve", "copy", "release"];

/// What a result is held against.
#[derive(Clone, Copy)]
pub(super) struct Bench<'a> {
    /// The store.
    pub(super) store: StoreId,
    /// The name of the `DataEmbassy`.
    pub(super) embassy: &'a str,
    /// The registry.
    pub(super) registry: &'a RegistryId,
    /// Who may order.
    pub(super) approvers: Option<&'a Approvers>,
    /// What the custody chain says.
    pub(super) view: &'a CustodyView,
    /// The living copies.
    pub(super) holdings: &'a HoldingsState,
    /// Now.
    pub(super) now: Timestamp,
}

/// A result that may be signed for.
#[derive(Clone, Debug)]
pub(super) struct Examined {
    /// The order that people approved.
    pub(super) about: OrderId,
    /// What they approved.
    pub(super) statement: Approved,
    /// Who they are.
    pub(super) approved: Vec<String>,
    /// What came of it.
    pub(super) outcome: ReportOutcome,
    /// The entry of the copy, where there is one.
    pub(super) source_entry: Option<EntryRef>,
    /// The entry that fenced home, or released the registry to it.
    pub(super) opening: Option<Opening>,
    /// When enough had approved.
    pub(super) started_at: LedgerTime,
    /// When it ended.
    pub(super) ended_at: LedgerTime,
    /// The result, bounded; what it says of the copy's age is what the ledger says.
    pub(super) result: ActivationResult,
}

impl Bench<'_> {
    /// Holds a result against what people signed, the ledger, the clock, and itself. What cannot be signed for is refused, or waits where a later
    /// look may tell otherwise.
    pub(super) fn examine(&self, order: &OrderId, report: &ActivationReport) -> Result<Examined, Attempt> {
        let mut result = report.result.clone();
        result.bound();
        let about = self.is_named(order, &result)?;
        let Some(approvers) = self.approvers else {
            let message = "the DataEmbassy names nobody who may order an activation: set spec.activation";
            return Err(refuse(Reason::NoApprovers, message.to_owned()).into());
        };
        is_of_these(approvers, &report.warrant)?;
        let judgement = endorsed(&report.warrant, approvers).map_err(|fault| told(&fault))?;
        let statement = Statement::read(&report.warrant.statement).map_err(|error| told(&error.into()))?;
        let signer = self.is_about_us(&statement, &about, &result)?;
        let outcome = outcome(&statement, result.outcome)?;
        let opening = self.opening(&statement, &about, signer, &result)?.cloned();
        let (started_at, ended_at) = self.times(&statement, &result)?;
        let held = self.copy(&mut result)?;
        self.is_within(held, opening.as_ref(), &result)?;
        if outcome != ReportOutcome::Failed {
            no_contradiction(&statement, &result, held)?;
        }
        self.true_age(opening.as_ref(), &mut result);
        Ok(Examined {
            about,
            statement: Approved {
                digest: Sha256Digest::of(report.warrant.statement.as_bytes()),
                mode: statement.mode,
                state: statement.state,
                unfenced: statement.unfenced,
                valid_until: statement.valid_until,
            },
            approved: judgement.approved,
            outcome,
            source_entry: held.map(|held| held.reference),
            opening,
            started_at,
            ended_at,
            result,
        })
    }

    /// The order that it is about.
    fn is_named(&self, order: &OrderId, result: &ActivationResult) -> Result<OrderId, Refusal> {
        if result.order != order.as_str() || result.registry != self.registry.as_str() {
            return Err(Refusal::new(format!(
                "order {order} of registry {} carries the result of order {} of registry {}",
                self.registry, result.order, result.registry
            )));
        }
        let about: OrderId = result
            .about
            .parse()
            .map_err(|error| Refusal::new(format!("what it is about is no order: {error}")))?;
        if about == *order {
            return Err(Refusal::new(format!(
                "order {order} reports on itself: it needs an id of its own"
            )));
        }
        Ok(about)
    }

    /// Who writes the term that the statement opens, if it opens one; and that it is about all this.
    fn is_about_us(
        &self,
        statement: &Statement,
        about: &OrderId,
        result: &ActivationResult,
    ) -> Result<Option<PublicKey>, Refusal> {
        let pairs = [
            ("store", statement.store.to_string(), self.store.to_string()),
            ("embassy", statement.embassy.to_string(), self.embassy.to_owned()),
            ("order", statement.order.to_string(), about.to_string()),
            (
                "resource",
                statement.resource.to_string(),
                result.activation.clone(),
            ),
        ];
        if let Some((what, stated, wanted)) = pairs.iter().find(|(_, stated, wanted)| stated != wanted) {
            return Err(Refusal::new(format!(
                "its statement is about {what} {stated}, and not about {wanted}"
            )));
        }
        let stated = statement
            .of(self.registry)
            .ok_or_else(|| Refusal::new(format!("its statement does not name registry {}", self.registry)))?;
        Ok(stated.signer)
    }

    /// The entry by which the order was carried out. Of a rehearsal there must be none.
    fn opening(
        &self,
        statement: &Statement,
        about: &OrderId,
        signer: Option<PublicKey>,
        result: &ActivationResult,
    ) -> Result<Option<&Opening>, Refusal> {
        if statement.mode == Mode::Rehearse {
            return self.touched_nothing(about, result).map(|()| None);
        }
        if statement.state == State::StoodDown {
            let release = self.view.openings().iter().find(|opening| {
                opening.kind == OpeningKind::Release && opening.order.as_ref() == Some(about)
            });
            return match release {
                Some(release) => Ok(Some(release)),
                None => Err(refuse(
                    Reason::NotActivated,
                    format!(
                        "the custody chain of registry {} holds no release by order {about}",
                        self.registry
                    ),
                )),
            };
        }
        let Some(fence) = result.fence else {
            // What failed may have failed before home was fenced.
            return if result.outcome == Outcome::Failed {
                Ok(None)
            } else {
                Err(refuse(
                    Reason::NotActivated,
                    "it says that the registry is served, and names no entry that fenced home".to_owned(),
                ))
            };
        };
        // A later order goes on behind the fence of an earlier one; both name the key that writes the term.
        let opening = self.view.openings().iter().find(|opening| {
            opening.kind == OpeningKind::Activation
                && opening.entry.sequence.get() == fence
                && Some(opening.signer) == signer
        });
        opening.map(Some).ok_or_else(|| {
            refuse(
                Reason::NotActivated,
                format!(
                    "custody entry {fence} of registry {} is no activation in favour of the key that its statement names",
                    self.registry
                ),
            )
        })
    }

    fn touched_nothing(&self, about: &OrderId, result: &ActivationResult) -> Result<(), Refusal> {
        if let Some(entry) = self.view.carried_out(about) {
            return Err(Refusal::new(format!(
                "it is told as a rehearsal, and custody entry {entry} carried out order {about}"
            )));
        }
        let step = result
            .steps
            .iter()
            .find(|step| STEPS_OF_AN_ACTIVATION.contains(&step.name.as_str()));
        match step {
            Some(step) => Err(Refusal::new(format!(
                "it is told as a rehearsal, and tells of the step {}, which no rehearsal takes",
                step.name
            ))),
            None if result.fence.is_some() => Err(Refusal::new(
                "it is told as a rehearsal, and names an entry that fenced home".to_owned(),
            )),
            None => Ok(()),
        }
    }

    fn times(
        &self,
        statement: &Statement,
        result: &ActivationResult,
    ) -> Result<(LedgerTime, LedgerTime), Attempt> {
        let (started_at, ended_at) = (result.approved_at, result.ended_at);
        let told = format!("it began {started_at:.0} and ended {ended_at:.0}");
        let steps = result.steps.iter();
        let steps = steps.map(|step| (step.started_at, step.ended_at.unwrap_or(step.started_at)));
        if ended_at < started_at || steps.clone().any(|(started_at, ended_at)| ended_at < started_at) {
            let message = format!("{told}, and it or a step of it ends before it begins, which cannot be");
            return Err(Refusal::new(message).into());
        }
        let latest = steps.map(|(_, ended_at)| ended_at).fold(ended_at, Timestamp::max);
        let told = format!("{told}, with its steps {latest:.0}");
        if let Some(attempt) = is_ahead(latest, self.now, &told) {
            return Err(attempt);
        }
        if started_at > statement.valid_until.as_jiff() {
            return Err(refuse(
                Reason::OrderExpired,
                format!(
                    "its statement was valid until {}, and it was approved {started_at:.0}",
                    statement.valid_until
                ),
            )
            .into());
        }
        let time = |time| LedgerTime::from_jiff(time).map_err(|error| Refusal::new(error.to_string()));
        Ok((time(started_at)?, time(ended_at)?))
    }

    /// The copy, as it lives in the ledger.
    fn copy(&self, result: &mut ActivationResult) -> Result<Option<&Held>, Attempt> {
        let ended_at = result.ended_at;
        let Some(copy) = &mut result.copy else {
            return Ok(None);
        };
        let number = Sequence::new(copy.sequence).ok();
        let held = number
            .and_then(|number| self.holdings.copies.get(&number))
            .filter(|held| held.copy.to_string() == copy.copy_id);
        let Some(held) = held else {
            let message = format!(
                "the ledger of registry {} holds no living copy {} with id {}",
                self.registry, copy.sequence, copy.copy_id
            );
            return Err(of_an_unknown_copy(
                copy.sequence,
                ended_at,
                self.holdings,
                self.now,
                message,
            ));
        };
        copy.taken_at = held.taken_at;
        Ok(Some(held))
    }

    /// Nothing comes up, or goes home, that stands behind the end of the term.
    fn is_within(
        &self,
        held: Option<&Held>,
        opening: Option<&Opening>,
        result: &ActivationResult,
    ) -> Result<(), Refusal> {
        let (Some(held), Some(opening)) = (held, opening) else {
            return Ok(());
        };
        let last = opening.source_head.map(|head| head.sequence);
        if Some(held.reference.sequence) <= last {
            return Ok(());
        }
        Err(Refusal::new(format!(
            "copy {} of registry {} stands behind the end of the term that custody entry {} ended, and {:?} is told of it",
            held.reference.sequence, self.registry, opening.entry.sequence, result.outcome
        )))
    }

    /// How old the last committed copy was at the fence: the ledger says which that is, and when it was taken.
    fn true_age(&self, opening: Option<&Opening>, result: &mut ActivationResult) {
        let fenced = opening.filter(|opening| opening.kind == OpeningKind::Activation);
        let head = fenced.and_then(|opening| opening.source_head);
        let last = head.and_then(|head| self.holdings.copies.get(&head.sequence));
        if let (Some(last), Some(fenced_at)) = (last, result.ended("fence")) {
            let age = fenced_at.duration_since(last.moment()).as_secs();
            result.rpo_seconds = Some(u64::try_from(age).unwrap_or_default());
        }
    }
}

/// Whether what came of it is what the order can come to.
fn outcome(statement: &Statement, told: Outcome) -> Result<ReportOutcome, Refusal> {
    match (told, statement.mode, statement.state) {
        (Outcome::Failed, _, State::Active) => Ok(ReportOutcome::Failed),
        (Outcome::Served, Mode::Activate, State::Active) => Ok(ReportOutcome::Served),
        (Outcome::Rehearsed, Mode::Rehearse, State::Active) => Ok(ReportOutcome::Rehearsed),
        (Outcome::StoodDown, Mode::Activate, State::StoodDown) => Ok(ReportOutcome::StoodDown),
        (told, mode, state) => Err(Refusal::new(format!(
            "its outcome is {told:?}, which the order, with mode {mode:?} and state {state:?}, cannot come to"
        ))),
    }
}

/// What succeeded has its copy and the steps that lead there, and gave every answer that it was asked for.
fn no_contradiction(
    statement: &Statement,
    result: &ActivationResult,
    held: Option<&Held>,
) -> Result<(), Refusal> {
    let needed: &[&str] = match result.outcome {
        Outcome::Served => &["fence", "restore", "serve"],
        Outcome::Rehearsed => &["restore"],
        Outcome::StoodDown => &["copy", "release"],
        Outcome::Failed => &[],
    };
    let contradicts = |what: String| {
        Err(Refusal::new(format!(
            "it says that the registry came to {:?}, and {what}",
            result.outcome
        )))
    };
    if held.is_none() {
        return contradicts("names no copy".to_owned());
    }
    if let Some(step) = needed.iter().find(|step| result.ended(step).is_none()) {
        return contradicts(format!("the step {step} has not ended"));
    }
    if let Some(wrong) = result.assertions.iter().find(|answer| !answer.passed) {
        return contradicts(format!("the answer to {:?} was wrong", wrong.name));
    }
    if statement.state == State::StoodDown {
        return Ok(());
    }
    let took = result.ended_at.duration_since(result.approved_at).as_secs();
    let took = u64::try_from(took).unwrap_or_default();
    match result.rto_seconds {
        Some(told) if told.abs_diff(took) <= ROUNDING => Ok(()),
        told => contradicts(format!(
            "its times make {took} s of recovery, where it tells {told:?}"
        )),
    }
}

fn refuse(reason: Reason, message: String) -> Refusal {
    Refusal { reason, message }
}
