//! Addresses where no embassy can be, in every spelling.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Loopback;

/// Addresses under which clouds tell a machine its own secrets, apart from those in 169.254.0.0/16.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x0c1, 0, 0, 0xa9fe, 0, 0xa9fe, 0xa9fe),
];

/// The address that packets end at: of an IPv6 address that stands for an IPv4 address, that one. Fails with what it is where such an
/// address is refused as a whole.
pub(super) fn plain(address: IpAddr) -> Result<IpAddr, &'static str> {
    match address {
        IpAddr::V4(_) => Ok(address),
        IpAddr::V6(v6) => Ok(carried_v4(v6)?.map_or(address, IpAddr::V4)),
    }
}

/// What an address is, if no embassy can be there.
pub(super) fn forbidden(address: IpAddr, loopback: Loopback) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4, loopback),
        IpAddr::V6(v6) => forbidden_v6(v6, loopback),
    }
}

/// The IPv4 address that an IPv6 address stands for, or why such an address is refused as a whole.
///
/// A translator or tunnel turns these into IPv4 on the way, so `64:ff9b::169.254.169.254` reaches the metadata service.
fn carried_v4(v6: Ipv6Addr) -> Result<Option<Ipv4Addr>, &'static str> {
    let last = || {
        let [.., a, b, c, d] = v6.octets();
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Ok(Some(last())),
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Ok(None),
        [0, 0, 0, 0, 0 | 0xffff, 0, _, _] => Err("an IPv4 address in obsolete IPv6 clothes"),
        [0x64, 0xff9b, 1, ..] => Err("an address of a local translator"),
        [0x2002, ..] => Err("a 6to4 tunnel address"),
        [0x2001, 0, ..] => Err("a Teredo tunnel address"),
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => Err("an ISATAP tunnel address"),
        _ => Ok(None),
    }
}

fn forbidden_v4(address: Ipv4Addr, loopback: Loopback) -> Option<&'static str> {
    if address.is_loopback() {
        return (loopback == Loopback::Refused).then_some("a loopback address");
    }
    if address.octets()[0] == 0 {
        Some("no address")
    } else if address.is_link_local() {
        Some("a link-local address")
    } else if METADATA_V4.contains(&address) {
        Some("a cloud's metadata service")
    } else if address.is_multicast() || address.octets()[0] >= 240 {
        Some("not the address of one machine")
    } else {
        None
    }
}

fn forbidden_v6(address: Ipv6Addr, loopback: Loopback) -> Option<&'static str> {
    if address.is_loopback() {
        return (loopback == Loopback::Refused).then_some("a loopback address");
    }
    if address.is_unspecified() {
        Some("no address")
    } else if address.is_unicast_link_local() {
        Some("a link-local address")
    } else if address.segments()[0] & 0xffc0 == 0xfec0 {
        Some("a site-local address")
    } else if METADATA_V6.contains(&address) {
        Some("a cloud's metadata service")
    } else if address.is_multicast() {
        Some("not the address of one machine")
    } else {
        None
    }
}
