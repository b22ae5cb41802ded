//! IP addresses of a host name.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Returns the addresses of `host`, a literal address or a name, in the order in which they should be tried.
///
/// Names are resolved by `getent ahosts`, which follows nsswitch.conf and gai.conf as `getaddrinfo` does. It
/// is killed after `patience`, rounded up to seconds.
pub fn find_addresses(host: &str, port: u16, patience: Duration) -> io::Result<Vec<SocketAddr>> {
    if let Some(address) = parse_address(host, port) {
        return Ok(vec![address]);
    }
    if host.starts_with('-') || host.is_empty() {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("'{host}' is not a host name")));
    }
    let seconds = patience.as_secs() + u64::from(patience.subsec_nanos() > 0);
    let output = Command::new("timeout")
        .args(["--kill-after=1", &seconds.max(1).to_string(), "getent", "ahosts", host])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|err| io::Error::new(err.kind(), format!("cannot run timeout: {err}")))?;
    match output.status.code() {
        Some(0) => Ok(parse_answer(&output.stdout, port)),
        // getent: unknown name
        Some(2) => Err(io::Error::new(ErrorKind::NotFound, format!("the name '{host}' has no address"))),
        // timeout: ended by SIGTERM or SIGKILL
        Some(124 | 137) => Err(io::Error::new(
            ErrorKind::TimedOut,
            format!("the name '{host}' was not resolved within {seconds} s"),
        )),
        _ => Err(io::Error::other(format!("getent ahosts ended with {}", output.status))),
    }
}

/// Parses an address of IPv4 or IPv6; the latter may name its interface by number (`fe80::1%2`).
fn parse_address(text: &str, port: u16) -> Option<SocketAddr> {
    if let Some((address, scope)) = text.split_once('%') {
        let scope = scope.parse().ok()?;
        return Some(SocketAddrV6::new(address.parse().ok()?, port, 0, scope).into());
    }
    text.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port))
}

/// Parses the first column of `getent ahosts`. Each address is repeated for each type of socket.
fn parse_answer(answer: &[u8], port: u16) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for line in String::from_utf8_lossy(answer).lines() {
        let address = line.split_whitespace().next().and_then(|word| parse_address(word, port));
        if let Some(address) = address.filter(|address| !addresses.contains(address)) {
            addresses.push(address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn an_answer_lists_each_address_once() {
        let answer = b"::1             STREAM localhost\n::1             DGRAM  \n127.0.0.1       STREAM \n\
                       127.0.0.1       DGRAM  \nfe80::1%3 RAW\nodd line\n\n";
        let expected = ["[::1]:514", "127.0.0.1:514", "[fe80::1%3]:514"];
        let addresses: Vec<_> = parse_answer(answer, 514).iter().map(ToString::to_string).collect();
        assert_eq!(addresses, expected);
    }

    #[test]
    fn a_literal_address_is_not_looked_up() {
        let found = |host| find_addresses(host, 1, PATIENCE).unwrap();
        assert_eq!(found("192.0.2.7"), ["192.0.2.7:1".parse().unwrap()]);
        assert_eq!(found("2001:db8::1"), ["[2001:db8::1]:1".parse().unwrap()]);
    }

    #[test]
    fn names_come_from_the_host() {
        let addresses = find_addresses("localhost", 9, PATIENCE).unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 9));
        assert!(!addresses.is_empty());
        // A label with more than 63 bytes is refused without a request.
        let missing = find_addresses(&format!("{}.invalid", "x".repeat(70)), 9, PATIENCE).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let option = find_addresses("--help", 9, PATIENCE).unwrap_err();
        assert_eq!(option.kind(), ErrorKind::InvalidInput);
    }
}
