//! The node's container runtime: which images it has, and what is left of pods when the cluster ends.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, kill_process};
use tokio::process::Command;

use super::{process, site::Site};
use crate::{
    command::{command, output, wait_for},
    images::Image,
};

fn ctr(site: Site) -> Command {
    let mut ctr = command("ctr");
    ctr.arg("--address")
        .arg(site.folder().join("run/containerd.sock"))
        .args(["--namespace", "k8s.io"]);
    ctr
}

/// Waits until containerd answers.
pub(super) async fn ready(site: Site) -> Result<()> {
    wait_for("containerd", Duration::from_secs(30), || async {
        output(ctr(site).arg("version")).await.map(Some)
    })
    .await
    .map(drop)
}

/// Brings an image in, unless the node has this very one.
pub(super) async fn import(site: Site, image: &Image, has: &BTreeMap<String, String>) -> Result<()> {
    if has.get(&image.name) == Some(&image.digest()) && has.contains_key(&image.by_digest()) {
        return Ok(());
    }
    let mut child = ctr(site)
        .args(["images", "import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ctr")?;
    let to = child.stdin.take().context("no standard input")?.into_owned_fd()?;
    let writing = image.clone();
    let writing = tokio::task::spawn_blocking(move || writing.write(std::fs::File::from(to)));
    let done = child.wait_with_output().await?;
    let written = writing.await?;
    if !done.status.success() {
        bail!(
            "cannot import {}: {}",
            image.name,
            String::from_utf8_lossy(&done.stderr)
        );
    }
    written.with_context(|| format!("cannot write {}", image.name))?;
    // A chart names images by digest, and the runtime finds only names it has been told.
    output(ctr(site).args(["images", "tag", "--force", &image.name, &image.by_digest()]))
        .await
        .map(drop)
}

/// The images the node has: name to digest.
pub(super) async fn images(site: Site) -> Result<BTreeMap<String, String>> {
    let table = output(ctr(site).args(["images", "list"])).await?;
    Ok(parse_images(&table))
}

/// Columns: REF TYPE DIGEST SIZE …
fn parse_images(table: &str) -> BTreeMap<String, String> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.split_whitespace();
            Some((columns.next()?.to_owned(), columns.nth(1)?.to_owned()))
        })
        .collect()
}

/// Forgets all containers, so that the next cluster does not find another one's pods. Their processes are dead.
pub(super) async fn forget_containers(site: Site) -> Result<()> {
    for (kind, delete) in [
        ("tasks", &["tasks", "delete", "--force"][..]),
        ("containers", &["containers", "delete"]),
    ] {
        let listed = output(ctr(site).args([kind, "list", "--quiet"])).await?;
        let names: Vec<_> = listed.split_whitespace().collect();
        if !names.is_empty() {
            // One that vanished meanwhile makes ctr complain, after it has deleted the others.
            let _ = output(ctr(site).args(delete).args(names)).await;
        }
    }
    let left = output(ctr(site).args(["containers", "list", "--quiet"])).await?;
    anyhow::ensure!(
        left.trim().is_empty(),
        "containers cannot be deleted: {}",
        left.trim()
    );
    Ok(())
}

/// Ends the shims, which containerd leaves running on purpose.
pub(super) async fn end_shims(site: Site) -> Result<()> {
    let socket = site.folder().join("run/containerd.sock").display().to_string();
    wait_for(
        "the end of containerd's shims",
        Duration::from_secs(10),
        || async {
            let shims = process::find("containerd-shim", &socket);
            for shim in &shims {
                let _ = kill_process(*shim, Signal::KILL);
            }
            Ok(shims.is_empty().then_some(()))
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_from_the_table() {
        let table = "REF                        TYPE                    DIGEST      SIZE    PLATFORMS LABELS\n\
                     dataembassy.local/a:1      application/vnd.oci     sha256:aa   1.0 MiB linux/amd64 -\n";
        assert_eq!(parse_images(table)["dataembassy.local/a:1"], "sha256:aa");
    }
}
