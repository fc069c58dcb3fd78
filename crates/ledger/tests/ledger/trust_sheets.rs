//! Trust sheets: what is printed is read, and nothing else is.

use dataembassy_ledger::activation::{Approver, Approvers};
use dataembassy_ledger::chain::{CustodianKey, SignerRange};
use dataembassy_ledger::entry::EntryRef;
use dataembassy_ledger::signature::SignatureError;
use dataembassy_ledger::trust_sheet::{
    LineFault, MAX_REGISTRIES, MAX_SHEET_BYTES, RegistrySheet, RetiredCustodian, SheetError, SourceHead,
    WrongLine,
};
use dataembassy_ledger::{PublicKey, Role, Sha256Digest, SigningKey, StoreId, Timestamp, TrustSheet};
use proptest::prelude::*;

use crate::sample;

fn head(number: u64, digest: u8) -> EntryRef {
    EntryRef {
        sequence: sample::sequence(number),
        digest: Sha256Digest::from_bytes([digest; 32]),
    }
}

fn retired_key() -> SigningKey {
    SigningKey::from_seed(&[5; 32])
}

fn approvers() -> Approvers {
    let approver = |name: &str, seed| Approver {
        name: name.to_owned(),
        key: SigningKey::from_seed(&[seed; 32]).public_key(),
    };
    let all = vec![
        approver("minister-of-interior", 31),
        approver("chief-justice", 32),
        approver("head-of-archive", 33),
    ];
    Approvers::new(all, 2).unwrap()
}

/// A sheet of two registries: one that was activated, and whose keys have changed; and one without a copy.
pub(crate) fn sheet() -> TrustSheet {
    let home = sample::home_key().public_key();
    TrustSheet {
        printed_at: sample::at(60),
        embassy: "luxembourg".parse().unwrap(),
        endpoint: "https://store.embassy.example:9000".parse().unwrap(),
        bucket: "registries".parse().unwrap(),
        store_id: sample::store_id(),
        document: sample::genesis(),
        custodians: vec![sample::custodian_key().public_key()],
        approvers: Some(approvers()),
        registries: vec![
            RegistrySheet {
                registry: "business".parse().unwrap(),
                signers: vec![SignerRange::always(home)],
                terms: Vec::new(),
                retired: Vec::new(),
                source_head: None,
                custody_head: None,
            },
            RegistrySheet {
                registry: sample::registry(),
                signers: vec![
                    SignerRange {
                        key: SigningKey::from_seed(&[6; 32]).public_key(),
                        from: sample::sequence(1),
                        until: Some(sample::sequence(41)),
                    },
                    SignerRange {
                        key: home,
                        from: sample::sequence(42),
                        until: None,
                    },
                ],
                terms: vec![sample::embassy_key().public_key()],
                retired: vec![RetiredCustodian {
                    key: retired_key().public_key(),
                    until: sample::sequence(9),
                }],
                source_head: Some(SourceHead {
                    term: sample::term(2),
                    entry: head(58, 0xaa),
                }),
                custody_head: Some(head(17, 0xbb)),
            },
        ],
    }
}

pub(crate) fn printed(sheet: &TrustSheet) -> String {
    sheet.sign(&sample::custodian_key()).unwrap()
}

/// A text, signed as a sheet is.
pub(crate) fn sign_text(text: &str, role: Role, key: &SigningKey) -> String {
    format!("{text}{}", key.sign(role, text.as_bytes()).unwrap())
}

fn refused(text: &str) -> SheetError {
    let signed = sign_text(text, Role::Store, &sample::custodian_key());
    TrustSheet::verify(signed.as_bytes()).unwrap_err()
}

#[test]
fn a_printed_sheet_is_read_as_it_was_meant() {
    let sheet = sheet();
    let read = TrustSheet::verify(printed(&sheet).as_bytes()).unwrap();
    assert_eq!(read.sheet, sheet);
    assert_eq!(read.signer, sample::custodian_key().public_key());
    let custodians = sheet.custodians_of(&sheet.registries[1]);
    assert_eq!(
        custodians,
        [
            CustodianKey {
                key: sample::custodian_key().public_key(),
                until: None
            },
            CustodianKey {
                key: retired_key().public_key(),
                until: Some(sample::sequence(9))
            },
        ]
    );
}

