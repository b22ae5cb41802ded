//! The first entry of a packed release: its description.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use piku_layout::name::AppName;
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use super::release_needs::ReleaseNeeds;
use piku_release::layers::is_key;

/// Version of the format; increased when older versions cannot read the stream.
pub(crate) const FORMAT: u32 = 1;
/// More layers and programs than any release has.
const MOST: usize = 64;
/// The most bytes of the name of a file.
const MOST_NAME: usize = 1200;

/// The head of a stream. These names are a contract with scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackHead {
    /// The version of the stream's form.
    pub(crate) format: u32,
    /// The release that is inside; nothing in a stream of one layer.
    pub(crate) release: Option<PackedFacts>,
    /// Architecture that it needs: `any`, or as `uname -m` prints it.
    pub(crate) architecture: String,
    /// Native file that needs this architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) native: Option<String>,
    /// Requirements for the machine that runs it.
    pub(crate) needs: ReleaseNeeds,
    /// The layers that belong to it, by key.
    pub(crate) layers: Vec<PackedLayer>,
    /// Total size of its files in bytes.
    pub(crate) bytes: u64,
    /// Number of its files, directories and links.
    pub(crate) files: u64,
}

/// Facts about the release in a head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackedFacts {
    /// The app that the release belongs to.
    pub(crate) app: AppName,
    /// The commit it was built from; may be empty.
    pub(crate) commit: String,
    /// True if it was built for the jail.
    pub(crate) jailed: bool,
}

/// A layer of the packed release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackedLayer {
    /// Content of the layer: `venv`.
    pub(crate) name: String,
    /// Hash that names the layer.
    pub(crate) key: String,
    /// True if the stream contains the layer; otherwise the receiver must have it.
    pub(crate) packed: bool,
}

impl PackHead {
    /// Parses and checks a head: keys become names of directories.
    pub(crate) fn parse(text: &[u8]) -> anyhow::Result<Self> {
        let format: PackFormat = serde_json::from_slice(text).context("bad head")?;
        if format.format != FORMAT {
            let what = format!("this release is packed in form {}, known here is {FORMAT}", format.format);
            return Err(UserError::new(what).hint("install the same piku on both machines").into());
        }
        let head: Self = serde_json::from_slice(text).context("bad head")?;
        ensure!(head.layers.len() <= MOST, "bad head: it has more than {MOST} layers");
        ensure!(head.needs.programs.len() <= MOST, "bad head: it needs more than {MOST} programs");
        let is_shown = |name: &String| name.len() <= MOST_NAME && !name.chars().any(char::is_control);
        ensure!(head.native.as_ref().is_none_or(is_shown), "bad head: 'native' is no name of a file");
        let is_named = is_shown(&head.architecture) && head.architecture.len() <= MOST;
        ensure!(is_named, "bad head: 'architecture' is no name of one");
        let mut keys = BTreeSet::new();
        for PackedLayer { name, key, .. } in &head.layers {
            ensure!(
                is_key(key),
                "bad head: '{}' is no layer's key",
                key.chars().take(100).collect::<String>()
            );
            ensure!(keys.insert(key), "bad head: it names the layer '{key}' twice");
            let is_plain = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_graphic());
            ensure!(is_plain, "bad head: the layer '{key}' has no name");
        }
        Ok(head)
    }
}

/// The one field that every form has.
#[derive(Deserialize)]
struct PackFormat {
    format: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_no_pack_writes() {
        let head = PackHead {
            format: FORMAT,
            release: None,
            architecture: "x86_64".to_owned(),
            native: Some("app/server".to_owned()),
            needs: ReleaseNeeds::default(),
            layers: vec![PackedLayer { name: "venv".to_owned(), key: "a1".repeat(32), packed: true }],
            bytes: 1,
            files: 1,
        };
        let text = serde_json::to_string(&head).unwrap();
        assert_eq!(PackHead::parse(text.as_bytes()).unwrap(), head);
        for key in ["../../../etc", "", "A1"] {
            let bad = text.replace(&"a1".repeat(32), key);
            assert!(PackHead::parse(bad.as_bytes()).unwrap_err().to_string().contains("key"), "{key}");
        }
        let layer = serde_json::to_string(&head.layers[0]).unwrap();
        let twice = text.replace(&layer, &format!("{layer},{layer}"));
        assert!(PackHead::parse(twice.as_bytes()).unwrap_err().to_string().contains("twice"));
        let loud = text.replace("venv", "a\\u001bb");
        assert!(PackHead::parse(loud.as_bytes()).unwrap_err().to_string().contains("no name"));
        let loud = text.replace("app/server", "\\u001b[2J");
        assert!(PackHead::parse(loud.as_bytes()).unwrap_err().to_string().contains("'native'"));
        let loud = text.replace("x86_64", "\\u001b[2J");
        assert!(PackHead::parse(loud.as_bytes()).unwrap_err().to_string().contains("'architecture'"));
        let older = text.replace(",\"native\":\"app/server\"", "");
        assert_eq!(PackHead::parse(older.as_bytes()).unwrap().native, None);
        let newer = text.replace("\"format\":1", "\"format\":2,\"more\":true");
        assert!(PackHead::parse(newer.as_bytes()).unwrap_err().to_string().contains("form 2"));
    }
}
