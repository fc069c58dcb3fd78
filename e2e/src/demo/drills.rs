//! Drills: a copy that is restored into a throw-away database and answers, and one that does not.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use dataembassy_crds::{ConditionStatus, DrillOutcome};

use super::custody::Spoiled;
use crate::{
    browser::{Browser, Look},
    cache::Cache,
    product::{
        Product, TREE,
        custody::Custody,
        drill::{self, Drilling, NAMESPACE},
    },
    progress::Progress,
    registries::Registry,
};

/// The longest that a drill may take on a machine that is busy with other things.
const DRILLED: Duration = Duration::from_mins(8);
/// Within this time of the entry everybody knows of it.
const MINUTE: Duration = Duration::from_mins(1);
/// A window on a desk.
const DESK: Look = Look {
    width: 1280,
    dark: false,
};

/// A drill that passes; its report is opened in a browser.
pub(super) async fn passes(
    product: &Product,
    registry: Registry,
    cache: &Cache,
    progress: &Progress,
) -> Result<()> {
    let step = progress.step("a copy restored into a throw-away database, questioned, and timed");
    let drilling = Drilling::begin_sample(product, registry.id(), "now").await?;
    let ended = drilling.answered("now", DRILLED).await?;
    step.done();
    show(product, progress).await?;
    ensure!(
        ended.result == DrillOutcome::Passed,
        "the drill did not pass: {}",
        ended.message
    );
    let signed = drill::signed(product, registry.id(), &ended).await?;
    progress.line(&format!(
        "  signed as entry {} of the custody chain; every answer:",
        ended.entry.unwrap_or_default()
    ));
    for line in answers(&signed.json) {
        progress.line(&format!("  {line}"));
    }
    let said = Custody::of(product, registry.id())
        .condition("Drilled", ConditionStatus::True, None, MINUTE)
        .await?;
    progress.line(&format!("  Drilled of {} is True: {said}", registry.id()));
    let picture = open(cache, &signed.html, registry).await?;
    progress.line(&format!(
        "  the report, opened in a browser, keeps every rule of accessibility that was tried: {}",
        picture.display()
    ));
    Ok(())
}

/// A drill on the newest copy of a registry, which somebody has spoiled on the store's disk. If the schedule has made another since, that one is
/// whole, and is spoiled too.
pub(super) async fn fails(
    product: &Product,
    registry: Registry,
    spoiled: &mut Spoiled,
    progress: &Progress,
) -> Result<()> {
    let step = progress.step(format!("a drill on the spoiled copy of {}", registry.id()));
    let drilling = Drilling::begin(product, registry.id(), |_| ()).await?;
    let mut ended = drilling.answered("first", DRILLED).await?;
    let copy = ended.copy.as_ref().context("the drill has picked no copy")?;
    if !spoiled.is_flipped(&copy.copy_id) {
        spoiled.flip(product, registry.id(), &copy.copy_id).await?;
        drilling.trigger("second").await?;
        ended = drilling.answered("second", DRILLED).await?;
    }
    step.done();
    show(product, progress).await?;
    ensure!(
        ended.result == DrillOutcome::Failed,
        "a spoiled copy was drilled with the result {:?}, {}: {}",
        ended.result,
        ended.reason,
        ended.message
    );
    progress.line(&format!("  {}: {}", ended.reason, ended.message));
    Ok(())
}

async fn show(product: &Product, progress: &Progress) -> Result<()> {
    let embassy = product.bed.embassy();
    let shown = embassy
        .kubectl(["get", "registrydrills", "--namespace", NAMESPACE])
        .await?;
    progress.line(&format!(
        "  embassy $ kubectl get registrydrills -n {NAMESPACE}\n{shown}"
    ));
    Ok(())
}

/// Each assertion of a report in a line.
fn answers(report: &serde_json::Value) -> Vec<String> {
    let assertions = report["result"]["assertions"].as_array().into_iter().flatten();
    assertions
        .map(|assertion| {
            let text = |field: &str| assertion[field].as_str().unwrap_or_default().to_owned();
            let passed = if assertion["passed"] == true {
                "passed"
            } else {
                "FAILED"
            };
            format!(
                "  {passed}  {}: expected {}, found {}",
                text("name"),
                text("expected"),
                text("found")
            )
        })
        .collect()
}

/// Opens a report in a real browser, judges it, and takes its picture.
async fn open(cache: &Cache, html: &str, registry: Registry) -> Result<PathBuf> {
    let folder = std::path::Path::new(TREE).join("target/e2e/reports");
    std::fs::create_dir_all(&folder)?;
    let page = folder.join(format!("{}.html", registry.id()));
    std::fs::write(&page, html)?;
    let browser = Browser::new(cache)?;
    let seen = browser.judge(html, DESK).await?;
    let broken: Vec<_> = seen
        .violations
        .iter()
        .map(|violation| violation.help.as_str())
        .collect();
    ensure!(
        broken.is_empty() && !seen.kept.is_empty(),
        "the report breaks rules: {}",
        broken.join("; ")
    );
    ensure!(
        seen.text.contains(registry.id()),
        "the report does not name its registry: {}",
        seen.text
    );
    let picture = page.with_extension("png");
    browser
        .picture(&page, DESK, &picture)
        .await
        .context("the report's picture")?;
    Ok(picture.canonicalize()?)
}
