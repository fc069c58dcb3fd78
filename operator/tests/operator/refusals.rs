//! Every wrong input that the operator judges has its reason and says what to do.

use std::net::IpAddr;
use std::sync::Arc;

use crate::addresses::NOWHERE;
use crate::world::{embassy, mirror, read};
use dataembassy_contract::Reason;
use dataembassy_operator::mirror::dereference::Found;
use dataembassy_operator::mirror::validate::validate;
use serde_json::{Value, json};

/// The refusal of a mirror and an embassy after `change`.
fn refusal(change: impl Fn(&mut Value, &mut Value)) -> (Reason, String) {
    let (mut mirror, mut embassy) = (mirror("population"), embassy());
    change(&mut mirror, &mut embassy);
    let found = Found {
        embassy: Some(Arc::new(read(&embassy))),
        ..Found::default()
    };
    let refusal = validate(&read(&mirror), &found).unwrap_err();
    (refusal.reason, refusal.message)
}

#[track_caller]
fn assert_refused(expected: Reason, says: &[&str], change: impl Fn(&mut Value, &mut Value)) {
    let (reason, message) = refusal(change);
    assert_eq!(reason, expected, "{message}");
    for word in says {
        assert!(message.contains(word), "'{word}' is not in: {message}");
    }
}

#[test]
fn what_the_manual_shows_is_accepted() {
    let found = Found {
        embassy: Some(Arc::new(read(&embassy()))),
        ..Found::default()
    };
    validate(&read(&mirror("population")), &found).unwrap();
}

#[test]
fn an_unknown_embassy() {
    let refusal = validate(&read(&mirror("population")), &Found::default()).unwrap_err();
    assert_eq!(refusal.reason, Reason::UnknownEmbassy);
    assert!(refusal.message.contains("'luxembourg'"));
}

#[test]
fn a_registry_id_that_is_taken() {
    let found = Found {
        embassy: Some(Arc::new(read(&embassy()))),
        rival: Some("justice/people".to_owned()),
        ..Found::default()
    };
    let refusal = validate(&read(&mirror("population")), &found).unwrap_err();
    assert_eq!(refusal.reason, Reason::RegistryTaken);
    assert!(refusal.message.contains("justice/people"));
}

#[test]
fn a_release_is_adopted_by_its_digest_and_by_nothing_else() {
    let digest = "0f".repeat(32);
    let mut adopting = mirror("population");
    adopting["spec"]["registry"]["adoptRelease"] = json!(digest);
    let found = Found {
        embassy: Some(Arc::new(read(&embassy()))),
        ..Found::default()
    };
    let checked = validate(&read(&adopting), &found).unwrap();
    assert_eq!(checked.config.adopt_release, Some(digest));
    for wrong in ["2", "the release of Monday", &"0F".repeat(32)] {
        let words = ["spec.registry.adoptRelease"];
        assert_refused(Reason::InvalidName, &words, |mirror, _| {
            mirror["spec"]["registry"]["adoptRelease"] = json!(wrong);
        });
    }
}

#[test]
fn no_engine() {
    assert_refused(Reason::NoEngine, &["spec.source.postgresql"], |mirror, _| {
        mirror["spec"]["source"] = json!({});
    });
}

#[test]
fn schedules_that_cannot_be_followed() {
    let cron = |text: &'static str| {
        move |mirror: &mut Value, _: &mut Value| mirror["spec"]["schedule"]["cron"] = json!(text)
    };
    assert_refused(
        Reason::InvalidSchedule,
        &["6 fields", "five"],
        cron("0 */15 * * * *"),
    );
    assert_refused(Reason::InvalidSchedule, &["nickname"], cron("@daily"));
    assert_refused(Reason::InvalidSchedule, &["'L'"], cron("0 0 L * *"));
    assert_refused(Reason::ImpossibleDate, &["never happens"], cron("0 0 30 2 *"));
    assert_refused(
        Reason::UnknownTimeZone,
        &["Europe/Tallin'", "IANA"],
        |mirror, _| {
            mirror["spec"]["schedule"]["timeZone"] = json!("Europe/Tallin");
        },
    );
}

