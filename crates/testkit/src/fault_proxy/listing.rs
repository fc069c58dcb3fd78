//! What is done to a store's listing: its text is taken apart as far as that needs, and no further.

use jiff::Timestamp;

/// What a listing has an element of for each thing it lists.
const LISTED: [&str; 3] = ["Version", "DeleteMarker", "Contents"];

/// Whether a request asks for a listing.
pub(super) fn is_listing(target: &str) -> bool {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|part| {
        let name = part.split('=').next().unwrap_or_default();
        name == "versions" || name == "list-type"
    })
}

/// The listing without what was written after a moment.
pub(super) fn as_of(listing: &str, moment: Timestamp) -> String {
    retain(listing, |element| {
        let written = content(element, "LastModified").and_then(|at| at.parse::<Timestamp>().ok());
        written.is_none_or(|written| written <= moment)
    })
}

/// The listing without its last key.
pub(super) fn without_last_key(listing: &str) -> String {
    let mut last: Option<String> = None;
    retain(listing, |element| {
        last = content(element, "Key").map(str::to_owned).max(last.take());
        true
    });
    retain(listing, |element| content(element, "Key") != last.as_deref())
}

/// The listing with the word that there is more, from where it was asked to begin.
pub(super) fn never_ending(listing: &str, target: &str) -> String {
    let key = asked_from(target, "key-marker=");
    let key = key
        .or_else(|| content(listing, "Key").map(str::to_owned))
        .unwrap_or_default();
    let more = format!(
        "<IsTruncated>true</IsTruncated><NextKeyMarker>{key}</NextKeyMarker><NextContinuationToken>again</NextContinuationToken>"
    );
    let begun = retain_all_but(listing, "NextKeyMarker");
    let begun = retain_all_but(&begun, "NextVersionIdMarker");
    match begun.split_once("<IsTruncated>") {
        Some((before, after)) => {
            let after = after.split_once("</IsTruncated>").map_or("", |(_, after)| after);
            format!("{before}{more}{after}")
        }
        None => begun.replacen(
            "</ListVersionsResult>",
            &format!("{more}</ListVersionsResult>"),
            1,
        ),
    }
}

fn asked_from(target: &str, name: &str) -> Option<String> {
    let query = target.split_once('?')?.1;
    let value = query.split('&').find_map(|part| part.strip_prefix(name))?;
    Some(value.replace("%2F", "/"))
}

fn content<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    element
        .split_once(&open)?
        .1
        .split_once(&close)
        .map(|(content, _)| content)
}

fn retain(listing: &str, mut keeps: impl FnMut(&str) -> bool) -> String {
    let mut kept = listing.to_owned();
    for name in LISTED {
        kept = each(&kept, name, &mut keeps);
    }
    kept
}

fn retain_all_but(listing: &str, name: &str) -> String {
    each(listing, name, &mut |_| false)
}

fn each(listing: &str, name: &str, keeps: &mut impl FnMut(&str) -> bool) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (mut kept, mut rest) = (String::new(), listing);
    while let Some(begin) = rest.find(&open) {
        let Some(length) = rest[begin..].find(&close) else {
            break;
        };
        let end = begin + length + close.len();
        kept.push_str(&rest[..begin]);
        if keeps(&rest[begin..end]) {
            kept.push_str(&rest[begin..end]);
        }
        rest = &rest[end..];
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "<ListVersionsResult><IsTruncated>false</IsTruncated>\
        <Version><Key>a/1</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified></Version>\
        <Version><Key>a/2</Key><LastModified>2026-01-03T00:00:00.000Z</LastModified></Version></ListVersionsResult>";

    #[test]
    fn a_listing_of_the_past_lacks_what_came_later_and_a_hidden_key_is_the_last() {
        let then = "2026-01-02T00:00:00Z".parse().unwrap();
        for listing in [as_of(LISTING, then), without_last_key(LISTING)] {
            assert!(listing.contains("a/1") && !listing.contains("a/2"), "{listing}");
            assert!(listing.ends_with("</ListVersionsResult>"), "{listing}");
        }
    }

    #[test]
    fn a_listing_without_an_end_goes_on_where_it_was_begun() {
        let endless = never_ending(LISTING, "/bucket?versions&key-marker=a%2F0");
        assert!(
            endless.contains("<IsTruncated>true</IsTruncated><NextKeyMarker>a/0<"),
            "{endless}"
        );
        assert!(endless.contains("a/2"), "{endless}");
        assert!(
            is_listing("/bucket?versions")
                && is_listing("/bucket?list-type=2")
                && !is_listing("/bucket/key?versionId=1")
        );
    }
}
