//! A ledger that ends below, or beside, what the operator has seen of it. The custodian has the same floors; this is so even if it lost
//! them, or was replaced by one that lies.

use dataembassy_contract::custodian::RegistryReport;
use dataembassy_crds::{LedgerHead, RegistryCustodyStatus};

use crate::heads::is_below_or_beside;

/// A chain that ends where it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retreat {
    /// `source` or `custody`.
    pub chain: &'static str,
    /// The head that is known to have existed.
    pub known: LedgerHead,
    /// Where the chain is said to end; absent if it is empty.
    pub reported: Option<u64>,
}

/// The chain that ends where it must not, if one does.
#[must_use]
pub fn retreat(before: &RegistryCustodyStatus, report: &RegistryReport) -> Option<Retreat> {
    let chains = [
        ("source", &before.source_head, &report.source_head),
        ("custody", &before.custody_head, &report.custody_head),
    ];
    chains.into_iter().find_map(|(chain, known, reported)| {
        is_below_or_beside(known.as_ref(), reported.as_ref()).then_some(Retreat {
            chain,
            known: known.clone()?,
            reported: reported.as_ref().map(|head| head.sequence),
        })
    })
}
