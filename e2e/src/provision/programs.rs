//! Programs built from source with Go.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    cache::Cache,
    command::{output, tail},
    privilege::{builder, hand_over},
    progress::{Progress, Step},
};

/// A program, pinned to a version.
pub struct Program {
    /// The name it is published under.
    pub name: &'static str,
    /// Its version, as Go's module system spells it.
    pub version: &'static str,
    package: &'static str,
    /// The module in which it is built, whose go.mod holds the versions of everything it is made of; by itself, its own go.mod does.
    module: Option<&'static Module>,
    /// Variables of the program that say which version it is.
    stamps: &'static [(&'static str, &'static str)],
}

const KUBERNETES: &str = "v1.34.4";
const STAMPS: &[(&str, &str)] = &[
    ("k8s.io/component-base/version.gitVersion", KUBERNETES),
    ("k8s.io/component-base/version.gitMajor", "1"),
    ("k8s.io/component-base/version.gitMinor", "34"),
    ("k8s.io/component-base/version.gitTreeState", "clean"),
];

/// A folder of `e2e` that is a Go module.
pub(super) struct Module {
    folder: &'static str,
    /// What a program that is built in it consists of, besides others' code in the versions that stand here.
    files: &'static [&'static str],
}

static KUBERNETES_AND_ETCD: Module = Module {
    folder: "kubernetes",
    files: &[
        include_str!("../../kubernetes/go.mod"),
        include_str!("../../kubernetes/go.sum"),
    ],
};

/// What speaks to Kubernetes, made of one version of its libraries, so that those are compiled once.
static CLIENTS: Module = Module {
    folder: "clients",
    files: &[
        include_str!("../../clients/go.mod"),
        include_str!("../../clients/go.sum"),
        include_str!("../../clients/dns/main.go"),
    ],
};

impl Module {
    /// The digest of the recipe: 8 hex digits.
    fn digest(&self) -> String {
        hex::encode(&Sha256::digest(self.files.concat())[..4])
    }
}

const fn kubernetes(name: &'static str, package: &'static str) -> Program {
    Program {
        name,
        version: KUBERNETES,
        package,
        module: Some(&KUBERNETES_AND_ETCD),
        stamps: STAMPS,
    }
}

/// All of them; what testing on loopback needs comes first.
pub static PROGRAMS: [Program; 11] = [
    Program {
        name: "minio",
        version: "v0.0.0-20260212201848-7aac2a2c5b7c",
        package: "github.com/minio/minio",
        module: None,
        stamps: &[],
    },
    Program {
        name: "etcd",
        version: "v3.6.4",
        package: "go.etcd.io/etcd/server/v3",
        module: Some(&KUBERNETES_AND_ETCD),
        stamps: &[],
    },
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    kubernetes(
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    Program {
        name: "coredns",
        version: "v1.15.0",
        package: "dataembassy.local/clients/dns",
        module: Some(&CLIENTS),
        stamps: &[],
    },
    Program {
        name: "helm3",
        version: "v3.22.0",
        package: "helm.sh/helm/v3/cmd/helm",
        module: Some(&CLIENTS),
        stamps: &[("helm.sh/helm/v3/internal/version.version", "v3.22.0")],
    },
    Program {
        name: "helm4",
        version: "v4.3.1",
        package: "helm.sh/helm/v4/cmd/helm",
        module: Some(&CLIENTS),
        stamps: &[("helm.sh/helm/v4/internal/version.version", "v4.3.1")],
    },
];

impl Program {
    /// Where it is, or will be.
    #[must_use]
    pub fn path(&self, cache: &Cache) -> PathBuf {
        let file = match self.module {
            Some(_) => self.name,
            None => self.package.rsplit('/').next().unwrap_or(self.name),
        };
        self.folder(cache).join(file)
    }

    fn folder(&self, cache: &Cache) -> PathBuf {
        match self.module {
            Some(module) => cache.tool(self.name, &format!("{}-{}", self.version, module.digest())),
            None => cache.tool(self.name, self.version),
        }
    }

    pub(super) fn is_there(&self, cache: &Cache) -> bool {
        self.path(cache).exists() && cache.path(self.name).is_ok_and(|path| path == self.path(cache))
    }

    /// Builds it, unless it is there already and only has to be published.
    pub(super) async fn build(&self, cache: &Cache, progress: &Progress) -> Result<()> {
        let path = self.path(cache);
        if !path.exists() {
            let folder = self.folder(cache);
            std::fs::create_dir_all(&folder)?;
            for made in [folder.parent(), Some(&folder)].into_iter().flatten() {
                hand_over(made)?;
            }
            let step = progress.step(format!("{} {}", self.name, short(self.version)));
            // Nobody may find a half-written program under the final name.
            let partial = folder.join("partial");
            std::fs::create_dir_all(&partial)?;
            hand_over(&partial)?;
            match self.module {
                Some(module) => self.build_in(module, &partial.join(self.name), &step).await?,
                None => self.install(&partial, &step).await?,
            }
            let built = partial.join(path.file_name().context("a program has a file name")?);
            std::fs::rename(&built, &path).with_context(|| format!("go did not make {}", built.display()))?;
            std::fs::remove_dir_all(&partial)?;
            step.done();
        }
        cache.publish(self.name, &path)
    }

    /// Nobody debugs these programs: what the linker would strip is not even compiled.
    fn flags(&self) -> [String; 6] {
        let stamps = self
            .stamps
            .iter()
            .map(|(variable, value)| format!(" -X {variable}={value}"));
        let linker = format!("-s -w{}", stamps.collect::<String>());
        [
            "-v",
            "-trimpath",
            "-buildvcs=false",
            "-gcflags=all=-dwarf=false",
            "-ldflags",
            &linker,
        ]
        .map(ToOwned::to_owned)
    }

    async fn build_in(&self, module: &Module, to: &Path, step: &Step) -> Result<()> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join(module.folder);
        step.at("counting packages");
        let mut list = builder("go");
        list.current_dir(&module)
            .env("CGO_ENABLED", "0")
            .args(["list", "-deps", self.package]);
        step.length(output(&mut list).await.context(NO_GO)?.lines().count() as u64);
        let mut go = builder("go");
        go.current_dir(module).arg("build").args(self.flags());
        follow(go.arg("-o").arg(to).arg(self.package), step).await
    }

    async fn install(&self, to: &Path, step: &Step) -> Result<()> {
        let mut go = builder("go");
        go.env("GOBIN", to).arg("install").args(self.flags());
        follow(go.arg(format!("{}@{}", self.package, self.version)), step).await
    }
}

