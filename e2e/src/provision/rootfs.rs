//! Root file systems: what the images are made of, and where tests on loopback take their PostgreSQL from.
//!
//! They are Debian's own packages, laid out by mmdebstrap. A recipe is named by the digest of all it says, so a
//! changed recipe is a new root file system and the old one stays as it was.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::packages::Mirror;
use crate::{
    cache::Cache,
    command::{command, output},
    progress::Progress,
    registries::extension,
};

/// How to make a root file system.
pub struct RootFs {
    /// Its name; published as `rootfs-<name>`.
    pub name: &'static str,
    /// Debian's release.
    pub suite: &'static str,
    /// Debian's packages that it is made of, besides what is essential.
    pub packages: &'static [&'static str],
    finish: Finish,
}

/// What is done to it after the packages are in.
#[derive(Clone, Copy, Debug)]
enum Finish {
    Nothing,
    /// A PostgreSQL server: without the JIT compiler, which is two thirds of its size and which no test uses,
    /// and with the sample registries' own extension.
    Server(u32),
    /// What dumps and restores, of an older major version too, out of that version's server; and no shell that runs statements.
    Dumping(u32),
}

/// Raise it when [`RootFs::make`] or [`Finish`] changes what comes out.
const EDITION: u32 = 1;

/// The uid and gid that PostgreSQL runs under. Debian would give the next free number, and an image needs to
/// know it.
pub const POSTGRES: u32 = 999;

/// Debian's folder of libraries, under `/usr/lib`.
pub const LIBRARIES: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-linux-gnu"
} else {
    "x86_64-linux-gnu"
};

/// What the sidecar takes of an older major version's clients.
pub const CLIENTS: [&str; 2] = ["pg_dump", "pg_restore"];

/// What the sidecar goes without: what a copy holds is never run by a shell.
pub const SHELLS: [&str; 2] = ["usr/bin/psql", "usr/lib/postgresql/17/bin/psql"];

/// All of them. PostgreSQL 15 comes before the sidecar's, which takes its clients from there.
pub static ROOT_FILE_SYSTEMS: [RootFs; 4] = [
    RootFs {
        name: "postgresql-15",
        suite: "bookworm",
        packages: &["postgresql-15"],
        finish: Finish::Server(15),
    },
    RootFs {
        name: "postgresql-17",
        suite: "trixie",
        packages: &["postgresql-17"],
        finish: Finish::Server(17),
    },
    RootFs {
        name: "sidecar",
        suite: "trixie",
        packages: &["ca-certificates", "postgresql-client-17"],
        finish: Finish::Dumping(15),
    },
    // What the break-glass page needs, and nothing of ours.
    RootFs {
        name: "stock",
        suite: "trixie",
        packages: &[
            "age",
            "ca-certificates",
            "curl",
            "openssh-client",
            "postgresql-client-17",
            "tar",
            "zstd",
        ],
        finish: Finish::Nothing,
    },
];

/// Those that no test waits for: each is made when somebody first [asks](super::root_file_system) for it.
pub(super) static ON_DEMAND: [RootFs; 1] = [
    // A server with those that copy it file by file, which the bench measures against. The newest pgBackRest that knows this server is that
    // of its own release; barman itself is published for Python, and what it needs of others is Debian's.
    RootFs {
        name: "physical",
        suite: "trixie",
        packages: &[
            "pgbackrest",
            "postgresql-17",
            "python3",
            "python3-boto3",
            "python3-dateutil",
            "python3-lz4",
            "python3-psycopg2",
        ],
        finish: Finish::Server(17),
    },
];

impl RootFs {
    /// The name it is published under.
    #[must_use]
    pub fn published(&self) -> String {
        format!("rootfs-{}", self.name)
    }

    /// Where it is, or will be.
    #[must_use]
    pub fn path(&self, cache: &Cache) -> PathBuf {
        cache.rootfs(self.name, &self.recipe())
    }

    pub(super) fn is_there(&self, cache: &Cache) -> bool {
        self.path(cache).exists()
            && cache
                .path(&self.published())
                .is_ok_and(|path| path == self.path(cache))
    }

    /// The recipe's digest: 12 hex digits.
    #[must_use]
    pub fn recipe(&self) -> String {
        let mut all = format!(
            "{EDITION} {} {:?} {:?} {:?}",
            self.suite,
            self.packages,
            self.finish,
            self.options()
        );
        if let Finish::Server(_) = self.finish {
            all.extend(extension::FILES.iter().flat_map(|(name, text)| [*name, *text]));
        }
        hex::encode(&Sha256::digest(all)[..6])
    }

