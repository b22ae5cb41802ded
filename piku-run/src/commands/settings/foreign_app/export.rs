//! The output of `heroku config`, `heroku ps:scale`, `dokku config:export` and `dokku ps:scale`, one after the other.

use std::collections::BTreeMap;
use std::fmt::Write;

use indexmap::IndexMap;
use piku_layout::name::{AppName, ProcessName};
use piku_report::user_error::UserError;

use crate::cli::ForeignPlatform;
use crate::config::parse_values;

impl ForeignPlatform {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Heroku => "Heroku",
            Self::Dokku => "dokku",
        }
    }

    /// Returns the verb of piku that reads its exports.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Heroku => "import-heroku",
            Self::Dokku => "import-dokku",
        }
    }

    /// Returns the commands that print an export, as a hint.
    pub(super) fn how_to_export(self, app: &AppName) -> String {
        match self {
            Self::Heroku => format!(
                "(heroku config --json -a {app}; heroku ps:scale -a {app}) | piku import-heroku {app}"
            ),
            Self::Dokku => {
                format!(
                    "(dokku config:export --format json {app}; dokku ps:scale {app}) | piku import-dokku {app}"
                )
            }
        }
    }

    /// Returns true if the platform itself sets the variable.
    fn sets(self, name: &str) -> bool {
        let prefixes: &[&str] = match self {
            Self::Heroku => &["HEROKU_"],
            Self::Dokku => &["DOKKU_"],
        };
        ["PORT", "DYNO", "GIT_REV", "SOURCE_VERSION", "NO_VHOST"].contains(&name)
            || prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// Settings and scale of an app on another platform.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PlatformExport {
    pub(super) config: IndexMap<String, String>,
    pub(super) formation: BTreeMap<ProcessName, u32>,
    /// Variables that the platform has set for itself.
    left_out: Vec<String>,
    /// Variables that lead to services of the platform.
    services: Vec<String>,
}

impl PlatformExport {
    /// Parses the exports: a JSON object or lines of `NAME=VALUE`, and the scale.
    ///
    /// # Errors
    /// Fails with the lines that are neither.
    pub(super) fn parse(platform: ForeignPlatform, text: &[u8]) -> anyhow::Result<Self> {
        let text = std::str::from_utf8(text).map_err(|_| UserError::new("stdin is not UTF-8"))?;
        let mut export = Self::default();
        let (values, rest) = split_json(text)?;
        // The scale is at the end: a line of a setting's value may look like one.
        let mut lines: Vec<&str> = rest.lines().collect();
        while lines.last().is_some_and(|line| line.trim().is_empty() || export.take_scale(line)) {
            lines.pop();
        }
        let values = match values {
            Some(values) if lines.is_empty() => values,
            Some(_) => {
                let what = "behind the JSON is something else than the scale";
                return Err(UserError::new(what).hint("first the settings, then the scale").into());
            }
            None => parse_values(lines.join("\n").as_bytes())?.0,
        };
        for (name, value) in values {
            if platform.sets(&name) {
                export.left_out.push(name);
                continue;
            }
            if is_service(&value) {
                export.services.push(name.clone());
            }
            export.config.insert(name, value);
        }
        Ok(export)
    }

    /// Reads `web=1:Basic worker=2:Standard-1X` of Heroku, or a line of dokku's table, `web: 1`. Returns false for
    /// another line.
    fn take_scale(&mut self, line: &str) -> bool {
        let line = line.trim();
        // Headings of dokku.
        if line.starts_with("----") || line.split_whitespace().eq(["proctype:", "qty"]) {
            return true;
        }
        let heroku = |word: &str| -> Option<(ProcessName, u32)> {
            let (kind, rest) = word.split_once('=')?;
            let (count, size) = rest.split_once(':')?;
            // Not a setting, such as A=1:2.
            let is_scale = size.starts_with(|first: char| first.is_ascii_alphabetic());
            Some((kind.parse().ok()?, count.parse().ok()?)).filter(|_| is_scale)
        };
        let dokku = || -> Option<(ProcessName, u32)> {
            let (kind, count) = line.split_once(": ")?;
            Some((kind.parse().ok()?, count.trim().parse().ok()?))
        };
        let words: Option<Vec<_>> = line.split_whitespace().map(heroku).collect();
        let counts = words.filter(|words| !words.is_empty()).or_else(|| Some(vec![dokku()?]));
        let is_scale = counts.is_some();
        self.formation.extend(counts.into_iter().flatten());
        is_scale
    }

