//! What home is told when the embassy's ledger fences it: by which order, who approved it, since when. Home stops by the opening alone; who
//! ordered it decides only what people hear, for nobody may be told that the state ordered what somebody did with the custodian's key.

use dataembassy_contract::Reason;
use dataembassy_ledger::ObjectKey;
use dataembassy_ledger::activation::{Approvers, Claim};
use dataembassy_ledger::chain::{CustodyView, Fence, Opening, OpeningKind};
use dataembassy_ledger::entry::{CustodyBody, CustodyEntry, TermBody};
use dataembassy_ledger::signed_line::MAX_OBJECT_BYTES;
use dataembassy_ledger::value::{RegistryId, Sha256Digest, StoreId, Timestamp};

use crate::store::{Store, StoreError};

/// The most versions of the opening's key that are read for the right one.
const MAX_READ: usize = 8;

/// Reads the entry that fences home, once.
#[derive(Debug, Default)]
pub struct FenceWatch {
    known: Option<Read>,
}

/// An opening's entry, as far as it was found.
#[derive(Clone, Debug)]
struct Read {
    digest: Sha256Digest,
    body: TermBody,
    at: Timestamp,
}

/// Who is fenced, and by whom it may be ordered.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// The store.
    pub store_id: StoreId,
    /// The registry.
    pub registry: &'a RegistryId,
    /// Who may order it, as home was told; none where nobody may.
    pub approvers: Option<&'a Approvers>,
    /// What the custody chain says.
    pub view: &'a CustodyView,
}

impl FenceWatch {
    /// The reason and the words for a fence. Where the entry cannot be read now, that is said.
    pub async fn tell(&mut self, store: Option<&Store>, home: Home<'_>, fence: &Fence) -> (Reason, String) {
        let Some(opening) = home.view.openings().last() else {
            return (Reason::Fenced, fence.to_string());
        };
        let is_known = self
            .known
            .as_ref()
            .is_some_and(|read| read.digest == opening.entry.digest);
        if !is_known && let Some(store) = store {
            match fetch(store, home.registry, opening).await {
                Ok(read) => self.known = read,
                Err(error) => {
                    tracing::warn!(reason = %error.reason(), %error, "the entry that fences this registry cannot be read");
                }
            }
        }
        let known = self.known.as_ref();
        if let Some(read) = known.filter(|read| read.digest == opening.entry.digest) {
            return home.told(opening, read, fence);
        }
        let message = format!("{fence}. Who ordered it is not known: the entry itself cannot be read now");
        (Reason::Fenced, message)
    }
}

/// The very entry that the custody chain names. A store may show others at its place; only the digest decides.
async fn fetch(store: &Store, registry: &RegistryId, opening: &Opening) -> Result<Option<Read>, StoreError> {
    let key = ObjectKey::Custody {
        registry: registry.clone(),
        sequence: opening.entry.sequence,
    };
    let versions = store.versions_of(&key).await?;
    let objects = versions.iter().rev().filter(|version| !version.is_delete_marker);
    for version in objects.take(MAX_READ) {
        let Some(id) = &version.version else { continue };
        let bytes = store
            .open(&key, Some(id))
            .await?
            .read_up_to(MAX_OBJECT_BYTES as u64 + 1)
            .await?;
        if Sha256Digest::of(&bytes) != opening.entry.digest {
            continue;
        }
        let Ok(found) = CustodyEntry::verify(&bytes) else {
            continue;
        };
        let (CustodyBody::Activation(body) | CustodyBody::Release(body)) = found.entry.body else {
            continue;
        };
        return Ok(Some(Read {
            digest: opening.entry.digest,
            body,
            at: found.entry.header.at,
        }));
    }
    Ok(None)
}

