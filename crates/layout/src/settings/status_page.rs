//! `status` in `host.yaml`: the page with the state of the machine.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::host_domain::HostDomain;

/// The status page and the history that it shows. `true` in the file stands for all defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StatusSettings {
    /// Keep the page and the history.
    pub enabled: bool,
    /// Host name of the page, when not `status.` and the domain of the apps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected true, false or {domain: NAME}")]
enum StatusEntry {
    Switch(bool),
    Details(StatusDetails),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusDetails {
    #[serde(default = "default_enabled")]
    enabled: bool,
    #[serde(default)]
    domain: Option<String>,
}

fn default_enabled() -> bool {
    true
}

impl<'de> Deserialize<'de> for StatusSettings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let details = match StatusEntry::deserialize(from)? {
            StatusEntry::Switch(enabled) => StatusDetails { enabled, domain: None },
            StatusEntry::Details(details) => details,
        };
        let name = |domain: String| match domain.parse() {
            Ok(HostDomain::Named(name)) if name.contains('.') => Ok(name),
            _ => Err(de::Error::custom("status: domain: expected a host name, such as status.example.org")),
        };
        Ok(Self { enabled: details.enabled, domain: details.domain.map(name).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_or_a_name() {
        let read = |text: &str| serde_yaml::from_str::<StatusSettings>(text);
        assert!(read("true").unwrap().enabled && !read("false").unwrap().enabled);
        let named = read("domain: Status.Example.org").unwrap();
        assert_eq!((named.enabled, named.domain.as_deref()), (true, Some("status.example.org")));
        assert_eq!(read(&serde_yaml::to_string(&named).unwrap()).unwrap(), named);
        assert!(!read("{enabled: false}").unwrap().enabled);
        for bad in ["yes please", "{domain: auto}", "{domain: 'a b.c'}", "{domain: x}", "{password: x}", "1"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
