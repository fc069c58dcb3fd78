//! What the approvals in a spec are worth, in the words of a status, and what goes to the custodian with an order. Pure.

use dataembassy_crds::{Approvals, EmbassyActivation, RefusedApproval};
use dataembassy_ledger::activation::{Approvers, Judgement, Warrant};

/// The most characters of a message, as the schema has it.
const MAX_MESSAGE: usize = 1024;

/// A signature as it was printed, whatever an editor or a terminal made of its ends of lines: LF, and exactly one at the end.
#[must_use]
pub fn normalised(signature: &str) -> String {
    let lines = signature.replace("\r\n", "\n");
    format!("{}\n", lines.trim_matches(['\n', ' ', '\t']))
}

fn signatures(activation: &EmbassyActivation) -> Vec<String> {
    let approvals = activation.spec.approvals.iter();
    approvals
        .map(|approval| normalised(&approval.signature))
        .collect()
}

/// What the approvals of a statement are worth.
#[must_use]
pub fn judge(activation: &EmbassyActivation, statement: &str, approvers: &Approvers) -> Judgement {
    approvers.judge(statement, &signatures(activation))
}

/// The same in the words of a status.
#[must_use]
pub fn shown(judgement: &Judgement, approvers: &Approvers) -> Approvals {
    let refused = judgement.refused.iter().map(|(place, fault)| RefusedApproval {
        place: i32::try_from(*place).unwrap_or(i32::MAX),
        message: fault.to_string().chars().take(MAX_MESSAGE).collect(),
    });
    Approvals {
        words: format!("{}/{}", judgement.approved.len(), approvers.required()),
        approved: judgement.approved.clone(),
        refused: refused.collect(),
    }
}

/// The statement with those signatures under it that count: whoever reads the ledger judges them anew.
#[must_use]
pub fn warrant(activation: &EmbassyActivation, statement: &str, approvers: &Approvers) -> Option<Warrant> {
    judged(
        activation,
        statement,
        approvers,
        &judge(activation, statement, approvers),
    )
}

/// The same, where the signatures were judged already.
#[must_use]
pub fn judged(
    activation: &EmbassyActivation,
    statement: &str,
    approvers: &Approvers,
    judgement: &Judgement,
) -> Option<Warrant> {
    if !approvers.are_enough(judgement) {
        return None;
    }
    let signatures = signatures(activation).into_iter().enumerate();
    let counts = |place: usize| judgement.refused.iter().all(|(refused, _)| *refused != place);
    Some(Warrant {
        statement: statement.to_owned(),
        approvals: signatures
            .filter(|(place, _)| counts(*place))
            .map(|(_, text)| text)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_editor_does_to_a_signature_is_undone() {
        let printed = "-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n";
        for pasted in [
            printed.to_owned(),
            printed.replace('\n', "\r\n"),
            printed.trim_end().to_owned(),
            format!("\n{printed}\n\n"),
            format!("{printed}  \n"),
        ] {
            assert_eq!(normalised(&pasted), printed, "{pasted:?}");
        }
    }
}
