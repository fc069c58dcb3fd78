//! Both chains of a registry as one state: the custody chain first, because it says who may write the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::Arrival;
use dataembassy_ledger::chain::{CustodyView, KeyHasTwoRoles};
use dataembassy_ledger::entry::{CopyFault, EntryRef, SourceBody};
use dataembassy_ledger::value::Sequence;

use super::chain::Arrived;
use super::custody::{Custody, WrittenProof};
use super::history::History;
use super::holdings::{Held, Holdings};
use super::source::Source;
use super::terms::late::LateEntries;
use super::witness::{Evidence, Witness};
use super::{Assignment, Left, proof};
use crate::custodian::configuration::RegistrySettings;
use crate::custodian::finding::{Finding, Loss};
use crate::store::{Store, StoreError};

/// Between two looks at the custody chain while nobody but us seems to write it: what was removed from it is told within a minute.
const CUSTODY_PERIOD: Duration = Duration::from_secs(25);

/// The chains of one registry.
pub struct LedgerState {
    identity: super::Identity,
    settings: Arc<RegistrySettings>,
    custody: Custody,
    source: Option<Source>,
    /// Whether the custody chain may have more.
    custody_more: bool,
    source_more: bool,
    custody_due: Instant,
    was_empty: Option<bool>,
    /// The furthest custody entry that a source entry names.
    heard_of: Option<EntryRef>,
    /// Whether the head that a person has named is in the chain, and which head that was.
    confirmed: Option<(EntryRef, bool)>,
    two_roles: Option<KeyHasTwoRoles>,
    last_arrival: Option<Arrival>,
    /// What earlier proofs say of what was read back before.
    history: History,
    /// The custody entry up to which the source chain has heard of the custody chain.
    learned: Option<EntryRef>,
    /// What stands in terms that have ended.
    late: LateEntries,
}

impl LedgerState {
    /// Finds where to start; nothing but the last entries of the custody chain is read.
    pub async fn open(assignment: &Assignment) -> Result<Self, StoreError> {
        let settings = Arc::clone(&assignment.settings);
        let custody = Custody::open(
            &assignment.store,
            assignment.identity.clone(),
            settings.custodians.clone(),
            settings.custody_floor,
        )
        .await?;
        Ok(Self {
            identity: assignment.identity.clone(),
            settings,
            custody,
            source: None,
            custody_more: true,
            source_more: true,
            custody_due: Instant::now(),
            was_empty: None,
            heard_of: None,
            confirmed: None,
            two_roles: None,
            last_arrival: None,
            history: History::default(),
            learned: None,
            late: LateEntries::default(),
        })
    }

    /// Whether what was walked stands under this assignment too.
    #[must_use]
    pub fn fits(&self, assignment: &Assignment) -> bool {
        self.settings.same_authority(&assignment.settings)
            && self.identity.store_id == assignment.identity.store_id
            && self.identity.genesis == assignment.identity.genesis
    }

    /// Whether the last look left something to read.
    #[must_use]
    pub const fn has_more(&self) -> bool {
        self.custody_more || self.source_more
    }

