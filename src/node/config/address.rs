//! `host:port` texts.

use crate::limits::ADDRESS_BYTES_MAX;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// No `:port`.
    #[error("an address is host:port, the port is missing")]
    NoPort,
    /// Not a number of 16 bits.
    #[error("the port must be a number up to 65535")]
    BadPort,
    /// Port 0 where it means nothing.
    #[error("the port must not be 0")]
    ZeroPort,
    /// Port 0 where another key says how the socket is reached.
    #[error("the port must not be 0 where bind is set: peers are told address, the socket listens at bind")]
    ZeroPortBound,
    /// Nothing before the port.
    #[error("an address is host:port, the host is missing")]
    NoHost,
    /// Neither a name nor an IPv4 address.
    #[error("the host is neither a name nor an IP address")]
    BadHost,
    /// An IPv6 address without brackets, or something else in them.
    #[error("an IPv6 address stands in brackets, as in [::1]:2526")]
    BadIpv6,
    /// Longer than a control packet can carry.
    #[error("an address has at most {ADDRESS_BYTES_MAX} bytes")]
    TooLong,
}

/// A text taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostPort<'a> {
    pub(super) host: Host<'a>,
    pub(super) port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host<'a> {
    Name(&'a str),
    Ip(IpAddr),
}

impl<'a> HostPort<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, AddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        if let Some(bracketed) = text.strip_prefix('[') {
            let (host, port) = bracketed.split_once(']').ok_or(AddressError::BadIpv6)?;
            let host: Ipv6Addr = host.parse().map_err(|_| AddressError::BadIpv6)?;
            let port = port.strip_prefix(':').ok_or(AddressError::NoPort)?;
            return Ok(Self { host: Host::Ip(IpAddr::V6(host)), port: parse_port(port)? });
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
        if host.contains(':') {
            return Err(AddressError::BadIpv6);
        }
        Ok(Self { host: Host::parse(host)?, port: parse_port(port)? })
    }

    /// Whether listening on both at once is impossible.
    pub(super) fn collides_with(self, other: HostPort<'_>) -> bool {
        let wildcard = self.is_wildcard() || other.is_wildcard();
        self.is_same_as(other) || self.port == other.port && self.port != 0 && wildcard
    }

    /// Whether both are one address, as far as the texts tell.
    pub(super) fn is_same_as(self, other: HostPort<'_>) -> bool {
        self.port == other.port && self.port != 0 && self.host.same_as(other.host)
    }

    pub(super) fn is_wildcard(self) -> bool {
        matches!(self.host, Host::Ip(ip) if ip.is_unspecified())
    }
}

impl<'a> Host<'a> {
    fn parse(text: &'a str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::NoHost);
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(IpAddr::V4(ip)));
        }
        let lawful = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let like_ipv4 = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if like_ipv4 || !text.bytes().all(lawful) || text.starts_with(['.', '-']) {
            return Err(AddressError::BadHost);
        }
        Ok(Self::Name(text))
    }

    /// Whether both are the same text or number; names are not resolved.
    fn same_as(self, other: Host<'_>) -> bool {
        match (self, other) {
            (Host::Name(one), Host::Name(other)) => one.eq_ignore_ascii_case(other),
            (Host::Ip(one), Host::Ip(other)) => one == other,
            (Host::Name(name), Host::Ip(ip)) | (Host::Ip(ip), Host::Name(name)) => {
                name.eq_ignore_ascii_case("localhost") && ip.is_loopback()
            }
        }
    }
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(if text.is_empty() { AddressError::NoPort } else { AddressError::BadPort });
    }
    text.parse().map_err(|_| AddressError::BadPort)
}

/// Whether the system chooses the port.
pub(super) fn takes_any_port(text: &str) -> bool {
    HostPort::parse(text).is_ok_and(|address| address.port == 0)
}

/// The address by which a process of the same machine reaches a listener on `text`: loopback for every interface.
pub(super) fn reachable(text: &str) -> String {
    match HostPort::parse(text) {
        Ok(HostPort { host: Host::Ip(IpAddr::V4(ip)), port }) if ip.is_unspecified() => {
            format!("{}:{port}", Ipv4Addr::LOCALHOST)
        }
        Ok(HostPort { host: Host::Ip(IpAddr::V6(ip)), port }) if ip.is_unspecified() => {
            format!("[{}]:{port}", Ipv6Addr::LOCALHOST)
        }
        Ok(_) | Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_addresses() {
        for (text, port) in [
            ("127.0.0.1:2526", 2526),
            ("0.0.0.0:0", 0),
            ("game-1.internal:65535", 65535),
            ("my_host:1", 1),
            ("[::1]:2526", 2526),
            ("[fe80::1]:7", 7),
        ] {
            assert_eq!(HostPort::parse(text).unwrap().port, port, "{text}");
        }
    }

    #[test]
    fn texts_that_are_not() {
        use AddressError as E;
        for (text, why) in [
            ("", E::NoPort),
            ("localhost", E::NoPort),
            ("localhost:", E::NoPort),
            ("[::1]", E::NoPort),
            (":2526", E::NoHost),
            ("a:65536", E::BadPort),
            ("a:+1", E::BadPort),
            ("a:b", E::BadPort),
            ("::1:2526", E::BadIpv6),
            ("[::1:2526", E::BadIpv6),
            ("[127.0.0.1]:1", E::BadIpv6),
            ("127.0.0:1", E::BadHost),
            ("256.0.0.1:1", E::BadHost),
            ("a b:1", E::BadHost),
            ("-a:1", E::BadHost),
            ("$IP:1", E::BadHost),
        ] {
            assert_eq!(HostPort::parse(text), Err(why), "{text}");
        }
        let long = format!("{}:1", "a".repeat(ADDRESS_BYTES_MAX));
        assert_eq!(HostPort::parse(&long), Err(E::TooLong));
    }

    #[test]
    fn collisions_see_through_wildcards_and_case() {
        let collide =
            |one, other| HostPort::parse(one).unwrap().collides_with(HostPort::parse(other).unwrap());
        assert!(collide("127.0.0.1:1", "0.0.0.0:1"));
        assert!(collide("Host:1", "host:1"));
        assert!(collide("localhost:1", "127.0.0.1:1"));
        assert!(!collide("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"), "each gets a free port of its own");
    }

    #[test]
    fn every_interface_is_reached_by_loopback() {
        assert_eq!(reachable("0.0.0.0:2013"), "127.0.0.1:2013");
        assert_eq!(reachable("[::]:2013"), "[::1]:2013");
        assert_eq!(reachable("game1:2013"), "game1:2013");
    }
}
