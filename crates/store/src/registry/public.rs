//! Names of hosts that only a server named: they must lead to the public network.

use super::address;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Looks names up, and gives only numbers of the public network.
#[derive(Debug)]
pub(super) struct PublicOnly {
    /// Proxies are resolved by the same client, and were named by a person.
    pub proxies: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("it is not a public address")]
pub(super) struct NotPublic;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let is_proxy = self.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(name.as_str()));
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<_> =
                found.into_iter().filter(|address| is_proxy || address::is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}
