//! Whether a warrant orders what somebody is about to do by it, or has done.
//!
//! Custodian and home ask the same: is it about this store, this registry, this order; is it meant; did enough of those approve who may. What
//! only one of them can know is the caller's to judge: whose key is named, where the chain stands, whether an order was used before.

use super::{
    Approvers, Judgement, MAX_APPROVERS, Mode, State, StatedRegistry, Statement, StatementError, Warrant,
};
use crate::entry::OpeningKind;
use crate::value::{OrderId, RegistryId, StoreId, Timestamp};

/// What a warrant must order.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The store.
    pub store: StoreId,
    /// The registry.
    pub registry: &'a RegistryId,
    /// The order.
    pub order: &'a OrderId,
    /// What opens the term.
    pub kind: OpeningKind,
    /// When it is carried out.
    pub at: Timestamp,
}

/// An order that enough of those approved who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// What was approved.
    pub statement: Statement,
    /// What it says of the registry.
    pub stated: StatedRegistry,
    /// Who approved.
    pub approved: Vec<String>,
    /// The warrant with the approvals that count, and no others.
    pub warrant: Warrant,
}

/// Why a warrant orders nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WarrantFault {
    /// Its statement is none.
    #[error("its statement cannot be read: {0}")]
    Unreadable(#[from] StatementError),
    /// It is about something else.
    #[error("its statement is about {what} {stated}, and not about {wanted}")]
    Other {
        /// About what.
        what: &'static str,
        /// What the statement says.
        stated: String,
        /// What it must say.
        wanted: String,
    },
    /// It is not meant.
    #[error("its statement is that of a rehearsal, which opens no term")]
    Rehearsal,
    /// It does not name the registry.
    #[error("its statement does not name registry {registry}")]
    NotNamed {
        /// The registry.
        registry: RegistryId,
    },
    /// Too few approved.
    #[error("{required} must approve its statement, and {}{}", counted(.approved), listed(.refused))]
    NotApproved {
        /// How many must.
        required: usize,
        /// Who did.
        approved: Vec<String>,
        /// Why the other approvals do not count.
        refused: Vec<String>,
    },
    /// It is too late.
    #[error("its statement could be carried out until {until}, and it is {at}")]
    Expired {
        /// Until when.
        until: Timestamp,
        /// When it would be, or was, carried out.
        at: Timestamp,
    },
}

fn counted(approved: &[String]) -> String {
    match approved {
        [] => "none did".to_owned(),
        [one] => format!("1 did ({one})"),
        many => format!("{} did ({})", many.len(), many.join(", ")),
    }
}

fn listed(refused: &[String]) -> String {
    let told = refused.iter().flat_map(|why| ["; ", why]);
    told.collect()
}

impl Claim<'_> {
    /// Says who ordered it, or why nobody did.
    pub fn judge(&self, warrant: &Warrant, approvers: &Approvers) -> Result<Ordered, WarrantFault> {
        let statement = Statement::read(&warrant.statement)?;
        let stated = self.stated(&statement)?;
        let judgement = endorsed(warrant, approvers)?;
        if self.at > statement.valid_until {
            return Err(WarrantFault::Expired {
                until: statement.valid_until,
                at: self.at,
            });
        }
        let counts = |place: usize| judgement.refused.iter().all(|(refused, _)| *refused != place);
        let approvals = warrant.approvals.iter().take(MAX_APPROVERS).enumerate();
        let approvals = approvals.filter(|(place, _)| counts(*place));
        Ok(Ordered {
            stated,
            warrant: Warrant {
                statement: warrant.statement.clone(),
                approvals: approvals.map(|(_, approval)| approval.clone()).collect(),
            },
            approved: judgement.approved,
            statement,
        })
    }

    fn stated(&self, statement: &Statement) -> Result<StatedRegistry, WarrantFault> {
        is_about("store", &statement.store, &self.store)?;
        is_about("order", &statement.order, self.order)?;
        if statement.mode == Mode::Rehearse {
            return Err(WarrantFault::Rehearsal);
        }
        let wanted = match self.kind {
            OpeningKind::Activation => State::Active,
            OpeningKind::Release => State::StoodDown,
        };
        is_about("state", &statement.state.word(), &wanted.word())?;
        let stated = statement.of(self.registry).cloned();
        stated.ok_or_else(|| WarrantFault::NotNamed {
            registry: self.registry.clone(),
        })
    }
}

/// Who approved a warrant's statement, whatever it orders; or that they are too few.
pub fn endorsed(warrant: &Warrant, approvers: &Approvers) -> Result<Judgement, WarrantFault> {
    let judgement = approvers.judge(&warrant.statement, &warrant.approvals);
    if approvers.are_enough(&judgement) {
        return Ok(judgement);
    }
    let told = |(place, fault): &(usize, _)| format!("approval {}: {fault}", place + 1);
    Err(WarrantFault::NotApproved {
        required: approvers.required(),
        refused: judgement.refused.iter().map(told).collect(),
        approved: judgement.approved,
    })
}

fn is_about<T: PartialEq + ToString>(what: &'static str, stated: &T, wanted: &T) -> Result<(), WarrantFault> {
    if stated == wanted {
        return Ok(());
    }
    Err(WarrantFault::Other {
        what,
        stated: stated.to_string(),
        wanted: wanted.to_string(),
    })
}
