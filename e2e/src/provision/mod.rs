//! Everything the test bed needs and the repository does not hold: packages of the machine's Debian, programs
//! built from source by Go, tools that are published as packages, and root file systems for images. Each is made
//! once per version, in the cache.

mod packages;
mod programs;
mod rootfs;
mod tools;

use std::{fs::File, path::PathBuf};

use anyhow::Result;

use crate::{cache::Cache, progress::Progress};

pub use programs::PROGRAMS;
pub use rootfs::{CLIENTS, LIBRARIES, POSTGRES, ROOT_FILE_SYSTEMS, SHELLS};
pub use tools::TOOLS;

/// The path of a program that is provisioned. What is made only on demand is made now, if it is not there.
pub async fn program(name: &str, cache: &Cache, progress: &Progress) -> Result<PathBuf> {
    if let Some(tool) = tools::ON_DEMAND.iter().find(|tool| tool.name == name)
        && !tool.is_there(cache)
    {
        let _lock = alone(cache).await?;
        if !tool.is_there(cache) {
            tool.install(cache, progress).await?;
        }
    }
    cache.path(name)
}

/// The path of a root file system. What is made only on demand is made now, if it is not there.
pub async fn root_file_system(name: &str, cache: &Cache, progress: &Progress) -> Result<PathBuf> {
    if let Some(rootfs) = rootfs::ON_DEMAND.iter().find(|rootfs| rootfs.name == name)
        && !rootfs.is_there(cache)
    {
        let _lock = alone(cache).await?;
        if !rootfs.is_there(cache) {
            rootfs.make(cache, progress).await?;
        }
    }
    cache.path(&format!("rootfs-{name}"))
}

/// Waits until nobody else provisions.
async fn alone(cache: &Cache) -> Result<File> {
    let cache = cache.clone();
    tokio::task::spawn_blocking(move || cache.provisioning_lock()).await?
}

/// What is missing on this machine.
pub struct Plan {
    cache: Cache,
    packages: Vec<&'static str>,
    programs: Vec<&'static programs::Program>,
    tools: Vec<&'static tools::Tool>,
    root_file_systems: Vec<&'static rootfs::RootFs>,
}

impl Plan {
    /// Looks at the machine and the cache; changes nothing.
    pub async fn make(cache: &Cache) -> Result<Self> {
        Ok(Self::of(cache, packages::missing().await?))
    }

    /// For a machine on which these packages are missing.
    fn of(cache: &Cache, packages: Vec<&'static str>) -> Self {
        Self {
            cache: cache.clone(),
            packages,
            programs: PROGRAMS
                .iter()
                .filter(|program| !program.is_there(cache))
                .collect(),
            tools: TOOLS.iter().filter(|tool| !tool.is_there(cache)).collect(),
            root_file_systems: ROOT_FILE_SYSTEMS
                .iter()
                .filter(|rootfs| !rootfs.is_there(cache))
                .collect(),
        }
    }

    /// Without what only checks the code: the bed runs before those are built.
    #[must_use]
    pub fn for_the_bed(mut self) -> Self {
        self.tools.clear();
        self
    }

    /// With what only the bench measures against.
    pub async fn for_the_bench(self) -> Result<Self> {
        let mut plan = self.for_the_bed();
        plan.packages
            .extend(packages::missing_of(&packages::PEERS).await?);
        Ok(plan)
    }

