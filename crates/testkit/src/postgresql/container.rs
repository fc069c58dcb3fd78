//! A database's container that can be stopped, killed and begun again over the same volume: its script is the first process of a PID namespace
//! of its own, as nobody, so that it meets the numbers and the signals that it meets in a pod.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::provisioned;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// The same where a look takes half a dozen processes.
const RUN: Duration = Duration::from_millis(100);

/// Makes the namespaces, and kills everything in them when stdin ends.
const SUPERVISOR: &str = r#"
inside=$1; shift
unshare --mount --propagation private --pid --fork sh -euc "$inner" inner "$@" </dev/null &
container=$!
echo "$container" >"$inside"
cat >/dev/null
# With its first process everything in it goes; what makes the namespace is gone only then.
for first in $(cat "/proc/$container/task/$container/children" 2>/dev/null); do
    kill -KILL "$first" 2>/dev/null || true
done
wait "$container" || true
"#;

/// Mounts what a container would have, and becomes the script.
const INNER: &str = r#"
root=$1; place=$2; user=$3; script=$4; shift 4
mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"; mount --bind "$place" "$root/srv"
exec chroot --userspec="$user:$user" --groups="$user" "$root" /usr/bin/env -i PATH=/usr/bin:/bin "$@" /bin/sh -ceu "$script"
"#;

/// A container and its volumes; dropping it kills it and removes them.
pub struct PodContainer {
    root: PathBuf,
    place: TempDir,
    user: u32,
    variables: Vec<String>,
    supervisor: Option<Child>,
}

impl PodContainer {
    /// A container with the image of this major version (15 or 17), as `user`, with folders of those names in `/srv`, as a kubelet makes the
    /// volumes of a pod with an fsGroup. Nothing runs yet.
    pub fn new(major: u32, user: u32, folders: &[&str], variables: &[(&str, &str)]) -> Result<Self> {
        let root = provisioned::path(&format!("rootfs-postgresql-{major}"))?;
        let place = tempfile::Builder::new().prefix("container-").tempdir()?;
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755))?;
        for folder in folders {
            let folder = place.path().join(folder);
            fs::create_dir(&folder)?;
            chown(&folder, Some(0), Some(user))?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o2775))?;
        }
        Ok(Self {
            root,
            place,
            user,
            variables: variables
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            supervisor: None,
        })
    }

    /// A file or folder of its volumes.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Puts a file into a folder as a kubelet puts one of a Secret: root's, and readable for the pod's group.
    pub fn give(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        let unfinished = self.path("unfinished");
        fs::write(&unfinished, text)?;
        chown(&unfinished, Some(0), Some(self.user))?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o440))?;
        Ok(fs::rename(unfinished, path)?)
    }

    /// Begins it; what it logs is added to what it logged before.
    pub fn start(&mut self, script: &str) -> Result<()> {
        self.kill();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))?;
        let _ = fs::remove_file(self.path("container"));
        let supervisor = Command::new("sh")
            .args(["-euc", SUPERVISOR, "supervisor"])
            .arg(self.path("container"))
            .arg(&self.root)
            .arg(self.place.path())
            .args([&self.user.to_string(), script])
            .args(&self.variables)
            .env("inner", INNER)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("sh cannot be started")?;
        self.supervisor = Some(supervisor);
        Ok(())
    }

    /// Runs another script in it, as the kubelet runs a probe.
    pub fn exec(&self, script: &str) -> Result<Output> {
        let runs = self.supervisor.is_some().then(|| self.first()).flatten();
        let first = runs.context("the container does not run")?;
        Command::new("nsenter")
            .args(["--target", &first, "--mount", "--pid", "chroot"])
            .arg(format!("--userspec={0}:{0}", self.user))
            .arg(format!("--groups={}", self.user))
            .arg(&self.root)
            .args(["/usr/bin/env", "-i", "PATH=/usr/bin:/bin"])
            .args(&self.variables)
            .args(["/bin/sh", "-ceu", script])
            .stdin(Stdio::null())
            .output()
            .context("nsenter cannot be started")
    }

    /// Waits until a script that is run in it succeeds.
    pub fn until(&self, script: &str) -> Result<()> {
        self.look(RUN, || {
            self.exec(script).is_ok_and(|output| output.status.success())
        })
    }

    /// Asks it to end, as the kubelet does, and waits until it has.
    pub fn stop(&mut self) -> Result<()> {
        let first = self.first().context("the container does not run")?;
        let sent = Command::new("kill").args(["-TERM", &first]).status()?;
        if !sent.success() {
            bail!("the container's first process {first} cannot be signalled");
        }
        self.ended()
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> Result<()> {
        let container = self.container().context("the container was not begun")?;
        self.wait(|| !Path::new("/proc").join(&container).join("exe").exists())?;
        self.kill();
        Ok(())
    }

    /// Kills everything in it, as the kernel does where the node fails, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            drop(supervisor.stdin.take());
            // It ends once its input is closed; a failure here means that it is gone already.
            let _ = supervisor.wait();
        }
    }

    /// What it has logged since its first start.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits for something that happens outside of it.
    pub fn wait(&self, come: impl Fn() -> bool) -> Result<()> {
        self.look(LOOK, come)
    }

    fn look(&self, pause: Duration, come: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !come() {
            if Instant::now() > deadline {
                bail!("it did not come in {PATIENCE:?}: {}", self.log());
            }
            thread::sleep(pause);
        }
        Ok(())
    }

    fn container(&self) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let number = fs::read_to_string(self.path("container")).unwrap_or_default();
            if number.ends_with('\n') {
                return Some(number.trim().to_owned());
            }
            thread::sleep(LOOK);
        }
        None
    }

    /// The number, here, of its first process.
    fn first(&self) -> Option<String> {
        let container = self.container()?;
        let children = format!("/proc/{container}/task/{container}/children");
        let first = fs::read_to_string(children).ok()?;
        first.split_whitespace().next().map(str::to_owned)
    }
}

impl Drop for PodContainer {
    fn drop(&mut self) {
        self.kill();
    }
}
