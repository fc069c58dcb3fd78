//! The write lease: at most one operator writes, even while an old pod is still going away.
//!
//! Every change of the lease carries the resourceVersion that it is based on, so of two operators that reach for it at the same moment
//! the API server lets one through. Whether another's lease ran out is judged by our own clock, from when we saw it change last:
//! the clocks of two machines need not agree. The holder counts from when it sent the last request that renewed, since nobody can have
//! seen the change before, and it waits for no answer longer than it may hold. Why this is our own: `docs/adr/0002-write-lease.md`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;

/// The name of the lease in the operator's namespace.
pub const NAME: &str = "dataembassy-operator";
/// How long a lease counts without being renewed.
pub const LENGTH: Duration = Duration::from_secs(15);
/// How often it is renewed.
pub const RENEWAL: Duration = Duration::from_secs(4);
/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// After a renewal that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the holder goes on without having renewed: it ends before the others may take the lease, so that there is never a moment with two.
const HELD: Duration = LENGTH.saturating_sub(RENEWAL);

/// The lease was lost: another holds it, or it could not be renewed in time. The process must end, because whatever it still writes
/// may cross what the next holder writes.
#[derive(Debug, thiserror::Error)]
#[error("the write lease was lost: {0}")]
pub struct Lost(String);

/// What to do about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody ever held it.
    Create,
    /// It is ours, free, or ran out.
    Take,
    /// Another holds it.
    Wait,
}

/// A lease that is ours, and when the request was sent that made it so.
#[derive(Clone, Debug)]
pub struct Held {
    lease: Lease,
    sent: Instant,
}

/// Why a request has not done its work.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Answer(#[source] kube::Error),
    #[error("the API server has not answered for {} ms", .0.as_millis())]
    Silence(Duration),
}

/// When a lease was seen to change last.
#[derive(Clone, Debug)]
struct Seen {
    version: Option<String>,
    at: Instant,
}

/// One process that holds the lease or waits for it.
#[derive(Debug)]
pub struct WriteLease {
    api: Api<Lease>,
    holder: String,
}

