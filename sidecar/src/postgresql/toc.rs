//! The table of contents that `pg_dump` writes (`toc.dat` of the directory format, archive versions 1.14 to 1.16).
//!
//! Entries are chosen by their dump ids from here, never by matching words in a listing. Names and statements are
//! bytes in the archive's own encoding.

use std::io::{self, Read};

use dataembassy_ledger::Sha256Digest;

/// The longest text an entry may hold: far above any definition, far below what would exhaust a small pod.
const MAX_TEXT_BYTES: u64 = 64 * 1024 * 1024;
const MAX_ENTRIES: usize = 16_000_000;
const DIRECTORY_FORMAT: u8 = 3;
const NULL_LENGTH: i64 = -1;

/// Why a table of contents cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TocError {
    /// The file cannot be read, or ends too early.
    #[error("toc.dat cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It does not begin like an archive.
    #[error("toc.dat is no pg_dump archive")]
    NoArchive,
    /// It is of another version or format.
    #[error(
        "toc.dat has archive version {0}.{1} in format {2}; known are 1.14 to 1.16 in directory format (3)"
    )]
    UnknownVersion(u8, u8, u8),
    /// A field makes no sense.
    #[error("toc.dat is damaged: {0}")]
    Damaged(&'static str),
}

/// A parsed table of contents.
#[derive(Clone, Debug)]
pub struct Toc {
    /// The server's version as `pg_dump` saw it.
    pub server_version: String,
    /// The version of `pg_dump`.
    pub program_version: String,
    /// Encoding of all names and data in the archive.
    pub encoding: String,
    /// All entries, in their order.
    pub entries: Vec<TocEntry>,
    /// What the definitions are, whatever their order and numbers: the same for two dumps of the same schema by the same version of `pg_dump`.
    ///
    /// SHA-256 over the SHA-256 of each definition, 32 bytes each, ascending. That of one is over its kind, its schema, its name and its statement,
    /// each as its length (8 bytes, most significant first) and its bytes; an absent one as an empty one. Left out are entries without a statement,
    /// what is data (`TABLE DATA`, `SEQUENCE SET`, `BLOB`, `BLOBS`, `BLOB METADATA`), privileges (`ACL`, `DEFAULT ACL`), what describes the
    /// archive or its database (`ENCODING`, `STDSTRINGS`, `SEARCHPATH`, `DATABASE`, `DATABASE PROPERTIES`), and comments and labels of the database
    /// and of large objects.
    pub schema_digest: Sha256Digest,
}

/// Kinds of entries that are no definitions.
const NO_DEFINITIONS: [&str; 12] = [
    "TABLE DATA",
    "SEQUENCE SET",
    "BLOB",
    "BLOBS",
    "BLOB METADATA",
    "ACL",
    "DEFAULT ACL",
    "ENCODING",
    "STDSTRINGS",
    "SEARCHPATH",
    "DATABASE",
    "DATABASE PROPERTIES",
];

/// One entry.
#[derive(Clone, Debug)]
pub struct TocEntry {
    /// Its number: what `pg_restore --use-list` goes by.
    pub dump_id: u32,
    /// Whether data of its own is in the archive.
    pub has_data: bool,
    /// OID of the object's row in its catalog; for `TABLE DATA` that of the table.
    pub oid: u32,
    /// The object's name.
    pub tag: Vec<u8>,
    /// What it is, such as `TABLE DATA`.
    pub description: String,
    /// When it is restored.
    pub section: Section,
    /// The statement that loads its data.
    pub copy_statement: Option<Vec<u8>>,
    /// The schema.
    pub namespace: Option<Vec<u8>>,
    /// The owner.
    pub owner: Option<Vec<u8>>,
    /// Dump ids of the entries that must come before.
    pub dependencies: Vec<u32>,
    /// The file of its data.
    pub file: Option<String>,
    /// For `SEQUENCE SET`, `EXTENSION` and `POLICY`: the statement that makes it so. For `TABLE DATA`: a remark where
    /// its rows are loaded through the partition root.
    pub definition: Option<Vec<u8>>,
    /// Whether it is a constraint that was not validated at the source.
    pub not_valid: bool,
}

/// When an entry is restored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Section {
    /// Comments and the like.
    None,
    /// Before data.
    PreData,
    /// Data.
    Data,
    /// After data.
    PostData,
}

impl Toc {
    /// Reads a `toc.dat` to its last entry.
    pub fn read(source: impl Read) -> Result<Self, TocError> {
        Reader {
            source,
            integer_bytes: 0,
            minor: 0,
            definitions: Vec::new(),
        }
        .toc()
    }
}

struct Reader<R> {
    source: R,
    integer_bytes: usize,
    minor: u8,
    /// The digest of each definition.
    definitions: Vec<[u8; 32]>,
}

