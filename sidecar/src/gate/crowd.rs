//! The connections that are open, and who must leave when there is room for no more.
//!
//! A connection belongs to the registry that its latest request claimed. When all places are taken, the largest group gives one up: a
//! flood displaces itself. Connections with a request that is being answered stay; those are bounded by turns.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dataembassy_ledger::RegistryId;
use tokio_util::sync::CancellationToken;

/// The most connections to one gate.
pub(super) const CAPACITY: usize = 512;

/// The connections of one gate. Cloning shares them.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    capacity: usize,
    members: Arc<Mutex<Members>>,
}

#[derive(Debug, Default)]
struct Members {
    /// In the order in which they came.
    all: BTreeMap<u64, Member>,
    next: u64,
}

#[derive(Debug)]
struct Member {
    of: Option<RegistryId>,
    is_answered: bool,
    leaving: CancellationToken,
}

/// A connection's place; dropping it makes room.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    crowd: Crowd,
    leaving: CancellationToken,
}

impl Crowd {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            members: Arc::default(),
        }
    }

    /// A place for another connection; `None` if there is no room and nobody who could leave.
    pub(super) fn join(&self) -> Option<Place> {
        let mut members = self.lock();
        if members.all.len() >= self.capacity {
            let leaver = members.who_leaves()?;
            members.all.remove(&leaver)?.leaving.cancel();
        }
        let number = members.next;
        members.next += 1;
        let leaving = CancellationToken::new();
        let member = Member {
            of: None,
            is_answered: false,
            leaving: leaving.clone(),
        };
        members.all.insert(number, member);
        Some(Place {
            number,
            crowd: self.clone(),
            leaving,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// The eldest, of those that are not being answered, of the largest group that has one.
    fn who_leaves(&self) -> Option<u64> {
        let mut groups: BTreeMap<Option<&RegistryId>, (usize, Option<u64>)> = BTreeMap::new();
        for (number, member) in &self.all {
            let (size, eldest) = groups.entry(member.of.as_ref()).or_default();
            *size += 1;
            if !member.is_answered {
                eldest.get_or_insert(*number);
            }
        }
        let leavers = groups
            .values()
            .filter_map(|(size, eldest)| Some((size, (*eldest)?)));
        leavers.max_by_key(|(size, _)| **size).map(|(_, eldest)| eldest)
    }
}

impl Place {
    /// Cancelled when the connection must leave.
    pub(super) const fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }

    /// A request of this registry, or of nobody's, has come.
    pub(super) fn claim(&self, registry: Option<&RegistryId>) {
        if let Some(member) = self.crowd.lock().all.get_mut(&self.number) {
            member.of = registry.cloned();
        }
    }

    /// A request is being answered while what is returned lives.
    pub(super) fn answering(&self) -> Answering {
        self.answered(true);
        Answering {
            number: self.number,
            crowd: self.crowd.clone(),
        }
    }

    fn answered(&self, is_answered: bool) {
        self.crowd.answered(self.number, is_answered);
    }
}

impl Crowd {
    fn answered(&self, number: u64, is_answered: bool) {
        if let Some(member) = self.lock().all.get_mut(&number) {
            member.is_answered = is_answered;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.lock().all.remove(&self.number);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Answering {
    number: u64,
    crowd: Crowd,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.crowd.answered(self.number, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> RegistryId {
        text.parse().unwrap()
    }

    #[test]
    fn the_largest_group_makes_room_eldest_first() {
        let crowd = Crowd::new(4);
        let quiet = crowd.join().unwrap();
        quiet.claim(Some(&id("land")));
        let flood: Vec<_> = (0..3).map(|_| crowd.join().unwrap()).collect();
        for place in &flood {
            place.claim(Some(&id("population")));
        }
        let newcomer = crowd.join().unwrap();
        assert!(flood[0].leaving().is_cancelled());
        assert!(!flood[1].leaving().is_cancelled() && !quiet.leaving().is_cancelled());
        drop(newcomer);
        let _again = crowd.join().unwrap();
        assert!(!flood[1].leaving().is_cancelled());
    }

    #[test]
    fn connections_that_never_ask_displace_each_other() {
        let crowd = Crowd::new(3);
        let quiet = crowd.join().unwrap();
        quiet.claim(Some(&id("land")));
        let silent: Vec<_> = (0..20).map(|_| crowd.join().unwrap()).collect();
        assert!(!quiet.leaving().is_cancelled());
        let left = silent.iter().filter(|place| !place.leaving().is_cancelled());
        assert_eq!(left.count(), 2);
    }

    #[test]
    fn whoever_is_being_answered_stays_and_then_nobody_comes_in() {
        let crowd = Crowd::new(2);
        let (first, second) = (crowd.join().unwrap(), crowd.join().unwrap());
        let answering = (first.answering(), second.answering());
        assert!(crowd.join().is_none());
        drop(answering.1);
        let _third = crowd.join().unwrap();
        assert!(second.leaving().is_cancelled() && !first.leaving().is_cancelled());
    }
}
