//! Those who copy a server file by file, with its write-ahead log: pgBackRest and barman-cloud. What they restore is that server, of that
//! version, whole.

use std::fmt;

use anyhow::{Context as _, Result};
use dataembassy_testkit::postgresql::PASSWORD;

use super::{
    group::Group,
    machine::{Machine, Programs, Served},
    rig::{DATABASE, Rig, THEIR_BUCKET},
    theirs,
};
use crate::command::{command, output};

/// The server's log goes nowhere while nobody copies.
const NOWHERE: &str = "/bin/true";

/// Whose copy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Two processes, zstd at level 1, AES-256 on the client.
    PgBackRest,
    /// Two processes, LZ4, the quickest that it has; it encrypts nothing.
    Barman,
}

impl fmt::Display for Peer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::PgBackRest => "pgBackRest",
            Self::Barman => "barman-cloud",
        })
    }
}

/// The rig's server once more, on a machine where they are: they copy from the server's own disk.
pub(super) async fn source(programs: &Programs, rig: &Rig) -> Result<Served> {
    let machine = Machine::make(programs, rig)?;
    machine.write("pgbackrest.conf", &configuration(&machine, rig)?)?;
    let script = format!(
        "/usr/lib/postgresql/17/bin/pg_basebackup --pgdata=/srv/data --checkpoint=fast --no-sync \
         --dbname='host=127.0.0.1 port={} user=postgres sslmode=require'",
        rig.server.port()
    );
    let mut copying = machine.script(command("unshare"), &script);
    output(copying.env("PGPASSWORD", PASSWORD)).await?;
    let mut source = machine.serve(command("unshare"), "-c archive_mode=on")?;
    rig.check(&source.ready(DATABASE).await?).await?;
    source.archive_by(NOWHERE).await?;
    Ok(source)
}

impl Peer {
    /// Both.
    pub(super) const BOTH: [Self; 2] = [Self::PgBackRest, Self::Barman];

    /// What its copies and its part of the server's log lie under.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::PgBackRest => "pgbackrest",
            Self::Barman => "barman",
        }
    }

    /// Makes a repository that knows nothing, into which the server's log goes from now on.
    pub(super) async fn begin(self, rig: &Rig, source: &Served) -> Result<()> {
        theirs::remove(rig, self.folder()).await?;
        let run = async |script: &str| {
            let mut run = source.machine().script(command("unshare"), script);
            output(&mut run).await.map(drop)
        };
        match self {
            Self::PgBackRest => {
                run("exec pgbackrest stanza-create").await?;
                source.archive_by("pgbackrest archive-push %p").await?;
                run("exec pgbackrest check").await
            }
            Self::Barman => {
                let archive = barman("walarchive --lz4", &rig.minio.endpoint());
                source.archive_by(&format!("{archive} %p")).await
            }
        }
    }

    /// Copies the server and what of its log the copy needs.
    pub(super) async fn copy(self, rig: &Rig, source: &Served, group: Group) -> Result<Group> {
        let script = match self {
            Self::PgBackRest => "exec pgbackrest --type=full backup".to_owned(),
            Self::Barman => {
                let port = source.machine().port();
                let backup = format!(
                    "backup --lz4 --jobs=2 --immediate-checkpoint --host=/srv --port={port} --user=postgres"
                );
                format!("exec {}", barman(&backup, &rig.minio.endpoint()))
            }
        };
        output(&mut source.machine().script(group.command("unshare"), &script)).await?;
        source.archived().await?;
        Ok(group)
    }

    /// The server's log goes nowhere again.
    pub(super) async fn end(source: &Served) -> Result<()> {
        source.archived().await?;
        source.archive_by(NOWHERE).await
    }

    /// Restores the newest copy on an empty machine, and starts the server, in the group of servers, until it answers with all rows.
    pub(super) async fn restore(
        self,
        rig: &Rig,
        machine: Machine,
        servers: &Group,
        group: Group,
    ) -> Result<(Group, Served)> {
        machine.write("pgbackrest.conf", &configuration(&machine, rig)?)?;
        let script = match self {
            Self::PgBackRest => "mkdir -m 700 /srv/data
                exec pgbackrest --type=immediate --target-action=promote --archive-mode=off restore"
                .to_owned(),
            Self::Barman => barman_restore(&rig.minio.endpoint()),
        };
        output(&mut machine.script(group.command("unshare"), &script)).await?;
        let mut served = machine.serve(servers.command("unshare"), "-c archive_mode=off")?;
        let restored = served.ready(DATABASE).await?;
        rig.check(&restored)
            .await
            .with_context(|| format!("what {self} restored"))?;
        Ok((group, served))
    }
}