impl<R: Read> Reader<R> {
    fn toc(mut self) -> Result<Toc, TocError> {
        let mut magic = [0; 5];
        self.source.read_exact(&mut magic)?;
        if &magic != b"PGDMP" {
            return Err(TocError::NoArchive);
        }
        let [major, minor, _revision, integer_bytes, _offset_bytes, format] = self.array()?;
        if major != 1 || !(14..=16).contains(&minor) || format != DIRECTORY_FORMAT {
            return Err(TocError::UnknownVersion(major, minor, format));
        }
        if !(1..=8).contains(&integer_bytes) {
            return Err(TocError::Damaged("size of integers"));
        }
        self.integer_bytes = usize::from(integer_bytes);
        self.minor = minor;
        // Compression: a level until 1.14, an algorithm since 1.15.
        if minor >= 15 {
            self.array::<1>()?;
        } else {
            self.integer()?;
        }
        // Date and time of the dump, in seven numbers.
        for _ in 0..7 {
            self.integer()?;
        }
        let _database = self.text()?;
        let server_version = self.words()?;
        let program_version = self.words()?;
        let count = usize::try_from(self.integer()?)
            .ok()
            .filter(|count| *count <= MAX_ENTRIES);
        let count = count.ok_or(TocError::Damaged("number of entries"))?;
        let mut encoding = None;
        let mut entries = Vec::with_capacity(count.min(65_536));
        for _ in 0..count {
            let entry = self.entry(&mut encoding)?;
            entries.push(entry);
        }
        let encoding = encoding.ok_or(TocError::Damaged("no encoding"))?;
        self.definitions.sort_unstable();
        Ok(Toc {
            server_version,
            program_version,
            encoding,
            entries,
            schema_digest: Sha256Digest::of(&self.definitions.concat()),
        })
    }

