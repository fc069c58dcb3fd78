//! The operator, installed from the chart.

use std::path::Path;

use anyhow::Result;

use super::TREE;
use crate::{bed::Bed, cluster::Helm};

/// The namespace of the release, which bears the same name.
pub const RELEASE_NAMESPACE: &str = "dataembassy-system";

/// Installs or upgrades the release and waits until the operator is ready.
pub(super) async fn install(bed: &Bed) -> Result<()> {
    let home = bed.home();
    home.namespace(RELEASE_NAMESPACE).await?;
    let chart = Path::new(TREE).join("charts/dataembassy");
    let image = |of: &str, name: &str| -> Result<Vec<String>> {
        // By digest: another build is another image, and rolls the pods.
        let by_digest = bed.image(name)?.by_digest();
        let (repository, digest) = by_digest.split_once('@').unwrap_or((&by_digest, ""));
        Ok(vec![
            format!("--set={of}.image.repository={repository}"),
            format!("--set={of}.image.digest={digest}"),
            format!("--set={of}.image.pullPolicy=Never"),
        ])
    };
    let mut arguments = vec![
        "upgrade".to_owned(),
        "--install".to_owned(),
        "dataembassy".to_owned(),
        chart.display().to_string(),
        format!("--namespace={RELEASE_NAMESPACE}"),
        "--wait".to_owned(),
        "--timeout=3m".to_owned(),
        "--set=side=home".to_owned(),
    ];
    arguments.extend(image("operator", "operator:dev")?);
    arguments.extend(image("sidecar", "sidecar:dev")?);
    home.helm(Helm::Four, &arguments).await.map(drop)
}
