//! The sovereignty guard: where copies may go, whatever a resource says.
//!
//! It is asked twice: by the operator when a resource is judged, and by the sidecar at each connection with the address that the
//! name really resolved to, because a name may point elsewhere tomorrow.

mod address;
mod cloud;

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

pub use cloud::COMMERCIAL_CLOUDS;

use crate::Reason;
use crate::endpoint::{Endpoint, EndpointHost};

/// Whether loopback addresses may be reached.
///
/// No resource and no configuration can say `Allowed`: only who starts the process, for tests against a store on the same machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loopback {
    /// The rule.
    #[default]
    Refused,
    /// For tests on one machine.
    Allowed,
}

/// What a resource allows on top of the guard's own rules: it can only narrow them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sovereignty {
    allowed_hosts: Vec<String>,
    allowed_networks: Vec<IpNet>,
    loopback: Loopback,
}

/// Why copies must not go somewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSovereign {
    /// A commercial cloud.
    #[error(
        "{host} belongs to a commercial cloud ({suffix}): copies, and what is told of them, go only to what is under the \
         state's own control, and no setting allows this"
    )]
    CommercialCloud {
        /// The host, as it is written.
        host: String,
        /// The suffix that gave it away.
        suffix: &'static str,
    },
    /// A host that is not on the list.
    #[error("{host} is not among sovereignty.allowedHosts: name it there if the state controls it")]
    HostNotAllowed {
        /// The host of the endpoint.
        host: String,
    },
    /// An address that is not on the list.
    #[error(
        "{address} is in none of sovereignty.allowedNetworks: add its network there if the state controls it"
    )]
    NetworkNotAllowed {
        /// The address that would have been connected to.
        address: IpAddr,
    },
    /// An address where no embassy can be.
    #[error(
        "{address} is {kind}, where neither an embassy nor a registry can be: give the address of the store or database"
    )]
    ForbiddenAddress {
        /// The address that would have been connected to.
        address: IpAddr,
        /// What it is.
        kind: &'static str,
    },
    /// A list entry that is not a network.
    #[error(
        "sovereignty.allowedNetworks holds '{text}', which is not a network: write it like 203.0.113.0/24 or 2001:db8::/32"
    )]
    InvalidNetwork {
        /// What was given.
        text: String,
    },
}

impl NotSovereign {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::InvalidNetwork { .. } => Reason::InvalidNetwork,
            _ => Reason::NotSovereign,
        }
    }
}

