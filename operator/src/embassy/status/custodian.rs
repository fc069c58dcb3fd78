//! `CustodianReady`: whether copies are being proven.

use dataembassy_contract::Reason;
use dataembassy_contract::custodian::CustodianReport;
use dataembassy_contract::report::{MissingSecret, SecretRole};
use dataembassy_crds::Custodian;
use kube::ResourceExt;

use super::View;
use crate::condition::Finding;
use crate::embassy::validate::public_key;
use crate::pod::{self, Words};
use crate::secrets;

const WORDS: Words = Words {
    process: "custodian",
    settings: "spec.custodian",
    memory: "128Mi",
};

pub(super) fn ready(view: &View<'_>) -> Finding {
    let found = view.found;
    let (pod, deployment) = (
        found.custodian_pod.as_deref(),
        found.custodian.deployment.as_deref(),
    );
    if let Some(trouble) = pod::trouble(pod, deployment, WORDS) {
        return Finding::no(trouble.reason, trouble.message);
    }
    match &found.report {
        None => Finding::no(Reason::Applying, "the custodian's pod is starting"),
        Some(Err(error)) => {
            let message = format!(
                "the custodian's pod runs and does not answer the operator ({error}): check network policies and its log"
            );
            // A process that has just started may not listen yet; one that was heard before has fallen silent.
            if view.before.custodian_key.is_some() {
                Finding::unknown(Reason::CustodianSilent, message)
            } else {
                Finding::no(Reason::CustodianSilent, message)
            }
        }
        Some(Ok(report)) => answering(view, report),
    }
}

fn answering(view: &View<'_>, report: &CustodianReport) -> Finding {
    let block = view.embassy.spec.custodian.as_ref();
    if let Some(finding) = missing(&report.missing_secrets, block) {
        return finding;
    }
    if report.loaded.is_none() {
        return match &report.refused {
            Some(fault) => Finding::no(fault.reason, fault.message.clone()),
            None => Finding::no(
                Reason::NotYetLoaded,
                "the custodian has not loaded its configuration yet",
            ),
        };
    }
    if let Some(finding) = untrusted(view, report) {
        return finding;
    }
    let runs = "the custodian follows the ledgers";
    let pod = view.found.custodian_pod.as_deref();
    // Between two ends it answers and looks well, and nobody would be called.
    if let Some(trouble) = pod.and_then(|pod| pod::relapse(pod, WORDS, view.now)) {
        return Finding::no(trouble.reason, trouble.message);
    }
    match pod.and_then(pod::out_of_memory_at) {
        Some(at) => Finding::yes(
            Reason::OutOfMemory,
            format!(
                "{runs}; {}",
                WORDS.was_out_of_memory(at, "has been started again")
            ),
        ),
        None => Finding::yes(Reason::Loaded, runs),
    }
}

/// What the custodian signs counts for those only who were told its key.
fn untrusted(view: &View<'_>, report: &CustodianReport) -> Option<Finding> {
    let signer = public_key("the custodian's key", report.signer.as_deref()?).ok()?;
    let keys = &view.embassy.spec.custodian_keys;
    let trusted = keys.iter().any(|key| {
        key.retired.is_empty()
            && public_key("spec.custodianKeys", &key.public_key).is_ok_and(|key| key == signer)
    });
    if trusted {
        return None;
    }
    let message = format!(
        "the custodian signs with {signer}, which spec.custodianKeys of {} does not name as a key in use, so its entries count for \
         nobody: name it here and at home, or correct spec.custodian.signerRef",
        view.embassy.name_any()
    );
    Some(Finding::no(Reason::UntrustedCustodian, message))
}

/// Names the Secrets and the keys that a process misses.
pub(super) fn missing(missing: &[MissingSecret], block: Option<&Custodian>) -> Option<Finding> {
    let named = SecretRole::ALL.map(|role| {
        let name = block.and_then(|block| secret(block, role));
        (role, name.unwrap_or("that the resource names"))
    });
    secrets::missing(missing, named)
}

fn secret(block: &Custodian, role: SecretRole) -> Option<&str> {
    let secret = match role {
        SecretRole::Custody => &block.credentials_ref,
        SecretRole::Signing => &block.signer_ref,
        SecretRole::GateTls => &block.gate.tls_ref,
        SecretRole::Deposit
        | SecretRole::Database
        | SecretRole::DatabaseCa
        | SecretRole::Retrieval
        | SecretRole::Identity
        | SecretRole::Other => {
            return None;
        }
    };
    Some(&secret.name)
}
