//! Single values that are larger than everything else in a registry, in a cell that has no more memory than the operator gives it.

use dataembassy_contract::{
    Reason,
    drill::{CELL_SCRIPT, CELL_USER, Verdict},
};
use dataembassy_testkit::postgresql::{Cell, Container};

use super::bench::{Drill, copied, equals};
use crate::restore::embassy::Embassy;

/// What the operator gives the throw-away server unless told otherwise.
const MEMORY_MIB: u32 = 1024;
const IMAGE: &str = "SELECT length(image) || ' ' || md5(image) FROM scan WHERE id = 1";
const OBJECT: &str = "SELECT length(content) || ' ' || md5(content) FROM lo_get(77) AS content";

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_100_mib_and_a_large_object_with_a_hole_pass_a_drill_within_the_cells_memory() {
    let embassy = Embassy::start().await;
    // 100 MiB that lie there uncompressed, and an object whose first and last pages have 64 MiB of nothing between them.
    let content = "CREATE TABLE scan (id int PRIMARY KEY, image bytea); ALTER TABLE scan ALTER image SET STORAGE EXTERNAL;
        INSERT INTO scan SELECT 1, decode(repeat(string_agg(md5(n::text), ''), 3200), 'hex') FROM generate_series(1, 2048) n;
        INSERT INTO scan VALUES (2, 'small');
        SELECT lo_from_bytea(77, 'begin'); SELECT lo_put(77, 67108864, 'end');";
    let (database, copy) = copied(17, content).await;
    embassy.publish(&copy, 7).await;
    let [image, object] = [
        database.value(IMAGE).await.unwrap(),
        database.value(OBJECT).await.unwrap(),
    ];
    assert!(image.starts_with("104857600 ") && object.starts_with("67108867 "));
    let container = Container {
        root: "rootfs-postgresql-17".into(),
        user: u32::try_from(CELL_USER).unwrap(),
        group: 65_532,
        path: "/usr/bin:/bin".into(),
        volume: 1024,
        memory: Some(MEMORY_MIB),
    };
    let cell = Cell::start_in(&container, CELL_SCRIPT, &[]).unwrap();
    let drill = Drill::new(&embassy, &cell, |config| {
        config.assertions = vec![
            equals("image", IMAGE, &image),
            equals("object", OBJECT, &object),
            // The hole takes no room.
            equals(
                "sparse",
                "SELECT pg_relation_size('pg_largeobject') / 1048576",
                "0",
            ),
        ];
    });
    let result = drill.result().await;
    assert_eq!(
        (result.verdict, result.reason),
        (Verdict::Passed, Reason::Drilled),
        "{result:?}\n{}",
        cell.log()
    );
}
