//! `network:` of `host.yaml`: which apps have a network of their own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::AppName;

/// The network that an app's processes see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// The machine's, which all apps share.
    #[default]
    Shared,
    /// The app's own, with pasta(1) as the way out, and in at its port.
    Own,
}

/// For all apps, or for each that is named; the others share the machine's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected 'shared', 'own', or a list such as {APP: own}")]
pub enum AppNetworks {
    /// The same for all.
    All(NetworkMode),
    /// By name.
    Named(BTreeMap<AppName, NetworkMode>),
}

impl Default for AppNetworks {
    fn default() -> Self {
        Self::All(NetworkMode::Shared)
    }
}

impl AppNetworks {
    /// Returns the network of an app.
    #[must_use]
    pub fn of(&self, app: &AppName) -> NetworkMode {
        match self {
            Self::All(mode) => *mode,
            Self::Named(modes) => modes.get(app).copied().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_all_apps_or_for_some() {
        let read = |text: &str| serde_yaml::from_str::<AppNetworks>(text);
        let blog: AppName = "blog".parse().unwrap();
        assert_eq!(read("own").unwrap().of(&blog), NetworkMode::Own);
        assert_eq!(read("{blog: own}").unwrap().of(&blog), NetworkMode::Own);
        assert_eq!(read("{shop: own}").unwrap().of(&blog), NetworkMode::Shared);
        assert_eq!(AppNetworks::default().of(&blog), NetworkMode::Shared);
        for bad in ["none", "{blog: none}", "{Blog: own}", "[blog]", "1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
