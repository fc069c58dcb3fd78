//! The link between the sites, the way between two pods of home, and what can go wrong with them.
//!
//! Faults are nftables rules in home's network, on what crosses the link, and a token bucket on what home sends; the wires to this machine are
//! not touched, so that a test still sees both sides.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::cluster::{
    Site,
    network::{LINK, filter, shape},
};

/// What happens to packets that cross the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They vanish, both ways, as when a cable is cut.
    Cut,
    /// What home sends vanishes; what comes from the embassy arrives.
    Mute,
    /// What comes from the embassy vanishes; what home sends arrives.
    Deaf,
    /// Whoever sends one is told at once that nobody is there.
    Refused,
    /// This share of them vanishes, in percent.
    Lossy(u8),
    /// What home sends goes out at so many kilobits a second.
    Slow(u32),
}

/// Brings a fault upon the link, in place of the one there may be.
pub async fn break_link(fault: Fault) -> Result<()> {
    let rate = match fault {
        Fault::Slow(kilobits) => Some(kilobits),
        _ => None,
    };
    filter(Site::Home, &rules(fault)).await?;
    shape(Site::Home, rate).await
}

/// Makes the link whole.
pub async fn mend_link() -> Result<()> {
    // Declaring a table makes sure there is one to delete.
    let whole = "table inet link_fault {}\ndelete table inet link_fault\n";
    let (open, fast) = (filter(Site::Home, whole).await, shape(Site::Home, None).await);
    open.and(fast)
}

/// From now on, what is sent from home to this port of the embassy's node vanishes, and nobody is told. For ports that nobody else uses.
pub async fn swallow(port: u16) -> Result<()> {
    let embassy = Site::Embassy.node();
    filter(
        Site::Home,
        &format!(
            "table inet swallow_{port} {{}}
delete table inet swallow_{port}
table inet swallow_{port} {{
    chain passing {{ type filter hook forward priority -10; ip daddr {embassy} tcp dport {port} drop; }}
}}
"
        ),
    )
    .await
}

/// Which packets between two pods vanish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severed {
    /// Those of both.
    Both,
    /// Those that the first one sends.
    First,
    /// Those that the second one sends.
    Second,
}

/// From now on packets between two pods of home vanish, and nobody is told; in place of what was so between them before.
pub async fn sever(pods: [Ipv4Addr; 2], what: Severed) -> Result<()> {
    filter(Site::Home, &severing(pods, Some(what))).await
}

/// Lets two pods of home reach each other again.
pub async fn rejoin(pods: [Ipv4Addr; 2]) -> Result<()> {
    filter(Site::Home, &severing(pods, None)).await
}

fn severing([first, second]: [Ipv4Addr; 2], what: Option<Severed>) -> String {
    // A table of their own, so that others are not in the way of each other.
    let table = format!("severed_{:x}_{:x}", first.to_bits(), second.to_bits());
    let fresh = format!("table inet {table} {{}}\ndelete table inet {table}\n");
    let Some(what) = what else { return fresh };
    let vanish = |from: Ipv4Addr, to: Ipv4Addr| format!("ip saddr {from} ip daddr {to} drop; ");
    let (going, coming) = (vanish(first, second), vanish(second, first));
    let dropped = match what {
        Severed::Both => going + &coming,
        Severed::First => going,
        Severed::Second => coming,
    };
    format!(
        "{fresh}table inet {table} {{
    chain passing {{ type filter hook forward priority -10; {dropped}}}
}}
"
    )
}

fn rules(fault: Fault) -> String {
    let what = match fault {
        Fault::Cut | Fault::Mute | Fault::Deaf => "drop".to_owned(),
        Fault::Refused => "reject".to_owned(),
        Fault::Lossy(percent) => format!("numgen random mod 100 < {percent} drop"),
        Fault::Slow(_) => "accept".to_owned(),
    };
    let coming = format!("iifname \"{LINK}\" {what}; ");
    let going = format!("oifname \"{LINK}\" {what}; ");
    let coming = if fault == Fault::Mute { "" } else { &coming };
    let going = if fault == Fault::Deaf { "" } else { &going };
    format!(
        "table inet link_fault {{}}
delete table inet link_fault
table inet link_fault {{
    chain arriving {{ type filter hook input priority -10; {coming}}}
    chain leaving {{ type filter hook output priority -10; {going}}}
    chain passing {{ type filter hook forward priority -10; {coming}{going}}}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_replaces_the_one_before_in_one_transaction() {
        let rules = rules(Fault::Lossy(30));
        let delete = rules.find("delete table").unwrap();
        let make = rules.find("chain arriving").unwrap();
        assert!(
            delete < make && rules.matches("numgen random mod 100 < 30 drop").count() == 4,
            "{rules}"
        );
    }

    #[test]
    fn two_pods_are_severed_one_way_or_both_and_rejoined_by_what_severed_them() {
        let pods = [Ipv4Addr::new(198, 18, 10, 5), Ipv4Addr::new(198, 18, 10, 6)];
        for (what, going, coming) in [
            (Severed::Both, 1, 1),
            (Severed::First, 1, 0),
            (Severed::Second, 0, 1),
        ] {
            let rules = severing(pods, Some(what));
            let count = |from: &str, to: &str| {
                let packets = format!("ip saddr 198.18.10.{from} ip daddr 198.18.10.{to} drop");
                rules.matches(&packets).count()
            };
            assert_eq!((count("5", "6"), count("6", "5")), (going, coming), "{rules}");
            assert!(rules.starts_with(&severing(pods, None)), "{rules}");
        }
    }

    #[test]
    fn one_way_is_left_open_where_only_the_other_is_closed() {
        for (fault, closed, open) in [
            (Fault::Mute, "oifname", "iifname"),
            (Fault::Deaf, "iifname", "oifname"),
        ] {
            let rules = rules(fault);
            assert_eq!(rules.matches(closed).count(), 2, "{rules}");
            assert!(!rules.contains(open), "{rules}");
        }
    }
}
