//! Network policies, enforced. The plugins that make a pod's network know nothing of them, so they are translated
//! into nftables rules of the node. Pods' packets are all routed (`ptp`), also between two pods of one node, and
//! a Service's address has become a pod's before the rules see it.
//!
//! What is not subject to policies: the node itself (probes), and this machine, over its wire.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use futures::{StreamExt as _, stream};
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Pod},
        networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, reflector, watcher},
};

use super::{
    network::{WIRE, filter},
    site::Site,
};

/// The most changes whose rules are made together.
const TOGETHER: usize = 1024;

/// Watches policies, pods and namespaces, and keeps the rules as they say. Ends when the API server's client does.
pub async fn enforce(site: Site, client: Client) -> Result<()> {
    let (policies, policy_events) = watched::<NetworkPolicy>(&client);
    let (pods, pod_events) = watched::<Pod>(&client);
    let (namespaces, namespace_events) = watched::<Namespace>(&client);
    // Thousands of objects may come while the rules that follow from them are made once.
    let mut changes =
        stream::select_all([policy_events, pod_events, namespace_events]).ready_chunks(TOGETHER);
    let mut loaded = None;
    while changes.next().await.is_some() {
        let cluster = State {
            policies: policies.state().iter().map(|policy| (**policy).clone()).collect(),
            pods: pods.state().iter().map(|pod| (**pod).clone()).collect(),
            namespaces: namespaces
                .state()
                .iter()
                .map(|n| (n.name_any(), n.labels().clone()))
                .collect(),
        };
        let rules = cluster.rules();
        if loaded.as_ref() != Some(&rules) {
            filter(site, &rules).await?;
            loaded = Some(rules);
        }
    }
    Ok(())
}

type Changes = stream::BoxStream<'static, ()>;

fn watched<K>(client: &Client) -> (reflector::Store<K>, Changes)
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .map(|_| ())
        .boxed();
    (store, events)
}

/// What the rules follow from.
struct State {
    policies: Vec<NetworkPolicy>,
    pods: Vec<Pod>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

impl State {
    /// One table, replaced in one transaction.
    fn rules(&self) -> String {
        let (mut chains, mut egress, mut ingress) = (String::new(), String::new(), String::new());
        for (number, pod) in self.pods.iter().enumerate() {
            let Some(address) = address(pod) else { continue };
            for (direction, jumps, side) in [
                (Direction::Egress, &mut egress, "saddr"),
                (Direction::Ingress, &mut ingress, "daddr"),
            ] {
                let Some(allowed) = self.allowed(pod, direction) else {
                    continue;
                };
                let chain = format!(
                    "{}_{number}",
                    if direction == Direction::Egress {
                        "from"
                    } else {
                        "to"
                    }
                );
                let _ = writeln!(jumps, "        ip {side} {address} jump {chain}");
                let _ = writeln!(chains, "    chain {chain} {{\n{allowed}        reject\n    }}");
            }
        }
        format!(
            "table inet network_policies {{}}
delete table inet network_policies
table inet network_policies {{
{chains}    chain egress {{
{egress}    }}
    chain ingress {{
{ingress}    }}
    chain passing {{
        type filter hook forward priority 10;
        ct state established,related accept
        iifname \"{WIRE}\" accept
        jump egress
        jump ingress
    }}
    chain arriving {{
        type filter hook input priority 10;
        ct state established,related accept
        jump egress
    }}
}}
"
        )
    }

    /// The rules that let packets of this direction through; none if no policy selects the pod for it.
    fn allowed(&self, pod: &Pod, direction: Direction) -> Option<String> {
        let mut selected = false;
        let mut rules = String::new();
        for policy in &self.policies {
            let Some(spec) = policy
                .spec
                .as_ref()
                .filter(|_| policy.namespace() == pod.namespace())
            else {
                continue;
            };
            let everything = LabelSelector::default();
            if !selects(spec.pod_selector.as_ref().unwrap_or(&everything), pod.labels()) {
                continue;
            }
            let default = if spec.egress.is_some() {
                &["Ingress", "Egress"][..]
            } else {
                &["Ingress"]
            };
            let types = spec
                .policy_types
                .clone()
                .unwrap_or_else(|| default.iter().map(ToString::to_string).collect());
            let name = if direction == Direction::Egress {
                "Egress"
            } else {
                "Ingress"
            };
            if !types.iter().any(|kind| kind == name) {
                continue;
            }
            selected = true;
            let namespace = policy.namespace().unwrap_or_default();
            let lists: Vec<_> = match direction {
                Direction::Egress => spec
                    .egress
                    .iter()
                    .flatten()
                    .map(|rule| (rule.to.as_ref(), rule.ports.as_ref()))
                    .collect(),
                Direction::Ingress => spec
                    .ingress
                    .iter()
                    .flatten()
                    .map(|rule| (rule.from.as_ref(), rule.ports.as_ref()))
                    .collect(),
            };
            for (peers, ports) in lists {
                self.allow(&mut rules, pod, direction, &namespace, peers, ports);
            }
        }
        selected.then_some(rules)
    }

