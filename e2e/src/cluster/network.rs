//! Network namespaces, the link between the sites, and a wire from the machine to each.
//!
//! A namespace has no default route: what is not the bed's is unreachable at once. The machine reaches nodes,
//! pods and Services through its wires, so that kubectl, Helm and tests run outside the namespaces; the nodes
//! send nothing to the machine by themselves, so that a pod sees two clusters and nothing else. The embassy has a firewall against home.

use std::{
    fs::File,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::oneshot;

use super::site::{Site, nowhere};
use crate::command::{command, output, output_with_input};

/// The link's name in both namespaces.
pub const LINK: &str = "site-link";
/// The name, in a namespace, of the wire to the machine.
pub const WIRE: &str = "machine";
/// The first port at the embassy's node that tests listen at, which home may call: those below are for what stands there.
const FIRST_OF_TESTS: u16 = 32_768;
/// How long whoever is called may take to answer.
const ANSWERS: Duration = Duration::from_secs(5);

/// Makes both namespaces and everything between them and the machine.
pub async fn make() -> Result<()> {
    for site in Site::BOTH {
        ip(&["netns", "add", &site.namespace()]).await?;
    }
    let (home, embassy) = (Site::Home.namespace(), Site::Embassy.namespace());
    ip(&[
        "link", "add", LINK, "netns", &home, "type", "veth", "peer", "name", LINK, "netns", &embassy,
    ])
    .await?;
    for site in Site::BOTH {
        connect(site)
            .await
            .with_context(|| format!("cannot make the network of {site}"))?;
    }
    Ok(())
}

async fn connect(site: Site) -> Result<()> {
    let namespace = site.namespace();
    let (machine, node) = site.wire();
    let wire = site.wire_name();
    ip(&[
        "link", "add", &wire, "type", "veth", "peer", "name", WIRE, "netns", &namespace,
    ])
    .await?;
    ip(&["address", "add", &format!("{machine}/30"), "dev", &wire]).await?;
    ip(&["link", "set", &wire, "up"]).await?;

    let inside = |arguments: &[&str]| {
        let arguments: Vec<String> = ["-n", &namespace]
            .iter()
            .chain(arguments)
            .map(|argument| (*argument).to_owned())
            .collect();
        async move { ip(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    inside(&["link", "set", "lo", "up"]).await?;
    inside(&["address", "add", &format!("{}/24", site.node()), "dev", LINK]).await?;
    inside(&["link", "set", LINK, "up"]).await?;
    inside(&["address", "add", &format!("{node}/30"), "dev", WIRE]).await?;
    inside(&["link", "set", WIRE, "up"]).await?;
    // Service addresses are translated before routing, but only if there is a route at all.
    inside(&["route", "add", &site.services(), "dev", LINK]).await?;
    let through = node.to_string();
    for range in [format!("{}/32", site.node()), site.pods(), site.services()] {
        ip(&["route", "add", &range, "via", &through]).await?;
    }

    let mut forward = within(site, "sysctl");
    output(forward.args(["-q", "-w", "net.ipv4.ip_forward=1"])).await?;
    fence(site).await
}

/// Makes the site's firewall, in place of the one there may be.
pub async fn fence(site: Site) -> Result<()> {
    filter(site, &fence_rules(site)).await
}

/// Nothing of a node's goes to the machine. Of home's, nothing comes to the embassy but to Services at its node's address, of which the gate is
/// one and policies judge the others, and to tests: who owns home owns its node, and can lead there whatever it likes.
fn fence_rules(site: Site) -> String {
    let (passing, arriving) = match site {
        Site::Home => (String::new(), String::new()),
        Site::Embassy => (
            format!(
                "        iifname \"{LINK}\" ct state new ct original ip daddr != {} reject;\n",
                site.node()
            ),
            format!(
                "        iifname \"{LINK}\" ct state new tcp dport < {FIRST_OF_TESTS} reject with tcp reset;
        iifname \"{LINK}\" ct state new meta l4proto udp reject;\n"
            ),
        ),
    };
    format!(
        "table inet bed {{}}
delete table inet bed
table inet bed {{
    chain forward {{
        type filter hook forward priority 0;
        oifname \"{WIRE}\" ct state new drop;
{passing}    }}
    chain leaving {{
        type filter hook output priority 0;
        oifname \"{WIRE}\" ct state new drop;
    }}
    chain arriving {{
        type filter hook input priority 0;
{arriving}    }}
}}
"
    )
}

/// Leads what the site's node sends to an address over the link, as who owns the node can.
pub async fn lead_over(site: Site, address: Ipv4Addr) -> Result<()> {
    let (namespace, through) = (site.namespace(), site.other().node().to_string());
    let address = format!("{address}/32");
    ip(&["-n", &namespace, "route", "replace", &address, "via", &through]).await
}

/// Takes that back.
pub async fn lead_nowhere(site: Site, address: Ipv4Addr) -> Result<()> {
    let address = format!("{address}/32");
    ip(&["-n", &site.namespace(), "route", "delete", &address]).await
}

/// Deletes one site's namespace, and leaves the other's as it is: its end of the link goes nowhere.
pub async fn detach(site: Site) -> Result<()> {
    let nowhere = nowhere();
    ip(&["netns", "add", &nowhere]).await?;
    ip(&["-n", &site.namespace(), "link", "set", LINK, "netns", &nowhere]).await?;
    ip(&["-n", &nowhere, "link", "set", LINK, "up"]).await?;
    delete_one(site).await
}

/// Makes the namespace of a site that was [detached](detach) anew, at the link's old end.
pub async fn reattach(site: Site) -> Result<()> {
    let nowhere = nowhere();
    ip(&["netns", "add", &site.namespace()]).await?;
    ip(&["-n", &nowhere, "link", "set", LINK, "netns", &site.namespace()]).await?;
    ip(&["netns", "delete", &nowhere]).await?;
    connect(site)
        .await
        .with_context(|| format!("cannot make the network of {site}"))
}

/// Deletes both namespaces, and with them every link and route.
pub async fn delete() -> Result<()> {
    let nowhere = nowhere();
    if Path::new("/run/netns").join(&nowhere).exists() {
        ip(&["netns", "delete", &nowhere]).await?;
    }
    for site in Site::BOTH {
        delete_one(site).await?;
    }
    Ok(())
}

async fn delete_one(site: Site) -> Result<()> {
    if exists(site) {
        ip(&["netns", "delete", &site.namespace()]).await?;
    }
    // The kernel dissolves a namespace in its own time; the wire must be gone before it can be made again.
    if Path::new("/sys/class/net").join(site.wire_name()).exists() {
        let _ = ip(&["link", "delete", &site.wire_name()]).await;
    }
    Ok(())
}

/// Whether the site's namespace is there.
#[must_use]
pub fn exists(site: Site) -> bool {
    path(site).exists()
}

fn path(site: Site) -> PathBuf {
    Path::new("/run/netns").join(site.namespace())
}

/// Listens at the node's address, on a free port, for the site's pods and, over the link, the other's.
pub fn listen(site: Site) -> Result<TcpListener> {
    let bind = move || -> Result<TcpListener> {
        let namespace = File::open(path(site))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let listener = TcpListener::bind((site.node(), 0))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    // A socket stays in the namespace it was made in; the thread that moves there ends with it.
    thread::spawn(bind)
        .join()
        .map_err(|_| anyhow!("the thread broke off"))?
        .with_context(|| format!("cannot listen in the network of {site}"))
}

/// Whether a connection that is made from within a network, such as a pod's, is taken; it is not where it is refused. Silence is an error.
pub async fn connects(network: File, address: SocketAddr) -> Result<bool> {
    let connect = move || -> Result<bool> {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
        match TcpStream::connect_timeout(&address, ANSWERS) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
            Err(error) => Err(error.into()),
        }
    };
    let (tell, told) = oneshot::channel();
    // A thread stays in the network that it has moved to, so it does nothing else.
    thread::spawn(move || drop(tell.send(connect())));
    told.await
        .context("the thread broke off")?
        .with_context(|| format!("cannot connect to {address}"))
}

/// A command in the site's network. `ip netns exec` would hide `/sys/fs/cgroup` from the kubelet.
#[must_use]
pub fn within(site: Site, program: &str) -> tokio::process::Command {
    let mut nsenter = command("nsenter");
    nsenter
        .arg(format!("--net={}", path(site).display()))
        .arg("--")
        .arg(program);
    nsenter
}

/// Loads nftables rules in the site's network.
pub async fn filter(site: Site, rules: &str) -> Result<()> {
    output_with_input(within(site, "nft").args(["-f", "-"]), rules.as_bytes())
        .await
        .map(drop)
}

/// How many milliseconds a packet may wait in a link that is slowed down, before it is dropped.
const QUEUE: u32 = 200;

/// Lets the site send over the link so many kilobits a second, or whatever it carries.
pub async fn shape(site: Site, kilobits: Option<u32>) -> Result<()> {
    let rate = |kilobits: u32| ["rate", &format!("{kilobits}kbit")].map(ToOwned::to_owned);
    let bucket = ["burst", "16kb", "latency", &format!("{QUEUE}ms")].map(ToOwned::to_owned);
    let discipline = match kilobits {
        Some(kilobits) => [&["tbf".to_owned()][..], &rate(kilobits), &bucket].concat(),
        None => vec!["noqueue".to_owned()],
    };
    output(
        within(site, "tc")
            .args(["qdisc", "replace", "dev", LINK, "root"])
            .args(discipline),
    )
    .await
    .map(drop)
}

async fn ip(arguments: &[&str]) -> Result<()> {
    output(command("ip").args(arguments)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embassy_is_fenced_against_home_and_not_the_other_way() {
        let (home, embassy) = (fence_rules(Site::Home), fence_rules(Site::Embassy));
        assert_eq!(home.matches(LINK).count(), 0, "{home}");
        assert_eq!(embassy.matches(LINK).count(), 3, "{embassy}");
        for rules in [home, embassy] {
            assert_eq!(rules.matches(WIRE).count(), 2, "{rules}");
            // In one transaction, and whether or not there is one already.
            let (delete, make) = (rules.find("delete table"), rules.find("chain forward"));
            assert!(delete.unwrap() < make.unwrap(), "{rules}");
        }
    }
}
