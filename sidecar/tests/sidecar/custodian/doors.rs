//! The custodian finds out what the store itself would let through, and says it without being kept from its work.

use crate::bench::custodian::{Custodian, CustodianBench};
use dataembassy_contract::custodian::{CheckConfig, DoorsReport};
use dataembassy_contract::{Reason, files};
use dataembassy_testkit::minio::{BUCKET, StoreUser};

const CHECKS: &str = "check-0a1b2c3d";

async fn bench() -> CustodianBench {
    let mut bench = CustodianBench::start().await;
    bench.config.check = Some(CheckConfig {
        interval: "7d".parse().unwrap(),
    });
    bench.write_config();
    bench
}

async fn give_user(bench: &CustodianBench, registry: &str) {
    let user = StoreUser::Deposit {
        registry: registry.into(),
    };
    let keys = bench.minio.add_user(BUCKET, &user).await.unwrap();
    bench.write(files::CHECK_ACCESS_KEY_ID, &keys.access_key);
    bench.write(files::CHECK_SECRET_ACCESS_KEY, &keys.secret_key);
}

async fn until_doors(
    custodian: &Custodian,
    what: &str,
    wanted: impl Fn(&DoorsReport) -> bool,
) -> DoorsReport {
    let report = custodian
        .until(what, |report| report.doors.as_ref().is_some_and(&wanted))
        .await;
    assert!(
        report.unknown_registries.is_empty(),
        "{:?}",
        report.unknown_registries
    );
    report.doors.unwrap()
}

#[tokio::test]
async fn the_doors_of_the_store_are_reported_and_their_registry_is_nobodys() {
    let bench = bench().await;
    give_user(&bench, CHECKS).await;
    let custodian = bench.custodian();
    let doors = until_doors(&custodian, "the doors", |doors| doors.tried > 0).await;
    assert_eq!(doors.fault, None);
    // The custody user is the witness: it sees that the lock went with the bytes.
    for open in ["FormPostByVersionId", "UnpackOverVersion", "Backdate"] {
        assert!(doors.open.iter().any(|door| door == open), "{:?}", doors.open);
    }
    for shut in ["DeleteVersion", "OtherRegistry", "ReadSegment"] {
        assert!(!doors.open.iter().any(|door| door == shut), "{:?}", doors.open);
    }
    let keys = bench.minio.keys(BUCKET, "registries/").await.unwrap();
    let place = format!("registries/{CHECKS}/");
    assert!(keys.iter().all(|key| key.starts_with(&place)), "{keys:?}");
    assert_eq!(custodian.terminate().await, 0);
}

#[tokio::test]
async fn a_check_without_its_user_is_told_and_one_with_a_real_user_is_refused() {
    let bench = bench().await;
    let custodian = bench.custodian();
    let fault = |doors: DoorsReport| doors.fault.unwrap();
    let missing = until_doors(&custodian, "the missing Secret", |doors| doors.fault.is_some()).await;
    let missing = fault(missing);
    assert_eq!(missing.reason, Reason::SecretMissing);
    assert!(missing.message.contains("accessKeyId"), "{}", missing.message);
    give_user(&bench, "population").await;
    let real = until_doors(&custodian, "the refusal", |doors| {
        doors
            .fault
            .as_ref()
            .is_some_and(|fault| fault.reason == Reason::SecretInvalid)
    })
    .await;
    assert!(fault(real).message.contains("never runs in a real registry"));
    assert!(bench.minio.keys(BUCKET, "registries/").await.unwrap().is_empty());
}
