//! From `kubectl apply` to a restored database, while life at home goes on.

use std::{io::Write as _, time::Duration};

use anyhow::{Context, Result, ensure};
use dataembassy_crds::{RecentRun, RegistryMirror};
use dataembassy_e2e::{
    bed::{Database, postgresql::DUMP_ROLE},
    product::{
        logs::{self, About},
        restore,
    },
    registries::{Amount, Churn, Registry, attempt_ddl},
    truth::{
        Kind, Scope, Truth, compare,
        schema_text::{first_difference, schema_text},
        snapshot::{Held, at_snapshot_of},
    },
};
use dataembassy_testkit::postgresql::programs;
use jiff::{Span, Timestamp, ToSpan, Zoned, tz::TimeZone};
use serde_json::json;
use tokio_postgres::Client;

use crate::world::{PATIENCE, Subject, World, together};

/// How long somebody at home waits for a lock before they try again later.
const DDL_PATIENCE: Duration = Duration::from_millis(300);

#[test]
fn copies_of_postgresql_17_equal_their_source_at_each_snapshot_while_others_write() {
    together(|world| the_main_line(world, Registry::Population, 17));
}

#[test]
fn copies_of_postgresql_15_equal_their_source_when_restored_into_17_and_into_15() {
    together(|world| the_main_line(world, Registry::Health, 15));
}

#[test]
fn copies_of_the_population_in_postgresql_15_equal_their_source_when_restored_into_17_and_into_15() {
    together(|world| into_both_versions(world, Registry::Population));
}

#[test]
fn copies_of_a_latin1_database_in_postgresql_15_equal_their_source_when_restored_into_17_and_into_15() {
    together(|world| into_both_versions(world, Registry::Business));
}

#[test]
fn copies_of_a_latin1_database_and_its_large_objects_equal_their_source_at_each_snapshot() {
    together(|world| the_main_line(world, Registry::Business, 17));
}

/// One copy of a database of 15, restored into 17 and into 15.
async fn into_both_versions(world: &'static World, sample: Registry) -> Result<()> {
    const OLDER: u32 = 15;
    let subject = subject(world, sample, OLDER).await?;
    let copy = Copy::of(&subject, 1, None, subject.apply(|_| {})).await?;
    copy.comes_back(world, &subject, restore::MAJOR, false).await?;
    copy.comes_back(world, &subject, OLDER, true).await
}

async fn subject(world: &'static World, sample: Registry, major: u32) -> Result<Subject> {
    let ministry = world.ministry(&format!("main-line-{major}")).await?;
    let name = format!("{}-{major}", sample.id());
    ministry
        .registry(&name, sample, major, &Amount::of_scale(0.05))
        .await
}

/// A first copy on apply, a second by schedule, a third by trigger; each is restored and held against its own snapshot.
async fn the_main_line(world: &'static World, sample: Registry, major: u32) -> Result<()> {
    let subject = subject(world, sample, major).await?;
    let far = daily_in(12.hours())?;
    let first = Copy::of(&subject, 1, None, async {
        subject
            .apply(|spec| spec["schedule"] = json!({"cron": far}))
            .await
    })
    .await?;
    ensure!(
        first.run()?.trigger.is_none(),
        "nobody asked for the first copy: {:?}",
        first.run()?
    );
    let mirrored = Timestamp::now();
    // Only now: on a slow machine a minute chosen before the first copy would be over when its snapshot is waited for.
    let second = Copy::of(&subject, 2, Some(&first), async {
        let soon = daily_in(2.minutes())?;
        subject
            .apply(|spec| spec["schedule"] = json!({"cron": soon}))
            .await
    })
    .await?;
    ensure!(
        second.run()?.slot.is_some(),
        "the second copy answers no slot: {:?}",
        second.run()?
    );
    let third = Copy::of(&subject, 3, Some(&second), subject.mirror.trigger("by hand")).await?;
    ensure!(
        third.run()?.trigger.as_deref() == Some("by hand"),
        "the third copy answers no trigger: {:?}",
        third.run()?
    );
    ensure!(
        first.truth.tables() != third.truth.tables(),
        "nothing was written between the copies"
    );
    let one_version = major == restore::MAJOR;
    for copy in [&first, &second, &third] {
        copy.comes_back(world, &subject, restore::MAJOR, one_version)
            .await?;
    }
    if !one_version {
        third.comes_back(world, &subject, major, true).await?;
    }
    // Nothing was wrong, but that somebody at home has changed the schema while it was copied.
    let about = About {
        names: &[&subject.id],
        expected: &[
            "tables were rewritten while they were copied; the copy begins anew",
            "tables were rewritten while the snapshot was taken; planning again",
        ],
        ..About::default()
    };
    logs::assert_calm(&world.product, mirrored, &about).await
}