impl Home<'_> {
    fn told(&self, opening: &Opening, read: &Read, fence: &Fence) -> (Reason, String) {
        let (entry, at, term, signer) = (opening.entry.sequence, read.at, opening.term, opening.signer);
        let order = read
            .body
            .order
            .as_ref()
            .map_or_else(|| "no order".to_owned(), |order| format!("order {order}"));
        let judged = self.judge(opening, read);
        let is_release = matches!(fence, Fence::ReleaseNotAdopted { .. });
        match (judged, is_release) {
            (Ok(approved), false) => {
                let what = match opening.kind {
                    OpeningKind::Activation => "it is served from the embassy",
                    OpeningKind::Release => "it was released to another key",
                };
                let message = format!(
                    "registry {} is fenced: {order}, which {approved} approved, was carried out at {at} by custody entry {entry}, and opened term \
                     {term} for {signer}; {what}, and nothing may be mirrored from here until a release names this key",
                    self.registry
                );
                (Reason::Fenced, message)
            }
            (Ok(approved), true) => {
                let message = format!(
                    "{fence}. It carries out {order}, which {approved} approved, at {at} (custody entry {entry}, term {term})"
                );
                (Reason::Fenced, message)
            }
            (Err(why), false) => {
                let message = format!(
                    "registry {} is fenced, but not by an order of those who may: custody entry {entry} of {at} opened term {term} for {signer} by \
                     {order}, and {why}. Nothing is mirrored from here all the same. {}",
                    self.registry,
                    Reason::FenceNotApproved.remedy()
                );
                (Reason::FenceNotApproved, message)
            }
            (Err(why), true) => {
                let message = format!(
                    "{fence}. But do not adopt it yet: custody entry {entry} of {at} opened term {term} by {order}, and {why}. {}",
                    Reason::FenceNotApproved.remedy()
                );
                (Reason::FenceNotApproved, message)
            }
        }
    }

    /// Who approved it, or why nobody did who may.
    fn judge(&self, opening: &Opening, read: &Read) -> Result<String, String> {
        let approvers = self
            .approvers
            .ok_or("the DataEmbassy at home names nobody who may order it")?;
        let order = read
            .body
            .order
            .as_ref()
            .ok_or("that entry names no order at all")?;
        let warrant = read
            .body
            .warrant
            .as_ref()
            .ok_or("that entry does not show who approved it")?;
        let claim = Claim {
            store: self.store_id,
            registry: self.registry,
            order,
            kind: opening.kind,
            at: read.at,
        };
        let ordered = claim
            .judge(warrant, approvers)
            .map_err(|fault| fault.to_string())?;
        if ordered.stated.signer != Some(opening.signer) {
            return Err("its statement names another signer".to_owned());
        }
        let earlier = self.view.openings().iter().filter(|one| one.term < opening.term);
        if earlier.into_iter().any(|one| one.order.as_ref() == Some(order)) {
            return Err("that order was carried out before: it is used a second time".to_owned());
        }
        let floor = ordered.stated.floor.map(|floor| floor.entry.sequence);
        if floor > opening.source_head.map(|head| head.sequence) {
            return Err("it ends the term before the head that the approvers saw".to_owned());
        }
        Ok(ordered.approved.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use dataembassy_ledger::activation::{
        Approver, Mode, State, StatedFloor, StatedRegistry, Statement, Unfenced, Warrant,
    };
    use dataembassy_ledger::chain::OpeningKind;
    use dataembassy_ledger::entry::{EntryRef, ProofBody, Standing, StandingOpening};
    use dataembassy_ledger::value::{OrderId, Sequence, Term};
    use dataembassy_ledger::{Role, SigningKey};

    use super::*;

    const ORDER: &str = "the-day-1";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn entry(number: u64) -> EntryRef {
        EntryRef {
            sequence: Sequence::new(number).unwrap(),
            digest: Sha256Digest::of(&number.to_be_bytes()),
        }
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millisecond(1_795_000_000_000 + minute * 60_000).unwrap()
    }

    fn approvers() -> Approvers {
        let approver = |(name, seed): (&str, u8)| Approver {
            name: name.into(),
            key: key(seed).public_key(),
        };
        Approvers::new([("anna", 60), ("bertil", 61)].map(approver).into(), 2).unwrap()
    }

    fn statement() -> Statement {
        Statement {
            store: StoreId::from_bytes([7; 16]),
            embassy: "luxembourg".parse().unwrap(),
            resource: "operations/the-day".parse().unwrap(),
            uid: "1".parse().unwrap(),
            order: ORDER.parse().unwrap(),
            mode: Mode::Activate,
            state: State::Active,
            valid_until: at(60),
            unfenced: Unfenced::Refused,
            required: 2,
            approvers: approvers().digest(),
            spec: Sha256Digest::of(b"spec"),
            registries: vec![StatedRegistry {
                registry: "population".parse().unwrap(),
                after: Vec::new(),
                floor: Some(StatedFloor {
                    term: Term::FIRST,
                    entry: entry(5),
                    taken_at: at(0),
                }),
                copy: "latest".parse().unwrap(),
                target: "managed".parse().unwrap(),
                signer: Some(key(5).public_key()),
                questions: 0,
                questions_digest: Sha256Digest::of(b""),
                exposed: "nowhere".parse().unwrap(),
            }],
        }
    }

    fn signed(statement: &Statement) -> Warrant {
        let statement = statement.render().unwrap();
        let sign = |seed| key(seed).sign(Role::Activation, statement.as_bytes()).unwrap();
        let approvals = vec![sign(60), sign(61)];
        Warrant { statement, approvals }
    }

    /// A chain in which these orders opened the terms after the first, at source entry 6.
    fn view(orders: &[&str]) -> CustodyView {
        let opening = |(place, order): (usize, &&str)| {
            let place = place as u64;
            StandingOpening {
                entry: entry(10 + place),
                kind: if place.is_multiple_of(2) {
                    OpeningKind::Activation
                } else {
                    OpeningKind::Release
                },
                source_head: Some(entry(6)),
                next_term: Term::new(2 + place).unwrap(),
                signer: key(5).public_key(),
                order: Some(order.parse().unwrap()),
            }
        };
        let standing = Standing {
            openings: orders.iter().enumerate().map(opening).collect(),
            ..Standing::default()
        };
        let proof = ProofBody {
            standing: Some(standing),
            ..ProofBody::new(entry(6))
        };
        CustodyView::standing_before(&proof).unwrap()
    }

    fn judged(view: &CustodyView, change: impl FnOnce(&mut Read)) -> Result<String, String> {
        let opening = view.openings().last().unwrap();
        let mut read = Read {
            digest: opening.entry.digest,
            body: TermBody {
                source_head: opening.source_head,
                next_term: opening.term,
                signer: opening.signer,
                order: opening.order.clone(),
                warrant: Some(signed(&statement())),
            },
            at: at(30),
        };
        change(&mut read);
        let approvers = approvers();
        let home = Home {
            store_id: StoreId::from_bytes([7; 16]),
            registry: &"population".parse().unwrap(),
            approvers: Some(&approvers),
            view,
        };
        home.judge(opening, &read)
    }

    #[test]
    fn an_order_of_those_who_may_is_told_with_their_names() {
        let judged = judged(&view(&[ORDER]), |_| ());
        assert_eq!(judged.as_deref(), Ok("anna, bertil"));
    }

    #[test]
    fn what_somebody_made_of_another_order_is_none() {
        let other = |change: fn(&mut Statement)| {
            let mut statement = statement();
            change(&mut statement);
            signed(&statement)
        };
        let first = view(&[ORDER]);
        let told = |change: fn(&mut Read)| judged(&first, change).unwrap_err();
        let warranted =
            |warrant: Warrant| judged(&first, |read| read.body.warrant = Some(warrant)).unwrap_err();
        let of_another: OrderId = "the-day-0".parse().unwrap();
        for (error, said) in [
            (told(|read| read.body.order = None), "names no order at all"),
            (
                told(|read| read.body.warrant = None),
                "does not show who approved it",
            ),
            (told(|read| read.at = at(61)), "could be carried out until"),
            (
                judged(&first, |read| read.body.order = Some(of_another)).unwrap_err(),
                "about order the-day-1",
            ),
            (
                warranted(other(|one| one.store = StoreId::from_bytes([8; 16]))),
                "about store",
            ),
            (
                warranted(other(|one| one.state = State::StoodDown)),
                "about state StoodDown",
            ),
            (
                warranted(other(|one| one.registries[0].signer = Some(key(6).public_key()))),
                "names another signer",
            ),
            (
                warranted(other(|one| {
                    one.registries[0].floor.as_mut().unwrap().entry = entry(7);
                })),
                "before the head that the approvers saw",
            ),
            // An old warrant is worth nothing to who finds it in the ledger.
            (
                judged(&view(&[ORDER, "the-day-2", ORDER]), |_| ()).unwrap_err(),
                "used a second time",
            ),
        ] {
            assert!(error.contains(said), "{error}");
        }
    }
}
