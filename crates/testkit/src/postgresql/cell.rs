//! The throw-away server of a drill, started as its container starts it: by a script, as nobody, in a root file system that it cannot change.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use super::memory::MemoryLimit;
use crate::provisioned;

/// Mounts what a container would have into a root file system seen by nobody else, and ends the script when stdin ends.
const SUPERVISOR: &str = r#"
root=$1; place=$2; user=$3; group=$4; path=$5; volume=$6; script=$7; memory=$8
[ -z "$memory" ] || echo $$ >"$memory/cgroup.procs"
mount --rbind /dev "$root/dev"; mount --rbind /proc "$root/proc"; mount --bind "$place" "$root/srv"
(exec chroot --userspec="$user:$group" --groups="$group" "$root" /usr/bin/env -i PATH="$path" \
    CELL_SOCKET_DIR=/srv/cell/socket CELL_DATA_DIR=/srv/data /bin/sh -ceu "$script" cell "$volume") </dev/null &
cell=$!
cat >/dev/null
kill -TERM "$cell" 2>/dev/null || true
wait "$cell" || true
rm -rf "$place"
"#;

/// How long a session is looked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a container is like.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its root file system, as it was provisioned.
    pub root: String,
    /// The user that it runs as.
    pub user: u32,
    /// The group of its volumes.
    pub group: u32,
    /// Its `PATH`; its volumes are in `/srv`.
    pub path: String,
    /// The size of its data volume in MiB.
    pub volume: u32,
    /// The most memory that it may take in MiB, if it is bounded.
    pub memory: Option<u32>,
}

/// A running cell; dropping it ends its server.
pub struct Cell {
    place: TempDir,
    supervisors: Vec<Child>,
    /// Removed last, when nobody is in it any more.
    memory: Option<MemoryLimit>,
}

impl Cell {
    /// Runs `script` as the container of a server of this major version (15 or 17) would; it need not be up yet.
    pub fn start(major: u32, script: &str, user: u32, group: u32) -> Result<Self> {
        let container = Container {
            root: format!("rootfs-postgresql-{major}"),
            user,
            group,
            path: "/usr/bin:/bin".into(),
            volume: 1024,
            memory: None,
        };
        Self::start_in(&container, script, &[])
    }

    /// Runs `script` in a container, with these programs in `/srv/programs`.
    pub fn start_in(container: &Container, script: &str, programs: &[(&str, &str)]) -> Result<Self> {
        let place = tempfile::Builder::new().prefix("cell-").tempdir()?;
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755))?;
        for folder in ["cell", "data"] {
            let folder = place.path().join(folder);
            fs::create_dir(&folder)?;
            // As a kubelet makes the volumes of a pod with an fsGroup.
            chown(&folder, Some(0), Some(container.group))?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o2777))?;
        }
        fs::create_dir(place.path().join("programs"))?;
        for (name, text) in programs {
            let program = place.path().join("programs").join(name);
            fs::write(&program, text)?;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        }
        let mut cell = Self {
            place,
            supervisors: Vec::new(),
            memory: container.memory.map(MemoryLimit::make).transpose()?,
        };
        cell.start_again(container, script)?;
        Ok(cell)
    }

    /// Runs `script` once more with the same volumes, as a kubelet does with a container that has ended.
    pub fn start_again(&mut self, container: &Container, script: &str) -> Result<()> {
        let root = provisioned::path(&container.root)?;
        let log = self.place.path().join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
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
            .arg(self.place.path())
            .args([&container.user.to_string(), &container.group.to_string()])
            .args([&container.path, &container.volume.to_string(), script])
            .arg(self.memory.as_ref().map_or(Path::new(""), MemoryLimit::folder))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("unshare cannot be started")?;
        self.supervisors.push(supervisor);
        Ok(())
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

    /// One value, as text, of its server's superuser, who is let in until a drill closes that way.
    pub async fn value(&self, query: &str) -> Result<String> {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(self.sockets())
            .user("postgres")
            .dbname("postgres")
            .connect(NoTls)
            .await?;
        // It ends with its client.
        tokio::spawn(async move { drop(connection.await) });
        let row = client.query_one(&format!("SELECT ({query})::text"), &[]).await?;
        Ok(row.get(0))
    }

    /// What its container has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    /// Kills its server, as the kernel does where memory is short.
    pub fn kill_server(&self) -> Result<()> {
        kill(&self.server()?)
    }

    /// Kills a session that asks something in a database whose name begins so, as soon as there is one: the server ends all others, and takes
    /// new ones a moment later.
    pub fn kill_session(&self, database: &str) -> Result<()> {
        let server = self.server()?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let listed = Command::new("ps")
                .args(["--ppid", &server, "-o", "pid=,args="])
                .output()?;
            let listed = String::from_utf8_lossy(&listed.stdout);
            let asking = listed
                .lines()
                .find(|line| line.contains(&format!(" {database}")) && line.ends_with(" SELECT"));
            if let Some(pid) = asking.and_then(|line| line.split_whitespace().next()) {
                return kill(pid);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("no session asks anything in {database}")
    }

    fn server(&self) -> Result<String> {
        let file = self.place.path().join("data/data/postmaster.pid");
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        Ok(text
            .lines()
            .next()
            .context("a server without a number")?
            .to_owned())
    }
}

fn kill(pid: &str) -> Result<()> {
    let killed = Command::new("kill").args(["-KILL", pid]).status()?;
    ensure!(killed.success(), "{pid} cannot be killed");
    Ok(())
}

impl Drop for Cell {
    fn drop(&mut self) {
        for supervisor in &mut self.supervisors {
            drop(supervisor.stdin.take());
            // It ends once its input is closed; a failure here means that it is gone already.
            let _ = supervisor.wait();
        }
    }
}