impl WriteLease {
    /// Prepares to hold the lease of `namespace` as `holder`, which no other process calls itself.
    #[must_use]
    pub fn new(client: Client, namespace: &str, holder: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            holder,
        }
    }

    /// Waits until the lease is ours.
    pub async fn acquire(&self) -> Held {
        let mut seen: Option<Seen> = None;
        let began = Instant::now();
        loop {
            // One that is taken and whose answer does not come is found to be ours the next time.
            match self.try_acquire(&mut seen).await {
                Ok(Some(held)) => return held,
                Ok(None) => {}
                // The network may not let a new pod through at once, which is no fault.
                Err(error) if began.elapsed() < LENGTH => {
                    tracing::info!(%error, "the write lease cannot be reached yet");
                }
                Err(error) => tracing::warn!(%error, "the write lease cannot be reached; trying again"),
            }
            tokio::time::sleep(RENEWAL / 2).await;
        }
    }

    async fn try_acquire(&self, seen: &mut Option<Seen>) -> Result<Option<Held>, Failed> {
        let lease = in_time(PATIENCE, self.api.get_opt(NAME)).await?;
        let version = lease
            .as_ref()
            .and_then(|lease| lease.metadata.resource_version.clone());
        let since = match seen {
            Some(before) if before.version == version => before.at.elapsed(),
            _ => {
                *seen = Some(Seen {
                    version,
                    at: Instant::now(),
                });
                Duration::ZERO
            }
        };
        let sent = Instant::now();
        let result = match (judge(lease.as_ref(), &self.holder, since), lease) {
            (Step::Create, _) => {
                let lease = Lease {
                    metadata: ObjectMeta {
                        name: Some(NAME.to_owned()),
                        ..ObjectMeta::default()
                    },
                    spec: Some(self.renewed(None)),
                };
                in_time(PATIENCE, self.api.create(&PostParams::default(), &lease)).await
            }
            (Step::Take, Some(lease)) => in_time(PATIENCE, self.replace(lease)).await,
            _ => return Ok(None),
        };
        match result {
            Ok(lease) => Ok(Some(Held { lease, sent })),
            // Somebody was faster.
            Err(Failed::Answer(error)) if is_taken(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Renews the lease until it is lost.
    pub async fn hold(&self, mut held: Held) -> Lost {
        let mut pause = RENEWAL;
        loop {
            tokio::time::sleep(pause).await;
            let left = HELD.saturating_sub(held.sent.elapsed());
            let sent = Instant::now();
            let renewed = in_time(left.min(PATIENCE), self.replace(held.lease.clone())).await;
            let error = match renewed {
                Ok(lease) => {
                    held = Held { lease, sent };
                    pause = RENEWAL;
                    continue;
                }
                Err(Failed::Answer(error)) if is_taken(&error) => {
                    match self.found_ours(HELD.saturating_sub(held.sent.elapsed())).await {
                        // Ours, from an attempt whose answer did not come.
                        Ok(Some(lease)) => {
                            held.lease = lease;
                            Failed::Answer(error)
                        }
                        Ok(None) => return Lost("another operator changed it".to_owned()),
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            pause = PAUSE;
            if held.sent.elapsed() + pause >= HELD {
                return Lost(format!("it could not be renewed in time: {error}"));
            }
            tracing::warn!(%error, "the write lease could not be renewed; trying again");
        }
    }

    /// The lease as it stands, if it is still ours.
    async fn found_ours(&self, left: Duration) -> Result<Option<Lease>, Failed> {
        let lease = in_time(left.min(PATIENCE), self.api.get_opt(NAME)).await?;
        Ok(lease.filter(|lease| {
            let spec = lease.spec.as_ref();
            spec.and_then(|spec| spec.holder_identity.as_deref()) == Some(&self.holder)
        }))
    }

    /// Gives the lease back, so that the next operator need not wait for it to run out.
    pub async fn release(&self) {
        let released = async {
            let Some(mut lease) = self.api.get_opt(NAME).await? else {
                return Ok(());
            };
            let Some(spec) = lease.spec.as_mut() else {
                return Ok(());
            };
            if spec.holder_identity.as_deref() == Some(&self.holder) {
                spec.holder_identity = None;
                self.api.replace(NAME, &PostParams::default(), &lease).await?;
            }
            Ok::<(), kube::Error>(())
        };
        if let Err(error) = in_time(PATIENCE, released).await {
            tracing::warn!(%error, "the write lease could not be given back; the next operator waits for it to run out");
        }
    }

    async fn replace(&self, mut lease: Lease) -> Result<Lease, kube::Error> {
        lease.spec = Some(self.renewed(lease.spec.as_ref()));
        self.api.replace(NAME, &PostParams::default(), &lease).await
    }

    fn renewed(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = before.filter(|spec| spec.holder_identity.as_deref() == Some(&self.holder));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(LENGTH.as_secs()).ok(),
            acquire_time: ours
                .and_then(|spec| spec.acquire_time.clone())
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if ours.is_some() || before.is_none() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }
}

/// What the API server answers within this time. What is given up so may have had its effect.
async fn in_time<T>(
    time: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(time, request).await {
        Ok(answer) => answer.map_err(Failed::Answer),
        Err(_) => Err(Failed::Silence(time)),
    }
}

/// Whether somebody has changed the lease since it was read.
fn is_taken(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 || status.code == 404)
}

/// Judges a lease that has not changed for `since`.
fn judge(lease: Option<&Lease>, holder: &str, since: Duration) -> Step {
    let Some(lease) = lease else { return Step::Create };
    let spec = lease.spec.as_ref();
    let held_by = spec
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default();
    let seconds = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok());
    let length = seconds.map_or(LENGTH, Duration::from_secs);
    if held_by.is_empty() || held_by == holder || since > length {
        Step::Take
    } else {
        Step::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_it_is_ours_free_or_ran_out() {
        let short = Duration::from_secs(14);
        let long = Duration::from_secs(16);
        assert_eq!(judge(None, "a", short), Step::Create);
        assert_eq!(judge(Some(&held_by("a")), "a", short), Step::Take);
        assert_eq!(judge(Some(&held_by("")), "a", short), Step::Take);
        assert_eq!(judge(Some(&held_by("b")), "a", short), Step::Wait);
        assert_eq!(judge(Some(&held_by("b")), "a", long), Step::Take);
    }

    #[test]
    fn a_holder_gives_up_before_others_may_take_over() {
        // Two attempts that nobody answers still fit.
        assert!(RENEWAL + PATIENCE * 2 + PAUSE <= HELD && HELD < LENGTH);
    }
}
