//! What becomes of the result of an activation, a rehearsal or a stand-down: an order asks the custodian to sign it.
//!
//! [`examination`] judges the result by the ledger and by what people have signed, [`report`] renders it,
//! [`deposit`](super::documents::deposit) puts both forms into the store; then one `report` entry in the custody chain names them. Of a
//! rehearsal that is all that the ledger ever holds.

mod examination;
pub mod report;

use dataembassy_contract::activation::ActivationReport;
use dataembassy_ledger::entry::{CustodyBody, ReportBody};
use dataembassy_ledger::value::OrderId;
use jiff::Timestamp;

use super::documents::deposit::{self, DepositError};
use super::documents::signed_for;
use super::ledger::LedgerState;
use super::orders::{Attempt, Refusal};
use super::{Assignment, Keeper};
use examination::{Bench, Examined};

impl Keeper {
    /// Signs for what came of an order of people, if it can be.
    pub(super) async fn sign_report(
        &mut self,
        assignment: &Assignment,
        order: &OrderId,
        report: &ActivationReport,
    ) -> Attempt {
        if let Some((reason, message)) = self.cannot_sign_results(assignment) {
            return Attempt::kept_by(reason, message);
        }
        let now = Timestamp::now();
        let examined = match self.hold_against_the_ledger(assignment, order, report, now) {
            Ok(examined) => examined,
            Err(attempt) => return attempt,
        };
        let signed = self.report_and_sign(assignment, order, examined, now).await;
        signed_for(signed)
    }

    fn hold_against_the_ledger(
        &self,
        assignment: &Assignment,
        order: &OrderId,
        report: &ActivationReport,
        now: Timestamp,
    ) -> Result<Examined, Attempt> {
        let holdings = self.holdings.lock();
        let view = self.ledger.as_ref().map(LedgerState::view);
        let bench = Bench {
            store: assignment.identity.store_id,
            embassy: &assignment.configuration.embassy,
            registry: &self.registry,
            approvers: assignment.configuration.approvers.as_ref(),
            view: view.ok_or_else(|| Refusal::new("the custody chain was not read".to_owned()))?,
            holdings: &holdings,
            now,
        };
        bench.examine(order, report)
    }

    /// Puts the reports, and writes the entry that names them; false where the entry was not written, and the chain tells why.
    async fn report_and_sign(
        &mut self,
        assignment: &Assignment,
        order: &OrderId,
        examined: Examined,
        now: Timestamp,
    ) -> Result<bool, DepositError> {
        let record = report::Record {
            store: assignment.identity.store_id,
            registry: &self.registry,
            order,
            statement: &examined.statement,
            approved: &examined.approved,
            source_entry: examined.source_entry,
            opening: examined.opening.as_ref(),
            custodian: assignment.configuration.signer.public_key(),
            result: &examined.result,
        };
        let rendered = record.render()?;
        let tells = |found: &[u8]| record.is_told_by(found);
        let reports = deposit::put(&assignment.store, (&self.registry, order), rendered, &tells).await?;
        let body = CustodyBody::Report(ReportBody {
            order: order.clone(),
            about: examined.about,
            statement: examined.statement.digest,
            outcome: examined.outcome,
            source_entry: examined.source_entry,
            started_at: examined.started_at,
            ended_at: examined.ended_at,
            reports,
        });
        Ok(self.append(assignment, body, now).await?)
    }
}
