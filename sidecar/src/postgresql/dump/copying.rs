//! One COPY: a table or one range of it, from a session that has its lock, to members.

use super::{
    DumpError,
    rows::{RangeSum, RowWriter},
    run::Run,
    unit::{TableJob, statement},
};
use crate::postgresql::{Connection, ConnectionError, planner::CapturedCopy, session::identifier};
use dataembassy_archive::{Member, member::MAX_BODY_BYTES};

/// PostgreSQL allocates at most this many bytes at once; `bytea` in hex needs two for each byte and two for `\x`.
const MOST_ALLOCATED: u64 = 0x3fff_ffff;

/// Copies a table, or one range of it, and notes it as done.
pub(super) async fn copy_piece(
    connection: &mut Connection,
    run: &Run,
    table: usize,
    range: Option<usize>,
) -> Result<(), DumpError> {
    let job = &run.tables[table];
    let mut writer = RowWriter::new(
        run.outlets.outlet(),
        job.file.clone(),
        range.map_or(Ok(0), u32::try_from).unwrap_or(u32::MAX),
    );
    let text = statement(&job.planned.copy, range.map(|range| job.ranges[range]));
    match stream(connection, run, &text, &mut writer).await {
        Ok(sent) => {
            let (sum, whole) = match range {
                None => writer.finish_table().await?,
                Some(_) => (writer.finish().await?, false),
            };
            check_count(job, sum, sent)?;
            finish(connection, run, job, range, sum, whole).await
        }
        Err(Broken::Receiver(error)) => Err(error),
        Err(Broken::Server(error)) => Err(explain(run, job, error).await),
    }
}

enum Broken {
    Server(ConnectionError),
    Receiver(DumpError),
}

async fn stream(
    connection: &mut Connection,
    run: &Run,
    text: &[u8],
    writer: &mut RowWriter<'_>,
) -> Result<u64, Broken> {
    let mut copy = connection.copy_out(text).await.map_err(Broken::Server)?;
    let mut unreported = 0;
    loop {
        let appended = copy.append(writer.room(), MAX_BODY_BYTES).await;
        let appended = appended.map_err(Broken::Server)?;
        if appended == 0 {
            break;
        }
        unreported += appended as u64;
        writer.appended(appended).await.map_err(Broken::Receiver)?;
        if unreported >= super::PROGRESS_STEP {
            run.progress(|progress| progress.bytes += std::mem::take(&mut unreported));
        }
    }
    run.progress(|progress| progress.bytes += unreported);
    copy.rows().map_err(Broken::Server)
}

/// In text format every row ends in one line feed and holds no other.
fn check_count(job: &TableJob, sum: RangeSum, sent: u64) -> Result<(), DumpError> {
    if sum.digest.rows == sent {
        return Ok(());
    }
    let counted = sum.digest.rows;
    Err(DumpError::Inconsistent(format!(
        "the server sent {sent} rows of {} and {counted} arrived",
        job.label
    )))
}

async fn finish(
    connection: &mut Connection,
    run: &Run,
    job: &TableJob,
    range: Option<usize>,
    sum: RangeSum,
    whole: bool,
) -> Result<(), DumpError> {
    run.progress(|progress| progress.rows += sum.digest.rows);
    let Some(total) = job.finish_range(range.unwrap_or(0), sum) else {
        return Ok(());
    };
    if total.digest.rows == 0 && job.pages > 0 {
        confirm_empty(connection, job).await?;
    }
    if range.is_some() {
        let end = Member::table_end(job.file.clone());
        run.outlets.outlet().send(end).await?;
    }
    run.table_done(job.line(total, whole));
    Ok(())
}

/// Pages without rows are what a table looks like from which a fault has taken the rows: ask again, another way.
async fn confirm_empty(connection: &mut Connection, job: &TableJob) -> Result<(), DumpError> {
    let rows = connection
        .query(job.planned.copy.has_rows())
        .await
        .map_err(|error| failed(job, error))?;
    match rows.first().map(|row| row.flag(0)) {
        Some(Ok(false)) => Ok(()),
        _ => Err(DumpError::Inconsistent(format!(
            "{} gave no row, yet the snapshot sees some",
            job.label
        ))),
    }
}

pub(super) fn failed(job: &TableJob, error: ConnectionError) -> DumpError {
    DumpError::of_copy(&job.label, error)
}

/// Finds the words for a COPY that failed.
async fn explain(run: &Run, job: &TableJob, error: ConnectionError) -> DumpError {
    let Some(server) = error.server() else {
        return failed(job, error);
    };
    match server.code.as_str() {
        "42501" if server.message.contains("row-level security") => DumpError::RowSecurity {
            tables: vec![job.label.clone()],
        },
        // The messages are in the server's language, the codes are also used for other faults: look for the value.
        "XX000" | "54000" | "53200" => {
            let plain = server.message.contains("invalid memory alloc request size")
                || server.message.contains("string buffer");
            let column = find_large_value(run, job).await.unwrap_or_default();
            if plain || column.is_some() {
                DumpError::ValueTooLarge {
                    table: job.label.clone(),
                    column,
                    error,
                }
            } else {
                failed(job, error)
            }
        }
        _ => failed(job, error),
    }
}

/// The first column that holds a value which is too large as text. Lengths are stored beside values, so nothing large
/// is read.
async fn find_large_value(run: &Run, job: &TableJob) -> Result<Option<String>, DumpError> {
    let CapturedCopy::Table { schema, table, .. } = &job.planned.copy else {
        return Ok(None);
    };
    let mut connection = run.worker_session().await?;
    run.begin(&mut connection).await?;
    let columns = connection
        .query(format!(
            "SELECT a.attname, a.atttypid = 'pg_catalog.bytea'::pg_catalog.regtype FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = {} AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN \
             ('pg_catalog.bytea'::pg_catalog.regtype, 'pg_catalog.text'::pg_catalog.regtype, 'pg_catalog.varchar'::pg_catalog.regtype)",
            job.planned.oid
        ))
        .await?;
    let relation = crate::postgresql::planner::qualified(schema, table);
    for row in columns {
        let name = row.bytes(0).unwrap_or_default().to_vec();
        let most = if row.flag(1)? {
            MOST_ALLOCATED / 2 - 2
        } else {
            MOST_ALLOCATED / 2
        };
        let mut query = b"SELECT EXISTS (SELECT FROM ONLY ".to_vec();
        query.extend_from_slice(&relation);
        query.extend_from_slice(b" WHERE pg_catalog.octet_length(");
        query.extend_from_slice(&quoted(&name));
        query.extend_from_slice(format!(") > {most})").as_bytes());
        let found = connection.query(query).await?;
        if found.first().is_some_and(|row| row.flag(0).unwrap_or_default()) {
            return Ok(Some(String::from_utf8_lossy(&name).into_owned()));
        }
    }
    Ok(None)
}

fn quoted(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(name) => identifier(name).into_bytes(),
        Err(_) => [b"\"", name, b"\""].concat(),
    }
}
