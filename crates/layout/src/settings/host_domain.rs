//! `domain:` of `host.yaml`: the host names of apps that have none of their own.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use piku_report::diagnostic::quote_word;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// DNS services that resolve `ANYTHING.A-B-C-D.SERVICE` to the address A.B.C.D.
const ADDRESS_SERVICES: [&str; 3] = ["sslip.io", "nip.io", "traefik.me"];

/// Rule for the host name of an app without `NGINX_SERVER_NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HostDomain {
    /// No host name. The only web app of the host gets all requests for names that no app has.
    #[default]
    Auto,
    /// `APP.HOSTNAME.local`.
    Local,
    /// `APP.DOMAIN`.
    Named(String),
    /// `APP.A-B-C-D.SERVICE`, with the address of this machine.
    Address(String),
    /// Apps without a name of their own are reached on their ports only.
    Off,
}

impl HostDomain {
    /// Returns the domain below which each app has a host name, `APP.DOMAIN`. `hostname` is that of the
    /// machine; `address` finds its first address, and is called only if the domain contains it.
    #[must_use]
    pub fn app_domain(&self, hostname: &str, address: impl FnOnce() -> Option<IpAddr>) -> Option<String> {
        let short = hostname.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
        match self {
            Self::Auto | Self::Off => None,
            Self::Local if short.is_empty() => None,
            Self::Local => Some(format!("{short}.local")),
            Self::Named(domain) => Some(domain.clone()),
            Self::Address(service) => {
                let address = address()?.to_string().replace(['.', ':'], "-");
                Some(format!("{address}.{service}"))
            }
        }
    }
}

impl FromStr for HostDomain {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let name = given.to_ascii_lowercase();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        match name.as_str() {
            "auto" => Ok(Self::Auto),
            "local" => Ok(Self::Local),
            "off" => Ok(Self::Off),
            service if ADDRESS_SERVICES.contains(&service) => Ok(Self::Address(name)),
            domain
                if domain.len() <= 180
                    && domain.split('.').all(label)
                    && domain.parse::<IpAddr>().is_err() =>
            {
                Ok(Self::Named(name))
            }
            _ => Err(format!(
                "{} is not a domain: write one such as 'apps.example.org', or auto, local, sslip.io or off",
                quote_word(given)
            )),
        }
    }
}

impl fmt::Display for HostDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Local => "local",
            Self::Off => "off",
            Self::Named(name) | Self::Address(name) => name,
        })
    }
}

impl Serialize for HostDomain {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostDomain {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_of_apps_follows_the_rule() {
        let address = || Some("192.168.1.5".parse().unwrap());
        let domain = |rule: &str| rule.parse::<HostDomain>().unwrap().app_domain("Pi.lan\n", address);
        assert_eq!(domain("Apps.Example.org").as_deref(), Some("apps.example.org"));
        assert_eq!(domain("local").as_deref(), Some("pi.local"));
        assert_eq!(domain("sslip.io").as_deref(), Some("192-168-1-5.sslip.io"));
        assert_eq!((domain("auto"), domain("off")), (None, None));
        assert_eq!(domain("traefik.me").as_deref(), Some("192-168-1-5.traefik.me"));
        let rule: HostDomain = "nip.io".parse().unwrap();
        assert_eq!(rule.app_domain("pi", || None), None, "a machine without an address");
        let ipv6 = || Some("2001:db8::1".parse().unwrap());
        assert_eq!(rule.app_domain("pi", ipv6).as_deref(), Some("2001-db8--1.nip.io"));
    }

    #[test]
    fn bad_domains_are_rejected() {
        let long = "a.".repeat(100) + "org";
        for bad in ["", ".", "a..b", "*.example.org", "10.0.0.1", "a b", "-a.org", "http://a.org", &long] {
            let err = bad.parse::<HostDomain>().unwrap_err();
            assert!(err.contains("is not a domain"), "{bad}: {err}");
        }
        for rule in ["auto", "local", "off", "sslip.io", "traefik.me", "apps.example.org"] {
            assert_eq!(rule.parse::<HostDomain>().unwrap().to_string(), rule);
        }
    }
}
