//! The program that drills, by a clock that is wrong, and by one that is right.

use dataembassy_contract::{Reason, drill::Verdict};
use dataembassy_testkit::clock::Calendar;

use super::bench::{Drill, cell, published};
use crate::bench::assert_calm;

const HOUR: i64 = 3_600;
const TEN_YEARS: i64 = 3_653 * 24 * HOUR;

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_whose_clock_is_wrong_says_nothing_of_the_copy_and_one_by_the_right_clock_complains_of_nothing()
 {
    let embassy = published("CREATE TABLE person AS SELECT generate_series(1, 100) AS id").await;
    let cell = cell(17);
    let calendar = Calendar::new().unwrap();
    for ahead in [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS] {
        calendar.set(ahead).unwrap();
        let drill = Drill::new(&embassy, &cell, |_| ());
        let (result, ended_well) = drill.by_the_program(&calendar.environment()).await;
        assert_eq!(
            (result.verdict, result.reason),
            (Verdict::Inconclusive, Reason::ClockSkewed),
            "{result:?}"
        );
        assert!(result.message.contains("set the clocks"), "{}", result.message);
        assert!(!ended_well);
    }
    // None of them has used the cell up.
    calendar.set(0).unwrap();
    let drill = Drill::new(&embassy, &cell, |_| ());
    let (result, ended_well) = drill.by_the_program(&calendar.environment()).await;
    assert_eq!(result.verdict, Verdict::Passed, "{result:?}");
    assert!(ended_well, "{}", drill.log());
    assert_calm(&drill.log());
}