    /// Whether all living copies are known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.has_more() && self.source.as_ref().is_some_and(Source::is_complete)
    }

    /// Whether both chains were read to their ends at least once.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        self.source.is_some() && !self.has_more()
    }

    /// What the custody chain says.
    #[must_use]
    pub const fn view(&self) -> &CustodyView {
        self.custody.view()
    }

    /// Whether the custody chain confirms this head, as far as it was read.
    #[must_use]
    pub fn confirms(&self, head: EntryRef) -> bool {
        self.custody.confirms(head)
    }

    /// The custody chain.
    #[must_use]
    pub const fn custody(&self) -> &Custody {
        &self.custody
    }

    /// The custody chain, to write to.
    pub const fn custody_mut(&mut self) -> &mut Custody {
        &mut self.custody
    }

    /// The latest proof.
    #[must_use]
    pub const fn last_proof(&self) -> Option<&WrittenProof> {
        self.custody.last_proof()
    }

    /// The head of the source chain.
    #[must_use]
    pub fn source_head(&self) -> Option<EntryRef> {
        self.source.as_ref().and_then(Source::head)
    }

    /// The head of the custody chain.
    #[must_use]
    pub const fn custody_head(&self) -> Option<EntryRef> {
        self.custody.head()
    }

    /// The latest new entry.
    #[must_use]
    pub const fn last_arrival(&self) -> Option<&Arrival> {
        self.last_arrival.as_ref()
    }

    /// Whether a chain lacks what it is known to have had.
    #[must_use]
    pub fn is_rolled_back(&self, assignment: &Assignment) -> bool {
        self.findings(assignment)
            .iter()
            .any(|finding| finding.reason == Reason::RolledBack)
    }

    /// How the custodian knows where the ledger stood before.
    #[must_use]
    pub fn witness(&self, settings: &RegistrySettings) -> Witness {
        let confirmed = self
            .confirmed
            .filter(|(head, _)| Some(*head) == settings.confirmed_head);
        let evidence = Evidence {
            was_empty: self.was_empty.unwrap_or(false),
            was_heard_of: self.lost_custody().is_some(),
            custody_floor: settings.custody_floor,
            source_floor: settings.source_floor,
            confirmed_head: settings.confirmed_head,
            confirmed_is_there: confirmed.is_some_and(|(_, is_there)| is_there),
        };
        evidence.weigh()
    }

    /// The custody entry that a source entry names and that is not there. Home may name what never was: that is believed only where nothing
    /// else is known.
    fn lost_custody(&self) -> Option<EntryRef> {
        let head = self.custody.head().map(|head| head.sequence);
        self.heard_of.filter(|named| Some(named.sequence) > head)
    }

    /// Whether both chains were read, and the custodian knows where they stood before.
    #[must_use]
    pub fn is_witnessed(&self, settings: &RegistrySettings) -> bool {
        self.is_read() && self.witness(settings) != Witness::Nobody
    }

    /// Lists what is new in both chains. New copies are added to the holdings.
    pub async fn look(&mut self, assignment: &Assignment, holdings: &Holdings) -> Result<(), StoreError> {
        let now = Instant::now();
        if self.custody_more || self.custody_due <= now {
            self.look_at_custody(&assignment.store).await?;
            self.custody_due = now + CUSTODY_PERIOD;
            self.apply_custody(holdings);
        }
        if self.custody_more {
            return Ok(());
        }
        if self.source.is_none() {
            self.learned = self.custody.head();
            let opened = Source::open(self.identity.clone(), &self.settings, self.custody.view());
            self.source = opened.map_err(|error| self.two_roles = Some(error)).ok();
        }
        let Some(source) = &mut self.source else {
            self.source_more = false;
            return Ok(());
        };
        let look = source.look(&assignment.store).await?;
        self.source_more = look.more;
        self.add(assignment, look.arrived, holdings);
        self.find_confirmed(assignment, holdings).await?;
        let (store, registry) = (&assignment.store, &self.identity.registry);
        let view = self.custody.view();
        self.late.look(store, registry, view).await
    }

    /// Reads both chains to their ends, whatever was read before. What stands behind either's end and does not count is read twice more: were it
    /// an entry whose bytes were damaged on their way, whoever ends the term here would cut it off, or decide by a term that has ended.
    pub async fn read_anew(
        &mut self,
        assignment: &Assignment,
        holdings: &Holdings,
    ) -> Result<(), StoreError> {
        self.custody_more = true;
        let mut doubts = 2;
        loop {
            self.look(assignment, holdings).await?;
            if self.has_more() {
                continue;
            }
            let of_custody = self.custody.doubt_next();
            let of_source = self.source.as_mut().is_some_and(Source::doubt_next);
            if doubts == 0 || !(of_custody || of_source) {
                return Ok(());
            }
            self.custody_more |= of_custody;
            doubts -= 1;
        }
    }

    /// The last entry of the source chain; where several claim to be that, the one that the store had first.
    #[must_use]
    pub fn end_of_source(&self) -> Option<EntryRef> {
        self.source.as_ref().and_then(Source::end)
    }

    /// Whether the source chain has this entry.
    pub async fn has(&self, assignment: &Assignment, entry: EntryRef) -> Result<bool, StoreError> {
        match &self.source {
            Some(source) => source.has(&assignment.store, self.custody.view(), entry).await,
            None => Ok(false),
        }
    }

    /// The custody chain must be read anew: somebody else has written to it.
    pub const fn custody_has_moved(&mut self) {
        self.custody_more = true;
    }

    async fn look_at_custody(&mut self, store: &Store) -> Result<(), StoreError> {
        self.custody_more = self.custody.look(store).await?;
        if self.was_empty.is_none() && !self.custody_more {
            self.was_empty = Some(self.custody.head().is_none() && self.custody.findings().next().is_none());
        }
        self.learn();
        Ok(())
    }

    /// Judges the source chain by what the custody chain says now: what we wrote ourselves counts at once, or what home puts behind a fence
    /// would still be taken for a copy.
    pub fn learn(&mut self) {
        let head = self.custody.head();
        let Some(source) = self.source.as_mut().filter(|_| self.learned != head) else {
            return;
        };
        let view = self.custody.view();
        self.two_roles = source.learn(&self.settings, view).err();
        self.learned = head;
        if source.is_beyond(view) {
            tracing::warn!(registry = %self.identity.registry, "a term ended before entries that were taken in: the source chain is read anew");
            self.source = None;
            self.source_more = true;
        }
    }

    /// What the custody chain says changes which copies live.
    pub fn apply_custody(&mut self, holdings: &Holdings) {
        let expired = self.custody.take_expired();
        let view = self.custody.view();
        let mut holdings = holdings.lock();
        holdings.copies.retain(|sequence, held| {
            let is_of_its_term = view.term_of(*sequence) == held.term;
            is_of_its_term && !view.is_expired(*sequence) && !view.is_void(held.copy)
        });
        holdings.expired.extend(expired);
        if let Some(proof) = self.custody.last_proof() {
            proof::learn(&mut holdings, proof);
        }
    }

    /// Reads older living copies, and what earlier proofs say of them.
    pub async fn fill_in(
        &mut self,
        assignment: &Assignment,
        holdings: &Holdings,
    ) -> Result<Left, StoreError> {
        let Some(source) = &mut self.source else {
            return Ok(Left::Nothing);
        };
        if !source.is_complete() {
            let arrived = source.fill_in(&assignment.store, self.custody.view()).await?;
            let more = !source.is_complete();
            self.add(assignment, arrived, holdings);
            if more {
                return Ok(Left::More);
            }
        }
        self.history.read(assignment, &self.custody, holdings).await
    }

    /// Looks again at places where an older entry was not right.
    pub async fn recheck(&mut self, assignment: &Assignment, holdings: &Holdings) -> Result<(), StoreError> {
        let Some(source) = &mut self.source else {
            return Ok(());
        };
        let arrived = source.recheck(&assignment.store, self.custody.view()).await?;
        self.add(assignment, arrived, holdings);
        Ok(())
    }

    fn add(&mut self, assignment: &Assignment, arrived: Vec<Arrived<SourceBody>>, holdings: &Holdings) {
        let view = self.custody.view();
        let custody_head = self.custody.head().map(|head| head.sequence);
        let mut state = holdings.lock();
        for one in arrived {
            let reference = one.found.entry.reference();
            let term = one.found.entry.entry.header.term;
            let SourceBody::Copy(body) = &one.found.entry.entry.body;
            if self
                .last_arrival
                .as_ref()
                .is_none_or(|last| last.sequence < reference.sequence.get())
            {
                self.last_arrival = Some(Arrival {
                    sequence: reference.sequence.get(),
                    taken_at: body.taken_at.as_jiff(),
                    arrived_at: one.written_at,
                });
            }
            if body.custody_head.map(|head| head.sequence) > self.heard_of.map(|head| head.sequence) {
                self.heard_of = body.custody_head;
                // Another custodian may have written it.
                self.custody_more |= self.heard_of.map(|head| head.sequence) > custody_head;
            }
            if view.is_void(body.copy_id) || view.is_expired(reference.sequence) {
                continue;
            }
            let mut held = Held::new(reference, term, one.found.version, one.written_at, body);
            held.recipients_fit = self.judge_recipients(assignment, reference, &body.recipients);
            state.take(held);
        }
    }

    /// Whether a copy is sealed to whom it should be. That is judged when it comes: the list may have changed since, and a copy that was
    /// right then stays right.
    fn judge_recipients(
        &self,
        assignment: &Assignment,
        reference: EntryRef,
        recipients: &[dataembassy_ledger::Recipient],
    ) -> bool {
        let wanted = &assignment.configuration.recipients;
        let fits = recipients.len() == wanted.len() && recipients.iter().all(|one| wanted.contains(one));
        let judged = self.custody.last_proof().is_some_and(|proof| {
            let was_wrong = proof
                .body
                .broken
                .iter()
                .any(|copy| copy.sequence == reference.sequence && copy.fault == CopyFault::Recipients);
            reference.sequence <= proof.body.source_head.sequence && !was_wrong
        });
        fits || judged
    }

    async fn find_confirmed(
        &mut self,
        assignment: &Assignment,
        holdings: &Holdings,
    ) -> Result<(), StoreError> {
        let Some(wanted) = assignment.settings.confirmed_head else {
            return Ok(());
        };
        if self.confirmed == Some((wanted, true)) || self.has_more() {
            return Ok(());
        }
        let known = holdings
            .lock()
            .copies
            .get(&wanted.sequence)
            .map(|held| held.reference);
        let is_there = match (known, &self.source) {
            (Some(known), _) => known == wanted,
            (None, Some(source)) => source.has(&assignment.store, self.custody.view(), wanted).await?,
            (None, None) => false,
        };
        self.confirmed = Some((wanted, is_there));
        Ok(())
    }

    /// What is wrong with the chains.
    #[must_use]
    pub fn findings(&self, assignment: &Assignment) -> Vec<Finding> {
        let settings = &assignment.settings;
        let mut findings: Vec<Finding> = Vec::new();
        if let Some(source) = &self.source {
            findings.extend(source.findings().cloned());
        }
        findings.extend(self.late.findings().cloned());
        findings.extend(self.custody.findings());
        if let Some(error) = &self.two_roles {
            findings.push(of_the_whole(
                Reason::KeyHasTwoRoles,
                error.to_string(),
                Loss::Nothing,
            ));
        }
        if self.is_read() {
            findings.extend(self.floor_findings(settings));
            if self.witness(settings) == Witness::Nobody {
                let ends = self.source_head().map_or_else(
                    || "it has no source entry".to_owned(),
                    |head| {
                        format!(
                            "it ends at source entry {} with SHA-256 {}",
                            head.sequence, head.digest
                        )
                    },
                );
                let heard_of = self.lost_custody().map_or_else(String::new, |lost| {
                    format!(
                        ", and names custody entry {} with SHA-256 {}, which is not there",
                        lost.sequence, lost.digest
                    )
                });
                let what = format!(
                    "nobody has said where this ledger stood before this custodian came; {ends}{heard_of}"
                );
                findings.push(of_the_whole(Reason::Unwitnessed, what, Loss::Unknown));
            }
        }
        findings
    }

    /// Heads that somebody knows of and that are not there.
    fn floor_findings(&self, settings: &RegistrySettings) -> Vec<Finding> {
        let mut findings = Vec::new();
        let below =
            |head: Option<EntryRef>, floor: EntryRef| head.is_none_or(|head| head.sequence < floor.sequence);
        if let Some(floor) = settings.source_floor
            && below(self.source_head(), floor)
        {
            let what = format!(
                "source entry {} with SHA-256 {} was there and is not any more",
                floor.sequence, floor.digest
            );
            findings.push(rolled_back(what, Some(floor.sequence), Loss::Later));
        }
        if let Some(floor) = settings.custody_floor
            && below(self.custody_head(), floor)
        {
            let what = format!(
                "custody entry {} with SHA-256 {} was there and is not any more",
                floor.sequence, floor.digest
            );
            findings.push(rolled_back(what, None, Loss::Word));
        }
        if let Some((head, false)) = self.confirmed
            && settings.confirmed_head == Some(head)
            && settings.custody_floor.is_none()
        {
            let what = format!(
                "source entry {} with SHA-256 {}, which confirmedHead names, is not in the ledger",
                head.sequence, head.digest
            );
            findings.push(rolled_back(what, Some(head.sequence), Loss::Later));
        }
        findings
    }
}

fn rolled_back(what: String, sequence: Option<Sequence>, lost: Loss) -> Finding {
    Finding {
        reason: Reason::RolledBack,
        sequence,
        what,
        lost,
    }
}

fn of_the_whole(reason: Reason, what: String, lost: Loss) -> Finding {
    Finding {
        reason,
        sequence: None,
        what,
        lost,
    }
}
