//! The syntax of an age recipient: who will be able to open a copy.
//!
//! The check is the whole of BIP 173's, so a mistyped key is found before anything is sealed to nobody. It needs no cryptography,
//! which keeps age out of the operator.

use crate::Reason;

/// The characters of an X25519 recipient: `age1`, 52 data characters, 6 of checksum.
pub const X25519_LENGTH: usize = 62;

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];

/// Why a text is no recipient. The text itself is never repeated: it may be a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecipient {
    /// A private key was written where the public one belongs.
    #[error(
        "a private key stands where an age public key belongs: it is known to this cluster now, so make a new key pair and \
         write its public half, which begins with age1"
    )]
    PrivateKey,
    /// A kind of recipient that copies cannot be sealed to.
    #[error(
        "only X25519 age keys are supported, 62 characters that begin with age1, as age-keygen prints them"
    )]
    UnsupportedKind,
    /// Mistyped or cut off.
    #[error("it is not an age public key: {0}; compare it with what age-keygen -y prints")]
    Malformed(&'static str),
}

impl InvalidRecipient {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        Reason::InvalidRecipient
    }
}

/// Checks that `text` is an X25519 age recipient.
pub fn check(text: &str) -> Result<(), InvalidRecipient> {
    if text.to_ascii_uppercase().contains("AGE-SECRET-KEY-") {
        return Err(InvalidRecipient::PrivateKey);
    }
    let Some(data) = text.strip_prefix("age1") else {
        return Err(InvalidRecipient::Malformed(
            "it does not begin with age1 in lower case",
        ));
    };
    // `1` separates prefix and data and is no data character: another one means another kind, such as age1yubikey1… or age1pq1….
    if data.contains('1') {
        return Err(InvalidRecipient::UnsupportedKind);
    }
    if text.len() != X25519_LENGTH {
        return Err(InvalidRecipient::Malformed("it does not have 62 characters"));
    }
    let mut checksum = 1;
    for value in prefix_values(b"age") {
        checksum = absorb(checksum, value);
    }
    let mut last_of_key = 0;
    for (position, byte) in data.bytes().enumerate() {
        let Some(value) = ALPHABET.iter().position(|letter| *letter == byte) else {
            return Err(InvalidRecipient::Malformed(
                "it holds a character that such keys never hold",
            ));
        };
        let value = u8::try_from(value).unwrap_or_default();
        checksum = absorb(checksum, value);
        if position == 51 {
            last_of_key = value;
        }
    }
    if checksum != 1 {
        return Err(InvalidRecipient::Malformed(
            "its checksum is wrong, so a character was mistyped",
        ));
    }
    // 52 characters of five bits hold 32 bytes and four bits of padding, which are zero.
    if last_of_key & 0b1111 != 0 {
        return Err(InvalidRecipient::Malformed("its padding is not zero"));
    }
    Ok(())
}

fn prefix_values(prefix: &[u8]) -> impl Iterator<Item = u8> {
    let high = prefix.iter().map(|byte| byte >> 5);
    let low = prefix.iter().map(|byte| byte & 31);
    high.chain([0]).chain(low)
}

fn absorb(checksum: u32, value: u8) -> u32 {
    let top = checksum >> 25;
    let shifted = ((checksum & 0x01ff_ffff) << 5) ^ u32::from(value);
    GENERATOR
        .iter()
        .enumerate()
        .filter(|(bit, _)| (top >> bit) & 1 == 1)
        .fold(shifted, |sum, (_, generator)| sum ^ generator)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

    #[test]
    fn a_public_key_is_taken() {
        assert_eq!(check(GOOD), Ok(()));
    }

    #[test]
    fn every_single_mistyped_character_is_found() {
        for position in 4..GOOD.len() {
            let mut typed = GOOD.as_bytes().to_vec();
            typed[position] = if typed[position] == b'q' { b'p' } else { b'q' };
            let typed = String::from_utf8(typed).unwrap();
            assert!(check(&typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn a_private_key_is_refused_and_never_repeated() {
        let private = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
        let error = check(private).unwrap_err();
        assert_eq!(error, InvalidRecipient::PrivateKey);
        assert!(!error.to_string().contains("GFPYY"));
    }

    #[test]
    fn other_kinds_say_what_is_supported() {
        assert_eq!(
            check("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t"),
            Err(InvalidRecipient::UnsupportedKind)
        );
        assert_eq!(check("age1pq1qqqq"), Err(InvalidRecipient::UnsupportedKind));
    }

    #[test]
    fn what_is_cut_off_or_upper_case_is_refused() {
        for text in [
            "",
            "age1",
            &GOOD[..61],
            &GOOD.to_ascii_uppercase(),
            "ssh-ed25519 AAAA",
            &format!("{GOOD} "),
        ] {
            assert!(check(text).is_err(), "{text:?}");
        }
    }
}
