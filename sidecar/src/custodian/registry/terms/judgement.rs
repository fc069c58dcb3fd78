//! Whether the custodian may open a term by an order. No I/O; the time is an argument.
//!
//! The order comes by way of the operator, whom nobody need believe: what counts is the text that people have signed, and who they are.

use dataembassy_contract::Reason;
use dataembassy_ledger::activation::{Approvers, Claim, Ordered, Statement, Warrant, WarrantFault};
use dataembassy_ledger::chain::{CustodyView, OpeningKind, SignerRange};
use dataembassy_ledger::value::{OrderId, RegistryId, StoreId, Timestamp};
use dataembassy_ledger::{PublicKey, Sha256Digest};

use crate::custodian::registry::orders::Refusal;

/// What an order is held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bench<'a> {
    /// The store.
    pub(super) store: StoreId,
    /// The name of the `DataEmbassy`.
    pub(super) embassy: &'a str,
    /// The registry.
    pub(super) registry: &'a RegistryId,
    /// Who may order it.
    pub(super) approvers: Option<&'a Approvers>,
    /// Every key whose custody entries count somewhere, retired or not.
    pub(super) custodians: &'a [PublicKey],
    /// Who signs source entries in term 1.
    pub(super) signers: &'a [SignerRange],
    /// Now.
    pub(super) now: Timestamp,
}

/// An order that may be carried out.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// What was approved, and by whom.
    pub(super) ordered: Ordered,
    /// Who writes in the term that it opens.
    pub(super) signer: PublicKey,
}

impl Bench<'_> {
    /// Judges an order by what was signed. Whether it fits what the ledger says is another question: [`Bench::fits`].
    pub(super) fn judge(
        &self,
        order: &OrderId,
        kind: OpeningKind,
        warrant: &Warrant,
    ) -> Result<Judged, Refusal> {
        let Some(approvers) = self.approvers else {
            return Err(refuse(
                Reason::NoApprovers,
                "the DataEmbassy names nobody who may order it: set spec.activation".to_owned(),
            ));
        };
        is_of_these(approvers, warrant)?;
        let claim = Claim {
            store: self.store,
            registry: self.registry,
            order,
            kind,
            at: self.now,
        };
        let ordered = claim.judge(warrant, approvers).map_err(|fault| told(&fault))?;
        if ordered.statement.embassy.as_str() != self.embassy {
            return Err(Refusal::new(format!(
                "its statement is about embassy {}, and not about {}",
                ordered.statement.embassy, self.embassy
            )));
        }
        let signer = ordered.stated.signer.ok_or_else(|| {
            Refusal::new("its statement names nobody who signs in the next term".to_owned())
        })?;
        self.may_have_this_role(signer, approvers)?;
        Ok(Judged { ordered, signer })
    }

    /// Whether an order may be carried out where the ledger is now.
    pub(super) fn fits(&self, view: &CustodyView, kind: OpeningKind, judged: &Judged) -> Result<(), Refusal> {
        self.is_not_so_already(view, kind)?;
        self.hands_over(view, kind, judged.signer)
    }

    fn may_have_this_role(&self, signer: PublicKey, approvers: &Approvers) -> Result<(), Refusal> {
        let approver = |key: &PublicKey| approvers.all().iter().any(|one| one.key == *key);
        let is = |what: &str| {
            let message = format!("{what}: a key has one role");
            Err(refuse(Reason::KeyHasTwoRoles, message))
        };
        if self.custodians.contains(&signer) {
            return is(&format!(
                "key {signer} is a custodian's, and would sign source entries"
            ));
        }
        if approver(&signer) {
            return is(&format!(
                "key {signer} is an approver's, and would sign source entries"
            ));
        }
        match self.custodians.iter().find(|key| approver(key)) {
            Some(key) => is(&format!("key {key} is a custodian's and an approver's")),
            None => Ok(()),
        }
    }

    fn is_not_so_already(&self, view: &CustodyView, kind: OpeningKind) -> Result<(), Refusal> {
        let activation = view
            .openings()
            .last()
            .filter(|opening| opening.kind == OpeningKind::Activation);
        match (kind, activation) {
            (OpeningKind::Activation, Some(opening)) => {
                let order = opening.order.as_ref().map_or("none", OrderId::as_str);
                Err(refuse(
                    Reason::AlreadyActivated,
                    format!(
                        "registry {} is served from the embassy already, since custody entry {}, by order {order}: stand that down first",
                        self.registry, opening.entry.sequence
                    ),
                ))
            }
            (OpeningKind::Release, None) => Err(refuse(
                Reason::NotActivated,
                format!(
                    "registry {} is not served from the embassy, so nothing can be released",
                    self.registry
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Whether the term goes to somebody else than it was with. To fence home in favour of its own key would fence nobody.
    fn hands_over(&self, view: &CustodyView, kind: OpeningKind, signer: PublicKey) -> Result<(), Refusal> {
        let openings = view.openings();
        let has_written = match kind {
            OpeningKind::Activation => {
                let released = openings.iter().filter(|one| one.kind == OpeningKind::Release);
                let homes = self.signers.iter().map(|range| range.key);
                homes
                    .chain(released.map(|one| one.signer))
                    .any(|key| key == signer)
            }
            OpeningKind::Release => {
                let activated = openings.iter().filter(|one| one.kind == OpeningKind::Activation);
                activated.map(|one| one.signer).any(|key| key == signer)
            }
        };
        if !has_written {
            return Ok(());
        }
        let (what, whose) = match kind {
            OpeningKind::Activation => ("fenced", "home's"),
            OpeningKind::Release => ("released", "an activation's"),
        };
        Err(Refusal::new(format!(
            "its statement names key {signer}, which is {whose} own: registry {} would not be {what} by that; name another signer",
            self.registry
        )))
    }
}

fn refuse(reason: Reason, message: String) -> Refusal {
    Refusal { reason, message }
}

/// Whether those who signed knew who may, and how many must: they saw the digest.
pub(in crate::custodian::registry) fn is_of_these(
    approvers: &Approvers,
    warrant: &Warrant,
) -> Result<(), Refusal> {
    let statement = Statement::read(&warrant.statement).map_err(|error| told(&error.into()))?;
    let (stated, known): (Sha256Digest, _) = (statement.approvers, approvers.digest());
    if stated == known && statement.required == approvers.required() {
        return Ok(());
    }
    Err(refuse(
        Reason::NotApproved,
        format!(
            "its statement was made for other approvers, {} of those with digest {stated}; now {} of those with digest {known} must \
             approve: have a new statement made and signed",
            statement.required,
            approvers.required()
        ),
    ))
}

pub(in crate::custodian::registry) fn told(fault: &WarrantFault) -> Refusal {
    let reason = match fault {
        WarrantFault::NotApproved { .. } => Reason::NotApproved,
        WarrantFault::Expired { .. } => Reason::OrderExpired,
        _ => Reason::OrderRefused,
    };
    refuse(reason, fault.to_string())
}
