//! One HTTPS request to a URL that a user names: sent without credentials; only its status counts.
//!
//! The operator's network is not the user's, so the URL must not reach anything near the operator. The AWSAccount
//! decides which hosts are allowed. This module accepts only host names, uses only TLS, follows no redirects, reads no
//! body, and checks the resolved address in the same lookup that the connection uses. It uses no proxy, which would
//! resolve the name again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use crate::vocabulary::problem::{Class, Problem, Source};

const ACTION: &str = "GET";
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a connection to an address is allowed.
pub type Allowed = fn(IpAddr) -> bool;

/// The status of the answer of `url`, whose host is `host`; `trust` are the trusted certificates.
pub async fn probe_url(url: &str, host: &str, allowed: Allowed, trust: TlsContext) -> Result<u16, Problem> {
    let failed = |code: &str, text: String| Problem::at(Source::Endpoint, Class::Unavailable, ACTION, code, text);
    // A numeric address would bypass the lookup.
    if host.parse::<IpAddr>().is_ok() || !url.starts_with("https://") {
        return Err(Problem::at(
            Source::Endpoint,
            Class::Refused,
            ACTION,
            "NotAllowed",
            "only https and the name of a host are taken",
        ));
    }
    let builder = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(trust);
    let connector = builder.build_with_resolver(Lookup { allowed });
    let mut request = HttpRequest::empty();
    request.set_uri(url).map_err(|error| failed("BadAddress", error.to_string()))?;
    match tokio::time::timeout(TIMEOUT, connector.call(request)).await {
        Ok(Ok(response)) => Ok(response.status().as_u16()),
        Ok(Err(error)) => Err(failed("Unreachable", super::error::root_cause(&error).to_string())),
        Err(_) => Err(failed("Timeout", "no answer in 5 s".to_owned())),
    }
}

/// Whether an address may be a server that a user names: not the operator's own host, and nothing that only its network
/// can reach, such as the metadata service. Private networks are allowed, because such servers are often there.
pub fn is_allowed_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !(v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets()[0] == 0)
        }
        IpAddr::V6(v6) => {
            // AWS's own services on each host: metadata, credentials of EKS Pod Identity, DNS, time.
            let of_aws = v6.segments()[..2] == [0xfd00, 0xec2];
            let near = v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || of_aws;
            !near && translated(v6).is_none_or(|v4| is_allowed_address(v4.into()))
        }
    }
}

/// The IPv4 address to which a network translates this address: NAT64 (RFC 6052, RFC 8215), 6to4, and a form that is no
/// longer used.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let (high, low) = match (a, b) {
        (0x64, 0xff9b) | (0, 0) if (c, d, e, f) == (0, 0, 0, 0) => (g, h),
        (0x64, 0xff9b) if c == 1 => (g, h),
        (0x2002, high) => (high, c),
        _ => return None,
    };
    Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
}

#[derive(Clone, Debug)]
struct Lookup {
    allowed: Allowed,
}

impl ResolveDns for Lookup {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = tokio::net::lookup_host((name, 0)).await.map_err(ResolveDnsError::new)?;
            let found: Vec<_> = found.map(|address| address.ip()).collect();
            if let Some(refused) = found.iter().find(|address| !(self.allowed)(**address)) {
                return Err(ResolveDnsError::new(format!("{name} is {refused}, which may not be asked")));
            }
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::tls_context;
    use super::*;

    #[test]
    fn nothing_near_the_operator_is_asked() {
        for near in [
            "127.0.0.1",
            "169.254.169.254",
            "169.254.170.23",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2002:7f00:1::",
            "224.0.0.1",
        ] {
            assert!(!is_allowed_address(near.parse().unwrap()), "{near}");
        }
        for server in ["10.1.2.3", "192.168.1.1", "52.1.2.3", "2001:db8::1", "64:ff9b::10.1.2.3", "2002:3401:203::1", "fd12::1"] {
            assert!(is_allowed_address(server.parse().unwrap()), "{server}");
        }
    }

    #[tokio::test]
    async fn names_are_looked_up_and_checked() {
        let problem =
            probe_url("https://localhost:1/x", "localhost", is_allowed_address, tls_context().unwrap()).await.unwrap_err();
        assert!(problem.message.contains("may not be asked"), "{problem:?}");
        for (url, host) in [("https://127.0.0.1/", "127.0.0.1"), ("http://localhost/", "localhost")] {
            assert_eq!(probe_url(url, host, |_| true, tls_context().unwrap()).await.unwrap_err().code, "NotAllowed", "{url}");
        }
    }
}
