//! A store on a volume that fills up as a disk does.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// What becomes the server, in a mount namespace of its own: so the volume goes with it, however it ends, and nobody else sees it.
const INSIDE: &str = r#"
volume=$1; size=$2; process=$3
shift 3
mkdir -p "$volume"
mount -t tmpfs -o "size=${size}m,mode=0700" tmpfs "$volume"
echo $$ >"$process"
exec "$@"
"#;
/// What takes up the room that is left, beside the buckets: a file is none.
const BALLAST: &str = "ballast";

/// A volume of its own for a server's data.
#[derive(Debug)]
pub(super) struct Volume {
    mebibytes: u32,
    data: PathBuf,
    process: PathBuf,
}

impl Volume {
    /// Of so many MiB, at the server's `data`.
    pub(super) fn new(mebibytes: u32, directory: &Path) -> Self {
        Self {
            mebibytes,
            data: directory.join("data"),
            process: directory.join("process"),
        }
    }

    /// What comes before a server's program, so that it finds the volume mounted.
    pub(super) fn before(&self) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let fixed = [
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-euc",
            INSIDE,
            "inside",
        ];
        let mut arguments: Vec<String> = fixed.map(str::to_owned).into();
        arguments.extend([text(&self.data), self.mebibytes.to_string(), text(&self.process)]);
        arguments
    }

    /// The id of the server's process, which is the only way to the volume.
    fn process(&self) -> Result<String> {
        let process = fs::read_to_string(&self.process).context("the server was not started")?;
        Ok(process.trim().to_owned())
    }

    /// The volume as the server sees it.
    fn inside(&self) -> Result<PathBuf> {
        let root = Path::new("/proc").join(self.process()?).join("root");
        Ok(root.join(self.data.strip_prefix("/")?))
    }

    pub(super) fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.inside()?.join(BALLAST))?;
        let piece = vec![0x5a; 1 << 20];
        loop {
            // Of the last piece as much goes in as there is room for.
            match ballast.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) fn make_room(&self) -> Result<()> {
        Ok(fs::remove_file(self.inside()?.join(BALLAST))?)
    }

    pub(super) fn resize(&self, mebibytes: u32) -> Result<()> {
        let resized = Command::new("nsenter")
            .args(["--mount", "--target", &self.process()?])
            .args(["mount", "-o", &format!("remount,size={mebibytes}m")])
            .arg(&self.data)
            .output()?;
        ensure!(
            resized.status.success(),
            "the volume cannot be given another size: {}",
            String::from_utf8_lossy(&resized.stderr)
        );
        Ok(())
    }
}