    fn entry(&mut self, encoding: &mut Option<String>) -> Result<TocEntry, TocError> {
        let dump_id = u32::try_from(self.integer()?).map_err(|_| TocError::Damaged("dump id"))?;
        let has_data = self.integer()? != 0;
        let _catalog = self.text()?;
        let oid = self.number()?;
        let tag = self.text()?.unwrap_or_default();
        let description = self.words()?;
        let section = match self.integer()? {
            1 => Section::None,
            2 => Section::PreData,
            3 => Section::Data,
            4 => Section::PostData,
            _ => return Err(TocError::Damaged("section")),
        };
        let definition = self.text()?;
        let _drop_statement = self.text()?;
        let copy_statement = self.text()?;
        let namespace = self.text()?;
        let _tablespace = self.text()?;
        let _access_method = self.text()?;
        if self.minor >= 16 {
            let _relation_kind = self.integer()?;
        }
        let owner = self.text()?;
        let _with_oids = self.text()?;
        let mut dependencies = Vec::new();
        while let Some(dependency) = self.text()? {
            dependencies.push(parse_number(&dependency)?);
        }
        let file = match self.text()? {
            None => None,
            Some(name) if name.is_empty() => None,
            Some(name) => Some(String::from_utf8(name).map_err(|_| TocError::Damaged("file name"))?),
        };
        if description == "ENCODING" {
            *encoding = definition.as_deref().and_then(encoding_of);
        }
        if let Some(definition) = &definition
            && !definition.is_empty()
            && is_definition(&description, &tag)
        {
            let schema = namespace.as_deref().unwrap_or_default();
            let parts = [description.as_bytes(), schema, &tag, definition];
            self.definitions.push(*digest_of(parts).as_bytes());
        }
        let is_not_valid = |text: &[u8]| text.trim_ascii_end().ends_with(b" NOT VALID;");
        let not_valid =
            description.ends_with("CONSTRAINT") && definition.as_deref().is_some_and(is_not_valid);
        let keeps = matches!(
            description.as_str(),
            "SEQUENCE SET" | "EXTENSION" | "POLICY" | "TABLE DATA"
        );
        let definition = definition.filter(|_| keeps);
        Ok(TocEntry {
            dump_id,
            has_data,
            oid,
            tag,
            description,
            section,
            copy_statement,
            namespace,
            owner,
            dependencies,
            file,
            definition,
            not_valid,
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TocError> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// A sign byte and the magnitude, least significant byte first.
    fn integer(&mut self) -> Result<i64, TocError> {
        let [sign] = self.array()?;
        let mut bytes = [0; 8];
        self.source.read_exact(&mut bytes[..self.integer_bytes])?;
        let magnitude = i64::try_from(u64::from_le_bytes(bytes)).map_err(|_| TocError::Damaged("integer"))?;
        Ok(if sign == 0 { magnitude } else { -magnitude })
    }

    fn text(&mut self) -> Result<Option<Vec<u8>>, TocError> {
        let length = self.integer()?;
        if length == NULL_LENGTH {
            return Ok(None);
        }
        let length = u64::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_TEXT_BYTES);
        let length = length.ok_or(TocError::Damaged("length of a text"))?;
        let mut text = Vec::new();
        if self.source.by_ref().take(length).read_to_end(&mut text)? as u64 != length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(Some(text))
    }

    fn words(&mut self) -> Result<String, TocError> {
        String::from_utf8(self.text()?.unwrap_or_default())
            .map_err(|_| TocError::Damaged("a word is no UTF-8"))
    }

    fn number(&mut self) -> Result<u32, TocError> {
        parse_number(&self.text()?.unwrap_or_default())
    }
}

fn is_definition(description: &str, tag: &[u8]) -> bool {
    // Comments and labels of the database itself, and of a large object, which is data.
    let of_none = tag.starts_with(b"DATABASE ") || tag.starts_with(b"LARGE OBJECT");
    let is_remark = matches!(description, "COMMENT" | "SECURITY LABEL");
    !(NO_DEFINITIONS.contains(&description) || is_remark && of_none)
}

fn digest_of(parts: [&[u8]; 4]) -> Sha256Digest {
    let mut whole = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        whole.extend_from_slice(&(part.len() as u64).to_be_bytes());
        whole.extend_from_slice(part);
    }
    Sha256Digest::of(&whole)
}

fn parse_number(digits: &[u8]) -> Result<u32, TocError> {
    let digits = std::str::from_utf8(digits).ok();
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or(TocError::Damaged("a number"))
}

/// The name in `SET client_encoding = 'UTF8';`.
fn encoding_of(definition: &[u8]) -> Option<String> {
    let name = definition.split(|byte| *byte == b'\'').nth(1)?;
    String::from_utf8(name.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(value: i32, wire: &mut Vec<u8>) {
        wire.push(u8::from(value < 0));
        wire.extend_from_slice(&value.unsigned_abs().to_le_bytes());
    }

    fn text(value: Option<&[u8]>, wire: &mut Vec<u8>) {
        match value {
            None => integer(-1, wire),
            Some(value) => {
                integer(i32::try_from(value.len()).unwrap(), wire);
                wire.extend_from_slice(value);
            }
        }
    }

    fn archive(minor: u8) -> Vec<u8> {
        let mut wire = b"PGDMP".to_vec();
        wire.extend_from_slice(&[1, minor, 0, 4, 8, DIRECTORY_FORMAT]);
        if minor >= 15 {
            wire.push(0);
        } else {
            integer(0, &mut wire);
        }
        (0..7).for_each(|part| integer(part, &mut wire));
        for words in ["register", "17.12", "17.12"] {
            text(Some(words.as_bytes()), &mut wire);
        }
        integer(2, &mut wire);
        for (id, data, tag, description, definition, copy, file) in [
            (
                1,
                0,
                &b"ENCODING"[..],
                "ENCODING",
                Some(&b"SET client_encoding = 'LATIN1';\n"[..]),
                None,
                "",
            ),
            (
                7,
                1,
                &b"stra\xdfe"[..],
                "TABLE DATA",
                None,
                Some(&b"COPY DATA.x FROM stdin;\n"[..]),
                "7.dat",
            ),
        ] {
            integer(id, &mut wire);
            integer(data, &mut wire);
            text(Some(b"0"), &mut wire);
            text(Some(b"16384"), &mut wire);
            text(Some(tag), &mut wire);
            text(Some(description.as_bytes()), &mut wire);
            integer(3, &mut wire);
            for field in [definition, None, copy, Some(b"DATA"), None, None] {
                text(field, &mut wire);
            }
            if minor >= 16 {
                integer(i32::from(b'r'), &mut wire);
            }
            text(Some(b"owner"), &mut wire);
            text(Some(b"false"), &mut wire);
            text(Some(b"5"), &mut wire);
            text(None, &mut wire);
            text(Some(file.as_bytes()), &mut wire);
        }
        wire
    }

    #[test]
    fn all_known_archive_versions_are_read_with_names_as_bytes() {
        for minor in 14..=16 {
            let toc = Toc::read(archive(minor).as_slice()).unwrap();
            assert_eq!(toc.encoding, "LATIN1");
            let data = &toc.entries[1];
            assert_eq!((data.dump_id, data.oid, data.has_data), (7, 16384, true));
            assert_eq!(data.tag, b"stra\xdfe");
            assert_eq!(data.file.as_deref(), Some("7.dat"));
            assert_eq!(data.dependencies, [5]);
            assert_eq!(toc.entries[0].file, None);
        }
    }

    #[test]
    fn a_table_of_contents_that_was_cut_off_is_an_error_at_every_length() {
        let whole = archive(16);
        for length in 0..whole.len() {
            assert!(
                Toc::read(&whole[..length]).is_err(),
                "{length} of {} bytes were enough",
                whole.len()
            );
        }
    }

    #[test]
    fn an_unknown_version_is_refused() {
        assert!(matches!(
            Toc::read(archive(17).as_slice()),
            Err(TocError::UnknownVersion(1, 17, 3))
        ));
    }
}
