//! The reports of drills and activations, opened in a real browser: what a minister, an auditor and somebody who uses no mouse find on it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should end")]

use std::path::{Path, PathBuf};

use dataembassy_e2e::{
    browser::{Browser, Look, Seen},
    cache::Cache,
};
use tokio::sync::OnceCell;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/samples/reports");
/// A window on a desk, and one as narrow as the browser opens; in light and dark.
const LOOKS: [Look; 3] = [
    Look {
        width: 1280,
        dark: false,
    },
    Look {
        width: 500,
        dark: false,
    },
    Look {
        width: 1280,
        dark: true,
    },
];

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = std::fs::read_dir(SAMPLES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "html"))
        .collect();
    pages.sort();
    assert!(
        pages.len() >= 2,
        "a report that passed and one that did not: {pages:?}"
    );
    pages
}

fn browser() -> Browser {
    Browser::new(&Cache::locate().unwrap()).unwrap()
}

/// A page, as it was seen once for all tests.
struct Judged {
    page: PathBuf,
    html: String,
    look: Look,
    seen: Seen,
}

async fn judged() -> &'static [Judged] {
    static JUDGED: OnceCell<Vec<Judged>> = OnceCell::const_new();
    let judge = async || {
        let browser = browser();
        let mut all = Vec::new();
        for page in pages() {
            let html = std::fs::read_to_string(&page).unwrap();
            for look in LOOKS {
                all.push(Judged {
                    seen: browser.judge(&html, look).await.unwrap(),
                    page: page.clone(),
                    html: html.clone(),
                    look,
                });
            }
        }
        all
    };
    JUDGED.get_or_init(judge).await
}

#[tokio::test]
async fn a_report_keeps_every_rule_of_accessibility_and_fits_its_window() {
    for Judged { page, look, seen, .. } in judged().await {
        assert!(
            seen.violations.is_empty(),
            "{}, {look:?}: {:#?}",
            page.display(),
            seen.violations
        );
        assert!(seen.kept.len() >= 15, "only {:?} were tried", seen.kept);
        assert!(
            seen.kept.iter().any(|rule| rule == "color-contrast"),
            "{}, {look:?}: nobody looked at the contrast: {:?}",
            page.display(),
            seen.kept
        );
        assert!(
            seen.untold.is_empty(),
            "{}, {look:?}: {:#?}",
            page.display(),
            seen.untold
        );
        assert_eq!(seen.overflow, 0, "{} is wider than {look:?}", page.display());
        assert!(
            !seen.reached.is_empty(),
            "{}: the keyboard reaches nothing",
            page.display()
        );
        for reached in &seen.reached {
            assert!(
                reached.visible,
                "{}: one does not see that {} has the keyboard",
                page.display(),
                reached.what
            );
        }
    }
}

#[tokio::test]
async fn a_report_loads_nothing_and_has_no_script() {
    for Judged { page, html, seen, .. } in judged().await {
        assert_eq!(seen.loaded, Vec::<String>::new(), "{}", page.display());
        assert!(html.contains("default-src 'none'"), "{}", page.display());
        for forbidden in [
            "<script",
            "javascript:",
            " onload=",
            " onclick=",
            "src=",
            "@import",
            "url(",
        ] {
            assert!(!html.contains(forbidden), "{} has {forbidden}", page.display());
        }
    }
}

#[tokio::test]
async fn a_report_says_first_what_a_minister_asks_and_then_what_an_auditor_does() {
    for Judged { page, seen, .. } in judged().await {
        let text = &seen.text;
        let place = |words: &str| {
            let place = text.to_lowercase().find(&words.to_lowercase());
            place.unwrap_or_else(|| panic!("{} does not say '{words}':\n{text}", page.display()))
        };
        let first = place("population");
        assert!(first < 400, "the registry is named late: {text}");
        assert!(place("copy") < place("sha-256"), "{text}");
        // Who goes home restores there: nothing of that is known here yet.
        let goes_home = page.to_string_lossy().contains("stood-down");
        let asked: &[&str] = if goes_home {
            &["released", "last copy", "approved by", "release", "ssh-keygen"]
        } else {
            &[
                "recovery",
                "objective",
                "constraints",
                "not restored",
                "pg_restore",
                "ssh-keygen",
            ]
        };
        for asked in asked {
            place(asked);
        }
    }
}

#[tokio::test]
async fn a_picture_of_a_report_can_be_looked_at() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/e2e/reports");
    std::fs::create_dir_all(&folder).unwrap();
    let browser = browser();
    for page in pages() {
        let name = page.file_stem().unwrap().to_string_lossy().into_owned();
        for (look, suffix) in LOOKS.into_iter().zip(["wide", "narrow", "dark"]) {
            let into = folder.join(format!("{name}-{suffix}.png"));
            browser.picture(&page, look, &into).await.unwrap();
        }
    }
}
