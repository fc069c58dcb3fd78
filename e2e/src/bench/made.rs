//! What is made of the tree: how large the images are, and how long a build from nothing takes.

use std::path::Path;

use anyhow::Result;

use super::row::{Row, megabytes};
use crate::{cache::Cache, images, progress::Progress};

/// The images of operator and sidecar.
pub(super) async fn sizes(cache: &Cache, progress: &Progress) -> Result<Vec<Row>> {
    let images = images::product(cache, progress).await?;
    images.iter().map(size).collect()
}

fn size(image: &images::Image) -> Result<Row> {
    let layers = image.layer_sizes().map(megabytes).collect::<Result<Vec<_>>>()?;
    let told: Vec<_> = layers.iter().map(|size| format!("{size:.1}")).collect();
    let name = format!("image {}, of layers of {} MB", image.name, told.join(" and "));
    Ok(Row::alone(name, layers.iter().sum(), "MB"))
}

/// A release build of both programs.
pub(super) async fn build(target: &Path, progress: &Progress) -> Result<Row> {
    let took = images::build_anew(target, progress).await?;
    Ok(Row::alone(
        "release build of operator and sidecar from nothing".into(),
        took.as_secs_f64(),
        "s",
    ))
}
