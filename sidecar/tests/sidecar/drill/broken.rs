//! Copies that are not what they should be, and drills that cannot say so: whose fault it is, and that nothing is restored from either.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use bytes::Bytes;
use dataembassy_archive::{
    CompressionLevel, CopyKey, FileName, Identities, Member, MemberName, SegmentPosition, SegmentWriter,
};
use dataembassy_contract::{
    Reason,
    drill::{AssertionKind, Pick, Verdict},
    files,
};
use dataembassy_ledger::value::CopyId;
use dataembassy_testkit::postgresql::{Cell, Server};

use super::bench::{Drill, answer, cell, copied, equals};
use crate::restore::embassy::{CONTENT, Embassy, age_keygen, lose, stock};
use crate::sealed::{COUNTED, Making, MemoryCopy, miscounted, seal_with};
use crate::support::source;

/// A copy that is sealed anew for each test: what is published, and how it is spoiled.
async fn copy() -> MemoryCopy {
    copied(17, CONTENT).await.1
}

fn again(copy: &MemoryCopy, segments: Vec<Bytes>) -> MemoryCopy {
    MemoryCopy {
        identity: copy.identity.clone(),
        key: copy.key.clone(),
        inventory: copy.inventory.clone(),
        segments,
        hangs: false,
    }
}

