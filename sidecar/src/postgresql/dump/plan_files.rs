//! The files that `pg_dump` wrote become members: its table of contents and the lists of large objects.

use std::{fs::File, io::Read, path::Path};

use bytes::BytesMut;
use dataembassy_archive::{
    Member, MemberName,
    inventory::Planner,
    member::{FileName, MAX_BODY_BYTES},
};
use dataembassy_ledger::value::{Sha256Digest, Sha256Stream};

use super::{DumpError, outlets::Outlet, rows::invalid};
use crate::postgresql::planner::PlanFiles;

/// Sends them all, and says which program wrote them.
pub(super) async fn send_all(
    files: &PlanFiles,
    (program_version, toc_entries): (String, usize),
    outlet: &Outlet<'_>,
) -> Result<Planner, DumpError> {
    let mut table_of_contents = None;
    for path in files.paths() {
        let name: FileName = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .parse()
            .map_err(invalid)?;
        let sent = send_file(path, &name, outlet).await?;
        if name.as_str() == "toc.dat" {
            table_of_contents = Some((name, sent));
        }
    }
    let (toc, (toc_bytes, toc_sha256)) =
        table_of_contents.ok_or_else(|| DumpError::Inconsistent("the plan has no toc.dat".into()))?;
    let version = &program_version;
    Ok(Planner {
        pg_dump_version: version
            .split(' ')
            .next()
            .unwrap_or(version)
            .parse()
            .map_err(invalid)?,
        toc,
        toc_bytes,
        toc_sha256,
        toc_entries: toc_entries as u64,
    })
}

/// Sends a file: as one member where it fits, in parts where it does not.
async fn send_file(
    path: &Path,
    name: &FileName,
    outlet: &Outlet<'_>,
) -> Result<(u64, Sha256Digest), DumpError> {
    let mut file = File::open(path).map_err(DumpError::PlanFiles)?;
    let size = file.metadata().map_err(DumpError::PlanFiles)?.len();
    let mut digest = Sha256Stream::new();
    let mut sent = 0;
    let mut chunk = 0;
    while sent < size || size == 0 {
        let mut body = BytesMut::zeroed(
            usize::try_from(size - sent)
                .unwrap_or(MAX_BODY_BYTES)
                .min(MAX_BODY_BYTES),
        );
        file.read_exact(&mut body).map_err(DumpError::PlanFiles)?;
        digest.update(&body);
        sent += body.len() as u64;
        let whole = size <= MAX_BODY_BYTES as u64;
        let place = if whole {
            MemberName::whole(name.clone())
        } else {
            MemberName::part(name.clone(), 0, chunk).map_err(invalid)?
        };
        let member = Member::new(place, body.freeze()).map_err(invalid)?;
        outlet.send(member).await?;
        chunk += 1;
        if whole {
            break;
        }
    }
    Ok((size, digest.finish()))
}
