//! Environment in an image's config: the platform's variables, the runtime's and those of the ENV file. Stored
//! config is no part of an image: all who can pull it can read everything in it.

use anyhow::Context;
use indexmap::IndexMap;
use piku_files::TreeHandle;
use piku_layout::jail::{DATA, HOME, PATH};
use piku_procfile::env::{self, EnvFile};
use piku_procfile::procfile::ParseOptions;
use piku_release::manifest::{BuiltRelease, DEPLOY_KEY};

use super::super::{LONGEST_TEXT, jvm};
use super::platform::ImagePlatform;

/// Port of a process that gets requests, unless `PORT` is set.
pub(super) const PORT: &str = "8080";

/// Reads the variables of a release over those of its base.
pub(super) fn read(
    release: &BuiltRelease,
    app: &TreeHandle,
    base: &IndexMap<String, String>,
    platform: &ImagePlatform,
) -> anyhow::Result<IndexMap<String, String>> {
    let mut variables = base.clone();
    let path = base.get("PATH").map_or(PATH, String::as_str).to_owned();
    let commit = release.commit.clone();
    let constants = [
        ("PATH", path),
        ("HOME", HOME.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("USER", "app".to_owned()),
        ("PORT", PORT.to_owned()),
        ("BIND_ADDRESS", "0.0.0.0".to_owned()),
        ("DATA_DIR", DATA.to_owned()),
        ("PIKU_APP", release.app.to_string()),
        ("PIKU_RELEASE", release.number.to_string()),
        ("PIKU_COMMIT", commit),
        // Instances share HOME; sockets and caches belong to one.
        ("XDG_RUNTIME_DIR", "/tmp".to_owned()),
        ("npm_config_cache", "/tmp/.cache/npm".to_owned()),
    ];
    variables.extend(constants.map(|(name, value)| (name.to_owned(), value)));
    variables.extend(release.env.clone());
    if platform.is_foreign()? {
        jvm::rename_env(&mut variables, &platform.debian);
    }
    if app.is_file(env::FILE) {
        let text = app.read_bounded(env::FILE, LONGEST_TEXT)?;
        let read = EnvFile::parse(&text, &variables, ParseOptions::default())?;
        variables.extend(read.vars);
    }
    variables.shift_remove(DEPLOY_KEY);
    let port = variables.get("PORT").map(|port| port.trim()).unwrap_or_default();
    port.parse::<u16>().with_context(|| format!("PORT in the ENV file is no port: '{port}'"))?;
    Ok(variables)
}
