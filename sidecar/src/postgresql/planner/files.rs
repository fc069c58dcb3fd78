//! Where `pg_dump` writes: a directory that nobody else can enter, and what of it belongs to the copy.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{PlannerError, SOCKET_NAME};
use crate::postgresql::toc::{Toc, TocError};

/// The longest path of a Unix socket on Linux, without its terminating zero.
const SOCKET_PATH_LIMIT: usize = 107;
/// The name, in the private directory, of the directory that `pg_dump` makes.
pub(super) const TARGET: &str = "plan";

/// Files that `pg_dump` wrote and that belong to the copy: `toc.dat` and lists of large objects. They are deleted when
/// this is dropped.
pub struct PlanFiles {
    paths: Vec<PathBuf>,
    _directory: TempDir,
}

impl PlanFiles {
    /// Keeps the table of contents and the lists of large objects, and deletes the placeholders. Also gives the OIDs of
    /// the large objects, ascending: as many as were `opened`.
    pub(super) fn collect(directory: TempDir, opened: u64) -> Result<(Self, Vec<u32>), PlannerError> {
        let target = directory.path().join(TARGET);
        let unusable = |error| PlannerError::Directory {
            directory: target.clone(),
            error,
        };
        let mut paths = vec![target.join("toc.dat")];
        let mut large_objects = Vec::new();
        for entry in fs::read_dir(&target).map_err(unusable)? {
            let path = entry.map_err(unusable)?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.starts_with("blobs") && path.extension().is_some_and(|extension| extension == "toc") {
                list_large_objects(&fs::read_to_string(&path).map_err(unusable)?, &mut large_objects)?;
                paths.push(path);
            } else if name != "toc.dat" {
                fs::remove_file(&path).map_err(unusable)?;
            }
        }
        paths.sort();
        let listed = large_objects.len();
        large_objects.sort_unstable();
        large_objects.dedup();
        if listed as u64 != opened || large_objects.len() != listed {
            return Err(PlannerError::Unpaired(format!(
                "{listed} large objects listed, {} of them different, {opened} opened",
                large_objects.len()
            )));
        }
        let files = Self {
            paths,
            _directory: directory,
        };
        Ok((files, large_objects))
    }

    /// Where they are.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

/// Makes a directory that only we can enter.
pub(super) fn private_directory(parent: &Path) -> Result<TempDir, PlannerError> {
    let unusable = |error| PlannerError::Directory {
        directory: parent.to_owned(),
        error,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(unusable)?;
    // Without this the mode is what the process's umask leaves.
    let directory = tempfile::Builder::new()
        .prefix("plan-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(unusable)?;
    if directory.path().join(SOCKET_NAME).as_os_str().len() > SOCKET_PATH_LIMIT {
        return Err(unusable(io::Error::new(
            io::ErrorKind::InvalidInput,
            "its path is too long for a Unix socket",
        )));
    }
    Ok(directory)
}

/// Reads the table of contents that was written into the directory.
pub(super) fn read_toc(directory: &Path) -> Result<Toc, PlannerError> {
    let file = fs::File::open(directory.join(TARGET).join("toc.dat")).map_err(TocError::Io)?;
    Ok(Toc::read(io::BufReader::new(file))?)
}

/// Lines of `<oid> blob_<oid>.dat`.
fn list_large_objects(text: &str, oids: &mut Vec<u32>) -> Result<(), PlannerError> {
    for line in text.lines() {
        let oid = line
            .split_once(' ')
            .filter(|(oid, file)| *file == format!("blob_{oid}.dat"))
            .and_then(|(oid, _)| oid.parse().ok());
        oids.push(
            oid.ok_or_else(|| PlannerError::Unpaired(format!("line {line:?} in a list of large objects")))?,
        );
    }
    Ok(())
}
