//! Rule 8: what no copy carries is listed with its reason, so that whoever restores knows what else to bring.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{MAJORS, source, take};
use dataembassy_archive::inventory::Line;
use dataembassy_testkit::postgresql::Server;

#[tokio::test(flavor = "multi_thread")]
async fn foreign_rows_subscriptions_and_options_of_user_mappings_are_listed_and_their_passwords_nowhere() {
    for major in MAJORS {
        let server = Server::shared(major);
        // Subscriptions are in a catalog that all databases of a server share.
        let neighbour = server.database().await.unwrap();
        neighbour
            .execute(
                "CREATE SUBSCRIPTION of_a_neighbour CONNECTION 'dbname=nowhere' PUBLICATION changes WITH (connect = false)",
            )
            .await
            .unwrap();
        let database = server.database().await.unwrap();
        database
            .execute(
                "CREATE TABLE t AS SELECT 1 AS a;
                 CREATE FOREIGN DATA WRAPPER of_nobody;
                 CREATE SERVER abroad FOREIGN DATA WRAPPER of_nobody OPTIONS (host 'db.abroad.example');
                 CREATE SCHEMA \"Välis\";
                 CREATE FOREIGN TABLE \"Välis\".rates (currency text, rate numeric) SERVER abroad OPTIONS (source 'rates');
                 CREATE USER MAPPING FOR by_trust SERVER abroad OPTIONS (password 'secret of a mapping');
                 CREATE USER MAPPING FOR PUBLIC SERVER abroad OPTIONS (password 'secret of a mapping');
                 CREATE SUBSCRIPTION feed CONNECTION 'dbname=nowhere password=secret_of_a_subscription'
                     PUBLICATION changes WITH (connect = false)",
            )
            .await
            .unwrap();
        let taken = take(&source(server, &database.name)).await.unwrap();
        let mut listed = BTreeSet::new();
        for line in &taken.dumped.lines {
            if let Line::NotCarried(left) = line {
                assert!(!left.reason.is_empty(), "{left:?}");
                listed.insert((left.what.as_str(), left.name.as_str()));
            }
        }
        let expected = [
            ("options of a user mapping", "abroad for by_trust"),
            ("options of a user mapping", "abroad for public"),
            ("rows of a foreign table", "Välis.rates"),
            ("subscription", "feed"),
        ];
        assert_eq!(listed, BTreeSet::from(expected));
        let tables: Vec<_> = taken.tables().into_keys().collect();
        assert_eq!(tables, ["public.t"]);
        // What is listed is no reason to doubt the copy.
        assert_eq!(taken.dumped.warnings, Vec::<String>::new());

        let inventory = format!("{:?}", taken.dumped.lines);
        for secret in ["secret of a mapping", "secret_of_a_subscription"] {
            assert!(!inventory.contains(secret), "{inventory}");
            for file in fs::read_dir(taken.path()).unwrap() {
                let bytes = fs::read(file.unwrap().path()).unwrap();
                let is_there = bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes());
                assert!(!is_there, "{secret} is in the copy");
            }
        }
    }
}
