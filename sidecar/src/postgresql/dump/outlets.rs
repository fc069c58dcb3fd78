//! Where members leave the dump: by one outlet, or by several at once where there is much to copy.
//!
//! Who reads a copy may rely on the pieces of a range coming in their order, and only what leaves by one outlet keeps its order. So the pieces of a
//! range, or of a file, all leave by the same one.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use dataembassy_archive::Member;
use tokio::sync::mpsc;

use super::DumpError;

/// The ways by which a dump's members leave it: at least one.
#[derive(Debug)]
pub struct Outlets {
    first: Way,
    others: Vec<Way>,
    several_from: u64,
}

#[derive(Debug)]
struct Way {
    members: mpsc::Sender<Member>,
    /// How many ranges leave by it now.
    open: AtomicUsize,
}

impl Way {
    fn new(members: mpsc::Sender<Member>) -> Self {
        let open = AtomicUsize::new(0);
        Self { members, open }
    }

    fn open(&self) -> usize {
        self.open.load(Relaxed)
    }
}

impl From<mpsc::Sender<Member>> for Outlets {
    /// The only one.
    fn from(members: mpsc::Sender<Member>) -> Self {
        Self::new(members, Vec::new(), 0)
    }
}

impl Outlets {
    /// Members leave by the first; where there are at least `several_from` bytes to copy, by the others too.
    #[must_use]
    pub fn new(first: mpsc::Sender<Member>, others: Vec<mpsc::Sender<Member>>, several_from: u64) -> Self {
        Self {
            first: Way::new(first),
            others: others.into_iter().map(Way::new).collect(),
            several_from,
        }
    }

    /// Those that a copy of about so many bytes leaves by.
    pub(super) fn of(&self, bytes: u64) -> Self {
        let others = if bytes < self.several_from {
            &[][..]
        } else {
            self.others.as_slice()
        };
        let others = others.iter().map(|way| way.members.clone()).collect();
        Self::new(self.first.members.clone(), others, self.several_from)
    }

    /// For one range, from its first piece to its last: the outlet by which the fewest leave now.
    pub(super) fn outlet(&self) -> Outlet<'_> {
        let fewest =
            self.others.iter().fold(
                &self.first,
                |fewest, way| {
                    if way.open() < fewest.open() { way } else { fewest }
                },
            );
        fewest.open.fetch_add(1, Relaxed);
        Outlet(fewest)
    }
}

/// Where the pieces of one range go.
pub(super) struct Outlet<'a>(&'a Way);

impl Outlet<'_> {
    pub(super) async fn send(&self, member: Member) -> Result<(), DumpError> {
        let sent = self.0.members.send(member).await;
        sent.map_err(|_| DumpError::ReceiverGone)
    }
}

impl Drop for Outlet<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_outlets() -> (Outlets, [mpsc::Receiver<Member>; 2]) {
        let ((first, by_first), (second, by_second)) = (mpsc::channel(8), mpsc::channel(8));
        (Outlets::new(first, vec![second], 100), [by_first, by_second])
    }

    async fn send_one(outlet: &Outlet<'_>) {
        let member = Member::table_end("7.dat".parse().unwrap());
        outlet.send(member).await.unwrap();
    }

    /// How many members have left by each.
    fn left(receivers: &mut [mpsc::Receiver<Member>; 2]) -> [usize; 2] {
        receivers
            .each_mut()
            .map(|receiver| std::iter::from_fn(|| receiver.try_recv().ok()).count())
    }

    #[tokio::test]
    async fn a_small_copy_leaves_by_the_first_outlet() {
        let (outlets, mut receivers) = two_outlets();
        let outlets = outlets.of(99);
        let open = [outlets.outlet(), outlets.outlet(), outlets.outlet()];
        for outlet in &open {
            send_one(outlet).await;
        }
        assert_eq!(left(&mut receivers), [3, 0]);
    }

    #[tokio::test]
    async fn ranges_of_a_large_copy_are_spread_over_the_outlets() {
        let (outlets, mut receivers) = two_outlets();
        let outlets = outlets.of(100);
        let [a, b, c, d] = [(); 4].map(|()| outlets.outlet());
        for outlet in [&a, &b, &c, &d] {
            send_one(outlet).await;
        }
        assert_eq!(left(&mut receivers), [2, 2]);

        // Both that left by the second have ended: the next two take their places.
        drop((b, d));
        let next = [outlets.outlet(), outlets.outlet()];
        for outlet in &next {
            send_one(outlet).await;
        }
        assert_eq!(left(&mut receivers), [0, 2]);
        drop((a, c, next));
    }

    #[tokio::test]
    async fn an_outlet_that_nobody_takes_from_any_more_ends_the_dump() {
        let (outlets, [by_first, _by_second]) = two_outlets();
        drop(by_first);
        let sent = outlets
            .outlet()
            .send(Member::table_end("7.dat".parse().unwrap()))
            .await;
        assert!(matches!(sent, Err(DumpError::ReceiverGone)));
    }
}
