//! The addresses that piku's nginx listens on.

use std::net::IpAddr;
use std::str::FromStr;

use piku_report::diagnostic::quote_word;

/// A port to listen on, at one address or at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress {
    /// None: all addresses of the machine.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let bad = || format!("{} is not PORT, ADDRESS:PORT or [ADDRESS]:PORT", quote_word(given));
        if let Ok(socket) = given.parse::<std::net::SocketAddr>() {
            return match socket.port() {
                0 => Err(bad()),
                port => Ok(Self { address: Some(socket.ip()), port }),
            };
        }
        match given.parse() {
            Ok(0) | Err(_) => Err(bad()),
            Ok(port) => Ok(Self { address: None, port }),
        }
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}", std::net::SocketAddr::new(address, self.port)),
            None => write!(f, "{}", self.port),
        }
    }
}

impl ListenAddress {
    /// Returns the sockets in nginx's syntax.
    #[must_use]
    pub fn sockets(self, ipv6: bool) -> Vec<String> {
        let Self { address, port } = self;
        match address {
            None if ipv6 => vec![format!("{port}"), format!("[::]:{port}")],
            None => vec![format!("{port}")],
            Some(IpAddr::V4(address)) => vec![format!("{address}:{port}")],
            Some(IpAddr::V6(address)) if ipv6 => vec![format!("[{address}]:{port}")],
            Some(IpAddr::V6(_)) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets() {
        let sockets = |text: &str, ipv6| text.parse::<ListenAddress>().map(|listen| listen.sockets(ipv6));
        assert_eq!(sockets("80", true).unwrap(), ["80", "[::]:80"]);
        assert_eq!(sockets("80", false).unwrap(), ["80"]);
        assert_eq!(sockets("127.0.0.1:8080", true).unwrap(), ["127.0.0.1:8080"]);
        assert_eq!(sockets("[::1]:8080", true).unwrap(), ["[::1]:8080"]);
        assert!(sockets("[::1]:8080", false).unwrap().is_empty());
        for bad in ["", "0", "65536", "localhost:80", "127.0.0.1", "80 default_server", "::1:80"] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad}");
        }
    }
}