#[test]
fn what_a_person_compares_stands_in_plain_lines() {
    let text = printed(&sheet());
    for line in [
        "format: dataembassy-trust-sheet/1".to_owned(),
        "embassy: luxembourg".to_owned(),
        "endpoint: https://store.embassy.example:9000".to_owned(),
        format!("store: {}", sample::store_id()),
        format!("document: {}", sample::genesis()),
        format!("custodian: {}", sample::custodian_key().public_key()),
        format!("signer: 42- {}", sample::home_key().public_key()),
        format!("term: 2 {}", sample::embassy_key().public_key()),
        format!("retired: 9 {}", retired_key().public_key()),
        format!("source: 0002-000000000058 {}", "aa".repeat(32)),
        format!("custody: 000000000017 {}", "bb".repeat(32)),
        "source: none".to_owned(),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn a_mistyped_line_is_named() {
    let text = sheet().to_string();
    let lines: Vec<&str> = text.lines().collect();
    let at = |word: &str| 1 + lines.iter().position(|line| line.starts_with(word)).unwrap();
    for (word, old, new, said) in [
        ("DataEmbassy", "sheet", "Sheet", "'DataEmbassy trust sheet'"),
        ("format", "sheet/1", "sheet/2", "the only one"),
        ("printed", "Z", "+00:00", "UTC with milliseconds"),
        ("embassy", "luxembourg", "Luxembourg", "embassy name"),
        ("endpoint", "https:", "ftps:", "https://"),
        ("bucket", "registries", "-", "bucket name"),
        ("store", "5e", "5E", "32 lower-case hex digits"),
        ("document", ": ", ":", "'document: …'"),
        ("custodian", "ssh-ed25519", "ssh-ed25518", "Ed25519"),
        ("registry", "business", "b", "registry id"),
        ("signer", "1- ", "01- ", "whole number"),
        ("signer", "1- ", "1 ", "'signer: <first>-<last, or nothing>"),
        ("term: 2", "term: 2", "term: 3", "the next term"),
        ("retired", " 9 ", " x ", "whole number"),
        ("source: 0", "0002-", "2-", "whole number"),
        ("custody: 0", "bb", "b", "64 lower-case hex digits"),
    ] {
        let line = at(word);
        let changed: String = lines
            .iter()
            .enumerate()
            .map(|(place, text)| {
                if place + 1 == line {
                    text.replacen(old, new, 1) + "\n"
                } else {
                    format!("{text}\n")
                }
            })
            .collect();
        assert_ne!(changed, text, "{word}");
        let error = refused(&changed);
        let SheetError::WrongLine(WrongLine { line: named, .. }) = &error else {
            panic!("{word}: {error}");
        };
        assert_eq!(*named, line, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn lines_that_are_missing_added_or_no_text_are_refused() {
    let text = sheet().to_string();
    for line in text.lines() {
        // Another signer stands beside these two, enough approvers are left, and nobody knows how many keys retired.
        let optional = ["retired", "signer: 1-41", "signer: 42", "approver: "];
        if !optional.iter().any(|word| line.starts_with(word)) {
            refused(&text.replacen(&format!("{line}\n"), "", 1));
        }
    }
    for changed in [
        format!("{text}\n"),
        format!("\n{text}"),
        format!("{text}note: none\n"),
        text.replace('\n', "\r\n"),
        text.replacen("luxembourg", "luxembourg ", 1),
        text.replacen("luxembourg", "luxémbourg", 1),
        text.replacen("embassy: ", "embassy: \t", 1),
        text.replacen("source: none", &format!("source: none{}", " ".repeat(600)), 1),
        text.trim_end().to_owned(),
        String::new(),
    ] {
        refused(&changed);
    }
    let error = refused(&text.replacen("luxembourg", "luxémbourg", 1));
    assert!(matches!(
        error,
        SheetError::WrongLine(WrongLine {
            line: 7,
            fault: LineFault::NotALine
        })
    ));
}

#[test]
fn rules_that_span_lines_name_the_registry() {
    let custodian = sample::custodian_key().public_key();
    let change = |change: fn(&mut TrustSheet, PublicKey)| {
        let mut sheet = sheet();
        change(&mut sheet, custodian);
        let unsigned = sheet.sign(&sample::custodian_key()).unwrap_err();
        assert_eq!(refused(&sheet.to_string()), unsigned);
        unsigned.to_string()
    };
    for (broken, said) in [
        (
            change(|sheet, custodian| sheet.custodians.push(custodian)),
            "none twice",
        ),
        (
            change(|sheet, custodian| {
                let approver = Approver {
                    name: "minister".to_owned(),
                    key: custodian,
                };
                sheet.approvers = Some(Approvers::new(vec![approver], 1).unwrap());
            }),
            "both an approver's and a custodian's",
        ),
        (change(|sheet, _| sheet.registries.reverse()), "ascend"),
        (
            change(|sheet, _| sheet.registries[1] = sheet.registries[0].clone()),
            "ascend",
        ),
        (
            change(|sheet, _| sheet.registries[0].signers.clear()),
            "registry business: it must have 1 to 16 signers",
        ),
        (
            change(|sheet, custodian| sheet.registries[1].signers[1].key = custodian),
            "registry population: a key must not be both",
        ),
        (
            change(|sheet, custodian| sheet.registries[1].terms[0] = custodian),
            "must not be both",
        ),
        (
            change(|sheet, custodian| sheet.registries[1].retired[0].key = custodian),
            "none that is in use",
        ),
        (
            change(|sheet, _| {
                let again = sheet.registries[1].retired[0];
                sheet.registries[1].retired.push(again);
            }),
            "none twice and none that is in use",
        ),
        (
            change(|sheet, _| sheet.registries[1].signers[0].from = sample::sequence(42)),
            "must not come before its first",
        ),
        (
            change(|sheet, _| sheet.registries[1].terms.clear()),
            "a term that has no signer",
        ),
    ] {
        assert!(broken.contains(said), "{broken}");
    }
}

#[test]
fn an_approvers_name_fits_its_line_and_nothing_else_does() {
    let named = |name: &str| {
        let mut sheet = sheet();
        let approver = Approver {
            name: name.to_owned(),
            key: SigningKey::from_seed(&[31; 32]).public_key(),
        };
        sheet.approvers = Some(Approvers::new(vec![approver], 1).unwrap());
        sheet.sign(&sample::custodian_key())
    };
    for fitting in ["a", "0-9", &"z".repeat(63)] {
        named(fitting).unwrap();
    }
    for unfit in ["", &"z".repeat(64), "Anna", "anna maria", "änna"] {
        let error = named(unfit).unwrap_err().to_string();
        assert!(error.contains("an approver's name"), "{unfit:?}: {error}");
    }
}

#[test]
fn a_sheet_is_signed_by_a_custodian_that_it_names_and_for_nothing_else() {
    let text = sheet().to_string();
    let stranger = sample::stranger_key();
    assert_eq!(
        sheet().sign(&stranger).unwrap_err(),
        SheetError::SignerNotNamed {
            signer: stranger.public_key()
        }
    );
    let verify = |text: &str| TrustSheet::verify(text.as_bytes()).unwrap_err();
    assert!(matches!(
        verify(&sign_text(&text, Role::Store, &stranger)),
        SheetError::SignerNotNamed { .. }
    ));
    assert!(matches!(
        verify(&sign_text(&text, Role::Custody, &sample::custodian_key())),
        SheetError::WrongSignature(SignatureError::WrongNamespace { .. })
    ));
    assert!(matches!(
        verify(&printed(&sheet()).replacen("aaaa", "aaab", 1)),
        SheetError::WrongSignature(SignatureError::Mismatch)
    ));
    assert!(matches!(
        verify(&text),
        SheetError::WrongSignature(SignatureError::Malformed)
    ));
    assert!(
        verify(&format!("{}\n", printed(&sheet())))
            .to_string()
            .contains("paper")
    );
}

#[test]
fn a_sheet_holds_as_many_registries_as_a_custodian_keeps_and_is_bounded() {
    let mut whole = sheet();
    let one = whole.registries[1].clone();
    whole.registries = (0..MAX_REGISTRIES)
        .map(|number| RegistrySheet {
            registry: format!("registry-{number:03}").parse().unwrap(),
            ..one.clone()
        })
        .collect();
    let text = printed(&whole);
    assert_eq!(TrustSheet::verify(text.as_bytes()).unwrap().sheet, whole);
    let mut more = whole.clone();
    more.registries.push(RegistrySheet {
        registry: "registry-999".parse().unwrap(),
        ..one
    });
    assert!(more.sign(&sample::custodian_key()).is_err());
    refused(&more.to_string());
    for registry in &mut whole.registries {
        registry.terms = vec![sample::embassy_key().public_key(); 64];
    }
    let error = whole.sign(&sample::custodian_key()).unwrap_err();
    assert!(matches!(error, SheetError::TooLarge { .. }), "{error}");
    let endless = vec![b'a'; MAX_SHEET_BYTES + 1];
    assert!(matches!(
        TrustSheet::verify(&endless),
        Err(SheetError::TooLarge { .. })
    ));
}

fn any_key() -> impl Strategy<Value = PublicKey> {
    // Custodians have seeds above 127.
    (1_u8..128).prop_map(|seed| SigningKey::from_seed(&[seed; 32]).public_key())
}

fn any_head() -> impl Strategy<Value = EntryRef> {
    (1_u64..=999_999_999_999, any::<u8>()).prop_map(|(number, digest)| head(number, digest))
}

fn any_registry() -> impl Strategy<Value = RegistrySheet> {
    let signers = prop::collection::btree_map(
        1_u64..1_000_000_000_000,
        (any_key(), prop::option::of(0_u64..1_000)),
        1..5,
    );
    (
        "[a-z][a-z0-9-]{1,37}[a-z0-9]",
        signers,
        prop::collection::vec(any_key(), 0..4),
        prop::collection::btree_map(128_u8..250, 1_u64..1_000_000_000_000, 0..3),
        prop::option::of((0_u64..4, any_head())),
        prop::option::of(any_head()),
    )
        .prop_map(|(id, signers, terms, retired, source, custody)| RegistrySheet {
            registry: id.parse().unwrap(),
            signers: signers
                .into_iter()
                .map(|(from, (key, more))| SignerRange {
                    key,
                    from: sample::sequence(from),
                    until: more.map(|more| sample::sequence((from + more).min(999_999_999_999))),
                })
                .collect(),
            source_head: source.map(|(term, entry)| SourceHead {
                term: sample::term(1 + term.min(terms.len() as u64)),
                entry,
            }),
            terms,
            retired: retired
                .into_iter()
                .map(|(seed, until)| RetiredCustodian {
                    key: SigningKey::from_seed(&[seed; 32]).public_key(),
                    until: sample::sequence(until),
                })
                .collect(),
            custody_head: custody,
        })
}

fn any_sheet() -> impl Strategy<Value = TrustSheet> {
    (
        0_i64..250_000_000_000_000,
        "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?",
        "https?://[!-~]{1,60}",
        "[a-z0-9][a-z0-9.-]{1,20}[a-z0-9]",
        any::<[u8; 16]>(),
        any::<[u8; 32]>(),
        any::<bool>(),
        prop::collection::vec(any_registry(), 1..4),
    )
        .prop_map(
            |(at, embassy, endpoint, bucket, store, document, has_approvers, mut registries)| {
                registries.sort_by(|one, other| one.registry.cmp(&other.registry));
                registries.dedup_by(|one, other| one.registry == other.registry);
                TrustSheet {
                    printed_at: Timestamp::from_millisecond(at).unwrap(),
                    embassy: embassy.parse().unwrap(),
                    endpoint: endpoint.parse().unwrap(),
                    bucket: bucket.parse().unwrap(),
                    store_id: StoreId::from_bytes(store),
                    document: Sha256Digest::from_bytes(document),
                    custodians: vec![SigningKey::from_seed(&[251; 32]).public_key()],
                    approvers: has_approvers.then(approvers),
                    registries,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_sheet_reads_back_as_printed_and_no_byte_of_it_may_change(
        sheet in any_sheet(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let text = sheet.sign(&SigningKey::from_seed(&[251; 32])).unwrap();
        let read = TrustSheet::verify(text.as_bytes()).unwrap();
        prop_assert_eq!(&read.sheet, &sheet);
        prop_assert_eq!(read.sheet.sign(&SigningKey::from_seed(&[251; 32])).unwrap(), text.clone());
        let mut changed = text.clone().into_bytes();
        let place = place.index(changed.len());
        prop_assume!(changed[place] != byte);
        changed[place] = byte;
        prop_assert!(TrustSheet::verify(&changed).is_err(), "byte {} became {}", place, byte);
        prop_assert!(TrustSheet::verify(&text.as_bytes()[..place]).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(TrustSheet::verify(&bytes).is_err());
    }
}
