//! The address of a syslog receiver, the value of `LOG_DRAIN`.

use std::fmt;
use std::str::FromStr;

/// Default port of syslog over UDP and TCP.
const PORT: u16 = 514;

/// The protocol and framing of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyslogTransport {
    /// RFC 5426: one datagram per message.
    Udp,
    /// RFC 6587, octet counting: each message follows its length.
    Counted,
    /// RFC 6587, non-transparent framing: each message ends with a newline.
    Lines,
}

/// `syslog+tcp://HOST[:PORT][?framing=newline]` or `syslog+udp://HOST[:PORT]`; `syslog://` means the latter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyslogAddress {
    pub(crate) transport: SyslogTransport,
    /// A host name or an address; IPv6 without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for SyslogAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected syslog+tcp://HOST:PORT or syslog+udp://HOST:PORT";
        let (scheme, rest) = text.trim().split_once("://").ok_or(expected)?;
        let (authority, query) =
            rest.split_once('?').map_or((rest, None), |(authority, query)| (authority, Some(query)));
        let transport = match (scheme, query) {
            ("syslog+tcp", None | Some("framing=octet-counting")) => SyslogTransport::Counted,
            ("syslog+tcp", Some("framing=newline")) => SyslogTransport::Lines,
            ("syslog" | "syslog+udp", None) => SyslogTransport::Udp,
            ("syslog+tls" | "syslogs", _) => {
                return Err(
                    "TLS is not supported: send to a relay on this machine that supports it".to_owned()
                );
            }
            ("syslog" | "syslog+udp" | "syslog+tcp", Some(query)) => {
                return Err(format!("unknown option '{query}': expected framing=newline with syslog+tcp"));
            }
            _ => return Err(expected.to_owned()),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))),
            None => {
                authority.split_once(':').map_or((authority, Some("")), |(host, port)| (host, Some(port)))
            }
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
    fn addresses_are_parsed_or_rejected() {
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
