//! Sealed objects at three depths: the input is the whole object, the content of its age file, or the content of its zstd frame.

use std::io::Write as _;
use std::sync::LazyLock;

use dataembassy_archive::CopyKey;

const IDENTITY: &str = include_str!("../../crates/archive/tests/vectors/copy.key");

/// The key of the golden vectors.
pub static KEY: LazyLock<CopyKey> = LazyLock::new(|| IDENTITY.parse().expect("the vectors' key is a key"));
static RECIPIENT: LazyLock<age::x25519::Recipient> =
    LazyLock::new(|| KEY.recipient().to_string().parse().expect("the vectors' key has a public half"));

/// The objects that an input stands for.
pub fn objects(input: &[u8]) -> [Vec<u8>; 3] {
    [input.to_vec(), seal(input), seal(&frame(input))]
}

fn seal(content: &[u8]) -> Vec<u8> {
    age::encrypt(&*RECIPIENT, content).expect("sealing works")
}

fn frame(plain: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("zstd starts");
    encoder.include_checksum(true).expect("zstd knows checksums");
    encoder.write_all(plain).expect("zstd writes");
    encoder.finish().expect("zstd ends")
}
