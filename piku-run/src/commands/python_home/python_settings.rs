//! Settings files of the Python piku: `ENV`, which its `config:set` writes, and `LIVE_ENV`, which its workers
//! get.

use indexmap::IndexMap;
use piku_layout::jail::{APP, DATA};
use piku_procfile::env;
use piku_procfile::writable_paths;
use piku_report::diagnostic::quote_word;

/// Variables that the Python piku sets itself.
const PLATFORM: [&str; 24] = [
    "APP",
    "LOG_ROOT",
    "DATA_ROOT",
    "HOME",
    "USER",
    "PATH",
    "PWD",
    "VIRTUAL_ENV",
    "NODE_PATH",
    "PORT",
    "PROC_TYPE",
    "BIND_ADDRESS",
    "NGINX_IPV4_ADDRESS",
    "NGINX_IPV6_ADDRESS",
    "NGINX_SSL",
    "NGINX_HTTP2",
    "NGINX_ROOT",
    "NGINX_SOCKET",
    "NGINX_ACL",
    "ACME_WWW",
    "ACME_ROOT",
    "PYTHONUNBUFFERED",
    "PYTHONIOENCODING",
    "NPM_CONFIG_PREFIX",
];
/// Variables of [`PLATFORM`] that an app may also set in its own `ENV`.
const ALLOWED: [&str; 5] = ["PORT", "BIND_ADDRESS", "PYTHONUNBUFFERED", "PYTHONIOENCODING", "DATA_ROOT"];

/// Texts of the settings files of one app, empty if missing.
#[derive(Debug, Default)]
pub(super) struct SettingsTexts {
    /// `ENV` of the app tree.
    pub(super) shipped: String,
    /// `ENV` that `config:set` wrote.
    pub(super) own: String,
    /// `LIVE_ENV`.
    pub(super) live: String,
}

/// Settings for the config of an app, and remarks for the operator, without values.
#[derive(Debug, Default)]
pub(super) struct TranslatedSettings {
    pub(super) values: IndexMap<String, String>,
    pub(super) remarks: Vec<String>,
}

/// Translates the settings of the app `name`. `kept` are paths of the app tree that its data keeps.
pub(super) fn translate_settings(texts: &SettingsTexts, name: &str, kept: &[String]) -> TranslatedSettings {
    let mut remarks = Vec::new();
    let live = parse_settings(&texts.live, None, &mut Vec::new());
    let mut known = live.clone();
    let shipped = parse_settings(&texts.shipped, Some(&mut known), &mut Vec::new());
    let own = parse_settings(&texts.own, Some(&mut known), &mut remarks);
    let mut values = IndexMap::new();
    let mut left_out = Vec::new();
    for (name, value) in own {
        if PLATFORM.contains(&name.as_str()) && !ALLOWED.contains(&name.as_str()) {
            left_out.push(name);
        } else {
            values.insert(name, value);
        }
    }
    let mut of_live = Vec::new();
    for (name, value) in &live {
        let is_new = !shipped.contains_key(name) && !values.contains_key(name);
        if is_new && !PLATFORM.contains(&name.as_str()) {
            of_live.push(name.clone());
            values.insert(name.clone(), value.clone());
        }
    }
    values.retain(|name, value| {
        let fits = env::is_name(name) && !value.contains('\0');
        if !fits {
            remarks.push(format!("the setting {} is not imported: bad name or value", quote_word(name)));
        }
        fits
    });
    if !left_out.is_empty() {
        remarks.push(format!("not imported, since piku sets them: {}", left_out.join(", ")));
    }
    if !of_live.is_empty() {
        remarks.push(format!("from LIVE_ENV alone: {}", of_live.join(", ")));
    }
    let moved = move_paths(&mut values, &live, name);
    if !moved.is_empty() {
        remarks.push(format!("its old directories are {DATA} and {APP} in: {}", moved.join(", ")));
    }
    values.entry("DATA_ROOT".to_owned()).or_insert_with(|| DATA.to_owned());
    let idle = |name: &&String| name.starts_with("UWSGI_") || *name == "PIKU_AUTO_RESTART";
    let idle: Vec<&str> = values.keys().chain(shipped.keys()).filter(idle).map(String::as_str).collect();
    if !idle.is_empty() {
        let workers = "piku runs no uWSGI; WEB_CONCURRENCY sets the workers of gunicorn";
        remarks.push(format!("without effect: {} ({workers})", idle.join(", ")));
    }
    if !kept.is_empty() {
        let old = values.get(writable_paths::VARIABLE).or_else(|| shipped.get(writable_paths::VARIABLE));
        let mut paths: Vec<&str> = old.into_iter().flat_map(|old| old.split([',', ' '])).collect();
        paths.retain(|path| !path.is_empty());
        for path in kept {
            if !paths.contains(&path.as_str()) {
                paths.push(path);
            }
        }
        values.insert(writable_paths::VARIABLE.to_owned(), paths.join(","));
    }
    TranslatedSettings { values, remarks }
}

