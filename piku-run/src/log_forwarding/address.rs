//! Where a drain leads: what an app or its operator writes into `LOG_DRAIN`.

use std::fmt;
use std::str::FromStr;

/// syslog's port, where none is given.
const PORT: u16 = 514;

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyslogTransport {
    /// RFC 5426: a datagram a message.
    Udp,
    /// RFC 6587, each message with its length in front.
    Counted,
    /// RFC 6587, each message ended by a newline.
    Lines,
}

/// A receiver of syslog: `syslog+tcp://HOST[:PORT][?framing=newline]`, or `syslog+udp://HOST[:PORT]`; `syslog://` is the latter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyslogAddress {
    pub(crate) transport: SyslogTransport,
    /// A name, or an address; one of IPv6 without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for SyslogAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected syslog+tcp://HOST:PORT or syslog+udp://HOST:PORT";
        let (scheme, rest) = text.trim().split_once("://").ok_or(expected)?;
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        let transport = match (scheme, query) {
            ("syslog+tcp", None | Some("framing=octet-counting")) => SyslogTransport::Counted,
            ("syslog+tcp", Some("framing=newline")) => SyslogTransport::Lines,
            ("syslog" | "syslog+udp", None) => SyslogTransport::Udp,
            ("syslog+tls" | "syslogs", _) => {
                return Err(
                    "there is no TLS here: lead it to a relay on this machine that speaks it".to_owned()
                );
            }
            ("syslog" | "syslog+udp" | "syslog+tcp", Some(query)) => {
                return Err(format!("'{query}' is not known: expected framing=newline, of syslog+tcp"));
            }
            _ => return Err(expected.to_owned()),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))),
            None => place.split_once(':').map_or((place, Some("")), |(host, port)| (host, Some(port))),
        };
        let port = match port.ok_or(expected)? {
            "" => PORT,
            port => port.parse().ok().filter(|port| *port > 0).ok_or(format!("bad port '{port}'"))?,
        };
        let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || !host.chars().all(is_good) {
            return Err(expected.to_owned());
        }
        Ok(Self { transport, host: host.to_owned(), port })
    }
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.transport == SyslogTransport::Udp { "syslog+udp" } else { "syslog+tcp" };
        let brackets = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{}{}{}:{}", brackets.0, self.host, brackets.1, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_good_and_bad() {
        for (text, transport, host, port) in [
            ("syslog://logs.example", SyslogTransport::Udp, "logs.example", 514),
            ("syslog+udp://10.0.0.1:5140/", SyslogTransport::Udp, "10.0.0.1", 5140),
            ("syslog+tcp://logs.example:601", SyslogTransport::Counted, "logs.example", 601),
            ("syslog+tcp://[fe80::1%eth0]:601?framing=newline", SyslogTransport::Lines, "fe80::1%eth0", 601),
            ("syslog+tcp://[::1]", SyslogTransport::Counted, "::1", 514),
        ] {
            let address: SyslogAddress = text.parse().unwrap();
            assert_eq!(address, SyslogAddress { transport, host: host.to_owned(), port }, "{text}");
            let again: SyslogAddress = address.to_string().parse().unwrap();
            assert_eq!((again.host, again.port), (address.host, port), "{text}");
        }
        for bad in [
            "",
            "logs.example:514",
            "http://x",
            "syslog://",
            "syslog://:514",
            "syslog://h:0",
            "syslog://h:x",
            "syslog://u:p@h:1",
            "syslog+tcp://h?framing=x",
            "syslog+udp://h?framing=newline",
            "syslog+tls://h",
            "syslog://[::1]x",
            "syslog://a b",
        ] {
            assert!(bad.parse::<SyslogAddress>().is_err(), "{bad}");
        }
    }
}
