//! Names of members have one spelling, and bodies have bounds.

use bytes::Bytes;
use dataembassy_archive::member::{MAX_BODY_BYTES, TABLE_END};
use dataembassy_archive::{FileName, InvalidMember, Member, MemberName};
use proptest::prelude::*;

use crate::sample::{file, whole};

#[test]
fn names_look_as_the_design_draws_them() {
    assert_eq!(MemberName::whole(file("toc.dat")).to_string(), "archive/toc.dat");
    assert_eq!(
        MemberName::part(file("4021.dat"), 3, 14).unwrap().to_string(),
        "parts/4021.dat/000003.00000014"
    );
    assert_eq!(
        MemberName::table_end(file("4021.dat")).to_string(),
        "parts/4021.dat/999999.99999999"
    );
}

#[test]
fn nothing_else_is_a_name() {
    for text in [
        "",
        "archive/",
        "archive/..",
        "archive/.",
        "archive/.hidden",
        "archive/a/b",
        "archive/A.dat",
        "archive/a b",
        "archive/ä",
        "./archive/a",
        "/archive/a",
        "parts/a",
        "parts/a/",
        "parts/a/1.2",
        "parts/a/000001.0000002",
        "parts/a/0000001.00000002",
        "parts/a/+00001.00000002",
        "parts/a/000001.00000002/",
        "parts/a/999999.00000000",
        "parts/a/999999.99999998",
        "parts//000001.00000002",
        "parts/../000001.00000002",
        "other/a",
    ] {
        assert!(text.parse::<MemberName>().is_err(), "{text:?} must be refused");
    }
    assert!(
        format!("archive/{}", "a".repeat(64))
            .parse::<MemberName>()
            .is_ok()
    );
    assert!(
        format!("archive/{}", "a".repeat(65))
            .parse::<MemberName>()
            .is_err()
    );
    assert!("a\n".parse::<FileName>().is_err());
    assert_eq!(MAX_BODY_BYTES, 1_048_576);
}

#[test]
fn the_longest_name_fits_a_ustar_header() {
    let name = MemberName::table_end(file(&"a".repeat(64)));
    assert_eq!(name.to_string().len(), MemberName::MAX_LENGTH);
    assert!(name.to_string().len() <= 100);
}

#[test]
fn numbers_that_have_no_place_are_refused() {
    assert!(MemberName::part(file("a"), 999_998, 99_999_999).is_ok());
    assert!(MemberName::part(file("a"), 999_999, 0).is_err());
    assert!(MemberName::part(file("a"), 0, 100_000_000).is_err());
}

#[test]
fn a_body_has_at_most_1_mib() {
    let name = MemberName::whole(file("a"));
    assert!(Member::new(name.clone(), Bytes::from(vec![0; MAX_BODY_BYTES])).is_ok());
    let error = Member::new(name, Bytes::from(vec![0; MAX_BODY_BYTES + 1])).unwrap_err();
    assert!(matches!(error, InvalidMember::TooLarge { .. }));
}

#[test]
fn the_last_part_of_a_table_has_one_possible_body() {
    assert_eq!(Member::table_end(file("a")).body, TABLE_END);
    let error = Member::new(MemberName::table_end(file("a")), Bytes::from_static(b"\\.\n")).unwrap_err();
    assert!(matches!(error, InvalidMember::WrongEnd { .. }));
}

#[test]
fn a_name_says_which_file_it_is_of_and_where_in_it() {
    let at = |name: &MemberName| (name.file().as_str().to_owned(), name.place(), name.is_table_end());
    let dat = || "4021.dat".to_owned();
    let part = MemberName::part(file("4021.dat"), 3, 14).unwrap();
    assert_eq!(at(&MemberName::whole(file("4021.dat"))), (dat(), None, false));
    assert_eq!(at(&part), (dat(), Some((3, 14)), false));
    let end = MemberName::table_end(file("4021.dat"));
    assert_eq!(at(&end), (dat(), Some((999_999, 99_999_999)), true));
    assert_eq!(format!("{:?}", part.file()), "\"4021.dat\"");
}

#[test]
fn a_member_does_not_show_its_content() {
    let shown = format!("{:?}", whole("a.dat", b"Anna"));
    assert!(
        shown.contains("archive/a.dat") && shown.contains("4 bytes") && !shown.contains("Anna"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn a_name_parses_to_what_it_was_built_from(name in "[a-z0-9_][a-z0-9_.]{0,63}", range in 0_u32..999_999, chunk in 0_u32..=99_999_999) {
        for name in [
            MemberName::whole(file(&name)),
            MemberName::part(file(&name), range, chunk).unwrap(),
            MemberName::table_end(file(&name)),
        ] {
            prop_assert_eq!(name.to_string().parse::<MemberName>(), Ok(name));
        }
    }

    #[test]
    fn names_sort_as_text_in_the_order_of_their_places(places in prop::collection::vec((0_u32..999_999, 0_u32..=99_999_999), 2..20)) {
        let mut names: Vec<_> = places.iter().map(|(range, chunk)| MemberName::part(file("a"), *range, *chunk).unwrap()).collect();
        names.push(MemberName::table_end(file("a")));
        let mut texts: Vec<_> = names.iter().map(ToString::to_string).collect();
        names.sort();
        texts.sort();
        prop_assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn whatever_parses_prints_the_same(text in "(archive|parts)/[a-z0-9._/]{0,40}") {
        if let Ok(name) = text.parse::<MemberName>() {
            prop_assert_eq!(name.to_string(), text);
        }
    }
}
