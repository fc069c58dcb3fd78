//! Trust sheets: as they are, and as texts that the target itself signs, so that what is behind the signature is reached. Whatever is read
//! prints the same.
#![no_main]

use std::sync::LazyLock;

use dataembassy_ledger::{Role, SigningKey, TrustSheet};
use libfuzzer_sys::fuzz_target;

/// The custodian's key of the vectors.
static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[2; 32]));

fn verify(sheet: &[u8]) {
    let Ok(read) = TrustSheet::verify(sheet) else { return };
    let printed = read.sheet.to_string();
    assert!(sheet.starts_with(printed.as_bytes()), "it prints otherwise than it was read");
    if read.signer == KEY.public_key() {
        let signed = read.sheet.sign(&KEY).expect("what was read can be printed");
        assert_eq!(signed.as_bytes(), sheet);
    }
}

fuzz_target!(|bytes: &[u8]| {
    verify(bytes);
    // Vectors come with their signatures, which are cut off here.
    let marker = b"-----BEGIN";
    let end = bytes.windows(marker.len()).position(|window| window == marker);
    let text = &bytes[..end.unwrap_or(bytes.len())];
    let signature = KEY.sign(Role::Store, text).expect("the key signs");
    verify(&[text, signature.as_bytes()].concat());
});