/// Parses `NAME=value` lines as the Python piku does: blanks around both are removed, quotes are part of the
/// value. With `known`, variables are expanded by those before, and added to it.
fn parse_settings(
    text: &str,
    mut known: Option<&mut IndexMap<String, String>>,
    remarks: &mut Vec<String>,
) -> IndexMap<String, String> {
    let mut values = IndexMap::new();
    for (at, line) in text.lines().enumerate() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            remarks.push(format!("line {} of its ENV is not imported: it has no '='", at + 1));
            continue;
        };
        let (name, mut value) = (name.trim().to_owned(), value.trim().to_owned());
        if let Some(known) = known.as_deref_mut() {
            value = expand_variables(&value, known);
            known.insert(name.clone(), value.clone());
        }
        values.insert(name, value);
    }
    values
}

/// Replaces `$NAME` and `${NAME}`. Unknown names stay.
fn expand_variables(text: &str, known: &IndexMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, length) = if let Some((name, _)) = braced {
            (name, name.len() + 2)
        } else {
            let end = after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len());
            (&after[..end], end)
        };
        if let Some(value) = known.get(name) {
            expanded.push_str(value);
        } else {
            expanded.push('$');
            expanded.push_str(&after[..length]);
        }
        rest = &after[length..];
    }
    expanded + rest
}

/// Replaces the directories of the app in the old home by those in the jail; returns the changed names.
fn move_paths(
    values: &mut IndexMap<String, String>,
    live: &IndexMap<String, String>,
    app: &str,
) -> Vec<String> {
    let of_app = |variable: &str, folder: &str| {
        let path = live.get(variable)?;
        (path.starts_with('/') && path.ends_with(&format!("/{folder}/{app}"))).then_some(path.as_str())
    };
    let places = [(of_app("DATA_ROOT", "data"), DATA), (of_app("PWD", "apps"), APP)];
    let mut moved = Vec::new();
    for (name, value) in values.iter_mut() {
        let before = value.clone();
        for (old, new) in &places {
            if let Some(old) = old {
                *value = replace_path(value, old, new);
            }
        }
        if *value != before {
            moved.push(name.clone());
        }
    }
    moved
}

/// Replaces a path, but not the beginning of a longer name.
fn replace_path(text: &str, old: &str, new: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(old) {
        let is_whole = !after.starts_with(|c: char| c.is_alphanumeric() || "-_.".contains(c));
        replaced.push_str(before);
        replaced.push_str(if is_whole { new } else { old });
        rest = after;
    }
    replaced + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_that_the_old_workers_had() {
        let live = "APP=blog\nDATA_ROOT=/home/piku/.piku/data/blog\nPWD=/home/piku/.piku/apps/blog\nPORT=4711\n\
                    NGINX_SERVER_NAME=a.test b.test\nSHIPPED=1\nLOST=kept\nHOME=/home/piku\n";
        let own = "# a comment\nSECRET=\"quoted\" = $1 and ${MISSING}\nDB = sqlite:///$DATA_ROOT/db.sqlite3\n\
                   OTHER=/home/piku/.piku/data/blog2\nKEY=${SHIPPED}$\nPATH=/bin\nbroken\na.b=1\n\
                   NGINX_SERVER_NAME=a.test,b.test\nUWSGI_PROCESSES=4\n";
        let texts = SettingsTexts { shipped: "SHIPPED=1\n".into(), own: own.into(), live: live.into() };
        let done = translate_settings(&texts, "blog", &["db.sqlite3".to_owned()]);
        let expected = [
            ("SECRET", "\"quoted\" = $1 and ${MISSING}"),
            ("DB", "sqlite:////data/db.sqlite3"),
            ("OTHER", "/home/piku/.piku/data/blog2"),
            ("KEY", "1$"),
            ("NGINX_SERVER_NAME", "a.test,b.test"),
            ("UWSGI_PROCESSES", "4"),
            ("LOST", "kept"),
            ("DATA_ROOT", "/data"),
            ("WRITABLE_PATHS", "db.sqlite3"),
        ];
        let values: Vec<_> =
            done.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(values, expected);
        let remarks = done.remarks.join("\n");
        for expected in ["line 7 of its ENV", "'a.b'", "PATH", "alone: LOST", "in: DB", "UWSGI_PROCESSES"] {
            assert!(remarks.contains(expected), "{expected}: {remarks}");
        }
        assert!(!remarks.contains("quoted"), "no value is printed: {remarks}");
    }
}
