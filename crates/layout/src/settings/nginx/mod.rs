//! `nginx:` of `host.yaml`: how this machine serves its apps under their host names.

mod listen_address;

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeSeq};

pub use listen_address::ListenAddress;

/// ACME client that requests certificates for the apps' host names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CertificateClient {
    /// The one that is installed, acme.sh before certbot.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// acme.sh.
    #[serde(rename = "acme.sh")]
    AcmeSh,
    /// certbot.
    #[serde(rename = "certbot")]
    Certbot,
    /// No client; certificates are self-signed.
    #[serde(rename = "off")]
    Off,
}

/// The nginx that piku runs for its apps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NginxSettings {
    /// Run an nginx for the apps.
    pub enabled: bool,
    /// Addresses for HTTP: `PORT`, `ADDRESS:PORT`, or a list of them.
    #[serde(deserialize_with = "listens", serialize_with = "as_texts")]
    pub http: Vec<ListenAddress>,
    /// Addresses for HTTPS; an empty list disables HTTPS.
    #[serde(deserialize_with = "listens", serialize_with = "as_texts")]
    pub https: Vec<ListenAddress>,
    /// Listen on IPv6 too.
    pub ipv6: bool,
    /// The largest number of connections of each of its worker processes; derived from the machine's
    /// memory when not set.
    pub connections: Option<u32>,
    /// For how many seconds requests that are under way may go on when a new release is live.
    pub drain: u32,
    /// Seconds for which a connection, such as a websocket, survives changes of other apps.
    pub worker_shutdown_timeout: u32,
    /// The largest number of old worker processes that are kept for such connections.
    pub max_old_workers: u32,
    /// Client that requests certificates.
    pub acme: CertificateClient,
    /// Email address for messages of the certificate authority.
    pub acme_email: Option<String>,
    /// The authority, when not Let's Encrypt: an address, or a name that the client knows.
    pub acme_server: Option<String>,
    /// A file that says who is Cloudflare, a range of addresses a line.
    pub cloudflare_ranges: Option<PathBuf>,
    /// Proxies in front of all apps: addresses, ranges of addresses, or `private`. Their `X-Forwarded-*`
    /// headers are passed on.
    pub trusted_proxies: Vec<String>,
    /// Directories with a certificate, `fullchain.pem`, and its key, `privkey.pem`, for the apps whose names
    /// it covers.
    pub certificates: Vec<PathBuf>,
}

impl Default for NginxSettings {
    fn default() -> Self {
        let at = |port| vec![ListenAddress { address: None, port }];
        Self {
            enabled: true,
            http: at(80),
            https: at(443),
            ipv6: true,
            connections: None,
            drain: 60,
            worker_shutdown_timeout: 86_400,
            max_old_workers: 16,
            acme: CertificateClient::default(),
            acme_email: None,
            acme_server: None,
            cloudflare_ranges: None,
            trusted_proxies: Vec::new(),
            certificates: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ListenEntry {
    Port(u16),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a port, an ADDRESS:PORT, or a list of them")]
enum ListenEntries {
    One(ListenEntry),
    Many(Vec<ListenEntry>),
}

fn listens<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ListenAddress>, D::Error> {
    let all = match ListenEntries::deserialize(from)? {
        ListenEntries::One(one) => vec![one],
        ListenEntries::Many(many) => many,
    };
    let listen = |place| match place {
        ListenEntry::Port(0) => Err(de::Error::custom("port 0 is none")),
        ListenEntry::Port(port) => Ok(ListenAddress { address: None, port }),
        ListenEntry::Text(text) => text.parse().map_err(de::Error::custom),
    };
    all.into_iter().map(listen).collect()
}

fn as_texts<S: Serializer>(listens: &[ListenAddress], to: S) -> Result<S::Ok, S::Error> {
    let mut list = to.serialize_seq(Some(listens.len()))?;
    listens.iter().try_for_each(|listen| list.serialize_element(&listen.to_string()))?;
    list.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<NginxSettings, serde_yaml::Error> {
        serde_yaml::from_str(text)
    }

    #[test]
    fn ports_addresses_and_lists() {
        let texts = |listens: &[ListenAddress]| listens.iter().map(ToString::to_string).collect::<Vec<_>>();
        let nginx =
            read("http: 8080\nhttps: ['127.0.0.1:8443', '[::1]:8443', 9443]\nacme: acme.sh\n").unwrap();
        assert_eq!(texts(&nginx.http), ["8080"]);
        assert_eq!(texts(&nginx.https), ["127.0.0.1:8443", "[::1]:8443", "9443"]);
        assert_eq!(nginx.acme, CertificateClient::AcmeSh);
        assert!(read("https: []").unwrap().https.is_empty());
        assert_eq!(read("trusted_proxies: [private]").unwrap().trusted_proxies, ["private"]);
        let again = serde_yaml::to_string(&nginx).unwrap();
        assert_eq!(read(&again).unwrap(), nginx);
        assert_eq!(read("{}").unwrap(), NginxSettings::default());
        for bad in ["http: 0", "http: 70000", "http: x", "https: {}", "port: 80", "acme: yes"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
