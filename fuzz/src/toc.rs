//! `pg_dump`'s table of contents, from a server that is not ours: what is read was in the file, and not more of it.
#![no_main]

// By its path: the sidecar's crate would have its object store client and its TLS stack instrumented too.
#[allow(dead_code)]
#[path = "../../sidecar/src/postgresql/toc.rs"]
mod table_of_contents;

use libfuzzer_sys::fuzz_target;
use table_of_contents::{Toc, TocEntry};

fuzz_target!(|bytes: &[u8]| {
    let Ok(toc) = Toc::read(bytes) else { return };
    let held: usize = toc.entries.iter().map(held).sum();
    assert!(held <= bytes.len(), "{held} bytes were read out of {}", bytes.len());
    let again = Toc::read(bytes).expect("it was read once");
    assert_eq!(again.schema_digest, toc.schema_digest);
});

fn held(entry: &TocEntry) -> usize {
    let texts = [&entry.copy_statement, &entry.namespace, &entry.owner, &entry.definition];
    let texts: usize = texts.into_iter().flatten().map(Vec::len).sum();
    texts + entry.tag.len() + entry.description.len() + entry.file.as_ref().map_or(0, String::len)
}
