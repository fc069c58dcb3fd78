//! The link between the sites: the only way out of home, until it is cut.

use anyhow::{Result, ensure};
use dataembassy_e2e::{
    bed::{
        Bed,
        link::{Fault, break_link, mend_link},
    },
    cluster::Site,
    command::wait_for,
    product::embassy::{GATE, gate_authority},
};

use crate::{
    policies::stranger,
    world::{PATIENCE, World, alone},
};

#[test]
fn home_reaches_the_gate_and_nothing_else_until_the_link_is_cut() {
    alone(the_only_way_out);
}

async fn the_only_way_out(world: &'static World) -> Result<()> {
    let (bed, home) = (&world.product.bed, world.home());
    let namespace = world.ministry("link").await?.namespace;
    stranger(home, &namespace, "client").await?;
    let ca = gate_authority(&world.product).await?;
    let anonymous = ask_gate(bed, &namespace, &ca).await?;
    ensure!(anonymous == "403", "{anonymous}");

    break_link(Fault::Cut).await?;
    let cut = ask_gate(bed, &namespace, &ca).await;
    mend_link().await?;
    ensure!(cut.is_err(), "the gate answered over a link that is cut");
    wait_for("the mended link", PATIENCE, || async {
        ask_gate(bed, &namespace, &ca).await.map(Some)
    })
    .await?;

    let inside = |program: &'static [&'static str]| home.exec(&namespace, "pod/client", program);
    let service = inside(&["getent", "hosts", "kubernetes.default.svc.cluster.local"]).await?;
    ensure!(
        service.starts_with(&Site::Home.api_service().to_string()),
        "{service}"
    );
    let (machine, _) = Site::Home.wire();
    let machine = format!("http://{machine}/");
    let machine = home
        .exec(&namespace, "pod/client", &["curl", "-sS", "-m", "2", &machine])
        .await;
    ensure!(machine.is_err(), "a pod reached this machine");
    home.kubectl(["delete", "namespace", &namespace, "--wait=false"])
        .await
        .map(drop)
}

/// Asks the gate, from a pod at home, by its name and with its authority: the HTTP status.
async fn ask_gate(bed: &Bed, namespace: &str, ca: &str) -> Result<String> {
    let script = format!(
        "printf '%s' '{ca}' > /tmp/ca.crt && \
         curl -sS -m 5 --cacert /tmp/ca.crt -o /dev/null -w '%{{http_code}}' {GATE}/"
    );
    bed.home()
        .exec(namespace, "pod/client", &["sh", "-c", &script])
        .await
}
