//! The command line.

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context, Error, Result};
use clap::{Parser, Subcommand};
use dataembassy_e2e::{
    bed::{self, Bed},
    bench,
    cache::Cache,
    cluster::{self, Cluster, Helm, KEEP_LOGS, Overview, PROVIDE_NETWORK, Site},
    command::command,
    demo, images, privilege,
    product::Product,
    progress::Progress,
    provision, suite,
};

/// The test bed: two Kubernetes clusters, home and embassy, on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo e2e", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the main job, from nothing: mirror three registries, restore them abroad, and compare.
    Demo {
        /// Leave everything up at the end, and say how to look around.
        #[arg(long)]
        keep: bool,
    },
    /// Run every test there is.
    Test(suite::Options),
    /// Run a provisioned program, such as helm4; cargo-deny and cargo-mutants are built when they are first asked for.
    Tool {
        /// Its name.
        name: String,
        /// Passed on as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Install and build what the test bed needs, into the cache. What is there already stays.
    Provision,
    /// Bring both clusters up with DataEmbassy installed; when they are, only bring in what changed.
    Up,
    /// Take both clusters down and leave nothing of them running or mounted.
    Down {
        /// Remove the clusters' image stores too: the next `up` takes longer.
        #[arg(long)]
        purge: bool,
        /// Every bed of this machine, not only the one that `DATAEMBASSY_BED` names.
        #[arg(long)]
        all: bool,
    },
    /// Say which parts of the bed run.
    Status,
    /// Run kubectl in one of the clusters.
    Kubectl(OfCluster),
    /// Run Helm 4 in one of the clusters.
    Helm(OfCluster),
    /// Enforce a cluster's network policies and give load balancers their address until stopped; `up` starts this.
    #[command(name = PROVIDE_NETWORK, hide = true)]
    ProvideNetwork {
        /// `home` or `embassy`.
        cluster: Site,
        /// The folder of its state.
        folder: std::path::PathBuf,
    },
    /// Keep what a cluster's pods log and its Secrets hold, those too that are removed, until stopped; `up` starts this.
    #[command(name = KEEP_LOGS, hide = true)]
    KeepLogs {
        /// `home` or `embassy`.
        cluster: Site,
        /// The folder of its state.
        folder: std::path::PathBuf,
    },
    /// Measure copy, restore and reading back against the same made of stock tools, the gate against the store itself, and a copy against
    /// zstd alone, on loopback servers; with `--only rest`, what the product takes at rest, on the test bed. Fails if a promise is missed that
    /// is not known to be out of reach.
    Bench {
        /// How often each side runs; the median counts.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
        runs: u32,
        /// Gigabytes of TPC-H data.
        #[arg(long, default_value_t = 1.0)]
        gigabytes: f64,
        /// Measure one part only.
        #[arg(long)]
        only: Option<bench::Part>,
    },
    /// Build all images and write each as an OCI archive.
    Images {
        /// The folder to write to.
        to: std::path::PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct OfCluster {
    /// `home` or `embassy`.
    cluster: Site,
    /// Passed on as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Cli {
    /// Does what was asked; returns the status to end with.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        cluster::bed_number().map_err(Error::msg)?;
        let cache = Cache::locate()?;
        let progress = Progress::new();
        match self.command {
            Command::Demo { keep } => {
                let plan = provision::Plan::make(&cache).await?;
                announce(&plan, &progress, &changes());
                privilege::become_root(&cache)?;
                plan.carry_out(&progress).await?;
                demo::run(&cache, &progress, keep).await?;
            }
            Command::Test(options) => suite::run(suite::WORKSPACE.as_ref(), &options)?,
            Command::Tool { name, arguments } => {
                let program = provision::program(&name, &cache, &progress).await?;
                return pass_on(command(program), &arguments).await;
            }
            Command::Provision => {
                let plan = provision::Plan::make(&cache).await?;
                announce(&plan, &progress, "");
                privilege::become_root(&cache)?;
                plan.carry_out(&progress).await?;
            }
            Command::Up => up(&cache, &progress).await?,
            Command::Down { purge, all } => {
                privilege::become_root(&cache)?;
                if all {
                    return down_all(purge).await;
                }
                let step = progress.step("taking the bed down");
                bed::down(purge).await?;
                step.done();
            }
            Command::Status => {
                privilege::become_root(&cache)?;
                return Ok(status());
            }
            Command::Kubectl(to) => {
                privilege::become_root(&cache)?;
                let kubectl = Cluster::connect(to.cluster, &cache).await?.kubectl_command()?;
                return pass_on(kubectl, &to.arguments).await;
            }
            Command::Helm(to) => {
                privilege::become_root(&cache)?;
                let helm = Cluster::connect(to.cluster, &cache)
                    .await?
                    .helm_command(Helm::Four)?;
                return pass_on(helm, &to.arguments).await;
            }
            Command::ProvideNetwork { cluster: site, .. } => {
                let cluster = Cluster::connect(site, &cache).await?;
                tokio::try_join!(
                    cluster::policy::enforce(site, cluster.client().clone()),
                    cluster::load_balancer::serve(site, cluster.client().clone()),
                )?;
            }
            Command::KeepLogs { cluster: site, .. } => {
                let cluster = Cluster::connect(site, &cache).await?;
                tokio::try_join!(
                    cluster::kept_logs::keep(site),
                    cluster::kept_secrets::keep(site, cluster.client().clone()),
                )?;
            }
            Command::Bench {
                runs,
                gigabytes,
                only,
            } => {
                let options = bench::Options {
                    runs,
                    gigabytes,
                    only,
                };
                return measure(&options, &cache, &progress).await;
            }
            Command::Images { to } => {
                provision_bed(&cache, &progress, "").await?;
                write_images(&cache, &progress, &to).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes what the bed needs and this machine lacks.
async fn provision_bed(cache: &Cache, progress: &Progress, also: &str) -> Result<()> {
    let plan = provision::Plan::make(cache).await?.for_the_bed();
    carry_out(plan, cache, progress, also).await
}

/// Says what is missing, becomes root, and makes it.
async fn carry_out(plan: provision::Plan, cache: &Cache, progress: &Progress, also: &str) -> Result<()> {
    announce(&plan, progress, also);
    privilege::become_root(cache)?;
    plan.carry_out(progress).await
}

/// Says what will be done; once, not again after sudo.
fn announce(plan: &provision::Plan, progress: &Progress, also: &str) {
    if !privilege::was_raised() {
        progress.line(&plan.describe());
        if !also.is_empty() {
            progress.line(also);
        }
    }
}

/// What is made when those who copy a server file by file are measured against.
const PHYSICAL: &str = "make a root file system with PostgreSQL and pgBackRest, and install barman-cloud with pip, unless the cache has them";

/// What bringing the bed up changes on this machine.
fn changes() -> String {
    format!(
        "bring up: two clusters in network namespaces ({}, {}), with links {} and {}, cgroups of the same names, \
         and their state in {}; `cargo e2e down` removes all of it but images, which `down --purge` removes too",
        Site::Home.namespace(),
        Site::Embassy.namespace(),
        Site::Home.wire_name(),
        Site::Embassy.wire_name(),
        cluster::state().display(),
    )
}

/// Takes every bed down whose state is on this machine, each by a process that sees that bed; one that cannot keeps none from it.
async fn down_all(purge: bool) -> Result<ExitCode> {
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    let mut all = ExitCode::SUCCESS;
    for number in cluster::BEDS.filter(|number| cluster::state_of(*number).exists()) {
        let mut down = command(&this);
        down.env(cluster::BED, number.to_string()).arg("down");
        if purge {
            down.arg("--purge");
        }
        if !down.status().await?.success() {
            all = ExitCode::FAILURE;
        }
    }
    Ok(all)
}

async fn up(cache: &Cache, progress: &Progress) -> Result<()> {
    provision_bed(cache, progress, &changes()).await?;
    let was_up = Site::BOTH.into_iter().all(cluster::is_up);
    tokio::select! {
        product = installed(cache, progress) => {
            product?;
            let bed = match cluster::bed_number().map_err(Error::msg)? {
                0 => String::new(),
                number => format!(" (with {}={number})", cluster::BED),
            };
            progress.line(&format!(
                "up{bed}: `cargo e2e kubectl home get pods -A`, `cargo e2e status`, `cargo e2e down`"
            ));
        }
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            if !was_up {
                progress.line("interrupted: taking down what is there");
                bed::down(false).await?;
            }
            anyhow::bail!("interrupted");
        }
    }
    Ok(())
}

async fn installed(cache: &Cache, progress: &Progress) -> Result<()> {
    let bed = Bed::up(cache, progress).await?;
    Product::install(&bed, progress).await.map(drop)
}

/// Ends well only if everything is as promised, but for what is known to be out of reach.
async fn measure(options: &bench::Options, cache: &Cache, progress: &Progress) -> Result<ExitCode> {
    let plan = provision::Plan::make(cache).await?.for_the_bench().await?;
    let also = match options.only {
        Some(bench::Part::Rest) => changes(),
        Some(bench::Part::Usable) => PHYSICAL.to_owned(),
        _ => String::new(),
    };
    carry_out(plan, cache, progress, &also).await?;
    let programs = images::build_programs(progress).await?;
    let rows = bench::measure(options, cache, &programs, progress).await?;
    let target = programs.parent().context("the programs lie in a target folder")?;
    say(bench::publish(&rows, target)?.trim_end());
    let Some(missed) = bench::missed(&rows) else {
        return Ok(ExitCode::SUCCESS);
    };
    say(&missed);
    Ok(ExitCode::FAILURE)
}

fn status() -> ExitCode {
    let overview = Overview::of(cluster::runs);
    for line in &overview.lines {
        say(line);
    }
    if overview.is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs a program on this terminal and ends as it does.
async fn pass_on(mut program: tokio::process::Command, arguments: &[OsString]) -> Result<ExitCode> {
    let status = program
        .args(arguments)
        .stdin(std::process::Stdio::inherit())
        .status()
        .await?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

async fn write_images(cache: &Cache, progress: &Progress, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    let mut images = images::surroundings(cache, progress).await?;
    images.extend(images::product(cache, progress).await?);
    for image in images {
        let name = image
            .name
            .rsplit('/')
            .next()
            .unwrap_or(&image.name)
            .replace(':', "-");
        let path = to.join(format!("{name}.tar"));
        image
            .write(std::fs::File::create(&path)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("{} {} {}", image.name, image.digest(), path.display()));
    }
    Ok(())
}

fn say(text: &str) {
    use std::io::Write as _;
    // Whoever stopped reading has seen enough.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints an error with all its causes.
#[expect(
    clippy::print_stderr,
    reason = "this is what the user of the command line sees"
)]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(arguments: &[&str]) -> bool {
        let all = ["cargo e2e"].iter().chain(arguments);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Demo { keep } => keep,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_demo_keeps_its_bed_only_where_that_is_asked_for() {
        assert!(!keeps(&["demo"]));
        assert!(keeps(&["demo", "--keep"]));
    }

    #[test]
    fn what_the_bed_changes_on_the_machine_is_all_named() {
        let changes = changes();
        for site in Site::BOTH {
            assert!(changes.contains(&site.namespace()), "{changes}");
            assert!(changes.contains(&site.wire_name()), "{changes}");
        }
        assert!(
            changes.contains(&cluster::state().display().to_string()),
            "{changes}"
        );
        assert!(changes.contains("cargo e2e down"), "{changes}");
    }
}