    /// Describes what is taken over and what differs; values are secrets and are not printed.
    pub(super) fn describe(&self, app: &AppName) -> String {
        let mut text = String::new();
        let mut row = |what: &str, names: &[String]| {
            if !names.is_empty() {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{app}: {what}: {}", names.join(" "));
            }
        };
        row("settings", &self.config.keys().cloned().collect::<Vec<_>>());
        let scale = self.formation.iter().map(|(kind, count)| format!("{kind}={count}"));
        row("scale", &scale.collect::<Vec<_>>());
        row("left out, set by the platform itself", &self.left_out);
        row("lead to services of the platform, and work only as long as those are there", &self.services);
        text
    }
}

/// Splits an object of strings from what follows it.
fn split_json(text: &str) -> anyhow::Result<(Option<IndexMap<String, String>>, &str)> {
    if !text.trim_start().starts_with('{') {
        return Ok((None, text));
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IndexMap<String, String>>();
    // The cause would repeat a part of the text, which holds secrets.
    let first = values.next().and_then(Result::ok).ok_or_else(|| {
        UserError::new("the JSON is not an object of strings").hint("such as {\"DEBUG\": \"1\"}")
    })?;
    let end = values.byte_offset();
    Ok((Some(first), &text[end..]))
}

/// Returns true if the value is the address of a database or a queue.
fn is_service(value: &str) -> bool {
    let schemes =
        ["postgres", "postgresql", "mysql", "mysql2", "redis", "rediss", "amqp", "amqps", "mongodb"];
    value.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(platform: ForeignPlatform, text: &str) -> PlatformExport {
        PlatformExport::parse(platform, text.as_bytes()).unwrap()
    }

    #[test]
    fn heroku_export_is_settings_and_scale() {
        let json =
            "{\n  \"A\": \"a b\",\n  \"DATABASE_URL\": \"postgres://u:p@h/d\",\n  \"HEROKU_X\": \"1\"\n}\n";
        let export = parse(ForeignPlatform::Heroku, &format!("{json}web=1:Basic worker=2:Standard-1X\n"));
        assert_eq!(export.config["A"], "a b");
        let told = "shop: settings: A DATABASE_URL\nshop: scale: web=1 worker=2\n\
                    shop: left out, set by the platform itself: HEROKU_X\n\
                    shop: lead to services of the platform, and work only as long as those are there: DATABASE_URL\n";
        assert_eq!(export.describe(&"shop".parse().unwrap()), told);
        let lines = parse(ForeignPlatform::Heroku, "A='a b\nweb: 2\n'\nPORT=5000\nB=1:2\n");
        assert_eq!((lines.config["A"].as_str(), lines.config["B"].as_str()), ("a b\nweb: 2\n", "1:2"));
        assert!(lines.formation.is_empty());
        assert_eq!(lines.left_out, ["PORT"]);
    }

    #[test]
    fn dokku_export_is_settings_and_scale() {
        let text = "export A='a b'\nexport DOKKU_APP_TYPE='herokuish'\nexport GIT_REV='1234'\n\
                    -----> Scaling for shop\nproctype: qty\n--------: ---\nweb:  1\nworker: 2\n";
        let export = parse(ForeignPlatform::Dokku, text);
        let names: Vec<&String> = export.config.keys().collect();
        assert_eq!(names, ["A"]);
        let scale: Vec<String> =
            export.formation.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
        assert_eq!(scale, ["web=1", "worker=2"]);
        assert_eq!(export.left_out, ["DOKKU_APP_TYPE", "GIT_REV"]);
    }

    #[test]
    fn other_text_is_refused_without_its_secrets() {
        for text in ["{\"A\": 1}", "{\"A\": \"s3cret\"} s3cret", "s3cret\n"] {
            let err = PlatformExport::parse(ForeignPlatform::Heroku, text.as_bytes()).unwrap_err();
            assert!(!format!("{err:#}").contains("s3cret"), "{err:#}");
        }
        PlatformExport::parse(ForeignPlatform::Heroku, b"\xff").unwrap_err();
        assert_eq!(parse(ForeignPlatform::Dokku, "\n"), PlatformExport::default());
    }
}
