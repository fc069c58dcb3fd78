//! `ssh-keygen` and this crate agree on keys and signatures.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dataembassy_ledger::entry::{Entry, SourceBody};
use dataembassy_ledger::signature::{self, SignatureError, SigningError};
use dataembassy_ledger::{Role, SigningKey};

use crate::{activations, sample, trust_sheets};

fn ssh_keygen(folder: &Path, arguments: &[&str], input: Option<&Path>) -> Output {
    let input = input.map_or_else(Stdio::null, |path| fs::File::open(path).unwrap().into());
    Command::new("ssh-keygen")
        .args(arguments)
        .current_dir(folder)
        .stdin(input)
        .output()
        .unwrap()
}

fn verify(folder: &Path, namespace: &str) -> bool {
    let arguments = [
        "-Y", "verify", "-f", "signers", "-I", "home", "-n", namespace, "-s", "line.sig",
    ];
    ssh_keygen(folder, &arguments, Some(&folder.join("line")))
        .status
        .success()
}

#[test]
fn ssh_keygen_verifies_an_entry_cut_at_its_first_line() {
    let folder = tempfile::tempdir().unwrap();
    let object = &sample::source_objects(1)[0];
    let end = object.bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(folder.path().join("line"), &object.bytes[..end]).unwrap();
    fs::write(folder.path().join("line.sig"), &object.bytes[end..]).unwrap();
    fs::write(
        folder.path().join("signers"),
        format!("home {}\n", sample::home_key().public_key()),
    )
    .unwrap();
    assert!(verify(folder.path(), "dataembassy-source-v1"));
    assert!(!verify(folder.path(), "dataembassy-custody-v1"));
    fs::write(folder.path().join("line"), &object.bytes[..end - 1]).unwrap();
    assert!(!verify(folder.path(), "dataembassy-source-v1"));
}

#[test]
fn ssh_keygen_verifies_a_trust_sheet_cut_before_its_signature() {
    let folder = tempfile::tempdir().unwrap();
    let printed = trust_sheets::printed(&trust_sheets::sheet());
    fs::write(folder.path().join("sheet"), printed).unwrap();
    let cut = "sed '/^-----BEGIN/,$d' sheet > line; sed -n '/^-----BEGIN/,$p' sheet > line.sig";
    let cut = Command::new("sh")
        .args(["-c", cut])
        .current_dir(folder.path())
        .status();
    assert!(cut.unwrap().success());
    fs::write(
        folder.path().join("signers"),
        format!("home {}\n", sample::custodian_key().public_key()),
    )
    .unwrap();
    assert!(verify(folder.path(), "dataembassy-store-v1"));
    assert!(!verify(folder.path(), "dataembassy-custody-v1"));
    let text = fs::read_to_string(folder.path().join("line")).unwrap();
    fs::write(
        folder.path().join("line"),
        text.replacen("source: none", "source: None", 1),
    )
    .unwrap();
    assert!(!verify(folder.path(), "dataembassy-store-v1"));
}

#[test]
fn ssh_keygen_and_we_approve_an_activation_alike() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let text = activations::statement().render().unwrap();
    fs::write(folder.path().join("line"), &text).unwrap();
    // Ours, checked by them.
    let ours = activations::warrant(&text, &[0]).approvals.remove(0);
    fs::write(folder.path().join("line.sig"), &ours).unwrap();
    fs::write(
        folder.path().join("signers"),
        format!("home {}\n", activations::key(0).public_key()),
    )
    .unwrap();
    assert!(verify(folder.path(), "dataembassy-activation-v1"));
    assert!(!verify(folder.path(), "dataembassy-custody-v1"));
    // Theirs, as the statement itself says that it is made.
    let path = folder.path().join("key");
    fs::write(&path, activations::key(1).to_openssh().unwrap().as_bytes()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(folder.path().join("line.sig")).unwrap();
    let command = text.lines().find(|line| line.starts_with("ssh-keygen ")).unwrap();
    let arguments = command.replace("YOUR-KEY", "key").replace("THIS-FILE", "line");
    let arguments: Vec<&str> = arguments.split(' ').skip(1).collect();
    assert!(ssh_keygen(folder.path(), &arguments, None).status.success());
    let theirs = fs::read_to_string(folder.path().join("line.sig")).unwrap();
    let judgement = activations::approvers(3, 2).judge(&text, &[ours, theirs]);
    assert_eq!(judgement.approved, ["approver 0", "approver 1"]);
    assert!(judgement.refused.is_empty(), "{judgement:?}");
}