    fn options(&self) -> Vec<String> {
        let mut options: Vec<String> = ["doc", "man", "locale", "info"]
            .map(|folder| format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"))
            .into();
        options.push("--mode=root".into());
        options.push("--variant=essential".into());
        options.push("--aptopt=Apt::Install-Recommends \"false\"".into());
        options.push("--aptopt=Acquire::Languages \"none\"".into());
        options.push(format!("--include={}", self.packages.join(",")));
        if let Finish::Server(_) = self.finish {
            // Before the packages: a user with a known number, and no cluster made while installing.
            options.push(format!(
                "--essential-hook=echo postgres:x:{POSTGRES}:{POSTGRES}:PostgreSQL:/var/lib/postgresql:/bin/sh >> \"$1/etc/passwd\"; \
                 echo postgres:x:{POSTGRES}: >> \"$1/etc/group\"; \
                 mkdir -p \"$1/etc/postgresql-common/createcluster.d\"; \
                 echo create_main_cluster = false > \"$1/etc/postgresql-common/createcluster.d/none.conf\""
            ));
        }
        options
    }

    pub(super) async fn make(&self, cache: &Cache, progress: &Progress) -> Result<()> {
        let path = self.path(cache);
        if !path.exists() {
            let step = progress.step(format!("root file system {}", self.name));
            let partial = path.with_extension("partial");
            if partial.exists() {
                fs::remove_dir_all(&partial)?;
            }
            fs::create_dir_all(path.parent().context("a folder of root file systems")?)?;
            let mut mmdebstrap = command("mmdebstrap");
            mmdebstrap
                .arg("--quiet")
                .args(self.options())
                .arg(self.suite)
                .arg(&partial);
            step.at("mmdebstrap");
            output(mmdebstrap.args(Mirror::of_this_machine().await?.sources(self.suite))).await?;
            self.finish(&partial, cache)?;
            fs::rename(&partial, &path)?;
            step.done();
        }
        cache.publish(&self.published(), &path)
    }

    fn finish(&self, root: &Path, cache: &Cache) -> Result<()> {
        match self.finish {
            Finish::Nothing => Ok(()),
            Finish::Server(major) => {
                remove_jit(root, major)?;
                extension::install(root, major).context("cannot install the registries' extension")
            }
            Finish::Dumping(major) => {
                let server = format!("postgresql-{major}");
                let Some(from) = ROOT_FILE_SYSTEMS.iter().find(|rootfs| rootfs.name == server) else {
                    bail!("there is no root file system {server} to take clients from");
                };
                copy_clients(&from.path(cache), root, major)?;
                for shell in SHELLS {
                    fs::remove_file(root.join(shell)).with_context(|| format!("cannot remove {shell}"))?;
                }
                Ok(())
            }
        }
    }
}

fn remove_jit(root: &Path, major: u32) -> Result<()> {
    let libraries = root.join("usr/lib").join(LIBRARIES);
    for entry in fs::read_dir(&libraries)? {
        let entry = entry?;
        let name = entry.file_name();
        if ["libLLVM", "libz3."]
            .iter()
            .any(|start| name.to_string_lossy().starts_with(start))
        {
            fs::remove_file(entry.path())?;
        }
    }
    let modules = root.join(format!("usr/lib/postgresql/{major}/lib"));
    for name in ["llvmjit.so", "llvmjit_types.bc"] {
        fs::remove_file(modules.join(name)).with_context(|| format!("cannot remove {name}"))?;
    }
    fs::remove_dir_all(modules.join("bitcode")).context("cannot remove bitcode")
}

fn copy_clients(from: &Path, to: &Path, major: u32) -> Result<()> {
    let folder = format!("usr/lib/postgresql/{major}/bin");
    fs::create_dir_all(to.join(&folder))?;
    for program in CLIENTS {
        let program = format!("{folder}/{program}");
        fs::copy(from.join(&program), to.join(&program)).with_context(|| format!("cannot copy {program}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_named_by_all_it_says() {
        let all = || ROOT_FILE_SYSTEMS.iter().chain(&ON_DEMAND);
        let recipes: std::collections::BTreeSet<_> = all().map(RootFs::recipe).collect();
        assert_eq!(recipes.len(), all().count());
        assert!(recipes.iter().all(|recipe| recipe.len() == 12));
    }
}
