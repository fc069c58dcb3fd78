//! A dump's members as the directory that `pg_restore --format=directory` reads: what break-glass makes with tar, find
//! and sort.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use dataembassy_archive::Member;

/// Collects members, in whatever order they come, and joins them.
pub struct DumpDirectory {
    target: PathBuf,
    parts: BTreeMap<String, BTreeMap<(u32, u32), PathBuf>>,
    whole: BTreeSet<String>,
}

impl DumpDirectory {
    /// Begins with an empty directory.
    pub fn new(target: &Path) -> Result<Self> {
        fs::create_dir_all(target.join("unjoined"))?;
        Ok(Self {
            target: target.to_owned(),
            parts: BTreeMap::new(),
            whole: BTreeSet::new(),
        })
    }

    /// Takes a member in.
    pub fn add(&mut self, member: &Member) -> Result<()> {
        let file = member.name.file().to_string();
        let Some((range, chunk)) = member.name.place() else {
            ensure!(self.whole.insert(file.clone()), "{} came twice", member.name);
            return Ok(fs::write(self.target.join(file), &member.body)?);
        };
        let path = self
            .target
            .join("unjoined")
            .join(format!("{file}.{range:06}.{chunk:08}"));
        fs::write(&path, &member.body)?;
        let earlier = self.parts.entry(file).or_default().insert((range, chunk), path);
        ensure!(earlier.is_none(), "{} came twice", member.name);
        Ok(())
    }

    /// Joins the parts of each file in their order.
    pub fn finish(self) -> Result<()> {
        for (file, parts) in &self.parts {
            ensure!(!self.whole.contains(file), "{file} came whole and in parts");
            let mut joined: File = OpenOptions::new()
                .create_new(true)
                .append(true)
                .open(self.target.join(file))?;
            for path in parts.values() {
                joined.write_all(&fs::read(path)?)?;
                fs::remove_file(path)?;
            }
        }
        Ok(fs::remove_dir(self.target.join("unjoined"))?)
    }
}
