//! `resolv.conf` for a jail with its own network: it reaches a name server on the host's loopback through
//! pasta.

use std::net::Ipv4Addr;

use crate::network::RESOLVER;

/// Replaces name servers on the loopback by [`RESOLVER`].
pub(super) fn without_loopback(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| if is_loopback(line) { resolver_line() } else { line.to_vec() }).collect()
}

fn resolver_line() -> Vec<u8> {
    format!("nameserver {RESOLVER}\n").into_bytes()
}

fn is_loopback(line: &[u8]) -> bool {
    let mut words = std::str::from_utf8(line).unwrap_or_default().split_ascii_whitespace();
    words.next() == Some("nameserver")
        && words
            .next()
            .and_then(|word| word.parse().ok())
            .is_some_and(|address: Ipv4Addr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_on_the_loopback_are_asked_through_pasta() {
        let inside = |text: &str| String::from_utf8(without_loopback(text.as_bytes())).unwrap();
        let stub = "# 127.0.0.53\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n";
        assert_eq!(inside(stub), stub.replace("nameserver 127.0.0.53", "nameserver 169.254.1.1"));
        assert_eq!(inside("nameserver\t127.0.0.1"), "nameserver 169.254.1.1\n");
        for same in
            ["", "nameserver 192.0.2.1\n", "nameserver ::1\n", "#nameserver 127.0.0.1\n", "nameserver\n"]
        {
            assert_eq!(inside(same), same);
        }
        assert_eq!(without_loopback(b"\xff nameserver 127.0.0.1\n"), b"\xff nameserver 127.0.0.1\n");
    }
}
