//! Tools that judge the code and the chart: published as crates or as Python packages.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{
    cache::Cache,
    command::output,
    privilege::{builder, hand_over},
    progress::Progress,
};

/// A tool, pinned to a version.
pub struct Tool {
    /// The name of its package, its program, and what it is published under.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    kind: Kind,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Crate,
    Python,
}

/// All of them.
pub static TOOLS: [Tool; 2] = [
    Tool {
        name: "cargo-deny",
        version: "0.20.2",
        kind: Kind::Crate,
    },
    Tool {
        name: "checkov",
        version: "3.3.30",
        kind: Kind::Python,
    },
];

impl Tool {
    /// Where its program is, or will be.
    #[must_use]
    pub fn path(&self, cache: &Cache) -> PathBuf {
        cache.tool(self.name, self.version).join("bin").join(self.name)
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
                cargo
                    .args([
                        "install",
                        "--quiet",
                        "--locked",
                        self.name,
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
            Kind::Python => {
                // Debian's own interpreter: the one whose `venv` the package list brings.
                output(builder("/usr/bin/python3").args(["-m", "venv"]).arg(&folder)).await?;
                let mut pip = builder("nice");
                pip.arg(folder.join("bin/pip")).args([
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--no-cache-dir",
                    &format!("{}=={}", self.name, self.version),
                ]);
                output(&mut pip).await?;
            }
        }
        step.done();
        cache.publish(self.name, &self.path(cache))
    }
}
