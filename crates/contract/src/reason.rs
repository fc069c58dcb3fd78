//! The closed set of reasons: what conditions, events, metrics and logs name a state by, and what the user does about it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Makes the enum, its texts and the list of all from one table, so that none can be forgotten.
macro_rules! reasons {
    ($($(#[$attribute:meta])* $name:ident = $word:literal: $meaning:literal, $remedy:literal;)+) => {
        /// Why something is as it is. The word is part of the API; [`meaning`](Reason::meaning) and [`remedy`](Reason::remedy) are
        /// for people and may change.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $(#[$attribute])* $name,)+
        }

        impl Reason {
            /// Every reason, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word that conditions, events and metrics carry.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            /// What it says.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning),+ }
            }

            /// What the user does about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy),+ }
            }
        }
    };
}

reasons! {
    // Good and waiting states.
    Loaded = "Loaded": "The sidecar runs with this generation of the resource.", "Nothing.";
    Accepted = "Accepted": "The resource is valid.", "Nothing.";
    Reachable = "Reachable": "The latest check passed.", "Nothing.";
    WithinObjective = "WithinObjective": "The latest copy is younger than the recovery point objective.", "Nothing.";
    Copied = "Copied": "A copy was committed.", "Nothing.";
    #[default]
    NotYetKnown = "NotYetKnown": "Nothing was found out yet.", "Wait; if it stays, look at the pod.";
    NoCopyYet = "NoCopyYet": "The ledger holds no copy of this registry yet.", "Wait for the first run, or look at why runs fail.";
    Applying = "Applying": "The resource's objects are being applied or its pod is starting.", "Wait.";
    NotYetLoaded = "NotYetLoaded": "The sidecar has not loaded this generation yet.", "Wait; if it stays, look at the sidecar's log.";
    RolloutPending = "RolloutPending": "A new pod is due and waits for the run in progress.", "Nothing; it is rolled when the run ends or passes its deadline.";
    Suspended = "Suspended": "The resource is suspended, so its schedule begins nothing.", "Set spec.suspend to false when it should go on.";

    Heard = "Heard": "Home has shown a sign of life.", "Nothing.";
    LedgerIntact = "LedgerIntact": "Both chains are whole, in order, and signed by who may.", "Nothing.";
    Proven = "Proven": "The bytes were read back from the store and equal the ledger.", "Nothing.";
    Verifying = "Verifying": "Bytes are being read back for the first time.", "Wait.";
    SpaceForecast = "SpaceForecast": "The space will be enough for what schedule, lock and retention will bring.", "Nothing.";
    CapacityUnknown = "CapacityUnknown": "Nobody said how much the store can hold, so nothing is forecast.", "Set spec.custodian.capacity.";
    Drilled = "Drilled": "A copy of this registry was restored and questioned, and answered.", "Nothing.";
    NeverDrilled = "NeverDrilled": "No copy of this registry was restored and questioned yet.", "Run a drill.";

    // What the operator judges.
    UnknownEmbassy = "UnknownEmbassy": "No DataEmbassy has the name in embassyRef.", "Create it, or correct the name.";
    RegistryTaken = "RegistryTaken": "Another mirror of the same embassy, or another `RegistryCustody`, has this registry id.", "Delete one of them, or choose another id.";
    NoEngine = "NoEngine": "No database engine is set, or more than one.", "Set exactly one, such as spec.source.postgresql.";
    InvalidName = "InvalidName": "A name or id breaks its rules.", "Correct it as the message says.";
    InvalidSchedule = "InvalidSchedule": "The schedule is not five common cron fields.", "Write minute, hour, day, month, weekday, such as */15 * * * *.";
    ImpossibleDate = "ImpossibleDate": "The schedule names a day that no year has.", "Correct the day or the month.";
    UnknownTimeZone = "UnknownTimeZone": "The time zone is not in the IANA database.", "Use a name such as Europe/Tallinn.";
    InvalidDuration = "InvalidDuration": "A duration is not written as one.", "Write a whole number and s, m, h or d, such as 30m.";
    InvalidRecipient = "InvalidRecipient": "A recipient is not an age public key that copies can be sealed to.", "Copy it from what age-keygen -y prints.";
    InvalidPublicKey = "InvalidPublicKey": "A public key is not an ssh-ed25519 key.", "Copy it from the .pub file that ssh-keygen -t ed25519 wrote.";
    InvalidCaBundle = "InvalidCaBundle": "The CA bundle holds no certificate that can be read.", "Paste the certificates in PEM form.";
    InvalidEndpoint = "InvalidEndpoint": "The endpoint is not the URL of a store.", "Write it like https://gate.embassy.example.";
    InsecureEndpoint = "InsecureEndpoint": "The endpoint is not encrypted.", "Use https, or allowInsecure for a test store.";
    InvalidNetwork = "InvalidNetwork": "An allowed network is not one.", "Write it like 203.0.113.0/24.";
    NotSovereign = "NotSovereign": "The endpoint is where the state's copies must not go.", "Use a store under the state's own control.";
    ForeignObject = "ForeignObject": "An object with the name that the resource needs belongs to somebody else.", "Rename the resource, or remove that object.";
    ApplyFailed = "ApplyFailed": "The API server refused an object of the resource.", "Read the message; often a quota or an admission policy.";

    TooManyRegistries = "TooManyRegistries": "The embassy keeps as many registries as it can.", "Delete a `RegistryCustody` that is not needed any more.";
    NoCustodian = "NoCustodian": "The DataEmbassy has no custodian block, so nobody keeps this registry.", "Set spec.custodian, or correct embassyRef.";
    InvalidQuantity = "InvalidQuantity": "An amount of bytes is not written as one.", "Write a whole number and Ki, Mi, Gi or Ti, such as 200Gi.";
    UntrustedCustodian = "UntrustedCustodian": "The custodian signs with a key that custodianKeys does not name, or names as retired, so its entries count for nobody.", "Name its public key in custodianKeys here and at home, or correct signerRef.";
    KeyHasTwoRoles = "KeyHasTwoRoles": "A key stands among the source signers and among the custodian keys.", "Replace one of them: a key has one role.";

    // What becomes of the pod.
    ImagePullFailed = "ImagePullFailed": "The sidecar's image cannot be pulled.", "Check image, registry and imagePullSecrets.";
    Unschedulable = "Unschedulable": "No node can take the pod.", "Free resources, or change resources, nodeSelector or tolerations.";
    OutOfMemory = "OutOfMemory": "The sidecar was killed at its memory limit.", "Raise spec.sidecar.resources.limits.memory and report it: memory should be bounded.";
    CrashLooping = "CrashLooping": "The sidecar ends again and again.", "Read its log: kubectl logs --previous.";
    PodRefused = "PodRefused": "The pod cannot be created.", "Read the message; often a quota or an admission policy.";
    SidecarSilent = "SidecarSilent": "The pod runs and does not answer the operator.", "Check network policies and the sidecar's log; copies may go on.";

    // Secrets, as the sidecar sees them.
    SecretMissing = "SecretMissing": "A Secret that the resource names does not exist.", "Create it.";
    SecretKeyMissing = "SecretKeyMissing": "A Secret lacks a key.", "Add the key that the message names.";
    SecretInvalid = "SecretInvalid": "A Secret's value cannot be used.", "Replace the value that the message names.";
    ConfigurationInvalid = "ConfigurationInvalid": "The sidecar cannot use the newest configuration.", "Bring operator and sidecar to versions that fit.";

    // The source.
    SourceUnreachable = "SourceUnreachable": "The database does not answer.", "Check host, port, network policies and the server.";
    SourceTlsFailed = "SourceTlsFailed": "No trusted TLS connection to the database.", "Check its certificate, the host name and the CA Secret.";
    SourceAuthenticationFailed = "SourceAuthenticationFailed": "The database refused the dump role.", "Correct user name or password in the Secret.";
    SourceAuthenticationRefused = "SourceAuthenticationRefused": "The database asked for the password in clear text or md5.", "Use scram-sha-256 in pg_hba.conf and set the password anew.";
    DatabaseMissing = "DatabaseMissing": "The server has no such database.", "Correct the name, or create it.";
    SourcePrivilegesMissing = "SourcePrivilegesMissing": "The dump role may not read everything.", "Grant it pg_read_all_data and BYPASSRLS.";
    SourceVersionUnsupported = "SourceVersionUnsupported": "The image has no PostgreSQL client of the server's major version.", "Use an image that has it.";
    SourceChanged = "SourceChanged": "The database is not the one that was copied before.", "If it was re-created on purpose, name it in acceptedIdentity.";
    SourceNotOneServer = "SourceNotOneServer": "The connections end at different servers.", "Point the mirror at the server itself, without a pooler or balancer.";
    SourceConnectionsExhausted = "SourceConnectionsExhausted": "The database gives no more connections.", "Lower maxConnections, or raise the server's limits.";
    SourceLost = "SourceLost": "A connection that held the snapshot was lost.", "Nothing, if it was a restart; the next run tries again.";
    StandbyConflict = "StandbyConflict": "The source is a standby, and it ended the run to go on replaying its primary.", "Set hot_standby_feedback = on at the standby, or raise max_standby_streaming_delay.";
    SourceRewritten = "SourceRewritten": "Tables were rewritten while the snapshot was taken, again and again.", "Run at a quieter time.";
    SourceCorrupt = "SourceCorrupt": "The server cannot read what it has stored: data or an index is damaged.", "Check its disk and log, and restore from a good copy.";
    YieldedToDdl = "YieldedToDDL": "Another session waited for our locks, so the run gave way.", "Run at a quieter time, or raise yieldToDDLAfter.";
    SnapshotTooOld = "SnapshotTooOld": "The run held its snapshot longer than allowed.", "Raise maxSnapshotAge or maxConnections.";
    ValueTooLarge = "ValueTooLarge": "A value is too large for any dump.", "Move it to a large object; the message names table and column.";
    PlanningFailed = "PlanningFailed": "`pg_dump` ended with an error.", "Read the message, which holds what it said.";
    PlanningStalled = "PlanningStalled": "`pg_dump` did nothing for too long.", "Look for locks in the database.";
    DumpInconsistent = "DumpInconsistent": "What was read does not add up, so no copy was made.", "Report it with the sidecar's log.";
    ScratchSpaceExhausted = "ScratchSpaceExhausted": "The pod's scratch space is full.", "Raise spec.sidecar.scratchSize.";

    // The store.
    StoreUnreachable = "StoreUnreachable": "The store does not answer.", "Check endpoint, network and the store.";
    StoreTlsFailed = "StoreTlsFailed": "No trusted TLS connection to the store.", "Check its certificate and caBundle.";
    StoreCredentialsRefused = "StoreCredentialsRefused": "The store does not know the deposit credentials.", "Correct the deposit Secret.";
    StoreAccessDenied = "StoreAccessDenied": "The deposit user lacks a right.", "Compare its policy with the template.";
    GateRefused = "GateRefused": "The gate before the store did not let a request pass.", "Read the message; often the embassy has not accepted the registry yet, or in another term.";
    BucketMissing = "BucketMissing": "The store has no such bucket.", "Correct the name, or run store init.";
    NoVersioning = "NoVersioning": "The bucket keeps no versions.", "Run store init on a new bucket.";
    NoObjectLock = "NoObjectLock": "The bucket does not lock new objects as the DataEmbassy demands.", "Run store init, or set the bucket's default retention.";
    StoreNotInitialised = "StoreNotInitialised": "The bucket has no embassy.json.", "Run store init.";
    StoreMismatch = "StoreMismatch": "The store is not the one that the ledger names.", "Check endpoint and bucket.";
    ClockSkewed = "ClockSkewed": "Our clock and the store's differ too much.", "Set the clocks.";
    StoreStalled = "StoreStalled": "The store took and acknowledged nothing for a minute.", "Look at the store and the line to it.";
    StoreFull = "StoreFull": "The store takes no more data.", "Add space, or raise the quota.";
    StoreFailed = "StoreFailed": "The store answered with an error.", "Read the message and the store's log.";

    // The ledger.
    LedgerGap = "LedgerGap": "An entry is missing from the ledger.", "Find out who removed it before anything else.";
    LedgerUnreadable = "LedgerUnreadable": "An object in the ledger is not an entry that this version can read.", "If a newer version of DataEmbassy has written it, upgrade this one; else find out who put it there.";
    ForeignSignature = "ForeignSignature": "An entry is signed by a key that this mirror does not know.", "If it is an earlier key, name it in previousKeys, with the last entry that it signed; if not, treat it as an attack.";
    SecondVersion = "SecondVersion": "An entry exists in two versions.", "Find out who wrote the second.";
    RolledBack = "RolledBack": "The ledger ends before, or beside, an entry that is known.", "Find out what became of the store; nothing is written until then. What is known stays known whatever store the DataEmbassy names: only where your own people have chosen another one, delete the RegistryMirror (at the embassy the RegistryCustody) and make it again a minute later, which deletes no copy and no key.";
    Superseded = "Superseded": "Another sidecar committed first.", "Nothing, if it happens once; else look for a second mirror of this registry.";
    CommitUnknown = "CommitUnknown": "The store did not answer whether the entry was written.", "Nothing; the next run finds out from the ledger.";
    Fenced = "Fenced": "The registry is activated at the embassy.", "Nothing at home; return home by a release.";

    // What the embassy finds.
    HomeSilent = "HomeSilent": "Home has shown no sign of life for too long.", "Call home; if nobody answers, think of activation.";
    Unwitnessed = "Unwitnessed": "The custodian does not know where this ledger stood before, so it could not tell an older state of the store.", "Compare the head with a mirror's status or a trust sheet, and name it in confirmedHead.";
    Forked = "Forked": "The ledger has two entries at one place that both count for somebody.", "Find out who signs with the key twice; copies up to the fork stand.";
    UnknownRegistry = "UnknownRegistry": "The store has objects of a registry that nobody accepted.", "Make a RegistryCustody for it, or find out who writes there.";
    DrillFailed = "DrillFailed": "The latest copy that was restored did not answer as it must.", "Read the message; take another copy, and drill it.";
    ForeignRecipients = "ForeignRecipients": "A copy is sealed to other recipients than the DataEmbassy names.", "Find out who changed the recipients at home; whoever holds those keys reads the copy.";
    DatedAhead = "DatedAhead": "The latest copy says that it was taken later than it came.", "Set the clock of the registry's server; if it is right, treat it as an attack: whoever holds home's key may hide by such a date how old a copy is.";
    ManifestInvalid = "ManifestInvalid": "What a copy consists of cannot be read from its manifest.", "The copy is lost; take another one.";
    ObjectMissing = "ObjectMissing": "Objects of a copy are not in the store.", "The copy is lost; find out who removed them, and take another one.";
    ObjectChanged = "ObjectChanged": "Objects of a copy are not what the ledger says.", "The copy is lost; check the store's disks, and take another one.";
    ObjectUnreadable = "ObjectUnreadable": "The store cannot read objects of a copy.", "Check the store's disks and log; the copy may be lost.";
    VerificationOverdue = "VerificationOverdue": "Copies were not read back within the verification period.", "Raise spec.custodian.verification.rate, or the period.";
    LockMissing = "LockMissing": "Objects that must be locked are not.", "Check the bucket's default retention and who may change it.";
    LockTooShort = "LockTooShort": "Locks end sooner than they must.", "Check the custody user's right to prolong locks.";
    RetentionBlocked = "RetentionBlocked": "Copies that should go cannot be deleted.", "Read the message; often a lock or a missing right.";
    QuotaExceeded = "QuotaExceeded": "The registry has used its quota, so the gate takes nothing more.", "Raise the quota, or let older copies go.";
    SpaceShort = "SpaceShort": "Schedule, lock and retention together will need more space than there is.", "Add space, or keep less.";
    RequestsRefused = "RequestsRefused": "The gate refused requests that were signed with this registry's credentials.", "Find out who sent them: our own sidecar sends none that a gate refuses.";
    RetrievalOpen = "RetrievalOpen": "Home may read its copies back through the gate.", "Set homeMayRetrieve to false when home has what it needs.";
    GateDown = "GateDown": "No gate is up, so home cannot send copies.", "Look at the gate's pods.";
    CertificateExpiring = "CertificateExpiring": "A certificate ends soon.", "Replace it in its Secret; it is loaded without a restart.";
    CertificateInvalid = "CertificateInvalid": "A certificate, or its key, cannot be used.", "Replace both in the Secret that the message names.";
    StoreExposed = "StoreExposed": "The store itself would let through what only the gate refuses.", "Let nobody but gate, custodian and jobs reach the store.";
    CustodianSilent = "CustodianSilent": "The custodian does not answer the operator.", "Check its pod and network policies.";

    // Restores.
    Restoring = "Restoring": "The copy is being restored.", "Wait; status.progress says how far it is.";
    Restored = "Restored": "The copy was restored, and the target holds what the copy's inventory says.", "Nothing.";
    NoSuchCopy = "NoSuchCopy": "The ledger holds no copy such as spec.copy names.", "Choose another one: kubectl get recoverypoints lists them.";
    CopyNotOpened = "CopyNotOpened": "The identity does not open the copy.", "Bring the identity of one of the recipients that the copy was sealed to.";
    TargetUnreachable = "TargetUnreachable": "The server that is restored into does not answer.", "Check spec.target, network policies and the server.";
    TargetRefused = "TargetRefused": "The server that is restored into does not let the restoring role in, or is not who it must be.", "Correct the role's Secret, the database's name, or the CA Secret.";
    TargetLacks = "TargetLacks": "The target lacks something that the copy needs; nothing was written.", "Add what the message lists, and make another restore.";
    TargetFull = "TargetFull": "The server that is restored into has no room left; the database is marked as not usable.", "Give its volume room for rows, indexes and write-ahead log; make another restore with ifNotEmpty: Replace.";
    RestoreFailed = "RestoreFailed": "The restore ended before its end; the database is marked as not usable.", "Read the message; make another restore with ifNotEmpty: Replace.";

    // Drills.
    DrillPassed = "DrillPassed": "The latest drill restored a copy, and it gave every answer as it must.", "Nothing.";
    Drilling = "Drilling": "A drill is at work.", "Wait; status.current says how far it is.";
    Recording = "Recording": "The drill has ended, and the custodian is asked to sign what it found.", "Wait; if it stays, look at the custodian.";
    DrillOverdue = "DrillOverdue": "No copy passed a drill for longer than the registry's drills.every.", "Look at the RegistryDrill, and at why it fails or does not run.";
    AnswerWrong = "AnswerWrong": "The copy was restored, and gave an answer that it must not give.", "Read in the report of a drill, or in the status of a restore, which one; find out whether the copy or the expectation is wrong.";
    RtoMissed = "RTOMissed": "The recovery took longer than it may.", "Give the drill more processors or jobs, or correct the objective.";
    CopyDamaged = "CopyDamaged": "What the store holds of the copy is not what the ledger says.", "Take another copy; find out who changed the store.";
    CellLost = "CellLost": "The throw-away database of a drill ended before its time.", "Read the log of the container `database`; raise its memory or its volume.";
    CellFull = "CellFull": "The throw-away database of a drill grew beyond its volume.", "Raise spec.server.volumeSize, or find out what in the copy grows.";
    DrillNotAllowed = "DrillNotAllowed": "Drills of this registry do not count from this namespace.", "Name the namespace in the RegistryCustody's spec.drills.namespace.";
    OrderRefused = "OrderRefused": "The custodian did not sign what it was asked to sign.", "Read the message; the next drill, or a new statement, is signed anew.";
    UnknownCopy = "UnknownCopy": "The ledger holds no living copy such as a drill names.", "Nothing, if the copy went by retention meanwhile; else find out who made the result.";

    // Activations.
    Reported = "Reported": "The custodian has signed for what came of the order.", "Nothing; status.registries says where the report lies.";
    ReportAwaited = "ReportAwaited": "What came of the order is written down, and the custodian has not signed for it yet.", "Wait; if it stays, look at the custodian.";
    AwaitingApproval = "AwaitingApproval": "The activation waits for approvers to sign its statement.", "Sign status.statement.text with ssh-keygen -Y sign -n dataembassy-activation-v1, and put the signature into spec.approvals.";
    Approved = "Approved": "Enough approvers have signed the statement.", "Nothing.";
    NotApproved = "NotApproved": "An order is not approved by enough of those who may.", "Read the message; have the statement signed by approvers that the DataEmbassy names.";
    NoApprovers = "NoApprovers": "The DataEmbassy names nobody who may order an activation.", "Name them in its spec.activation.";
    OrderExpired = "OrderExpired": "The order was not carried out before its validUntil.", "Set a later spec.validUntil, and have the new statement signed.";
    OrderUsed = "OrderUsed": "An order of this id is in the ledger already.", "Change the spec, so that a new statement is made, and have it signed.";
    AlreadyActivated = "AlreadyActivated": "Another order serves the registry from the embassy.", "Stand that activation down first.";
    NotActivated = "NotActivated": "The registry is not served from the embassy, so nothing is stood down, or mirrored from there.", "Nothing, or correct the registry's id.";
    Fencing = "Fencing": "Home is being cut off and fenced.", "Wait.";
    Unfenced = "Unfenced": "The registry is served without a fence: the store cannot be written, so nothing keeps home from committing too.", "See to it that nobody writes at home.";
    StartingDatabase = "StartingDatabase": "The registry's database is coming up.", "Wait; if it stays, look at its pod.";
    Serving = "Serving": "The registry is served from the embassy.", "Nothing.";
    IdentityPresent = "IdentityPresent": "An identity that opens copies lies in the cluster.", "Delete its Secret when nothing needs it any more.";
    IdentityAbsent = "IdentityAbsent": "The pod that looked last did not find the identity.", "Nothing, or bring it if it is needed.";
    CleanedUp = "CleanedUp": "Nothing of a rehearsal is in its database any more.", "Nothing.";
    CleaningUp = "CleaningUp": "What a rehearsal restored into somebody else's database is being dropped.", "Nothing, or what the message says.";
    Rehearsed = "Rehearsed": "The registry was restored and questioned, and could have been served.", "Nothing.";
    StandingDown = "StandingDown": "The registry is on its way back home.", "Wait.";
    StoodDown = "StoodDown": "The registry was released to home.", "Restore the released copy there, and name the release in the mirror's spec.registry.adoptRelease.";
    NoMirror = "NoMirror": "Nothing at the embassy can take the last copy of a registry that is to go home.", "Make a RegistryMirror for it, or look at why its copies fail.";
    WaitsForOthers = "WaitsForOthers": "Registries that this one depends on are not served yet.", "Wait.";
    DependencyFailed = "DependencyFailed": "A registry that this one depends on could not be brought up.", "Look at that one.";
    AwaitingProof = "AwaitingProof": "The choice allows proven copies only, and the custodian has not read one back yet.", "Wait; if it stays, look at the registry's RegistryCustody, or choose copy.latest.";
    NoIntactCopy = "NoIntactCopy": "The registry has no copy that the choice allows.", "Look at its RecoveryPoints, and choose by another rule or by number; a damaged copy is never taken.";
    StepOverdue = "StepOverdue": "A step takes longer than spec.deadlines allows.", "Look at the registry's message in status.registries.";
    OnTime = "OnTime": "No step takes longer than it may.", "Nothing.";
    LateEntry = "LateEntry": "Something was put into a term after it had ended: it does not count.", "Find out who put it, and how it passed the gate; nothing is lost by it.";
    WrongSide = "WrongSide": "The resource means nothing at this side.", "Make it in the cluster that the message names.";
    FenceNotApproved = "FenceNotApproved": "The embassy's ledger fences this registry by an order that those who may did not approve.", "Speak with the embassy over another channel: its custodian's key may be in other hands, or spec.activation differs at home.";

    // Runs and objectives.
    Interrupted = "Interrupted": "The run was stopped with its pod.", "Nothing for a mirror or a drill, which make up for it; a restore is asked for anew.";
    DeadlineExceeded = "DeadlineExceeded": "The run took longer than its deadline.", "Raise the deadline, or for a mirror maxConnections.";
    RpoMissed = "RPOMissed": "The latest copy is older than the recovery point objective.", "Look at why runs fail or take so long.";
    SizeImplausible = "SizeImplausible": "The latest copy is much smaller than the one before.", "Check that nothing was deleted by mistake.";
    UnknownWarning = "UnknownWarning": "`pg_dump` gave a warning that is not known to be harmless.", "Read the message.";
    InternalError = "InternalError": "Something failed that should not be able to.", "Report it with the log.";
    Other = "Other": "The other side named a reason that this version does not know.", "Read the message; bring operator and sidecar to one version.";
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The word is not one of this version's reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such reason")]
pub struct UnknownReason;

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(word: &str) -> Result<Self, UnknownReason> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == word)
            .ok_or(UnknownReason)
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Reason {
    /// A newer neighbour may know more reasons, so an unknown word is [`Reason::Other`] and no error.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(deserializer)?.parse().unwrap_or(Self::Other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_camel_case_unique_and_read_back() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            let word = reason.as_str();
            assert!(
                word.starts_with(|letter: char| letter.is_ascii_uppercase()),
                "{word}"
            );
            assert!(
                word.bytes().all(|byte| byte.is_ascii_alphanumeric()) && word.len() <= 40,
                "{word}"
            );
            assert!(seen.insert(word), "{word} twice");
            assert_eq!(word.parse(), Ok(*reason));
        }
    }

    #[test]
    fn every_reason_says_what_it_means_and_what_to_do_in_sentences() {
        for reason in Reason::ALL {
            for text in [reason.meaning(), reason.remedy()] {
                assert!(
                    text.ends_with('.') && text.trim_start_matches('`').starts_with(char::is_alphabetic),
                    "{reason}: {text}"
                );
            }
        }
    }

    #[test]
    fn a_reason_from_a_newer_neighbour_is_other() {
        assert_eq!(
            serde_json::from_str::<Reason>("\"MoonFull\"").unwrap(),
            Reason::Other
        );
    }
}