/// One of barman-cloud's programs with its options, then the store and the server's name there, which all of them are told first.
fn barman(program: &str, endpoint: &str) -> String {
    format!(
        "python3 -m barman.clients.cloud_{program} --endpoint-url={endpoint} s3://{THEIR_BUCKET}/{} bench",
        Peer::Barman.folder()
    )
}

/// It restores files; how the server comes from them to a state that it was in is left to who restores.
fn barman_restore(endpoint: &str) -> String {
    let settings = [
        format!("restore_command = '{} %f %p'", barman("walrestore", endpoint)),
        "recovery_target = 'immediate'".to_owned(),
        "recovery_target_action = 'promote'".to_owned(),
        "recovery_target_timeline = 'current'".to_owned(),
    ];
    format!(
        "mkdir -m 700 /srv/data
         {} auto /srv/data
         cat >>/srv/data/postgresql.auto.conf <<'END'\n{}\nEND\n\
         touch /srv/data/recovery.signal",
        barman("restore", endpoint),
        settings.join("\n")
    )
}

/// What pgBackRest is told: as much as possible at once, and small files many to an object. It checks names in certificates, not addresses.
fn configuration(machine: &Machine, rig: &Rig) -> Result<String> {
    let address = rig.minio.address();
    let (_, port) = address.rsplit_once(':').context("an address has a port")?;
    let keys = rig.minio.root().credentials();
    let folder = Peer::PgBackRest.folder();
    Ok(format!(
        "[global]
repo1-type=s3
repo1-path=/{folder}
repo1-s3-bucket={THEIR_BUCKET}
repo1-s3-endpoint=localhost
repo1-storage-port={port}
repo1-storage-ca-file=/srv/store-ca.crt
repo1-s3-region=us-east-1
repo1-s3-uri-style=path
repo1-s3-key={}
repo1-s3-key-secret={}
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass={PASSWORD}
repo1-retention-full=1
repo1-bundle=y
compress-type=zst
compress-level=1
process-max=2
start-fast=y
expire-auto=n
lock-path=/srv/lock
log-level-file=off
log-level-console=warn

[bench]
pg1-path=/srv/data
pg1-port={}
pg1-socket-path=/srv
pg1-user=postgres
",
        keys.access_key,
        keys.secret_key,
        machine.port()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_barman_restores_is_told_how_to_come_to_a_state_that_it_was_in() {
        let script = barman_restore("https://127.0.0.1:9000");
        let lines: Vec<_> = script.lines().collect();
        let begin = lines.iter().position(|line| line.ends_with("<<'END'"));
        // The shell takes no blanks before it.
        let end = lines.iter().position(|line| *line == "END");
        assert!(begin.is_some() && begin < end, "{script}");
        assert!(
            script.contains(
                "\nrestore_command = 'python3 -m barman.clients.cloud_walrestore --endpoint-url=https://127.0.0.1:9000 \
                 s3://theirs/barman bench %f %p'\n"
            ),
            "{script}"
        );
        assert_eq!(lines.last().copied(), Some("touch /srv/data/recovery.signal"));
    }
}