#[test]
fn durations_that_are_none() {
    assert_refused(
        Reason::InvalidDuration,
        &["spec.objectives.rpo", "30m"],
        |mirror, _| mirror["spec"]["objectives"]["rpo"] = json!("0m"),
    );
    assert_refused(Reason::InvalidDuration, &["maxSnapshotAge"], |mirror, _| {
        mirror["spec"]["source"]["postgresql"]["maxSnapshotAge"] = json!("1w");
    });
}

#[test]
fn recipients_that_nobody_could_open_with() {
    let key = |text: String| {
        move |_: &mut Value, embassy: &mut Value| {
            embassy["spec"]["recipients"][0]["publicKey"] = json!(text.clone());
        }
    };
    let good = embassy()["spec"]["recipients"][0]["publicKey"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_refused(
        Reason::InvalidRecipient,
        &["DataEmbassy luxembourg", "recipients[ministry]", "checksum"],
        key(good.replace("8p", "8q")),
    );
    assert_refused(
        Reason::InvalidRecipient,
        &["X25519"],
        key("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t".into()),
    );
    let (_, message) = refusal(key("AGE-SECRET-KEY-1GFPYYSJZ".into()));
    assert!(
        !message.contains("GFPYYSJZ"),
        "a private key must not be repeated: {message}"
    );
}

#[test]
fn endpoints_where_copies_must_not_go() {
    let endpoint = |text: &'static str| {
        move |_: &mut Value, embassy: &mut Value| embassy["spec"]["store"]["endpoint"] = json!(text)
    };
    assert_refused(
        Reason::InsecureEndpoint,
        &["allowInsecure"],
        endpoint("http://store.embassy.example:9000"),
    );
    assert_refused(
        Reason::NotSovereign,
        &["commercial cloud", "amazonaws.com"],
        endpoint("https://s3.eu-central-1.amazonaws.com"),
    );
    assert_refused(
        Reason::NotSovereign,
        &["link-local"],
        endpoint("https://169.254.169.254"),
    );
    assert_refused(
        Reason::NotSovereign,
        &["loopback"],
        endpoint("https://0x7f.1:9000"),
    );
    assert_refused(
        Reason::NotSovereign,
        &["link-local"],
        endpoint("https://[::ffff:169.254.169.254]"),
    );
    assert_refused(
        Reason::InvalidEndpoint,
        &["path"],
        endpoint("https://store.embassy.example/bucket"),
    );
    assert_refused(Reason::NotSovereign, &["allowedHosts"], |_, embassy| {
        embassy["spec"]["sovereignty"] = json!({"allowedHosts": ["gate.embassy.example"]});
    });
    assert_refused(Reason::InvalidNetwork, &["203.0.113.0/24"], |_, embassy| {
        embassy["spec"]["sovereignty"] = json!({"allowedNetworks": ["203.0.113.0/99"]});
    });
}

#[test]
fn no_store_is_where_no_embassy_can_be_whatever_is_allowed_beside() {
    for (address, words) in NOWHERE {
        let host = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        let endpoint = format!("https://{host}:9000");
        let plain = address
            .parse::<IpAddr>()
            .map_or_else(|_| address.to_owned(), |address| address.to_string());
        assert_refused(
            Reason::NotSovereign,
            &["spec.store.endpoint", words],
            |_, embassy| embassy["spec"]["store"]["endpoint"] = json!(endpoint),
        );
        assert_refused(
            Reason::NotSovereign,
            &["spec.store.endpoint", words],
            |_, embassy| {
                embassy["spec"]["store"]["endpoint"] = json!(endpoint);
                embassy["spec"]["sovereignty"] =
                    json!({"allowedHosts": [plain], "allowedNetworks": ["0.0.0.0/0", "::/0"]});
            },
        );
    }
}

