//! Extensions that may do anything on a server: none is there unless somebody allows it, and then it is there before anything of the copy.

use dataembassy_contract::{Reason, drill::Verdict};

use super::bench::{Drill, cell, equals, published};

/// One of contrib that is not trusted, and a table that cannot be made without it.
const CONTENT: &str = "CREATE EXTENSION pageinspect; \
    CREATE TABLE page (id int PRIMARY KEY, kind text DEFAULT brin_page_type(NULL)); INSERT INTO page VALUES (1, 'meta')";

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_is_not_trusted_is_made_first_if_it_is_allowed_and_never_otherwise() {
    let embassy = published(CONTENT).await;
    let (strict, allowing) = (cell(17), cell(17));
    let drill = Drill::new(&embassy, &strict, |config| {
        config.allowed_extensions = vec!["hstore".into()];
    });
    let result = drill.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Inconclusive, Reason::TargetLacks),
        "{result:?}"
    );
    for words in [
        "the throw-away database lacks",
        "extension pageinspect may do anything on the server",
        "allowedExtensions pageinspect",
    ] {
        assert!(
            result.message.contains(words),
            "{words} is not in {}",
            result.message
        );
    }
    assert!(
        result.assertions.is_empty() && result.recovery_seconds.is_none(),
        "{result:?}"
    );

    let drill = Drill::new(&embassy, &allowing, |config| {
        config.allowed_extensions = vec!["pageinspect".into()];
        config.assertions = vec![
            equals(
                "made-by",
                "SELECT extowner::regrole::text FROM pg_extension WHERE extname = 'pageinspect'",
                "postgres",
            ),
            equals("pages", "SELECT kind FROM page", "meta"),
        ];
    });
    let result = drill.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Passed, Reason::Drilled),
        "{result:?}"
    );
}
