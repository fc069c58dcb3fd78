//! The two sites, and which names and addresses each has on this machine.

use std::{fmt, net::Ipv4Addr, path::PathBuf, str::FromStr};

/// Where everything of a running bed lies. Short, because a Unix socket's path has 107 bytes.
pub const STATE: &str = "/var/lib/dataembassy-e2e";

/// One of the two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// Where registries run.
    Home,
    /// Where their copies are.
    Embassy,
}

impl Site {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Home, Self::Embassy];

    /// `home` or `embassy`; also the name of the cluster's only node.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Embassy => "embassy",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Home => Self::Embassy,
            Self::Embassy => Self::Home,
        }
    }

    /// The network namespace.
    #[must_use]
    pub fn namespace(self) -> String {
        format!("dataembassy-{}", self.name())
    }

    /// The cgroup below which the kubelet puts pods: `/` and this.
    #[must_use]
    pub fn cgroup(self) -> String {
        format!("dataembassy-{}", self.name())
    }

    /// The folder with the cluster's state.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        PathBuf::from(STATE).join(self.name())
    }

    /// The node's address, on the link between the sites. TEST-NET-2 cannot be anybody else's.
    #[must_use]
    pub const fn node(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, 10 * self.number())
    }

    /// The ends of the wire between the machine and the node: the machine's and the node's, /30 in TEST-NET-1.
    #[must_use]
    pub const fn wire(self) -> (Ipv4Addr, Ipv4Addr) {
        let base = 4 * self.number();
        (
            Ipv4Addr::new(192, 0, 2, base + 1),
            Ipv4Addr::new(192, 0, 2, base + 2),
        )
    }

    /// The machine's end of that wire, as a link's name (at most 15 characters).
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::Home => "de-home",
            Self::Embassy => "de-embassy",
        }
    }

    /// Addresses of pods, /24.
    #[must_use]
    pub fn pods(self) -> String {
        format!("198.18.{}.0/24", 10 * self.number())
    }

    /// Addresses of Services, /24.
    #[must_use]
    pub fn services(self) -> String {
        format!("198.19.{}.0/24", 10 * self.number())
    }

    /// The first Service address, which Kubernetes gives to the API server.
    #[must_use]
    pub const fn api_service(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 19, 10 * self.number(), 1)
    }

    const fn number(self) -> u8 {
        match self {
            Self::Home => 1,
            Self::Embassy => 2,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Site {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::BOTH
            .into_iter()
            .find(|site| site.name() == text)
            .ok_or_else(|| format!("there is no cluster {text}: say home or embassy"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sites_share_no_name_and_no_address() {
        let (home, embassy) = (Site::Home, Site::Embassy);
        assert_eq!(home.node().to_string(), "198.51.100.10");
        assert_eq!(embassy.wire().0.to_string(), "192.0.2.9");
        assert_ne!(home.pods(), embassy.pods());
        assert_ne!(home.services(), embassy.services());
        assert_ne!(home.namespace(), embassy.namespace());
        assert_eq!("embassy".parse(), Ok(embassy));
        assert!("abroad".parse::<Site>().is_err());
    }
}