    fn allow(
        &self,
        rules: &mut String,
        pod: &Pod,
        direction: Direction,
        namespace: &str,
        peers: Option<&Vec<NetworkPolicyPeer>>,
        ports: Option<&Vec<NetworkPolicyPort>>,
    ) {
        let side = if direction == Direction::Egress {
            "daddr"
        } else {
            "saddr"
        };
        // Without a list it is everybody; with one it is those in it, each with the pod that is meant, if any.
        let peers: Vec<(String, Option<&Pod>)> = match peers.filter(|peers| !peers.is_empty()) {
            None => vec![(String::new(), None)],
            Some(peers) => peers
                .iter()
                .flat_map(|peer| self.resolve(peer, namespace, side))
                .collect(),
        };
        for (peer, other) in peers {
            let target = if direction == Direction::Egress {
                other
            } else {
                Some(pod)
            };
            match ports.filter(|ports| !ports.is_empty()) {
                None => {
                    let _ = writeln!(rules, "        {peer}return");
                }
                Some(ports) => {
                    for port in ports.iter().filter_map(|port| port_match(port, target)) {
                        let _ = writeln!(rules, "        {peer}{port} return");
                    }
                }
            }
        }
    }

    /// A peer as matches on an address, each ending in a space.
    fn resolve(&self, peer: &NetworkPolicyPeer, own: &str, side: &str) -> Vec<(String, Option<&Pod>)> {
        if let Some(IPBlock { cidr, except }) = &peer.ip_block {
            let except = except
                .iter()
                .flatten()
                .fold(String::new(), |all, cidr| all + &format!("ip {side} != {cidr} "));
            return vec![(format!("ip {side} {cidr} {except}"), None)];
        }
        let in_namespace = |name: &str| match &peer.namespace_selector {
            None => name == own,
            Some(selector) => self
                .namespaces
                .get(name)
                .is_some_and(|labels| selects(selector, labels)),
        };
        let everything = LabelSelector::default();
        let pods = peer.pod_selector.as_ref().unwrap_or(&everything);
        self.pods
            .iter()
            .filter(|pod| in_namespace(&pod.namespace().unwrap_or_default()) && selects(pods, pod.labels()))
            .filter_map(|pod| Some((format!("ip {side} {} ", address(pod)?), Some(pod))))
            .collect()
    }
}

/// The pod's own address; a pod that has ended may share it with its successor, one on the node's network has none.
fn address(pod: &Pod) -> Option<&str> {
    let on_node = pod.spec.as_ref()?.host_network.unwrap_or_default();
    let status = pod.status.as_ref()?;
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    status.pod_ip.as_deref().filter(|_| !on_node && !ended)
}

fn port_match(port: &NetworkPolicyPort, target: Option<&Pod>) -> Option<String> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let first = match &port.port {
        None => return Some(format!("meta l4proto {}", protocol.to_lowercase())),
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named_port(target?, name, protocol)?,
    };
    let last = port.end_port.map_or_else(String::new, |last| format!("-{last}"));
    Some(format!("{} dport {first}{last}", protocol.to_lowercase()))
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let containers = &pod.spec.as_ref()?.containers;
    let mut ports = containers
        .iter()
        .flat_map(|container| container.ports.iter().flatten());
    ports
        .find(|port| {
            port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
        })
        .map(|port| port.container_port)
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|requirement| satisfies(requirement, labels))
}

fn satisfies(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let among = |value: &String| requirement.values.iter().flatten().any(|one| one == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(among),
        "NotIn" => !value.is_some_and(among),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, address: &str) -> serde_json::Value {
        json!({"metadata": {"name": name, "namespace": "interior", "labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "ports": [{"name": "status", "containerPort": 8080}]}]},
            "status": {"podIP": address, "phase": "Running"}})
    }

    fn rules(policies: serde_json::Value) -> String {
        State {
            policies: serde_json::from_value(policies).unwrap(),
            pods: serde_json::from_value(json!([
                pod("sidecar", "198.18.10.2"),
                pod("operator", "198.18.10.3")
            ]))
            .unwrap(),
            namespaces: BTreeMap::from([("interior".into(), BTreeMap::new())]),
        }
        .rules()
    }

    #[test]
    fn a_pod_that_no_policy_selects_is_not_mentioned() {
        assert!(!rules(json!([])).contains("198.18.10."));
    }

    #[test]
    fn a_selected_pod_takes_only_what_a_policy_allows() {
        let rules = rules(
            json!([{"metadata": {"name": "p", "namespace": "interior"}, "spec": {
                "podSelector": {"matchLabels": {"app": "sidecar"}}, "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "operator"}}}], "ports": [{"port": "status"}]}],
            }}]),
        );
        assert!(rules.contains("ip daddr 198.18.10.2 jump to_0"), "{rules}");
        assert!(
            rules.contains("ip saddr 198.18.10.3 tcp dport 8080 return\n        reject"),
            "{rules}"
        );
        assert!(
            !rules.contains("ip saddr 198.18.10.2 jump"),
            "its own packets go where they like: {rules}"
        );
    }

    #[test]
    fn an_address_block_keeps_its_exceptions() {
        let rules = rules(
            json!([{"metadata": {"name": "p", "namespace": "interior"}, "spec": {
                "podSelector": {}, "policyTypes": ["Egress"],
                "egress": [{"to": [{"ipBlock": {"cidr": "198.51.100.0/24", "except": ["198.51.100.9/32"]}}],
                            "ports": [{"port": 443}, {"port": 53, "protocol": "UDP"}]}],
            }}]),
        );
        let block = "ip daddr 198.51.100.0/24 ip daddr != 198.51.100.9/32";
        assert!(
            rules.contains(&format!("{block} tcp dport 443 return")),
            "{rules}"
        );
        assert!(rules.contains(&format!("{block} udp dport 53 return")), "{rules}");
    }

    #[test]
    fn a_policy_of_another_namespace_selects_nothing_here() {
        let rules =
            rules(json!([{"metadata": {"name": "p", "namespace": "health"}, "spec": {"podSelector": {}}}]));
        assert!(!rules.contains("198.18.10."), "{rules}");
    }
}
