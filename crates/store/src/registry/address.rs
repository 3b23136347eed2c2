//! Which hosts may be contacted, and how: the hosts that a person named, the addresses that others may not lead to. It
//! contacts none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// The hosts that a person named on the command line or in the configuration, without those of the models' names.
#[derive(Debug, Clone, Default)]
pub struct NamedHosts {
    /// `host` or `host:port` that may be spoken to without TLS, wherever they are.
    pub insecure: Vec<String>,
    /// `host` or `host:port` that a registry may lead to, wherever they are, and give its credentials to.
    pub allowed: Vec<String>,
    /// Hosts of proxies.
    pub proxies: Vec<String>,
}

impl NamedHosts {
    /// Whether a list names the host of an address, with its port or without.
    fn lists(list: &[String], url: &Url) -> bool {
        list.iter()
            .any(|named| named.eq_ignore_ascii_case(url.host_str().unwrap_or_default()) || *named == authority(url))
    }

    /// Whether an address may be contacted without TLS.
    #[must_use]
    pub fn may_be_plain(&self, url: &Url) -> bool {
        is_loopback(url) || NamedHosts::lists(&self.insecure, url)
    }

    /// Whether a person named the host of an address, beside the registry's.
    #[must_use]
    pub fn names(&self, url: &Url) -> bool {
        NamedHosts::lists(&self.insecure, url) || NamedHosts::lists(&self.allowed, url)
    }

    /// Whether a registry may give its credentials to an address.
    #[must_use]
    pub fn allows(&self, url: &Url) -> bool {
        NamedHosts::lists(&self.allowed, url)
    }
}

/// `host:port` with the port that counts.
#[must_use]
pub fn authority(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// Whether two addresses are of one server: scheme, host and port.
#[must_use]
pub fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme() && authority(one) == authority(other)
}

/// Whether the host of an address is this machine, by its name or number.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// The number in an address that has one in place of a name.
#[must_use]
pub fn ip(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(ip.into()),
        Host::Domain(_) => None,
    }
}

/// Whether a number is one of the public network. The ranges are those of the IANA special-purpose address registries
/// (RFC 6890 and its updates); an IPv6 number that carries an IPv4 one is what that is.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = match (a, b, c) {
        // This host, private, loopback, link-local, multicast and reserved.
        (0 | 10 | 127 | 224..=255, _, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // Carriers' shared space, protocol assignments, relay, benchmarks, documentation.
        (100, 64..=127, _) | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => {
            true
        }
        _ => false,
    };
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let parts = ip.segments();
    let inner = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // Mapped (::ffff:0:0/96) and compatible (::/96, with loopback and unspecified in it).
        [0, 0, 0, 0, 0, 0xffff, high, low] => inner(high, low),
        [0, 0, 0, 0, 0, 0, ..] => false,
        // NAT64 and 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        // Local NAT64, discard, Teredo and other protocol assignments, documentation.
        [0x64, 0xff9b, 1, ..] | [0x100, 0, 0, 0, ..] | [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] => false,
        [0x3fff, 0..=0xfff, ..] | [0x5f00, ..] => false,
        // Unique local, link-local, site-local, multicast.
        [first, ..] => !matches!(first, 0xfc00..=0xfdff | 0xfe80..=0xfeff | 0xff00..=0xffff),
    }
}

/// Whether the keeper of one host's credentials may be asked at another: the same server; or a host beside or above it
/// in the domain's tree, as `auth.docker.io` for `registry-1.docker.io` and `gitlab.com` for `registry.gitlab.com`.
#[must_use]
pub fn is_realm_of(registry: &Url, realm: &Url) -> bool {
    if is_same_origin(registry, realm) {
        return true;
    }
    let (Some(Host::Domain(registry_name)), Some(Host::Domain(realm_name))) = (registry.host(), realm.host()) else {
        return false;
    };
    if realm.scheme() != "https" || registry.scheme() != "https" {
        return false;
    }
    // A parent with a dot in it, so that no whole `com` is a family. Where a public suffix has two parts (`co.uk`), the
    // registry must have four.
    let Some((_, parent)) = registry_name.split_once('.') else { return false };
    let is_family = parent.contains('.') && !is_public_suffix_like(parent);
    is_family && (realm_name == parent || realm_name.split_once('.').is_some_and(|(_, above)| above == parent))
        || (registry_name, realm_name) == ("registry.ollama.ai", "ollama.com")
}

/// Whether a name may be a public suffix of two parts: a short second level under a country's, as `co.uk`.
fn is_public_suffix_like(name: &str) -> bool {
    matches!(name.split('.').collect::<Vec<_>>().as_slice(), [second, country] if second.len() <= 3 && country.len() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn private_numbers_are_told_in_every_spelling() {
        let private = [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.5.4",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.170",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "::7f00:1",
        ];
        for ip in private {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        // The parser of addresses knows the odd spellings of numbers.
        for text in
            ["http://2130706433/", "http://0x7f.1/", "http://017700000001/", "http://127.1/", "http://[::ffff:7f00:1]/"]
        {
            assert!(ip(&url(text)).is_some_and(|ip| !is_public(ip)), "{text}");
        }
    }

    #[test]
    fn a_realm_is_of_the_registrys_family() {
        let is = |registry: &str, realm: &str| is_realm_of(&url(registry), &url(realm));
        assert!(is("https://ghcr.io/", "https://ghcr.io/token"));
        assert!(is("https://registry-1.docker.io/", "https://auth.docker.io/token"));
        assert!(is("https://registry.gitlab.com/", "https://gitlab.com/jwt/auth"));
        assert!(is("https://registry.ollama.ai/", "https://ollama.com/token"));
        assert!(is("http://127.0.0.1:5000/", "http://127.0.0.1:5000/token"));
        assert!(!is("http://127.0.0.1:5000/", "http://127.0.0.1:5001/token"));
        assert!(!is("https://ghcr.io/", "https://evil.io/token"));
        assert!(!is("https://shop.co.uk/", "https://evil.co.uk/token"));
        assert!(!is("https://registry.example.com/", "http://auth.example.com/token"));
        assert!(!is("https://registry.example.com/", "https://auth.example.com.evil.net/token"));
        assert!(!is("https://registry.example.com/", "https://10.0.0.1/token"));
    }

    #[test]
    fn plain_http_is_for_loopback_and_named_hosts() {
        let named =
            NamedHosts { insecure: vec!["reg.corp:5000".to_owned(), "other.corp".to_owned()], ..NamedHosts::default() };
        assert!(named.may_be_plain(&url("http://127.0.0.1:5000/")) && named.may_be_plain(&url("http://localhost/")));
        assert!(named.may_be_plain(&url("http://reg.corp:5000/")) && named.may_be_plain(&url("http://other.corp:81/")));
        assert!(!named.may_be_plain(&url("http://reg.corp:5001/")) && !named.may_be_plain(&url("http://10.0.0.1/")));
    }
}
