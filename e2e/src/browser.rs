//! A real browser that opens a page as people do: with a narrow and a wide window, in light and dark, without a network. What people need of
//! a page is judged in it by axe, the field's own script for that.
//!
//! The page is opened twice: as it is, for its picture, and with the judging script put into it, since a page that forbids every script
//! would forbid that one too.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{cache::Cache, command::command};

/// The longest that the browser may take for a page.
const PATIENCE: Duration = Duration::from_mins(1);
/// How far the page's own clock runs before it is looked at, in milliseconds.
const VIRTUAL_TIME: u32 = 20_000;
/// Where nothing listens: whatever asks a network asks there.
const NOWHERE: &str = "--proxy-server=127.0.0.1:9";
/// The element that the page's policy stands in.
const POLICY: &str = "<meta http-equiv=\"Content-Security-Policy\"";

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The window's width in pixels, 500 or more.
    pub width: u32,
    /// Whether the person prefers a dark page.
    pub dark: bool,
}

/// What was seen of a page.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Its text, as a person reads it.
    pub text: String,
    /// Rules of accessibility that it breaks: which, how bad, and where.
    pub violations: Vec<Violation>,
    /// Those of these rules that it keeps.
    pub kept: Vec<String>,
    /// Those of which that cannot be told at some place, and where.
    pub untold: Vec<String>,
    /// By how many pixels it is wider than its window.
    pub overflow: i64,
    /// What it loaded besides itself.
    pub loaded: Vec<String>,
    /// Elements that the keyboard reaches, and whether one sees that it has.
    pub reached: Vec<Reached>,
}

/// A rule that a page breaks.
#[derive(Debug, Deserialize)]
pub struct Violation {
    /// The rule.
    pub id: String,
    /// What is wrong, in words.
    pub help: String,
    /// Where.
    pub places: Vec<String>,
}

/// An element that the keyboard reaches.
#[derive(Debug, Deserialize)]
pub struct Reached {
    /// Its tag and its text.
    pub what: String,
    /// Whether it is marked while it has the keyboard.
    pub visible: bool,
}

/// The machine's browser, with a profile of its own that goes with it.
#[derive(Debug)]
pub struct Browser {
    axe: PathBuf,
    folder: TempDir,
}

impl Browser {
    /// A browser that nobody has used.
    pub fn new(cache: &Cache) -> Result<Self> {
        Ok(Self {
            axe: cache.path("axe")?,
            folder: tempfile::Builder::new().prefix("browser-").tempdir()?,
        })
    }

    /// Opens a page and judges it.
    pub async fn judge(&self, page: &str, look: Look) -> Result<Seen> {
        let script = tokio::fs::read_to_string(&self.axe)
            .await
            .context("axe was not provisioned")?;
        let path = self.folder.path().join("judged.html");
        tokio::fs::write(&path, with_judge(page, &script)?).await?;
        let printed = self
            .open(
                look,
                &path,
                &["--dump-dom", &format!("--virtual-time-budget={VIRTUAL_TIME}")],
            )
            .await?;
        let (_, rest) = printed
            .split_once("<pre id=\"seen\">")
            .context("the browser ended before the page was judged")?;
        let (seen, _) = rest.split_once("</pre>").context("the judgement is cut")?;
        serde_json::from_str(&unescaped(seen)).context("the judgement cannot be read")
    }

    /// Takes a picture of a page as it is, in PNG.
    pub async fn picture(&self, page: &Path, look: Look, into: &Path) -> Result<()> {
        let page = page.canonicalize()?;
        self.open(look, &page, &[&format!("--screenshot={}", into.display())])
            .await?;
        let size = tokio::fs::metadata(into)
            .await
            .context("there is no picture")?
            .len();
        ensure!(
            size > 10_000,
            "the picture has {size} bytes only: the page is empty"
        );
        Ok(())
    }

    async fn open(&self, look: Look, page: &Path, what: &[&str]) -> Result<String> {
        let mut browser = command("chromium");
        browser
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                NOWHERE,
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .arg(format!(
                "--user-data-dir={}",
                self.folder.path().join("profile").display()
            ))
            .arg(format!("--window-size={},2400", look.width))
            .arg(format!(
                "--blink-settings=preferredColorScheme={}",
                u8::from(!look.dark)
            ))
            .args(what)
            .arg(format!("file://{}", page.display()))
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let ended = timeout(PATIENCE, browser.output())
            .await
            .context("the browser took more than a minute")?
            .context("there is no chromium: run `cargo e2e provision`")?;
        ensure!(ended.status.success(), "the browser ended with {}", ended.status);
        Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
    }
}

/// The page without its policy, and with the script that judges it and leaves nothing but the judgement.
fn with_judge(page: &str, axe: &str) -> Result<String> {
    let (before, rest) = page.split_once(POLICY).context("the page has no policy")?;
    let (_, after) = rest.split_once('>').context("the policy does not end")?;
    let (body, end) = after.rsplit_once("</body>").context("the page has no end")?;
    let axe = axe.replace("</script", "<\\/script");
    Ok(format!(
        "{before}{body}<script>{axe}</script><script>{JUDGE}</script></body>{end}"
    ))
}

/// Asked before the page is judged, because the judgement takes its place.
const JUDGE: &str = r#"
addEventListener("load", async () => {
  const root = document.documentElement;
  const seen = {
    text: document.body.innerText,
    overflow: root.scrollWidth - root.clientWidth,
    loaded: performance.getEntriesByType("resource").map((entry) => entry.name),
    reached: [...document.querySelectorAll("a[href], button, summary, [tabindex]")].map((element) => {
      element.focus();
      const style = getComputedStyle(element);
      const visible = document.activeElement === element && style.outlineStyle !== "none" && style.outlineWidth !== "0px";
      return { what: element.tagName + " " + element.innerText.slice(0, 40), visible };
    }),
  };
  document.activeElement.blur();
  const judged = await axe.run(document, { resultTypes: ["violations", "passes", "incomplete"] });
  // Of what is scrolled out of sight nobody can tell what is behind it: contrast is looked at again on a page as wide as its tables.
  const wide = document.createElement("style");
  wide.textContent = ".wide, pre { overflow: visible !important } body, main { width: max-content; max-width: none !important }";
  document.head.append(wide);
  const contrast = await axe.run(document, { runOnly: { type: "rule", values: ["color-contrast"] } });
  const untold = judged.incomplete.filter((rule) => rule.id !== "color-contrast").concat(contrast.incomplete);
  seen.untold = untold.map((rule) => rule.id + ": " + rule.nodes.map((node) => node.html.slice(0, 200)).join(" "));
  seen.kept = judged.passes.filter((rule) => rule.id !== "color-contrast").concat(contrast.passes).map((rule) => rule.id);
  judged.violations.push(...contrast.violations);
  seen.violations = judged.violations.map((violation) => ({
    id: violation.id,
    help: violation.help,
    places: violation.nodes.map((node) => node.html.slice(0, 200)),
  }));
  const said = document.createElement("pre");
  said.id = "seen";
  said.textContent = JSON.stringify(seen);
  document.body.replaceChildren(said);
});
"#;

/// Text as it was before it was put between tags.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", "\u{a0}")
        .replace("&amp;", "&")
}
