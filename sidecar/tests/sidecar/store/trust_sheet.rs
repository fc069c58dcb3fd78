//! Trust sheets as a person prints and checks them: what is on them is what the store holds, and what cannot be vouched for is not printed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::activation::approvers;
use crate::bench::custodian::{Custodian, CustodianBench, custodian_key, home, on_disk};
use crate::bench::trust_sheet::{Ended, config_dir, print, trust_sheet, verify};
use crate::bench::{REGISTRY, sequence};
use dataembassy_contract::custodian::RegistryReport;
use dataembassy_ledger::chain::SignerRange;
use dataembassy_ledger::{SigningKey, TrustSheet};
use dataembassy_testkit::fabricated::Shape;
use dataembassy_testkit::minio::{BUCKET, StoreUser};

/// A registry whose copies are proven, and a custodian's folder whose operator remembers the heads.
struct Desk {
    bench: CustodianBench,
    report: RegistryReport,
}

impl Desk {
    async fn new(copies: usize) -> Self {
        let mut bench = CustodianBench::start().await;
        bench.copies(copies, &Shape::default()).await;
        let custodian = bench.custodian();
        let report = proven(&custodian, copies as u64, 1).await;
        custodian.kill();
        bench.remember(&report);
        Self { bench, report }
    }

    fn folder(&self) -> &Path {
        self.bench.folder.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// A sheet, as a file.
    async fn printed(&self) -> PathBuf {
        let path = self.path("sheet");
        std::fs::write(&path, print(self.folder()).await.printed()).unwrap();
        path
    }

    async fn verify(&self, sheet: &Path) -> Ended {
        verify(sheet, custodian_key().public_key(), self.folder()).await
    }

    fn entry_on_disk(&self, number: u64) -> PathBuf {
        let key = self.bench.ledger.entry_key(sequence(number));
        on_disk(&self.bench.minio, &key.to_string())
    }
}

/// Waits until so many copies are proven, and the custody chain is so long.
async fn proven(custodian: &Custodian, copies: u64, entries: u64) -> RegistryReport {
    custodian
        .until_registry("a proof", |report| {
            let custody = report.custody_head.as_ref().map_or(0, |head| head.sequence);
            u64::from(report.verification.verified) == copies && custody >= entries && !report.unwitnessed
        })
        .await
}

#[tokio::test]
async fn a_sheet_names_every_head_and_whom_to_believe() {
    let desk = Desk::new(2).await;
    let read = print(desk.folder()).await.sheet();
    let (sheet, one) = (&read.sheet, &read.sheet.registries[0]);
    assert_eq!(read.signer, custodian_key().public_key());
    assert_eq!(sheet.custodians, [custodian_key().public_key()]);
    assert_eq!(
        (sheet.store_id, sheet.document),
        (desk.bench.origin.store_id, desk.bench.origin.genesis)
    );
    assert_eq!(
        (
            sheet.embassy.as_str(),
            sheet.endpoint.as_str(),
            sheet.bucket.as_str()
        ),
        ("luxembourg", desk.bench.proxy.endpoint().as_str(), BUCKET)
    );
    assert_eq!(one.registry.as_str(), REGISTRY);
    assert_eq!(one.signers, [SignerRange::always(home().public_key())]);
    let (source, custody) = (one.source_head.unwrap(), one.custody_head.unwrap());
    let (known_source, known_custody) = (&desk.report.source_head, &desk.report.custody_head);
    assert_eq!(
        (
            source.term.get(),
            source.entry.sequence.get(),
            source.entry.digest.to_string()
        ),
        (1, 2, known_source.as_ref().unwrap().digest.clone())
    );
    assert_eq!(custody.digest.to_string(), known_custody.as_ref().unwrap().digest);

    let sheet = desk.printed().await;
    let said = desk.verify(&sheet).await.printed();
    for words in [
        "as you said",
        "last source entry 2, last custody entry 1",
        "the store holds them",
    ] {
        assert!(said.contains(words), "{words} is not in: {said}");
    }
    let alone = trust_sheet(&[format!("--verify={}", sheet.display())])
        .await
        .printed();
    assert!(
        alone.contains("letter by letter") && alone.contains("no store was named"),
        "{alone}"
    );
    // Later entries do not make an older sheet wrong.
    let mut desk = desk;
    desk.bench.copies(2, &Shape::default()).await;
    desk.bench.timing.push(("--prove-every", "1s"));
    let custodian = desk.bench.custodian();
    proven(&custodian, 4, 2).await;
    let said = desk.verify(&sheet).await.printed();
    assert!(
        said.contains("ends at source entry 4 and custody entry"),
        "{said}"
    );
}

#[tokio::test]
async fn without_a_custodians_folder_flags_say_the_same() {
    let mut desk = Desk::new(1).await;
    desk.bench.config.approvers = Some(approvers());
    desk.bench.write_config();
    let keys = desk
        .bench
        .minio
        .add_user(BUCKET, &StoreUser::Custody)
        .await
        .unwrap();
    desk.bench.write("accessKeyId", &keys.access_key);
    desk.bench.write("secretAccessKey", &keys.secret_key);
    desk.bench
        .write("ca.crt", &desk.bench.minio.authority().certificate());
    desk.bench.write("key", &custodian_key().to_openssh().unwrap());
    let file = |flag: &str, name: &str| format!("--{flag}={}", desk.path(name).display());
    let mut arguments = vec![
        format!("--endpoint={}", desk.bench.proxy.endpoint()),
        format!("--bucket={BUCKET}"),
        format!("--credentials={}", desk.folder().display()),
        file("ca-bundle", "ca.crt"),
        file("signing-key", "key"),
        "--embassy=luxembourg".to_owned(),
        format!("--signer={REGISTRY}={}", home().public_key()),
    ];
    for one in approvers().approvers {
        arguments.push(format!("--approver={}={}", one.name, one.public_key));
    }
    // Whoever names approvers says how many of them must sign.
    trust_sheet(&arguments).await.refused(&["--approvals"]);
    arguments.push("--approvals=2".to_owned());
    let mut ours = trust_sheet(&arguments).await.sheet().sheet;
    let theirs = print(desk.folder()).await.sheet().sheet;
    assert_eq!(theirs.approvers, Some(approvers().checked().unwrap()));
    let said = desk.verify(&desk.printed().await).await.printed();
    assert!(
        said.contains("2 of these must sign an activation: anna, bertil, chiara"),
        "{said}"
    );
    ours.printed_at = theirs.printed_at;
    assert_eq!(ours, theirs);
    // A second custodian, and a signer that may not sign what is there.
    let second = SigningKey::from_seed(&[8; 32]).public_key();
    arguments.push(format!("--custodian-key={second}"));
    let ours = trust_sheet(&arguments).await.sheet().sheet;
    assert_eq!(ours.custodians, [custodian_key().public_key(), second]);
    arguments[6].push_str(" 2-");
    trust_sheet(&arguments)
        .await
        .refused(&["registry population cannot be vouched for"]);
    for (left_out, words) in [(5, "--embassy"), (4, "--signing-key"), (0, "--config-dir")] {
        arguments.remove(left_out);
        trust_sheet(&arguments).await.refused(&[words]);
    }
}

#[tokio::test]
async fn a_sheet_is_written_to_a_new_file_and_never_over_an_older_one() {
    let desk = Desk::new(1).await;
    let path = desk.path("on-paper");
    let arguments = [
        config_dir(desk.folder()),
        format!("--registry={REGISTRY}"),
        format!("--out={}", path.display()),
    ];
    let said = trust_sheet(&arguments).await.printed();
    assert!(said.contains("trust sheet of 1 registries written to"), "{said}");
    let before = std::fs::read(&path).unwrap();
    TrustSheet::verify(&before).unwrap();
    trust_sheet(&arguments).await.refused(&["on-paper", "a new file"]);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let stranger = [config_dir(desk.folder()), "--registry=stranger".to_owned()];
    trust_sheet(&stranger)
        .await
        .refused(&["registry stranger is not known here"]);
}

#[tokio::test]
async fn a_ledger_that_nobody_vouches_for_is_not_printed() {
    let mut desk = Desk::new(1).await;
    let registry = &mut desk.bench.config.registries[0];
    (registry.source_floor, registry.custody_floor) = (None, None);
    desk.bench.write_config();
    print(desk.folder()).await.refused(&[
        "nobody has said where the ledger of registry population stood",
        "confirmedHead",
    ]);
    // A custodian whose key nobody trusts has no say either.
    desk.bench.config.custodian_keys[0].public_key = SigningKey::from_seed(&[8; 32]).public_key().to_string();
    desk.bench.write_config();
    print(desk.folder()).await.refused(&["custodianKeys"]);
}

#[tokio::test]
async fn a_chain_with_a_gap_a_fork_or_a_wrong_signature_is_not_printed() {
    let mut desk = Desk::new(2).await;
    let refuses = async |desk: &Desk, words: &[&str]| {
        let words = [&["no trust sheet is printed", "population"][..], words].concat();
        print(desk.folder()).await.refused(&words);
    };
    let far = desk.bench.ledger.entry_key(sequence(9));
    desk.bench.depositor().await.put(&far, b"squatted").await.unwrap();
    refuses(&desk, &["is missing, although", "000000000009"]).await;
    std::fs::remove_dir_all(on_disk(&desk.bench.minio, &far.to_string())).unwrap();
    print(desk.folder()).await.sheet();

    // Two entries for one place, both by home.
    let mut twin = desk.bench.ledger.clone();
    let mut depositor = desk.bench.depositor().await;
    let (body, _) = twin.objects(&mut depositor, &Shape::default()).await.unwrap();
    drop(depositor);
    desk.bench.copies(1, &Shape::default()).await;
    let third = desk.bench.ledger.entry_key(sequence(3));
    let rival = twin.next_entry(body.clone()).unwrap().sign(&home()).unwrap();
    let mut depositor = desk.bench.depositor().await;
    depositor.put(&third, &rival.bytes).await.unwrap();
    drop(depositor);
    refuses(&desk, &["has 2 versions", "--registry"]).await;
    std::fs::remove_dir_all(desk.entry_on_disk(3)).unwrap();
    print(desk.folder()).await.sheet();

    let foreign = twin.next_entry(body).unwrap().sign(&custodian_key()).unwrap();
    let changed = String::from_utf8(rival.bytes)
        .unwrap()
        .replacen("copyId", "copyID", 1);
    for (bytes, words) in [
        (foreign.bytes, "has no authority there"),
        (changed.into_bytes(), "is wrongly signed"),
    ] {
        let mut depositor = desk.bench.depositor().await;
        depositor.put(&third, &bytes).await.unwrap();
        drop(depositor);
        refuses(&desk, &[words]).await;
        std::fs::remove_dir_all(desk.entry_on_disk(3)).unwrap();
    }
}

#[tokio::test]
async fn a_store_that_was_set_back_behind_the_sheet_is_told_with_the_entry_that_is_missing() {
    let mut desk = Desk::new(2).await;
    let registry = on_disk(&desk.bench.minio, &format!("registries/{REGISTRY}"));
    let older = desk.path("older");
    let copy = |from: &Path, to: &Path| {
        let copied = Command::new("cp").arg("-a").args([from, to]).status();
        assert!(copied.unwrap().success());
    };
    copy(&registry, &older);
    desk.bench.copies(1, &Shape::default()).await;
    desk.bench.timing.push(("--prove-every", "1s"));
    let custodian = desk.bench.custodian();
    let report = proven(&custodian, 3, 2).await;
    custodian.kill();
    desk.bench.remember(&report);
    let sheet = desk.printed().await;
    desk.verify(&sheet).await.printed();

    std::fs::remove_dir_all(&registry).unwrap();
    copy(&older, &registry);
    let digest = &report.source_head.as_ref().unwrap().digest;
    let missing =
        format!("ROLLED BACK: source entry 3 with SHA-256 {digest} is not there, and the chain ends at 2");
    desk.verify(&sheet)
        .await
        .refused(&[&missing, "1 of 1 registries", "Delete nothing"]);
    // No resources are made of what the store contradicts, and no new sheet is printed.
    let custodies = [
        format!("--verify={}", sheet.display()),
        format!("--custodian-key={}", custodian_key().public_key()),
        config_dir(desk.folder()),
        "--custodies".to_owned(),
    ];
    let printed = trust_sheet(&custodies).await.refused(&["ROLLED BACK"]);
    assert!(!printed.contains("kind: RegistryCustody"), "{printed}");
    print(desk.folder()).await.refused(&["rolled back"]);
}

#[tokio::test]
async fn a_lost_custody_entry_and_another_store_are_told() {
    let desk = Desk::new(1).await;
    let sheet = desk.printed().await;
    let custody = on_disk(&desk.bench.minio, &format!("registries/{REGISTRY}/custody"));
    std::fs::rename(&custody, desk.path("aside")).unwrap();
    desk.verify(&sheet)
        .await
        .refused(&["ROLLED BACK: custody entry 1", "and the chain is empty"]);
    std::fs::rename(desk.path("aside"), &custody).unwrap();
    desk.verify(&sheet).await.printed();
    let other = Desk::new(1).await;
    verify(&sheet, custodian_key().public_key(), other.folder())
        .await
        .refused(&["this is another store than the trust sheet's"]);
}

#[tokio::test]
async fn a_sheet_that_was_mistyped_changed_or_signed_by_another_is_refused() {
    let desk = Desk::new(1).await;
    let sheet = desk.printed().await;
    let text = std::fs::read_to_string(&sheet).unwrap();
    let write = |text: &str| {
        let path = desk.path("typed");
        std::fs::write(&path, text).unwrap();
        path
    };
    let line = 1 + text
        .lines()
        .position(|line| line.starts_with("custody: "))
        .unwrap();
    let typed = write(&text.replacen("custody: 0", "custody: O", 1));
    desk.verify(&typed)
        .await
        .refused(&[&format!("line {line}"), "compare this line with the paper"]);
    let typed = write(&text.replacen("embassy: luxembourg", "embassy: luxemburg", 1));
    desk.verify(&typed).await.refused(&["is not what was signed"]);
    verify(&sheet, home().public_key(), desk.folder())
        .await
        .refused(&["signed by", "do not believe it"]);
}

/// The sheet of the golden vectors.
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/ledger/tests/vectors/sheet")
}

#[tokio::test]
async fn an_empty_embassy_starts_from_the_resources_that_a_sheet_gives() {
    let key = SigningKey::from_seed(&[2; 32]).public_key();
    let sheet = format!("--verify={}", golden().display());
    let arguments = [sheet.clone(), "--custodies".to_owned()];
    // Whom to believe is not for the sheet to say.
    trust_sheet(&arguments).await.refused(&["--custodian-key"]);
    let arguments = [
        sheet,
        "--custodies".to_owned(),
        format!("--custodian-key={key}"),
        "--rpo=30m".to_owned(),
    ];
    let printed = trust_sheet(&arguments).await.printed();
    assert_eq!(printed.matches("kind: RegistryCustody").count(), 2, "{printed}");
    let one = [&arguments[..], &["--registry=population".to_owned()]].concat();
    let printed = trust_sheet(&one).await.printed();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/empty-embassy/population.yaml");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(sample.parent().unwrap()).unwrap();
        std::fs::write(&sample, &printed).unwrap();
    }
    let committed = std::fs::read_to_string(&sample).unwrap_or_default();
    assert!(
        committed == printed,
        "docs/samples/empty-embassy/population.yaml has drifted: run this test with UPDATE_GENERATED=1"
    );
}
