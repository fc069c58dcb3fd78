//! Bodies that a store may take apart: a form, an archive, chunks of two kinds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dataembassy_ledger::value::Sha256Digest;

use super::objects::fresh;
use crate::store::check::ground::{FORGED, Request, Scene};
use crate::store::check::signature::Signing;

pub(super) fn form(scene: &Scene<'_>) -> Request {
    const BOUNDARY: &str = "boundary-of-a-store-check";
    let ground = scene.ground;
    let key = scene.victim.key.to_string();
    let fields = ground.deposit.form(&ground.bucket, &key, jiff::Timestamp::now());
    let fields = fields.iter().map(|(name, value)| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    });
    let file = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let body = fields.collect::<String>() + &file;
    let body = [
        body.as_bytes(),
        FORGED,
        format!("\r\n--{BOUNDARY}--\r\n").as_bytes(),
    ]
    .concat();
    Request::new("POST", ground.bucket_path())
        .header(
            "content-type",
            format!("multipart/form-data; boundary={BOUNDARY}"),
        )
        .body(body)
        .signed(Signing::Nobody)
}

/// A tar whose only member says in an extended header which version it replaces.
pub(super) fn unpack(scene: &Scene<'_>) -> Request {
    let key = scene.victim.key.to_string();
    let (folder, name) = key.rsplit_once('/').unwrap_or(("", &key));
    Request::new("PUT", scene.ground.path(&scene.fresh))
        .header("x-amz-meta-snowball-auto-extract", "true")
        .header("x-amz-meta-minio-snowball-prefix", folder)
        .body(archive(name, &scene.victim.version))
}

fn archive(name: &str, version: &str) -> Vec<u8> {
    let record = |length: usize| format!("{length} minio.versionId={version}\n");
    // The record's length counts its own digits: two of them.
    let record = record(record(10).len());
    let mut bytes = Vec::new();
    for (kind, name, data) in [(b'x', "PaxHeaders/x", record.as_bytes()), (b'0', name, FORGED)] {
        bytes.extend_from_slice(&tar_header(kind, name, data.len()));
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn tar_header(kind: u8, name: &str, size: usize) -> [u8; 512] {
    let mut header = [0; 512];
    let mut write = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    write(0, name);
    write(100, "0000644\0");
    write(108, "0000000\0");
    write(116, "0000000\0");
    write(124, &format!("{size:011o}\0"));
    write(136, "00000000000\0");
    write(148, "        ");
    write(156, &char::from(kind).to_string());
    write(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

/// The body in one chunk of HTTP's own.
pub(super) fn chunked(scene: &Scene<'_>) -> Request {
    let body = [
        format!("{:x}\r\n", FORGED.len()).as_bytes(),
        FORGED,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    fresh(scene)
        .header("transfer-encoding", "chunked")
        .body(body)
        .signed(Signing::Claimed(Sha256Digest::of(FORGED).to_string()))
}

pub(super) fn unsigned_trailer(scene: &Scene<'_>) -> Request {
    let digest = Sha256Digest::of(FORGED);
    let checksum = STANDARD.encode(digest.as_bytes());
    let body = [
        format!("{:x}\r\n", FORGED.len()).as_bytes(),
        FORGED,
        format!("\r\n0\r\nx-amz-checksum-sha256:{checksum}\r\n\r\n").as_bytes(),
    ]
    .concat();
    fresh(scene)
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", FORGED.len().to_string())
        .header("x-amz-trailer", "x-amz-checksum-sha256")
        .body(body)
        .signed(Signing::Claimed("STREAMING-UNSIGNED-PAYLOAD-TRAILER".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stock_tar_reads_the_archive_that_names_a_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.tar");
        std::fs::write(&path, archive("0001-000000000001", "3f0c")).unwrap();
        let listed = std::process::Command::new("tar")
            .args(["--warning=no-unknown-keyword", "-xOf"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            listed.status.success(),
            "{}",
            String::from_utf8_lossy(&listed.stderr)
        );
        assert_eq!(listed.stdout, FORGED);
    }
}