#[test]
fn an_entry_signed_by_ssh_keygen_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let made = ssh_keygen(
        folder.path(),
        &["-q", "-t", "ed25519", "-N", "", "-C", "by hand", "-f", "key"],
        None,
    );
    assert!(made.status.success());
    let key = SigningKey::from_openssh(&fs::read_to_string(folder.path().join("key")).unwrap()).unwrap();
    let public = fs::read_to_string(folder.path().join("key.pub")).unwrap();
    assert_eq!(public.parse(), Ok(key.public_key()));

    let ours = sample::copy_entry(1, 1, sample::genesis(), 1).sign(&key).unwrap();
    let end = ours.bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(folder.path().join("line"), &ours.bytes[..end]).unwrap();
    let arguments = [
        "-q",
        "-Y",
        "sign",
        "-f",
        "key",
        "-n",
        "dataembassy-source-v1",
        "line",
    ];
    assert!(ssh_keygen(folder.path(), &arguments, None).status.success());
    let theirs = [
        &ours.bytes[..end],
        &fs::read(folder.path().join("line.sig")).unwrap(),
    ]
    .concat();
    // Ed25519 signs without chance: both programs make the same bytes.
    assert_eq!(theirs, ours.bytes);
    assert_eq!(
        Entry::<SourceBody>::verify(&theirs).unwrap().signer,
        key.public_key()
    );
}

#[test]
fn ssh_keygen_reads_a_key_we_made() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let key = SigningKey::from_seed(&[42; 32]);
    fs::write(&path, key.to_openssh().unwrap().as_bytes()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let output = ssh_keygen(folder.path(), &["-y", "-f", "key"], None);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim_end(),
        key.public_key().to_string()
    );
    let again = SigningKey::from_openssh(&key.to_openssh().unwrap()).unwrap();
    assert_eq!(again.public_key(), key.public_key());
}

#[test]
fn keys_that_cannot_be_used_say_why() {
    let folder = tempfile::tempdir().unwrap();
    ssh_keygen(
        folder.path(),
        &["-q", "-t", "ed25519", "-N", "secret", "-f", "locked"],
        None,
    );
    ssh_keygen(
        folder.path(),
        &["-q", "-t", "ecdsa", "-N", "", "-f", "ecdsa"],
        None,
    );
    let read = |name: &str| {
        SigningKey::from_openssh(&fs::read_to_string(folder.path().join(name)).unwrap()).unwrap_err()
    };
    assert_eq!(read("locked"), SigningError::EncryptedKey);
    assert!(read("ecdsa").to_string().contains("Ed25519"));
    assert_eq!(read("ecdsa.pub"), SigningError::UnreadableKey);
}

#[test]
fn a_signature_has_one_spelling() {
    let key = sample::home_key();
    let armored = key.sign(Role::Source, b"line\n").unwrap();
    assert_eq!(
        signature::verify(Role::Source, b"line\n", armored.as_bytes()),
        Ok(key.public_key())
    );
    for other in [
        armored.trim_end().to_owned(),
        format!("{armored}\n"),
        format!("\n{armored}"),
        armored.replace('\n', "\r\n"),
        armored.replacen("SIGNATURE-----\n", "SIGNATURE-----\n\n", 1),
    ] {
        assert!(
            signature::verify(Role::Source, b"line\n", other.as_bytes()).is_err(),
            "{other:?} must be refused"
        );
    }
}

/// No program of today makes such signatures; what is reserved for tomorrow must not be signed for today.
#[test]
fn a_signature_with_something_in_its_reserved_field_is_refused() {
    const RESERVED: &[u8] = b"\x00\x00\x00\x00";
    const SHA512: &[u8] = b"\x00\x00\x00\x06sha512";
    let message = b"a line\n";
    let armored = sample::home_key().sign(Role::Source, message).unwrap();
    let body: String = armored
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let plain = STANDARD.decode(body).unwrap();
    let field = [RESERVED, SHA512].concat();
    let place = plain
        .windows(field.len())
        .position(|bytes| bytes == field)
        .unwrap();
    let (before, after) = (&plain[..place], &plain[place + RESERVED.len()..]);
    let reserved = [before, b"\x00\x00\x00\x01x", after].concat();
    let lines: Vec<String> = STANDARD
        .encode(reserved)
        .as_bytes()
        .chunks(70)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    let armored = format!(
        "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
        lines.join("\n")
    );
    let error = signature::verify(Role::Source, message, armored.as_bytes()).unwrap_err();
    assert!(matches!(error, SignatureError::UnsupportedAlgorithm), "{error}");
}
