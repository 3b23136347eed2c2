//! The names of this server. A page that has its own name point at this machine's address (DNS rebinding) calls it by that
//! name, which is not among them.

use super::RulesError;
use crate::api::problem::Kind;
use crate::api::server::Local;
use std::net::IpAddr;

/// Names by which the server may be called, in lower case and without ports: a port may be another's that forwards to ours.
#[derive(Debug)]
pub(super) struct Hosts {
    names: Vec<String>,
    is_any: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HostError {
    #[error("the request has no Host header")]
    Missing,
    #[error("`{0}` is not a valid Host header")]
    Malformed(String),
    #[error("the request's Host header and the address in its first line differ")]
    Two,
    #[error("`{0}` is not a name of this server; if it should be, add it to SLM_ALLOWED_HOSTS")]
    Unknown(String),
}

impl HostError {
    pub(super) fn kind(&self) -> Kind {
        match self {
            HostError::Unknown(_) => Kind::Forbidden,
            HostError::Missing | HostError::Malformed(_) | HostError::Two => Kind::Invalid,
        }
    }
}

impl Hosts {
    /// `localhost`, how containers call their host, this server's own names, and a list of others.
    pub(super) fn new(own: &[String], others: &str) -> Result<Hosts, RulesError> {
        let known = ["localhost", "host.docker.internal", "host.containers.internal"];
        let mut hosts = Hosts { names: known.map(str::to_owned).to_vec(), is_any: false };
        let own = own.iter().filter_map(|name| host(name));
        for name in own {
            hosts.names.push(format!("{name}.local"));
            hosts.names.push(name);
        }
        for other in others.split(',').map(str::trim).filter(|other| !other.is_empty()) {
            match (other, host(other)) {
                ("*", _) => hosts.is_any = true,
                (_, Some(name)) => hosts.names.push(name),
                _ => return Err(RulesError::Host(other.to_owned())),
            }
        }
        Ok(hosts)
    }

    /// Judges the Host of a request, and the authority in its first line if it names one.
    pub(super) fn judge(&self, said: Option<&str>, named: Option<&str>, local: &Local) -> Result<(), HostError> {
        // A web page cannot open a socket's file.
        let Local::Tcp(local) = local else { return Ok(()) };
        let said = said.ok_or(HostError::Missing)?;
        if named.is_some_and(|named| !named.eq_ignore_ascii_case(said)) {
            return Err(HostError::Two);
        }
        let shown = || said.chars().take(100).collect::<String>();
        let name = host(said).ok_or_else(|| HostError::Malformed(shown()))?;
        let is_ours = match name.parse::<IpAddr>() {
            // Nobody can point an address elsewhere. From other machines any may lead here, over who knows what.
            Ok(ip) if local.ip().to_canonical().is_loopback() => {
                let ip = ip.to_canonical();
                ip.is_loopback() || ip.is_unspecified()
            }
            Ok(_) => true,
            Err(_) => self.names.contains(&name),
        };
        if is_ours || self.is_any { Ok(()) } else { Err(HostError::Unknown(shown())) }
    }
}

/// The host of `host[:port]` in lower case, an address in its usual form.
fn host(text: &str) -> Option<String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_port = |digits: &str| digits.is_empty() || digits.parse::<u16>().is_ok_and(|_| !digits.starts_with('+'));
    if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
        return None;
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    (!host.is_empty() && is_name).then_some(host)
}

/// This machine's name, as its system has it.
#[must_use]
pub fn machine_name() -> Option<String> {
    // Linux has it in a file; on other systems a program prints it.
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| {
        let printed = std::process::Command::new("hostname").output().ok()?;
        String::from_utf8(printed.stdout).ok()
    })?;
    let name = text.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
