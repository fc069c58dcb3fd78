//! What the chart renders, judged by the API server.

use anyhow::{Result, ensure};
use dataembassy_e2e::{
    cluster::Helm,
    command::{output, output_with_input},
    product::chart,
};

use crate::world::{World, together};

/// What a user must say at the least.
pub(crate) const IMAGES: [&str; 2] = [
    "--set=operator.image.repository=registry.example/operator",
    "--set=sidecar.image.repository=registry.example/sidecar",
];

#[test]
fn what_both_helms_render_is_what_the_api_server_takes() {
    together(rendered);
}

async fn rendered(world: &'static World) -> Result<()> {
    let home = world.home();
    let ministry = world.ministry("rendered").await?;
    for (helm, version, side) in [
        (Helm::Three, "v3.22", "home"),
        (Helm::Four, "v4.3", "home"),
        (Helm::Three, "v3.22", "embassy"),
        (Helm::Four, "v4.3", "embassy"),
    ] {
        let said = home.helm(helm, ["version", "--short"]).await?;
        ensure!(said.starts_with(version), "{said} is not {version}");
        let mut template = home.helm_command(helm)?;
        template.args(["template", "another"]).arg(chart()).args(IMAGES);
        template.arg(format!("--set=side={side}"));
        // Helm believes in an old version unless it is told or asks a cluster.
        template.args(["--namespace", &ministry.namespace, "--kube-version=1.34.4"]);
        let manifests = output(&mut template).await?;
        let mut apply = home.kubectl_command()?;
        apply.args([
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "--output=name",
            "--filename=-",
        ]);
        let taken = output_with_input(&mut apply, manifests.as_bytes()).await?;
        let documents = manifests
            .lines()
            .filter(|line| line.starts_with("kind: "))
            .count();
        ensure!(
            documents >= 11 && taken.lines().count() == documents,
            "{documents} objects were rendered, and taken were\n{taken}"
        );
    }
    Ok(())
}
