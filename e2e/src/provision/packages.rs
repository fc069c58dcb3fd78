//! Packages of the machine's own Debian.

use anyhow::{Result, bail};
use tokio::process::Command;

use crate::{
    command::{command, output},
    progress::Progress,
};

/// containerd, runc and the network plugins run pods; mmdebstrap makes root file systems; the others make and
/// inspect namespaces and links. age, zstd and openssh-client are the stock tools that must open what we write, and rclone
/// is what we measure against. chromium opens the reports of drills as people do. libfaketime sets the
/// clock of a single process.
const PACKAGES: [&str; 16] = [
    "age",
    "chromium",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "libfaketime",
    "mmdebstrap",
    "nftables",
    "openssh-client",
    "procps",
    "python3-venv",
    "rclone",
    "runc",
    "util-linux",
    "zstd",
];

/// What only `cargo e2e bench` measures against.
pub(super) const PEERS: [&str; 1] = ["restic"];

pub(super) async fn missing() -> Result<Vec<&'static str>> {
    missing_of(&PACKAGES).await
}

/// Those of some packages that are not installed.
pub(super) async fn missing_of(packages: &[&'static str]) -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for &package in packages {
        let state =
            output(command("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package])).await;
        if state.ok().as_deref() != Some("installed") {
            missing.push(package);
        }
    }
    Ok(missing)
}

pub(super) async fn install(packages: &[&str], progress: &Progress) -> Result<()> {
    let step = progress.step("packages");
    step.at("reading the package lists");
    read_lists().await?;
    step.at(&packages.join(" "));
    let mut install = apt(&["install", "--yes", "--no-install-recommends"]);
    output(install.args(packages)).await?;
    step.done();
    Ok(())
}

/// Asks Debian what there is now.
pub(super) async fn read_lists() -> Result<()> {
    output(&mut apt(&["update"])).await.map(drop)
}

/// apt, which waits for another apt and asks nothing.
pub(super) fn apt(arguments: &[&str]) -> Command {
    let mut apt = command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    apt
}

/// Where the machine's apt takes Debian from. A suite is served beside its siblings, so that a machine that
/// runs one release can build root file systems of another without knowing any server but its own.
pub(super) struct Mirror {
    debian: String,
    security: String,
}

impl Mirror {
    pub(super) async fn of_this_machine() -> Result<Self> {
        let mut indexes = command("apt-get");
        indexes.args([
            "indextargets",
            "--format",
            "$(LABEL)|$(REPO_URI)",
            "Created-By: Packages",
        ]);
        Self::parse(&output(&mut indexes).await?)
    }

    fn parse(indexes: &str) -> Result<Self> {
        let of = |label| {
            indexes
                .lines()
                .filter_map(|line| line.split_once('|'))
                .find_map(|(l, uri)| {
                    (l == label && !uri.is_empty()).then(|| uri.trim_end_matches('/').to_owned())
                })
        };
        match (of("Debian"), of("Debian-Security")) {
            (Some(debian), Some(security)) => Ok(Self { debian, security }),
            _ => bail!(
                "apt knows no source of Debian and its security updates: add them to /etc/apt/sources.list, \
                 run `apt-get update`, and try again"
            ),
        }
    }

    /// The sources of a suite, as lines of `sources.list`.
    pub(super) fn sources(&self, suite: &str) -> [String; 3] {
        [
            format!("deb {} {suite} main", self.debian),
            format!("deb {} {suite}-updates main", self.debian),
            format!("deb {} {suite}-security main", self.security),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_release_comes_from_the_machines_own_mirror() {
        let mirror = Mirror::parse(
            "Other|http://other.example/\n\
             Debian|http://mirror.example/debian/\n\
             Debian-Security|http://mirror.example/security/\n",
        )
        .unwrap();
        assert_eq!(
            mirror.sources("trixie")[0],
            "deb http://mirror.example/debian trixie main"
        );
        assert_eq!(
            mirror.sources("trixie")[2],
            "deb http://mirror.example/security trixie-security main"
        );
        assert!(Mirror::parse("Other|http://other.example/\n").is_err());
    }
}
