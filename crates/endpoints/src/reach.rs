//! What a call may reach whose host a message names: no address of this machine or of its own network.

use crate::AddressError;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use url::{Host, Url};

/// Who says where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSource {
    /// The flow itself: any host.
    Flow,
    /// A message: hosts elsewhere, and those of [`ClientOptions::allowed_local_hosts`](crate::ClientOptions).
    Message,
}

impl AddressSource {
    /// Who decides the host of the URLs that a template makes. It is the flow when nothing that follows the text before
    /// the first value can change the host or the port.
    #[must_use]
    pub fn of_template(template: &str) -> Self {
        let before = template.split('{').next().unwrap_or_default();
        let origin = |end: &str| Url::parse(&format!("{before}{end}")).ok().map(|url| url.origin());
        match origin("") {
            Some(fixed) if origin("0.other") == Some(fixed.clone()) => AddressSource::Flow,
            Some(_) | None => AddressSource::Message,
        }
    }
}

/// Refuses a URL whose host is a local address.
pub(crate) fn refuse_local(url: &Url) -> Result<(), AddressError> {
    let address: IpAddr = match url.host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        // What a name leads to is known when it is resolved.
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    refuse(url.host_str().unwrap_or_default(), [address].into_iter()).map(drop)
}

/// Leaves out local addresses. The connection is made to what it answers, so nothing can change between check and use.
pub(crate) struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public = refuse(name.as_str(), found.map(|address| address.ip()))?;
            let addresses: Addrs = Box::new(public.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// Those of a host's addresses that may be called, or why there are none.
fn refuse(host: &str, addresses: impl Iterator<Item = IpAddr>) -> Result<Vec<IpAddr>, AddressError> {
    let (local, public): (Vec<IpAddr>, Vec<IpAddr>) = addresses.partition(|address| is_local(*address));
    match local.first() {
        Some(address) if public.is_empty() => Err(AddressError::Local { host: host.to_owned(), address: *address }),
        Some(_) | None => Ok(public),
    }
}

/// Whether an address is none of the public internet.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_local_v4(address),
        IpAddr::V6(address) => is_local_v6(address),
    }
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        // This network, loopback, and what is reserved, broadcast among it.
        [0 | 127 | 240.., ..] => true,
        // Shared by the customers of a provider (RFC 6598), and by overlay networks.
        [100, 64..=127, ..] => true,
        // For protocols, and for benchmarks of networks.
        [192, 0, 0, _] | [198, 18 | 19, ..] => true,
        _ => address.is_private() || address.is_link_local() || address.is_multicast(),
    }
}

fn is_local_v6(address: Ipv6Addr) -> bool {
    if let Some(embedded) = embedded_v4(address) {
        return is_local_v4(embedded);
    }
    match address.segments() {
        // Translation within a network (RFC 8215).
        [0x64, 0xff9b, 1, ..] => true,
        // Site-local, which nobody should use any more.
        [0xfec0..=0xfeff, ..] => true,
        _ => address.is_unique_local() || address.is_unicast_link_local() || address.is_multicast(),
    }
}

/// The IPv4 address that an IPv6 one leads to in the end: mapped, compatible, NAT64 (RFC 6052), 6to4, Teredo.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => from(high, low),
        // Unspecified and loopback are 0.0.0.0 and 0.0.0.1 in this form.
        [0, 0, 0, 0, 0, 0, high, low] => from(high, low),
        [0x2001, 0, _, _, _, _, high, low] => from(!high, !low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_the_public_internet_is_local_in_whatever_form() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.20",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:192.168.1.1",
            "::ffff:0:10.0.0.1",
            "::127.0.0.1",
            "::10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::192.168.1.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "2001:0:1:2:3:4:80ff:fffe",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(is_local(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
            "2a00::1",
        ] {
            assert!(!is_local(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_host_with_public_and_local_addresses_is_called_at_the_public_ones() {
        let addresses = ["127.0.0.1", "1.1.1.1", "::1"].map(|address| address.parse().unwrap());
        assert_eq!(refuse("host", addresses.into_iter()).unwrap(), [addresses[1]]);
        assert!(refuse("host", [addresses[0], addresses[2]].into_iter()).is_err());
    }

    #[test]
    fn the_flow_decides_the_host_when_no_value_can_change_it() {
        for template in [
            "http://10.0.0.5/",
            "http://10.0.0.5:8080/{{ topic }}",
            "https://u:p@nas/?a={{ payload.a }}",
            "http://nas#{# note #}",
            r"http://nas\{{ topic }}",
        ] {
            assert_eq!(AddressSource::of_template(template), AddressSource::Flow, "{template}");
        }
        for template in [
            "http://{{ payload.ip }}/",
            "http://10.0.0.5{{ payload.digit }}/",
            "http://nas:{{ port }}/",
            "http://nas:80{{ port }}/",
            "http://u:p{{ x }}@nas/",
            "http:///{{ payload.ip }}/",
            "http:{{ x }}",
            "{{ payload.url | safe }}",
            "{% if true %}http://nas/{% endif %}",
            "http://nas",
            "nonsense",
        ] {
            assert_eq!(AddressSource::of_template(template), AddressSource::Message, "{template}");
        }
    }
}
