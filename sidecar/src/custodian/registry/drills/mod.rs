//! What becomes of a drill's result: an order asks the custodian to sign it.
//!
//! [`examination`] judges the result by the ledger, [`report`] renders it, [`deposit`](super::documents::deposit) puts both forms into the store; then one entry in the
//! custody chain names them. The same order gives the same reports, and those that are there are recognised. [`findings`] says which drills
//! are missing or failed.

mod examination;
pub mod findings;
pub mod report;

use dataembassy_contract::drill::DrillResult;
use dataembassy_ledger::entry::{CustodyBody, DrillBody};
use dataembassy_ledger::value::OrderId;
use jiff::Timestamp;

use super::documents::deposit::{self, DepositError};
use super::documents::signed_for;
use super::orders::Attempt;
use super::{Assignment, Keeper};
use examination::Examined;

impl Keeper {
    /// Signs for what a drill found, if it can be.
    pub(super) async fn sign_drill(
        &mut self,
        assignment: &Assignment,
        order: &OrderId,
        result: &DrillResult,
    ) -> Attempt {
        if let Some((reason, message)) = self.cannot_sign_results(assignment) {
            return Attempt::kept_by(reason, message);
        }
        let now = Timestamp::now();
        let examined = {
            let holdings = self.holdings.lock();
            examination::examine(order, result, &self.registry, &holdings, now)
        };
        let examined = match examined {
            Ok(examined) => examined,
            Err(attempt) => return attempt,
        };
        let signed = self.deposit_and_sign(assignment, order, examined, now).await;
        signed_for(signed)
    }

    /// Puts the reports, and writes the entry that names them; false where the entry was not written, and the chain tells why.
    async fn deposit_and_sign(
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
            source_entry: examined.source_entry,
            copy: examined.copy,
            custodian: assignment.configuration.signer.public_key(),
            result: &examined.result,
        };
        let rendered = record.render()?;
        let tells = |found: &[u8]| record.is_told_by(found);
        let reports = deposit::put(&assignment.store, (&self.registry, order), rendered, &tells).await?;
        let body = CustodyBody::Drill(DrillBody {
            order: order.clone(),
            source_entry: examined.source_entry,
            copy_id: examined.copy,
            passed: examined.passed,
            started_at: examined.started_at,
            ended_at: examined.ended_at,
            reports,
        });
        Ok(self.append(assignment, body, now).await?)
    }
}
