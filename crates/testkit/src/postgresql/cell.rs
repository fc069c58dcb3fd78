//! The throw-away server of a drill, started as its container starts it: by a script, as nobody, in a root file system that it cannot change.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::provisioned;

/// Mounts what a container would have into a root file system seen by nobody else, and ends the script when stdin ends.
const SUPERVISOR: &str = r#"
root=$1; place=$2; user=$3; group=$4; script=$5
mount --rbind /dev "$root/dev"; mount --rbind /proc "$root/proc"; mount --bind "$place" "$root/srv"
(exec chroot --userspec="$user:$group" --groups="$group" "$root" /usr/bin/env -i PATH=/usr/bin:/bin \
    CELL_SOCKET_DIR=/srv/cell/socket CELL_DATA_DIR=/srv/data /bin/sh -ceu "$script") </dev/null &
cell=$!
cat >/dev/null
kill -TERM "$cell" 2>/dev/null || true
wait "$cell" || true
rm -rf "$place"
"#;

/// A running cell; dropping it ends its server.
pub struct Cell {
    place: TempDir,
    supervisor: Child,
}

impl Cell {
    /// Runs `script` as the container of a server of this major version (15 or 17) would; it need not be up yet.
    pub fn start(major: u32, script: &str, user: u32, group: u32) -> Result<Self> {
        let root = provisioned::path(&format!("rootfs-postgresql-{major}"))?;
        let place = tempfile::Builder::new().prefix("cell-").tempdir()?;
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755))?;
        for folder in ["cell", "data"] {
            let folder = place.path().join(folder);
            fs::create_dir(&folder)?;
            // As a kubelet makes the volumes of a pod with an fsGroup.
            chown(&folder, Some(0), Some(group))?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o2777))?;
        }
        let log = fs::File::create(place.path().join("log"))?;
        let supervisor = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-eu",
                "-c",
                SUPERVISOR,
            ])
            .arg("supervisor")
            .arg(&root)
            .arg(place.path())
            .args([&user.to_string(), &group.to_string(), script])
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("unshare cannot be started")?;
        Ok(Self { place, supervisor })
    }

    /// The folder that its socket is in, once it is up.
    #[must_use]
    pub fn sockets(&self) -> PathBuf {
        self.place.path().join("cell/socket")
    }

    /// The folder that holds its files, for whoever looks for what must not be there.
    #[must_use]
    pub fn place(&self) -> &Path {
        self.place.path()
    }

    /// What its container has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    /// Kills its server, as the kernel does where memory is short.
    pub fn kill_server(&self) -> Result<()> {
        let file = self.place.path().join("data/data/postmaster.pid");
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let pid = text.lines().next().context("a server without a number")?;
        let killed = Command::new("kill").args(["-KILL", pid]).status()?;
        ensure!(killed.success(), "the server {pid} cannot be killed");
        Ok(())
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // It ends once its input is closed; a failure here means that it is gone already.
        let _ = self.supervisor.wait();
    }
}
