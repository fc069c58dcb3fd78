//! What pages for people have in common: their frame, tables that scroll where they are too wide, and how one checks who signs for them.
//!
//! Everything is escaped by the template, and what others say stands in an element of its own (`bdi`), so that letters that run the other way
//! cannot rearrange what stands beside them.

use dataembassy_ledger::PublicKey;
use dataembassy_ledger::value::{OrderId, RegistryId, StoreId};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{fingerprint, words};

/// Nothing on a page is ours but this and the template.
const STYLE: &str = include_str!("page.css");
/// A page may load nothing, run nothing and send nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A whole page.
pub(in crate::custodian::registry) fn page(title: &str, heading: &Markup, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#report" { "Skip to the report" }
                header { h1 { (heading) } }
                main id="report" tabindex="-1" { (body) }
                footer { p { "This page is complete in itself: it loads nothing, runs nothing, and tells nobody that it was opened." } }
            }
        }
    };
    let mut page = page.into_string();
    page.push('\n');
    page
}

/// What stands on somebody else's word.
pub(in crate::custodian::registry) fn said(text: &str) -> Markup {
    html! { bdi { @if text.is_empty() { "–" } @else { (text) } } }
}

/// A moment.
pub(in crate::custodian::registry) fn time(moment: Timestamp) -> Markup {
    html! { time datetime=(moment) { (words::moment(moment)) } }
}

/// A table that scrolls in a place of its own where it is too wide, also for those who use no mouse.
pub(in crate::custodian::registry) fn table(id: &str, caption: &str, head: &Markup, body: &Markup) -> Markup {
    html! {
        div class="wide" role="region" aria-labelledby=(id) tabindex="0" {
            table {
                caption id=(id) { (caption) }
                @if !head.0.is_empty() { thead { tr { (head) } } }
                tbody { (body) }
            }
        }
    }
}

/// Names and what stands for them.
pub(in crate::custodian::registry) fn facts(id: &str, caption: &str, rows: &[(&str, Markup)]) -> Markup {
    let body = html! { @for (name, value) in rows { tr { th scope="row" { (name) } td { (value) } } } };
    table(id, caption, &html! {}, &body)
}

/// Whose entry names a page, and how one finds out.
pub(in crate::custodian::registry) struct Signed<'a> {
    /// The store.
    pub(in crate::custodian::registry) store: StoreId,
    /// The registry.
    pub(in crate::custodian::registry) registry: &'a RegistryId,
    /// The order that the report is named by.
    pub(in crate::custodian::registry) order: &'a OrderId,
    /// Whose key signs.
    pub(in crate::custodian::registry) custodian: PublicKey,
    /// The entry's kind.
    pub(in crate::custodian::registry) kind: &'a str,
    /// What it is the entry of, in a word.
    pub(in crate::custodian::registry) of: &'a str,
}

impl Signed<'_> {
    /// The last part of a page.
    pub(in crate::custodian::registry) fn told(&self) -> Markup {
        let Self {
            store,
            registry,
            order,
            custodian: key,
            kind,
            of,
        } = self;
        let rows = [
            ("Custodian's public key", html! { code { (key) } }),
            ("Its fingerprint", html! { code { (fingerprint(*key)) } }),
            ("Store id", html! { code { (store) } }),
            ("Ledger", html! { code { "registries/" (registry) "/custody/" } }),
            (
                "This report",
                html! { code { "registries/" (registry) "/reports/" (order) ".html" } " and " code { ".json" } },
            ),
        ];
        let check = format!(
            "sha256sum {order}.html {order}.json          # the two digests that the entry names under \"reports\"\n\
             head -n 1 ENTRY > line; tail -n +2 ENTRY > line.sig\n\
             grep -c '\"order\":\"{order}\"' line          # it is the entry of this {of}\n\
             echo 'custodian {key}' > signers\n\
             ssh-keygen -Y verify -f signers -I custodian -n dataembassy-custody-v1 -s line.sig < line"
        );
        html! {
            h2 { "Who signs" }
            p { "This page is not signed itself. The custodian of the embassy has signed an entry of kind " code { (kind) } " in the custody chain of the registry, which names this order, and the SHA-256 of this page and of its form for programs. A page that no such entry names is worth nothing, whatever it says." }
            (facts("signer", "The signer, and where its entry is", &rows))
            p { "Compare the key with the one on the trust sheet of the embassy, not with this page. Then, with the two files, and the entry as " code { "ENTRY" } ":" }
            div class="wide" role="region" aria-label="Commands to check this report" tabindex="0" { pre { code { (check) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::STYLE;

    /// The colours of one block of the style, by name.
    fn colours(block: &str) -> BTreeMap<String, [f64; 3]> {
        let mut found = BTreeMap::new();
        for piece in block.split(';') {
            let Some((name, value)) = piece
                .trim()
                .strip_prefix("--")
                .and_then(|rest| rest.split_once(": #"))
            else {
                continue;
            };
            let digits = |place: usize| u8::from_str_radix(&value[place..place + 2], 16).unwrap();
            found.insert(
                name.to_owned(),
                [digits(0), digits(2), digits(4)].map(|one| f64::from(one) / 255.0),
            );
        }
        found
    }

    /// Of WCAG 2.
    fn luminance(colour: [f64; 3]) -> f64 {
        let [red, green, blue] = colour.map(|part| {
            if part <= 0.04045 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126f64.mul_add(red, 0.7152f64.mul_add(green, 0.0722 * blue))
    }

    fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        (one / other).max(other / one)
    }

    #[test]
    fn letters_and_lines_stand_out_in_light_in_dark_and_on_paper() {
        let blocks: Vec<_> = STYLE
            .split(":root {")
            .skip(1)
            .map(|block| colours(block.split('}').next().unwrap()))
            .collect();
        assert_eq!(blocks.len(), 3);
        for block in &blocks {
            for (letters, paper, least) in [
                ("ink", "paper", 7.0),
                ("ink", "shade", 7.0),
                ("quiet", "paper", 4.5),
                ("link", "paper", 4.5),
                ("passed", "passed-paper", 4.5),
                ("failed", "failed-paper", 4.5),
                ("line", "paper", 3.0),
            ] {
                let found = contrast(block[letters], block[paper]);
                assert!(found >= least, "{letters} on {paper}: {found:.2}");
            }
        }
    }
}
