//! The store made ready, once, by the custodian.

use std::time::Duration;

use anyhow::Result;
use dataembassy_testkit::minio::{BUCKET, Credentials, StoreUser};

use super::{Product, job};
use crate::bed::{Store, secrets, store::ENDPOINT};

const NAMESPACE: &str = "custody";

/// The store user of the custodian.
pub(super) async fn custody_user(store: &Store) -> Result<Credentials> {
    store.user(&StoreUser::Custody).await
}

/// Writes `embassy.json`; does nothing where it is written already.
pub(super) async fn init(product: &Product) -> Result<()> {
    let embassy = product.bed.embassy();
    let store = product.bed.store().await?;
    let custody = custody_user(&store).await?;
    super::embassy::open_namespace(embassy, NAMESPACE).await?;
    secrets::write(embassy, NAMESPACE, "store-ca", &[("ca.crt", store.ca())]).await?;
    let credentials = [
        ("accessKeyId", custody.access_key.as_str()),
        ("secretAccessKey", &custody.secret_key),
    ];
    secrets::write(embassy, NAMESPACE, "custody", &credentials).await?;
    secrets::write(
        embassy,
        NAMESPACE,
        "custodian-key",
        &[("ssh-privatekey", &product.keys.custodian)],
    )
    .await?;
    let arguments = [
        "store",
        "init",
        "--endpoint",
        ENDPOINT,
        "--bucket",
        BUCKET,
        "--ca-bundle=/run/store-ca/ca.crt",
        "--credentials=/run/custody",
        "--custodian-key=/run/custodian-key/ssh-privatekey",
    ];
    let job = job::Job {
        namespace: NAMESPACE,
        name: "store-init",
        image: job::SIDECAR,
        command: &[],
        arguments: arguments.map(str::to_owned).into(),
        environment: Vec::new(),
        secrets: &["store-ca", "custody", "custodian-key"],
        deadline: Duration::from_mins(3),
    };
    job::run(embassy, &job).await.map(drop)
}
