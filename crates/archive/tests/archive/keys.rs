//! A copy's key opens for its recipients, and errors say what to do without showing a secret.

use age::secrecy::ExposeSecret as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dataembassy_archive::{CopyKey, Identities, KeyError, Recipients};
use dataembassy_ledger::Recipient;

fn person() -> (Recipient, String) {
    let identity = age::x25519::Identity::generate();
    let secret = identity.to_string().expose_secret().to_owned();
    (identity.to_public().to_string().parse().unwrap(), secret)
}

#[test]
fn each_recipient_alone_opens_a_copy_key() {
    let people = [person(), person(), person()];
    let recipients = Recipients::parse(people.iter().map(|(recipient, _)| recipient)).unwrap();
    let key = CopyKey::generate();
    let wrapped = key.wrap(&recipients).unwrap();
    for (_, secret) in &people {
        let file = format!("# created: 2026-11-23\n# public key: age1…\n\n{secret}\n");
        let opened = CopyKey::unwrap(&wrapped, &Identities::parse(&file).unwrap()).unwrap();
        assert_eq!(opened.recipient().to_string(), key.recipient().to_string());
    }
    let stranger = Identities::parse(&person().1).unwrap();
    assert_eq!(
        CopyKey::unwrap(&wrapped, &stranger).unwrap_err(),
        KeyError::NoMatchingIdentity
    );
    let many = format!("{}\n{}\n", person().1, people[2].1);
    assert!(CopyKey::unwrap(&wrapped, &Identities::parse(&many).unwrap()).is_ok());
}

#[test]
fn every_single_change_to_a_copy_key_is_found() {
    let (recipient, secret) = person();
    let identities = Identities::parse(&secret).unwrap();
    let wrapped = CopyKey::generate()
        .wrap(&Recipients::parse([&recipient]).unwrap())
        .unwrap();
    let binary = STANDARD.decode(&wrapped).unwrap();
    for place in 0..binary.len() {
        let mut changed = binary.clone();
        changed[place] ^= 1;
        assert!(
            CopyKey::unwrap(&STANDARD.encode(changed), &identities).is_err(),
            "bit flipped at {place}"
        );
        assert!(
            CopyKey::unwrap(&STANDARD.encode(&binary[..place]), &identities).is_err(),
            "cut at {place}"
        );
    }
}

#[test]
fn a_copy_key_holds_one_identity_and_its_line_feed() {
    let (recipient, secret) = person();
    let identities = Identities::parse(&secret).unwrap();
    let to: age::x25519::Recipient = recipient.as_str().parse().unwrap();
    let inside = age::x25519::Identity::generate()
        .to_string()
        .expose_secret()
        .to_owned();
    let open = |content: String| {
        CopyKey::unwrap(
            &STANDARD.encode(age::encrypt(&to, content.as_bytes()).unwrap()),
            &identities,
        )
    };
    assert!(open(format!("{inside}\n")).is_ok());
    for content in [
        inside.clone(),
        format!("{inside}\n\n"),
        format!("{inside}\n{inside}\n"),
        String::new(),
        "x".repeat(9000),
    ] {
        assert_eq!(open(content).unwrap_err(), KeyError::WrongCopyKeyContent);
    }
    assert_eq!(
        CopyKey::unwrap("!", &identities).unwrap_err(),
        KeyError::MalformedCopyKey
    );
    assert_eq!(
        CopyKey::unwrap("AAAA", &identities).unwrap_err(),
        KeyError::MalformedCopyKey
    );
}

#[test]
fn recipients_that_cannot_be_sealed_to_say_why() {
    let parse = |text: &str| Recipients::parse([&text.parse::<Recipient>().unwrap()]).unwrap_err();
    let typo = person().0.as_str().replace("age1", "age1q");
    assert!(parse(&typo).to_string().contains("wrong or missing"));
    assert!(parse("age1yubikey1qwertyuiop").to_string().contains("of a type"));
    assert_eq!(Recipients::parse([]).unwrap_err(), KeyError::NoRecipients);
}

#[test]
fn identity_files_that_cannot_be_used_say_why_and_show_nothing() {
    let secret = person().1;
    let why = |file: &str| {
        let error = Identities::parse(file).unwrap_err();
        assert!(!error.to_string().contains(&secret[20..40]));
        error.to_string()
    };
    assert!(why("# only a comment\n").contains("no identity"));
    assert!(why("AGE-PLUGIN-YUBIKEY-1QQQQ").contains("plugin"));
    assert!(why("-----BEGIN AGE ENCRYPTED FILE-----\n").contains("encrypted"));
    assert!(why("age-encryption.org/v1\n").contains("encrypted"));
    assert!(why(&format!("# one\n{}\n", person().0)).contains("line 2: it is a public key"));
    assert!(why(&secret[..secret.len() - 1]).contains("wrong or missing"));
    assert!(why(&format!("x{secret}")).contains("no age identity"));
}

#[test]
fn secrets_are_not_shown() {
    let secret = person().1;
    let identities = Identities::parse(&secret).unwrap();
    let key: CopyKey = secret.parse().unwrap();
    assert!(!format!("{identities:?}{key:?}").to_uppercase().contains("SECRET"));
}

#[test]
fn what_is_shown_of_keys_is_their_public_halves_and_how_many_there_are() {
    let (recipient, secret) = person();
    let key: CopyKey = secret.parse().unwrap();
    let public = recipient.as_str();
    assert_eq!(key.recipient().to_string(), public);
    assert_eq!(
        format!("{:?} {key:?}", key.recipient()),
        format!("CopyRecipient({public}) CopyKey({public})")
    );
    let recipients = Recipients::parse([&recipient]).unwrap();
    assert!(format!("{recipients:?}").contains(public));
    let two = Identities::parse(&format!("{secret}\n{}\n", person().1)).unwrap();
    assert_eq!(format!("{two:?}"), "Identities(2)");
}

#[test]
fn an_unwrapped_key_is_one_line_with_or_without_its_line_feed() {
    let secret = person().1;
    assert!(secret.parse::<CopyKey>().is_ok());
    assert!(format!("{secret}\n").parse::<CopyKey>().is_ok());
    for text in [
        String::new(),
        format!("{secret}\n\n"),
        format!(" {secret}"),
        format!("{secret}\r\n"),
        format!("{secret}\n{secret}"),
    ] {
        assert_eq!(
            text.parse::<CopyKey>().unwrap_err(),
            KeyError::WrongCopyKeyContent
        );
    }
}