    /// Whether there is nothing to make.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
            && self.programs.is_empty()
            && self.tools.is_empty()
            && self.root_file_systems.is_empty()
    }

    /// What will be installed and built, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let names = |names: Vec<String>| names.join(", ");
        let mut lines = Vec::new();
        if !self.packages.is_empty() {
            lines.push(format!("install with apt: {}", self.packages.join(", ")));
        }
        if !self.programs.is_empty() {
            let programs = self
                .programs
                .iter()
                .map(|p| format!("{} {}", p.name, p.version))
                .collect();
            lines.push(format!(
                "build from source with Go: {} (some 20 minutes on 2 cores)",
                names(programs)
            ));
        }
        if !self.tools.is_empty() {
            let tools = self
                .tools
                .iter()
                .map(|t| format!("{} {}", t.name, t.version))
                .collect();
            lines.push(format!(
                "install with cargo, pip or apt: {} (some minutes)",
                names(tools)
            ));
        }
        if !self.root_file_systems.is_empty() {
            let roots = self
                .root_file_systems
                .iter()
                .map(|r| format!("{} ({})", r.name, r.suite))
                .collect();
            lines.push(format!(
                "make root file systems with mmdebstrap: {} (a minute each)",
                names(roots)
            ));
        }
        if lines.is_empty() {
            return "everything is provisioned".to_owned();
        }
        lines.push(format!("keep all of it in {}", self.cache.root().display()));
        lines.join("\n")
    }

    /// Makes what is missing and publishes where everything is. Needs root.
    pub async fn carry_out(mut self, progress: &Progress) -> Result<()> {
        let made_folder = !self.cache.root().exists();
        std::fs::create_dir_all(self.cache.root())?;
        if made_folder {
            crate::privilege::hand_over(self.cache.root())?;
        }
        let _lock = alone(&self.cache).await?;
        // Somebody may have made some of it meanwhile.
        self.programs.retain(|program| !program.is_there(&self.cache));
        self.tools.retain(|tool| !tool.is_there(&self.cache));
        self.root_file_systems
            .retain(|rootfs| !rootfs.is_there(&self.cache));
        if !self.packages.is_empty() {
            packages::install(&self.packages, progress).await?;
        }
        // Root file systems come from the network, programs from the processors: both at once.
        let programs = async {
            for program in &self.programs {
                program.build(&self.cache, progress).await?;
            }
            for tool in &self.tools {
                tool.install(&self.cache, progress).await?;
            }
            anyhow::Ok(())
        };
        let root_file_systems = async {
            for rootfs in &self.root_file_systems {
                rootfs.make(&self.cache, progress).await?;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(programs, root_file_systems)?;
        for program in &PROGRAMS {
            self.cache.publish(program.name, &program.path(&self.cache))?;
        }
        for rootfs in &ROOT_FILE_SYSTEMS {
            self.cache
                .publish(&rootfs.published(), &rootfs.path(&self.cache))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The name of each thing and where it is, or will be.
    fn everything(cache: &Cache) -> Vec<(String, PathBuf)> {
        let programs = PROGRAMS
            .iter()
            .map(|program| (program.name.to_owned(), program.path(cache)));
        let tools = TOOLS.iter().map(|tool| (tool.name.to_owned(), tool.path(cache)));
        let roots = ROOT_FILE_SYSTEMS
            .iter()
            .map(|rootfs| (rootfs.published(), rootfs.path(cache)));
        programs.chain(tools).chain(roots).collect()
    }

    /// As a first start leaves it.
    fn provide(cache: &Cache) {
        for (name, path) in everything(cache) {
            fs::create_dir_all(&path).unwrap();
            cache.publish(&name, &path).unwrap();
        }
    }

    /// Every file and folder below, with when it was changed.
    fn below(folder: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                found.append(&mut below(&path));
            }
            found.push((path, entry.metadata().unwrap().modified().unwrap()));
        }
        found.sort();
        found
    }

    #[test]
    fn a_first_start_says_all_that_it_installs_and_builds_and_where_it_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let plan = Plan::of(&cache, vec!["containerd", "runc"]);
        assert!(!plan.is_empty());
        let said = plan.describe();
        let names = PROGRAMS.iter().map(|program| program.name);
        let names = names.chain(TOOLS.iter().map(|tool| tool.name));
        let names = names.chain(ROOT_FILE_SYSTEMS.iter().map(|rootfs| rootfs.name));
        for name in names.chain(["containerd, runc"]) {
            assert!(said.contains(name), "{name} is not in\n{said}");
        }
        assert!(said.contains(&folder.path().display().to_string()), "{said}");
    }

    #[tokio::test]
    async fn a_second_start_makes_nothing_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        provide(&cache);
        // The lock of whoever provisions is taken each time.
        drop(cache.provisioning_lock().unwrap());
        let before = below(&folder.path().join("tools"));
        let current = cache.current().unwrap();
        let plan = Plan::of(&cache, Vec::new());
        assert!(plan.is_empty(), "{}", plan.describe());
        assert_eq!(plan.describe(), "everything is provisioned");
        plan.carry_out(&Progress::new()).await.unwrap();
        assert_eq!(below(&folder.path().join("tools")), before);
        assert_eq!(cache.current().unwrap(), current);
    }

    #[test]
    fn what_is_gone_from_the_cache_is_made_again_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        provide(&cache);
        let lost = &ROOT_FILE_SYSTEMS[0];
        fs::remove_dir_all(lost.path(&cache)).unwrap();
        let plan = Plan::of(&cache, Vec::new());
        let roots: Vec<_> = plan.root_file_systems.iter().map(|rootfs| rootfs.name).collect();
        assert_eq!(roots, [lost.name]);
        assert!(plan.programs.is_empty() && plan.tools.is_empty() && plan.packages.is_empty());
    }
}
