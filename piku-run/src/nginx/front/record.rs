//! `front.json` of an app: the key of its front, and the settings of nginx in the `ENV` of the last release that
//! was sent to the machines. The rest of what the app sets applies on the machines.

#![expect(clippy::disallowed_methods, reason = "a record that only piku writes")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;

use anyhow::Context;
use piku_files::atomic_file;
use piku_layout::front_key::FrontKey;
use piku_layout::paths::AppDir;
use piku_procfile::render::app_values::AppValues;
use serde::{Deserialize, Serialize};

use crate::config::ConfigValues;

/// Settings that apply at the front: names and TLS, clients and their uploads, timeouts.
const SETTINGS: [&str; 26] = [
    "DISABLE_IPV6",
    "HEALTHCHECK",
    "NGINX_ACCESS_LOG",
    "NGINX_ALLOW_GIT_FOLDERS",
    "NGINX_CLIENT_BODY_TIMEOUT",
    "NGINX_CLIENT_MAX_BODY_SIZE",
    "NGINX_CLOUDFLARE_ACL",
    "NGINX_HTTPS_ONLY",
    "NGINX_IPV4_ADDRESS",
    "NGINX_IPV6_ADDRESS",
    "NGINX_KEEPALIVE_TIMEOUT",
    "NGINX_LINGERING_TIMEOUT",
    "NGINX_PROXY_BUFFERING",
    "NGINX_PROXY_BUFFERS",
    "NGINX_PROXY_BUFFER_SIZE",
    "NGINX_PROXY_BUSY_BUFFERS_SIZE",
    CONNECT_TIMEOUT,
    "NGINX_PROXY_READ_TIMEOUT",
    "NGINX_PROXY_REQUEST_BUFFERING",
    "NGINX_PROXY_SEND_TIMEOUT",
    "NGINX_REDIRECTS",
    "NGINX_SEND_TIMEOUT",
    "NGINX_SERVER_NAME",
    "NGINX_TRUSTED_PROXIES",
    "NGINX_UNDERSCORE_IN_HEADERS",
    "NGINX_WEBSOCKET_TIMEOUT",
];

const CONNECT_TIMEOUT: &str = "NGINX_PROXY_CONNECT_TIMEOUT";

/// The time in which a machine on the same network accepts a connection.
const USUAL_CONNECT_TIMEOUT: &str = "2s";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FrontRecord {
    #[serde(with = "key_text")]
    pub(super) key: FrontKey,
    /// Of the release that is live on a machine.
    settings: BTreeMap<String, String>,
    /// Of a release that no machine has deployed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<BTreeMap<String, String>>,
    /// Of the release before, until the next deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former: Option<BTreeMap<String, String>>,
}

impl FrontRecord {
    /// Reads the record; `None` before the first deploy with a front.
    pub(super) fn read(app: &AppDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(app.front()).ok()?).ok()
    }

    /// Returns the record with the settings of a release, as of its first deploy, and the key that there is, or a
    /// new one. Stores nothing.
    pub(super) fn of_release(app: &AppDir, values: &AppValues) -> anyhow::Result<Self> {
        let key = Self::read(app).map_or_else(new_key, |known| Ok(known.key))?;
        let set = |name: &&str| Some(((*name).to_owned(), values.value(name)?.to_owned()));
        let settings = SETTINGS.iter().filter_map(set).collect();
        Ok(Self { key, settings, next: None, former: None })
    }

    /// Returns the record in which these settings wait for the first machine that deploys, if others apply.
    pub(super) fn staged_after(self, known: Option<Self>) -> Self {
        match known {
            Some(known) => {
                let next = Some(self.settings).filter(|next| *next != known.settings);
                Self { key: known.key, settings: known.settings, next, former: None }
            }
            None => self,
        }
    }

    /// Returns the record in which the settings of the next release apply.
    pub(super) fn activated(self) -> Self {
        match self.next {
            Some(next) => Self { settings: next, next: None, former: Some(self.settings), ..self },
            None => self,
        }
    }

    /// Returns the record in which the settings apply that did before the deploy.
    pub(super) fn reverted(self) -> Self {
        let settings = self.former.unwrap_or(self.settings);
        Self { settings, next: None, former: None, ..self }
    }

    /// Returns the record in which the settings of the deploy before apply, and go back again the next time.
    pub(super) fn exchanged(self) -> Self {
        match self.former {
            Some(former) => Self { settings: former, next: None, former: Some(self.settings), ..self },
            None => self,
        }
    }

    /// Stores the record in place of the one that there is.
    pub(super) fn store(&self, app: &AppDir) -> anyhow::Result<()> {
        if Self::read(app).as_ref() == Some(self) {
            return Ok(());
        }
        let json = serde_json::to_vec(self).context("cannot encode the front as JSON")?;
        atomic_file::write(&app.front(), &json, 0o600)
            .with_context(|| format!("cannot write '{}'", app.front().display()))
    }

    /// Returns the settings, with those that `config:set` has stored on this machine in place of the release's.
    pub(super) fn values(&self, app: &AppDir) -> anyhow::Result<AppValues> {
        let mut values = AppValues::default();
        for (name, value) in &self.settings {
            values.set(name, value, "ENV");
        }
        for (name, value) in ConfigValues::read(&app.config())?.0 {
            if SETTINGS.contains(&name.as_str()) {
                values.set(&name, &value, "configuration");
            }
        }
        if !values.has(CONNECT_TIMEOUT) {
            values.set(CONNECT_TIMEOUT, USUAL_CONNECT_TIMEOUT, "piku");
        }
        Ok(values)
    }
}

fn new_key() -> anyhow::Result<FrontKey> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("no random bytes")?;
    Ok(FrontKey::from_bytes(bytes))
}

/// The key as text in JSON.
mod key_text {
    use piku_layout::front_key::FrontKey;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(key: &FrontKey, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(key)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<FrontKey, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_apply_from_the_first_deploy_on_and_go_back() {
        let of = |name: &str| {
            let settings = BTreeMap::from([("NGINX_SERVER_NAME".to_owned(), name.to_owned())]);
            FrontRecord { key: FrontKey::from_bytes([7; 16]), settings, next: None, former: None }
        };
        let name = |record: &FrontRecord| record.settings["NGINX_SERVER_NAME"].clone();
        assert_eq!(of("a.test").staged_after(None), of("a.test"));
        let staged = of("b.test").staged_after(Some(of("a.test")));
        assert_eq!(name(&staged), "a.test");
        assert_eq!(staged.clone().reverted(), of("a.test"), "no machine has deployed it");
        let active = staged.activated();
        assert_eq!(name(&active), "b.test");
        assert_eq!(active.clone().activated(), active, "the second machine");
        assert_eq!(active.clone().reverted(), of("a.test"));
        let back = active.clone().exchanged();
        assert_eq!((name(&back), back.exchanged()), ("a.test".to_owned(), active.clone()), "to and fro");
        assert_eq!(name(&of("b.test").staged_after(Some(active))), "b.test");
    }
}
