//! What is said of a restore in the words of its resource.

use std::collections::BTreeMap;

use dataembassy_contract::restore::LeftOut;

use crate::restore::outcome::NotRestored;

/// How a failure begins that came before anything was written.
pub(super) const NOTHING: &str = "nothing was written";
/// The most kinds that are told.
const MAX_KINDS: usize = 16;

/// Flags of the command line, and the fields of the resource that stand for them.
const FIELDS: [(&str, &str); 9] = [
    ("--if-not-empty replace", "ifNotEmpty: Replace"),
    ("--if-not-empty", "ifNotEmpty"),
    ("--trust-source", "trustSource: true"),
    ("--allow-extension", "allowedExtensions"),
    ("--accept-different-collation", "acceptDifferentCollation: true"),
    (
        "give its place with --postgresql-programs",
        "have the operator use that image",
    ),
    ("set --scratch", "raise sidecar.scratchSize"),
    ("--target-any-name", "target.tls.mode: VerifyCA"),
    // Of a mirror, a custodian and a gate it would not be true.
    (
        "check its certificate against the caBundle of the DataEmbassy",
        "check its certificate against the caBundle of the DataEmbassy as it was when this one began; where it was changed since, the next one \
         goes by what is there now",
    ),
];

/// A message that names flags, for people who have fields.
pub(crate) fn of_the_resource(message: &str) -> String {
    let replace = |text: String, (flag, field): &(&str, &str)| text.replace(flag, field);
    FIELDS.iter().fold(message.to_owned(), replace)
}

/// How many things of each kind were not restored, the most first.
pub(super) fn by_kind(not_restored: &[NotRestored]) -> Vec<LeftOut> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for one in not_restored {
        *counts.entry(&one.kind).or_default() += 1;
    }
    let mut counts: Vec<LeftOut> = counts
        .into_iter()
        .map(|(kind, count)| LeftOut {
            kind: kind.to_owned(),
            count,
        })
        .collect();
    counts.sort_by_key(|one| std::cmp::Reverse(one.count));
    counts.truncate(MAX_KINDS);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_fields() {
        assert_eq!(
            of_the_resource(
                "- it holds tables: empty it, or say --if-not-empty replace\n- role x: see --trust-source"
            ),
            "- it holds tables: empty it, or say ifNotEmpty: Replace\n- role x: see trustSource: true"
        );
    }

    #[test]
    fn who_began_with_another_bundle_is_told_that_the_next_one_has_the_new_one() {
        let failed = crate::store::StoreError::TlsFailed {
            endpoint: "https://store.embassy.example".to_owned(),
            cause: "UnknownIssuer".to_owned(),
        };
        let said = of_the_resource(&failed.to_string());
        assert!(said.contains("as it was when this one began"), "{said}");
        assert!(said.ends_with("the next one goes by what is there now"), "{said}");
    }

    #[test]
    fn kinds_are_counted_the_most_first() {
        let one = |kind: &str| NotRestored {
            kind: kind.into(),
            name: "name".into(),
            reason: "reason".into(),
        };
        let counted = by_kind(&[one("ROLE"), one("ACL"), one("ACL")]);
        assert_eq!(
            counted
                .iter()
                .map(|left| (left.kind.as_str(), left.count))
                .collect::<Vec<_>>(),
            [("ACL", 2), ("ROLE", 1)]
        );
    }
}
