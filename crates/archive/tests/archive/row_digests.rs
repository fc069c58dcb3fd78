//! The row digest does not depend on how bytes arrive nor on the order of rows, and shows every change.

use dataembassy_archive::row_digest::HashSum;
use dataembassy_archive::{LargeObjectDigester, RowDigest, RowDigester, UnfinishedLine};
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

fn digest(text: &[u8]) -> RowDigest {
    let mut digester = RowDigester::new();
    digester.update(text);
    digester.finish().unwrap()
}

fn text(lines: &[String]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [line.as_bytes(), b"\n"].concat())
        .collect()
}

#[test]
fn an_empty_line_has_the_published_hash_of_nothing() {
    let digest = digest(b"\n");
    assert_eq!(digest.rows, 1);
    assert_eq!(digest.sum.to_string(), "99aa06d3014798d86001c324468d497f");
}

#[test]
fn no_lines_have_the_digest_zero() {
    assert_eq!(digest(b""), RowDigest::default());
    assert_eq!(digest(b"").sum.to_string(), "0".repeat(32));
}

#[test]
fn a_line_without_its_end_is_an_error() {
    let mut digester = RowDigester::new();
    digester.update(b"a\nb");
    assert_eq!(digester.finish().unwrap_err(), UnfinishedLine);
}

#[test]
fn an_end_of_data_line_is_seen_however_it_arrives() {
    let saw = |slices: &[&[u8]]| {
        let mut digester = RowDigester::new();
        for slice in slices {
            digester.update(slice);
        }
        digester.saw_end_of_data_line()
    };
    assert!(saw(&[b"\\.\n"]));
    assert!(saw(&[b"a\n\\.\nb\n"]));
    assert!(saw(&[b"\\", b".", b"\n"]));
    assert!(saw(&[b"a\n\\", b"", b".\n"]));
    // The second does not undo the first, whichever way the two arrive.
    assert!(saw(&[b"\\.\n\\.\n"]));
    assert!(saw(&[b"\\.\n", b"\\", b".\n"]));
    assert!(saw(&[b"\\", b".\n", b"\\", b".\n"]));
    assert!(saw(&[b"\\", b".\n", b"\\.\n"]));
    assert!(saw(&[b"\\", b".\n", b"a", b"b\n"]));
    assert!(!saw(&[b"\\.a\n"]));
    assert!(!saw(&[b"\\", b".a", b"\n"]));
    assert!(!saw(&[b"\\.", b"a\n"]));
    assert!(!saw(&[b"\\\\.\n"]));
    assert!(!saw(&[b"a\\.", b"\n"]));
    assert!(!saw(&[b"\\.", b"", b"\\.\n"]));
}

#[test]
fn a_sum_has_one_spelling() {
    let digits = "0123456789abcdef0123456789abcdef";
    let sum: HashSum = digits.parse().unwrap();
    assert_eq!(sum.0, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    assert_eq!(String::from(sum), digits);
    assert_eq!(HashSum::try_from(digits.to_owned()), Ok(sum));
    let upper = digits.to_uppercase();
    let signed = format!("+{}", &digits[1..]);
    let longer = format!("{digits}0");
    for text in ["", "5", &digits[1..], &longer, &upper, &signed] {
        assert!(text.parse::<HashSum>().is_err(), "{text:?} must be refused");
    }
}

#[test]
fn what_is_shown_of_a_digester_is_its_sums_and_no_row() {
    let mut rows = RowDigester::default();
    rows.update(b"Anna\nBor");
    let shown = format!("{rows:?}");
    assert!(shown.contains("rows: 1") && !shown.contains("Bor"), "{shown}");
    let mut objects = LargeObjectDigester::default();
    objects.begin(7);
    objects.update(b"Anna");
    objects.end();
    assert_eq!(format!("{objects:?}"), "LargeObjectDigester(1 objects, 4 bytes)");
}

#[test]
fn large_objects_of_equal_content_do_not_cancel_out() {
    let digest = |objects: &[(u32, &[&[u8]])]| {
        let mut digester = LargeObjectDigester::new();
        for (oid, slices) in objects {
            digester.begin(*oid);
            for slice in *slices {
                digester.update(slice);
            }
            digester.end();
        }
        (digester.objects(), digester.bytes(), digester.sum())
    };
    let one = digest(&[(7, &[b"abc", b"def"]), (8, &[])]);
    assert_eq!(one, digest(&[(8, &[]), (7, &[b"abcdef"])]));
    assert_eq!((one.0, one.1), (2, 6));
    assert_ne!(one.2, digest(&[(8, &[b"abcdef"]), (7, &[])]).2);
    let by_hand = xxh3_128(&[0, 0, 0, 7, b'a']);
    assert_eq!(digest(&[(7, &[b"a"])]).2.0, by_hand);
}

proptest! {
    #[test]
    fn cuts_do_not_matter(lines in prop::collection::vec(prop::collection::vec(any::<u8>().prop_filter("no line feed", |byte| *byte != b'\n'), 0..300), 0..30), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let text: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
        let expected = lines.iter().fold(0_u128, |sum, line| sum.wrapping_add(xxh3_128(line)));
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let mut digester = RowDigester::new();
        for pair in places.windows(2) {
            digester.update(&text[pair[0]..pair[1]]);
        }
        let found = digester.finish().unwrap();
        prop_assert_eq!((found.rows, found.sum.0), (lines.len() as u64, expected));
    }

    #[test]
    fn pieces_in_any_order_add_up_to_the_whole(lines in prop::collection::vec("[a-z]{0,20}", 1..20), at in any::<prop::sample::Index>()) {
        let (one, two) = lines.split_at(at.index(lines.len()));
        let mut sum = digest(&text(two));
        sum.add(digest(&text(one)));
        prop_assert_eq!(sum, digest(&text(&lines)));
    }

    #[test]
    fn one_changed_row_changes_the_digest(lines in prop::collection::vec("[a-z]{0,20}", 1..20), at in any::<prop::sample::Index>()) {
        let mut changed = lines.clone();
        changed[at.index(lines.len())].push('!');
        prop_assert_ne!(digest(&text(&changed)), digest(&text(&lines)));
    }
}