#[test]
fn no_source_of_a_mirror_is_where_no_registry_can_be() {
    for (address, words) in NOWHERE {
        assert_refused(
            Reason::NotSovereign,
            &["spec.source.postgresql.host", words],
            |mirror, _| mirror["spec"]["source"]["postgresql"]["host"] = json!(address),
        );
    }
    // Who moves a registry away from a cloud copies it from there.
    let mut leaving = mirror("population");
    leaving["spec"]["source"]["postgresql"]["host"] = json!("registry.eu-central-1.rds.amazonaws.com");
    let found = Found {
        embassy: Some(Arc::new(read(&embassy()))),
        ..Found::default()
    };
    validate(&read(&leaving), &found).unwrap();
}

#[test]
fn keys_and_certificates_that_are_none() {
    assert_refused(Reason::InvalidCaBundle, &["PEM"], |_, embassy| {
        embassy["spec"]["store"]["caBundle"] = json!("not a certificate");
    });
    assert_refused(
        Reason::InvalidPublicKey,
        &["custodianKeys", "ssh-keygen"],
        |_, embassy| {
            embassy["spec"]["custodianKeys"] = json!([{"publicKey": "ssh-ed25519 AAAAnothing"}]);
        },
    );
    assert_refused(Reason::InvalidPublicKey, &["previousKeys"], |mirror, _| {
        mirror["spec"]["signing"] =
            json!({"previousKeys": [{"publicKey": "ssh-rsa AAAA", "untilSequence": 1}]});
    });
}

#[test]
fn previous_keys_that_do_not_stand_in_the_order_in_which_they_signed() {
    const KEYS: [&str; 2] = [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHn22dY2ve98n6oX/KkfPa8DMfEOcM9T9AbhjhFmkdyg",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIna4eWsf2rkersfzSH1sKhbJAaJ4huY1KC/eCtbuc+A",
    ];
    for (first, second, fits) in [(100, 200, true), (200, 100, false), (100, 100, false)] {
        let change = |mirror: &mut Value, _: &mut Value| {
            mirror["spec"]["signing"] = json!({"previousKeys": [
                {"publicKey": KEYS[0], "untilSequence": first}, {"publicKey": KEYS[1], "untilSequence": second},
            ]});
        };
        if fits {
            let mut object = mirror("population");
            change(&mut object, &mut embassy());
            let found = Found {
                embassy: Some(Arc::new(read(&embassy()))),
                ..Found::default()
            };
            validate(&read(&object), &found).unwrap();
        } else {
            assert_refused(
                Reason::InvalidPublicKey,
                &["oldest first", "untilSequence"],
                change,
            );
        }
    }
}

#[test]
fn numbers_and_names_that_no_database_has() {
    for (field, value, fits) in [
        ("port", json!(0), false),
        ("port", json!(1), true),
        ("port", json!(65_535), true),
        ("port", json!(65_536), false),
        ("maxConnections", json!(2), false),
        ("maxConnections", json!(3), true),
        ("maxConnections", json!(64), true),
        ("maxConnections", json!(65), false),
        ("database", json!("d".repeat(63)), true),
        ("database", json!("d".repeat(64)), false),
        ("database", json!("a\0b"), false),
    ] {
        let mut resource = mirror("population");
        resource["spec"]["source"]["postgresql"][field] = value.clone();
        let found = Found {
            embassy: Some(Arc::new(read(&embassy()))),
            ..Found::default()
        };
        let judged = validate(&read(&resource), &found);
        assert_eq!(judged.is_ok(), fits, "{field} {value}");
        if let Err(refusal) = judged {
            assert_eq!(refusal.reason, Reason::InvalidName);
            assert!(refusal.message.contains(field), "{}", refusal.message);
        }
    }
}
