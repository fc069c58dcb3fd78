//! A source that answers from memory, as copies are measured with: what is dumped of it is what the server has.

use crate::support::{MAJORS, Taken, network, source, take_with};
use dataembassy_testkit::postgresql::{RememberingRelay, Server};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_is_what_the_server_has_sent() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        database
            .execute(
                "CREATE TABLE large AS SELECT n AS a, 'row ' || n AS b FROM generate_series(1, 100000) n;
                 CREATE TABLE small AS SELECT 1 AS a",
            )
            .await
            .unwrap();
        // It makes files of its own, and what a table's files have says how it is cut.
        database.execute("VACUUM large, small").await.unwrap();
        let relay = RememberingRelay::start(server).await.unwrap();
        let mut source = source(server, &database.name);
        network(&mut source).port = relay.port();

        let cut = async || take_with(&source, |options| options.range_bytes = 1 << 20).await;
        let first = cut().await.unwrap();
        let passed_on = relay.passed_on();
        assert!(passed_on > 3, "{passed_on}");
        let again = cut().await.unwrap();
        assert_eq!(relay.passed_on(), passed_on);
        assert_eq!(again.tables(), first.tables());

        let bytes = |taken: &Taken| taken.tables().values().map(|table| table.bytes).sum::<u64>();
        let remembered: u64 = relay.rows().iter().map(|rows| rows.len() as u64).sum();
        assert_eq!(remembered, bytes(&first));
    }
}
