//! `domain:` of `host.yaml`: the host names of apps that have none of their own.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use piku_report::diagnostic::quote_word;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::name::AppName;

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
    /// Returns the host name of an app. `hostname` is that of the machine, `address` its first one.
    #[must_use]
    pub fn name_of(&self, app: &AppName, hostname: &str, address: Option<IpAddr>) -> Option<String> {
        let short = hostname.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
        match self {
            Self::Auto | Self::Off => None,
            Self::Local if short.is_empty() => None,
            Self::Local => Some(format!("{app}.{short}.local")),
            Self::Named(domain) => Some(format!("{app}.{domain}")),
            Self::Address(service) => {
                let address = address?.to_string().replace(['.', ':'], "-");
                Some(format!("{app}.{address}.{service}"))
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
    fn an_app_is_named_by_the_rule() {
        let app: AppName = "blog".parse().unwrap();
        let address = Some("192.168.1.5".parse().unwrap());
        let name = |rule: &str| rule.parse::<HostDomain>().unwrap().name_of(&app, "Pi.lan\n", address);
        assert_eq!(name("Apps.Example.org").as_deref(), Some("blog.apps.example.org"));
        assert_eq!(name("local").as_deref(), Some("blog.pi.local"));
        assert_eq!(name("sslip.io").as_deref(), Some("blog.192-168-1-5.sslip.io"));
        assert_eq!((name("auto"), name("off")), (None, None));
        assert_eq!(name("traefik.me").as_deref(), Some("blog.192-168-1-5.traefik.me"));
        let rule: HostDomain = "nip.io".parse().unwrap();
        assert_eq!(rule.name_of(&app, "pi", None), None, "a machine without an address");
        let ipv6 = Some("2001:db8::1".parse().unwrap());
        assert_eq!(rule.name_of(&app, "pi", ipv6).as_deref(), Some("blog.2001-db8--1.nip.io"));
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
