//! The two sites, and which names and addresses each has on this machine.
//!
//! Several beds can be up at once: each has a number, which is in whatever it is called and wherever it lies, and a process sees one of them.

use std::{env, fmt, net::Ipv4Addr, ops::RangeInclusive, path::PathBuf, str::FromStr, sync::LazyLock};

/// The variable that says which of this machine's [beds](BEDS) is meant: the first, where it is not set.
pub const BED: &str = "DATAEMBASSY_BED";

/// The numbers of the beds that a machine can have. Each takes some 25 of the kernel's 128 inotify instances of one user.
pub const BEDS: RangeInclusive<u8> = 0..=4;

static NUMBER: LazyLock<Result<u8, String>> = LazyLock::new(|| match env::var(BED) {
    Err(env::VarError::NotPresent) => Ok(0),
    Ok(text) => parse_number(&text),
    Err(env::VarError::NotUnicode(text)) => parse_number(&text.to_string_lossy()),
});

fn parse_number(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(number) if BEDS.contains(&number) => Ok(number),
        _ => Err(format!(
            "{BED} is {text:?}: it is the number of one of this machine's beds, {} to {}",
            BEDS.start(),
            BEDS.end()
        )),
    }
}

/// The number of the bed that this process sees; an error says what is wrong with [`BED`].
pub fn bed_number() -> Result<u8, String> {
    NUMBER.clone()
}

/// That number, where somebody has asked for it before: bed 0 if nobody could have given it.
fn number() -> u8 {
    NUMBER.as_ref().copied().unwrap_or_default()
}

/// What tells the names of this bed from those of another: nothing, in the first one.
fn suffix(bed: u8) -> String {
    match bed {
        0 => String::new(),
        number => format!("-{number}"),
    }
}

/// Where everything of the bed lies.
#[must_use]
pub fn state() -> PathBuf {
    state_of(number())
}

/// Where everything of a bed lies. Short, because a Unix socket's path has 107 bytes.
#[must_use]
pub fn state_of(bed: u8) -> PathBuf {
    format!("/var/lib/dataembassy-e2e{}", suffix(bed)).into()
}

/// The network namespace for an end of the link whose site is gone.
pub(super) fn nowhere() -> String {
    format!("dataembassy-nowhere{}", suffix(number()))
}

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
        format!("dataembassy-{}{}", self.name(), suffix(number()))
    }

    /// The cgroup below which the kubelet puts pods: `/` and this.
    #[must_use]
    pub fn cgroup(self) -> String {
        format!("dataembassy-{}{}", self.name(), suffix(number()))
    }

    /// The folder with the cluster's state.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        state().join(self.name())
    }

    /// The node's address, on the link between the sites. TEST-NET-2 cannot be anybody else's.
    #[must_use]
    pub fn node(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, 10 * self.place())
    }

    /// The ends of the wire between the machine and the node: the machine's and the node's, /30 in TEST-NET-1.
    #[must_use]
    pub fn wire(self) -> (Ipv4Addr, Ipv4Addr) {
        let base = 4 * self.place();
        (
            Ipv4Addr::new(192, 0, 2, base + 1),
            Ipv4Addr::new(192, 0, 2, base + 2),
        )
    }

    /// The machine's end of that wire, as a link's name (at most 15 characters).
    #[must_use]
    pub fn wire_name(self) -> String {
        format!("de-{}{}", self.name(), suffix(number()))
    }

    /// Addresses of pods, /24.
    #[must_use]
    pub fn pods(self) -> String {
        format!("198.18.{}.0/24", 10 * self.place())
    }

    /// Addresses of Services, /24.
    #[must_use]
    pub fn services(self) -> String {
        format!("198.19.{}.0/24", 10 * self.place())
    }

    /// The first Service address, which Kubernetes gives to the API server.
    #[must_use]
    pub fn api_service(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 19, 10 * self.place(), 1)
    }

    /// Among all sites of all beds: 1 to 10.
    fn place(self) -> u8 {
        self.place_in(number())
    }

    const fn place_in(self, bed: u8) -> u8 {
        2 * bed
            + match self {
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
    use std::collections::BTreeSet;

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

    #[test]
    fn no_two_beds_share_an_address_or_a_name() {
        let places: BTreeSet<u8> = BEDS
            .flat_map(|bed| Site::BOTH.map(|site| site.place_in(bed)))
            .collect();
        assert_eq!(places.len(), 2 * BEDS.count());
        // Ten times a place is the last part of an address.
        assert!(places.iter().all(|place| u8::checked_mul(10, *place).is_some()));
        let suffixes: BTreeSet<String> = BEDS.map(suffix).collect();
        assert_eq!(suffixes.len(), BEDS.count());
        // A link's name has at most 15 characters.
        assert!(
            suffixes
                .iter()
                .all(|suffix| format!("de-embassy{suffix}").len() <= 15)
        );
    }

    #[test]
    fn a_bed_that_cannot_be_is_refused_with_the_numbers_that_can() {
        assert_eq!(parse_number("3"), Ok(3));
        for wrong in ["5", "-1", "", "embassy"] {
            let why = parse_number(wrong).unwrap_err();
            assert!(why.contains("0 to 4") && why.contains(wrong), "{why}");
        }
    }
}
