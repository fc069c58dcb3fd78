//! The names and labels of a managed database.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::labels;

/// The component of every managed database's objects.
const COMPONENT: &str = "database";
/// How long the part of a name may be that says for whom the object is. A `StatefulSet` adds eleven characters for a label of its pods, and
/// we add up to four.
const LONGEST: usize = 43;
/// How many characters of a digest keep two names apart that were cut.
const DIGEST: usize = 8;

/// What a managed database's objects are called. All of them are DNS labels of at most 63 characters, but for the Secret, which nobody
/// resolves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The `StatefulSet`, and the Service by which a restore reaches its pod.
    pub internal: String,
    /// Its one pod.
    pub pod: String,
    /// The volume's claim.
    pub claim: String,
    /// The Service that applications reach it by.
    pub public: String,
    /// The Secret with the superuser, and with the operator's own certificate where none was named.
    pub superuser: String,
    /// The Secret that the restore knows the server's certificate by: key `ca.crt`.
    pub authority: String,
    /// The policy that lets the restore in.
    pub restore_policy: String,
    /// The policy that lets applications in.
    pub public_policy: String,
    /// What its objects have as their instance.
    pub instance: String,
}

impl Names {
    /// The names of the database of `registry` that `activation` makes; `service` and `tls` are those that were asked for.
    #[must_use]
    pub fn new(activation: &str, registry: &str, service: Option<&str>, tls: Option<&str>) -> Self {
        let instance = instance(activation, registry);
        let internal = format!("{instance}-db");
        let superuser = format!("{instance}.superuser");
        Self {
            pod: format!("{internal}-0"),
            claim: format!("{}-{internal}-0", super::build::VOLUME),
            public: service.unwrap_or(registry).to_owned(),
            authority: tls.unwrap_or(&superuser).to_owned(),
            restore_policy: format!("{internal}-restore"),
            public_policy: format!("{internal}-public"),
            superuser,
            internal,
            instance,
        }
    }

    /// The labels by which its pod is chosen; they can never change.
    #[must_use]
    pub fn selector(&self) -> Value {
        labels::selector(COMPONENT, &self.instance)
    }

    /// All labels of its objects.
    #[must_use]
    pub fn labels(&self) -> Value {
        labels::labels(COMPONENT, &self.instance)
    }
}

/// `<activation>-<registry>`, or as much of it as there is room for and a digest of the whole.
fn instance(activation: &str, registry: &str) -> String {
    let whole = format!("{activation}-{registry}");
    if whole.len() <= LONGEST {
        return whole;
    }
    let digest = hex::encode(Sha256::digest(&whole));
    let kept = whole
        .get(..LONGEST - 1 - DIGEST)
        .unwrap_or(activation)
        .trim_end_matches('-');
    format!("{kept}-{}", digest.get(..DIGEST).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_label(name: &str) -> bool {
        let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        name.len() <= 63
            && name.chars().all(fits)
            && name.starts_with(|letter: char| letter.is_ascii_lowercase())
            && !name.ends_with('-')
    }

    #[test]
    fn the_longest_and_the_shortest_names_fit_what_kubernetes_makes_of_them() {
        let dashes = format!("a{}b", "-".repeat(38));
        for (activation, registry) in [
            ("a", "abc"),
            ("abcdefghijklmnopqrst", "r123456789012345678901234567890123456789"),
            ("abcdefghijklmnopqrst", dashes.as_str()),
            ("day", "population"),
        ] {
            let names = Names::new(activation, registry, None, None);
            for name in [
                &names.internal,
                &names.pod,
                &names.public,
                &names.restore_policy,
                &names.public_policy,
                &names.instance,
            ] {
                assert!(is_label(name), "{name}");
            }
            // The label by which a StatefulSet tells its revisions apart.
            assert!(names.internal.len() + 11 <= 63, "{}", names.internal);
            assert!(names.superuser.len() <= 253 && names.claim.len() <= 253);
        }
    }

    #[test]
    fn registries_whose_names_begin_alike_get_names_of_their_own() {
        let name = |registry: &str| Names::new("abcdefghijklmnopqrst", registry, None, None).internal;
        assert_ne!(
            name("r12345678901234567890123456789012345678a"),
            name("r12345678901234567890123456789012345678b")
        );
        let short = Names::new("day", "population", None, None);
        assert_eq!(
            (
                short.internal.as_str(),
                short.superuser.as_str(),
                short.public.as_str()
            ),
            ("day-population-db", "day-population.superuser", "population")
        );
        assert_eq!(short.authority, short.superuser);
        let named = Names::new("day", "population", Some("people"), Some("people-tls"));
        assert_eq!(
            (named.public.as_str(), named.authority.as_str()),
            ("people", "people-tls")
        );
    }
}
