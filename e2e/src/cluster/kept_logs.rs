//! Everything that pods have ever logged. The kubelet removes a container's log with the container, and of what it has rotated all but the last
//! few files; the bed gives each file a second name in a folder of its own, below which its content stays, also what is written later.

use std::{
    fs, io,
    os::unix::fs::{DirEntryExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::site::Site;

/// Between two looks. A log is there for longer: a container that has ended is seen by the kubelet's next look at them all, each second, and
/// only then removed.
const PERIOD: Duration = Duration::from_millis(500);
/// What the kubelet makes of a file that was kept before.
const MADE_OF_OTHERS: [&str; 2] = ["gz", "tmp"];

/// Keeps the logs of a cluster's pods until it is stopped. A look that fails is told and made again: the bed needs its other parts all the same.
#[expect(clippy::print_stderr, reason = "what a process of the bed prints is its log")]
pub async fn keep(site: Site) -> Result<()> {
    loop {
        if let Err(error) = look(site) {
            eprintln!("logs are not kept: {error:#}");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Keeps what there is now, and says where all is that was ever kept: a folder for each pod, as the kubelet calls it, in it one for each
/// container, and in that the files.
pub fn look(site: Site) -> Result<PathBuf> {
    let kept = site.folder().join("kept-logs");
    link_all(&site.folder().join("pod-logs"), &kept)?;
    Ok(kept)
}

fn link_all(logs: &Path, kept: &Path) -> Result<()> {
    fs::create_dir_all(kept)?;
    for pod in entries(logs)? {
        for container in entries(&pod.path())? {
            let place = kept.join(pod.file_name()).join(container.file_name());
            for log in entries(&container.path())? {
                link(&log, &place)?;
            }
        }
    }
    Ok(())
}

/// The entries of a folder; of one that is gone meanwhile, or is none, none.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    use io::ErrorKind::{NotADirectory, NotFound};

    match fs::read_dir(folder) {
        Err(error) if [NotADirectory, NotFound].contains(&error.kind()) => Ok(Vec::new()),
        found => found?
            .collect::<io::Result<Vec<_>>>()
            .with_context(|| format!("cannot read {}", folder.display())),
    }
}

/// Gives a log a second name. Rotated, it is called otherwise, and another file has its name: it is known by its number, which nobody else has
/// while it is kept.
fn link(log: &fs::DirEntry, place: &Path) -> Result<()> {
    let path = log.path();
    if path
        .extension()
        .is_some_and(|end| MADE_OF_OTHERS.iter().any(|other| end == *other))
    {
        return Ok(());
    }
    let name = place.join(format!("{}.log", log.ino()));
    if name.exists() {
        return Ok(());
    }
    fs::create_dir_all(place)?;
    match fs::hard_link(&path, &name) {
        // It is gone, or somebody else who looks has kept it.
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::AlreadyExists].contains(&error.kind()) => {
            return Ok(());
        }
        linked => linked.with_context(|| format!("cannot keep {}", path.display()))?,
    }
    // Rotated since it was listed: the next look finds both.
    if fs::metadata(&name)?.ino() != log.ino() {
        fs::remove_file(&name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of a container, in no order.
    fn kept(folder: &Path) -> Vec<String> {
        let files = entries(&folder.join("kept/pod/container")).unwrap();
        let mut kept: Vec<_> = files
            .iter()
            .map(|file| fs::read_to_string(file.path()).unwrap())
            .collect();
        kept.sort();
        kept
    }

    #[test]
    fn a_log_is_kept_whole_when_it_is_rotated_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (logs, place) = (folder.path().join("logs"), folder.path().join("kept"));
        link_all(&logs, &place).unwrap();
        let container = logs.join("pod/container");
        fs::create_dir_all(&container).unwrap();
        fs::write(container.join("0.log"), "first").unwrap();
        link_all(&logs, &place).unwrap();
        fs::rename(container.join("0.log"), container.join("0.log.20261128-120000")).unwrap();
        fs::write(container.join("0.log"), "second").unwrap();
        fs::write(container.join("0.log.20261128-110000.gz"), "compressed").unwrap();
        link_all(&logs, &place).unwrap();
        fs::write(container.join("0.log"), "second, and more").unwrap();
        fs::remove_dir_all(&logs).unwrap();
        link_all(&logs, &place).unwrap();
        assert_eq!(kept(folder.path()), ["first", "second, and more"]);
    }
}