/// A schedule of one minute each day, the one that holds the time after `span`.
fn daily_in(span: Span) -> Result<String> {
    let slot = Zoned::now().with_time_zone(TimeZone::UTC).checked_add(span)?;
    Ok(format!("{} {} * * *", slot.minute(), slot.hour()))
}

/// A copy that was taken while others wrote, and what was true at its snapshot.
struct Copy {
    sequence: i64,
    mirror: RegistryMirror,
    snapshot: Held,
    truth: Truth,
    schema: String,
}

impl Copy {
    /// Takes part in the snapshot of the copy that `ask` brings about, while rows are written and a schema change is tried again and again.
    async fn of(
        subject: &Subject,
        sequence: i64,
        before: Option<&Self>,
        ask: impl Future<Output = Result<()>>,
    ) -> Result<Self> {
        let known: Vec<&Held> = before.map(|copy| &copy.snapshot).into_iter().collect();
        let churn = Churn::start(subject.connect().await?, subject.sample);
        // Beforehand: a small copy may be done by the time that another session is there.
        let changer = subject.connect().await?;
        let snapshot = at_snapshot_of(subject.connect().await?, DUMP_ROLE, &known, PATIENCE);
        let (snapshot, ()) = tokio::try_join!(snapshot, ask)?;
        let copied = Box::pin(copied_in_spite_of_changes(subject, &changer, sequence));
        let (mirror, snapshots) = Box::pin(with_snapshots_until(copied, subject, &known, snapshot)).await?;
        ensure!(churn.stop().await? > 0, "nothing was written during the copy");
        let copy = mirror
            .status
            .as_ref()
            .and_then(|status| status.last_copy.as_ref())
            .context("the mirror shows no copy")?;
        let moment = copy.taken_at.trim_end_matches('Z');
        let moments: Vec<_> = snapshots.iter().map(|held| held.taken_at.clone()).collect();
        let snapshot = snapshots
            .into_iter()
            .find(|held| held.taken_at.starts_with(moment))
            .with_context(|| {
                format!("the copy was taken at {moment}, and snapshots were found of {moments:?}")
            })?;
        let schema = schema_of(&subject.server, &subject.id, Some(&snapshot.id)).await?;
        Ok(Self {
            sequence,
            truth: snapshot.truth().await?,
            mirror,
            snapshot,
            schema,
        })
    }

    /// The run that made it.
    fn run(&self) -> Result<&RecentRun> {
        let runs = self.mirror.status.as_ref().map(|status| &status.recent_runs);
        runs.and_then(|runs| runs.iter().find(|run| run.sequence == Some(self.sequence)))
            .with_context(|| format!("no recent run made copy {}", self.sequence))
    }