async fn judged(embassy: &Embassy, cell: &Cell, verdict: Verdict, reason: Reason, word: &str) {
    let result = Drill::new(embassy, cell, |_| ()).result().await;
    assert_eq!((result.verdict, result.reason), (verdict, reason), "{result:?}");
    assert!(
        result.message.contains(word),
        "{word} is not in {}",
        result.message
    );
    assert_eq!(
        result.copy.map(|copy| copy.sequence),
        Some(1),
        "an order is about a copy"
    );
    assert_eq!(result.recovery_seconds, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_changed_or_somebody_sealed_as_noise_fails_the_copy() {
    // Nothing of these is ever restored, so one cell does for all.
    let cell = cell(17);
    let copy = copy().await;
    let failed = async |embassy: &Embassy, reason, word| {
        judged(embassy, &cell, Verdict::Failed, reason, word).await;
    };

    // A flipped byte in the store, behind the back of the ledger.
    let embassy = Embassy::start().await;
    let flips = |number: u32, bytes: &Bytes| {
        let mut kept = bytes.to_vec();
        if number == 1 {
            kept[bytes.len() / 2] ^= 1;
        }
        Bytes::from(kept)
    };
    embassy.publish_with(&copy, 7, flips, |_| ()).await;
    failed(&embassy, Reason::CopyDamaged, "its SHA-256 is").await;

    // An object that is not there.
    let embassy = Embassy::start().await;
    embassy.publish(&copy, 7).await;
    lose(&embassy, "00000001");
    failed(&embassy, Reason::CopyDamaged, "00000001").await;

    // Noise for segments, signed by who may: for the custodian it is intact.
    let embassy = Embassy::start().await;
    let noise = Bytes::from(vec![0xa5; 100_000]);
    embassy.publish(&again(&copy, vec![noise]), 7).await;
    failed(&embassy, Reason::CopyDamaged, "breaks the format").await;

    // Noise for the key; a key for somebody else.
    let embassy = Embassy::start().await;
    embassy
        .publish_with(
            &copy,
            7,
            |_, bytes| bytes.clone(),
            |body| body.copy_key = "bm9pc2U=".into(),
        )
        .await;
    failed(&embassy, Reason::CopyNotOpened, "copyKey").await;
    let embassy = Embassy::start().await;
    let stranger = age_keygen();
    let foreign = |body: &mut dataembassy_ledger::entry::CopyBody| {
        let recipient = stranger
            .lines()
            .find_map(|line| line.strip_prefix("# public key: "))
            .unwrap();
        body.recipients = vec![recipient.parse().unwrap()];
        body.copy_key = copy
            .key
            .wrap(&dataembassy_archive::Recipients::parse(&body.recipients).unwrap())
            .unwrap();
    };
    embassy
        .publish_with(&copy, 7, |_, bytes| bytes.clone(), foreign)
        .await;
    failed(&embassy, Reason::CopyNotOpened, "none of the identities").await;
    // The key opens, and is not the one that the segments are sealed to.
    let embassy = Embassy::start().await;
    let mut other = again(&copy, copy.segments.clone());
    other.key = CopyKey::generate();
    embassy.publish(&other, 7).await;
    failed(&embassy, Reason::CopyDamaged, "the inventory breaks the format").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_expands_ten_thousand_fold_and_a_path_out_of_the_archive_end_at_the_reader() {
    let cell = cell(17);
    let copy = copy().await;
    let name: FileName = "9999.dat".parse().unwrap();
    let mut writer = SegmentWriter::new(&copy.key.recipient(), CompressionLevel::new(19).unwrap()).unwrap();
    let body = Bytes::from(vec![0; 1024 * 1024]);
    let mut plain = 0;
    for chunk in 1..=200 {
        let name = MemberName::part(name.clone(), 1, chunk).unwrap();
        plain += body.len();
        writer
            .add(&Member {
                name,
                body: body.clone(),
            })
            .unwrap();
    }
    let bomb = writer.finish(SegmentPosition::Last).unwrap().bytes;
    assert!(plain / bomb.len() > 10_000, "{plain} of {}", bomb.len());
    // What it expands to is never held: only the table of contents is looked for, and is not there.
    let embassy = Embassy::start().await;
    embassy.publish(&again(&copy, vec![bomb]), 7).await;
    judged(
        &embassy,
        &cell,
        Verdict::Failed,
        Reason::CopyDamaged,
        "it is not there",
    )
    .await;

    for path in ["../toc.dat", "/etc/passwd", "a/../../b", "toc.dat\n"] {
        let embassy = Embassy::start().await;
        let outside = seal_raw(&tar(path, b"root::0:0::/:/bin/sh\n"), &copy.key);
        embassy.publish(&again(&copy, vec![outside]), 7).await;
        judged(
            &embassy,
            &cell,
            Verdict::Failed,
            Reason::CopyDamaged,
            "breaks the format",
        )
        .await;
    }
}

/// A tar archive with one file of this name, as `tar` would never write it.
fn tar(name: &str, body: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\0");
    put(
        124,
        format!("{:011o}\x0000000000000\0        0", body.len()).as_bytes(),
    );
    put(257, b"ustar\x0000");
    put(329, b"0000000\x000000000\0");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(body);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

/// Compresses and encrypts with stock tools, which do not look at what it is.
fn seal_raw(plain: &[u8], key: &CopyKey) -> Bytes {
    let mut tools = Command::new("chroot")
        .arg(stock())
        .args(["/bin/sh", "-c", "zstd -q -c | age -r \"$1\"", "tools"])
        .arg(key.recipient().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    tools.stdin.take().unwrap().write_all(plain).unwrap();
    let made = tools.wait_with_output().unwrap();
    assert!(made.status.success() && !made.stdout.is_empty());
    made.stdout.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_lost_on_the_way_fails_the_copy_and_says_which() {
    let (embassy, cell) = (Embassy::start().await, cell(17));
    embassy.publish(&copy().await, 7).await;
    lose(&embassy, "00000002");
    let result = Drill::new(&embassy, &cell, |_| ()).result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Failed, Reason::CopyDamaged),
        "{result:?}"
    );
    assert!(result.message.contains("00000002"), "{}", result.message);
    assert!(!answer(&result, "contents").passed, "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_large_objects_that_differ_from_the_inventory_fail_the_copy_and_its_contents() {
    let database = Server::shared(17).database().await.unwrap();
    database.execute(COUNTED).await.unwrap();
    let from = source(database.server, &database.name);
    let embassy = Embassy::start().await;
    for (id, (making, words)) in (1..).zip(miscounted()) {
        let making = Making { copy: id, ..making };
        embassy.publish(&seal_with(&from, making).await, id).await;
        let cell = cell(17);
        let drill = Drill::new(&embassy, &cell, |config| {
            config.rto_seconds = Some(90);
            config.assertions = vec![equals("rows", "SELECT count(*) FROM t", "200")];
        });
        let result = drill.result().await;
        assert_eq!(
            (result.verdict, result.reason),
            (Verdict::Failed, Reason::CopyDamaged),
            "{words}: {result:?}"
        );
        assert_eq!(
            result.copy.as_ref().map(|copy| copy.sequence),
            Some(u64::from(id)),
            "{words}"
        );
        assert!(
            result.message.contains(words),
            "{words} is not in {}",
            result.message
        );
        // Nothing else is asked of what is not whole, and nobody says that it was recovered.
        let answers: Vec<_> = result
            .assertions
            .iter()
            .map(|one| (one.kind, one.passed))
            .collect();
        assert_eq!(answers, [(AssertionKind::Contents, false)], "{words}: {result:?}");
        assert!(
            answer(&result, "contents").found.contains(words),
            "{words}: {result:?}"
        );
        assert_eq!(result.recovery_seconds, None, "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_drill_lacks_says_nothing_of_the_copy() {
    let cell = cell(17);
    let inconclusive = async |drill: &Drill, reason, word: &str| {
        let result = drill.result().await;
        assert_eq!(
            (result.verdict, result.reason),
            (Verdict::Inconclusive, reason),
            "{result:?}"
        );
        assert!(
            result.message.contains(word),
            "{word} is not in {}",
            result.message
        );
        assert_eq!(drill.last_words().verdict, Verdict::Inconclusive);
    };
    let embassy = Embassy::start().await;
    inconclusive(
        &Drill::new(&embassy, &cell, |_| ()),
        Reason::NoSuchCopy,
        "ledger is empty",
    )
    .await;

    embassy.publish(&copy().await, 7).await;
    let no_age = Drill::new(&embassy, &cell, |_| ());
    no_age.write(files::IDENTITY, "-----BEGIN OPENSSH PRIVATE KEY-----");
    inconclusive(&no_age, Reason::SecretInvalid, "identity.txt").await;

    let never = Drill::new(&embassy, &cell, |config| config.deadline_seconds = 6);
    never.remove(files::IDENTITY);
    inconclusive(&never, Reason::SecretMissing, "identity.txt").await;

    let nonsense = Drill::new(&embassy, &cell, |_| ());
    nonsense.write(files::CONFIG_FILE, "{}");
    inconclusive(&nonsense, Reason::ConfigurationInvalid, "").await;

    let foreign = Drill::new(&embassy, &cell, |config| {
        config.signers[0].public_key = crate::restore::embassy::key(2).public_key().to_string();
    });
    inconclusive(&foreign, Reason::ForeignSignature, "").await;

    // The key is the right one, and began to sign later.
    let too_early = Drill::new(&embassy, &cell, |config| config.signers[0].from_sequence = 2);
    inconclusive(&too_early, Reason::ForeignSignature, "no authority there").await;

    let wrong_key = Drill::new(&embassy, &cell, |config| config.pick = Pick::Random);
    wrong_key.write(files::RETRIEVAL_SECRET_ACCESS_KEY, "wrong-secret-key");
    inconclusive(&wrong_key, Reason::StoreCredentialsRefused, "").await;

    // An identity that is one, and opens nothing: that the copy was sealed to somebody else looks just so.
    let stranger = Drill::new(&embassy, &cell, |_| ());
    stranger.write(files::IDENTITY, &age_keygen());
    let result = stranger.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Failed, Reason::CopyNotOpened),
        "{result:?}"
    );
    assert!(
        result.message.contains("either the identity"),
        "{}",
        result.message
    );
    assert!(Identities::parse(&embassy.identity).is_ok());
    assert_eq!(
        result.copy.unwrap().copy_id,
        CopyId::from_bytes([7; 16]).to_string()
    );
}