const NO_GO: &str = "cannot run Go: install Go 1.26 or newer and put it in PATH";

/// Runs go and shows the package or module it is busy with.
async fn follow(go: &mut tokio::process::Command, step: &Step) -> Result<()> {
    // Compiler and linker end soon, and need not clean up before they do, unless they grow: together a quarter of the time.
    go.env("CGO_ENABLED", "0")
        .env("GOGC", "off")
        .env("GOMEMLIMIT", "2GiB")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped());
    let mut child = go.spawn().context(NO_GO)?;
    let mut lines = BufReader::new(child.stderr.take().context("no standard error")?).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await? {
        if line.contains(' ') {
            step.at(&line);
        } else {
            step.at(&line);
            step.advance(1);
        }
        said.push_str(&line);
        said.push('\n');
    }
    let status = child.wait().await?;
    if !status.success() {
        bail!("go: {status}\n{}", tail(&said));
    }
    Ok(())
}

/// A version that fits on a line: a pseudo-version by its commit.
fn short(version: &str) -> &str {
    if version.len() > 20 {
        version.rsplit('-').next().unwrap_or(version)
    } else {
        version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_name_and_a_folder_of_its_own() {
        let mut names: Vec<_> = PROGRAMS.iter().map(|program| program.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PROGRAMS.len());
    }

    #[test]
    fn what_is_built_in_a_module_has_the_version_that_its_go_mod_says() {
        let kubernetes = KUBERNETES_AND_ETCD.files[0];
        assert!(kubernetes.contains(&format!("\tk8s.io/kubernetes {KUBERNETES} ")));
        for program in &PROGRAMS {
            let Some(module) = program.module else { continue };
            let module = module.files[0];
            assert!(module.contains(program.version), "{}", program.name);
            let own = module
                .lines()
                .find_map(|line| line.strip_prefix("module "))
                .unwrap();
            assert!(
                module.contains(program.package) || program.package.starts_with(own),
                "{}",
                program.name
            );
        }
    }

    #[test]
    fn a_pseudo_version_is_shown_by_its_commit() {
        assert_eq!(short("v0.0.0-20250313080218-cf909e1063a9"), "cf909e1063a9");
        assert_eq!(short("v1.34.4"), "v1.34.4");
    }
}
