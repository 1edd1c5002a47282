//! `host:port` as users and peers write it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// Where to listen or whom to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Ready for a socket.
    Known(SocketAddr),
    /// For the resolver.
    Named {
        /// A name of the system's.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Address {
    /// Reads `1.2.3.4:2526`, `[::1]:2526`, `name:2526`; `:2526` is every IPv4 address of the machine, as in Skynet's
    /// `socket_server_listen`.
    ///
    /// # Errors
    /// `InvalidInput`: no port, a host that no name can be, or an IPv6 address without brackets.
    pub(super) fn parse(text: &str) -> Result<Self, io::ErrorKind> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Known(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
        let port = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
        if host.is_empty() {
            return Ok(Self::Known(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))));
        }
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
        if !host.chars().all(is_name) {
            return Err(io::ErrorKind::InvalidInput);
        }
        Ok(Self::Named { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let known = |text: &str| Ok(Address::Known(text.parse().unwrap()));
        let named = |host: &str, port| Ok(Address::Named { host: host.to_owned(), port });
        let wrong = Err(io::ErrorKind::InvalidInput);
        let cases = [
            ("127.0.0.1:2526", known("127.0.0.1:2526")),
            ("[::1]:2526", known("[::1]:2526")),
            ("[::]:0", known("[::]:0")),
            (":2526", known("0.0.0.0:2526")),
            ("localhost:2526", named("localhost", 2526)),
            ("node_3.game-7.example:1", named("node_3.game-7.example", 1)),
            ("::1:2526", wrong.clone()),
            ("localhost", wrong.clone()),
            ("localhost:", wrong.clone()),
            ("localhost:65536", wrong.clone()),
            ("local host:1", wrong.clone()),
            ("a\0b:1", wrong.clone()),
            ("[::1:1", wrong.clone()),
            ("", wrong),
        ];
        for (text, expected) in cases {
            assert_eq!(Address::parse(text), expected, "{text:?}");
        }
    }
}
