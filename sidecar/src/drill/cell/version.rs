//! Which versions of PostgreSQL a copy may be restored with: older ones have faults that a copy's definitions could use.

use std::{fmt, path::Path, process::Stdio};

use dataembassy_contract::Reason;

use crate::drill::failure::Failure;
use crate::postgresql::client_program;

/// The least minor version of each major one that is served; newer major versions pass, older ones do not.
const LEAST: [Version; 4] = [
    Version { major: 18, minor: 6 },
    Version { major: 17, minor: 11 },
    Version { major: 16, minor: 15 },
    Version { major: 15, minor: 19 },
];
/// The most bytes of a program's word on its version.
const MOST_BYTES: usize = 256;

/// A version of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u32,
    minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads `17.12 (Debian 17.12-0+deb13u1)` or `19beta1`; a version before the first release has the minor version 0.
    fn parse(text: &str) -> Option<Self> {
        let end_of_digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (major, rest) = text.split_at(end_of_digits(text));
        let minor = rest.strip_prefix('.').unwrap_or_default();
        let minor = &minor[..end_of_digits(minor)];
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().unwrap_or_default(),
        })
    }

    /// Refuses a version that is too old.
    pub(super) fn judge(what: &str, text: &str) -> Result<Self, Failure> {
        let refused = |words: String| Failure::inconclusive(Reason::TargetLacks, &words);
        let found =
            Self::parse(text).ok_or_else(|| refused(format!("{what} does not say its version: '{text}'")))?;
        let newest = LEAST.first().map_or(0, |least| least.major);
        let least = LEAST.iter().find(|least| least.major == found.major);
        if found.major > newest || least.is_some_and(|least| found >= *least) {
            return Ok(found);
        }
        let all = LEAST.map(|least| least.to_string()).join(", ");
        Err(refused(match least {
            Some(least) => format!(
                "{what} is PostgreSQL {found}, older than {least}, so a copy could harm it: take an image with {least}, or one of a newer major version; it takes copies of older ones too"
            ),
            None => format!(
                "{what} is PostgreSQL {found}, which is not restored into: take an image with at least one of {all}; each takes copies of older versions too"
            ),
        }))
    }
}

/// What `pg_restore` says of its version.
pub(super) async fn of_program(program: &Path, major: u32) -> Result<String, Failure> {
    let lacks = |why: String| {
        let words = format!(
            "there is no pg_restore of PostgreSQL {major} ({why}): have the operator use an image of ours with it, or take another major version for the throw-away server"
        );
        Failure::inconclusive(Reason::TargetLacks, &words)
    };
    let mut command = client_program::command(program, Path::new("/"));
    let output = command.arg("--version").stdout(Stdio::piped()).output().await;
    let output = output.map_err(|error| lacks(error.to_string()))?;
    let said = &output.stdout[..output.stdout.len().min(MOST_BYTES)];
    let said = String::from_utf8_lossy(said);
    let version = said.trim().strip_prefix("pg_restore (PostgreSQL) ");
    version
        .map(str::to_owned)
        .ok_or_else(|| lacks(format!("it says '{}'", said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_minor_versions_are_refused_and_new_major_ones_are_not() {
        for taken in [
            "18.6",
            "17.11",
            "17.12 (Debian 17.12-0+deb13u1)",
            "16.15",
            "15.19",
            "15.20",
            "19beta1",
            "21.0",
        ] {
            assert!(Version::judge("the server", taken).is_ok(), "{taken}");
        }
        for (refused, word) in [
            ("18.5", "18.6"),
            ("18beta1", "18.6"),
            ("17.10", "17.11"),
            ("16.14", "16.15"),
            ("15.18 (Debian 15.18-0+deb12u1)", "15.19"),
            ("14.30", "15.19"),
            ("9.6.24", "15.19"),
            ("", "does not say"),
        ] {
            let failure = Version::judge("the server", refused).unwrap_err();
            assert_eq!(failure.reason, Reason::TargetLacks);
            assert!(failure.message.contains(word), "{}", failure.message);
        }
    }
}
