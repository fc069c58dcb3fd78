//! The statements of `pg_dump` that are taken apart: whatever names a server has given, they are put together again as names and nothing else.
#![no_main]

// By its path: the sidecar's crate would have its object store client and its TLS stack instrumented too.
#[allow(dead_code)]
#[path = "../../sidecar/src/postgresql/planner/statement.rs"]
mod copy_statement;

use copy_statement::CapturedCopy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(captured) = CapturedCopy::parse(bytes) else { return };
    assert!(CapturedCopy::is_copy(bytes));
    let whole = [captured.whole(), b";".to_vec()].concat();
    let again = CapturedCopy::parse(&whole).expect("what was put together is a statement of the same kind");
    match (&captured, &again) {
        (CapturedCopy::Query { query }, CapturedCopy::Query { query: same }) => assert_eq!(query, same),
        (
            CapturedCopy::Table { schema, table, columns },
            CapturedCopy::Table { schema: of, table: same, columns: also },
        ) => assert_eq!((schema, table, columns), (of, same, also)),
        _ => panic!("{captured:?} became {again:?}"),
    }
});