    /// Restores it abroad, on a server of a major version, and holds it against its snapshot.
    async fn comes_back(
        &self,
        world: &World,
        subject: &Subject,
        major: u32,
        one_version: bool,
    ) -> Result<()> {
        let signer = subject.mirror.signer().await?;
        let wanted = restore::Wanted {
            major,
            ..subject.wanted(&signer, &subject.id)
        };
        restore::restore(&world.product, &wanted, self.sequence, PATIENCE).await?;
        let target = restore::server_of(&world.product, major).await?;
        let restored = Truth::of(&target.connect(&subject.id).await?).await?;
        let large_objects = (subject.sample == Registry::Business).then_some(Kind::LargeObject);
        for kind in [
            Kind::Rows,
            Kind::Constraint,
            Kind::Comment,
            Kind::Grant,
            Kind::Role,
            Kind::Setting,
        ]
        .into_iter()
        .chain(large_objects)
        {
            ensure!(self.truth.count(kind) > 0, "no {kind:?} was compared");
        }
        let scope = Scope {
            one_version,
            ..Scope::WHILE_WRITING
        };
        let differences: Vec<_> = compare(&self.truth, &restored, scope)
            .iter()
            .map(ToString::to_string)
            .collect();
        ensure!(
            differences.is_empty(),
            "copy {} differs:\n{}",
            self.sequence,
            differences.join("\n")
        );
        // Versions write some things of the other samples differently: which columns a view reads, names that are keywords, all privileges.
        if !one_version && subject.sample != Registry::Health {
            return Ok(());
        }
        let schema = schema_of(&target, &subject.id, None).await?;
        match first_difference(&self.schema, &schema) {
            None => Ok(()),
            Some(difference) => anyhow::bail!("the schema of copy {} differs: {difference}", self.sequence),
        }
    }
}

/// Waits for a copy, and tries to change the schema again and again meanwhile.
async fn copied_in_spite_of_changes(
    subject: &Subject,
    changer: &Client,
    sequence: i64,
) -> Result<RegistryMirror> {
    tokio::pin! { let copied = subject.mirror.copied(sequence, PATIENCE); }
    let mut attempts = 0;
    loop {
        // The first one while the dump's leader still holds the snapshot that was just found.
        let number = u32::try_from(sequence)? * 1000 + attempts;
        attempt_ddl(changer, subject.sample, number, DDL_PATIENCE).await?;
        attempts += 1;
        tokio::select! {
            mirror = &mut copied => return mirror,
            () = tokio::time::sleep(DDL_PATIENCE * 4) => {}
        }
    }
}

/// Takes part in every further snapshot until there is a copy: a run whose schema was changed between plan and locks plans again, in a new
/// snapshot. Returns the mirror with its copy, and all snapshots.
async fn with_snapshots_until(
    copied: impl Future<Output = Result<RegistryMirror>>,
    subject: &Subject,
    known: &[&Held],
    first: Held,
) -> Result<(RegistryMirror, Vec<Held>)> {
    let mut held = vec![first];
    tokio::pin!(copied);
    loop {
        let client = subject.connect().await?;
        let others: Vec<&Held> = known.iter().copied().chain(&held).collect();
        let another = at_snapshot_of(client, DUMP_ROLE, &others, PATIENCE);
        let another = tokio::select! {
            mirror = &mut copied => return Ok((mirror?, held)),
            another = another => another?,
        };
        held.push(another);
    }
}

/// The database's schema as text, by the `pg_dump` of the newest version, from this machine.
async fn schema_of(server: &Database, database: &str, snapshot: Option<&str>) -> Result<String> {
    let configuration = server.configuration(database).await?;
    let host = match configuration.get_hosts() {
        [tokio_postgres::config::Host::Tcp(host)] => host.clone(),
        hosts => anyhow::bail!("one address is expected, not {hosts:?}"),
    };
    let password = String::from_utf8(configuration.get_password().context("no password")?.to_vec())?;
    let mut passwords = tempfile::NamedTempFile::new()?;
    writeln!(passwords, "*:*:*:*:{password}")?;
    let connection = format!(
        "host={host} user=postgres dbname={database} sslmode=disable passfile={}",
        passwords.path().display()
    );
    let snapshot = snapshot.map(str::to_owned);
    tokio::task::spawn_blocking(move || {
        let text = schema_text(
            &programs()?.join("17/bin/pg_dump"),
            &connection,
            snapshot.as_deref(),
        );
        drop(passwords);
        text
    })
    .await?
}
