//! What home's operator wrote, by the log that the bed's API server keeps of what pods ask of it: nothing is left out of it that somebody forgot to
//! count.

use anyhow::Result;
use serde_json::Value;

use crate::product::{OPERATOR, RELEASE_NAMESPACE};

/// What the operator asked of the API server.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// How often it renewed its lease.
    pub(super) renewals: usize,
    /// Everything else that it wrote, as `verb resource namespace/name`.
    pub(super) writes: Vec<String>,
}

impl Asked {
    /// Reads the API server's log from line `seen` on.
    pub(super) fn read(log: &str, seen: usize) -> Result<Self> {
        let user = format!("system:serviceaccount:{RELEASE_NAMESPACE}:{OPERATOR}");
        let mut asked = Self::default();
        // The last line may not be whole yet.
        for line in log.lines().skip(seen).filter(|line| line.ends_with('}')) {
            let event: Value = serde_json::from_str(line)?;
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (verb, object) = (word(&event["verb"]), &event["objectRef"]);
            let writes = matches!(
                verb.as_str(),
                "create" | "update" | "patch" | "delete" | "deletecollection"
            );
            if !writes || event["user"]["username"] != user.as_str() {
                continue;
            }
            let [resource, namespace, name] = ["resource", "namespace", "name"].map(|of| word(&object[of]));
            if resource == "leases" {
                asked.renewals += 1;
            } else {
                asked.writes.push(format!("{verb} {resource} {namespace}/{name}"));
            }
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_operator_writes_beside_its_lease_counts() {
        let line = |user: &str, verb: &str, resource: &str| {
            let event = json!({
                "user": {"username": format!("system:serviceaccount:dataembassy-system:{user}")},
                "verb": verb,
                "objectRef": {"resource": resource, "namespace": "rest-00", "name": "one"},
            });
            event.to_string() + "\n"
        };
        let log = [
            line("dataembassy-operator", "patch", "deployments"),
            line("dataembassy-operator", "update", "leases"),
            line("dataembassy-operator", "watch", "pods"),
            line("another", "patch", "pods"),
            line("dataembassy-operator", "patch", "registrymirrors"),
            "{\"user\":".to_owned(),
        ];
        let asked = Asked::read(&log.concat(), 1).unwrap();
        assert_eq!(asked.renewals, 1);
        assert_eq!(asked.writes, ["patch registrymirrors rest-00/one"]);
    }
}