impl Sovereignty {
    /// Reads the lists of a resource; empty lists narrow nothing.
    pub fn parse<H: AsRef<str>, N: AsRef<str>>(hosts: &[H], networks: &[N]) -> Result<Self, NotSovereign> {
        let allowed_hosts = hosts.iter().map(|host| normal_host(host.as_ref())).collect();
        let allowed_networks = networks
            .iter()
            .map(|text| {
                let text = text.as_ref();
                text.parse::<IpNet>().map_err(|_| NotSovereign::InvalidNetwork {
                    text: text.chars().take(64).collect(),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            allowed_hosts,
            allowed_networks,
            loopback: Loopback::Refused,
        })
    }

    /// The same guard, with loopback as the process's starter said.
    #[must_use]
    pub fn with_loopback(self, loopback: Loopback) -> Self {
        Self { loopback, ..self }
    }

    /// The networks that the resource allows; empty where it names none.
    #[must_use]
    pub fn allowed_networks(&self) -> &[IpNet] {
        &self.allowed_networks
    }

    /// Judges an endpoint by its name, or by its address where it is written as one.
    pub fn judge_endpoint(&self, endpoint: &Endpoint) -> Result<(), NotSovereign> {
        let host = endpoint.host().to_string();
        if let EndpointHost::Name(name) = endpoint.host() {
            if let Some(suffix) = cloud::of(name) {
                return Err(NotSovereign::CommercialCloud { host, suffix });
            }
            if cloud::is_below(name, "localhost") && self.loopback == Loopback::Refused {
                return Err(NotSovereign::ForbiddenAddress {
                    address: Ipv4Addr::LOCALHOST.into(),
                    kind: "a loopback address",
                });
            }
        }
        if !self.allowed_hosts.is_empty() && !self.allowed_hosts.contains(&normal_host(&host)) {
            return Err(NotSovereign::HostNotAllowed { host });
        }
        match endpoint.host() {
            EndpointHost::Name(_) => Ok(()),
            EndpointHost::Address(address) => self.judge_address(*address),
        }
    }

    /// Judges a database's host as far as it can be told without asking for its address: one that is written as an address, and this machine's
    /// own name. Every address is judged again when it is connected to.
    pub fn judge_host(&self, host: &str) -> Result<(), NotSovereign> {
        let host = normal_host(host);
        if host == "localhost" || host.ends_with(".localhost") {
            return self.judge_address(Ipv4Addr::LOCALHOST.into());
        }
        host.parse().map_or(Ok(()), |address| self.judge_address(address))
    }

    /// Judges a host that copies are opened into, or that is told of them: a database that is restored into, a collector of traces. Beyond what
    /// [`Self::judge_host`] refuses, it is no commercial cloud's.
    pub fn judge_destination(&self, host: &str) -> Result<(), NotSovereign> {
        let name = normal_host(host);
        if let Some(suffix) = cloud::of(&name) {
            return Err(NotSovereign::CommercialCloud { host: name, suffix });
        }
        self.judge_host(host)
    }

    /// Judges the address that is about to be connected to.
    pub fn judge_address(&self, address: IpAddr) -> Result<(), NotSovereign> {
        let forbidden = |kind| NotSovereign::ForbiddenAddress { address, kind };
        let plain = address::plain(address).map_err(forbidden)?;
        if let Some(kind) = address::forbidden(plain, self.loopback) {
            return Err(forbidden(kind));
        }
        let allowed = self.allowed_networks.is_empty()
            || self
                .allowed_networks
                .iter()
                .any(|network| network.contains(&plain) || network.contains(&address));
        if allowed {
            Ok(())
        } else {
            Err(NotSovereign::NetworkNotAllowed { address })
        }
    }
}

fn normal_host(host: &str) -> String {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.')
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_databases_host_is_judged_by_what_can_be_told_of_it_before_it_is_asked_for() {
        let guard = Sovereignty::default();
        for host in [
            "169.254.169.254",
            "[::1]",
            "::ffff:127.0.0.1",
            "LocalHost.",
            "db.localhost",
            "fd00:ec2::254",
        ] {
            assert!(guard.judge_host(host).is_err(), "{host}");
        }
        for host in ["population-db", "10.0.0.7", "localhost.example", "fd00::7"] {
            assert_eq!(guard.judge_host(host), Ok(()), "{host}");
        }
    }

    #[test]
    fn nothing_is_opened_in_a_commercial_cloud_and_nothing_is_told_there() {
        let guard = Sovereignty::default();
        for host in [
            "registry.abc.eu-central-1.rds.amazonaws.com",
            "Registry.Postgres.Database.Azure.Com.",
            "windows.net",
            "169.254.169.254",
            "localhost",
        ] {
            let error = guard.judge_destination(host).unwrap_err();
            assert_eq!(error.reason(), Reason::NotSovereign, "{host}");
        }
        for host in [
            "population-db",
            "10.0.0.7",
            "amazonaws.com.embassy.example",
            "fd00::7",
        ] {
            assert_eq!(guard.judge_destination(host), Ok(()), "{host}");
        }
    }

    fn guard() -> Sovereignty {
        Sovereignty::parse::<&str, &str>(&[], &[]).unwrap()
    }

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse(text, true).unwrap()
    }

    #[test]
    fn a_commercial_cloud_is_refused_whatever_the_resource_says() {
        let host = "bucket.s3.eu-central-1.amazonaws.com";
        let allowing = Sovereignty::parse(&[host], &["0.0.0.0/0"]).unwrap();
        let error = allowing
            .judge_endpoint(&endpoint(&format!("https://{host}")))
            .unwrap_err();
        assert_eq!(
            error,
            NotSovereign::CommercialCloud {
                host: host.into(),
                suffix: "amazonaws.com"
            }
        );
        assert_eq!(error.reason(), Reason::NotSovereign);
    }

    #[test]
    fn a_cloud_is_known_in_capitals_and_with_a_final_dot() {
        for text in [
            "https://S3.AmazonAWS.com",
            "https://s3.amazonaws.com.",
            "https://windows.net",
        ] {
            assert!(guard().judge_endpoint(&endpoint(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_that_only_ends_alike_is_no_cloud() {
        assert_eq!(
            guard().judge_endpoint(&endpoint("https://notamazonaws.com")),
            Ok(())
        );
        assert_eq!(
            guard().judge_endpoint(&endpoint("https://amazonaws.com.embassy.example")),
            Ok(())
        );
    }

    #[test]
    fn the_list_of_clouds_is_in_normal_form() {
        for suffix in COMMERCIAL_CLOUDS {
            assert_eq!(normal_host(suffix), *suffix);
            assert!(suffix.contains('.') && !suffix.starts_with('.'), "{suffix}");
        }
    }

    #[test]
    fn only_listed_hosts_are_allowed_once_there_is_a_list() {
        let narrow = Sovereignty::parse::<_, &str>(&["Gate.Embassy.Example."], &[]).unwrap();
        assert_eq!(
            narrow.judge_endpoint(&endpoint("https://gate.embassy.example")),
            Ok(())
        );
        assert_eq!(
            narrow.judge_endpoint(&endpoint("https://store.embassy.example")),
            Err(NotSovereign::HostNotAllowed {
                host: "store.embassy.example".into()
            })
        );
    }

    #[test]
    fn addresses_where_no_embassy_can_be_are_refused_in_every_spelling() {
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001::1",
            "fe80::5efe:10.0.0.1",
            "2001:db8::200:5efe:10.0.0.1",
            "::ffff:0:10.0.0.1",
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert!(guard().judge_address(address).is_err(), "{text}");
            let everything = Sovereignty::parse::<&str, _>(&[], &["0.0.0.0/0", "::/0"]).unwrap();
            assert!(
                everything.judge_address(address).is_err(),
                "{text} with everything allowed"
            );
        }
    }

    #[test]
    fn own_networks_are_reachable() {
        for text in [
            "10.1.2.3",
            "192.168.1.1",
            "203.0.113.7",
            "fd12::1",
            "2a00:1450::1",
            "::ffff:203.0.113.7",
        ] {
            assert_eq!(guard().judge_address(text.parse().unwrap()), Ok(()), "{text}");
        }
    }

    #[test]
    fn only_listed_networks_are_allowed_once_there_is_a_list() {
        let narrow = Sovereignty::parse::<&str, _>(&[], &["203.0.113.0/24", "2001:db8::/32"]).unwrap();
        assert_eq!(narrow.judge_address("203.0.113.9".parse().unwrap()), Ok(()));
        assert_eq!(
            narrow.judge_address("::ffff:203.0.113.9".parse().unwrap()),
            Ok(())
        );
        assert_eq!(narrow.judge_address("2001:db8::9".parse().unwrap()), Ok(()));
        assert!(narrow.judge_address("203.0.114.9".parse().unwrap()).is_err());
        assert!(narrow.judge_endpoint(&endpoint("https://198.51.100.1")).is_err());
    }

    #[test]
    fn loopback_needs_the_word_of_who_starts_the_process() {
        let test = guard().with_loopback(Loopback::Allowed);
        for text in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(test.judge_address(text.parse().unwrap()), Ok(()), "{text}");
        }
        assert!(
            guard()
                .judge_endpoint(&endpoint("https://localhost:9000"))
                .is_err()
        );
        assert_eq!(test.judge_endpoint(&endpoint("https://localhost:9000")), Ok(()));
        assert!(test.judge_address("169.254.169.254".parse().unwrap()).is_err());
    }

    #[test]
    fn a_network_that_is_none_has_a_reason_of_its_own() {
        let error = Sovereignty::parse::<&str, _>(&[], &["203.0.113.0/33"]).unwrap_err();
        assert_eq!(error.reason(), Reason::InvalidNetwork);
    }
}
